//! The columns of a destination's row, and the fields of its `settings`. In: the row as PostgreSQL wrote it in JSON. Out: typed values, and
//! every problem met on the way. It never stops at the first problem, and no value can make it fail: each column and each setting is read
//! apart, because a number beyond all ranges or a nesting without end in one of them says nothing about the others.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::value::RawValue;

use crate::destination::sealed;
use crate::destination::sealed::SealedRow;
use crate::destination::sealed::Unsealed;
use crate::destination::sealed::Values;
use crate::nearest::nearest;
use crate::sealing::Keys;
use crate::secret::Secret;

/// Columns that are written while the destination is in use. A change of them does not change the destination.
const BOOKKEEPING: [&str; 5] = ["last_connected_at", "last_error", "created_at", "updated_at", "created_by"];

/// Columns that Andon's own tables have not had from the beginning.
const LATER: [&str; 11] = [
    "headers",
    "name",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_scope",
    "oauth_token_url",
    "password",
    "previous_secret_key",
    "previous_secret_until",
    "token",
    "username",
];

/// The longest text of a column. Names, addresses, passwords and tokens are far shorter.
const LONGEST_TEXT: usize = 16 << 10;
/// The most event patterns of a destination: each event of its tenant is compared with all of them.
const MOST_ITEMS: usize = 256;
/// The most items of a list of settings. What reads the list may want fewer, and says so.
const MOST_SETTINGS: usize = 1000;
/// How much of a value is quoted in a problem.
const QUOTED: usize = 100;
/// How many unknown settings are named, and up to which length a similar name is looked for.
const UNKNOWN_NAMED: usize = 10;
const LONGEST_NAME: usize = 64;

/// A row that is being read, and the problems so far.
pub(super) struct Fields<'a> {
    columns: Values<'a>,
    settings: Values<'a>,
    known: BTreeSet<&'static str>,
    /// The sealed values that did not open. Each is a problem already, and counts as not given.
    shut: BTreeSet<&'static str>,
    /// The ids of the keys that the sealed values need.
    keys: BTreeSet<String>,
    problems: Vec<String>,
}

