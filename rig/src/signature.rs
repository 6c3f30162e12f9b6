//! Signatures of webhooks, as a stranger makes and checks them. In: the secret, the headers, the body. Out: a signature, or whether they
//! belong together, and if not, why. It is written from the Standard Webhooks specification, apart from the code of Andon that signs.

use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use hyper::HeaderMap;
use sha2::Sha256;

const TOLERANCE_SECONDS: u64 = 5 * 60;

/// The verdict on the signature of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// This path expects no signature.
    NotChecked,
    /// Every scheme that the request is signed with fits.
    Valid,
    /// A signature is absent, stale or wrong, for this reason.
    Invalid(&'static str),
}

impl Signature {
    /// Checks the Standard Webhooks signature and, where the request has one, the `X-Eryxon-Signature`.
    pub fn of(secret: &str, headers: &HeaderMap, body: &[u8]) -> Signature {
        match standard(secret, headers, body).and_then(|()| eryxon(secret, headers, body)) {
            Ok(()) => Signature::Valid,
            Err(reason) => Signature::Invalid(reason),
        }
    }
}

/// The key of a Standard Webhooks secret, read once for many signatures.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// Reads a secret: base64 after `whsec_`, or plain text.
    pub fn parse(secret: &str) -> Result<Key, &'static str> {
        let key = match secret.strip_prefix("whsec_") {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| "the secret is not base64")?,
            None => secret.as_bytes().to_vec(),
        };
        Hmac::new_from_slice(&key).map(Key).map_err(|_| "the secret is no key")
    }

    /// Returns the value of `webhook-signature`.
    pub fn sign(&self, id: &str, timestamp_seconds: i64, body: &[u8]) -> String {
        let signature = self.of(id, &timestamp_seconds.to_string(), body).finalize().into_bytes();
        format!("v1,{}", STANDARD.encode(signature))
    }

    fn of(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac
    }
}

fn standard(secret: &str, headers: &HeaderMap, body: &[u8]) -> Result<(), &'static str> {
    let id = text(headers, "webhook-id").ok_or("no webhook-id")?;
    let timestamp = text(headers, "webhook-timestamp").ok_or("no webhook-timestamp")?;
    let signatures = text(headers, "webhook-signature").ok_or("no webhook-signature")?;
    let signed_at: u64 = timestamp.parse().map_err(|_| "webhook-timestamp is no number")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| "the clock stands before 1970")?.as_secs();
    if now.abs_diff(signed_at) > TOLERANCE_SECONDS {
        return Err("webhook-timestamp is too far from now");
    }
    let key = Key::parse(secret)?;
    let is_signed = signatures.split(' ').any(|signature| {
        let Some(encoded) = signature.strip_prefix("v1,") else { return false };
        let Ok(signature) = STANDARD.decode(encoded) else { return false };
        key.of(id, timestamp, body).verify_slice(&signature).is_ok()
    });
    if is_signed { Ok(()) } else { Err("webhook-signature is wrong") }
}

/// Verifies `X-Eryxon-Signature: sha256=<hex>`, which signs the body alone with the secret's text as the key.
fn eryxon(secret: &str, headers: &HeaderMap, body: &[u8]) -> Result<(), &'static str> {
    let Some(header) = text(headers, "x-eryxon-signature") else { return Ok(()) };
    let hex = header.strip_prefix("sha256=").ok_or("x-eryxon-signature does not start with sha256=")?;
    let signature = bytes_of_hex(hex).ok_or("x-eryxon-signature is not hexadecimal")?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| "the secret is no key")?;
    mac.update(body);
    mac.verify_slice(&signature).map_err(|_| "x-eryxon-signature is wrong")
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn bytes_of_hex(hex: &str) -> Option<Vec<u8>> {
    if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn signed(body: &[u8], at: i64) -> HeaderMap {
        let signature = standardwebhooks::Webhook::new(SECRET).unwrap().sign("msg_1", at, body).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "msg_1".parse().unwrap());
        headers.insert("webhook-timestamp", at.to_string().parse().unwrap());
        headers.insert("webhook-signature", format!("v1,AAAA {signature}").parse().unwrap());
        headers
    }

    fn now() -> i64 {
        jiff::Timestamp::now().as_second()
    }

    #[test]
    fn a_signature_of_the_reference_library_is_valid() {
        let headers = signed(b"{}", now());

        assert_eq!(Signature::of(SECRET, &headers, b"{}"), Signature::Valid);
        assert_eq!(Signature::of(SECRET, &headers, b"{ }"), Signature::Invalid("webhook-signature is wrong"));
        assert_eq!(Signature::of("other", &headers, b"{}"), Signature::Invalid("webhook-signature is wrong"));
    }

    #[test]
    fn a_signature_made_here_is_the_one_that_the_reference_library_makes() {
        let signature = standardwebhooks::Webhook::new(SECRET).unwrap().sign("msg_1", 1_700_000_000, b"{}").unwrap();

        assert_eq!(Key::parse(SECRET).unwrap().sign("msg_1", 1_700_000_000, b"{}"), signature);
    }

    #[test]
    fn a_stale_signature_is_invalid() {
        let headers = signed(b"{}", now() - 600);

        assert_eq!(Signature::of(SECRET, &headers, b"{}"), Signature::Invalid("webhook-timestamp is too far from now"));
    }

    #[test]
    fn a_wrong_legacy_signature_is_invalid() {
        let mut headers = signed(b"{}", now());
        headers.insert("x-eryxon-signature", "sha256=00".parse().unwrap());

        assert_eq!(Signature::of(SECRET, &headers, b"{}"), Signature::Invalid("x-eryxon-signature is wrong"));
    }

    #[test]
    fn the_legacy_signature_is_a_plain_hmac_of_the_body() {
        // The first published vector of RFC 4231 with a text key (test case 2).
        let mut headers = HeaderMap::new();
        let vector = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        headers.insert("x-eryxon-signature", vector.parse().unwrap());

        assert_eq!(eryxon("Jefe", &headers, b"what do ya want for nothing?"), Ok(()));
    }
}
