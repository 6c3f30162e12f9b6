//! Proposes a first mapping for a database, for `andon source init`. In: the tables of the database. Out: a mapping to edit, in which all
//! proposals but one are comments. It guesses by names, and the mapping says so: only people know what a column means.

pub mod tables;

use std::fmt::Write;

use crate::capture::propose::tables::Column;
use crate::capture::propose::tables::ListedTable;
use crate::capture::sql::quote::identifier;

/// Columns that name the tenant of a row, the likeliest first.
const TENANTS: [&str; 8] = [
    "tenant_id",
    "organization_id",
    "organisation_id",
    "workspace_id",
    "company_id",
    "org_id",
    "account_id",
    "customer_id",
];
/// Columns that hold the status of a thing.
const STATES: [&str; 4] = ["status", "state", "stage", "phase"];
/// Last words of the names of tables in which each row is something that happened.
const LOGS: [&str; 12] = [
    "logs",
    "log",
    "history",
    "activities",
    "activity",
    "events",
    "audit",
    "notifications",
    "transactions",
    "movements",
    "measurements",
    "entries",
];
/// Columns of such tables that name the type of what happened.
const EVENT_TYPES: [&str; 7] = ["event_type", "action", "activity_type", "operation", "event", "kind", "type"];
/// Tables in which each row is a place of work.
const CELLS: [&str; 7] = ["cells", "stations", "work_centers", "workcenters", "work_stations", "machines", "equipment"];
/// Columns that topics know by the same name.
const CONTEXT: [&str; 2] = ["job_number", "part_number"];
/// Words in the names of columns whose values must not leave the database without a decision.
const PRIVATE: [&str; 11] =
    ["password", "secret", "token", "hash", "pin", "key", "email", "phone", "salt", "credential", "iban"];
/// Types whose values need no conversion in a payload.
const PLAIN: [&str; 11] = [
    "integer",
    "bigint",
    "smallint",
    "numeric",
    "double precision",
    "boolean",
    "text",
    "character varying",
    "uuid",
    "date",
    "timestamp with time zone",
];
/// The type of timestamps that need the time zone of the source.
const WITHOUT_ZONE: &str = "timestamp without time zone";
/// The most columns that a proposal sends.
const MOST_COLUMNS: usize = 12;

/// The kind of thing that the rows of a table seem to be.
enum Rows {
    /// Things that go from one status to the next; this column holds the status.
    Things(Column),
    /// A log of what happened; the column, if there is one, names the type of the event.
    Log(Option<Column>),
}

/// Writes the mapping of a source called `name`.
pub fn mapping(name: &str, tables: &[ListedTable]) -> String {
    let can_be_named = |table: &&ListedTable| !format!("{}{}", table.schema, table.name).contains(['.', '"', '\\']);
    let all: Vec<(&ListedTable, Option<Rows>)> =
        tables.iter().filter(can_be_named).map(|table| (table, rows_of(table))).collect();
    let proposed: Vec<(&ListedTable, &Rows)> =
        all.iter().filter_map(|(table, rows)| Some((*table, rows.as_ref()?))).collect();
    let mut text = head(name, tables, &proposed);
    let entries: Vec<String> = proposed.iter().map(|(table, rows)| entries(table, rows, tables)).collect();
    // One proposal is active, so that the file can be checked as it is: the first that says where something happens.
    let active = entries.iter().position(|entry| entry.contains("\ncontext = ")).unwrap_or(0);
    for (index, entry) in entries.iter().enumerate() {
        text.push_str(&if index == active { entry.clone() } else { commented(entry) });
    }
    let rest: Vec<String> = all.iter().filter(|(_, rows)| rows.is_none()).map(|(table, _)| table_name(table)).collect();
    if proposed.is_empty() {
        text.push_str("\n# No table has a status or looks like a log. An application can raise events itself: andon.emit(), or a channel.\n");
        text.push_str("[[channel]]\nchannel = \"events\"\ntype_path = \"type\"\nentity_type = \"thing\"\n");
    }
    if !rest.is_empty() {
        write!(text, "\n# Tables without a proposal: {}\n", rest.join(", ")).expect("a String takes everything");
    }
    text
}

