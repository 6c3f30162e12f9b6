//! Installs and removes captures. In: a mapping and a connection as the owner of the tables. Out: what was done, by table, or every
//! reason why nothing was. It is the only writer of `andon.sources`. What it does, it does in one transaction, and it waits for a busy
//! table only in short spells: everybody who wants to write there would wait behind it.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

use crate::capture::check::Types;
use crate::capture::check::survey;
use crate::capture::finding::Finding;
use crate::capture::finding::Problems;
use crate::capture::mapping::Mapping;
use crate::capture::plan;
use crate::capture::plan::Change;
use crate::capture::plan::Plan;

/// How often a busy table is asked for, and how long to stay away in between. One request lasts half a second at most, which is less
/// than PostgreSQL's `deadlock_timeout`: should the plant and we wait for each other, it is we who give in.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);

/// Why a source could not be attached or detached. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The mapping and the database do not fit.
    #[error("the mapping does not fit the database:\n{0}")]
    Findings(Problems),
    /// Somebody holds a table for longer than we are ready to make others wait.
    #[error(
        "table {0} is busy: a transaction kept it locked through {ATTEMPTS} attempts; end it or try again when it is quiet"
    )]
    Busy(String),
    /// The schema is not there yet.
    #[error("schema andon is missing or old; run `andon migrate` first")]
    NotMigrated,
    /// Nothing of that name is attached.
    #[error("source `{0}` is not attached here; `select name from andon.sources` lists those that are")]
    Unknown(String),
    /// PostgreSQL refused.
    #[error("cannot {doing}")]
    Database {
        /// What was tried.
        doing: String,
        /// What PostgreSQL said.
        #[source]
        source: tokio_postgres::Error,
    },
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The source.
    pub source: String,
    /// Its tables, and what became of the capture of each.
    pub tables: Vec<(String, Change)>,
}

/// Checks the mapping against the database. No finding means that `attach` will do.
pub async fn check(client: &mut Client, mapping: &Mapping) -> Result<Vec<Finding>, SourceError> {
    Ok(describe(client, mapping).await?.0)
}

/// The same, with the types that the mapping's expressions have in this database.
pub async fn describe(client: &mut Client, mapping: &Mapping) -> Result<(Vec<Finding>, Types), SourceError> {
    let transaction = begin(client).await?;
    let survey = survey(&transaction, mapping).await.map_err(|source| failed("check the mapping", source))?;
    transaction.rollback().await.map_err(|source| failed("end the check", source))?;
    Ok((survey.findings, survey.types))
}

/// The SQL that `attach` would run now; run by hand it does the same.
pub async fn plan_sql(client: &mut Client, mapping: &Mapping) -> Result<String, SourceError> {
    let transaction = begin(client).await?;
    let plan = plan::attach(&transaction, mapping).await?;
    transaction.rollback().await.map_err(|source| failed("end the dry run", source))?;
    Ok(plan.sql())
}

/// Installs what the mapping says, and removes what an earlier version of it had installed and this one no longer has.
pub async fn attach(client: &mut Client, mapping: &Mapping) -> Result<Report, SourceError> {
    for _ in 1..ATTEMPTS {
        match attach_once(client, mapping).await {
            Err(SourceError::Busy(_)) => tokio::time::sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
    attach_once(client, mapping).await
}

/// Removes every trace of a source from the database; its events stay in the log.
pub async fn detach(client: &mut Client, name: &str) -> Result<Report, SourceError> {
    for _ in 1..ATTEMPTS {
        match detach_once(client, name).await {
            Err(SourceError::Busy(_)) => tokio::time::sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
    detach_once(client, name).await
}

async fn attach_once(client: &mut Client, mapping: &Mapping) -> Result<Report, SourceError> {
    let transaction = begin(client).await?;
    let plan = plan::attach(&transaction, mapping).await?;
    carry_out(&transaction, &plan).await?;
    transaction.commit().await.map_err(|source| failed("commit the attachment", source))?;
    Ok(Report { source: mapping.name.clone(), tables: plan.changes })
}

async fn detach_once(client: &mut Client, name: &str) -> Result<Report, SourceError> {
    let transaction = begin(client).await?;
    let plan = plan::detach(&transaction, name).await?;
    carry_out(&transaction, &plan).await?;
    transaction.commit().await.map_err(|source| failed("commit the detachment", source))?;
    Ok(Report { source: name.to_owned(), tables: plan.changes })
}

async fn begin(client: &mut Client) -> Result<Transaction<'_>, SourceError> {
    let transaction = client.transaction().await.map_err(|source| failed("begin a transaction", source))?;
    let is_migrated: bool = transaction
        .query_one(
            "select to_regprocedure('andon.capture_failed(text, text, text, text, text, text)') is not null",
            &[],
        )
        .await
        .map_err(|source| failed("look for schema andon", source))?
        .get(0);
    if is_migrated { Ok(transaction) } else { Err(SourceError::NotMigrated) }
}

async fn carry_out(transaction: &Transaction<'_>, plan: &Plan) -> Result<(), SourceError> {
    let run = |sql: String| async move { transaction.batch_execute(&sql).await };
    run(plan.opening()).await.map_err(|source| failed("set the lock timeout", source))?;
    for lock in &plan.locks {
        run(lock.sql()).await.map_err(|source| match source.code() {
            Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => SourceError::Busy(lock.table.clone()),
            _ => failed(&format!("lock table {}", lock.table), source),
        })?;
    }
    for (doing, sql) in &plan.steps {
        run(sql.clone()).await.map_err(|source| failed(doing, source))?;
    }
    Ok(())
}

pub(crate) fn failed(doing: &str, source: tokio_postgres::Error) -> SourceError {
    SourceError::Database { doing: doing.to_owned(), source }
}
