//! Signatures of webhooks. In: a secret and the bytes that are sent. Out: the value of a signature header. It never sends anything, and
//! never shows a key.
//!
//! The scheme is that of Standard Webhooks (HMAC-SHA256 over `id.timestamp.body`). Receivers of an eryxon system also get its older
//! signature, over the body alone.

use std::fmt;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Hmac;
use hmac::KeyInit as _;
use hmac::Mac as _;
use sha2::Sha256;
use thiserror::Error;

const PREFIX: &str = "whsec_";

/// Why a secret cannot sign. The message never holds the text of the secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SecretProblem {
    /// The text is empty or white space.
    #[error("secret_key is empty; set one or deactivate the webhook")]
    Empty,
    /// The text after `whsec_` is not base64, which that prefix promises.
    #[error(
        "secret_key number {0} starts with `whsec_` but what follows is not base64; copy it again or drop the prefix to use it as plain text"
    )]
    NotBase64(usize),
    /// There is nothing after `whsec_`.
    #[error("secret_key number {0} is `whsec_` with nothing after it; copy it again")]
    NoKey(usize),
}

/// The key of one webhook, or its keys during a rotation. Each is kept as an HMAC that has taken in the key and no message yet.
#[derive(Clone)]
pub struct WebhookSecret {
    keys: Vec<Hmac<Sha256>>,
    /// The whole text as one key, exactly as it stands, which is how eryxon signs.
    text: Hmac<Sha256>,
}

impl WebhookSecret {
    /// Reads the value of a `secret_key` column.
    ///
    /// - After `whsec_`, the rest is base64, and the decoded bytes are the key.
    /// - There may be several of these, separated by white space. All of them sign, so that a receiver can change from one to the next.
    /// - Any other text is one key, byte by byte, with the white space in it and around it.
    pub fn parse(text: &str) -> Result<WebhookSecret, SecretProblem> {
        let whole = keyed(text.as_bytes());
        if text.trim().is_empty() {
            return Err(SecretProblem::Empty);
        }
        if !text.split_whitespace().all(|word| word.starts_with(PREFIX)) {
            return Ok(WebhookSecret { keys: vec![whole.clone()], text: whole });
        }
        let keys = text.split_whitespace().zip(1..).map(|(word, number)| {
            let key = STANDARD.decode(&word[PREFIX.len()..]).map_err(|_| SecretProblem::NotBase64(number))?;
            if key.is_empty() { Err(SecretProblem::NoKey(number)) } else { Ok(keyed(&key)) }
        });
        Ok(WebhookSecret { keys: keys.collect::<Result<_, _>>()?, text: whole })
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "WebhookSecret({} keys)", self.keys.len())
    }
}

/// The length of a signature in bytes, and that of its base64.
const DIGEST: usize = 32;
const BASE64: usize = 44;

/// Returns the value of `webhook-signature`: `v1,<base64>` for each key, separated by spaces.
pub fn sign(secret: &WebhookSecret, id: &str, timestamp_seconds: i64, body: &[u8]) -> String {
    let mut signatures = String::with_capacity(secret.keys.len() * (" v1,".len() + BASE64) - 1);
    for key in &secret.keys {
        let mut message = Message(key.clone());
        write!(message, "{id}.{timestamp_seconds}.").expect("HMAC takes every text");
        message.0.update(body);
        if !signatures.is_empty() {
            signatures.push(' ');
        }
        signatures.push_str("v1,");
        let mut text = [0; BASE64];
        STANDARD
            .encode_slice(message.0.finalize().into_bytes(), &mut text)
            .expect("the base64 of a digest has this length");
        signatures.push_str(std::str::from_utf8(&text).expect("base64 is ASCII"));
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
        for digit in [byte >> 4, byte & 0xf] {
            signature.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    signature
}

/// A message that is signed while it is written, piece by piece.
struct Message(Hmac<Sha256>);

impl fmt::Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn during_a_rotation_each_key_signs() {
        let old = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        let new = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

        let both = sign(&secret(&format!("{new} \n {old}")), "id", 1, b"{}");

        assert_eq!(both, format!("{} {}", sign(&secret(new), "id", 1, b"{}"), sign(&secret(old), "id", 1, b"{}")));
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
        assert_eq!(problem("whsec_C2FV whsec_not*base64"), SecretProblem::NotBase64(2));
        assert_eq!(problem("whsec_"), SecretProblem::NoKey(1));
        assert_eq!(format!("{:?}", secret("hunter2")), "WebhookSecret(1 keys)");
    }

    proptest! {
        #[test]
        fn the_reference_library_agrees(key in "[ -~]{1,80}", id in "[a-z0-9-]{1,40}", at in 0i64..4_000_000_000, body in "\\PC{0,200}") {
            prop_assume!(!key.trim().is_empty() && !key.contains("whsec_"));
            let reference = Webhook::from_bytes(key.as_bytes().to_vec()).unwrap();
            prop_assert_eq!(sign(&secret(&key), &id, at, body.as_bytes()), reference.sign(&id, at, body.as_bytes()).unwrap());
        }
    }
}