fn head(name: &str, tables: &[ListedTable], proposed: &[(&ListedTable, &Rows)]) -> String {
    let mut text = format!(
        "# A first mapping, proposed from the names of tables and columns alone, which do not tell what they mean. Read each entry, remove the
# `#` in front of those that are right, and complete them. config/sources/README.md explains every key; `andon check --source FILE`
# lists what does not fit, and with --explain it shows what would be sent.

[source]
name = {}
",
        quoted(name)
    );
    let with_tenant = proposed.iter().filter(|(table, _)| tenant(table).is_some()).count();
    if with_tenant > 0 {
        writeln!(
            text,
            "# {with_tenant} of the {} tables below seem to name the tenant of a row; the events of the others would have no tenant.",
            proposed.len()
        )
        .expect("a String takes everything");
    }
    if proposed.iter().any(|(table, _)| table.columns.iter().any(|column| column.data_type == WITHOUT_ZONE)) {
        text.push_str("# Some timestamps have no time zone. Which one do the applications that write them mean?\ntime_zone = \"UTC\"\n");
    }
    for own in ["mqtt_publishers", "webhooks"] {
        if let Some(table) = tables.iter().find(|table| table.name == own && column(table, "events").is_some()) {
            writeln!(
                text,
                "# The system's own table of destinations, instead of andon.{own}.\n#{own} = {}",
                quoted(&table_name(table))
            )
            .expect("a String takes everything");
        }
    }
    text.push_str("# Levels that hold for the whole database.\n#enterprise = \"…\"\n#site = \"…\"\n#area = \"…\"\n");
    text
}

fn rows_of(table: &ListedTable) -> Option<Rows> {
    let is_log = LOGS.iter().any(|end| table.name == *end || table.name.ends_with(&format!("_{end}")));
    let state = STATES.iter().find_map(|name| column(table, name));
    if let Some(state) = state.filter(|_| table.has_key && !is_log) {
        return Some(Rows::Things(state.clone()));
    }
    let event_type = EVENT_TYPES.iter().find_map(|name| column(table, name)).filter(|column| holds_words(column));
    (is_log && table.has_key).then(|| Rows::Log(event_type.cloned()))
}

/// Returns the `[table]` section of a table, and its `[[capture]]` entries.
fn entries(table: &ListedTable, rows: &Rows, tables: &[ListedTable]) -> String {
    let entity = singular(&table.name);
    let mut text = table_section(table, &entity, tables);
    let name = table_name(table);
    let capture = |on: &str, rest: &str| format!("\n[[capture]]\ntable = {}\non = \"{on}\"\n{rest}\n", quoted(&name));
    match rows {
        Rows::Things(state) => {
            text.push_str(&capture("insert", &format!("type = \"{entity}.created\"")));
            if column(table, "deleted_at").is_some() {
                text.push_str(&capture(
                    "update",
                    &format!("of = [\"deleted_at\"]\nwhen = \"old.deleted_at is null and new.deleted_at is not null\"\ntype = \"{entity}.deleted\""),
                ));
            }
            let known =
                if state.values.is_empty() { String::new() } else { format!("# {}\n", state.values.join(", ")) };
            let old = format!("data = {{ old_{0} = \"old.{0}\" }}", state.name);
            let of = format!("{known}of = [{}]\n{}\n{old}", quoted(&state.name), type_sql(&entity, state));
            text.push_str(&capture("update", &of));
        }
        Rows::Log(Some(event_type)) => text.push_str(&capture("insert", &type_sql(&entity, event_type))),
        Rows::Log(None) => text.push_str(&capture("insert", &format!("type = \"{entity}.recorded\""))),
    }
    text
}

fn table_section(table: &ListedTable, entity: &str, tables: &[ListedTable]) -> String {
    let name = table_name(table);
    let mut text = format!("\n[table.{}]\n", if name.contains('.') { quoted(&name) } else { name });
    writeln!(text, "entity_type = {}", quoted(entity)).expect("a String takes everything");
    if let Some(tenant) = tenant(table) {
        writeln!(text, "tenant = \"this.{tenant}\"").expect("a String takes everything");
    }
    let mut context = Vec::new();
    if let Some((lookup, cell)) = cell_of(table, tables) {
        text.push_str(&lookup);
        context.push(("cell", cell));
    }
    for name in CONTEXT.iter().filter(|name| column(table, name).is_some()) {
        context.push((name, format!("this.{name}")));
    }
    let context: Vec<String> = context.iter().map(|(name, sql)| format!("{name} = {}", quoted(sql))).collect();
    if !context.is_empty() {
        writeln!(text, "context = {{ {} }}", context.join(", ")).expect("a String takes everything");
    }
    let columns: Vec<String> = table
        .columns
        .iter()
        .filter(|column| is_public(column))
        .take(MOST_COLUMNS)
        .map(|column| quoted(&column.name))
        .collect();
    writeln!(text, "columns = [{}]", columns.join(", ")).expect("a String takes everything");
    text
}

