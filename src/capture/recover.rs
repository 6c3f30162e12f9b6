//! Captures again what the triggers could not capture. In: recorded failures, and the mapping that is attached now; or a table and a condition.
//! Out: events in the log, made by the rules of the mapping, and the failures marked. The row of such an event is the kept image; what the
//! image lacks, because a column was renamed since, comes from the row as it is. Each event says in its context that it was recovered.

mod change;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use tokio_postgres::Client;
use tokio_postgres::Transaction;

use crate::capture::check::CheckedTable;
use crate::capture::check::check_mapping;
use crate::capture::error::SourceError;
use crate::capture::failures;
use crate::capture::failures::Choice;
use crate::capture::failures::Failure;
use crate::capture::finding::Location;
use crate::capture::finding::Problems;
use crate::capture::mapping::Mapping;
use crate::capture::mapping::Operation;
use crate::capture::mapping::TableName;
use crate::capture::recover::change::Change;
use crate::capture::sql::event;
use crate::capture::sql::event::Rule;
use crate::capture::sql::quote::literal;
use crate::capture::sql::trigger;
use crate::capture::table::Table;

/// How many failures are handled in one transaction.
const PAGE: i64 = 1000;

/// What became of the failures.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many changes were captured.
    pub recovered: u64,
    /// How many events they made. A change that is no event of the mapping makes none.
    pub events: u64,
    /// How many of the changes had values that are not kept.
    pub cut: u64,
    /// The changes that could not be captured this time either, each with the reason.
    pub failed: Vec<(i64, String)>,
}

/// Everything that makes events of one source.
struct Recovery {
    mapping: Mapping,
    tables: Vec<CheckedTable>,
}

/// The captured tables that a relation is, or is a part of.
const CAPTURED: &str = "
    with recursive whole (oid) as (
        select $1::oid union select i.inhparent from whole join pg_inherits i on i.inhrelid = whole.oid
    )
    select place - 1 from unnest($2::text[]) with ordinality it (name, place) join whole on whole.oid = to_regclass(name) order by place";

impl Recovery {
    /// Returns the table of a failure. It is the same table whatever it is called now; where its identity is not known, or it was made anew,
    /// the name counts, or another name that the mapping has for it.
    async fn table_of(
        &self,
        transaction: &Transaction<'_>,
        failure: &Failure,
    ) -> Result<Option<&CheckedTable>, tokio_postgres::Error> {
        let is_called_so = |captured: &&CheckedTable| captured.name.to_string() == failure.table;
        if let Some(relation) = failure.relation {
            let names: Vec<&str> = self.tables.iter().map(|captured| captured.table.sql.as_str()).collect();
            let rows = transaction.query(CAPTURED, &[&relation, &names]).await?;
            let places = rows.iter().filter_map(|row| usize::try_from(row.get::<_, i64>(0)).ok());
            let same: Vec<&CheckedTable> = places.filter_map(|place| self.tables.get(place)).collect();
            if let Some(found) = same.iter().copied().find(is_called_so).or(same.first().copied()) {
                return Ok(Some(found));
            }
        }
        let is_alias = |name: &TableName| name.each().any(|name| name.to_string() == failure.table);
        let entries = self.mapping.captures.iter().map(|entry| &entry.table).filter(|name| is_alias(name));
        let aliases: Vec<String> = entries.flat_map(TableName::each).map(ToString::to_string).collect();
        let is_aliased = |captured: &&CheckedTable| aliases.contains(&captured.name.to_string());
        Ok(self.tables.iter().find(is_called_so).or_else(|| self.tables.iter().find(is_aliased)))
    }
}

