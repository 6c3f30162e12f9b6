//! Certificates and keys in PEM (RFC 7468), as people name them: by a file, or by their text. A key is not shown. It never reads a file.

use std::fmt;
use std::path::PathBuf;

use crate::secret::Secret;

/// Certificates or a key in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pem {
    /// A file holds it.
    File(PathBuf),
    /// A setting of a row holds it.
    Text {
        /// The name of the setting.
        setting: &'static str,
        /// The text.
        text: Secret,
    },
}

impl fmt::Display for Pem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::File(path) => write!(formatter, "`{}`", path.display()),
            Pem::Text { setting, .. } => write!(formatter, "settings.{setting}"),
        }
    }
}
