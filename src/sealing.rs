//! Secrets at rest. In: a secret, the place of the database where it stands, and the keys of the configuration. Out: a text that only opens with
//! the key at the same place, or the secret that it holds. Where it stands is authenticated with it, so that a value that somebody copies to
//! a row or column of his own does not open there. It never shows a secret or a key.

mod key;

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::Digest as _;
use sha2::Sha256;
use thiserror::Error;

pub use crate::sealing::key::Key;
pub use crate::sealing::key::KeyProblem;
use crate::secret::Secret;

/// The beginning of every sealed value, whatever its version.
const MARK: &str = "sealed:";
/// The beginning of the values that this version makes: `sealed:v1:<id of the key>:<base64url of nonce and ciphertext>`.
const V1: &str = "sealed:v1:";

/// Where a sealed value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The table, such as `andon.webhooks`.
    pub table: &'a str,
    /// The key of the row.
    pub row: &'a str,
    /// The column, or `settings.` and the name of a setting.
    pub column: &'a str,
}

/// The keys of the configuration, each with the name of its file. The first seals, and all of them open. Clones share them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys(Arc<Vec<(String, Key)>>);

/// Why a sealed value does not open. The message goes on after the name of the column.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealProblem {
    /// A later version of Andon made it, or somebody who does not know how.
    #[error(
        "begins with `sealed:` but is nothing that this version of Andon sealed; set it again with `andon secrets set`"
    )]
    Unknown,
    /// None of the keys is the one that sealed it.
    #[error(
        "is sealed with key {0}, which the configuration does not name; add its file to secrets.keys, or set the value again with `andon secrets set`"
    )]
    NoKey(String),
    /// The key is there, but this is not what it sealed here.
    #[error(
        "does not open: it was changed, or copied here from another row or column; set it again with `andon secrets set`"
    )]
    NotHere,
}

impl Keys {
    /// Takes the keys in their order.
    pub fn new(keys: Vec<(String, Key)>) -> Keys {
        Keys(Arc::new(keys))
    }

    /// Seals a secret for one place. There is none without a key.
    pub fn seal(&self, secret: &Secret, place: Place<'_>) -> Option<String> {
        let (_, key) = self.0.first()?;
        let sealed = key.encrypt(secret.expose().as_bytes(), &place.authenticated());
        Some(format!("{V1}{}:{}", key.id(), URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Opens a sealed value that was read at this place.
    pub fn open(&self, text: &str, place: Place<'_>) -> Result<Secret, SealProblem> {
        let (id, encoded) = parts(text).ok_or(SealProblem::Unknown)?;
        let sealed = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| SealProblem::NotHere)?;
        let key = self.0.iter().map(|(_, key)| key).find(|key| key.id() == id);
        let key = key.ok_or_else(|| SealProblem::NoKey(id.to_owned()))?;
        let opened = key.decrypt(&sealed, &place.authenticated()).and_then(|bytes| String::from_utf8(bytes).ok());
        opened.map(Secret::new).ok_or(SealProblem::NotHere)
    }

    /// Returns whether a value is sealed with the key that seals now.
    pub fn is_current(&self, text: &str) -> bool {
        let first = self.0.first().map(|(_, key)| key.id());
        parts(text).is_some_and(|(id, _)| Some(id) == first)
    }

    /// Returns a digest of a text that may hold secrets. Who does not have the key that seals cannot find out by it whether he has guessed the
    /// text; without a key it is a plain one.
    pub fn digest(&self, text: &[u8]) -> [u8; 32] {
        self.0.first().map_or_else(|| Sha256::digest(text).into(), |(_, key)| key.digest(text))
    }

    /// Returns the ids of all keys, in their order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, key)| key.id())
    }

    /// Returns the name and the id of the key that seals.
    pub fn first(&self) -> Option<(&str, &str)> {
        self.0.first().map(|(name, key)| (name.as_str(), key.id()))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Place<'_> {
    /// Returns what is authenticated with the ciphertext. Each part has its length before it, so that no two places have the same.
    fn authenticated(self) -> Vec<u8> {
        let mut bytes = V1.as_bytes().to_vec();
        for part in [self.table, self.row, self.column] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        bytes
    }
}

/// Returns whether a text is a sealed value, of whatever version.
pub fn is_sealed(text: &str) -> bool {
    text.starts_with(MARK)
}

/// Returns the id of the key that sealed a value; none if it is plain, or nothing that this version makes.
pub fn key_id(text: &str) -> Option<&str> {
    parts(text).map(|(id, _)| id)
}

/// Takes a value apart: the id of its key, and what is sealed.
fn parts(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix(V1)?.split_once(':')
}

#[cfg(test)]
mod tests;
