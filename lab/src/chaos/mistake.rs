//! Mistakes of an administrator, as values. In: a mistake. Out: the SQL that makes it and the SQL that puts it right, and its name for the
//! report. It runs nothing; `inject` does.

/// Something that an administrator does to one of Andon's tables, and takes back later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistake {
    /// The gateway's role loses its rights on a table.
    Revoke(&'static str),
    /// Row-level security hides all rows of a table from the gateway's role, which is not its owner.
    HideRows(&'static str),
    /// A table has another name.
    Rename(&'static str),
    /// A transaction that stays open keeps everybody from a table, as `lock table` or a migration does.
    LockTable(&'static str),
    /// A transaction that stays open holds all rows of a table.
    LockRows(&'static str),
}

/// The kinds of mistakes, each on every table on which it says something of its own.
pub(super) const MISTAKES: [Mistake; 16] = [
    Mistake::Revoke("lanes"),
    Mistake::HideRows("webhooks"),
    Mistake::Rename("mqtt_publishers"),
    Mistake::LockRows("lanes"),
    Mistake::Revoke("webhooks"),
    Mistake::HideRows("events"),
    Mistake::LockTable("webhooks"),
    Mistake::Revoke("deliveries"),
    Mistake::HideRows("mqtt_publishers"),
    Mistake::Rename("webhooks"),
    Mistake::Revoke("events"),
    Mistake::LockTable("mqtt_publishers"),
    Mistake::HideRows("lanes"),
    Mistake::Revoke("mqtt_publishers"),
    Mistake::HideRows("deliveries"),
    Mistake::LockRows("deliveries"),
];

/// The role that the daemons have.
pub(super) const ROLE: &str = "andon_run";

impl Mistake {
    pub(super) fn name(self) -> String {
        match self {
            Mistake::Revoke(table) => format!("revoke {table}"),
            Mistake::HideRows(table) => format!("hide rows of {table}"),
            Mistake::Rename(table) => format!("rename {table}"),
            Mistake::LockTable(table) => format!("lock {table}"),
            Mistake::LockRows(table) => format!("lock rows of {table}"),
        }
    }

    pub(super) fn table(self) -> &'static str {
        match self {
            Mistake::Revoke(table)
            | Mistake::HideRows(table)
            | Mistake::Rename(table)
            | Mistake::LockTable(table)
            | Mistake::LockRows(table) => table,
        }
    }

    /// Returns the statements that make it and put it right. They bear repetition, unless the mistake [`is_held`](Mistake::is_held).
    pub(super) fn statements(self) -> (String, String) {
        match self {
            Mistake::Revoke(table) => (
                format!("revoke all on andon.{table} from {ROLE}"),
                format!("grant {} on andon.{table} to {ROLE}", rights(table)),
            ),
            Mistake::HideRows(table) => (
                format!("alter table andon.{table} enable row level security"),
                format!("alter table andon.{table} disable row level security"),
            ),
            Mistake::Rename(table) => (
                format!("alter table if exists andon.{table} rename to {table}_away"),
                format!("alter table if exists andon.{table}_away rename to {table}"),
            ),
            Mistake::LockTable(table) => {
                (format!("begin; lock table andon.{table} in access exclusive mode"), "rollback".to_owned())
            }
            Mistake::LockRows(table) => (
                format!("begin; select count(*) from (select from andon.{table} for update) it"),
                "rollback".to_owned(),
            ),
        }
    }

    /// Says whether both statements belong to one connection, whose transaction holds the lock.
    pub(super) fn is_held(self) -> bool {
        matches!(self, Mistake::LockTable(_) | Mistake::LockRows(_))
    }
}

/// Returns what the gateway's role may do to a table.
fn rights(table: &str) -> &'static str {
    if matches!(table, "lanes" | "deliveries") { "select, insert, update, delete" } else { "select" }
}
