//! Reads a mapping from its TOML file. In: the text of the file. Out: the mapping, or everything that is wrong with it at once. It looks
//! at no database: the check finds out whether tables and columns exist.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::path::Path;

use toml::de::DeTable;
use toml::de::DeValue;

use crate::capture::finding::Finding;
use crate::capture::finding::Lines;
use crate::capture::finding::Location;
use crate::capture::finding::Problems;
use crate::capture::mapping::Capture;
use crate::capture::mapping::Mapping;
use crate::capture::mapping::Profile;
use crate::capture::mapping::TableName;
use crate::capture::mapping::Text;
use crate::capture::mapping::capture_entry;
use crate::capture::mapping::channel_entry;
use crate::capture::mapping::inherit::SharedKeys;
use crate::capture::mapping::inherit::TABLE_KEYS;
use crate::capture::mapping::section::Findings;
use crate::capture::mapping::section::Section;
use crate::nearest::nearest;

const ROOT_KEYS: &[&str] = &["source", "table", "capture", "channel"];
const LEVELS: [&str; 5] = ["enterprise", "site", "area", "line", "cell"];
const SOURCE_KEYS: &[&str] = &[
    "name",
    "profile",
    "tenant",
    "time_zone",
    "enterprise",
    "site",
    "area",
    "line",
    "cell",
    "mqtt_publishers",
    "webhooks",
    "watch_ddl",
];
/// The longest name of a source, in bytes: it is part of the names of functions and triggers, which PostgreSQL cuts at 63 bytes.
const LONGEST_SOURCE_NAME: usize = 24;

impl Mapping {
    /// Reads a mapping from a file.
    pub fn read(path: &Path) -> Result<Mapping, Problems> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Mapping::parse(&file, &text),
            Err(error) => Err(Problems(vec![Finding {
                message: format!("cannot read the mapping: {error}"),
                location: Location::START,
                entry: String::new(),
                field: String::new(),
                file,
            }])),
        }
    }

    /// Reads a mapping from its text; findings repeat `file`, which is not opened.
    pub fn parse(file: &str, text: &str) -> Result<Mapping, Problems> {
        let mut findings = Findings { file, text, lines: Lines::of(text), list: Vec::new() };
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let location = findings.location(error.span().map_or(0, |span| span.start));
            findings.add(location, "", "", error.message());
        }
        if !findings.list.is_empty() {
            // After a syntax error the parser guesses; findings about its guesses would bury the real one.
            return Err(Problems(findings.list));
        }
        let root = Section::of_table(&mut findings, "", Location::START, document.get_ref(), ROOT_KEYS);
        let mapping = mapping(&mut findings, &root);
        let mut findings = findings.list;
        findings.sort_by_key(|finding| finding.location);
        // The keys of a table are read again for each of its entries, but reported once.
        findings.dedup_by(|next, last| next.location == last.location && next.message == last.message);
        if findings.is_empty() { Ok(mapping) } else { Err(Problems(findings)) }
    }
}

fn mapping(findings: &mut Findings<'_>, root: &Section<'_>) -> Mapping {
    let (source, tenant) = source(findings, root);
    let tables = tables(findings, root);
    let captures = capture_entry::captures(findings, root, &tables, tenant.as_ref());
    let channels = channel_entry::channels(findings, root);
    report_unused(findings, &tables, &captures);
    Mapping { captures, channels, ..source }
}

