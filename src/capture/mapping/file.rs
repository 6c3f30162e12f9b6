//! From TOML to a mapping. In: the text of the file. Out: the mapping, or everything that is wrong with it at once. It looks at no
//! database: whether tables and columns exist is for the check.

use std::collections::BTreeMap;

use toml::de::DeTable;
use toml::de::DeValue;

use crate::capture::expression;
use crate::capture::finding::Place;
use crate::capture::finding::Problems;
use crate::capture::mapping::Capture;
use crate::capture::mapping::EventType;
use crate::capture::mapping::Mapping;
use crate::capture::mapping::Operation;
use crate::capture::mapping::Profile;
use crate::capture::mapping::TableName;
use crate::capture::mapping::Text;
use crate::capture::mapping::channel;
use crate::capture::mapping::inherit::Shared;
use crate::capture::mapping::inherit::TABLE_KEYS;
use crate::capture::mapping::section::Report;
use crate::capture::mapping::section::Section;
use crate::nearest::nearest;

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
];
const CAPTURE_KEYS: &[&str] = &[
    "table",
    "on",
    "of",
    "when",
    "type",
    "type_sql",
    "entity_type",
    "entity_id",
    "tenant",
    "occurred_at",
    "lookup",
    "context",
    "columns",
    "data",
];

/// Reads the whole file.
pub(crate) fn mapping(file: &str, text: &str) -> Result<Mapping, Problems> {
    let mut report = Report { file, text, findings: Vec::new() };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let place = report.place(error.span().map_or(0, |span| span.start));
        report.add(place, "", "", error.message());
    }
    if !report.findings.is_empty() {
        // What follows a syntax error is a guess of the parser; judging it would bury the real finding.
        return Err(Problems(report.findings));
    }
    let start = Place { line: 1, column: 1 };
    let root =
        Section::of_table(&mut report, "", start, document.get_ref(), &["source", "table", "capture", "channel"]);
    let (mut mapping, tenant) = source(&mut report, &root);
    let shared = tables(&mut report, &root);
    captures(&mut report, &root, &mut mapping, &shared, tenant.as_ref());
    channel::channels(&mut report, &root, &mut mapping);
    for (name, table) in shared.iter().filter(|(_, table)| !table.is_used(&mapping.captures)) {
        let tables: Vec<String> = mapping.captures.iter().map(|capture| capture.table.to_string()).collect();
        let proposal = nearest(name, tables.iter().map(String::as_str))
            .map_or(String::new(), |name| format!("; the nearest is {name}"));
        report.add(
            table.name.place,
            &format!("table.{name}"),
            "",
            format!("no [[capture]] is about this table{proposal}"),
        );
    }
    report.findings.sort_by_key(|finding| finding.place);
    // What stands at a table is read once for each of its entries, and said once.
    report.findings.dedup_by(|next, last| next.place == last.place && next.message == last.message);
    if report.findings.is_empty() { Ok(mapping) } else { Err(Problems(report.findings)) }
}

fn source(report: &mut Report<'_>, root: &Section<'_>) -> (Mapping, Option<Text>) {
    let mut mapping = Mapping {
        file: report.file.to_owned(),
        text: report.text.to_owned(),
        name: String::new(),
        profile: Profile::Andon,
        time_zone: None,
        levels: Vec::new(),
        mqtt_publishers: None,
        webhooks: None,
        captures: Vec::new(),
        channels: Vec::new(),
    };
    let Some(value) = root.get("source") else {
        report.add(root.place, "source", "", "is missing; begin with [source] and name = \"…\"");
        return (mapping, None);
    };
    let Some(section) = Section::open(report, "source", value, SOURCE_KEYS) else { return (mapping, None) };
    if let Some(name) = section.required(report, "name") {
        let is_name = name.sql.starts_with(|first: char| first.is_ascii_lowercase())
            && name.sql.len() <= 24
            && name.sql.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
        if !is_name {
            let message = "is not a source name; take up to 24 lower-case letters, digits and hyphens, a letter first";
            report.add(name.place, "source", "name", message);
        }
        mapping.name = name.sql;
    }
    match section.text(report, "profile") {
        None => {}
        Some(profile) if profile.sql == "andon" => {}
        Some(profile) if profile.sql == "eryxon" => mapping.profile = Profile::Eryxon,
        Some(profile) => {
            report.add(
                profile.place,
                "source",
                "profile",
                format!("`{}` is unknown; take andon or eryxon", profile.sql),
            );
        }
    }
    mapping.time_zone = section.text(report, "time_zone");
    for level in LEVELS {
        mapping.levels.extend(section.text(report, level).map(|text| (level.to_owned(), text.sql)));
    }
    mapping.mqtt_publishers = section.table_name(report, "mqtt_publishers");
    mapping.webhooks = section.table_name(report, "webhooks");
    let tenant = section.text(report, "tenant");
    if let Some(tenant) = &tenant {
        refuse(report, "source", tenant, &["new", "old", "this"]);
    }
    (mapping, tenant)
}

