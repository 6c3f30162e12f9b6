//! Compares what is installed for a source with what its mapping wants. In: the checked mapping and the system catalogue. Out: a plan that
//! leads from the one to the other. It changes nothing: `attach` runs the plan, and a dry run prints the very same one.

mod destination_triggers;
mod install_plan;
mod installed;

use tokio_postgres::Transaction;

use crate::capture::check::CheckedTable;
use crate::capture::check::check_mapping;
use crate::capture::error::SourceError;
use crate::capture::finding::Problems;
use crate::capture::mapping::Mapping;
use crate::capture::mapping::Operation;
use crate::capture::mapping::TableName;
use crate::capture::plan::installed::InstalledCapture;
use crate::capture::plan::installed::InstalledTrigger;
use crate::capture::sql::event;
use crate::capture::sql::quote::literal;
use crate::capture::sql::trigger;
use crate::capture::sql::trigger::GeneratedCapture;
use crate::capture::table::TriggerLevel;

pub use install_plan::Change;
pub use install_plan::InstallPlan;

/// Plans to attach: from what is installed to what the mapping says.
pub(crate) async fn to_attach(transaction: &Transaction<'_>, mapping: &Mapping) -> Result<InstallPlan, SourceError> {
    let checked =
        check_mapping(transaction, mapping).await.map_err(|error| SourceError::database("check the mapping", error))?;
    if !checked.findings.is_empty() {
        return Err(SourceError::Findings(Problems(checked.findings)));
    }
    let installed = installed::read(transaction, &mapping.name).await?;
    let mut plan = InstallPlan { left_out: checked.left_out, ..InstallPlan::default() };
    let mut wanted = Vec::new();
    for captured in &checked.tables {
        prepare_inserts(transaction, captured, &mapping.levels).await?;
        let generated =
            trigger::generate(&mapping.name, &captured.name, &captured.table, &captured.rules, &mapping.levels);
        install(&mut plan, &generated, installed.iter().find(|known| known.function == generated.function));
        wanted.push(generated.function);
    }
    for known in installed.iter().filter(|known| !wanted.contains(&known.function)) {
        remove(&mut plan, &mapping.name, known);
    }
    let tables: Vec<&TableName> = [&mapping.mqtt_publishers, &mapping.webhooks].into_iter().flatten().collect();
    destination_triggers::plan(transaction, &mut plan, &mapping.name, &tables).await?;
    plan.step(format!("note source {}", mapping.name), insert_source(mapping));
    plan.locks.sort();
    Ok(plan)
}

/// Plans to detach: from what is installed to nothing.
pub(crate) async fn to_detach(transaction: &Transaction<'_>, name: &str) -> Result<InstallPlan, SourceError> {
    let installed = installed::read(transaction, name).await?;
    let is_recorded = transaction
        .query_opt("select from andon.sources where name = $1", &[&name])
        .await
        .map_err(|error| SourceError::database("read andon.sources", error))?
        .is_some();
    if installed.is_empty() && !is_recorded {
        return Err(SourceError::Unknown(name.to_owned()));
    }
    let mut plan = InstallPlan::default();
    for known in &installed {
        remove(&mut plan, name, known);
    }
    destination_triggers::plan(transaction, &mut plan, name, &[]).await?;
    plan.step(format!("forget source {name}"), format!("delete from andon.sources where name = {};\n", literal(name)));
    plan.locks.sort();
    Ok(plan)
}

/// Proves that the expressions fit together in one statement; the check has prepared each of them alone. Without this, a fault would show
/// only when the trigger fires, while the plant works.
async fn prepare_inserts(
    transaction: &Transaction<'_>,
    checked: &CheckedTable,
    levels: &[(String, String)],
) -> Result<(), SourceError> {
    let CheckedTable { table, rules, .. } = checked;
    let key = if table.level == TriggerLevel::Statement { table.key.as_slice() } else { &[] };
    for operation in Operation::ALL {
        if rules.iter().all(|rule| rule.operation != operation) {
            continue;
        }
        let rows = match operation {
            Operation::Insert => format!("{} as new", table.sql),
            Operation::Update => format!("{0} as new cross join {0} as old", table.sql),
            Operation::Delete => format!("{} as old", table.sql),
        };
        let insert = event::insert(rules, operation, key, levels, &rows);
        transaction.prepare(&insert).await.map_err(|error| {
            let doing = format!("put the captures of each {} of {} together", operation.name(), table.sql);
            SourceError::database(doing, error)
        })?;
    }
    Ok(())
}

fn install(plan: &mut InstallPlan, wanted: &GeneratedCapture, known: Option<&InstalledCapture>) {
    let is_function_there = known.is_some_and(|known| known.body == wanted.body && known.comment == wanted.comment);
    let triggers = known.map_or(&[] as &[InstalledTrigger], |known| &known.triggers);
    let is_there = |name: &str, table: &str| {
        triggers.iter().any(|known| {
            known.name == name && known.table == table && known.is_row_level == wanted.is_row_level && known.is_enabled
        })
    };
    let is_wanted = |known: &InstalledTrigger| {
        wanted.triggers.iter().any(|trigger| trigger.name == known.name && trigger.table == known.table)
    };
    let missing: Vec<_> = wanted.triggers.iter().filter(|trigger| !is_there(&trigger.name, &trigger.table)).collect();
    let superfluous: Vec<_> = triggers.iter().filter(|known| !is_wanted(known)).collect();
    if !is_function_there {
        plan.step(format!("capture {}", wanted.table), wanted.create_function.clone());
    }
    for trigger in &missing {
        plan.lock(&trigger.table, false);
        plan.step(format!("let it run on {}", trigger.table), trigger.create.clone());
    }
    for trigger in &superfluous {
        plan.drop_trigger(&trigger.name, &trigger.table);
    }
    let change = match known {
        None => Change::Created,
        Some(_) if is_function_there && missing.is_empty() && superfluous.is_empty() => Change::Unchanged,
        Some(_) => Change::Replaced,
    };
    plan.changes.push((wanted.table.clone(), change));
}

fn remove(plan: &mut InstallPlan, source: &str, known: &InstalledCapture) {
    for trigger in &known.triggers {
        plan.drop_trigger(&trigger.name, &trigger.table);
    }
    let table = known.comment.trim_start_matches(&trigger::comment_prefix(source));
    let table = table.rsplit_once(" [").map_or(table, |(table, _)| table);
    plan.step(format!("no longer capture {table}"), format!("drop function {}();\n", known.function));
    plan.changes.push((table.to_owned(), Change::Dropped));
}

/// Records the source. It writes only if something differs, so that attaching again wakes no daemon.
fn insert_source(mapping: &Mapping) -> String {
    let optional = |table: &Option<TableName>| {
        table.as_ref().map_or("null".to_owned(), |table| literal(&table.to_string()).trim_start().to_owned())
    };
    format!(
        "insert into andon.sources (name, profile, mapping, mqtt_publishers, webhooks)
values ({}, {}, {}, {}, {})
on conflict (name) do update
set profile = excluded.profile, mapping = excluded.mapping, mqtt_publishers = excluded.mqtt_publishers,
    webhooks = excluded.webhooks, attached_at = excluded.attached_at
where (sources.profile, sources.mapping, sources.mqtt_publishers, sources.webhooks)
    is distinct from (excluded.profile, excluded.mapping, excluded.mqtt_publishers, excluded.webhooks);
",
        literal(&mapping.name),
        literal(mapping.profile.name()),
        literal(&mapping.text),
        optional(&mapping.mqtt_publishers),
        optional(&mapping.webhooks),
    )
}
