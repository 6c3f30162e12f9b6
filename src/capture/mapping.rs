//! A source mapping: which change of which table becomes which event. In: the text of a TOML file, through `read`. Out: values that the
//! check and the generator work from. It knows nothing of a database; names in it may not exist.

pub mod channel;
pub(crate) mod file;
pub(crate) mod inherit;
pub(crate) mod section;

use std::fmt;
use std::path::Path;

use crate::capture::finding::Finding;
use crate::capture::finding::Place;
use crate::capture::finding::Problems;
use crate::capture::mapping::channel::Channel;
use crate::capture::sql::quote::identifier;

/// The whole file.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// The file's name, for findings.
    pub file: String,
    /// The file's text, as `andon.sources` keeps it.
    pub text: String,
    /// What the source is called: lower-case letters, digits and hyphens.
    pub name: String,
    /// Which payload and headers its receivers are used to.
    pub profile: Profile,
    /// The zone of its timestamps without a zone.
    pub time_zone: Option<Text>,
    /// ISA-95 levels that hold for the whole source, by name.
    pub levels: Vec<(String, String)>,
    /// Its own table of MQTT publishers.
    pub mqtt_publishers: Option<TableName>,
    /// Its own table of webhooks.
    pub webhooks: Option<TableName>,
    /// The entries, in the order of the file.
    pub captures: Vec<Capture>,
    /// The channels that are listened to.
    pub channels: Vec<Channel>,
}

impl Mapping {
    /// Reads a mapping from a file.
    pub fn read(path: &Path) -> Result<Mapping, Problems> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Mapping::parse(&file, &text),
            Err(error) => Err(Problems(vec![Finding {
                message: format!("cannot read the mapping: {error}"),
                place: Place { line: 1, column: 1 },
                entry: String::new(),
                field: String::new(),
                file,
            }])),
        }
    }

    /// Reads a mapping from its text; `file` is only named in findings.
    pub fn parse(file: &str, text: &str) -> Result<Mapping, Problems> {
        file::mapping(file, text)
    }
}

/// The dialect of a source's receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Andon's own.
    Andon,
    /// As Eryxon sends it.
    Eryxon,
}

impl Profile {
    /// Its name in the file and in `andon.sources`.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Andon => "andon",
            Profile::Eryxon => "eryxon",
        }
    }
}

/// A piece of the file that findings point at: mostly an SQL expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The key, for example `data.job_number`.
    pub field: String,
    /// What stands there.
    pub sql: String,
    /// Where.
    pub place: Place,
}

/// A table, with its schema (`public` where the file names none).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// The schema.
    pub schema: String,
    /// The table in it.
    pub table: String,
    /// Where the file names it.
    pub place: Place,
}

impl TableName {
    /// `jobs` or `mes.jobs`; the names are taken as they are, so no quotes.
    pub fn new(name: &str, place: Place) -> TableName {
        let (schema, table) = name.split_once('.').unwrap_or(("public", name));
        TableName { schema: schema.to_owned(), table: table.to_owned(), place }
    }

    /// For SQL: qualified, and quoted where it has to be.
    pub fn sql(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.table))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.schema, self.table)
    }
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// It is new.
    Insert,
    /// It changed.
    Update,
    /// It is gone.
    Delete,
}

impl Operation {
    /// All of them, in the order in which they are generated.
    pub const ALL: [Operation; 3] = [Operation::Insert, Operation::Update, Operation::Delete];

    /// Its name in the file and, in lower case, in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Insert => "insert",
            Operation::Update => "update",
            Operation::Delete => "delete",
        }
    }

    /// The row that is left to speak of: `new`, or `old` of a delete.
    pub fn row(self) -> &'static str {
        match self {
            Operation::Insert | Operation::Update => "new",
            Operation::Delete => "old",
        }
    }
}

/// How an entry names its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventType {
    /// Always the same, such as `job.created`.
    Literal(String),
    /// An SQL expression.
    Sql(Text),
}

/// A row of another table that an entry reads from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// What expressions call it.
    pub alias: String,
    /// Where it is.
    pub table: TableName,
    /// Which row.
    pub on: Text,
}

