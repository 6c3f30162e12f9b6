//! Captures again what the triggers could not capture. In: recorded failures, and the mapping that is attached now; or a table and a condition.
//! Out: events in the log, made by the rules of the mapping, and the failures marked. The row of such an event is the kept image; what the
//! image lacks, because a column was renamed since, comes from the row as it is. Each event says in its context that it was recovered.

use std::collections::BTreeMap;

use tokio_postgres::Client;
use tokio_postgres::Transaction;

use crate::capture::check::CheckedTable;
use crate::capture::check::check_mapping;
use crate::capture::error::SourceError;
use crate::capture::failures;
use crate::capture::failures::Choice;
use crate::capture::failures::Failure;
use crate::capture::finding::Problems;
use crate::capture::mapping::Mapping;
use crate::capture::mapping::Operation;
use crate::capture::sql::event;
use crate::capture::sql::event::Rule;
use crate::capture::sql::quote::identifier;
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
    /// The changes that could not be captured this time either, each with the reason.
    pub failed: Vec<(i64, String)>,
}

/// Everything that makes events of one source.
struct Recovery {
    mapping: Mapping,
    tables: Vec<CheckedTable>,
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
    let (mut events, mut is_captured) = (0, false);
    for row in names {
        let recovery = match recovery(&transaction, row.get(0)).await? {
            Ok(recovery) => recovery,
            Err(reason) => return Err(SourceError::NotRecovered(reason)),
        };
        let is_meant = |it: &&CheckedTable| it.name.to_string() == table || it.name.table == table;
        for captured in recovery.tables.iter().filter(is_meant) {
            is_captured = true;
            let Table { sql, .. } = &captured.table;
            let old = if operation == Operation::Update { &format!("\ncross join {} as old", no_row(sql)) } else { "" };
            let rows = format!("(select present.* from {sql} as present where ({condition})) as new{old}");
            let insert = event::insert(&marked(&captured.rules, None), operation, &[], &recovery.mapping.levels, &rows);
            settle(&transaction, &recovery.mapping, captured).await?;
            let made = transaction.execute(&insert, &[]).await;
            events += made.map_err(|error| SourceError::database(format!("capture rows of {table}"), error))?;
        }
    }
    if !is_captured {
        return Err(SourceError::NotRecovered(format!("no attached source captures a table {table}")));
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
    let Some(captured) = recovery.tables.iter().find(|it| it.name.to_string() == failure.table) else {
        return Ok(Err(format!("{} is not captured by the mapping any more", failure.table)));
    };
    if failure.is_of_a_lookup() {
        // Its event was sent, and the mapping fits again. To send it once more is for a person to decide: --table and --where.
        return Ok(Ok(0));
    }
    let change = match Change::of(failure, &captured.table) {
        Ok(change) => change,
        Err(reason) => return Ok(Err(reason)),
    };
    let rules = marked(&captured.rules, Some(failure));
    let insert = event::insert(&rules, change.operation, &[], &recovery.mapping.levels, &change.rows);
    let failed = |error| SourceError::database("capture a change again", error);
    settle(transaction, &recovery.mapping, captured).await?;
    transaction.batch_execute("savepoint change").await.map_err(failed)?;
    match transaction.execute(&insert, &[]).await {
        Ok(0) if change.needs_row => Ok(Err("its row is gone, or is no event of the mapping as it is now".to_owned())),
        Ok(events) => Ok(Ok(events)),
        Err(error) => {
            let Some(reason) = error.as_db_error().map(|it| it.message().to_owned()) else { return Err(failed(error)) };
            transaction.batch_execute("rollback to change").await.map_err(failed)?;
            Ok(Err(reason))
        }
    }
}

/// Makes the settings of the transaction those of the function that is installed for the table, so that the same row gives the same event.
async fn settle(transaction: &Transaction<'_>, mapping: &Mapping, captured: &CheckedTable) -> Result<(), SourceError> {
    let CheckedTable { name, table, rules, .. } = captured;
    let function = trigger::generate(&mapping.name, name, table, rules, &mapping.levels).function;
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

/// A change to be captured again: what happened, and a `from` item that yields its rows.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    operation: Operation,
    rows: String,
    /// Whether nothing is kept but the key, so that the row has to be there.
    needs_row: bool,
}

impl Change {
    fn of(failure: &Failure, table: &Table) -> Result<Change, String> {
        let Some(operation) = Operation::ALL.into_iter().find(|it| it.name() == failure.operation) else {
            return Err(format!("it is no change of a row, but `{}`", failure.operation));
        };
        if operation == Operation::Truncate {
            return Ok(Change { operation, rows: Operation::NO_ROW.to_owned(), needs_row: false });
        }
        let sql = &table.sql;
        let image = |image: &String, row: &str, base: Base| kept_row(table, image, row, base);
        let (operation, rows) = match (operation, &failure.new_image, &failure.old_image) {
            // An update that changes the key is a delete and an insert.
            (Operation::Insert, Some(new), _) | (Operation::Update, Some(new), None) => {
                (Operation::Insert, image(new, "new", Base::Present))
            }
            (Operation::Update, Some(new), Some(old)) => {
                let old = image(old, "old", Base::Present);
                (Operation::Update, format!("{}\ncross join {old}", image(new, "new", Base::Present)))
            }
            (Operation::Delete, _, Some(old)) | (Operation::Update, None, Some(old)) => {
                (Operation::Delete, image(old, "old", Base::Nothing))
            }
            (Operation::Delete, ..) => return Err("no image of the deleted row is kept".to_owned()),
            (_, _, _) => {
                let key = failure.key.as_deref().and_then(|key| key_image(table, key));
                let key = key.ok_or("neither its images nor its key are kept; name the rows: --table and --where")?;
                let new = image(&key, "new", Base::Needed);
                let rows = match operation {
                    Operation::Update => format!("{new}\ncross join {} as old", no_row(sql)),
                    _ => new,
                };
                return Ok(Change { operation, rows, needs_row: true });
            }
        };
        Ok(Change { operation, rows, needs_row: false })
    }
}

/// What stands for the columns that an image lacks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Base {
    /// Nulls.
    Nothing,
    /// The row with the same key, if there is one.
    Present,
    /// The row with the same key; without one there is nothing to capture.
    Needed,
}

