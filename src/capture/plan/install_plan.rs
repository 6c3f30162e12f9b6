//! A plan as a value: the statements of one transaction, in order, why they are needed, and what they change. It runs nothing.

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
    /// How what is installed differs from what is wanted, in words.
    pub differences: Vec<String>,
    /// What somebody should know although nothing keeps the source from being attached.
    pub warnings: Vec<String>,
    /// The rights that the owner of the functions does not have, each with the statement that gives it. No attachment mends that.
    pub lacking: Vec<String>,
    /// The role as which a dry run was made, if it is no superuser: whoever runs the SQL becomes it, so that the functions belong to it.
    pub role: Option<String>,
    /// What the role may not do, and a superuser can do later.
    pub for_superuser: Option<&'static str>,
    /// The first steps, which make functions and need no lock of a table: what each does, and its SQL.
    pub functions: Vec<(String, String)>,
    /// The tables to lock then, always in the same order.
    pub locks: Vec<Lock>,
    /// The steps after that.
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
    /// Returns what a printed transaction begins with. Whatever others have put into the schemas of a DBA's search path has no part in it.
    fn beginning(&self) -> String {
        let role = self.role.as_ref().map_or(String::new(), |role| format!("set local role {};\n", identifier(role)));
        format!("begin;\nset local search_path = pg_catalog, pg_temp;\n{role}")
    }

    /// Returns the first statement. While we wait for a lock, everybody who wants to write to the table waits for us, so the wait is short.
    pub fn opening(&self) -> String {
        "set local lock_timeout = '500ms';\n".to_owned()
    }

    /// Returns the whole transaction, for psql, which must not go on after an error: what follows it would not be part of a transaction.
    pub fn sql(&self) -> String {
        let told = |steps: &[(String, String)]| -> String {
            steps.iter().map(|(doing, sql)| format!("\n-- {}\n{sql}", one_line(doing))).collect()
        };
        let warnings: String =
            self.warnings.iter().map(|warning| format!("-- WARNING: {}\n", one_line(warning))).collect();
        let locks: String = self.locks.iter().map(Lock::sql).collect();
        let locks = if locks.is_empty() { locks } else { format!("\n{locks}") };
        let later = self.for_superuser.map_or(String::new(), |sql| {
            let lines: String = sql.lines().map(|line| format!("-- {line}\n")).collect();
            format!("\n-- A superuser may run this, without the dashes:\n{lines}")
        });
        let left_out = self.left_out.iter().map(|finding| format!("-- left out: {}\n", one_line(&finding.to_string())));
        let left_out: String = left_out.collect();
        let (functions, steps) = (told(&self.functions), told(&self.steps));
        let (beginning, opening) = (self.beginning(), self.opening());
        format!(
            "\\set ON_ERROR_STOP on\n{left_out}{warnings}{beginning}{opening}{functions}{locks}{steps}\ncommit;\n{later}"
        )
    }

    pub(super) fn differ(&mut self, difference: String) {
        self.differences.push(difference);
    }

    pub(super) fn function(&mut self, doing: impl Into<String>, sql: impl Into<String>) {
        self.functions.push((doing.into(), sql.into()));
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

/// Returns text for a comment of SQL. A name of the plant may hold the end of a line, and what follows it would be run.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::InstallPlan;

    #[test]
    fn a_name_with_the_end_of_a_line_does_not_leave_its_comment() {
        let mut plan = InstallPlan::default();
        plan.step("capture jobs\r\nalter role eve superuser;--", "select 1;\n");
        plan.warnings.push("jobs\nalter role eve superuser;--".to_owned());

        assert!(plan.sql().lines().all(|line| !line.starts_with("alter role")), "{}", plan.sql());
    }
}
