//! Signatures of webhooks. In: a secret and the bytes that are sent. Out: the value of a signature header. It never sends anything, and
//! never shows a key.
//!
//! The scheme is that of Standard Webhooks: HMAC-SHA256 or Ed25519 over `id.timestamp.body`. Receivers of an eryxon system also get its older
//! signature, over the body alone.

mod key;
mod message;
mod verification;

use std::fmt;
use std::fmt::Write as _;

use hmac::Hmac;
use hmac::Mac as _;
use sha2::Sha256;
use thiserror::Error;

use crate::signature::key::KeyFault;
use crate::signature::key::SigningKey;
use crate::signature::key::hmac_of;
pub use crate::signature::key::new_private;
pub use crate::signature::key::new_shared;
use crate::signature::message::hex;
use crate::signature::message::of_sequence;
pub use crate::signature::verification::Mismatch;
pub use crate::signature::verification::NoVerifier;
pub use crate::signature::verification::Request;
pub use crate::signature::verification::Verifier;

/// Why a secret cannot sign. The message never holds the text of the secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SecretProblem {
    /// The text is empty or white space.
    #[error("secret_key is empty; set one or deactivate the webhook")]
    Empty,
    /// The text after a prefix is not base64, which that prefix promises.
    #[error(
        "secret_key number {number} starts with `{prefix}` but what follows is not base64; copy it again or drop the prefix to use it as plain text"
    )]
    NotBase64 {
        /// Which of the keys it is, counted from one.
        number: usize,
        /// The prefix.
        prefix: &'static str,
    },
    /// There is nothing after the prefix.
    #[error("secret_key number {number} is `{prefix}` with nothing after it; copy it again")]
    NoKey {
        /// Which of the keys it is, counted from one.
        number: usize,
        /// The prefix.
        prefix: &'static str,
    },
    /// What follows `whsk_` is base64, but no key of Ed25519.
    #[error(
        "secret_key number {0} starts with `whsk_` but holds no private key of Ed25519, which has 32 or 64 bytes; copy it again"
    )]
    NotPrivate(usize),
    /// It is a public key.
    #[error(
        "secret_key number {0} is a public key (`whpk_`), which verifies and does not sign; set the private one (`whsk_`)"
    )]
    Public(usize),
}

/// The key of one webhook, or its keys during a rotation.
#[derive(Clone)]
pub struct WebhookSecret {
    keys: Vec<Signer>,
    /// The whole text as one key, exactly as it stands, which is how eryxon signs.
    text: Hmac<Sha256>,
}

/// A key, and the second from which it signs no more.
#[derive(Clone)]
struct Signer {
    key: SigningKey,
    until: i64,
}

impl WebhookSecret {
    /// Reads the value of a `secret_key` column.
    ///
    /// - After `whsec_`, the rest is base64, and the decoded bytes are the key.
    /// - After `whsk_`, the rest is base64, and the decoded bytes are a private key of Ed25519.
    /// - There may be several of these, separated by white space. All of them sign, so that a receiver can change from one to the next.
    /// - Any other text is one key, byte by byte, with the white space in it and around it.
    pub fn parse(text: &str) -> Result<WebhookSecret, SecretProblem> {
        let whole = hmac_of(text.as_bytes());
        let endless = |key| Signer { key, until: i64::MAX };
        if text.trim().is_empty() {
            return Err(SecretProblem::Empty);
        }
        if !text.split_whitespace().all(key::has_prefix) {
            return Ok(WebhookSecret { keys: vec![endless(SigningKey::Shared(whole.clone()))], text: whole });
        }
        let keys = text.split_whitespace().zip(1..).map(|(word, number)| {
            let key = SigningKey::parse(word).map_err(|(prefix, fault)| match fault {
                KeyFault::NotBase64 => SecretProblem::NotBase64 { number, prefix },
                KeyFault::Empty => SecretProblem::NoKey { number, prefix },
                KeyFault::NotPrivate => SecretProblem::NotPrivate(number),
                KeyFault::Public => SecretProblem::Public(number),
            });
            key.map(endless)
        });
        Ok(WebhookSecret { keys: keys.collect::<Result<_, _>>()?, text: whole })
    }

    /// Lets the keys of `previous` sign as well until `until`, in seconds since 1970.
    pub fn after(mut self, previous: WebhookSecret, until: i64) -> WebhookSecret {
        self.keys.extend(previous.keys.into_iter().map(|signer| Signer { until, ..signer }));
        self
    }

    /// Returns the public keys of those that have one, as `whpk_` and base64.
    pub fn public_keys(&self) -> Vec<String> {
        self.keys.iter().filter_map(|signer| signer.key.public()).collect()
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "WebhookSecret({} keys)", self.keys.len())
    }
}

/// The length of the digest of HMAC-SHA256.
const DIGEST: usize = 32;

