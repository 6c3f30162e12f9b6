//! The keys that the entries of one table can share, `[table.jobs]`. In: a section of the file. Out: its values, which an entry inherits
//! unless it has its own. They exist only while the file is read: the entries of a mapping are complete.

use crate::capture::expression;
use crate::capture::mapping::Lookup;
use crate::capture::mapping::Optional;
use crate::capture::mapping::TableName;
use crate::capture::mapping::Text;
use crate::capture::mapping::optional;
use crate::capture::mapping::section::Findings;
use crate::capture::mapping::section::Section;

/// The keys that `[table.NAME]` allows; `[[capture]]` allows them as well.
pub(super) const TABLE_KEYS: &[&str] =
    &["entity_type", "entity_id", "tenant", "occurred_at", "lookup", "context", "columns", "data", "optional"];

/// The values of those keys, for a table or for an entry.
#[derive(Debug, Clone)]
pub(super) struct SharedKeys {
    pub(super) table: TableName,
    pub(super) entity_type: Option<Text>,
    pub(super) entity_id: Option<Text>,
    pub(super) tenant: Option<Text>,
    pub(super) occurred_at: Option<Text>,
    pub(super) lookups: Vec<Lookup>,
    pub(super) context: Vec<(String, Text)>,
    pub(super) columns: Vec<Text>,
    pub(super) data: Vec<(String, Text)>,
    pub(super) optional: Optional,
}

impl SharedKeys {
    pub(super) fn read(findings: &mut Findings<'_>, section: &Section<'_>, table: TableName) -> SharedKeys {
        SharedKeys {
            table,
            entity_type: section.text(findings, "entity_type"),
            entity_id: section.text(findings, "entity_id"),
            tenant: section.text(findings, "tenant"),
            occurred_at: section.text(findings, "occurred_at"),
            lookups: section.lookups(findings),
            context: section.pairs(findings, "context"),
            columns: section.texts(findings, "columns"),
            data: section.pairs(findings, "data"),
            optional: optional::read(findings, section),
        }
    }

    /// Adds the table's values to those of an entry. An entry's own value wins; lists and tables are merged key by key.
    pub(super) fn inherit(self, table: &SharedKeys) -> SharedKeys {
        SharedKeys {
            table: self.table,
            entity_type: self.entity_type.or_else(|| table.entity_type.clone()),
            entity_id: self.entity_id.or_else(|| table.entity_id.clone()),
            tenant: self.tenant.or_else(|| table.tenant.clone()),
            occurred_at: self.occurred_at.or_else(|| table.occurred_at.clone()),
            lookups: merge(&table.lookups, self.lookups, |a, b| a.alias == b.alias),
            context: merge(&table.context, self.context, |a, b| a.0 == b.0),
            columns: merge(&table.columns, self.columns, |a, b| a.sql == b.sql),
            data: merge(&table.data, self.data, |a, b| a.0 == b.0),
            optional: optional::inherit(self.optional, &table.optional),
        }
    }

    /// Returns what holds for the table as a whole as well, and not only for one of its rows.
    pub(super) fn without_rows(&self) -> SharedKeys {
        SharedKeys {
            entity_id: None,
            tenant: self.tenant.clone().filter(|tenant| !reads_a_row(tenant)),
            occurred_at: None,
            lookups: Vec::new(),
            context: Vec::new(),
            columns: Vec::new(),
            data: Vec::new(),
            optional: Optional::default(),
            ..self.clone()
        }
    }
}

/// Returns whether an expression reads the changed row.
pub(super) fn reads_a_row(text: &Text) -> bool {
    ["new", "old", "this"].iter().any(|row| expression::mentions(&text.sql, row))
}

fn merge<T: Clone>(inherited: &[T], own: Vec<T>, is_same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut all: Vec<T> = inherited.to_vec();
    for item in own {
        match all.iter_mut().find(|known| is_same(known, &item)) {
            Some(known) => *known = item,
            None => all.push(item),
        }
    }
    all
}