fn tables(report: &mut Report<'_>, root: &Section<'_>) -> BTreeMap<String, Shared> {
    let mut tables = BTreeMap::new();
    let Some(value) = root.get("table") else { return tables };
    let DeValue::Table(entries) = value.get_ref() else {
        let place = report.place(value.span().start);
        report.add(place, "table", "", "is not a table; write [table.jobs] or [table.\"mes.jobs\"]");
        return tables;
    };
    for (key, value) in entries.iter() {
        let name = TableName::new(key.get_ref(), report.place(key.span().start));
        let entry = format!("table.{name}");
        if let Some(section) = Section::open(report, &entry, value, TABLE_KEYS) {
            tables.insert(name.to_string(), Shared::read(report, &section, name));
        }
    }
    tables
}

fn captures(
    report: &mut Report<'_>,
    root: &Section<'_>,
    mapping: &mut Mapping,
    shared: &BTreeMap<String, Shared>,
    tenant: Option<&Text>,
) {
    let entries = match root.get("capture").map(|value| (value, value.get_ref())) {
        Some((_, DeValue::Array(entries))) if !entries.is_empty() => entries,
        Some((value, _)) => {
            let place = report.place(value.span().start);
            return report.add(place, "capture", "", "is not a list of entries; write [[capture]]");
        }
        None if root.get("channel").is_some() => return,
        None => {
            return report.add(root.place, "capture", "", "is missing; without a [[capture]] nothing becomes an event");
        }
    };
    for (number, value) in (1..).zip(entries.iter()) {
        let entry = entry_name(number, value.get_ref());
        let Some(section) = Section::open(report, &entry, value, CAPTURE_KEYS) else { continue };
        if let Some(capture) = capture(report, &section, number, shared, tenant) {
            report_if_unreachable(report, &mapping.captures, &capture);
            mapping.captures.push(capture);
        }
    }
}

fn capture(
    report: &mut Report<'_>,
    section: &Section<'_>,
    number: usize,
    shared: &BTreeMap<String, Shared>,
    tenant: Option<&Text>,
) -> Option<Capture> {
    let entry = section.entry.as_str();
    let table = section.required(report, "table").and_then(|_| section.table_name(report, "table"));
    let operations = operations(report, section);
    let of = section.texts(report, "of");
    if let Some(first) = of.first().filter(|_| !operations.contains(&Operation::Update)) {
        report.add(first.place, entry, "of", "only an update has changed columns; add update to `on` or remove `of`");
    }
    let event = event_type(report, section);
    let own = Shared::read(report, section, table.clone()?);
    let merged = match shared.get(&own.name.to_string()) {
        Some(table) => own.over(table),
        None => own,
    };
    let event = event?;
    let entity_type = match (&merged.entity_type, &event) {
        (Some(entity_type), _) => entity_type.sql.clone(),
        (None, EventType::Literal(name)) => name.split('.').next().unwrap_or_default().to_owned(),
        (None, EventType::Sql(_)) => {
            report.add(section.place, entry, "entity_type", "is missing; type_sql gives no name to take it from");
            String::new()
        }
    };
    let when = section.text(report, "when");
    let capture = Capture {
        number,
        place: section.place,
        table: table?,
        operations,
        of,
        when,
        event,
        entity_type,
        entity_id: merged.entity_id,
        tenant: merged.tenant.or_else(|| tenant.cloned()),
        occurred_at: merged.occurred_at,
        lookups: merged.lookups,
        context: merged.context,
        columns: merged.columns,
        data: merged.data,
    };
    let mut rows = vec!["new", "old", "this"];
    rows.extend(capture.lookups.iter().map(|lookup| lookup.alias.as_str()));
    let event_sql = if let EventType::Sql(text) = &capture.event { Some(text) } else { None };
    let own = [&capture.when, &capture.entity_id, &capture.tenant, &capture.occurred_at].into_iter().flatten();
    let named = capture.context.iter().chain(&capture.data).map(|(_, text)| text);
    for text in own.chain(named).chain(event_sql).chain(capture.lookups.iter().map(|lookup| &lookup.on)) {
        refuse(report, entry, text, &rows);
    }
    Some(capture)
}

