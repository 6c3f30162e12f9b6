//! What the entries of one table have in common, `[table.jobs]`. In: a section of the file. Out: its values, to be put under those of an
//! entry. It is gone after reading: a mapping's entries are complete.

use crate::capture::mapping::Capture;
use crate::capture::mapping::Lookup;
use crate::capture::mapping::TableName;
use crate::capture::mapping::Text;
use crate::capture::mapping::section::Report;
use crate::capture::mapping::section::Section;

/// The keys that may stand at a table as well as at an entry.
pub(crate) const TABLE_KEYS: &[&str] =
    &["entity_type", "entity_id", "tenant", "occurred_at", "lookup", "context", "columns", "data"];

/// The values of those keys.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) name: TableName,
    pub(crate) entity_type: Option<Text>,
    pub(crate) entity_id: Option<Text>,
    pub(crate) tenant: Option<Text>,
    pub(crate) occurred_at: Option<Text>,
    pub(crate) lookups: Vec<Lookup>,
    pub(crate) context: Vec<(String, Text)>,
    pub(crate) columns: Vec<Text>,
    pub(crate) data: Vec<(String, Text)>,
}

impl Shared {
    pub(crate) fn read(report: &mut Report<'_>, section: &Section<'_>, name: TableName) -> Shared {
        Shared {
            name,
            entity_type: section.text(report, "entity_type"),
            entity_id: section.text(report, "entity_id"),
            tenant: section.text(report, "tenant"),
            occurred_at: section.text(report, "occurred_at"),
            lookups: section.lookups(report),
            context: section.pairs(report, "context"),
            columns: section.texts(report, "columns"),
            data: section.pairs(report, "data"),
        }
    }

    /// The entry's own values, and the table's where the entry has none: key by key in lists and tables.
    pub(crate) fn over(self, table: &Shared) -> Shared {
        Shared {
            name: self.name,
            entity_type: self.entity_type.or_else(|| table.entity_type.clone()),
            entity_id: self.entity_id.or_else(|| table.entity_id.clone()),
            tenant: self.tenant.or_else(|| table.tenant.clone()),
            occurred_at: self.occurred_at.or_else(|| table.occurred_at.clone()),
            lookups: joined(&table.lookups, self.lookups, |a, b| a.alias == b.alias),
            context: joined(&table.context, self.context, |a, b| a.0 == b.0),
            columns: joined(&table.columns, self.columns, |a, b| a.sql == b.sql),
            data: joined(&table.data, self.data, |a, b| a.0 == b.0),
        }
    }

    pub(crate) fn is_used(&self, captures: &[Capture]) -> bool {
        captures.iter().any(|capture| capture.table.to_string() == self.name.to_string())
    }
}

fn joined<T: Clone>(below: &[T], above: Vec<T>, is_same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut all: Vec<T> = below.to_vec();
    for item in above {
        match all.iter_mut().find(|known| is_same(known, &item)) {
            Some(known) => *known = item,
            None => all.push(item),
        }
    }
    all
}
