//! Proposes a first mapping for a database, for `andon source init`. In: the tables of the database, and which of them are asked for. Out: a
//! mapping that can be attached as it is, as a person would have written it: the busiest tables whose rows go through states, with their
//! tenants, places and names. It knows the catalogue and no row; what it leaves out, the mapping says at its end.

mod column;
mod context;
mod entries;
mod glob;
pub(crate) mod labels;
mod left_out;
mod lookups;
mod names;
mod nature;
mod soft_delete;
mod state;
pub mod tables;
mod tenant;
mod toml_text;

use std::collections::HashMap;
use std::collections::HashSet;
use std::fmt::Write;

use crate::capture::propose::entries::Plant;
use crate::capture::propose::left_out::LeftOut;
use crate::capture::propose::names::snake;
use crate::capture::propose::nature::Nature;
use crate::capture::propose::tables::ListedTable;
use crate::capture::propose::tenant::Tenants;
use crate::capture::propose::toml_text::in_comment;
use crate::capture::propose::toml_text::quoted;
use crate::nearest::nearest;

/// The most entries of a proposal that was not told which tables to propose.
pub const MOST_ENTRIES: usize = 60;

/// What is asked of a proposal.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The name of the source.
    pub name: String,
    /// Patterns of the tables to propose; empty for those that are worth it.
    pub tables: Vec<String>,
    /// Patterns of the tables to leave out.
    pub not_tables: Vec<String>,
    /// The most entries; a table that does not fit any more is left out.
    pub limit: Option<usize>,
}

/// Why there is no proposal.
#[derive(Debug, thiserror::Error)]
pub enum NoProposal {
    /// A pattern stands for no table.
    #[error("no table is called `{pattern}`{proposal}")]
    NoSuchTable { pattern: String, proposal: String },
    /// Nothing looks like something that happens.
    #[error(
        "no table has a state or looks like a log of what happened; name tables with --table, or let the application call andon.emit()\n{0}"
    )]
    NothingFound(String),
}

/// Writes the mapping.
pub fn mapping(wish: &Wish, tables: &[ListedTable]) -> Result<String, NoProposal> {
    for pattern in wish.tables.iter().chain(&wish.not_tables) {
        check_pattern(pattern, tables)?;
    }
    let proposed: Vec<&ListedTable> = tables.iter().filter(|table| choose(table, wish, None).is_ok()).collect();
    let tenants = Tenants::of(tables, &proposed);
    let plant = Plant { tables, tenants: tenants.as_ref() };
    let mut left_out = LeftOut::default();
    let mut chosen: Vec<(&ListedTable, Nature)> = Vec::new();
    for table in tables {
        match choose(table, wish, tenants.as_ref()) {
            Ok(nature) => chosen.push((table, nature)),
            Err(reason) => left_out.add(reason, table),
        }
    }
    chosen.sort_by_cached_key(|(table, nature)| rank(table, *nature, tables));
    let limit = wish.limit.unwrap_or(if wish.tables.is_empty() { MOST_ENTRIES } else { usize::MAX });
    let mut text = head(wish, tables, tenants.as_ref());
    let (mut count, mut things) = (0, HashSet::new());
    let mut called: HashMap<String, usize> = HashMap::new();
    chosen.iter().for_each(|(table, _)| *called.entry(names::thing(&table.name)).or_default() += 1);
    for (table, nature) in &chosen {
        let entity = entity(table, &called, &things);
        let entries = entries::of(table, *nature, &entity, plant);
        if count > 0 && count + entries.count > limit {
            left_out.add("there are busier ones, and --limit allows no more entries", table);
            continue;
        }
        count += entries.count;
        things.insert(entity);
        text.push_str(&entries.text);
    }
    if count == 0 {
        return Err(NoProposal::NothingFound(left_out.text()));
    }
    text.push_str(&left_out.text());
    Ok(text)
}

