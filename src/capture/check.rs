//! Checks a mapping against the live database. In: the mapping and a transaction. Out: everything that is wrong with it, and the rules that
//! can be installed. It changes nothing, and reads only the catalogue.

mod checker;
mod computed;
mod defaults;
mod enums;
mod event_type;
mod labels;
mod missing;
mod pins;
mod rule;
mod types;
mod zoneless;

use std::collections::BTreeSet;
use std::collections::HashSet;

use tokio_postgres::Error;
use tokio_postgres::Transaction;

use crate::capture::check::checker::Checker;
use crate::capture::finding::Finding;
use crate::capture::mapping::Capture;
use crate::capture::mapping::Mapping;
use crate::capture::mapping::TableName;
use crate::capture::sql::event::Rule;
use crate::capture::table::Found;
use crate::capture::table::Table;

pub use types::Types;

/// The columns that a table of MQTT publishers must have.
const PUBLISHER_COLUMNS: &[&str] = &["id", "broker_url", "topic_pattern", "events", "active"];
/// The columns that a table of webhooks must have.
const WEBHOOK_COLUMNS: &[&str] = &["id", "url", "events", "active"];

/// A mapping, and what the database makes of it.
#[derive(Debug)]
pub struct CheckedMapping {
    /// The faults that must be corrected first, in the order of the file.
    pub findings: Vec<Finding>,
    /// The tables, in the order of the file.
    pub tables: Vec<CheckedTable>,
    /// What the mapping can do without and the database does not have, in the order of the file.
    pub left_out: Vec<Finding>,
    /// The types of the expressions in payloads and contexts.
    pub types: Types,
}

/// A table that a mapping captures.
#[derive(Debug)]
pub struct CheckedTable {
    /// Its name in the mapping.
    pub name: TableName,
    /// The table as the database has it.
    pub table: Table,
    /// The rules of all its entries.
    pub rules: Vec<Rule>,
}

/// Checks every table, column and expression of the mapping. It leaves the transaction with the search path of the triggers.
pub async fn check_mapping(transaction: &Transaction<'_>, mapping: &Mapping) -> Result<CheckedMapping, Error> {
    let mut checker = Checker::start(transaction, mapping).await?;
    checker.time_zone().await?;
    destination_tables(&mut checker, mapping).await?;
    let mut named: HashSet<String> =
        [&mapping.mqtt_publishers, &mapping.webhooks].into_iter().flatten().map(TableName::to_string).collect();
    let mut tables: Vec<CheckedTable> = Vec::new();
    let mut captures = Vec::new();
    for capture in &mapping.captures {
        captures.push(with_existing_names(&mut checker, capture).await?);
    }
    let schemas = pins::operator_schemas(&mut checker, &captures).await?;
    for capture in captures {
        if !capture.optional.entry {
            named.insert(capture.table.to_string());
            named.extend(
                capture.lookups.iter().filter(|lookup| !lookup.is_optional).map(|lookup| lookup.table.to_string()),
            );
        }
        let table = match checker.table(&capture.table).await? {
            Found::Table(table) => table,
            Found::Missing(reason) => {
                let began = checker.begin();
                let finding = checker.finding(&capture.entry(), "table", capture.table.location, reason);
                checker.lack_table(&capture, &capture.table, finding);
                checker.ends_left_out(&capture, began);
                continue;
            }
            Found::NoTable(reason) => {
                checker.report(&capture.entry(), "table", capture.table.location, reason);
                continue;
            }
        };
        checker.use_operators_in(schemas.get(&table.sql).unwrap_or(&BTreeSet::new())).await?;
        let rules = rule::rules(&mut checker, &capture, &table).await?;
        match tables.iter_mut().find(|known| known.table.sql == table.sql) {
            Some(known) => known.rules.extend(rules),
            None => tables.push(CheckedTable { name: capture.table.clone(), table, rules }),
        }
    }
    checker.use_operators_in(&BTreeSet::new()).await?;
    tables.retain(|table| !table.rules.is_empty());
    let Checker { mut findings, mut left_out, missing, types, .. } = checker;
    if let (Some(first), true, true) = (mapping.captures.first(), tables.is_empty(), mapping.channels.is_empty())
        && findings.is_empty()
        && missing.is_empty()
    {
        findings.push(Finding {
            file: mapping.file.clone(),
            location: first.location,
            entry: String::new(),
            field: "capture".to_owned(),
            message: "every entry is left out, as it may be, and nothing becomes an event; is this the right database?"
                .to_owned(),
        });
    }
    // Expressions are prepared as the functions run them. Of Andon's own statements none is to run without rows that a policy hides.
    transaction.batch_execute("set local row_security = off").await?;
    findings.extend(missing.findings(&named, &database(transaction).await?, &mapping.file));
    for list in [&mut findings, &mut left_out] {
        list.sort_by_key(|finding| finding.location);
        list.dedup_by(|next, last| next.location == last.location && next.message == last.message);
    }
    Ok(CheckedMapping { findings, left_out, tables, types })
}

/// Returns the entry with the names that its tables have in this database.
async fn with_existing_names(checker: &mut Checker<'_>, capture: &Capture) -> Result<Capture, Error> {
    let mut capture = capture.clone();
    capture.table = checker.resolved(&capture.table).await?;
    for lookup in &mut capture.lookups {
        lookup.table = checker.resolved(&lookup.table).await?;
    }
    Ok(capture)
}

/// Returns where the check looks, as a message says it.
async fn database(transaction: &Transaction<'_>) -> Result<String, Error> {
    let who = "select format('%s as %s', current_database(), current_user)";
    Ok(transaction.query_one(who, &[]).await?.get(0))
}

/// Checks that the source's own tables of destinations exist and have the columns that a destination needs.
async fn destination_tables(checker: &mut Checker<'_>, mapping: &Mapping) -> Result<(), Error> {
    let tables = [
        ("mqtt_publishers", &mapping.mqtt_publishers, PUBLISHER_COLUMNS),
        ("webhooks", &mapping.webhooks, WEBHOOK_COLUMNS),
    ];
    for (field, name, columns) in tables {
        let Some(name) = name else { continue };
        let message = match checker.table(name).await? {
            Found::Missing(reason) => {
                let finding = checker.finding("source", field, name.location, reason);
                checker.missing.add(&name.to_string(), finding);
                continue;
            }
            Found::NoTable(reason) => reason,
            Found::Table(table) => {
                match columns.iter().find(|column| !table.columns.iter().any(|own| own == *column)) {
                    Some(column) => format!("table {name} has no column {column}, which a destination needs"),
                    None => continue,
                }
            }
        };
        checker.report("source", field, name.location, message);
    }
    Ok(())
}