/// Returns the value of `webhook-signature`: `v1,<base64>` or `v1a,<base64>` for each key, separated by spaces.
pub fn sign(secret: &WebhookSecret, id: &str, timestamp_seconds: i64, body: &[u8]) -> String {
    sign_with_all(secret, timestamp_seconds, |message| {
        write!(message, "{id}.{timestamp_seconds}.").expect("a message takes every text");
        message.push(body);
    })
}

/// Returns the value of `webhook-sequence-signature`, in the form of `webhook-signature`. What is signed holds no dot, so that nobody can pass
/// it off as the signature of another body.
pub fn sign_sequence(secret: &WebhookSecret, id: &str, timestamp_seconds: i64, sequence: &str) -> String {
    sign_with_all(secret, timestamp_seconds, |message| message.push(&of_sequence(id, timestamp_seconds, sequence)))
}

fn sign_with_all(secret: &WebhookSecret, timestamp_seconds: i64, write: impl Fn(&mut key::Message)) -> String {
    let keys = secret.keys.iter().filter(|signer| signer.until > timestamp_seconds);
    let mut signatures = String::with_capacity(keys.clone().map(|signer| signer.key.signature_length() + 1).sum());
    for signer in keys {
        if !signatures.is_empty() {
            signatures.push(' ');
        }
        let mut message = signer.key.message();
        write(&mut message);
        message.sign(&mut signatures);
    }
    signatures
}

/// Returns the value of `X-Eryxon-Signature`: `sha256=<hex>` over the body. The key is the text of `secret_key` exactly as it stands.
pub fn eryxon(secret: &WebhookSecret, body: &[u8]) -> String {
    let mut mac = secret.text.clone();
    mac.update(body);
    let mut signature = String::with_capacity("sha256=".len() + 2 * DIGEST);
    signature.push_str("sha256=");
    for byte in mac.finalize().into_bytes() {
        hex(byte).into_iter().for_each(|digit| signature.push(char::from(digit)));
    }
    signature
}

/// The key of signed notifications. It has taken in the key and no message yet.
#[derive(Clone)]
pub struct NotificationKey(Hmac<Sha256>);

impl NotificationKey {
    /// Takes the key, byte by byte as it stands.
    pub fn new(key: &str) -> NotificationKey {
        NotificationKey(hmac_of(key.as_bytes()))
    }

    /// Returns what follows the signature of a payload such as `sha256=5bdc… {"event": "machine.down"}`, if that is the HMAC-SHA256 of
    /// `channel.{"event": "machine.down"}`. The comparison takes the same time wherever the first difference is.
    pub fn open<'p>(&self, channel: &str, payload: &'p str) -> Option<&'p str> {
        let (hex, message) = payload.strip_prefix("sha256=")?.split_once(' ')?;
        let digits: Option<Vec<u8>> = hex.chars().map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect();
        let bytes: Vec<u8> = digits?.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).unwrap_or(&0)).collect();
        let mut mac = self.0.clone();
        mac.update(channel.as_bytes());
        mac.update(b".");
        mac.update(message.as_bytes());
        (hex.len() == 2 * DIGEST && mac.verify_slice(&bytes).is_ok()).then_some(message)
    }
}

