//! Finds the tenants of a database. In: its tables. Out: the column by which most of them name their tenant, and the table of tenants; or
//! nothing, because a column that only some tables have (the company of a customer, say) is no tenant.

use std::collections::HashMap;

use crate::capture::propose::names::snake;
use crate::capture::propose::names::thing;
use crate::capture::propose::tables::Column;
use crate::capture::propose::tables::ListedTable;

/// Columns that may name the tenant of a row, the likeliest first.
const CANDIDATES: [&str; 12] = [
    "tenant_id",
    "tenant",
    "organization_id",
    "organisation_id",
    "org_id",
    "workspace_id",
    "company_id",
    "account_id",
    "client_id",
    "tenant_code",
    "company_code",
    "company",
];

/// How a database tells its tenants apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tenants {
    /// The name of the column, in one style: `company_id`.
    pub(super) column: String,
    /// The schema and name of the table of tenants, if there is one.
    pub(super) table: Option<(String, String)>,
    /// How many tables have the column,
    pub(super) count: usize,
    /// of so many.
    pub(super) among: usize,
}

impl Tenants {
    /// Returns how the tables tell tenants apart, if most of them do, or most of those that are proposed: tables that are left out may have
    /// no tenant without anybody minding.
    pub(super) fn of(tables: &[ListedTable], proposed: &[&ListedTable]) -> Option<Tenants> {
        let all: Vec<&ListedTable> = tables.iter().collect();
        Tenants::among(&all, tables).or_else(|| Tenants::among(proposed, tables))
    }

    fn among(counted: &[&ListedTable], all: &[ListedTable]) -> Option<Tenants> {
        let found = CANDIDATES.iter().filter_map(|candidate| Tenants::by(candidate, counted, all));
        // Of two columns that most tables have, the likelier one wins unless the other is far more common.
        found.reduce(|best, next| if next.count > best.count + best.count / 2 { next } else { best })
    }

    fn by(candidate: &str, tables: &[&ListedTable], all: &[ListedTable]) -> Option<Tenants> {
        let with_column: Vec<(&ListedTable, &Column)> = tables
            .iter()
            .filter_map(|table| Some((*table, table.columns.iter().find(|column| snake(&column.name) == candidate)?)))
            .collect();
        let mut targets: HashMap<&(String, String), usize> = HashMap::new();
        for (table, column) in &with_column {
            let reference = table.references.iter().find(|reference| reference.column == column.name);
            reference.into_iter().for_each(|reference| *targets.entry(&reference.table).or_default() += 1);
        }
        let target = targets.into_iter().max_by_key(|(table, count)| (*count, std::cmp::Reverse(*table)));
        // Rows that belong to other rows often have no tenant of their own, so a third of all tables is as many as can be asked for where
        // foreign keys agree on one table of tenants, and half where only the name of the column says so.
        let agrees = target.is_some_and(|(_, count)| 2 * count > with_column.len());
        let is_most = if agrees { 3 * with_column.len() >= tables.len() } else { 2 * with_column.len() > tables.len() };
        let is_of_customers = target
            .is_some_and(|((_, name), _)| ["customer", "supplier", "vendor", "client"].contains(&thing(name).as_str()));
        // Without a foreign key the name says it: `tenant_id` is a key of `tenants`.
        let called = all.iter().find(|table| candidate.strip_suffix("_id") == Some(thing(&table.name).as_str()));
        let named = || called.map(|table| (table.schema.clone(), table.name.clone()));
        (with_column.len() > 1 && is_most && !is_of_customers).then(|| Tenants {
            column: candidate.to_owned(),
            table: target.filter(|_| agrees).map(|(table, _)| table.clone()).or_else(named),
            count: with_column.len(),
            among: tables.len(),
        })
    }

    /// Returns the column by which a table names its tenant.
    pub(super) fn column_of<'t>(&self, table: &'t ListedTable) -> Option<&'t Column> {
        table.columns.iter().find(|column| snake(&column.name) == self.column)
    }

    /// Returns whether this is the table of tenants.
    pub(super) fn are(&self, table: &ListedTable) -> bool {
        self.table.as_ref().is_some_and(|(schema, name)| (schema, name) == (&table.schema, &table.name))
    }
}

#[cfg(test)]
mod tests {
    use super::Tenants;
    use crate::capture::propose::tables::Column;
    use crate::capture::propose::tables::ListedTable;
    use crate::capture::propose::tables::Reference;

    fn table(name: &str, columns: &[(&str, &str)]) -> ListedTable {
        let column = |(name, _): &(&str, &str)| Column { name: (*name).to_owned(), ..Column::default() };
        let reference = |(column, target): &(&str, &str)| Reference {
            column: (*column).to_owned(),
            table: ("public".to_owned(), (*target).to_owned()),
            key: "id".to_owned(),
            further: Vec::new(),
        };
        ListedTable {
            schema: "public".to_owned(),
            name: name.to_owned(),
            columns: columns.iter().map(column).collect(),
            references: columns.iter().filter(|(_, target)| !target.is_empty()).map(reference).collect(),
            ..ListedTable::default()
        }
    }

    #[test]
    fn the_table_that_most_others_refer_to_holds_the_tenants() {
        let tables = [
            table("companies", &[("id", "")]),
            table("jobs", &[("companyId", "companies")]),
            table("orders", &[("companyId", "companies"), ("tenant", "")]),
            table("parts", &[("orderId", "orders")]),
        ];

        let tenants = Tenants::of(&tables, &[]).unwrap();
        assert_eq!((tenants.column.as_str(), tenants.count), ("company_id", 2));
        assert!(tenants.are(&tables[0]));
        assert_eq!(tenants.column_of(&tables[1]).unwrap().name, "companyId");
    }

    #[test]
    fn without_foreign_keys_the_name_of_the_column_says_which_table_holds_the_tenants() {
        let tables = [table("Tenants", &[]), table("jobs", &[("tenant_id", "")]), table("parts", &[("tenant_id", "")])];

        assert!(Tenants::of(&tables, &[]).unwrap().are(&tables[0]));
    }

    #[test]
    fn tables_that_are_left_out_do_not_outvote_those_that_are_proposed() {
        let tables = [
            table("jobs", &[("tenant_id", "")]),
            table("parts", &[("tenant_id", "")]),
            table("settings", &[("id", "")]),
            table("migrations", &[("id", "")]),
        ];

        assert_eq!(Tenants::of(&tables, &[]), None);
        let tenants = Tenants::of(&tables, &[&tables[0], &tables[1]]).unwrap();
        assert_eq!((tenants.column.as_str(), tenants.count, tenants.among), ("tenant_id", 2, 2));
    }

    #[test]
    fn the_company_of_a_customer_is_no_tenant() {
        let tables = [
            table("customers", &[("company_id", "companies")]),
            table("contacts", &[("company_id", "companies")]),
            table("companies", &[]),
            table("jobs", &[("id", "")]),
            table("parts", &[("id", "")]),
            table("machines", &[("id", "")]),
            table("operations", &[("id", "")]),
        ];

        assert_eq!(Tenants::of(&tables, &[]), None);
    }
}
