//! Reads the `[[capture]]` entries of a mapping. In: the file's root section, and what `[source]` and `[table.NAME]` give to entries. Out:
//! complete entries. It judges an SQL expression only by what a mapping never allows; the database judges the rest, in the check.

use std::collections::BTreeMap;

use toml::de::DeValue;

use crate::capture::expression;
use crate::capture::finding::Location;
use crate::capture::mapping::Capture;
use crate::capture::mapping::EventType;
use crate::capture::mapping::Operation;
use crate::capture::mapping::TableName;
use crate::capture::mapping::Text;
use crate::capture::mapping::inherit::SharedKeys;
use crate::capture::mapping::inherit::reads_a_row;
use crate::capture::mapping::is_event_type;
use crate::capture::mapping::is_reserved;
use crate::capture::mapping::optional;
use crate::capture::mapping::section::Findings;
use crate::capture::mapping::section::Section;

const KEYS: &[&str] = &[
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
    "optional",
];

/// Reads all `[[capture]]` entries. `tenant` is the expression of `[source]`.
pub(super) fn captures(
    findings: &mut Findings<'_>,
    root: &Section<'_>,
    tables: &BTreeMap<String, SharedKeys>,
    tenant: Option<&Text>,
) -> Vec<Capture> {
    let mut captures = Vec::new();
    let entries = match root.get("capture").map(|value| (value, value.get_ref())) {
        Some((_, DeValue::Array(entries))) if !entries.is_empty() => entries,
        Some((value, _)) => {
            let location = findings.location(value.span().start);
            findings.add(location, "capture", "", "is not a list of entries; write [[capture]]");
            return captures;
        }
        None if root.get("channel").is_some() => return captures,
        None => {
            let message = "is missing; without a [[capture]] nothing becomes an event";
            findings.add(root.location, "capture", "", message);
            return captures;
        }
    };
    for (number, value) in (1..).zip(entries.iter()) {
        let entry = entry_name(number, value.get_ref());
        let Some(section) = Section::open(findings, &entry, value, KEYS) else { continue };
        if let Some(capture) = capture(findings, &section, number, tables, tenant) {
            check_expressions(findings, &section.entry, &capture);
            report_if_unreachable(findings, &captures, &capture);
            captures.push(capture);
        }
    }
    optional::report_unknown(findings, &captures);
    captures
}

fn capture(
    findings: &mut Findings<'_>,
    section: &Section<'_>,
    number: usize,
    tables: &BTreeMap<String, SharedKeys>,
    tenant: Option<&Text>,
) -> Option<Capture> {
    let table = section.required_table(findings);
    let operations = operations(findings, section);
    let of = section.texts(findings, "of");
    if let Some(first) = of.first().filter(|_| !operations.contains(&Operation::Update)) {
        let message = "only an update has changed columns; add update to `on` or remove `of`";
        findings.add(first.location, &section.entry, "of", message);
    }
    let event = event_type(findings, section);
    let own = SharedKeys::read(findings, section, table?);
    let event = event?;
    let table = own.table.each().find_map(|name| tables.get(&name.to_string()));
    // A truncate has no row, so that it inherits nothing that reads one.
    let is_truncate = operations.contains(&Operation::Truncate);
    let tenant = tenant.filter(|tenant| !is_truncate || !reads_a_row(tenant));
    let keys = match table {
        Some(table) if is_truncate => own.inherit(&table.without_rows()),
        Some(table) => own.inherit(table),
        None => own,
    };
    let entity_type = entity_type(findings, section, keys.entity_type, &event);
    Some(Capture {
        number,
        location: section.location,
        table: keys.table,
        operations,
        of,
        when: section.text(findings, "when"),
        event,
        entity_type,
        entity_id: keys.entity_id,
        tenant: keys.tenant.or_else(|| tenant.cloned()),
        occurred_at: keys.occurred_at,
        lookups: keys.lookups,
        context: keys.context,
        columns: keys.columns,
        data: keys.data,
        optional: keys.optional,
    })
}

fn operations(findings: &mut Findings<'_>, section: &Section<'_>) -> Vec<Operation> {
    if section.get("on").is_none() {
        findings.add(section.location, &section.entry, "on", "is missing; use insert, update, delete or truncate");
    }
    let mut operations = Vec::new();
    for name in section.texts(findings, "on") {
        match Operation::ALL.into_iter().find(|operation| operation.name() == name.sql) {
            Some(operation) if !operations.contains(&operation) => operations.push(operation),
            Some(_) => {}
            None => {
                let message = format!(
                    "`{}` is nothing that happens to a table; use insert, update, delete or truncate",
                    name.sql
                );
                findings.add(name.location, &section.entry, "on", message);
            }
        }
    }
    operations.sort();
    if let (Some(on), true) = (section.get("on"), operations.len() > 1 && operations.contains(&Operation::Truncate)) {
        let message = "truncate needs an entry of its own, because it has no row that the entry could read";
        findings.add(findings.location(on.span().start), &section.entry, "on", message);
    }
    operations
}

