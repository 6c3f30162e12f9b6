//! A change that was not captured, made ready to be captured again. In: what was kept of it, and the table with its rules as they are now. Out:
//! the rules that take it, and a `from` item that yields its rows; or why there is nothing to go by. It executes nothing.

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value;

use crate::capture::check::CheckedTable;
use crate::capture::failures::Failure;
use crate::capture::failures::LONGEST_KEY;
use crate::capture::mapping::Operation;
use crate::capture::sql::event::Rule;
use crate::capture::sql::quote::identifier;
use crate::capture::sql::quote::literal;
use crate::capture::table::Table;

/// A change to be captured again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The operation for which the insert is generated.
    pub(super) operation: Operation,
    /// The rules that may take it.
    pub(super) rules: Vec<Rule>,
    /// A `from` item that yields `new`, `old` or both.
    pub(super) rows: String,
    /// Whether nothing is kept but the key, so that the row has to be there.
    pub(super) needs_row: bool,
}

impl Change {
    pub(super) fn of(failure: &Failure, captured: &CheckedTable) -> Result<Change, String> {
        let CheckedTable { table, rules, .. } = captured;
        let Some(operation) = Operation::ALL.into_iter().find(|it| it.name() == failure.operation) else {
            return Err(format!("it is no change of a row, but `{}`", failure.operation));
        };
        let rules = rules.clone();
        let image = |text: &str| Image::of(text, failure.key.as_deref(), table);
        match (operation, &failure.new_image, &failure.old_image) {
            (Operation::Update, Some(_), None) | (Operation::Update, None, Some(_)) if failure.key.is_none() => {
                Err("the table had no key to tell which row was which; name the rows: --table and --where".to_owned())
            }
            // An update that changes the key is a delete and an insert.
            (Operation::Insert, Some(new), _) | (Operation::Update, Some(new), None) => {
                let rows = image(new)?.row(table, "new", Base::Present);
                Ok(Change { operation: Operation::Insert, rules, rows, needs_row: false })
            }
            (Operation::Update, Some(new), Some(old)) => {
                let (new, mut old) = (image(new)?, image(old)?);
                let (operation, rules) = match &failure.changed {
                    // An older version has recorded the images alone, and they have to say what changed.
                    None => (operation, rules),
                    Some(changed) => {
                        let changed = Changed::of(changed, table, &new);
                        old.forget(&changed);
                        (Operation::Insert, changed.rules(rules))
                    }
                };
                let old = old.row(table, "old", Base::Present);
                let rows = format!("{}\ncross join {old}", new.row(table, "new", Base::Present));
                Ok(Change { operation, rules, rows, needs_row: false })
            }
            (Operation::Delete, _, Some(old)) | (Operation::Update, None, Some(old)) => {
                let rows = image(old)?.row(table, "old", Base::Nothing);
                Ok(Change { operation: Operation::Delete, rules, rows, needs_row: false })
            }
            (Operation::Truncate, ..) => {
                Ok(Change { operation, rules, rows: Operation::NO_ROW.to_owned(), needs_row: false })
            }
            (Operation::Delete, ..) => Err("no image of the deleted row is kept".to_owned()),
            (_, None, _) => {
                let key = failure.key.as_deref().and_then(|key| key_values(table, key));
                let key = key.ok_or("neither its images nor its key are kept; name the rows: --table and --where")?;
                let new =
                    Image { kept: "{}".to_owned(), known: Map::new(), added: key }.row(table, "new", Base::Needed);
                let rows = match operation {
                    Operation::Update => format!("{new}\ncross join {} as old", no_row(&table.sql)),
                    _ => new,
                };
                Ok(Change { operation, rules, rows, needs_row: true })
            }
        }
    }
}

/// The columns that an update changed.
struct Changed<'f> {
    columns: Vec<&'f str>,
    /// Columns that no image has although one of these columns is called something else now: each may be the one.
    doubtful: Vec<&'f str>,
}

