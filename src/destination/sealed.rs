//! The values of a row that may be sealed: passwords, keys and addresses that hold one. In: the values of a row of Andon's own tables, and the
//! keys of the configuration. Out: the same values as if each were plain, what does not open, and which keys all of it needs. A row of a
//! system's own table is never given to it: what stands there is the system's, and is taken as it is.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::value::RawValue;

use crate::sealing;
use crate::sealing::Keys;
use crate::sealing::Place;
use crate::sealing::SealProblem;
use crate::secret::Secret;

/// The columns that may be sealed. Their values are never shown.
pub const COLUMNS: [&str; 8] = [
    "headers",
    "oauth_client_secret",
    "oauth_token_url",
    "password",
    "previous_secret_key",
    "secret_key",
    "token",
    "url",
];
/// The settings that may be sealed, as a column's name would be.
pub const SETTINGS: [&str; 1] = ["settings.client_key"];
const SETTINGS_PREFIX: &str = "settings.";

/// The values of a row or of its settings by name. One that was sealed is there as if it had been plain.
pub(super) type Values<'a> = BTreeMap<String, Cow<'a, RawValue>>;

/// Which row is read, and what opens its values.
#[derive(Debug, Clone, Copy)]
pub(super) struct SealedRow<'a> {
    pub(super) keys: &'a Keys,
    pub(super) table: &'a str,
    pub(super) row: &'a str,
}

/// What became of the sealed values of a row.
#[derive(Debug, Default)]
pub(super) struct Unsealed {
    /// The names of the values that do not open, which are left as they are.
    pub(super) shut: Vec<(&'static str, SealProblem)>,
    /// The ids of the keys that sealed the values, whether they open or not.
    pub(super) keys: BTreeSet<String>,
}

/// Returns how a setting is called that may be sealed.
pub(super) fn setting(name: &str) -> Option<&'static str> {
    SETTINGS.into_iter().find(|setting| setting.strip_prefix(SETTINGS_PREFIX) == Some(name))
}

impl SealedRow<'_> {
    /// Opens what is sealed, in place.
    pub(super) fn open(self, columns: &mut Values<'_>, settings: &mut Values<'_>) -> Unsealed {
        let Unsealed { mut shut, mut keys } = Unsealed::default();
        for name in COLUMNS {
            match columns.get(name).and_then(|raw| self.opened(name, raw, &mut keys)) {
                None => {}
                Some(Ok((_, opened))) => drop(columns.insert(name.to_owned(), Cow::Owned(opened))),
                Some(Err(problem)) => shut.push((name, problem)),
            }
        }
        for name in SETTINGS {
            let key = name.strip_prefix(SETTINGS_PREFIX).unwrap_or(name);
            match settings.get(key).and_then(|raw| self.opened(name, raw, &mut keys)) {
                None => {}
                Some(Ok((sealed, opened))) => {
                    // The column as a whole has to read as if it had been plain, because its fingerprint is that of its text.
                    if let Some(whole) = columns.get_mut("settings")
                        && let Ok(plain) = RawValue::from_string(whole.get().replace(&sealed, opened.get()))
                    {
                        *whole = Cow::Owned(plain);
                    }
                    settings.insert(key.to_owned(), Cow::Owned(opened));
                }
                Some(Err(problem)) => shut.push((name, problem)),
            }
        }
        Unsealed { shut, keys }
    }

    /// Returns the JSON of a sealed value, and that of what it holds. There is none if the value is plain. Its key is added to `keys`.
    fn opened(
        self,
        column: &str,
        raw: &RawValue,
        keys: &mut BTreeSet<String>,
    ) -> Option<Result<(String, Box<RawValue>), SealProblem>> {
        let text: String = serde_json::from_str(raw.get()).ok().filter(|text: &String| sealing::is_sealed(text))?;
        keys.extend(sealing::key_id(&text).map(str::to_owned));
        let opened = self.keys.open(&text, Place { table: self.table, row: self.row, column });
        Some(opened.map(|opened| (raw.get().to_owned(), json(&opened))))
    }
}

/// Writes a text as PostgreSQL does.
fn json(text: &Secret) -> Box<RawValue> {
    serde_json::value::to_raw_value(text.expose()).expect("a text is JSON")
}
