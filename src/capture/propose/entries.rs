//! Writes the part of a proposal that is about one table: its `[table.NAME]` section and its `[[capture]]` entries. In: the table, all
//! others, and how tenants are told apart. Out: TOML, as a person would have written it, and how many entries it has.

use std::fmt::Write;

use crate::capture::propose::column;
use crate::capture::propose::column::label_of;
use crate::capture::propose::context;
use crate::capture::propose::context::column_sql;
use crate::capture::propose::lookups::Lookups;
use crate::capture::propose::lookups::paths;
use crate::capture::propose::names::snake;
use crate::capture::propose::nature::Nature;
use crate::capture::propose::soft_delete::SoftDelete;
use crate::capture::propose::state;
use crate::capture::propose::state::State;
use crate::capture::propose::tables::Column;
use crate::capture::propose::tables::ListedTable;
use crate::capture::propose::tenant::Tenants;
use crate::capture::propose::toml_text::in_comment;
use crate::capture::propose::toml_text::inline_table;
use crate::capture::propose::toml_text::key_text;
use crate::capture::propose::toml_text::list;
use crate::capture::propose::toml_text::quoted;
use crate::capture::sql::quote::identifier;
use crate::capture::sql::quote::literal;

/// The most columns that a proposal sends, and the most names that it looks up for the payload.
const MOST_COLUMNS: usize = 12;
const MOST_NAMES: usize = 4;

/// What a proposal says about one table.
pub(super) struct TableEntries {
    /// The TOML.
    pub(super) text: String,
    /// The number of `[[capture]]` entries.
    pub(super) count: usize,
}

/// What all proposals have in common.
#[derive(Clone, Copy)]
pub(super) struct Plant<'t> {
    pub(super) tables: &'t [ListedTable],
    pub(super) tenants: Option<&'t Tenants>,
}

/// Returns the entries of a table whose things are called `entity`.
pub(super) fn of<'t>(table: &'t ListedTable, nature: Nature, entity: &str, plant: Plant<'t>) -> TableEntries {
    let mut text = section(table, entity, plant);
    let entries = captures(table, nature, entity);
    let name = quoted(&table.mapping_name());
    for Entry { on, keys } in &entries {
        write!(text, "\n[[capture]]\ntable = {name}\non = \"{on}\"\n{keys}").expect("a String takes everything");
    }
    TableEntries { text, count: entries.len() }
}

/// One `[[capture]]` entry: its operation, and the keys after it.
struct Entry {
    on: &'static str,
    keys: String,
}

fn section<'t>(table: &'t ListedTable, entity: &str, plant: Plant<'t>) -> String {
    let mut lookups = Lookups::default();
    let tenant = tenant(table, plant, &mut lookups);
    let context = context::of(table, plant.tables, &mut lookups);
    let columns = columns(table, plant.tenants);
    let mut data = names(table, plant, &mut lookups);
    for (name, sql) in context.iter().filter(|(name, sql)| name.ends_with("_number") && !sql.starts_with("this.")) {
        if data.iter().all(|(known, known_sql)| known != name && known_sql != sql) {
            data.push((name.clone(), sql.clone()));
        }
    }
    data.retain(|(name, _)| columns.iter().all(|column| column.name != *name));
    let mut text = format!("\n[table.{}]\nentity_type = {}\n", key_text(&table.mapping_name()), quoted(entity));
    let mut line = |line: String| text.push_str(&format!("{line}\n"));
    match tenant {
        Some(tenant) => line(format!("tenant = {}", quoted(&tenant))),
        None if plant.tenants.is_some() => {
            line("# Nothing leads from these rows to a tenant: only destinations whose tenant_id is empty get their events.".to_owned());
        }
        None => {}
    }
    let text_of_lookups = lookups.text();
    if !text_of_lookups.is_empty() {
        line(text_of_lookups.trim_end().to_owned());
    }
    if !context.is_empty() {
        line(format!("context = {}", inline_table(&context)));
    }
    if !columns.is_empty() {
        line(format!("columns = {}", list(columns.iter().map(|column| quoted(&column.name)))));
    }
    if !data.is_empty() {
        line(format!("data = {}", inline_table(&data)));
    }
    let without_zone: Vec<&str> = table
        .columns
        .iter()
        .filter(|column| column::lacks_zone(column) && !column::is_private(&column.name))
        .map(|column| column.name.as_str())
        .collect();
    if !without_zone.is_empty() {
        line(format!(
            "# Times without a zone, which columns can name once [source] has a time_zone: {}",
            in_comment(&without_zone.join(", "))
        ));
    }
    text
}

/// Returns the tenant of a row: its own, or that of the nearest row that it belongs to.
fn tenant<'t>(table: &'t ListedTable, plant: Plant<'t>, lookups: &mut Lookups<'t>) -> Option<String> {
    let tenants = plant.tenants?;
    if let Some(own) = tenants.column_of(table) {
        return Some(column_sql("this", own));
    }
    if tenants.are(table) {
        let keys = plant.tables.iter().flat_map(|table| &table.references);
        let key = keys.filter(|key| key.table == (table.schema.clone(), table.name.clone())).map(|key| &key.key).next();
        return Some(column_sql("this", table.column(key.map_or("id", String::as_str))?));
    }
    let reached = paths(table, plant.tables, 2, |_| false);
    let owner = reached.iter().find(|path| tenants.column_of(path.table).is_some() && !tenants.are(path.table))?;
    let column = tenants.column_of(owner.table)?;
    Some(column_sql(&lookups.follow(owner, plant.tables)?, column))
}