impl<'f> Changed<'f> {
    fn of(columns: &'f [String], table: &'f Table, new: &Image) -> Changed<'f> {
        let is_gone = columns.iter().any(|column| !table.columns.contains(column));
        let is_unknown = |column: &&String| is_gone && !new.known.contains_key(*column);
        Changed {
            columns: columns.iter().map(String::as_str).collect(),
            doubtful: table.columns.iter().filter(is_unknown).map(String::as_str).collect(),
        }
    }

    /// Returns the rules of an update that take such a change, as rules that ask for no change any more: the values that are kept may not
    /// show it.
    fn rules(&self, rules: Vec<Rule>) -> Vec<Rule> {
        let is_changed = |column: &String| self.all().any(|known| known == column);
        let takes = |rule: &Rule| {
            rule.operation == Operation::Update
                && if rule.of.is_empty() { !self.columns.is_empty() } else { rule.of.iter().any(is_changed) }
        };
        let rules = rules.into_iter().filter(takes);
        rules.map(|rule| Rule { operation: Operation::Insert, of: Vec::new(), ..rule }).collect()
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().chain(&self.doubtful).copied()
    }
}

/// What is kept of a row.
struct Image {
    /// The JSON, as it was recorded.
    kept: String,
    /// The same, to ask which columns it has.
    known: Map<String, Value>,
    /// What is known of columns that it lacks.
    added: Map<String, Value>,
}

impl Image {
    /// Reads an image. A column of the key that has another name now is taken from the key as text.
    fn of(kept: &str, key: Option<&str>, table: &Table) -> Result<Image, String> {
        let known: Map<String, Value> =
            serde_json::from_str(kept).map_err(|error| format!("its image cannot be read: {error}"))?;
        let lacks_key = table.key.iter().any(|column| !known.contains_key(column));
        let added = match key {
            Some(key) if lacks_key => key_values(table, key)
                .ok_or_else(|| format!("its key `{key}` is none of the columns {}", table.key.join(", ")))?,
            _ => Map::new(),
        };
        Ok(Image { kept: kept.to_owned(), known, added })
    }

    /// Says that the values of changed columns are not known where they are not kept: the row that is there now has later ones.
    fn forget(&mut self, changed: &Changed<'_>) {
        let lacking = changed.all().filter(|column| !self.known.contains_key(*column));
        let unknown: Vec<(String, Value)> = lacking.map(|column| (column.to_owned(), Value::Null)).collect();
        for (column, value) in unknown {
            self.added.entry(column).or_insert(value);
        }
    }

    /// Returns a `from` item that yields the row.
    fn row(&self, table: &Table, name: &str, base: Base) -> String {
        let sql = &table.sql;
        let json = |text: &str| format!("{}::jsonb", literal(text).trim_start());
        let kept = json(&self.kept);
        let image = match self.added.is_empty() {
            true => kept,
            false => format!("({} || {kept})", json(&Value::Object(self.added.clone()).to_string())),
        };
        let given = format!("jsonb_populate_record(null::{sql}, {image})");
        if base == Base::Nothing || table.key.is_empty() {
            return format!("(select made.* from {given} as made) as {name}");
        }
        let join = if base == Base::Needed { "join" } else { "left join" };
        let equal = |column: &String| format!("present.{0} = given.{0}", identifier(column));
        let keys: Vec<String> = table.key.iter().map(equal).collect();
        let keys = keys.join(" and ");
        format!(
            "(select made.* from {given} as given {join} {sql} as present on {keys}
    cross join lateral jsonb_populate_record(present.*, {image}) as made) as {name}"
        )
    }
}

/// What stands for the columns that an image lacks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Base {
    /// Nulls.
    Nothing,
    /// The row with the same key, if there is one.
    Present,
    /// The row with the same key; without one there is nothing to capture.
    Needed,
}

/// Returns a `from` item, without its name, that yields one row of nulls.
pub(super) fn no_row(sql: &str) -> String {
    format!("(select made.* from jsonb_populate_record(null::{sql}, '{{}}') as made)")
}

/// Returns the columns of the key that a text stands for, as the triggers write it: like the id of an entity. A text that is cut, or that an
/// older version wrote of parts with slashes in them, stands for no row.
fn key_values(table: &Table, key: &str) -> Option<Map<String, Value>> {
    let parts: Vec<String> = match table.key.len() {
        1 => vec![key.to_owned()],
        _ => key.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect(),
    };
    let is_whole = !table.key.is_empty() && parts.len() == table.key.len() && key.chars().count() < LONGEST_KEY;
    let values: BTreeMap<String, Value> = table.key.iter().cloned().zip(parts.into_iter().map(Value::from)).collect();
    is_whole.then(|| values.into_iter().collect())
}

#[cfg(test)]
mod tests;
