//! What the rows of a table seem to be. In: a table. Out: whether they are things that go through states, a log of what happened, or
//! something whose changes a plant would not announce, with the reason.

use crate::capture::propose::names::thing_words;
use crate::capture::propose::state;
use crate::capture::propose::tables::ListedTable;

/// Last words of the names of tables in which each row is something that happened.
const LOGS: &[&str] = &[
    "log",
    "history",
    "activity",
    "event",
    "movement",
    "transaction",
    "entry",
    "record",
    "booking",
    "confirmation",
    "defect",
    "scrap",
    "rejection",
    "downtime",
    "stoppage",
    "alarm",
    "fault",
    "receipt",
    "inspection",
    "adjustment",
    "consumption",
];
/// Words in the names of tables that keep the application itself going.
const BOOKKEEPING: &[&str] = &[
    "audit",
    "mqtt",
    "mcp",
    "http",
    "request",
    "server",
    "system",
    "cron",
    "reset",
    "session",
    "sessions",
    "migration",
    "migrations",
    "token",
    "tokens",
    "oauth",
    "auth",
    "cache",
    "queue",
    "webhook",
    "webhooks",
    "notification",
    "notifications",
    "permission",
    "permissions",
    "role",
    "roles",
    "setting",
    "settings",
    "config",
    "configuration",
    "preference",
    "preferences",
    "translation",
    "translations",
    "api",
    "key",
    "keys",
    "credential",
    "credentials",
    "secret",
    "secrets",
    "login",
    "logins",
    "password",
    "passwords",
    "invitation",
    "invitations",
    "subscription",
    "subscriptions",
    "email",
    "emails",
    "mail",
    "feature",
    "flag",
    "flags",
    "databasechangelog",
    "prisma",
    "schema",
    "alembic",
    "flyway",
    "knex",
    "changelog",
    "outbox",
    "delivery_log",
];
/// Words in the names of tables of people: what concerns them is not announced unasked.
const PEOPLE: &[&str] = &[
    "user",
    "users",
    "employee",
    "employees",
    "operator",
    "operators",
    "person",
    "persons",
    "people",
    "staff",
    "worker",
    "workers",
    "contact",
    "contacts",
    "profile",
    "profiles",
    "member",
    "members",
    "account",
    "accounts",
];
/// Last words of the names of tables with readings: too many and too small to be events.
const READINGS: &[&str] = &["reading", "measurement", "telemetry", "sample", "metric", "datapoint"];

/// What the rows of a table seem to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// Things that go through states.
    Thing,
    /// A log of what happened.
    Log,
    /// Things without a state.
    Plain,
    /// Something whose changes nobody would announce unasked; the reason.
    LeftOut(&'static str),
    /// Something that cannot be captured by a mapping; the reason.
    Unusable(&'static str),
}

/// Returns what the rows of a table seem to be.
pub(super) fn of(table: &ListedTable) -> Nature {
    if let Some(reason) = unusable(table) {
        return Nature::Unusable(reason);
    }
    let words = thing_words(&table.name);
    let has_word = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    let ends_with = |list: &[&str]| words.last().is_some_and(|last| list.contains(&last.as_str()));
    if has_word(BOOKKEEPING) {
        Nature::LeftOut("they keep the application itself going")
    } else if ends_with(READINGS) {
        Nature::LeftOut("their rows are readings, too many and too small to be events")
    } else if is_people(table) {
        Nature::LeftOut("their rows are people")
    } else if ends_with(LOGS) && !ends_with(&["booking", "record", "entry", "receipt", "inspection", "alarm", "defect"])
    {
        Nature::Log
    } else if !state::of(table).is_empty() {
        Nature::Thing
    } else if ends_with(LOGS) {
        Nature::Log
    } else {
        Nature::Plain
    }
}

/// Returns whether the rows of the table are people.
pub(super) fn is_people(table: &ListedTable) -> bool {
    thing_words(&table.name).last().is_some_and(|last| PEOPLE.contains(&last.as_str()))
}

fn unusable(table: &ListedTable) -> Option<&'static str> {
    if format!("{}{}", table.schema, table.name).contains(['.', '"', '\\', '\n']) || table.schema.is_empty() {
        Some("a mapping cannot write their names")
    } else if table.inherits {
        Some("they inherit from a table whose triggers capture them too")
    } else if !table.is_owned {
        Some("another role owns them, and only the owner can attach")
    } else if !table.has_key {
        Some("they have no primary key, so that an entry needs an entity_id")
    } else {
        None
    }
}
