//! Attaches and detaches a source. In: a mapping, or the name of a source, and a connection as the owner of the tables. Out: the change of
//! each table, or every reason why nothing was changed. Each plan runs in one transaction, which tries what it has made, and compares what
//! stands in the catalogue at its end with what is wanted, before it commits. A busy table is waited for only briefly, because everybody who
//! wants to write to it would have to wait as well.

mod owners;
mod trial;

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

use crate::capture::check::CheckedMapping;
use crate::capture::check::check_mapping;
use crate::capture::error::SourceError;
use crate::capture::finding::Finding;
use crate::capture::mapping::Mapping;
use crate::capture::mapping::TableName;
use crate::capture::plan;
use crate::capture::plan::Change;
use crate::capture::plan::InstallPlan;
use crate::capture::plan::Owner;

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
    /// What somebody should know although the source was attached.
    pub warnings: Vec<String>,
}

/// What an attached source is like now.
#[derive(Debug, Default)]
pub struct Inspection {
    /// What no longer fits the database in the mapping.
    pub findings: Vec<Finding>,
    /// What the mapping can do without and the database does not have.
    pub left_out: Vec<Finding>,
    /// How what is installed differs from what the mapping wants. Attaching again mends it.
    pub differences: Vec<String>,
    /// Which rights the functions lack, so that changes are not captured, each with the statement that gives it.
    pub lacking: Vec<String>,
    /// What somebody should know.
    pub warnings: Vec<String>,
}

/// Which owners of tables, types and functions a source may rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The role that attaches, superusers, and roles that can become that role.
    Itself,
    /// Everybody.
    Everybody,
}

/// Checks the mapping against the database. If there are no findings, `attach` will succeed.
pub async fn check(client: &mut Client, mapping: &Mapping) -> Result<CheckedMapping, SourceError> {
    let transaction = begin(client).await?;
    plan::relatives::refuse_without_usage(&transaction, mapping).await?;
    let checked = check_mapping(&transaction, mapping)
        .await
        .map_err(|error| SourceError::database("check the mapping", error))?;
    transaction.rollback().await.map_err(|error| SourceError::database("end the check", error))?;
    Ok(checked)
}

/// Returns the SQL that `attach` would run now. Run by hand, it has the same effect.
pub async fn plan_sql(client: &mut Client, mapping: &Mapping) -> Result<String, SourceError> {
    let transaction = begin(client).await?;
    let wanted = plan::wanted(&transaction, mapping).await?;
    let mut plan = plan::to_attach(&transaction, mapping, &wanted, Owner::CurrentRole).await?;
    for owner in owners::untrusted(&transaction, mapping, &wanted, None).await? {
        plan.warnings.push(format!("{owner}, and could act as the role that runs this"));
    }
    match ordinary_role(&transaction).await? {
        Some(role) => plan.role = Some(role),
        None => plan.warnings.push(
            "a superuser has asked for this; run it as the owner of the tables (`set role`), or the functions have all rights".to_owned(),
        ),
    }
    transaction.rollback().await.map_err(|error| SourceError::database("end the dry run", error))?;
    Ok(plan.sql())
}

/// Returns the SQL that `detach` would run now.
pub async fn detach_sql(client: &mut Client, name: &str) -> Result<String, SourceError> {
    let transaction = begin(client).await?;
    let mut plan = plan::to_detach(&transaction, name).await?;
    plan.role = ordinary_role(&transaction).await?;
    transaction.rollback().await.map_err(|error| SourceError::database("end the dry run", error))?;
    Ok(plan.sql())
}

/// Returns the current role, unless it is a superuser.
async fn ordinary_role(transaction: &Transaction<'_>) -> Result<Option<String>, SourceError> {
    let sql = "select rolname::text from pg_roles where rolname = current_user and not rolsuper";
    let row = transaction.query_opt(sql, &[]).await;
    let row = row.map_err(|error| SourceError::database("read who attaches", error))?;
    Ok(row.map(|row| row.get(0)))
}

/// Refuses a superuser, or a session that can become one again: what it tries, and what it installs, would run with all rights.
pub async fn refuse_superuser(client: &Client) -> Result<(), SourceError> {
    let sql = "select rolname::text from pg_roles where rolname in (current_user, session_user) and rolsuper limit 1";
    let row = client.query_opt(sql, &[]).await;
    match row.map_err(|error| SourceError::database("read who attaches", error))? {
        Some(row) => Err(SourceError::Superuser(row.get(0))),
        None => Ok(()),
    }
}

