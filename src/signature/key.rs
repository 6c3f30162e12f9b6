//! A key that signs webhooks: one that the receiver has too (`whsec_`, HMAC-SHA256), or the private one of a pair (`whsk_`, Ed25519), whose
//! public half (`whpk_`) verifies and cannot sign. In: the text of a key, and a message piece by piece. Out: one signature with its version.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Hmac;
use hmac::KeyInit as _;
use hmac::Mac as _;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use ring::signature::Ed25519KeyPair;
use ring::signature::KeyPair as _;
use sha2::Sha256;

pub(super) const SHARED: &str = "whsec_";
const PRIVATE: &str = "whsk_";
pub(super) const PUBLIC: &str = "whpk_";
/// The length of a seed of Ed25519, and of a public key.
const SEED: usize = 32;
/// The lengths of the signatures in base64.
const SHARED_BASE64: usize = 44;
const PRIVATE_BASE64: usize = 88;

/// What is wrong with a key.
pub(super) enum KeyFault {
    NotBase64,
    Empty,
    NotPrivate,
    Public,
}

/// A key.
#[derive(Clone)]
pub(super) enum SigningKey {
    /// An HMAC that has taken in the key and no message yet.
    Shared(Hmac<Sha256>),
    Private(Arc<Ed25519KeyPair>),
}

/// A message that is signed while it is written, piece by piece. A private key wants to see it as a whole.
pub(super) enum Message {
    Shared(Hmac<Sha256>),
    Private(Arc<Ed25519KeyPair>, Vec<u8>),
}

/// Returns whether a word is the text of a key and not one of a plain text.
pub(super) fn has_prefix(word: &str) -> bool {
    [SHARED, PRIVATE, PUBLIC].iter().any(|prefix| word.starts_with(prefix))
}

/// Makes a secret that the receiver has to know too.
pub fn new_shared() -> String {
    format!("{SHARED}{}", STANDARD.encode(random()))
}

/// Makes a private key.
pub fn new_private() -> String {
    format!("{PRIVATE}{}", STANDARD.encode(random()))
}

fn random() -> [u8; SEED] {
    let mut bytes = [0; SEED];
    OsRng.try_fill_bytes(&mut bytes).expect("the operating system has random numbers");
    bytes
}

pub(super) fn hmac_of(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

impl SigningKey {
    /// Reads a word with a prefix. An error has the prefix as well.
    pub(super) fn parse(word: &str) -> Result<SigningKey, (&'static str, KeyFault)> {
        if word.starts_with(PUBLIC) {
            return Err((PUBLIC, KeyFault::Public));
        }
        let prefix = if word.starts_with(PRIVATE) { PRIVATE } else { SHARED };
        let key = STANDARD.decode(&word[prefix.len()..]).map_err(|_| (prefix, KeyFault::NotBase64))?;
        if key.is_empty() {
            return Err((prefix, KeyFault::Empty));
        }
        if prefix == SHARED {
            return Ok(SigningKey::Shared(hmac_of(&key)));
        }
        // Libraries keep the public key behind the seed.
        let pair = match key.split_at_checked(SEED) {
            Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
            Some((seed, public)) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
            None => return Err((prefix, KeyFault::NotPrivate)),
        };
        pair.map(|pair| SigningKey::Private(Arc::new(pair))).map_err(|_| (prefix, KeyFault::NotPrivate))
    }

    /// Returns the public half, if there is one.
    pub(super) fn public(&self) -> Option<String> {
        match self {
            SigningKey::Shared(_) => None,
            SigningKey::Private(pair) => Some(format!("{PUBLIC}{}", STANDARD.encode(pair.public_key()))),
        }
    }

    /// Returns how long a signature is.
    pub(super) fn signature_length(&self) -> usize {
        match self {
            SigningKey::Shared(_) => "v1,".len() + SHARED_BASE64,
            SigningKey::Private(_) => "v1a,".len() + PRIVATE_BASE64,
        }
    }

    /// Begins a message.
    pub(super) fn message(&self) -> Message {
        match self {
            SigningKey::Shared(keyed) => Message::Shared(keyed.clone()),
            SigningKey::Private(pair) => Message::Private(Arc::clone(pair), Vec::new()),
        }
    }
}

impl Message {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        match self {
            Message::Shared(mac) => mac.update(bytes),
            Message::Private(_, text) => text.extend_from_slice(bytes),
        }
    }

    /// Signs what was written, and adds the signature with its version to a text.
    pub(super) fn sign(self, signatures: &mut String) {
        match self {
            Message::Shared(mac) => add(signatures, "v1,", &mac.finalize().into_bytes()),
            Message::Private(pair, text) => add(signatures, "v1a,", pair.sign(&text).as_ref()),
        }
    }
}

fn add(signatures: &mut String, version: &str, signature: &[u8]) {
    signatures.push_str(version);
    let mut text = [0; PRIVATE_BASE64];
    let length = STANDARD.encode_slice(signature, &mut text).expect("the longest signature has this length");
    signatures.push_str(std::str::from_utf8(&text[..length]).expect("base64 is ASCII"));
}

impl fmt::Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}