/// Returns a `from` item that yields the row of an image.
fn kept_row(table: &Table, image: &str, row: &str, base: Base) -> String {
    let (sql, image) = (&table.sql, format!("{}::jsonb", literal(image).trim_start()));
    let given = format!("jsonb_populate_record(null::{sql}, {image})");
    if base == Base::Nothing || table.key.is_empty() {
        return format!("(select made.* from {given} as made) as {row}");
    }
    let join = if base == Base::Needed { "join" } else { "left join" };
    let equal = |column: &String| format!("present.{0} = given.{0}", identifier(column));
    let keys: Vec<String> = table.key.iter().map(equal).collect();
    let keys = keys.join(" and ");
    format!(
        "(select made.* from {given} as given {join} {sql} as present on {keys}
    cross join lateral jsonb_populate_record(present.*, {image}) as made) as {row}"
    )
}

/// Returns a `from` item, without its name, that yields one row of nulls.
fn no_row(sql: &str) -> String {
    format!("(select made.* from jsonb_populate_record(null::{sql}, '{{}}') as made)")
}

/// Returns the image that a key as text stands for. A key whose parts contain the separator cannot be taken apart.
fn key_image(table: &Table, key: &str) -> Option<String> {
    let parts: Vec<&str> = if table.key.len() == 1 { vec![key] } else { key.split('/').collect() };
    let fields = table.key.iter().cloned().zip(parts.iter().map(|part| serde_json::Value::from(*part)));
    let image: serde_json::Map<String, serde_json::Value> = fields.collect();
    (!table.key.is_empty() && parts.len() == table.key.len()).then(|| serde_json::Value::Object(image).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::table::TriggerLevel;

    fn change(operation: &str, new: Option<&str>, old: Option<&str>, key: Option<&str>) -> Result<Operation, String> {
        let table = Table {
            sql: "public.jobs".to_owned(),
            columns: vec!["id".to_owned(), "status".to_owned()],
            key: vec!["id".to_owned()],
            computed: Vec::new(),
            level: TriggerLevel::Statement,
            plant_triggers: Vec::new(),
        };
        let failure = Failure {
            id: 1,
            at: jiff::Timestamp::UNIX_EPOCH,
            source: "mes".to_owned(),
            table: "public.jobs".to_owned(),
            operation: operation.to_owned(),
            key: key.map(str::to_owned),
            reason: String::new(),
            new_image: new.map(str::to_owned),
            old_image: old.map(str::to_owned),
            state: "open".to_owned(),
        };
        Change::of(&failure, &table).map(|change| change.operation)
    }

    #[test]
    fn what_is_kept_decides_what_can_be_captured_again() {
        let image = Some("{}");

        assert_eq!(change("insert", image, None, None), Ok(Operation::Insert));
        assert_eq!(change("update", image, image, None), Ok(Operation::Update));
        assert_eq!(change("update", image, None, None), Ok(Operation::Insert), "the key changed to this");
        assert_eq!(change("update", None, image, None), Ok(Operation::Delete), "the key changed from this");
        assert_eq!(change("delete", None, image, None), Ok(Operation::Delete));
        assert_eq!(change("update", None, None, Some("7")), Ok(Operation::Update), "from the row as it is");
        assert_eq!(change("truncate", None, None, None), Ok(Operation::Truncate), "there is no row to keep");
        assert!(change("delete", None, None, Some("7")).unwrap_err().contains("no image"));
        assert!(change("update", None, None, None).unwrap_err().contains("--where"));
        assert!(change("emit", image, None, None).unwrap_err().contains("no change of a row"));
    }
}