/// Compares an attached source with the database as it is now: what the mapping says, and what is installed.
pub async fn inspect(client: &mut Client, mapping: &Mapping) -> Result<Inspection, SourceError> {
    let transaction = begin_look(client).await?;
    plan::relatives::refuse_without_usage(&transaction, mapping).await?;
    let wanted = match plan::wanted(&transaction, mapping).await {
        Ok(wanted) => wanted,
        Err(SourceError::Findings(problems)) => {
            return Ok(Inspection { findings: problems.0, ..Inspection::default() });
        }
        Err(error) => return Err(error),
    };
    let plan = plan::to_attach(&transaction, mapping, &wanted, Owner::Recorded).await?;
    let InstallPlan { differences, lacking, left_out, warnings, .. } = plan;
    transaction.rollback().await.map_err(|error| SourceError::database("end the check", error))?;
    Ok(Inspection { findings: Vec::new(), left_out, differences, lacking, warnings })
}

/// Returns who could act as the role that has attached a source without trust in others: the owners of what its mapping reads and calls, as they
/// are now. It makes temporary views, which the daemon's look does without.
pub async fn strangers(client: &mut Client, mapping: &Mapping) -> Result<Vec<String>, SourceError> {
    let transaction = begin_look(client).await?;
    let mut strangers = Vec::new();
    if let Some(role) = plan::record::distrustful(&transaction, &mapping.name).await? {
        let wanted = plan::wanted(&transaction, mapping).await?;
        for owner in owners::untrusted(&transaction, mapping, &wanted, Some(&role)).await? {
            strangers.push(format!("{owner}, and could act as {role}, which has attached it; attach as the owner of the tables, or with --trust-owners"));
        }
    }
    transaction.rollback().await.map_err(|error| SourceError::database("end the check", error))?;
    Ok(strangers)
}

/// Begins a transaction that only looks. A daemon looks with a connection that others wait for.
async fn begin_look(client: &mut Client) -> Result<Transaction<'_>, SourceError> {
    let transaction = begin(client).await?;
    let bounded = transaction.batch_execute("set local statement_timeout = '10s'").await;
    bounded.map_err(|error| SourceError::database("bound the time of the check", error))?;
    Ok(transaction)
}

/// Installs what the mapping says, and removes what an earlier version of the mapping had installed and this one no longer wants. It leads
/// there from whatever state the plant's migrations have left.
pub async fn attach(client: &mut Client, mapping: &Mapping) -> Result<Report, SourceError> {
    attach_with(client, mapping, Trust::Itself).await
}