/// Captures the open failures of the choice again. Without `keeps` everything is tried and nothing is kept.
pub async fn again(client: &mut Client, choice: &Choice, keeps: bool) -> Result<Outcome, SourceError> {
    let mut outcome = Outcome::default();
    let mut sources: BTreeMap<String, Result<Recovery, String>> = BTreeMap::new();
    let mut after = 0;
    loop {
        let transaction = begin(client).await?;
        let page = failures::take(&transaction, choice, after, PAGE).await;
        let page = page.map_err(|error| SourceError::database("read andon.capture_errors", error))?;
        let Some(last) = page.last() else { return Ok(outcome) };
        after = last.id;
        let mut recovered = Vec::new();
        for failure in &page {
            if !sources.contains_key(&failure.source) {
                sources.insert(failure.source.clone(), recovery(&transaction, &failure.source).await?);
            }
            let made = match &sources[&failure.source] {
                Ok(recovery) => recover(&transaction, recovery, failure).await?,
                Err(reason) => Err(reason.clone()),
            };
            match made {
                Ok(events) => {
                    outcome.recovered += 1;
                    outcome.events += events;
                    outcome.cut += u64::from(!failure.cut.is_empty());
                    recovered.push((failure.id, i32::try_from(events).unwrap_or(i32::MAX)));
                }
                Err(reason) => outcome.failed.push((failure.id, reason)),
            }
        }
        let marked = failures::mark_recovered(&transaction, &recovered).await;
        marked.map_err(|error| SourceError::database("mark what was recovered", error))?;
        end(transaction, keeps).await?;
    }
}

/// Makes the events of all rows of a table that meet a condition, as if each had just been changed like that. Returns how many there are.
pub async fn from_rows(
    client: &mut Client,
    table: &str,
    source: Option<&str>,
    condition: &str,
    operation: Operation,
    keeps: bool,
) -> Result<u64, SourceError> {
    let transaction = begin(client).await?;
    let sql = "select name from andon.sources where $1::text is null or name = $1 order by name";
    let names =
        transaction.query(sql, &[&source]).await.map_err(|error| SourceError::database("read andon.sources", error))?;
    let (mut events, mut is_captured, mut others) = (0, false, BTreeSet::new());
    // As in a mapping, a name without a schema is one of schema public.
    let wanted = TableName::new(table, Location::START).to_string();
    for row in names {
        let recovery = match recovery(&transaction, row.get(0)).await? {
            Ok(recovery) => recovery,
            Err(reason) => return Err(SourceError::NotRecovered(reason)),
        };
        others.extend(recovery.tables.iter().map(|it| it.name.to_string()));
        for captured in recovery.tables.iter().filter(|it| it.name.to_string() == wanted) {
            is_captured = true;
            let Table { sql, .. } = &captured.table;
            let old = if operation == Operation::Update {
                &format!("\ncross join {} as old", change::no_row(sql))
            } else {
                ""
            };
            let rows = format!("(select present.* from {sql} as present where ({condition})) as new{old}");
            let insert = event::insert(&marked(&captured.rules, None), operation, &[], &recovery.mapping.levels, &rows);
            settle(&transaction, &recovery.mapping, captured).await?;
            let made = transaction.execute(&insert, &[]).await;
            events += made.map_err(|error| SourceError::database(format!("capture rows of {table}"), error))?;
        }
    }
    if !is_captured {
        let others: Vec<String> = others.into_iter().collect();
        let captured = if others.is_empty() { "none is".to_owned() } else { others.join(", ") };
        let message = format!("no attached source captures a table {wanted}; captured are {captured}");
        return Err(SourceError::NotRecovered(message));
    }
    end(transaction, keeps).await?;
    Ok(events)
}

async fn begin(client: &mut Client) -> Result<Transaction<'_>, SourceError> {
    client.transaction().await.map_err(|error| SourceError::database("begin a transaction", error))
}

async fn end(transaction: Transaction<'_>, keeps: bool) -> Result<(), SourceError> {
    let ended = async {
        match keeps {
            true => {
                transaction.execute("select andon.ring()", &[]).await?;
                transaction.commit().await
            }
            false => transaction.rollback().await,
        }
    };
    ended.await.map_err(|error| SourceError::database("commit what was captured", error))
}