impl<'a> Fields<'a> {
    /// Reads the row's text. A row that is no JSON object has no columns, and that is its problem. What is sealed is opened if the row is
    /// one of Andon's own tables.
    pub(super) fn new(row: &'a str, sealed_row: Option<SealedRow<'_>>) -> Fields<'a> {
        let mut problems = Vec::new();
        let mut columns = values(row).unwrap_or_else(|error| {
            problems.push(format!("the row cannot be read: {error}"));
            Values::new()
        });
        let given = columns.get("settings").map(|settings| settings.get()).filter(|settings| *settings != "null");
        let mut settings = given.map_or(Ok(Values::new()), owned_values).unwrap_or_else(|_| {
            problems.push("settings is not a JSON object such as {\"timeout\": \"10s\"}".to_owned());
            Values::new()
        });
        let Unsealed { shut, keys } = sealed_row.map(|row| row.open(&mut columns, &mut settings)).unwrap_or_default();
        problems.extend(shut.iter().map(|(name, problem)| format!("{name} {problem}")));
        let shut = shut.into_iter().map(|(name, _)| name).collect();
        Fields { columns, settings, known: BTreeSet::new(), shut, keys, problems }
    }

    /// Returns the ids of the keys that open what is sealed in the row.
    pub(super) fn keys(&self) -> &BTreeSet<String> {
        &self.keys
    }

    /// Returns whether there is a sealed value that does not open, so that nothing is to be said of its absence.
    pub(super) fn is_shut(&self, name: &str) -> bool {
        self.shut.contains(name)
    }

    /// Reads a column as text, unless it is null, empty or missing.
    pub(super) fn text(&mut self, column: &str) -> Option<String> {
        let text = self.verbatim(column)?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Reads a column as text with the blanks at its ends, unless it is null, empty or missing.
    pub(super) fn verbatim(&mut self, column: &str) -> Option<String> {
        let raw = &self.column(column)?;
        let text = match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str::<String>(raw).ok(),
            Some(b'-' | b'0'..=b'9') => Some(raw.clone()),
            _ => None,
        };
        let Some(text) = text else {
            let shown = if sealed::COLUMNS.contains(&column) || column == "broker_url" {
                String::new()
            } else {
                format!("`{}` ", quoted(raw))
            };
            self.problem(format!("{column}: {shown}is not a text"));
            return None;
        };
        if text.len() > LONGEST_TEXT || text.contains('\0') {
            self.problem(format!("{column} is longer than {LONGEST_TEXT} bytes, or contains a NUL"));
            return None;
        }
        (!text.is_empty()).then_some(text)
    }

    /// Reads a column that is an object of texts, as JSON or as its text, unless it is null, empty or missing. Its values are secrets.
    pub(super) fn secret_object(&mut self, column: &str) -> Option<Vec<(String, Secret)>> {
        let raw = self.column(column)?;
        let text = if raw.starts_with('"') { serde_json::from_str(&raw).unwrap_or_default() } else { raw };
        if text.trim().is_empty() {
            return None;
        }
        let pairs = serde_json::from_str::<BTreeMap<String, String>>(&text).ok().filter(|_| text.len() <= LONGEST_TEXT);
        if pairs.is_none() {
            self.problem(format!(
                "{column} is not a JSON object of at most {LONGEST_TEXT} bytes whose values are texts"
            ));
        }
        Some(pairs?.into_iter().map(|(name, value)| (name, Secret::new(value))).collect())
    }

    /// Reads a boolean column, or `default` if it is null or missing.
    pub(super) fn flag(&mut self, column: &str, default: bool) -> bool {
        let Some(raw) = self.column(column) else { return default };
        flag(raw.trim_matches('"')).unwrap_or_else(|| {
            self.problem(format!("{column}: `{}` is not true or false", quoted(&raw)));
            default
        })
    }

    /// Reads a column that is an array of strings. Returns none if it is anything else.
    pub(super) fn list(&mut self, column: &str) -> Option<Vec<String>> {
        let Some(raw) = self.column(column) else { return Some(Vec::new()) };
        let items = texts(&raw, MOST_ITEMS);
        if items.is_none() {
            self.problem(format!("{column}: `{}` is not a list of at most {MOST_ITEMS} texts", quoted(&raw)));
        }
        items
    }

    fn column(&self, column: &str) -> Option<String> {
        let raw = self.columns.get(column).map(|raw| raw.get()).filter(|raw| *raw != "null");
        raw.filter(|_| !self.is_shut(column)).map(str::to_owned)
    }

    /// Reads a setting from its text with `read`; a number counts as its text. Messages say that `wanted` would be right.
    pub(super) fn setting<T>(
        &mut self,
        name: &'static str,
        wanted: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.known.insert(name);
        let raw = self.settings.get(name)?.get();
        let text = if raw.starts_with('"') { serde_json::from_str::<String>(raw).ok() } else { Some(raw.to_owned()) };
        let text = text.filter(|text| text.len() <= LONGEST_TEXT && !text.contains('\0'));
        let value = text.as_deref().and_then(read);
        if value.is_none() {
            self.problem(format!("settings.{name}: `{}` is not {wanted}", quoted(text.as_deref().unwrap_or(raw))));
        }
        value
    }

    /// Reads a setting that is a text, unless it is missing, null or blank. Its value may be a secret, and is never shown.
    pub(super) fn text_setting(&mut self, name: &'static str) -> Option<String> {
        self.known.insert(name);
        if sealed::setting(name).is_some_and(|name| self.is_shut(name)) {
            return None;
        }
        let raw = self.settings.get(name)?.get();
        let text = if raw == "null" { Some(String::new()) } else { serde_json::from_str::<String>(raw).ok() };
        let text = text.filter(|text| text.len() <= LONGEST_TEXT && !text.contains('\0'));
        if text.is_none() {
            self.problem(format!("settings.{name} is not a text of at most {LONGEST_TEXT} bytes"));
        }
        text.filter(|text| !text.trim().is_empty())
    }

    /// Reads a setting that is true or false.
    pub(super) fn flag_setting(&mut self, name: &'static str) -> bool {
        self.setting(name, "true or false", flag).unwrap_or(false)
    }

    /// Reads a setting that is a list of strings.
    pub(super) fn list_setting(&mut self, name: &'static str) -> Option<Vec<String>> {
        self.known.insert(name);
        let items = texts(self.settings.get(name)?.get(), MOST_SETTINGS);
        if items.is_none() {
            self.problem(format!("settings.{name} is not a list of at most {MOST_SETTINGS} texts"));
        }
        items
    }

    pub(super) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Returns all problems, including settings that nobody asked for.
    pub(super) fn problems(mut self) -> Vec<String> {
        let unknown: Vec<&String> = self.settings.keys().filter(|name| !self.known.contains(name.as_str())).collect();
        for name in unknown.iter().take(UNKNOWN_NAMED) {
            let similar = (name.len() <= LONGEST_NAME).then(|| nearest(name, self.known.iter().copied())).flatten();
            let hint = match similar {
                Some(known) => format!("; did you mean `{known}`?"),
                None => format!("; known are {}", Vec::from_iter(self.known.iter().copied()).join(", ")),
            };
            self.problems.push(format!("settings.{} is unknown{hint}", quoted(name)));
        }
        if unknown.len() > UNKNOWN_NAMED {
            self.problems.push(format!("{} more settings are unknown", unknown.len() - UNKNOWN_NAMED));
        }
        self.problems
    }

    /// Returns a digest of all columns except the bookkeeping, which stands in the database. It is the same for a value that is sealed and for
    /// one that is not, so that sealing restarts no lane, and it is made with the key that seals, so that nobody guesses a weak secret by it. A column of [`LATER`] that is not given counts as none, because the migration that brought it must not change
    /// any destination: a disabled one would be enabled again.
    pub(super) fn fingerprint(&self, keys: &Keys) -> String {
        let mut text = String::new();
        for (column, raw) in &self.columns {
            let is_given = !LATER.contains(&column.as_str()) || raw.get() != "null";
            if is_given && !BOOKKEEPING.contains(&column.as_str()) {
                text += &format!("{column}={raw}\n");
            }
        }
        keys.digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Reads the values of a JSON object.
fn values(object: &str) -> serde_json::Result<Values<'_>> {
    let values: BTreeMap<String, &RawValue> = serde_json::from_str(object)?;
    Ok(values.into_iter().map(|(name, raw)| (name, Cow::Borrowed(raw))).collect())
}

