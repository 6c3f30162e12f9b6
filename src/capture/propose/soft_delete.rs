//! Finds how a table deletes rows without removing them. In: a table. Out: the column, and the conditions that say when it happens.

use crate::capture::propose::column::can_be_read;
use crate::capture::propose::names::snake;
use crate::capture::propose::tables::Column;
use crate::capture::propose::tables::ListedTable;
use crate::capture::sql::quote::identifier;

const TIMES: [&str; 3] = ["deleted_at", "deleted_on", "date_deleted"];
const FLAGS: [&str; 2] = ["is_deleted", "deleted"];

/// A column that says that a row is deleted.
pub(super) struct SoftDelete<'t> {
    column: &'t Column,
    /// Whether the column is true, and not a time, once the row is deleted.
    is_flag: bool,
}

impl<'t> SoftDelete<'t> {
    /// Returns the column of a table that says that a row is deleted.
    pub(super) fn of(table: &'t ListedTable) -> Option<SoftDelete<'t>> {
        table.columns.iter().filter(|column| can_be_read(column)).find_map(|column| {
            let name = snake(&column.name);
            let is_time = column.is_nullable && column.data_type.starts_with("timestamp") || column.data_type == "date";
            let is_flag = column.data_type == "boolean" && FLAGS.contains(&name.as_str());
            (is_flag || is_time && TIMES.contains(&name.as_str())).then_some(SoftDelete { column, is_flag })
        })
    }

    pub(super) fn column(&self) -> &str {
        &self.column.name
    }

    /// Returns the condition under which an update deletes the row.
    pub(super) fn happens(&self) -> String {
        let column = identifier(&self.column.name);
        if self.is_flag {
            format!("new.{column} and old.{column} is not true")
        } else {
            format!("old.{column} is null and new.{column} is not null")
        }
    }

    /// Returns the condition under which a row that is removed had not been deleted before.
    pub(super) fn has_not_happened(&self) -> String {
        let column = identifier(&self.column.name);
        if self.is_flag { format!("old.{column} is not true") } else { format!("old.{column} is null") }
    }
}