impl fmt::Debug for NotificationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("NotificationKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use standardwebhooks::Webhook;

    const WHSEC: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn secret(text: &str) -> WebhookSecret {
        WebhookSecret::parse(text).unwrap()
    }

    #[test]
    fn the_published_vectors_are_met() {
        // The first is the example of the Standard Webhooks libraries. The second is from the documentation of Svix, which wrote the
        // scheme.
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        assert_eq!(
            sign(
                &secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                body
            ),
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
        );
        assert_eq!(
            sign(
                &secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn the_eryxon_signature_is_plain_hmac_in_hex() {
        // RFC 4231, test case 2.
        assert_eq!(
            eryxon(&secret("Jefe"), b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_notification_opens_only_with_the_signature_of_its_channel_and_text() {
        // Made with `printf %s 'machines.{}' | openssl dgst -sha256 -hmac Jefe`.
        let signature = "095eeda3a8205c6cb92555b6f3223208363cd5d51bb7d41d201ef035986342a8";
        let opens =
            |key: &str, channel: &str, payload: &str| NotificationKey::new(key).open(channel, payload).is_some();

        assert_eq!(NotificationKey::new("Jefe").open("machines", &format!("sha256={signature} {{}}")), Some("{}"));
        assert!(!opens("jefe", "machines", &format!("sha256={signature} {{}}")));
        assert!(!opens("Jefe", "machine", &format!("sha256={signature} {{}}")));
        for payload in [
            format!("sha256={signature} {{ }}"),
            format!("sha256={} {{}}", &signature[..62]),
            format!("sha256={signature}00 {{}}"),
            format!("{signature} {{}}"),
            "sha256= {}".to_owned(),
            "sha256=é {}".to_owned(),
            "{}".to_owned(),
        ] {
            assert!(!opens("Jefe", "machines", &payload), "{payload}");
        }
    }

    #[test]
    fn during_a_rotation_each_key_signs() {
        let old = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        let new = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

        let both = sign(&secret(&format!("{new} \n {old}")), "id", 1, b"{}");

        assert_eq!(both, format!("{} {}", sign(&secret(new), "id", 1, b"{}"), sign(&secret(old), "id", 1, b"{}")));
    }

    #[test]
    fn the_key_before_signs_until_its_time_and_not_longer() {
        let new = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let rotated = secret(new).after(secret(" plain "), 100);

        let both = format!("{} {}", sign(&secret(new), "id", 99, b"{}"), sign(&secret(" plain "), "id", 99, b"{}"));
        assert_eq!(sign(&rotated, "id", 99, b"{}"), both);
        assert_eq!(sign(&rotated, "id", 100, b"{}"), sign(&secret(new), "id", 100, b"{}"));
        assert_eq!(eryxon(&rotated, b"{}"), eryxon(&secret(new), b"{}"), "that header has room for one signature");
    }

    #[test]
    fn a_private_key_signs_as_rfc_8032_says_and_shows_only_its_public_half() {
        // RFC 8032, section 7.1, test 2: the seed, and the public key.
        let seed = bytes("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let public = bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let of_seed = secret(&format!("whsk_{}", STANDARD.encode(&seed)));
        let of_both = secret(&format!("whsk_{}", STANDARD.encode([seed, public.clone()].concat())));

        assert_eq!(of_seed.public_keys(), [format!("whpk_{}", STANDARD.encode(public))]);
        let signature = sign(&of_seed, "id", 1, b"{}");
        assert!(signature.starts_with("v1a,") && signature == sign(&of_both, "id", 1, b"{}"), "{signature}");
        let beside = sign(&secret(&format!("{WHSEC} {}", new_private())), "id", 1, b"{}");
        assert!(beside.starts_with("v1,") && beside.contains(" v1a,"), "{beside}");
        assert_eq!(format!("{of_seed:?}"), "WebhookSecret(1 keys)");
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn what_is_signed_of_a_sequence_is_no_message_of_the_standard() {
        let message = String::from_utf8(of_sequence("id.1700000000.x", 1_700_000_000, "7.2.1")).unwrap();

        assert!(!message.contains('.'), "{message}");
        assert_ne!(message, String::from_utf8(of_sequence("id.1700000000.x", 1_700_000_000, "7.21")).unwrap());
    }

    #[test]
    fn a_text_is_one_key_with_all_its_blanks_unless_all_words_are_prefixed() {
        for text in ["correct horse whsec_C2FV", " plain\n", "plain\u{a0}"] {
            let reference = Webhook::from_bytes(text.as_bytes().to_vec()).unwrap();
            assert_eq!(sign(&secret(text), "id", 1, b"{}"), reference.sign("id", 1, b"{}").unwrap());
            let is_same = eryxon(&secret(text), b"{}") == eryxon(&secret(text.trim()), b"{}");
            assert_eq!(is_same, text == text.trim(), "{text:?}");
        }
        let copied = format!(" {WHSEC}\n");
        assert_eq!(sign(&secret(&copied), "id", 1, b"{}"), sign(&secret(WHSEC), "id", 1, b"{}"));
    }

    #[test]
    fn what_cannot_sign_is_refused_and_never_shown() {
        let problem = |text| WebhookSecret::parse(text).unwrap_err();
        assert_eq!(problem(" \n"), SecretProblem::Empty);
        assert_eq!(problem("whsec_C2FV whsec_not*base64"), SecretProblem::NotBase64 { number: 2, prefix: "whsec_" });
        assert_eq!(problem("whsec_"), SecretProblem::NoKey { number: 1, prefix: "whsec_" });
        assert_eq!(problem("whsk_C2FV"), SecretProblem::NotPrivate(1));
        assert_eq!(problem("whsec_C2FV whpk_C2FV"), SecretProblem::Public(2));
        assert_eq!(format!("{:?}", secret("hunter2")), "WebhookSecret(1 keys)");
    }

    proptest! {
        #[test]
        fn the_reference_library_agrees(key in "[ -~]{1,80}", id in "[a-z0-9-]{1,40}", at in 0i64..4_000_000_000, body in "\\PC{0,200}") {
            prop_assume!(!key.trim().is_empty() && !key.contains("whsec_") && !key.contains("whsk_") && !key.contains("whpk_"));
            let reference = Webhook::from_bytes(key.as_bytes().to_vec()).unwrap();
            prop_assert_eq!(sign(&secret(&key), &id, at, body.as_bytes()), reference.sign(&id, at, body.as_bytes()).unwrap());
        }
    }
}