/// Does the same where the object does not stay.
fn owned_values(object: &str) -> serde_json::Result<Values<'static>> {
    let values: BTreeMap<String, Box<RawValue>> = serde_json::from_str(object)?;
    Ok(values.into_iter().map(|(name, raw)| (name, Cow::Owned(raw))).collect())
}

/// Reads a list of texts. An item that is no text becomes an empty one, which whoever reads the list refuses by its place.
fn texts(raw: &str, most: usize) -> Option<Vec<String>> {
    let items: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
    let text = |item: &&RawValue| serde_json::from_str(item.get()).unwrap_or_default();
    (items.len() <= most && raw.len() <= LONGEST_TEXT).then(|| items.iter().map(text).collect())
}

/// Reads a truth value as PostgreSQL writes it, or as people write it into a column of text.
fn flag(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Returns the beginning of a value, without what PostgreSQL could not store in a reason.
fn quoted(text: &str) -> String {
    let mut quoted: String = text.chars().take(QUOTED).filter(|letter| *letter != '\0').collect();
    if text.chars().nth(QUOTED).is_some() {
        quoted.push_str("...");
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_odd_value_is_its_own_trouble() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let row = format!(
            r#"{{"a": {deep}, "b": 1e400, "c": "\ud800", "url": "http://x", "list": {{}},
                "settings": {{"deep": {deep}, "large": 1e400, "window": 7}}}}"#
        );
        let mut fields = Fields::new(&row, None);

        assert_eq!(fields.text("url").as_deref(), Some("http://x"));
        assert_eq!(fields.text("b").as_deref(), Some("1e400"), "the digits, whatever a float makes of them");
        assert_eq!((fields.text("a"), fields.text("c"), fields.list("list")), (None, None, None));
        assert_eq!(fields.setting("window", "a number", |text| text.parse().ok()), Some(7));
        assert_eq!(fields.setting("large", "a number", |text| text.parse::<u16>().ok()), None);
        assert_eq!(fields.setting("deep", "a number", |text| text.parse::<u16>().ok()), None);
        assert_eq!(fields.problems().len(), 5);
    }

    #[test]
    fn a_truth_value_may_be_a_text_and_nonsense_is_a_problem() {
        let mut fields = Fields::new(r#"{"active": "f", "use_tls": "maybe", "settings": {"paused": "yes"}}"#, None);

        assert!(!fields.flag("active", true) && fields.flag_setting("paused"));
        assert!(fields.flag("use_tls", true), "the default stands");
        assert_eq!(fields.problems(), ["use_tls: `\"maybe\"` is not true or false"]);
    }

    #[test]
    fn a_name_that_is_not_given_is_no_change_and_one_that_is_given_is_one() {
        let fingerprint = |row: &str| Fields::new(row, None).fingerprint(&Keys::default());

        let before = fingerprint(r#"{"url": "http://x"}"#);
        assert_eq!(fingerprint(r#"{"url": "http://x", "name": null}"#), before);
        assert_ne!(fingerprint(r#"{"url": "http://x", "name": "erp"}"#), before);
    }

    #[test]
    fn a_secret_that_is_no_text_is_not_shown() {
        let mut fields = Fields::new(r#"{"password": ["hunter2"], "name": ["x"]}"#, None);

        assert_eq!((fields.verbatim("password"), fields.text("name")), (None, None));
        assert_eq!(fields.problems(), ["password: is not a text", "name: `[\"x\"]` is not a text"]);
    }
}
