//! The triggers on a source's own tables of destinations, which tell the daemon that a destination has changed. In: the tables that a
//! mapping names, and the system catalogue. Out: steps of a plan that create the missing triggers and drop those that no source needs.

use tokio_postgres::Transaction;

use crate::capture::error::SourceError;
use crate::capture::mapping::TableName;
use crate::capture::plan::definition;
use crate::capture::plan::install_plan::InstallPlan;
use crate::capture::sql::quote::identifier;

/// A table of destinations that has the trigger.
struct Watched {
    schema: String,
    table: String,
    /// Whether another source names the table as well, so that the trigger has to stay.
    is_of_another_source: bool,
    /// The trigger's definition, in the form of [`definition::trigger`].
    definition: String,
    is_enabled: bool,
}

/// Plans the triggers of `source`, which names the tables `wanted`.
pub(super) async fn plan(
    transaction: &Transaction<'_>,
    plan: &mut InstallPlan,
    source: &str,
    wanted: &[&TableName],
) -> Result<(), SourceError> {
    let watched = watched(transaction, source).await?;
    for table in wanted {
        let create = format!(
            "create or replace trigger andon_destinations after insert or update or delete or truncate on {}\n    \
             for each statement execute function andon.destinations_changed();\n",
            table.sql()
        );
        let known = watched.iter().find(|known| known.schema == table.schema && known.table == table.table);
        let is_same = |known: &Watched| known.is_enabled && known.definition == in_order(&definition::trigger(&create));
        if !known.is_some_and(is_same) {
            let reason = if known.is_some() { "was changed or disabled" } else { "is missing" };
            plan.differ(format!("trigger andon_destinations on {table} {reason}"));
            plan.lock(&table.sql(), false);
            plan.step(format!("watch the destinations in {table}"), create);
        }
    }
    for known in watched {
        let is_wanted = wanted.iter().any(|table| table.schema == known.schema && table.table == known.table);
        if !is_wanted && !known.is_of_another_source {
            let table = format!("{}.{}", identifier(&known.schema), identifier(&known.table));
            plan.differ(format!("trigger andon_destinations on {table} is not wanted there"));
            plan.drop_trigger("andon_destinations", &table);
        }
    }
    Ok(())
}

/// Returns the definition with the events in the order in which PostgreSQL writes them.
fn in_order(definition: &str) -> String {
    definition.replacen("insert or update or delete or truncate", "insert or delete or update or truncate", 1)
}

async fn watched(transaction: &Transaction<'_>, source: &str) -> Result<Vec<Watched>, SourceError> {
    let rows = transaction
        .query(
            "select n.nspname::text, c.relname::text,
                    exists (select from andon.sources s where s.name <> $1
                            and n.nspname || '.' || c.relname in (s.mqtt_publishers, s.webhooks)),
                    pg_get_triggerdef(t.oid), t.tgenabled in ('O', 'A')
             from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
             where t.tgname = 'andon_destinations' and t.tgparentid = 0 and n.nspname <> 'andon' order by 1, 2",
            &[&source],
        )
        .await
        .map_err(|error| SourceError::database("read the destinations' triggers", error))?;
    let watched = rows.iter().map(|row| Watched {
        schema: row.get(0),
        table: row.get(1),
        is_of_another_source: row.get(2),
        definition: definition::trigger(row.get(3)),
        is_enabled: row.get(4),
    });
    Ok(watched.collect())
}