/// Makes the type of an event from the value of a column, whatever people write there.
fn type_sql(entity: &str, column: &Column) -> String {
    let value = format!("new.{}::text", identifier(&column.name));
    let is_name = |value: &String| value.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
    let value = if !column.values.is_empty() && column.values.iter().all(is_name) {
        value
    } else {
        format!("regexp_replace(lower({value}), '[^a-z0-9]+', '_', 'g')")
    };
    let when =
        if column.is_nullable { format!("when = \"new.{} <> ''\"\n", identifier(&column.name)) } else { String::new() };
    let when = when.replace(" <> ''", if column.values.is_empty() { " <> ''" } else { " is not null" });
    format!("{when}type_sql = {}", quoted(&format!("'{entity}.' || {value}")))
}

/// Returns the lookup of the cell that a row points to, and the SQL of the cell's name. A row that is itself a cell needs no lookup.
fn cell_of(table: &ListedTable, tables: &[ListedTable]) -> Option<(String, String)> {
    let named = |table: &ListedTable| ["name", "title", "code"].into_iter().find(|name| column(table, name).is_some());
    if CELLS.contains(&table.name.as_str()) {
        return Some((String::new(), format!("this.{}", named(table)?)));
    }
    let (reference, cell) = table.references.iter().find_map(|reference| {
        let cell =
            tables.iter().find(|other| (&other.schema, &other.name) == (&reference.table.0, &reference.table.1))?;
        (CELLS.contains(&cell.name.as_str()) && named(cell).is_some()).then_some((reference, cell))
    })?;
    let alias = "place";
    let on = format!("{alias}.{} = this.{}", identifier(&reference.key), identifier(&reference.column));
    let lookup =
        format!("lookup = [{{ alias = \"{alias}\", table = {}, on = {} }}]\n", quoted(&table_name(cell)), quoted(&on));
    Some((lookup, format!("{alias}.{}", named(cell)?)))
}

fn tenant(table: &ListedTable) -> Option<&'static str> {
    TENANTS.into_iter().find(|name| column(table, name).is_some())
}

fn is_public(column: &Column) -> bool {
    let is_plain =
        PLAIN.contains(&column.data_type.as_str()) || column.data_type == WITHOUT_ZONE || !column.values.is_empty();
    is_plain
        && !["created_at", "updated_at"].contains(&column.name.as_str())
        && !PRIVATE.iter().any(|part| column.name.split('_').any(|word| word == *part))
}

fn holds_words(column: &Column) -> bool {
    !column.values.is_empty() || ["text", "character varying"].contains(&column.data_type.as_str())
}

fn column<'t>(table: &'t ListedTable, name: &str) -> Option<&'t Column> {
    table.columns.iter().find(|column| column.name == name)
}

fn table_name(table: &ListedTable) -> String {
    if table.schema == "public" { table.name.clone() } else { format!("{}.{}", table.schema, table.name) }
}

fn singular(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' })
        .collect();
    if let Some(stem) = name.strip_suffix("ies") {
        return format!("{stem}y");
    }
    let has_es = ["sses", "xes", "ches", "shes", "uses"].iter().any(|end| name.ends_with(end));
    let cut = if has_es { 2 } else { usize::from(name.ends_with('s') && !name.ends_with("ss")) };
    name[..name.len() - cut].to_owned()
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Comments an entry out. Prose keeps its `# `; a line that works once the first character is removed begins with `#` alone.
fn commented(text: &str) -> String {
    text.lines()
        .map(|line| if line.is_empty() || line.starts_with('#') { format!("{line}\n") } else { format!("#{line}\n") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Mapping;

    #[test]
    fn things_are_named_in_the_singular() {
        let names = ["jobs", "entries", "statuses", "boxes", "process", "Work Orders"].map(singular);

        assert_eq!(names, ["job", "entry", "status", "box", "process", "work_order"]);
    }

    #[test]
    fn an_empty_database_gets_a_file_that_can_be_read() {
        let text = mapping("plant", &[]);

        assert!(Mapping::parse("plant.toml", &text).is_ok(), "{text}");
    }
}
