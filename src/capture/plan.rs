//! Compares what is installed for a source with what its mapping wants. In: the checked mapping and the system catalogue. Out: a plan that
//! leads from the one to the other, with each difference in words. It changes nothing: `attach` runs the plan, a dry run prints the very same
//! one, and the check and the daemon tell its differences.

pub(crate) mod capture_role;
mod cascades;
mod compare;
mod definition;
mod destination_triggers;
mod install_plan;
mod installed;
mod order;
mod owner_rights;
mod reads;
pub(crate) mod record;
pub(crate) mod relatives;
mod row_security;
mod schema_watch;

use tokio_postgres::Transaction;

use crate::capture::check::CheckedTable;
use crate::capture::check::check_mapping;
use crate::capture::error::SourceError;
use crate::capture::finding::Finding;
use crate::capture::finding::Problems;
use crate::capture::mapping::Mapping;
use crate::capture::mapping::Operation;
use crate::capture::mapping::TableName;
use crate::capture::plan::reads::Reads;
use crate::capture::sql::body;
use crate::capture::sql::event;
use crate::capture::sql::settings::Pins;
use crate::capture::sql::trigger;
use crate::capture::sql::trigger::GeneratedCapture;
use crate::capture::table::TriggerLevel;

pub use install_plan::Change;
pub use install_plan::InstallPlan;

/// What a mapping wants of the database as it is now.
pub(crate) struct Wanted {
    /// The captured tables.
    pub(crate) tables: Vec<CheckedTable>,
    /// The function and the triggers of each.
    pub(crate) captures: Vec<GeneratedCapture>,
    /// What the mapping can do without and the database does not have.
    left_out: Vec<Finding>,
    /// Whether the source may rest on whatever others own.
    pub(crate) trusts_owners: bool,
    /// The identities of the tables, by which it shows that one was replaced meanwhile.
    identities: Vec<u32>,
}

/// Whose function a capture has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The role that asks, because it is about to attach.
    CurrentRole,
    /// The role that has attached the source.
    Recorded,
}

/// Finds out what a mapping wants.
pub(crate) async fn wanted(transaction: &Transaction<'_>, mapping: &Mapping) -> Result<Wanted, SourceError> {
    let checked =
        check_mapping(transaction, mapping).await.map_err(|error| SourceError::database("check the mapping", error))?;
    if !checked.findings.is_empty() {
        return Err(SourceError::Findings(Problems(checked.findings)));
    }
    let mut captures = Vec::new();
    for captured in &checked.tables {
        prepare_inserts(transaction, captured, &mapping.levels).await?;
        let CheckedTable { name, table, rules } = captured;
        captures.push(trigger::generate(&mapping.name, name, table, rules, &mapping.levels));
    }
    let names: Vec<&str> = checked.tables.iter().map(|captured| captured.table.sql.as_str()).collect();
    relatives::refuse_overlap(transaction, &names).await?;
    let identities = relatives::identities(transaction, &names).await?;
    Ok(Wanted { tables: checked.tables, captures, left_out: checked.left_out, trusts_owners: false, identities })
}

/// Plans to attach: from what is installed to what the mapping wants.
pub(crate) async fn to_attach(
    transaction: &Transaction<'_>,
    mapping: &Mapping,
    wanted: &Wanted,
    owner: Owner,
) -> Result<InstallPlan, SourceError> {
    let names: Vec<&str> = wanted.tables.iter().map(|captured| captured.table.sql.as_str()).collect();
    if relatives::identities(transaction, &names).await? != wanted.identities {
        return Err(SourceError::MovedMeanwhile);
    }
    let belongs_to = owner_of(transaction, &mapping.name, owner).await?;
    let functions: Vec<String> = wanted.captures.iter().map(|capture| capture.function.clone()).collect();
    let installed = installed::read(transaction, &mapping.name, &functions).await?;
    let mut plan = InstallPlan { left_out: wanted.left_out.clone(), ..InstallPlan::default() };
    compare::plan(&mut plan, &mapping.name, &wanted.captures, &installed, belongs_to.as_deref());
    let tables: Vec<&TableName> = [&mapping.mqtt_publishers, &mapping.webhooks].into_iter().flatten().collect();
    destination_triggers::plan(transaction, &mut plan, &mapping.name, &tables).await?;
    schema_watch::plan(transaction, &mut plan, &mapping.name, mapping.watch_ddl, owner == Owner::CurrentRole).await?;
    plan.warnings.extend(order::warnings(&mapping.name, &wanted.tables));
    plan.warnings.extend(cascades::warnings(transaction, &wanted.tables).await?);
    plan.warnings.extend(relatives::captured_by_others(transaction, &mapping.name, &names).await?);
    let lookups: Vec<_> =
        wanted.tables.iter().flat_map(|captured| &captured.rules).flat_map(|rule| &rule.lookups).collect();
    let looked_up: Vec<String> = lookups.iter().map(|lookup| lookup.table.sql()).collect();
    plan.warnings.extend(row_security::hiding(transaction, &looked_up, belongs_to.as_deref()).await?);
    let captured = wanted.tables.iter().map(|captured| captured.name.schema.as_str());
    let schemas = captured.chain(lookups.iter().map(|lookup| lookup.table.schema.as_str()));
    let mut reads = Reads::default();
    reads.add(mapping);
    let mut lacking = owner_rights::missing(transaction, belongs_to.as_deref(), schemas, &reads).await?;
    if owner == Owner::CurrentRole && belongs_to.as_deref() == Some(capture_role::CAPTURE_ROLE) {
        capture_role::plan(&mut plan, &mut lacking);
        capture_role::narrow(transaction, &mut plan, &mapping.name, Some(mapping)).await?;
    }
    plan.lacking = lacking.into_iter().map(|right| right.text).collect();
    let record = record::attached(mapping, belongs_to.as_deref(), wanted.trusts_owners);
    plan.step(format!("note source {}", mapping.name), record);
    plan.locks.sort();
    Ok(plan)
}

