//! The rows that an expression can read. In: the operation, the table and the lookups so far. Out: a `from` clause with which the
//! expression can be prepared, and explanations of what PostgreSQL objects to. It talks to no database.

use tokio_postgres::error::DbError;
use tokio_postgres::error::SqlState;

use crate::capture::expression::mentions;
use crate::capture::mapping::Operation;
use crate::capture::sql::quote::identifier;
use crate::capture::table::Table;
use crate::nearest::nearest;

/// What a truncate is told that wants to read a row.
const NO_ROW: &str =
    "a truncate empties the table as a whole, so that there is no row to read; leave it out, or give a constant";

/// The rows that an expression can read.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// The `from` clause that names them.
    pub(crate) from: String,
    /// The aliases of lookups with a fault of their own. Expressions that read them cannot be judged.
    pub(crate) broken: Vec<String>,
    /// The aliases of optional lookups whose table or column the database does not have.
    pub(crate) left_out: Vec<String>,
    operation: Operation,
    rows: Vec<(String, Vec<String>)>,
}

impl Scope {
    /// Begins with `new` and `old`, as far as the operation has them.
    pub(crate) fn of(operation: Operation, table: &Table) -> Scope {
        let names: &[&str] = match operation {
            Operation::Insert => &["new"],
            Operation::Update => &["new", "old"],
            Operation::Delete => &["old"],
            Operation::Truncate => &[],
        };
        let rows = names.iter().map(|name| ((*name).to_owned(), table.columns.clone())).collect();
        let from = operation.rows_of(&table.sql);
        Scope { from, broken: Vec::new(), left_out: Vec::new(), operation, rows }
    }

    /// Adds `this`, the row that the event is about.
    pub(crate) fn add_this(&mut self, operation: Operation, table: &Table) {
        self.from.push_str(&format!(" cross join lateral (select {}.*) as this", operation.row()));
        if operation != Operation::Truncate {
            self.rows.push(("this".to_owned(), table.columns.clone()));
        }
    }

    /// Adds the row that a lookup finds; `join` is the SQL of the lookup.
    pub(crate) fn add_lookup(&mut self, alias: &str, table: &Table, join: &str) {
        self.from.push('\n');
        self.from.push_str(join);
        self.rows.push((alias.to_owned(), table.columns.clone()));
    }

    /// Returns the scope of a lookup's own condition, which can read any row of the table.
    pub(crate) fn with_row(&self, alias: &str, table: &Table) -> Scope {
        let mut scope = self.clone();
        scope.from.push_str(&format!(" cross join {} as {}", table.sql, identifier(alias)));
        scope.rows.push((alias.to_owned(), table.columns.clone()));
        scope
    }

    /// Returns whether the expression reads a lookup that has a fault of its own.
    pub(crate) fn rests_on_broken(&self, sql: &str) -> bool {
        self.broken.iter().any(|alias| mentions(sql, alias))
    }

    /// Returns the lookup that the expression reads and that is left out.
    pub(crate) fn left_out_row(&self, sql: &str) -> Option<&str> {
        self.left_out.iter().find(|alias| mentions(sql, alias)).map(String::as_str)
    }

    /// Returns the message of a finding: what PostgreSQL objects to, and what to do about it.
    pub(crate) fn explain(&self, error: &DbError) -> String {
        let message = error.message();
        if *error.code() == SqlState::UNDEFINED_COLUMN {
            let name = message.trim_start_matches("column ").trim_end_matches(" does not exist").replace('"', "");
            if self.operation == Operation::Truncate && ["this.", "emptied."].iter().any(|row| name.starts_with(row)) {
                return NO_ROW.to_owned();
            }
            return format!("column {name} does not exist{}", self.proposal(&name));
        }
        if *error.code() == SqlState::UNDEFINED_TABLE
            && let Some(name) = message.split('"').nth(1)
        {
            return match (name, self.operation) {
                ("old", Operation::Insert) => "an insert has no old row".to_owned(),
                ("new", Operation::Delete) => "a delete has no new row; read old, or this".to_owned(),
                ("old" | "new", Operation::Truncate) => NO_ROW.to_owned(),
                _ => {
                    let rows: Vec<&str> = self.rows.iter().map(|(name, _)| name.as_str()).collect();
                    format!("there is no row `{name}` here; the rows are {}", rows.join(", "))
                }
            };
        }
        if *error.code() == SqlState::UNDEFINED_FUNCTION {
            return format!("{message}; a function outside pg_catalog needs its schema, such as public.f(new.id)");
        }
        message.to_owned()
    }

    /// Returns what to write instead of a column that does not exist. PostgreSQL reads a name without quotes in lower case, so a name with
    /// capitals exists and is not found.
    fn proposal(&self, name: &str) -> String {
        let (row, column) = name.split_once('.').unwrap_or(("", name));
        let known = self.rows.iter().filter(|(known, _)| row.is_empty() || known == row);
        let all: Vec<(&str, &str)> =
            known.flat_map(|(row, columns)| columns.iter().map(|column| (row.as_str(), column.as_str()))).collect();
        let Some(found) = nearest(column, all.iter().map(|(_, column)| *column)) else { return String::new() };
        let sql = identifier(found);
        let in_row = all.iter().find(|(_, column)| *column == found).map_or("", |(row, _)| row);
        if sql == found {
            let found = if row.is_empty() { format!("{in_row}.{found}") } else { found.to_owned() };
            return format!("; the nearest is {found}");
        }
        let reason = if found.eq_ignore_ascii_case(column) { ": without quotes, capitals are lost" } else { "" };
        format!("; write {in_row}.{sql}{reason}")
    }
}
