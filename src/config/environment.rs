//! The environment variables, as a value, so that a test can make them up.

use std::collections::BTreeMap;

/// Environment variables by name.
pub type Environment = BTreeMap<String, String>;

/// Returns the variables of this process. A variable that is not Unicode is left out: it cannot be one of Andon's.
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