/// Plans to detach: from what is installed to nothing.
pub(crate) async fn to_detach(transaction: &Transaction<'_>, name: &str) -> Result<InstallPlan, SourceError> {
    let installed = installed::read(transaction, name, &[]).await?;
    let is_recorded = transaction
        .query_opt("select from andon.sources where name = $1", &[&name])
        .await
        .map_err(|error| SourceError::database("read andon.sources", error))?
        .is_some();
    if installed.functions.is_empty() && !is_recorded {
        return Err(SourceError::Unknown(name.to_owned()));
    }
    let mut plan = InstallPlan::default();
    compare::plan(&mut plan, name, &[], &installed, None);
    destination_triggers::plan(transaction, &mut plan, name, &[]).await?;
    schema_watch::plan(transaction, &mut plan, name, false, true).await?;
    capture_role::narrow(transaction, &mut plan, name, None).await?;
    plan.step(format!("forget source {name}"), record::detached(name));
    plan.locks.sort();
    Ok(plan)
}

/// Returns what is still installed of a source that should be gone.
pub(crate) async fn left(transaction: &Transaction<'_>, name: &str) -> Result<Vec<String>, SourceError> {
    let mut plan = InstallPlan::default();
    compare::plan(&mut plan, name, &[], &installed::read(transaction, name, &[]).await?, None);
    Ok(plan.differences)
}

/// Returns the role that the functions have to belong to. One that an older version has attached has recorded none.
async fn owner_of(transaction: &Transaction<'_>, source: &str, owner: Owner) -> Result<Option<String>, SourceError> {
    let sql = match owner {
        Owner::CurrentRole => capture_role::OWNER,
        Owner::Recorded => "select attached_by from andon.sources where name = $1",
    };
    let row = transaction.query_opt(sql, &[&source]).await;
    let row = row.map_err(|error| SourceError::database("read who has attached the source", error))?;
    Ok(row.and_then(|row| row.get(0)))
}

/// Proves that the expressions fit together in one statement; the check has prepared each of them alone. Without this, a fault would show
/// only when the trigger fires, while the plant works.
async fn prepare_inserts(
    transaction: &Transaction<'_>,
    checked: &CheckedTable,
    levels: &[(String, String)],
) -> Result<(), SourceError> {
    let CheckedTable { table, rules, .. } = checked;
    settle(transaction, &event::pins(rules)).await?;
    let key = if table.level == TriggerLevel::Statement { table.key.as_slice() } else { &[] };
    if !key.is_empty() {
        let pairs = format!("select from {}", body::paired(&table.sql, &table.sql, key));
        transaction.prepare(&pairs).await.map_err(|error| {
            let doing = format!("pair the rows before and after an update of {} by the primary key", table.sql);
            SourceError::database(doing, error)
        })?;
    }
    for operation in Operation::ALL {
        if rules.iter().all(|rule| rule.operation != operation) {
            continue;
        }
        let insert = event::insert(rules, operation, key, levels, &operation.rows_of(&table.sql));
        transaction.prepare(&insert).await.map_err(|error| {
            let doing = format!("put the captures of each {} of {} together", operation.name(), table.sql);
            SourceError::database(doing, error)
        })?;
    }
    settle(transaction, &Pins::default()).await
}

/// Gives the transaction the search path and the settings of a function. A policy that hides rows makes a statement fail, unless the function
/// pins otherwise.
async fn settle(transaction: &Transaction<'_>, pins: &Pins) -> Result<(), SourceError> {
    let settled = transaction.batch_execute(&format!("set local row_security = off; {}", pins.statements())).await;
    settled.map_err(|error| SourceError::database("use the settings of a capture", error))
}
