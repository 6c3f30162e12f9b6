//! Verifies a request as its receiver should, and says why it cannot be accepted. In: a secret or a public key, the headers and the body as they
//! were received, and the time. Out: nothing, or the first reason against it. A signature that would fit a body, a secret or a time that is
//! nearly this one is named, because that is where mistakes are made. It never shows a secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Hmac;
use hmac::Mac as _;
use ring::signature::ED25519;
use ring::signature::ED25519_PUBLIC_KEY_LEN;
use ring::signature::KeyPair as _;
use ring::signature::UnparsedPublicKey;
use sha2::Sha256;
use thiserror::Error;

use crate::signature::key;
use crate::signature::key::hmac_of;
use crate::signature::message::of_sequence;

/// How far a timestamp may be from now. It is what the libraries of Standard Webhooks allow.
const TOLERANCE: i64 = 5 * 60;

/// A request as it was received.
#[derive(Debug)]
pub struct Request<'a> {
    /// `webhook-id`
    pub id: Option<&'a str>,
    /// `webhook-timestamp`
    pub timestamp: Option<&'a str>,
    /// `webhook-signature`
    pub signature: Option<&'a str>,
    /// `webhook-sequence` and `webhook-sequence-signature`
    pub sequence: Option<(&'a str, Option<&'a str>)>,
    /// The bytes of the body.
    pub body: &'a [u8],
}

/// Why a request cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Mismatch {
    /// A header is absent.
    #[error(
        "there is no header `{0}`; give the headers as they were received, each on its line, then an empty line, then the body"
    )]
    Missing(&'static str),
    /// A header comes twice, so a receiver may read another one than this.
    #[error(
        "there is more than one header `{0}`, and what is verified may not be what is used; somebody on the way added one"
    )]
    Repeated(&'static str),
    /// The timestamp is no number.
    #[error("webhook-timestamp is not a number of seconds")]
    NotATime,
    /// There is no signature of a version that the secret has.
    #[error("webhook-signature has no signature of version {0}, which is the version of this secret")]
    NoVersion(&'static str),
    /// The body is nearly the one that was signed.
    #[error(
        "the signature fits another body: this one {0}; verify the bytes as they came, before anything reads or prints them"
    )]
    OtherBody(&'static str),
    /// The secret is nearly the one that signed.
    #[error("the signature fits if the secret is {0}")]
    OtherSecret(&'static str),
    /// Nothing fits.
    #[error("no signature fits: another secret signed, or id, timestamp or body are not what was sent, byte by byte")]
    Wrong,
    /// Everything fits but the time.
    #[error(
        "the signature fits, but it was made {0} seconds {1}, and receivers refuse more than {TOLERANCE}; is this an old request, or is the clock wrong?"
    )]
    Time(u64, &'static str),
    /// The sequence is not signed, or the signature is that of another.
    #[error(
        "the signature fits, but webhook-sequence-signature does not fit webhook-sequence; conclude nothing from it"
    )]
    Sequence,
}

/// Why a text verifies nothing. The message never holds the text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoVerifier {
    /// The text is empty or white space.
    #[error("is empty; write the secret into it as it stands in secret_key, or a public key (whpk_)")]
    Empty,
    /// A word with a prefix is no key: which one it is, counted from one, the prefix, and what is expected.
    #[error("holds no key: what follows `{1}` in key number {0} is not {2}; copy it again, whole")]
    NoKey(usize, &'static str, &'static str),
}

/// What verifies.
pub struct Verifier(Vec<VerifyingKey>);

enum VerifyingKey {
    Shared(Hmac<Sha256>),
    Public(Vec<u8>),
}

impl Verifier {
    /// Reads a secret as in `secret_key`, or public keys (`whpk_`).
    pub fn parse(text: &str) -> Result<Verifier, NoVerifier> {
        if text.trim().is_empty() {
            return Err(NoVerifier::Empty);
        }
        if !text.split_whitespace().all(key::has_prefix) {
            return Ok(Verifier(vec![VerifyingKey::Shared(hmac_of(text.as_bytes()))]));
        }
        let keys = text.split_whitespace().zip(1..).map(|(word, number)| {
            VerifyingKey::parse(word).map_err(|(prefix, form)| NoVerifier::NoKey(number, prefix, form))
        });
        keys.collect::<Result<_, _>>().map(Verifier)
    }