fn operations(report: &mut Report<'_>, section: &Section<'_>) -> Vec<Operation> {
    if section.get("on").is_none() {
        report.add(section.place, &section.entry, "on", "is missing; take insert, update or delete");
    }
    let mut operations = Vec::new();
    for name in section.texts(report, "on") {
        match Operation::ALL.into_iter().find(|operation| operation.name() == name.sql) {
            Some(operation) if !operations.contains(&operation) => operations.push(operation),
            Some(_) => {}
            None => {
                let message =
                    format!("`{}` is not something that happens to a row; take insert, update or delete", name.sql);
                report.add(name.place, &section.entry, "on", message);
            }
        }
    }
    operations.sort();
    operations
}

fn event_type(report: &mut Report<'_>, section: &Section<'_>) -> Option<EventType> {
    match (section.text(report, "type"), section.text(report, "type_sql")) {
        (Some(name), None) => {
            if !channel::is_event_name(&name.sql) {
                let message = format!(
                    "`{}` is not a dotted name such as job.created; an expression goes into type_sql",
                    name.sql
                );
                report.add(name.place, &section.entry, "type", message);
            }
            Some(EventType::Literal(name.sql))
        }
        (None, Some(sql)) => Some(EventType::Sql(sql)),
        (Some(_), Some(sql)) => {
            report.add(sql.place, &section.entry, "type_sql", "an entry has either type or type_sql");
            Some(EventType::Sql(sql))
        }
        (None, None) => {
            if section.get("type").or(section.get("type_sql")).is_none() {
                report.add(
                    section.place,
                    &section.entry,
                    "type",
                    "is missing; name the event, such as type = \"job.created\"",
                );
            }
            None
        }
    }
}

/// An entry without conditions takes every row, so that a later one for the same change would never be asked.
fn report_if_unreachable(report: &mut Report<'_>, earlier: &[Capture], capture: &Capture) {
    for operation in &capture.operations {
        let takes_all = earlier.iter().find(|entry| {
            let is_conditional = entry.when.is_some() || (*operation == Operation::Update && !entry.of.is_empty());
            entry.table.to_string() == capture.table.to_string()
                && entry.operations.contains(operation)
                && !is_conditional
        });
        if let Some(entry) = takes_all {
            let message = format!(
                "is never reached: capture {} takes every {} first; move it below",
                entry.number,
                operation.name()
            );
            report.add(capture.place, &capture.entry(), "", message);
            return;
        }
    }
}

fn refuse(report: &mut Report<'_>, entry: &str, text: &Text, rows: &[&str]) {
    if let Some(message) = expression::refused(&text.sql, rows.iter().copied()) {
        report.add(text.place, entry, &text.field, message);
    }
}

/// As `Capture::entry` will say, as far as the entry can be read.
fn entry_name(number: usize, value: &DeValue<'_>) -> String {
    let text = |key: &str| value.get(key).map(|value| value.get_ref());
    let operations = match text("on") {
        Some(DeValue::String(name)) => name.to_string(),
        Some(DeValue::Array(names)) => {
            names.iter().filter_map(|name| name.get_ref().as_str()).collect::<Vec<_>>().join("+")
        }
        _ => "?".to_owned(),
    };
    let place = Place { line: 1, column: 1 };
    let table =
        text("table").and_then(DeValue::as_str).map_or("?".to_owned(), |name| TableName::new(name, place).to_string());
    format!("capture {number} ({table}, {operations})")
}
