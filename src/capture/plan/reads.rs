//! What the entries of a mapping read of other tables. In: a mapping. Out: each table that it looks up, with the names that may be columns which it
//! reads there. Which of them are, the catalogue knows.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::capture::expression::may_read;
use crate::capture::mapping::Capture;
use crate::capture::mapping::EventType;
use crate::capture::mapping::Mapping;
use crate::capture::mapping::Text;

/// The tables as SQL, each with its columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reads(BTreeMap<String, BTreeSet<String>>);

impl Reads {
    /// Adds what a mapping reads, under each of the names that a table may have.
    pub(super) fn add(&mut self, mapping: &Mapping) {
        for capture in &mapping.captures {
            let expressions: Vec<&Text> = expressions(capture).collect();
            for lookup in &capture.lookups {
                for table in lookup.table.each() {
                    let names = expressions.iter().flat_map(|text| may_read(&text.sql, &lookup.alias));
                    self.0.entry(table.sql()).or_default().extend(names);
                }
            }
        }
    }

    /// Returns the tables, and in the same order a JSON list of the columns of each, as parameters of a statement.
    pub(super) fn lists(&self) -> (Vec<String>, Vec<String>) {
        let json = |columns: &BTreeSet<String>| serde_json::json!(columns).to_string();
        self.0.iter().map(|(table, columns)| (table.clone(), json(columns))).unzip()
    }
}

fn expressions(capture: &Capture) -> impl Iterator<Item = &Text> {
    let event = if let EventType::Sql(text) = &capture.event { Some(text) } else { None };
    let single = [capture.entity_id.as_ref(), capture.tenant.as_ref(), capture.occurred_at.as_ref(), event];
    let named = capture.context.iter().chain(&capture.data).map(|(_, text)| text);
    single.into_iter().flatten().chain(named).chain(capture.lookups.iter().map(|lookup| &lookup.on))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_read_of_a_looked_up_row_is_listed() {
        let text = "
[source]
name = 'mes'
[[capture]]
table = 'jobs'
on = 'update'
type = 'job.changed'
lookup = [{ alias = 'cell', table = ['mes.cells', 'mes.cell'], on = 'cell.id = this.cell_id' }]
columns = ['salary']
data = { status = 'this.status' }
context = { cell = 'coalesce(cell.name, label)' }";
        let mut reads = Reads::default();
        reads.add(&Mapping::parse("mes.toml", text).unwrap());

        let (tables, columns) = reads.lists();
        assert_eq!(tables, ["mes.cell", "mes.cells"]);
        assert_eq!(columns[0], r#"["id","label","name"]"#);
        assert_eq!(columns[0], columns[1]);
    }
}