    /// Verifies a request at a time in seconds since 1970. `text` is what the verifier was read from.
    pub fn verify(&self, text: &str, request: &Request<'_>, now: i64) -> Result<(), Mismatch> {
        let id = request.id.ok_or(Mismatch::Missing("webhook-id"))?;
        let stamp = request.timestamp.ok_or(Mismatch::Missing("webhook-timestamp"))?;
        let signatures = request.signature.ok_or(Mismatch::Missing("webhook-signature"))?;
        let seconds: i64 = stamp.parse().map_err(|_| Mismatch::NotATime)?;
        if !self.0.iter().any(|key| signatures.split(' ').any(|it| it.starts_with(key.version()))) {
            return Err(Mismatch::NoVersion(self.0.first().map_or("v1", |key| key.version().trim_end_matches(','))));
        }
        let message = |body: &[u8]| [id.as_bytes(), b".", stamp.as_bytes(), b".", body].concat();
        if !self.fits(signatures, &message(request.body)) {
            return Err(self.nearly(text, signatures, request.body, message));
        }
        if let Some((sequence, signed)) = request.sequence {
            let message = of_sequence(id, seconds, sequence);
            if !signed.is_some_and(|signatures| self.fits(signatures, &message)) {
                return Err(Mismatch::Sequence);
            }
        }
        let apart = now.saturating_sub(seconds);
        match apart.unsigned_abs() > TOLERANCE.unsigned_abs() {
            true => Err(Mismatch::Time(apart.unsigned_abs(), if apart > 0 { "ago" } else { "in the future" })),
            false => Ok(()),
        }
    }

    fn fits(&self, signatures: &str, message: &[u8]) -> bool {
        self.0.iter().any(|key| signatures.split(' ').any(|signature| key.fits(signature, message)))
    }

    /// Says what would have to be different.
    fn nearly(&self, text: &str, signatures: &str, body: &[u8], message: impl Fn(&[u8]) -> Vec<u8>) -> Mismatch {
        let without = body.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let with = [body, b"\n"].concat();
        let unix = String::from_utf8_lossy(body).replace("\r\n", "\n");
        let bodies = [
            (without, "has a newline at its end that was not sent"),
            (Some(with.as_slice()), "lacks the newline at its end"),
            (Some(unix.as_bytes()), "has line ends that were changed"),
        ];
        for (body, problem) in bodies {
            if body.is_some_and(|body| self.fits(signatures, &message(body))) {
                return Mismatch::OtherBody(problem);
            }
        }
        let trimmed = text.trim();
        let bare = trimmed.strip_prefix(key::SHARED).unwrap_or(trimmed);
        let decoded = STANDARD.decode(bare).unwrap_or_default();
        let secrets = [
            (trimmed.as_bytes(), "the text without the blanks at its ends"),
            (text.as_bytes(), "the whole text, prefix and all"),
            (bare.as_bytes(), "the text after `whsec_`, not decoded"),
            (&decoded, "the text decoded from base64, as with the prefix `whsec_`"),
        ];
        for (key, problem) in secrets {
            if Verifier(vec![VerifyingKey::Shared(hmac_of(key))]).fits(signatures, &message(body)) {
                return Mismatch::OtherSecret(problem);
            }
        }
        Mismatch::Wrong
    }
}

impl VerifyingKey {
    /// Reads a word with a prefix. An error has the prefix and the form that is expected behind it.
    fn parse(word: &str) -> Result<VerifyingKey, (&'static str, &'static str)> {
        if let Some(public) = word.strip_prefix(key::PUBLIC) {
            let key = STANDARD.decode(public).ok().filter(|key| key.len() == ED25519_PUBLIC_KEY_LEN);
            let form = "a public key of Ed25519, which is 32 bytes in base64 (`andon webhooks public-key` prints it)";
            return key.map(VerifyingKey::Public).ok_or((key::PUBLIC, form));
        }
        match key::SigningKey::parse(word) {
            Ok(key::SigningKey::Shared(mac)) => Ok(VerifyingKey::Shared(mac)),
            Ok(key::SigningKey::Private(pair)) => Ok(VerifyingKey::Public(pair.public_key().as_ref().to_vec())),
            Err((key::SHARED, _)) => Err((key::SHARED, "base64 of a secret")),
            Err((prefix, _)) => Err((prefix, "a private key of Ed25519, which is 32 or 64 bytes in base64")),
        }
    }