fn event_type(findings: &mut Findings<'_>, section: &Section<'_>) -> Option<EventType> {
    let entry = section.entry.as_str();
    match (section.text(findings, "type"), section.text(findings, "type_sql")) {
        (Some(name), None) => {
            if !is_event_type(&name.sql) {
                let message = format!(
                    "`{}` is not a dotted name such as job.created; an expression goes into type_sql",
                    name.sql
                );
                findings.add(name.location, entry, "type", message);
            } else if is_reserved(&name.sql) {
                let message =
                    format!("`{}` is not yours: names that begin with andon are Andon's own; choose another", name.sql);
                findings.add(name.location, entry, "type", message);
            }
            Some(EventType::Literal(name.sql))
        }
        (None, Some(sql)) => Some(EventType::Sql(sql)),
        (Some(_), Some(sql)) => {
            findings.add(sql.location, entry, "type_sql", "an entry has either type or type_sql");
            Some(EventType::Sql(sql))
        }
        (None, None) => {
            if section.get("type").or(section.get("type_sql")).is_none() {
                let message = "is missing; name the event, such as type = \"job.created\"";
                findings.add(section.location, entry, "type", message);
            }
            None
        }
    }
}

fn entity_type(
    findings: &mut Findings<'_>,
    section: &Section<'_>,
    entity_type: Option<Text>,
    event: &EventType,
) -> String {
    match (entity_type, event) {
        (Some(entity_type), _) => entity_type.sql,
        (None, EventType::Literal(name)) => name.split('.').next().unwrap_or_default().to_owned(),
        (None, EventType::Sql(_)) => {
            let message = "is missing; with type_sql it cannot be taken from the type";
            findings.add(section.location, &section.entry, "entity_type", message);
            String::new()
        }
    }
}

fn check_expressions(findings: &mut Findings<'_>, entry: &str, capture: &Capture) {
    let mut rows = vec!["new", "old", "this"];
    rows.extend(capture.lookups.iter().map(|lookup| lookup.alias.as_str()));
    let event_type = if let EventType::Sql(text) = &capture.event { Some(text) } else { None };
    let single = [&capture.when, &capture.entity_id, &capture.tenant, &capture.occurred_at].into_iter().flatten();
    let named = capture.context.iter().chain(&capture.data).map(|(_, text)| text);
    let lookups = capture.lookups.iter().map(|lookup| &lookup.on);
    for text in single.chain(named).chain(event_type).chain(lookups) {
        check_expression(findings, entry, text, &rows);
    }
}

/// Reports an expression that a mapping may not contain. `rows` are the rows that it can read.
pub(super) fn check_expression(findings: &mut Findings<'_>, entry: &str, text: &Text, rows: &[&str]) {
    if let Some(message) = expression::objection(&text.sql, rows.iter().copied()) {
        findings.add(text.location, entry, &text.field, message);
    }
}

/// Reports an entry that is never tried, because an earlier one for the same change has no conditions and takes every row.
fn report_if_unreachable(findings: &mut Findings<'_>, earlier: &[Capture], capture: &Capture) {
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
            findings.add(capture.location, &capture.entry(), "", message);
            return;
        }
    }
}

/// Returns the name that `Capture::entry` will give, as far as the entry can be read.
fn entry_name(number: usize, value: &DeValue<'_>) -> String {
    let text = |key: &str| value.get(key).map(|value| value.get_ref());
    let operations = match text("on") {
        Some(DeValue::String(name)) => name.to_string(),
        Some(DeValue::Array(names)) => {
            names.iter().filter_map(|name| name.get_ref().as_str()).collect::<Vec<_>>().join("+")
        }
        _ => "?".to_owned(),
    };
    let table = text("table").and_then(|table| match table {
        DeValue::Array(names) => names.first().and_then(|name| name.get_ref().as_str()),
        name => name.as_str(),
    });
    let table = table.map_or("?".to_owned(), |name| TableName::new(name, Location::START).to_string());
    format!("capture {number} ({table}, {operations})")
}
