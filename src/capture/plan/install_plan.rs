//! A plan as a value: the statements of one transaction, in order, and what they change. It runs nothing.

use crate::capture::finding::Finding;
use crate::capture::sql::quote::identifier;

/// The change that a plan makes to the capture of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The table was not captured before.
    Created,
    /// It was captured in another way.
    Replaced,
    /// It is captured already, exactly as wanted.
    Unchanged,
    /// It is no longer captured.
    Dropped,
}

/// The statements of one transaction.
#[derive(Debug, Default)]
pub struct InstallPlan {
    /// The tables to lock first, always in the same order.
    pub locks: Vec<Lock>,
    /// The steps after that: what each does, and its SQL.
    pub steps: Vec<(String, String)>,
    /// The tables, and what happens to the capture of each.
    pub changes: Vec<(String, Change)>,
    /// What the mapping can do without and the database does not have.
    pub left_out: Vec<Finding>,
}

/// A lock that keeps writers out of a table until the transaction ends.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lock {
    /// The table, as SQL.
    pub table: String,
    /// Whether readers are kept out as well: dropping a trigger requires that, creating one does not.
    pub is_exclusive: bool,
}

impl Lock {
    /// Returns the statement that takes the lock.
    pub fn sql(&self) -> String {
        let mode = if self.is_exclusive { "access exclusive" } else { "share row exclusive" };
        format!("lock table {} in {mode} mode;\n", self.table)
    }
}

impl InstallPlan {
    /// Returns the first statement. While we wait for a lock, everybody who wants to write to the table waits for us, so the wait is short.
    pub fn opening(&self) -> String {
        "set local lock_timeout = '500ms';\n".to_owned()
    }

    /// Returns the whole transaction, for psql.
    pub fn sql(&self) -> String {
        let locks: String = self.locks.iter().map(Lock::sql).collect();
        let steps: String = self.steps.iter().map(|(doing, sql)| format!("\n-- {doing}\n{sql}")).collect();
        let left_out: String = self
            .left_out
            .iter()
            .map(|finding| format!("-- left out: {}\n", finding.to_string().replace('\n', " ")))
            .collect();
        format!("{left_out}begin;\n{}{locks}{steps}\ncommit;\n", self.opening())
    }

    pub(super) fn step(&mut self, doing: impl Into<String>, sql: impl Into<String>) {
        self.steps.push((doing.into(), sql.into()));
    }

    pub(super) fn lock(&mut self, table: &str, is_exclusive: bool) {
        match self.locks.iter_mut().find(|lock| lock.table == table) {
            Some(lock) => lock.is_exclusive |= is_exclusive,
            None => self.locks.push(Lock { table: table.to_owned(), is_exclusive }),
        }
    }

    pub(super) fn drop_trigger(&mut self, name: &str, table: &str) {
        self.lock(table, true);
        self.step(format!("remove trigger {name}"), format!("drop trigger {} on {table};\n", identifier(name)));
    }
}
