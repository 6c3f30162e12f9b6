//! Finds what a row's foreign keys lead to. In: a table and all others. Out: the tables that can be reached, the nearest first, and the
//! look-ups of a mapping that read them, each with a name of its own.

use std::collections::HashSet;

use crate::capture::propose::names::snake;
use crate::capture::propose::names::words;
use crate::capture::propose::nature;
use crate::capture::propose::tables::ListedTable;
use crate::capture::propose::tables::Reference;
use crate::capture::propose::toml_text::quoted;
use crate::capture::sql::quote::identifier;

/// The names that no look-up can have, because expressions use them themselves.
const TAKEN: [&str; 5] = ["new", "old", "this", "ladder", "event"];

/// A table that can be reached, and the foreign keys that lead to it.
#[derive(Clone)]
pub(super) struct Path<'t> {
    pub(super) steps: Vec<&'t Reference>,
    pub(super) table: &'t ListedTable,
}

/// Returns what the foreign keys of a table lead to, the nearest first: up to `most` steps away, and further from a table that `goes_on`.
pub(super) fn paths<'t>(
    from: &'t ListedTable,
    tables: &'t [ListedTable],
    most: usize,
    goes_on: impl Fn(&ListedTable) -> bool,
) -> Vec<Path<'t>> {
    let mut seen: HashSet<(&str, &str)> = HashSet::from([(from.schema.as_str(), from.name.as_str())]);
    let mut found: Vec<Path<'t>> = Vec::new();
    let mut ends = vec![Path { steps: Vec::new(), table: from }];
    for step in 1..=2 * most {
        let mut next = Vec::new();
        for end in ends {
            if step > most && !goes_on(end.table) {
                continue;
            }
            for reference in &end.table.references {
                let Some(table) = find(tables, &reference.table).filter(|table| can_be_read(table)) else { continue };
                if seen.insert((table.schema.as_str(), table.name.as_str())) {
                    let steps = end.steps.iter().copied().chain([reference]).collect();
                    next.push(Path { steps, table });
                }
            }
        }
        found.extend(next.iter().cloned());
        ends = next;
    }
    found
}

/// Returns the table of this schema and name.
pub(super) fn find<'t>(tables: &'t [ListedTable], (schema, name): &(String, String)) -> Option<&'t ListedTable> {
    tables.iter().find(|table| (&table.schema, &table.name) == (schema, name))
}

/// Returns whether a look-up may read the table. People are not announced unasked, and what they belong to is not where the row belongs.
fn can_be_read(table: &ListedTable) -> bool {
    table.is_owned
        && !table.hides_rows
        && !nature::is_people(table)
        && !table.name.contains(['.', '"', '\\', '\n'])
        && !table.schema.contains(['.', '"', '\\', '\n'])
}

/// The look-ups of one table's entries.
#[derive(Default)]
pub(super) struct Lookups<'t> {
    rows: Vec<LookedUp<'t>>,
}

struct LookedUp<'t> {
    alias: String,
    /// The row whose column leads to this one.
    from: String,
    reference: &'t Reference,
    table: &'t ListedTable,
}

impl<'t> Lookups<'t> {
    /// Adds the look-ups of a path, as far as they are not there yet, and returns the name of the row at its end.
    pub(super) fn follow(&mut self, path: &Path<'t>, tables: &'t [ListedTable]) -> Option<String> {
        let mut from = "this".to_owned();
        for reference in &path.steps {
            let known = self.rows.iter().find(|row| row.from == from && row.reference == *reference);
            if let Some(known) = known {
                from = known.alias.clone();
                continue;
            }
            let table = find(tables, &reference.table)?;
            let alias = self.free_alias(reference);
            self.rows.push(LookedUp { alias: alias.clone(), from, reference, table });
            from = alias;
        }
        Some(from)
    }

    fn free_alias(&self, reference: &Reference) -> String {
        let mut words = words(&reference.column);
        if words.len() > 1 {
            words.pop_if(|word| ["id", "uuid", "code", "no", "fk"].contains(&word.as_str()));
        }
        let mut name = words.join("_");
        if name == "id" || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
            name = snake(&reference.table.1);
        }
        if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
            name = "row".to_owned();
        }
        let is_free = |name: &str| {
            identifier(name) == name && !TAKEN.contains(&name) && self.rows.iter().all(|row| row.alias != name)
        };
        if is_free(&name) {
            return name;
        }
        let mut alias = format!("its_{name}");
        while !is_free(&alias) {
            alias.push('_');
        }
        alias
    }

    /// Returns the key `lookup` of a mapping; nothing if there is no look-up.
    pub(super) fn text(&self) -> String {
        let lookup = |row: &LookedUp<'_>| {
            let (alias, from) = (&row.alias, &row.from);
            let pairs = std::iter::once((&row.reference.column, &row.reference.key))
                .chain(row.reference.further.iter().map(|(column, key)| (column, key)));
            let on: Vec<String> = pairs
                .map(|(column, key)| format!("{alias}.{} = {from}.{}", identifier(key), identifier(column)))
                .collect();
            let table = quoted(&row.table.mapping_name());
            format!("{{ alias = \"{alias}\", table = {table}, on = {} }}", quoted(&on.join(" and ")))
        };
        match self.rows.as_slice() {
            [] => String::new(),
            [only] => format!("lookup = [{}]\n", lookup(only)),
            rows => format!(
                "lookup = [\n{}]\n",
                rows.iter().map(|row| format!("    {},\n", lookup(row))).collect::<String>()
            ),
        }
    }
}