/// Reads and checks the mapping that is attached. Returns why nothing can be captured with it, if it does not fit the database.
async fn recovery(transaction: &Transaction<'_>, source: &str) -> Result<Result<Recovery, String>, SourceError> {
    let row = transaction.query_opt("select mapping from andon.sources where name = $1", &[&source]).await;
    let Some(row) = row.map_err(|error| SourceError::database("read andon.sources", error))? else {
        return Ok(Err(format!("no source {source} is attached")));
    };
    let mapping = match Mapping::parse(&format!("{source} as attached"), row.get(0)) {
        Ok(mapping) => mapping,
        Err(problems) => return Ok(Err(problems.to_string())),
    };
    let checked = check_mapping(transaction, &mapping).await;
    let checked = checked.map_err(|error| SourceError::database("check the mapping", error))?;
    if !checked.findings.is_empty() {
        let problems = Problems(checked.findings);
        return Ok(Err(format!("the mapping does not fit the database; mend and attach it first:\n{problems}")));
    }
    Ok(Ok(Recovery { mapping, tables: checked.tables }))
}

/// Captures one change. Returns how many events it made, or why that is not possible.
async fn recover(
    transaction: &Transaction<'_>,
    recovery: &Recovery,
    failure: &Failure,
) -> Result<Result<u64, String>, SourceError> {
    let failed = |error| SourceError::database("capture a change again", error);
    let Some(captured) = recovery.table_of(transaction, failure).await.map_err(failed)? else {
        return Ok(Err(format!("{} is not captured by the mapping any more", failure.table)));
    };
    if failure.is_of_a_lookup() {
        // Its event was sent, and the mapping fits again. To send it once more is for a person to decide: --table and --where.
        return Ok(Ok(0));
    }
    let change = match Change::of(failure, captured) {
        Ok(change) => change,
        Err(reason) => return Ok(Err(reason)),
    };
    if change.rules.is_empty() {
        return Ok(Ok(0));
    }
    let rules = marked(&change.rules, Some(failure));
    let insert = event::insert(&rules, change.operation, &[], &recovery.mapping.levels, &change.rows);
    settle(transaction, &recovery.mapping, captured).await?;
    transaction.batch_execute("savepoint change").await.map_err(failed)?;
    match transaction.execute(&insert, &[]).await {
        Ok(0) if change.needs_row => Ok(Err("its row is gone, or is no event of the mapping as it is now".to_owned())),
        Ok(events) => {
            transaction.batch_execute("release change").await.map_err(failed)?;
            Ok(Ok(events))
        }
        Err(error) => {
            let Some(reason) = error.as_db_error().map(|it| it.message().to_owned()) else { return Err(failed(error)) };
            transaction.batch_execute("rollback to change; release change").await.map_err(failed)?;
            Ok(Err(reason))
        }
    }
}

/// Makes the settings of the transaction those of the function that is installed for the table, so that the same row gives the same event.
async fn settle(transaction: &Transaction<'_>, mapping: &Mapping, captured: &CheckedTable) -> Result<(), SourceError> {
    let function = trigger::function(&mapping.name, &captured.name);
    let sql = "select set_config(split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1), true)
        from pg_proc, unnest(proconfig) setting where oid = to_regproc($1)";
    let settled = transaction.query(sql, &[&function]).await;
    settled.map(drop).map_err(|error| SourceError::database("use the settings of the capture", error))
}

/// Returns the rules, whose events say that they were recovered, and happened when the capture failed unless the row knows better.
fn marked(rules: &[Rule], failure: Option<&Failure>) -> Vec<Rule> {
    let mark = |rule: &Rule| {
        let mut rule = rule.clone();
        rule.context.push(("recovered".to_owned(), "true".to_owned()));
        if let Some(failure) = failure {
            let at = format!("{}::timestamptz", literal(&failure.at.to_string()).trim_start());
            rule.occurred_at = Some(match &rule.occurred_at {
                Some(sql) => format!("coalesce(({sql})::timestamptz, {at})"),
                None => at,
            });
        }
        rule
    };
    rules.iter().map(mark).collect()
}