/// Returns what the rows of a table seem to be if it is to be proposed, and otherwise why not.
fn choose(table: &ListedTable, wish: &Wish, tenants: Option<&Tenants>) -> Result<Nature, &'static str> {
    let is_one_of =
        |patterns: &[String]| patterns.iter().any(|pattern| glob::matches(pattern, &table.schema, &table.name));
    let is_asked_for = is_one_of(&wish.tables);
    if !wish.tables.is_empty() && !is_asked_for {
        return Err("--table does not name them");
    }
    if is_one_of(&wish.not_tables) {
        return Err("--not-table names them");
    }
    match nature::of(table) {
        Nature::Unusable(reason) => Err(reason),
        Nature::LeftOut(_) | Nature::Plain if is_asked_for => Ok(Nature::Plain),
        Nature::LeftOut(reason) => Err(reason),
        Nature::Plain => Err("they have no state and are no log of what happened"),
        nature if is_asked_for => Ok(nature),
        _ if tenants.is_some_and(|tenants| tenants.are(table)) => Err("their rows are the tenants"),
        nature => Ok(nature),
    }
}

/// Returns the place of a table: the busiest first, and where nobody has written yet, those whose states are known and that others refer to.
fn rank(table: &ListedTable, nature: Nature, tables: &[ListedTable]) -> impl Ord + use<> {
    let referring = tables.iter().flat_map(|other| &other.references);
    let references = referring.filter(|key| key.table.0 == table.schema && key.table.1 == table.name).count();
    let lists_states = state::of(table).first().is_some_and(|state| !state.column.labels.is_empty());
    std::cmp::Reverse((table.writes, nature == Nature::Thing, lists_states, references + table.references.len()))
}

/// Returns what the rows of a table are called, with the schema before it if another table has the same name.
fn entity(table: &ListedTable, called: &HashMap<String, usize>, taken: &HashSet<String>) -> String {
    let thing = names::thing(&table.name);
    let is_ambiguous = called.get(&thing).is_some_and(|count| *count > 1);
    let mut entity =
        if is_ambiguous && table.schema != "public" { format!("{}_{thing}", snake(&table.schema)) } else { thing };
    while taken.contains(&entity) {
        entity = format!("{entity}_{}", snake(&table.name));
    }
    entity
}

fn head(wish: &Wish, tables: &[ListedTable], tenants: Option<&Tenants>) -> String {
    let mut text = format!(
        "# A first mapping, proposed from the catalogue and the statistics of the database: the busiest tables come first. Read each entry, and
# change what is not meant so. config/sources/README.md explains every key, and `andon check --source FILE --explain` shows what is sent.

[source]
name = {}
",
        quoted(&wish.name)
    );
    if let Some(tenants) = tenants {
        let table =
            tenants.table.as_ref().map_or(String::new(), |(_, name)| format!(", a key of {}", in_comment(name)));
        let line =
            format!("# {} of {} tables name their tenant in {}{table}.", tenants.count, tenants.among, tenants.column);
        writeln!(text, "{line}").expect("a String takes everything");
    }
    for own in ["mqtt_publishers", "webhooks"] {
        let is_own = |table: &&ListedTable| table.name == own && table.column("events").is_some();
        if let Some(table) = tables.iter().find(is_own) {
            let name = quoted(&table.mapping_name());
            writeln!(text, "# The system's own table of destinations, instead of andon.{own}:\n#{own} = {name}")
                .expect("a String takes everything");
        }
    }
    text.push_str("# Levels that hold for the whole database:\n#enterprise = \"…\"\n#site = \"…\"\n");
    text
}

fn check_pattern(pattern: &str, tables: &[ListedTable]) -> Result<(), NoProposal> {
    if tables.iter().any(|table| glob::matches(pattern, &table.schema, &table.name)) {
        return Ok(());
    }
    let proposal = nearest(pattern, tables.iter().map(|table| table.name.as_str()))
        .map_or(String::new(), |name| format!("; the nearest is {name}"));
    Err(NoProposal::NoSuchTable { pattern: pattern.to_owned(), proposal })
}
