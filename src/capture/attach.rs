//! Attaches and detaches a source. In: a mapping, or the name of a source, and a connection as the owner of the tables. Out: the change of
//! each table, or every reason why nothing was changed. It is the only writer of `andon.sources`. Each plan runs in one transaction, and a
//! busy table is waited for only briefly, because everybody who wants to write to it would have to wait as well.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

use crate::capture::check::CheckedMapping;
use crate::capture::check::check_mapping;
use crate::capture::error::SourceError;
use crate::capture::finding::Finding;
use crate::capture::mapping::Mapping;
use crate::capture::plan;
use crate::capture::plan::Change;
use crate::capture::plan::InstallPlan;

/// How often a busy table is asked for, and the pause between two attempts. An attempt lasts half a second at most, which is less than
/// PostgreSQL's `deadlock_timeout`: if the plant and Andon wait for each other, Andon gives in.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);

/// The changes that attaching or detaching has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The source.
    pub source: String,
    /// The tables of the source, and what happened to the capture of each.
    pub tables: Vec<(String, Change)>,
    /// What the mapping can do without and the database does not have.
    pub left_out: Vec<Finding>,
}

/// Checks the mapping against the database. If there are no findings, `attach` will succeed.
pub async fn check(client: &mut Client, mapping: &Mapping) -> Result<CheckedMapping, SourceError> {
    let transaction = begin(client).await?;
    let checked = check_mapping(&transaction, mapping)
        .await
        .map_err(|error| SourceError::database("check the mapping", error))?;
    transaction.rollback().await.map_err(|error| SourceError::database("end the check", error))?;
    Ok(checked)
}

/// Returns the SQL that `attach` would run now. Run by hand, it has the same effect.
pub async fn plan_sql(client: &mut Client, mapping: &Mapping) -> Result<String, SourceError> {
    let transaction = begin(client).await?;
    let plan = plan::to_attach(&transaction, mapping).await?;
    transaction.rollback().await.map_err(|error| SourceError::database("end the dry run", error))?;
    Ok(plan.sql())
}

/// Returns the tables whose captures are not installed as this program installs them: an older one did it, or somebody has changed them.
pub async fn outdated(client: &mut Client, mapping: &Mapping) -> Result<Vec<String>, SourceError> {
    let transaction = begin(client).await?;
    let plan = plan::to_attach(&transaction, mapping).await?;
    transaction.rollback().await.map_err(|error| SourceError::database("end the check", error))?;
    let changes = plan.changes.into_iter().filter(|(_, change)| *change != Change::Unchanged);
    Ok(changes.map(|(table, _)| table).collect())
}

/// Installs what the mapping says, and removes what an earlier version of the mapping had installed and this one no longer wants.
pub async fn attach(client: &mut Client, mapping: &Mapping) -> Result<Report, SourceError> {
    for _ in 1..ATTEMPTS {
        match attach_once(client, mapping).await {
            Err(SourceError::Busy { .. }) => tokio::time::sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
    attach_once(client, mapping).await
}

/// Removes every trace of a source from the database; its events stay in the log.
pub async fn detach(client: &mut Client, name: &str) -> Result<Report, SourceError> {
    for _ in 1..ATTEMPTS {
        match detach_once(client, name).await {
            Err(SourceError::Busy { .. }) => tokio::time::sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
    detach_once(client, name).await
}

async fn attach_once(client: &mut Client, mapping: &Mapping) -> Result<Report, SourceError> {
    let transaction = begin(client).await?;
    let plan = plan::to_attach(&transaction, mapping).await?;
    run(&transaction, &plan).await?;
    transaction.commit().await.map_err(|error| SourceError::database("commit the attachment", error))?;
    Ok(Report { source: mapping.name.clone(), tables: plan.changes, left_out: plan.left_out })
}

async fn detach_once(client: &mut Client, name: &str) -> Result<Report, SourceError> {
    let transaction = begin(client).await?;
    let plan = plan::to_detach(&transaction, name).await?;
    run(&transaction, &plan).await?;
    transaction.commit().await.map_err(|error| SourceError::database("commit the detachment", error))?;
    Ok(Report { source: name.to_owned(), tables: plan.changes, left_out: Vec::new() })
}

async fn begin(client: &mut Client) -> Result<Transaction<'_>, SourceError> {
    let transaction =
        client.transaction().await.map_err(|error| SourceError::database("begin a transaction", error))?;
    let is_migrated: bool = transaction
        .query_one(
            "select to_regprocedure('andon.capture_failed(text, text, text, text, text, text)') is not null",
            &[],
        )
        .await
        .map_err(|error| SourceError::database("look for schema andon", error))?
        .get(0);
    if is_migrated { Ok(transaction) } else { Err(SourceError::NotMigrated) }
}

async fn run(transaction: &Transaction<'_>, plan: &InstallPlan) -> Result<(), SourceError> {
    let opened = transaction.batch_execute(&plan.opening()).await;
    opened.map_err(|error| SourceError::database("set the lock timeout", error))?;
    for lock in &plan.locks {
        transaction.batch_execute(&lock.sql()).await.map_err(|error| match error.code() {
            Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => {
                SourceError::Busy { table: lock.table.clone(), attempts: ATTEMPTS }
            }
            _ => SourceError::database(format!("lock table {}", lock.table), error),
        })?;
    }
    for (doing, sql) in &plan.steps {
        transaction.batch_execute(sql).await.map_err(|error| SourceError::database(doing, error))?;
    }
    Ok(())
}