/// One entry: a change that becomes an event.
#[derive(Debug, Clone)]
pub struct Capture {
    /// Its number in the file, from one.
    pub number: usize,
    /// Where it begins.
    pub place: Place,
    /// The table.
    pub table: TableName,
    /// Which changes.
    pub operations: Vec<Operation>,
    /// Of an update: only when one of these columns changed.
    pub of: Vec<Text>,
    /// Only when this holds.
    pub when: Option<Text>,
    /// The event's name.
    pub event: EventType,
    /// What kind of thing it happened to.
    pub entity_type: String,
    /// Which one; the primary key where nothing is said.
    pub entity_id: Option<Text>,
    /// Whose; nobody's where nothing is said.
    pub tenant: Option<Text>,
    /// When it happened, where the row knows better than the clock.
    pub occurred_at: Option<Text>,
    /// Rows of other tables.
    pub lookups: Vec<Lookup>,
    /// What topics need.
    pub context: Vec<(String, Text)>,
    /// Columns of the payload, under their own names.
    pub columns: Vec<Text>,
    /// More of the payload.
    pub data: Vec<(String, Text)>,
}

impl Capture {
    /// How findings name it.
    pub fn entry(&self) -> String {
        let operations: Vec<&str> = self.operations.iter().map(|operation| operation.name()).collect();
        format!("capture {} ({}, {})", self.number, self.table, operations.join("+"))
    }
}

#[cfg(test)]
mod tests {
    use super::EventType;
    use super::Mapping;
    use super::Operation;

    fn problems(text: &str) -> String {
        Mapping::parse("plant.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn an_entry_takes_over_what_its_table_says_and_overrides_it_by_key() {
        let text = "
            [source]
            name = 'plant'
            tenant = 'this.tenant_id'
            [table.jobs]
            columns = ['id']
            context = { cell = 'this.cell', line = 'this.line' }
            [[capture]]
            table = 'public.jobs'
            on = ['delete', 'insert']
            type = 'job.changed'
            columns = ['status']
            context = { cell = 'new.place' }";

        let mapping = Mapping::parse("plant.toml", text).unwrap();

        let capture = &mapping.captures[0];
        assert_eq!(capture.operations, [Operation::Insert, Operation::Delete]);
        assert_eq!(capture.event, EventType::Literal("job.changed".to_owned()));
        assert_eq!(capture.entity_type, "job");
        assert_eq!(capture.tenant.as_ref().unwrap().sql, "this.tenant_id");
        assert_eq!(capture.columns.iter().map(|column| column.sql.as_str()).collect::<Vec<_>>(), ["id", "status"]);
        let context: Vec<_> = capture.context.iter().map(|(name, text)| (name.as_str(), text.sql.as_str())).collect();
        assert_eq!(context, [("cell", "new.place"), ("line", "this.line")]);
    }

    #[test]
    fn everything_that_is_wrong_with_a_file_is_said_at_once() {
        insta::assert_snapshot!(problems(
            "[source]
name = 'Plant 1'
profil = 'andon'
site = 3
[table.job]
columns = ['id']
[tables]
[[capture]]
tabel = 'jobs'
on = 'upsert'
type = 'job created'
[[capture]]
table = 'jobs'
on = 'insert'
of = ['status']
type = 'job.created'
type_sql = \"'job.' || new.status\"
data = { row = 'to_jsonb(new)', note = 'new.note -- the note' }
[[capture]]
table = 'jobs'
on = 'update'
type = 'job.updated'
[[capture]]
table = 'jobs'
on = 'update'
of = ['status']
type = 'job.started'
lookup = [{ alias = 'old', table = 'cells', on = 'true' }, { alias = 'cell', table = 'a.b.c' }]
[[capture]]
table = 'jobs'
on = 'delete'
type_sql = 'old.kind'"
        ));
    }

    #[test]
    fn a_syntax_error_is_said_alone_and_with_its_place() {
        let said = problems("[source]\nname = 'plant\n[[capture]]\ntable = 'jobs'\n");

        assert!(said.starts_with("plant.toml:2:"), "{said}");
    }

    #[test]
    fn an_empty_file_says_what_to_begin_with() {
        let said = problems("");

        assert!(said.contains("begin with [source]") && said.contains("[[capture]]"), "{said}");
    }

    #[test]
    fn the_mappings_of_this_repository_can_be_read() {
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/config/sources")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                Mapping::read(&path).unwrap_or_else(|problems| panic!("{problems}"));
            }
        }
    }
}
