//! A key that seals secrets, as it stands in its file: 32 bytes in base64. It has an id, which tells nothing about it, so that a sealed value
//! can say which key opens it. The cipher is XChaCha20-Poly1305, whose nonces are long enough to be drawn at random.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::XNonce;
use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::aead::Generate as _;
use chacha20poly1305::aead::Payload;
use hmac::Hmac;
use hmac::KeyInit as _;
use hmac::Mac as _;
use sha2::Digest as _;
use sha2::Sha256;
use thiserror::Error;

/// The length of a nonce, which stands before what was encrypted with it.
const NONCE: usize = 24;

/// A key.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    bytes: [u8; 32],
    id: String,
}

/// Why a text is no key. The message never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("holds no key, which is 32 bytes in base64; make one with `andon secrets new-key FILE`")]
pub struct KeyProblem;

impl Key {
    /// Makes a new key.
    pub fn generate() -> Key {
        Key::of(chacha20poly1305::Key::generate().into())
    }

    /// Reads the text of a key's file.
    pub fn parse(text: &str) -> Result<Key, KeyProblem> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| KeyProblem)?;
        Ok(Key::of(bytes.try_into().map_err(|_| KeyProblem)?))
    }

    fn of(bytes: [u8; 32]) -> Key {
        let mut digest = Sha256::new();
        digest.update(b"the id of a key of Andon");
        digest.update(bytes);
        let id = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Key { bytes, id }
    }

    /// Returns the text of the key's file.
    pub fn text(&self) -> String {
        STANDARD.encode(self.bytes)
    }

    /// Returns the id.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn encrypt(&self, plain: &[u8], authenticated: &[u8]) -> Vec<u8> {
        let nonce = XNonce::generate();
        let payload = Payload { msg: plain, aad: authenticated };
        let sealed =
            self.cipher().encrypt(&nonce, payload).expect("a secret is far shorter than what the cipher takes");
        [nonce.as_slice(), &sealed].concat()
    }

    pub(super) fn decrypt(&self, sealed: &[u8], authenticated: &[u8]) -> Option<Vec<u8>> {
        let (nonce, msg) = sealed.split_at_checked(NONCE)?;
        let nonce = XNonce::try_from(nonce).ok()?;
        self.cipher().decrypt(&nonce, Payload { msg, aad: authenticated }).ok()
    }

    /// Returns a digest that nobody can compute without the key. It has a key of its own, which is derived from this one.
    pub(super) fn digest(&self, text: &[u8]) -> [u8; 32] {
        let derived = authenticated(&self.bytes, b"the digests of Andon");
        authenticated(&derived, text)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.bytes.into())
    }
}

fn authenticated(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    Hmac::<Sha256>::new_from_slice(key)
        .expect("HMAC takes keys of any length")
        .chain_update(text)
        .finalize()
        .into_bytes()
        .into()
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({})", self.id)
    }
}
