//! A source mapping as values: which change of which table becomes which event, and which notification of which channel. `file` reads
//! them from a TOML file; the check and the SQL generator work from them. Nothing here knows a database: the names may not exist.

mod capture_entry;
mod channel_entry;
mod file;
mod inherit;
mod optional;
mod section;

use std::fmt;

use crate::capture::finding::Location;
use crate::capture::sql::quote::identifier;

/// A whole mapping file.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// The name of the file, which findings repeat.
    pub file: String,
    /// The text of the file, as `andon.sources` keeps it.
    pub text: String,
    /// The name of the source: lower-case letters, digits and hyphens.
    pub name: String,
    /// The payload and headers that the receivers of this source expect.
    pub profile: Profile,
    /// The time zone of timestamps that have none.
    pub time_zone: Option<Text>,
    /// ISA-95 levels that hold for the whole source, by name.
    pub levels: Vec<(String, String)>,
    /// The source's own table of MQTT publishers, if it has one.
    pub mqtt_publishers: Option<TableName>,
    /// The source's own table of webhooks, if it has one.
    pub webhooks: Option<TableName>,
    /// Whether the daemon wants to be told of changes of the schema at once.
    pub watch_ddl: bool,
    /// The `[[capture]]` entries, in the order of the file.
    pub captures: Vec<Capture>,
    /// The `[[channel]]` entries, in the order of the file.
    pub channels: Vec<Channel>,
}

/// Which payload and headers the receivers of a source expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Andon's own.
    Andon,
    /// The payload and headers that Eryxon Flow sends.
    Eryxon,
}

impl Profile {
    /// Returns its name in the file and in `andon.sources`.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Andon => "andon",
            Profile::Eryxon => "eryxon",
        }
    }
}

/// A string of the file and where it stands, so that a finding can point at it. Most of these strings are SQL expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The key, for example `data.job_number`.
    pub field: String,
    /// The string itself.
    pub sql: String,
    /// Where it stands in the file.
    pub location: Location,
}

/// A table and its schema (`public` if the file names none), and the other names that it may have in other versions of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// The schema.
    pub schema: String,
    /// The name within the schema.
    pub table: String,
    /// Where the file names it.
    pub location: Location,
    /// The names to try if there is no table of this one, in the order of the file.
    pub others: Vec<TableName>,
}

impl TableName {
    /// Splits `jobs` or `mes.jobs`. The names are used exactly as written, so quotes are not part of the syntax.
    pub fn new(name: &str, location: Location) -> TableName {
        let (schema, table) = name.split_once('.').unwrap_or(("public", name));
        TableName { schema: schema.to_owned(), table: table.to_owned(), location, others: Vec::new() }
    }

    /// Returns every name that the table may have, the first one first.
    pub fn each(&self) -> impl Iterator<Item = &TableName> {
        std::iter::once(self).chain(&self.others)
    }

    /// Returns the name as SQL: qualified, and quoted where necessary.
    pub fn sql(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.table))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.schema, self.table)
    }
}

/// The kind of change that happened to a row, or to all rows of a table at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// The row is new.
    Insert,
    /// The row changed.
    Update,
    /// The row is gone.
    Delete,
    /// All rows are gone, and nobody says which they were.
    Truncate,
}

impl Operation {
    /// All of them, in the order in which SQL is generated for them.
    pub const ALL: [Operation; 4] = [Operation::Insert, Operation::Update, Operation::Delete, Operation::Truncate];

    /// Returns its name in the file and in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Insert => "insert",
            Operation::Update => "update",
            Operation::Delete => "delete",
            Operation::Truncate => "truncate",
        }
    }

    /// Returns the row that expressions call `this`: `new`, or `old` for a delete. A truncate has none, so its row has no columns.
    pub fn row(self) -> &'static str {
        match self {
            Operation::Insert | Operation::Update => "new",
            Operation::Delete => "old",
            Operation::Truncate => "emptied",
        }
    }

    /// Returns a `from` item, or several, that yield the rows which expressions can read, each as one row of this table.
    pub fn rows_of(self, table: &str) -> String {
        match self {
            Operation::Insert => format!("{table} as new"),
            Operation::Update => format!("{table} as new cross join {table} as old"),
            Operation::Delete => format!("{table} as old"),
            Operation::Truncate => Operation::NO_ROW.to_owned(),
        }
    }

    /// The `from` item of a truncate: one row without columns.
    pub const NO_ROW: &str = "(select) as emptied";
}

/// The entity to which a truncate happens, unless its entry says otherwise: every row of the table.
pub const EVERY: &str = "*";

/// How a `[[capture]]` entry determines the type of its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventType {
    /// It is always the same, such as `job.created`.
    Literal(String),
    /// An SQL expression yields it.
    Sql(Text),
}