/// Returns the columns of the payload, in the order of the table.
fn columns<'t>(table: &'t ListedTable, tenants: Option<&Tenants>) -> Vec<&'t Column> {
    let is_tenant = |column: &Column| tenants.is_some_and(|tenants| snake(&column.name) == tenants.column);
    let public = |column: &&Column| column::is_public(column) && !is_tenant(column);
    let states: Vec<&str> = state::of(table).iter().map(|state| state.column.name.as_str()).collect();
    let all: Vec<&Column> = table.columns.iter().filter(public).collect();
    // The states are what the events are about, so they go in even where they are the last columns of many.
    let late = all.iter().skip(MOST_COLUMNS).filter(|column| states.contains(&column.name.as_str())).count();
    let kept = MOST_COLUMNS.saturating_sub(late);
    let is_kept = |(place, column): &(usize, &&Column)| *place < kept || states.contains(&column.name.as_str());
    all.iter().enumerate().filter(is_kept).map(|(_, column)| *column).collect()
}

/// Returns the names of the things that a row refers to, for its payload.
fn names<'t>(table: &'t ListedTable, plant: Plant<'t>, lookups: &mut Lookups<'t>) -> Vec<(String, String)> {
    let is_tenant = |table: &ListedTable| plant.tenants.is_some_and(|tenants| tenants.are(table));
    let mut names: Vec<(String, String)> = Vec::new();
    for path in paths(table, plant.tables, 1, |_| false).iter().filter(|path| !is_tenant(path.table)) {
        let Some(label) = label_of(path.table).filter(|_| names.len() < MOST_NAMES) else { continue };
        let Some(alias) = lookups.follow(path, plant.tables) else { continue };
        let label_name = snake(&label.name);
        let thing = alias.trim_start_matches("its_").trim_end_matches('_');
        let name = match label_name.as_str() {
            "name" | "title" | "label" => thing.to_owned(),
            other if other.contains('_') => label_name.clone(),
            other => format!("{thing}_{other}"),
        };
        if names.iter().all(|(known, _)| *known != name) {
            names.push((name, column_sql(&alias, label)));
        }
    }
    names
}

fn captures(table: &ListedTable, nature: Nature, entity: &str) -> Vec<Entry> {
    let named = |event: &str| format!("type = \"{entity}.{event}\"\n");
    if nature == Nature::Log {
        return vec![Entry { on: "insert", keys: named("recorded") }];
    }
    let states = state::of(table);
    let soft_delete = SoftDelete::of(table);
    let mut entries = vec![Entry { on: "insert", keys: named("created") }];
    if let Some(soft_delete) = &soft_delete {
        let of = quoted(soft_delete.column());
        let when = quoted(&soft_delete.happens());
        entries.push(Entry { on: "update", keys: format!("of = [{of}]\nwhen = {when}\n{}", named("deleted")) });
    }
    for (place, state) in states.iter().enumerate() {
        entries.extend(state_entries(state, entity, place == 0));
    }
    if states.is_empty() {
        entries.push(Entry { on: "update", keys: named("updated") });
    }
    // A row that was deleted softly has been announced already.
    let before = soft_delete.map(|soft_delete| format!("when = {}\n", quoted(&soft_delete.has_not_happened())));
    entries.push(Entry { on: "delete", keys: format!("{}{}", before.unwrap_or_default(), named("deleted")) });
    entries
}

/// Returns the entries of a state: one for each value that the thing's own state lists, and else one for any change.
fn state_entries(state: &State<'_>, entity: &str, is_own: bool) -> Vec<Entry> {
    let column = identifier(&state.column.name);
    let of = format!("of = [{}]\n", quoted(&state.column.name));
    let old = inline_table(&[(format!("old_{}", snake(&state.column.name)), format!("old.{column}"))]);
    let events = if is_own && state.reference.is_none() { state::events(state) } else { Vec::new() };
    let value = if state.column.is_compared_as_text { format!("new.{column}::text") } else { format!("new.{column}") };
    let mut entries: Vec<Entry> = Vec::new();
    for (event, labels) in &events {
        let labels: Vec<String> = labels.iter().map(|label| literal(label).trim_start().to_owned()).collect();
        let when = match labels.as_slice() {
            [only] => format!("{value} = {only}"),
            several => format!("{value} in ({})", several.join(", ")),
        };
        entries.push(Entry {
            on: "update",
            keys: format!("{of}when = {}\ntype = \"{entity}.{event}\"\ndata = {old}\n", quoted(&when)),
        });
    }
    if !state::is_complete(state, &events) {
        let known = match state.column.labels.as_slice() {
            labels if labels.is_empty() || !events.is_empty() => String::new(),
            labels => format!("# {}\n", in_comment(&labels.join(", "))),
        };
        entries.push(Entry {
            on: "update",
            keys: format!("{known}{of}type = \"{entity}.{}_changed\"\ndata = {old}\n", state.word),
        });
    }
    entries
}