/// Returns the `[source]` section, as a mapping without entries, and the tenant of entries that name none.
fn source(findings: &mut Findings<'_>, root: &Section<'_>) -> (Mapping, Option<Text>) {
    let mut mapping = Mapping {
        file: findings.file.to_owned(),
        text: findings.text.to_owned(),
        name: String::new(),
        profile: Profile::Andon,
        time_zone: None,
        levels: Vec::new(),
        mqtt_publishers: None,
        webhooks: None,
        watch_ddl: false,
        captures: Vec::new(),
        channels: Vec::new(),
    };
    let Some(value) = root.get("source") else {
        findings.add(root.location, "source", "", "is missing; begin with [source] and name = \"…\"");
        return (mapping, None);
    };
    let Some(section) = Section::open(findings, "source", value, SOURCE_KEYS) else { return (mapping, None) };
    mapping.name = source_name(findings, &section);
    mapping.profile = profile(findings, &section);
    mapping.time_zone = section.text(findings, "time_zone");
    for level in LEVELS {
        mapping.levels.extend(section.text(findings, level).map(|text| (level.to_owned(), text.sql)));
    }
    mapping.mqtt_publishers = section.table_name(findings, "mqtt_publishers");
    mapping.webhooks = section.table_name(findings, "webhooks");
    mapping.watch_ddl = section.flag(findings, "watch_ddl");
    let tenant = section.text(findings, "tenant");
    if let Some(tenant) = &tenant {
        capture_entry::check_expression(findings, "source", tenant, &["new", "old", "this"]);
    }
    (mapping, tenant)
}

fn source_name(findings: &mut Findings<'_>, section: &Section<'_>) -> String {
    let Some(name) = section.required(findings, "name") else { return String::new() };
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let is_name = name.sql.starts_with(|first: char| first.is_ascii_lowercase())
        && name.sql.len() <= LONGEST_SOURCE_NAME
        && name.sql.chars().all(is_letter);
    if !is_name {
        let message =
            "is not a source name; use up to 24 lower-case letters, digits and hyphens, and begin with a letter";
        findings.add(name.location, "source", "name", message);
    }
    name.sql
}

fn profile(findings: &mut Findings<'_>, section: &Section<'_>) -> Profile {
    let Some(name) = section.text(findings, "profile") else { return Profile::Andon };
    match name.sql.as_str() {
        "andon" => Profile::Andon,
        "eryxon" => Profile::Eryxon,
        unknown => {
            findings.add(name.location, "source", "profile", format!("`{unknown}` is unknown; use andon or eryxon"));
            Profile::Andon
        }
    }
}

/// Returns the `[table.NAME]` sections, by the qualified name of the table.
fn tables(findings: &mut Findings<'_>, root: &Section<'_>) -> BTreeMap<String, SharedKeys> {
    let mut tables = BTreeMap::new();
    let Some(value) = root.get("table") else { return tables };
    let DeValue::Table(entries) = value.get_ref() else {
        let location = findings.location(value.span().start);
        findings.add(location, "table", "", "is not a table; write [table.jobs] or [table.\"mes.jobs\"]");
        return tables;
    };
    for (key, value) in entries.iter() {
        let name = TableName::new(key.get_ref(), findings.location(key.span().start));
        let entry = format!("table.{name}");
        if let Some(section) = Section::open(findings, &entry, value, TABLE_KEYS) {
            tables.insert(name.to_string(), SharedKeys::read(findings, &section, name));
        }
    }
    tables
}

fn report_unused(findings: &mut Findings<'_>, tables: &BTreeMap<String, SharedKeys>, captures: &[Capture]) {
    let used: HashSet<String> =
        captures.iter().flat_map(|capture| capture.table.each()).map(TableName::to_string).collect();
    for (name, shared) in tables.iter().filter(|(_, shared)| !used.contains(&shared.table.to_string())) {
        let captured: Vec<String> = captures.iter().map(|capture| capture.table.to_string()).collect();
        let proposal = nearest(name, captured.iter().map(String::as_str))
            .map_or(String::new(), |name| format!("; the nearest is {name}"));
        let message = format!("no [[capture]] is about this table{proposal}");
        findings.add(shared.table.location, &format!("table.{name}"), "", message);
    }
}

#[cfg(test)]
mod tests {
    use crate::capture::mapping::EventType;
    use crate::capture::mapping::Mapping;
    use crate::capture::mapping::Operation;

    fn problems(text: &str) -> String {
        Mapping::parse("plant.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn an_entry_inherits_the_keys_of_its_table_and_overrides_them_one_by_one() {
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
    fn a_syntax_error_is_said_alone_and_with_its_location() {
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