/// A row of another table that an entry reads from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The name by which expressions refer to the row.
    pub alias: String,
    /// The table to read.
    pub table: TableName,
    /// The condition that finds the row.
    pub on: Text,
    /// Whether the look-up, with the fields that read it, is left out if the table or a column of `on` is not there.
    pub is_optional: bool,
}

/// What an entry can do without, because another version of the system does not have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Optional {
    /// Whether the entry as a whole is left out if something that it names is not there.
    pub entry: bool,
    /// The fields that are left out if what they name is not there: `data.shift`, `context.line`, `columns.lot`, `of.lot`.
    pub fields: Vec<Text>,
}

impl Optional {
    /// Returns whether the entry can do without the field.
    pub fn covers(&self, field: &str) -> bool {
        self.fields.iter().any(|optional| optional.sql == field)
    }
}

/// A `[[capture]]` entry: a change of a row that becomes an event.
#[derive(Debug, Clone)]
pub struct Capture {
    /// The entry's number in the file, counted from one.
    pub number: usize,
    /// Where the entry begins.
    pub location: Location,
    /// The table whose changes are captured.
    pub table: TableName,
    /// The changes that are captured.
    pub operations: Vec<Operation>,
    /// Columns of which an update must have changed at least one; empty if any change will do.
    pub of: Vec<Text>,
    /// A condition that must hold as well.
    pub when: Option<Text>,
    /// The type of the event.
    pub event: EventType,
    /// What kind of thing the event happened to.
    pub entity_type: String,
    /// Which one it happened to; the primary key if the entry gives no expression.
    pub entity_id: Option<Text>,
    /// The tenant that the event belongs to; none if the entry gives no expression.
    pub tenant: Option<Text>,
    /// When it happened, if the row knows that better than the clock.
    pub occurred_at: Option<Text>,
    /// The rows of other tables that the expressions read.
    pub lookups: Vec<Lookup>,
    /// The event's context, from which topics are made: names and expressions.
    pub context: Vec<(String, Text)>,
    /// Columns of the changed row that go into the payload under their own names.
    pub columns: Vec<Text>,
    /// Further fields of the payload: names and expressions.
    pub data: Vec<(String, Text)>,
    /// What the entry can do without.
    pub optional: Optional,
}

impl Capture {
    /// Returns the entry as findings name it.
    pub fn entry(&self) -> String {
        let operations: Vec<&str> = self.operations.iter().map(|operation| operation.name()).collect();
        format!("capture {} ({}, {})", self.number, self.table, operations.join("+"))
    }

    /// Returns whether the entry is for the table as a whole, so that it has no row.
    pub fn is_truncate(&self) -> bool {
        self.operations.contains(&Operation::Truncate)
    }
}

/// A `[[channel]]` entry: a NOTIFY channel whose notifications become events. The JSON payload of a notification is read by paths such as
/// `order.lines.0.id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Where the entry begins.
    pub location: Location,
    /// The name of the channel, as `notify` has it.
    pub name: String,
    /// The type of the event.
    pub event: ChannelEventType,
    /// What kind of thing the event happened to.
    pub entity_type: String,
    /// The path to the id of the thing it happened to, if the payload has one.
    pub entity_id: Option<String>,
    /// The path to the tenant; without one, the event belongs to no tenant.
    pub tenant: Option<String>,
    /// The tenant of all events of the channel, whatever the payload says.
    pub own_tenant: Option<String>,
    /// Whether a payload has to be signed with the key of the configuration.
    pub is_signed: bool,
    /// The event's context, from which topics are made: names and paths.
    pub context: Vec<(String, String)>,
    /// The event's payload: names and paths.
    pub data: Vec<(String, String)>,
}

impl Channel {
    /// Returns whether whoever may connect to the database can send what looks like an event of any tenant.
    pub fn is_forgeable(&self) -> bool {
        !self.is_signed && self.own_tenant.is_none()
    }
}

/// How a `[[channel]]` entry determines the type of its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelEventType {
    /// It is always the same.
    Literal(String),
    /// It stands in the payload at this path.
    Path(String),
}

/// Returns whether `name` can be the type of an event: words of letters, digits, `_` and `-`, separated by dots.
pub(crate) fn is_event_type(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    name.split('.').all(|word| !word.is_empty() && word.chars().all(is_letter))
}

/// Returns whether a type is one of Andon's own, such as `andon.destination.disabled`. Topics may fold the case of letters.
pub(crate) fn is_reserved(event_type: &str) -> bool {
    event_type.split('.').next().is_some_and(|word| word.eq_ignore_ascii_case("andon"))
}
