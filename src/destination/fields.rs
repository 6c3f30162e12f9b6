//! The columns of a destination's row, and the fields of its `settings`. In: the row as JSON. Out: typed values, and every problem met on
//! the way. It never stops at the first problem.

use std::collections::BTreeSet;

use serde_json::Map;
use serde_json::Value;
use sha2::Digest as _;
use sha2::Sha256;

use crate::nearest::nearest;

/// Columns that are written while the destination is in use. A change of them does not change the destination.
const BOOKKEEPING: [&str; 5] = ["last_connected_at", "last_error", "created_at", "updated_at", "created_by"];

/// A row that is being read, and the problems so far.
pub(super) struct Fields<'a> {
    row: &'a Value,
    settings: Map<String, Value>,
    known: BTreeSet<&'static str>,
    problems: Vec<String>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(row: &'a Value) -> Fields<'a> {
        let mut problems = Vec::new();
        let settings = match row.get("settings") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(settings)) => settings.clone(),
            Some(_) => {
                problems.push("settings is not a JSON object such as {\"timeout\": \"10s\"}".to_owned());
                Map::new()
            }
        };
        Fields { row, settings, known: BTreeSet::new(), problems }
    }

    /// Reads a column as text, unless it is null, empty or missing.
    pub(super) fn text(&self, column: &str) -> Option<String> {
        match self.row.get(column)? {
            Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// Reads a column as text with the blanks at its ends, unless it is null, empty or missing.
    pub(super) fn verbatim(&self, column: &str) -> Option<String> {
        self.row.get(column)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// Reads a boolean column, or `default` if it is null or missing.
    pub(super) fn flag(&self, column: &str, default: bool) -> bool {
        self.row.get(column).and_then(Value::as_bool).unwrap_or(default)
    }

    /// Reads a column that is an array of strings.
    pub(super) fn list(&self, column: &str) -> Vec<String> {
        let items = self.row.get(column).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        items.iter().map(|item| item.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Reads a setting from its text with `read`; a number counts as its text. Messages say that `wanted` would be right.
    pub(super) fn setting<T>(
        &mut self,
        name: &'static str,
        wanted: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.known.insert(name);
        let text = match self.settings.get(name)? {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let value = read(&text);
        if value.is_none() {
            self.problem(format!("settings.{name}: `{text}` is not {wanted}"));
        }
        value
    }

    /// Reads a setting that is a list of strings.
    pub(super) fn list_setting(&mut self, name: &'static str) -> Option<Vec<String>> {
        self.known.insert(name);
        let value = self.settings.get(name)?;
        let texts = value
            .as_array()
            .and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>());
        if texts.is_none() {
            self.problem(format!("settings.{name} is not a list of strings"));
        }
        texts
    }

    pub(super) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Returns all problems, including settings that nobody asked for.
    pub(super) fn problems(mut self) -> Vec<String> {
        for name in self.settings.keys().filter(|name| !self.known.contains(name.as_str())) {
            let hint = match nearest(name, self.known.iter().copied()) {
                Some(known) => format!("; did you mean `{known}`?"),
                None => format!("; known are {}", Vec::from_iter(self.known.iter().copied()).join(", ")),
            };
            self.problems.push(format!("settings.{name} is unknown{hint}"));
        }
        self.problems
    }

    /// Returns a digest of all columns except the bookkeeping.
    pub(super) fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        for (column, value) in self.row.as_object().into_iter().flatten() {
            if !BOOKKEEPING.contains(&column.as_str()) {
                digest.update(format!("{column}={value}\n"));
            }
        }
        digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}
