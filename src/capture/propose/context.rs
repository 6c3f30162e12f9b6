//! Finds what the topics of a table's events are made of: the levels of ISA-95, and the numbers of the job and the part. In: a table and all
//! others. Out: names and expressions; the look-ups that they need are added to those of the table.

use crate::capture::propose::column::can_be_read;
use crate::capture::propose::column::holds_words;
use crate::capture::propose::column::label_of;
use crate::capture::propose::column::number_of;
use crate::capture::propose::lookups::Lookups;
use crate::capture::propose::lookups::Path;
use crate::capture::propose::lookups::paths;
use crate::capture::propose::names::snake;
use crate::capture::propose::names::thing_words;
use crate::capture::propose::tables::Column;
use crate::capture::propose::tables::ListedTable;
use crate::capture::sql::quote::identifier;

/// The levels that topics know, each with the names that plants have for it, as one word.
const LEVELS: [(&str, &[&str]); 4] = [
    ("site", &["site", "plant", "factory", "facility"]),
    ("area", &["area", "department", "hall", "workshop"]),
    ("line", &["line"]),
    (
        "cell",
        &["cell", "machine", "station", "workstation", "workcell", "workunit", "workcenter", "workcentre", "equipment"],
    ),
];
/// Words that may stand before such a name; any other (`order` before `line`, `customer` before `site`) makes it something else.
const QUALIFIERS: &[&str] =
    &["production", "manufacturing", "assembly", "packaging", "mes", "prod", "mfg", "shop", "current", "cnc", "work"];
/// How far a look-up may lead, unless it leads from one level to the next.
const MOST_STEPS: usize = 3;

/// Returns the context of a table's events.
pub(super) fn of<'t>(
    table: &'t ListedTable,
    tables: &'t [ListedTable],
    lookups: &mut Lookups<'t>,
) -> Vec<(String, String)> {
    let reached = paths(table, tables, MOST_STEPS, |table| level_of(table).is_some());
    let mut context = Vec::new();
    for (level, names) in LEVELS {
        let own = || {
            let is_own =
                |column: &&Column| holds_words(column) && can_be_read(column) && is_called(&column.name, names);
            table.columns.iter().find(is_own).map(|column| column_sql("this", column))
        };
        let itself = || (level_of(table) == Some(level)).then(|| label_of(table)).flatten();
        let nearest = reached.iter().find(|path| level_of(path.table) == Some(level) && label_of(path.table).is_some());
        let sql = match (itself(), own(), nearest) {
            (Some(label), ..) => Some(column_sql("this", label)),
            (None, Some(own), _) => Some(own),
            (None, None, Some(path)) => looked_up(path, label_of(path.table), tables, lookups),
            (None, None, None) => None,
        };
        context.extend(sql.map(|sql| (level.to_owned(), sql)));
    }
    for (name, is_it) in
        [("operation", is_operation as fn(&ListedTable) -> bool), ("job_number", is_job), ("part_number", is_part)]
    {
        let label = if name == "operation" { label_of } else { number_of };
        let own = table.columns.iter().find(|column| snake(&column.name) == name && can_be_read(column));
        let nearest = reached.iter().find(|path| is_it(path.table) && label(path.table).is_some());
        let sql = match (own, is_it(table).then(|| label(table)).flatten(), nearest) {
            (Some(column), ..) | (None, Some(column), _) => Some(column_sql("this", column)),
            (None, None, Some(path)) => looked_up(path, label(path.table), tables, lookups),
            (None, None, None) => None,
        };
        context.extend(sql.map(|sql| (name.to_owned(), sql)));
    }
    context
}

fn looked_up<'t>(
    path: &Path<'t>,
    label: Option<&Column>,
    tables: &'t [ListedTable],
    lookups: &mut Lookups<'t>,
) -> Option<String> {
    let label = label?;
    Some(column_sql(&lookups.follow(path, tables)?, label))
}

/// Returns a column of a row, as SQL.
pub(super) fn column_sql(row: &str, column: &Column) -> String {
    format!("{row}.{}", identifier(&column.name))
}

/// Returns the level that the rows of a table are, if they are places of work.
pub(super) fn level_of(table: &ListedTable) -> Option<&'static str> {
    LEVELS.into_iter().find(|(_, names)| is_called(&table.name, names)).map(|(level, _)| level)
}

/// Returns whether a table or column is called by one of these names, in the singular or plural, with `name` after it or not.
fn is_called(name: &str, names: &[&str]) -> bool {
    let mut words = thing_words(name);
    if words.len() > 1 {
        words.pop_if(|word| word == "name");
    }
    // `work_center`, `workCenter` and `workcenter` are the same.
    let joined = |count: usize| words[words.len() - count..].concat();
    (1..=words.len().min(2)).any(|count| {
        names.contains(&joined(count).as_str())
            && words[..words.len() - count].iter().all(|word| QUALIFIERS.contains(&word.as_str()))
    })
}

fn is_job(table: &ListedTable) -> bool {
    let words = thing_words(&table.name);
    let last_two = words[words.len().saturating_sub(2)..].concat();
    words.last().is_some_and(|last| last == "job" || last == "workorder")
        || ["workorder", "productionorder", "manufacturingorder", "prodorder", "joborder", "shoporder"]
            .contains(&last_two.as_str())
}

fn is_part(table: &ListedTable) -> bool {
    let words = thing_words(&table.name);
    matches!(words.as_slice(), [only] if ["part", "product", "item", "article", "material"].contains(&only.as_str()))
}

fn is_operation(table: &ListedTable) -> bool {
    thing_words(&table.name).last().is_some_and(|last| last == "operation")
}

#[cfg(test)]
mod tests {
    use super::level_of;
    use crate::capture::propose::tables::ListedTable;

    #[test]
    fn places_are_known_by_their_names_and_what_only_sounds_like_one_is_none() {
        let level = |name: &str| level_of(&ListedTable { name: name.to_owned(), ..ListedTable::default() });

        for (name, known) in [
            ("workCenters", "cell"),
            ("work_centres", "cell"),
            ("mes_machines", "cell"),
            ("productionLines", "line"),
            ("departments", "area"),
            ("plants", "site"),
        ] {
            assert_eq!(level(name), Some(known), "{name}");
        }
        for name in ["order_lines", "invoiceLines", "customer_sites", "machine_types", "plant_settings", "timeline"] {
            assert_eq!(level(name), None, "{name}");
        }
    }
}