/// Does the same, and says whose tables, types and functions the source may rest on.
pub async fn attach_with(client: &mut Client, mapping: &Mapping, trust: Trust) -> Result<Report, SourceError> {
    for _ in 1..ATTEMPTS {
        match attach_once(client, mapping, trust).await {
            Err(error) if error.is_busy() => tokio::time::sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
    match attach_once(client, mapping, trust).await {
        Err(error @ SourceError::Database { .. }) if error.is_busy() => {
            Err(locked(client, mapping).await.unwrap_or(error))
        }
        outcome => outcome,
    }
}

/// Names the table of the mapping that somebody has locked so that not even its columns can be read, if one still is.
async fn locked(client: &Client, mapping: &Mapping) -> Option<SourceError> {
    let lookups = mapping.captures.iter().flat_map(|capture| &capture.lookups).map(|lookup| &lookup.table);
    let captured = mapping.captures.iter().map(|capture| &capture.table);
    let names: Vec<String> = captured.chain(lookups).flat_map(TableName::each).map(TableName::sql).collect();
    let sql = "select name from unnest($1::text[]) name join pg_locks l on l.relation = to_regclass(name)
        where l.database = (select oid from pg_database where datname = current_database()) and l.granted and l.mode = 'AccessExclusiveLock' limit 1";
    let row = client.query_opt(sql, &[&names]).await.ok().flatten()?;
    Some(SourceError::Busy { table: row.get(0), attempts: ATTEMPTS })
}

/// Removes every trace of a source from the database; its events stay in the log.
pub async fn detach(client: &mut Client, name: &str) -> Result<Report, SourceError> {
    for _ in 1..ATTEMPTS {
        match detach_once(client, name).await {
            Err(error) if error.is_busy() => tokio::time::sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
    detach_once(client, name).await
}

async fn attach_once(client: &mut Client, mapping: &Mapping, trust: Trust) -> Result<Report, SourceError> {
    let transaction = begin(client).await?;
    // Nobody waits for us yet, but we would wait for whoever has locked a table, for as long as he likes.
    let bounded = transaction.batch_execute("set local lock_timeout = '500ms'").await;
    bounded.map_err(|error| SourceError::database("set the lock timeout", error))?;
    let mut wanted = plan::wanted(&transaction, mapping).await?;
    wanted.trusts_owners = trust == Trust::Everybody;
    let strangers = owners::untrusted(&transaction, mapping, &wanted, None).await?;
    if trust == Trust::Itself && !strangers.is_empty() {
        return Err(SourceError::UntrustedOwners(strangers));
    }
    let plan = plan::to_attach(&transaction, mapping, &wanted, Owner::CurrentRole).await?;
    if !plan.lacking.is_empty() {
        return Err(SourceError::Powerless(plan.lacking));
    }
    make_functions(&transaction, &plan).await?;
    // It comes before the locks: nobody waits for it.
    let trials = trial::run(&transaction, &mapping.name, &wanted).await?;
    if !trials.faults.is_empty() {
        return Err(SourceError::FailedTrials(trials.faults));
    }
    install(&transaction, &plan).await?;
    let left = plan::to_attach(&transaction, mapping, &wanted, Owner::CurrentRole).await?.differences;
    if !left.is_empty() {
        return Err(SourceError::NotAsPlanned(left));
    }
    transaction.commit().await.map_err(|error| SourceError::database("commit the attachment", error))?;
    let InstallPlan { changes, left_out, mut warnings, .. } = plan;
    warnings.extend(trials.warnings);
    Ok(Report { source: mapping.name.clone(), tables: changes, left_out, warnings })
}

async fn detach_once(client: &mut Client, name: &str) -> Result<Report, SourceError> {
    let transaction = begin(client).await?;
    let plan = plan::to_detach(&transaction, name).await?;
    make_functions(&transaction, &plan).await?;
    install(&transaction, &plan).await?;
    let left = plan::left(&transaction, name).await?;
    if !left.is_empty() {
        return Err(SourceError::NotAsPlanned(left));
    }
    transaction.commit().await.map_err(|error| SourceError::database("commit the detachment", error))?;
    Ok(Report { source: name.to_owned(), tables: plan.changes, left_out: Vec::new(), warnings: plan.warnings })
}

async fn begin(client: &mut Client) -> Result<Transaction<'_>, SourceError> {
    let transaction =
        client.transaction().await.map_err(|error| SourceError::database("begin a transaction", error))?;
    let is_migrated: bool = transaction
        .query_one(
            "select exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                 where n.nspname = 'andon' and p.proname = 'failing_lookups')",
            &[],
        )
        .await
        .map_err(|error| SourceError::database("look for schema andon", error))?
        .get(0);
    if !is_migrated {
        return Err(SourceError::NotMigrated);
    }
    // PostgreSQL leaves out a schema that is in the path when it writes a definition.
    let path = transaction.batch_execute("set local search_path = pg_catalog, pg_temp").await;
    path.map_err(|error| SourceError::database("set the search path", error))?;
    Ok(transaction)
}

/// Runs the first steps, which need no lock of a table.
async fn make_functions(transaction: &Transaction<'_>, plan: &InstallPlan) -> Result<(), SourceError> {
    let opened = transaction.batch_execute(&plan.opening()).await;
    opened.map_err(|error| SourceError::database("set the lock timeout", error))?;
    run(transaction, &plan.functions).await
}

/// Locks the tables and runs the other steps.
async fn install(transaction: &Transaction<'_>, plan: &InstallPlan) -> Result<(), SourceError> {
    for lock in &plan.locks {
        transaction.batch_execute(&lock.sql()).await.map_err(|error| match error.code() {
            Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => {
                SourceError::Busy { table: lock.table.clone(), attempts: ATTEMPTS }
            }
            _ => SourceError::database(format!("lock table {}", lock.table), error),
        })?;
    }
    run(transaction, &plan.steps).await
}

async fn run(transaction: &Transaction<'_>, steps: &[(String, String)]) -> Result<(), SourceError> {
    for (doing, sql) in steps {
        transaction.batch_execute(sql).await.map_err(|error| SourceError::database(doing, error))?;
    }
    Ok(())
}