    fn version(&self) -> &'static str {
        match self {
            VerifyingKey::Shared(_) => "v1,",
            VerifyingKey::Public(_) => "v1a,",
        }
    }

    /// Compares in a time that does not depend on how much fits.
    fn fits(&self, signature: &str, message: &[u8]) -> bool {
        let encoded = signature.strip_prefix(self.version()).and_then(|it| STANDARD.decode(it).ok());
        encoded.is_some_and(|signature| match self {
            VerifyingKey::Shared(mac) => {
                let mut mac = mac.clone();
                mac.update(message);
                mac.verify_slice(&signature).is_ok()
            }
            VerifyingKey::Public(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, &signature).is_ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::WebhookSecret;
    use crate::signature::sign;
    use crate::signature::sign_sequence;

    const WHSEC: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    /// Verifies, at 100 s after it was signed, what `secret` signed of `body`.
    fn of(secret: &str, body: &[u8], verifier: &str, received: &[u8]) -> Result<(), Mismatch> {
        let key = WebhookSecret::parse(secret).unwrap();
        let (signature, sequence) = (sign(&key, "id", 1_000, body), sign_sequence(&key, "id", 1_000, "7.2.1"));
        let request = Request {
            id: Some("id"),
            timestamp: Some("1000"),
            signature: Some(&signature),
            sequence: Some(("7.2.1", Some(&sequence))),
            body: received,
        };
        Verifier::parse(verifier).unwrap().verify(verifier, &request, 1_100)
    }

    #[test]
    fn what_was_signed_verifies_with_each_kind_of_key() {
        let private = key::new_private();
        let public = WebhookSecret::parse(&private).unwrap().public_keys().remove(0);

        assert_eq!(of(WHSEC, b"{}", WHSEC, b"{}"), Ok(()));
        assert_eq!(of(" plain ", b"{}", " plain ", b"{}"), Ok(()));
        assert_eq!(of(&format!("{WHSEC} {private}"), b"{}", &public, b"{}"), Ok(()));
        assert_eq!(of(&private, b"{}", &private, b"{}"), Ok(()));
        assert_eq!(of(&private, b"{}", &public, b"{ }"), Err(Mismatch::Wrong));
        assert_eq!(of(WHSEC, b"{}", &public, b"{}"), Err(Mismatch::NoVersion("v1a")));
    }

    #[test]
    fn what_is_no_key_is_named_with_the_form_that_is_expected_and_never_shown() {
        let problem = |text: &str| Verifier::parse(text).err().unwrap().to_string();
        let texts = ["whsec_!!s3cret", "whsec_", "whpk_AAAA", "whpk_!s3cret", "whsk_AAAA", " \n"];

        let problems = texts.map(problem).join("\n");

        assert!(!problems.contains("s3cret"), "{problems}");
        insta::assert_snapshot!(problems, @r"
        holds no key: what follows `whsec_` in key number 1 is not base64 of a secret; copy it again, whole
        holds no key: what follows `whsec_` in key number 1 is not base64 of a secret; copy it again, whole
        holds no key: what follows `whpk_` in key number 1 is not a public key of Ed25519, which is 32 bytes in base64 (`andon webhooks public-key` prints it); copy it again, whole
        holds no key: what follows `whpk_` in key number 1 is not a public key of Ed25519, which is 32 bytes in base64 (`andon webhooks public-key` prints it); copy it again, whole
        holds no key: what follows `whsk_` in key number 1 is not a private key of Ed25519, which is 32 or 64 bytes in base64; copy it again, whole
        is empty; write the secret into it as it stands in secret_key, or a public key (whpk_)
        ");
        assert!(problem(&format!("{WHSEC} whpk_AAAA")).contains("`whpk_` in key number 2"));
    }

    #[test]
    fn a_mistake_that_is_often_made_is_named() {
        let bare = WHSEC.trim_start_matches("whsec_");
        let body = |text| Err(Mismatch::OtherBody(text));
        let secret = |text| Err(Mismatch::OtherSecret(text));

        assert_eq!(of(WHSEC, b"{}", WHSEC, b"{}\r\n"), body("has a newline at its end that was not sent"));
        assert_eq!(of(WHSEC, b"{}\n", WHSEC, b"{}"), body("lacks the newline at its end"));
        assert_eq!(of(WHSEC, b"{\n}", WHSEC, b"{\r\n}"), body("has line ends that were changed"));
        assert_eq!(of("plain", b"{}", "plain\n", b"{}"), secret("the text without the blanks at its ends"));
        assert_eq!(of(bare, b"{}", WHSEC, b"{}"), secret("the text after `whsec_`, not decoded"));
        assert_eq!(of(WHSEC, b"{}", bare, b"{}"), secret("the text decoded from base64, as with the prefix `whsec_`"));
        assert_eq!(of("other", b"{}", WHSEC, b"{}"), Err(Mismatch::Wrong));
    }

    #[test]
    fn an_old_request_and_a_sequence_of_another_are_told_apart_from_a_wrong_signature() {
        let key = WebhookSecret::parse(WHSEC).unwrap();
        let (signature, sequence) = (sign(&key, "id", 1_000, b""), sign_sequence(&key, "id", 1_000, "7.2.1"));
        let request = |sequence| Request {
            id: Some("id"),
            timestamp: Some("1000"),
            signature: Some(&signature),
            sequence,
            body: b"",
        };
        let verifier = Verifier::parse(WHSEC).unwrap();
        let at = |now, sequence| verifier.verify(WHSEC, &request(sequence), now);

        assert_eq!(at(1_300, None), Ok(()));
        assert_eq!(at(1_301, None), Err(Mismatch::Time(301, "ago")));
        assert_eq!(at(699, Some(("7.2.1", Some(&sequence)))), Err(Mismatch::Time(301, "in the future")));
        assert_eq!(at(1_000, Some(("7.3.1", Some(&sequence)))), Err(Mismatch::Sequence));
        assert_eq!(at(1_000, Some(("7.2.1", None))), Err(Mismatch::Sequence));
        assert_eq!(at(1_000, Some(("7.2.1", Some(&signature)))), Err(Mismatch::Sequence));
        let headless = Request { id: None, ..request(None) };
        assert_eq!(verifier.verify(WHSEC, &headless, 1_000), Err(Mismatch::Missing("webhook-id")));
    }
}
