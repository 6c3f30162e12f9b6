//! Tries the functions that an attachment has just made. In: the transaction of the attachment, before any table of the plant is locked.
//! Out: what would keep every change of a table from being captured, and what should be known. Each function runs on a temporary table that
//! is made like the plant's and goes with its savepoint, on one real row or on one of nulls: no event stays, no bell rings, and no trigger
//! of the plant fires.

use tokio_postgres::Error;
use tokio_postgres::Row;
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

use crate::capture::check::CheckedTable;
use crate::capture::error::SourceError;
use crate::capture::mapping::Operation;
use crate::capture::plan::Wanted;
use crate::capture::sql::quote::identifier;
use crate::capture::sql::trigger::GeneratedCapture;

/// How long one statement may take on one row. A change of the plant would take as long.
const LONGEST: &str = "set local statement_timeout = '3s'";
const SCRATCH: &str = "pg_temp.andon_trial";

/// What the trials have shown.
#[derive(Debug, Default)]
pub(super) struct Trials {
    /// What would fail for each change, because no row could be captured.
    pub(super) faults: Vec<String>,
    /// What is strange about one row, or could not be tried.
    pub(super) warnings: Vec<String>,
}

/// A failure that a function has recorded.
struct Failure {
    id: i64,
    /// Whether the event was captured, without what a lookup gives.
    is_of_a_lookup: bool,
    sqlstate: String,
    message: String,
}

/// Tries the functions of a source, one after the other.
pub(super) async fn run(transaction: &Transaction<'_>, source: &str, wanted: &Wanted) -> Result<Trials, SourceError> {
    let mut trials = Trials::default();
    for (capture, checked) in wanted.captures.iter().zip(&wanted.tables) {
        let begun = transaction.batch_execute(&format!("savepoint andon_trial; {LONGEST}")).await;
        begun.map_err(|error| SourceError::database("begin a trial", error))?;
        let mut seen = Vec::new();
        let tried = one(transaction, source, capture, checked, &mut seen).await;
        let undone =
            transaction.batch_execute("rollback to savepoint andon_trial; release savepoint andon_trial").await;
        undone.map_err(|error| SourceError::database("undo a trial", error))?;
        if let Err(error) = tried {
            let Some(reason) = error.as_db_error() else {
                return Err(SourceError::database(format!("try the capture of {}", capture.table), error));
            };
            let message = match *reason.code() {
                SqlState::QUERY_CANCELED => "one row takes longer than 3 s; look for an index that a lookup needs",
                _ => reason.message(),
            };
            trials.warnings.push(format!("the capture of {} could not be tried: {message}", capture.table));
        }
        // What others have recorded meanwhile is still there.
        let others = failures(transaction, source, &capture.table).await;
        let others = others.map_err(|error| SourceError::database("read andon.capture_errors", error))?;
        for (doing, is_real, failure) in seen {
            if others.iter().all(|other| other.id != failure.id) {
                trials.judge(&capture.table, doing, is_real, &failure);
            }
        }
    }
    Ok(trials)
}

impl Trials {
    /// Judges what a function has recorded as not captured. A row of nulls may be impossible in the plant, but no row mends a function,
    /// a column or a right that is missing.
    fn judge(&mut self, table: &str, doing: &str, is_real: bool, failure: &Failure) {
        let Failure { sqlstate, message, .. } = failure;
        if failure.is_of_a_lookup {
            let said = format!(
                "{table}: no event could have what its lookups give: {message} ({sqlstate}); correct the mapping, or grant the right"
            );
            if !self.faults.contains(&said) {
                self.faults.push(said);
            }
            return;
        }
        let is_of_the_row = ["22", "23", "54", "P0", "XX"].iter().any(|class| sqlstate.starts_with(class));
        let said = match (is_of_the_row, is_real) {
            (false, _) => {
                format!(
                    "{table}: no {doing} could be captured: {message} ({sqlstate}); correct the mapping, or grant the right"
                )
            }
            (true, true) => {
                format!("{table}: the {doing} of a row that is there could not be captured: {message} ({sqlstate})")
            }
            (true, false) => return,
        };
        let list = if is_of_the_row { &mut self.warnings } else { &mut self.faults };
        if !list.contains(&said) {
            list.push(said);
        }
    }
}

/// Tries one function, and collects what it has recorded: what was done, whether to a real row, and the failure.
async fn one(
    transaction: &Transaction<'_>,
    source: &str,
    capture: &GeneratedCapture,
    checked: &CheckedTable,
    seen: &mut Vec<(&'static str, bool, Failure)>,
) -> Result<(), Error> {
    let table = &checked.table;
    let scratch = format!(
        "create temp table andon_trial_row as select * from {} limit 1;
         create temp table andon_trial as table pg_temp.andon_trial_row with no data",
        table.sql
    );
    transaction.batch_execute(&scratch).await?;
    let is_real = transaction.query_opt("select from pg_temp.andon_trial_row", &[]).await?.is_some();
    let mut names: Vec<&str> = Vec::new();
    for trigger in &capture.triggers {
        // A table that others inherit from has the trigger on each of them.
        if !names.contains(&trigger.name.as_str()) {
            names.push(&trigger.name);
            let create = trigger.create.replacen(&format!(" on {}\n", trigger.table), &format!(" on {SCRATCH}\n"), 1);
            transaction.batch_execute(&create).await?;
        }
    }
    let row = if is_real { "select * from pg_temp.andon_trial_row" } else { "default values" };
    let insert = format!("insert into {SCRATCH} {row}");
    let changed: Vec<String> = table
        .columns
        .iter()
        .filter(|column| !table.key.contains(column))
        .map(|column| format!("{} = null", identifier(column)))
        .collect();
    let update = (!changed.is_empty()).then(|| format!("update {SCRATCH} set {}", changed.join(", ")));
    // The update comes last, because it leaves a row that the plant may not have.
    let statements = [
        (Operation::Insert, is_real, Some(insert.clone())),
        (Operation::Delete, is_real, Some(format!("delete from {SCRATCH}"))),
        (Operation::Insert, is_real, Some(insert)),
        (Operation::Update, false, update),
        (Operation::Truncate, true, Some(format!("truncate {SCRATCH}"))),
    ];
    for (operation, is_real, statement) in statements {
        let Some(statement) = statement else { continue };
        transaction.batch_execute(&statement).await?;
        for failure in failures(transaction, source, &capture.table).await? {
            if seen.iter().all(|(.., known)| known.id != failure.id) {
                seen.push((operation.name(), is_real, failure));
            }
        }
    }
    Ok(())
}

/// Returns the latest failures of a table.
async fn failures(transaction: &Transaction<'_>, source: &str, table: &str) -> Result<Vec<Failure>, Error> {
    let sql = "select id, operation = 'lookup', sqlstate, message from andon.capture_errors where source = $1 and table_name = $2
        order by id desc limit 100";
    let rows = transaction.query(sql, &[&source, &table]).await?;
    let failure =
        |row: &Row| Failure { id: row.get(0), is_of_a_lookup: row.get(1), sqlstate: row.get(2), message: row.get(3) };
    Ok(rows.iter().map(failure).collect())
}
