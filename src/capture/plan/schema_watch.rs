//! The event triggers that tell the daemon of changes of the schema at once (`[source] watch_ddl`). In: whether a source wants them, and the
//! system catalogue. Out: steps of a plan, or a warning where the role may not take them: only a superuser may create an event trigger. They
//! only notify. Whatever goes wrong in them, the plant's statement succeeds.

use tokio_postgres::Row;
use tokio_postgres::Transaction;

use crate::capture::error::SourceError;
use crate::capture::plan::install_plan::InstallPlan;

/// What a superuser runs. The function belongs to a superuser, because it runs in the statements of superusers too: whoever owned it could
/// put other code into it.
const CREATE: &str = "create or replace function andon.schema_changed() returns event_trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $andon$
begin
    if pg_notification_queue_usage() >= 0.02 then
        return;
    end if;
    if tg_event = 'sql_drop' then
        perform pg_notify('andon', 'schema') from pg_event_trigger_dropped_objects() where not is_temporary limit 1;
    else
        perform pg_notify('andon', 'schema') from pg_event_trigger_ddl_commands()
        where schema_name is distinct from 'pg_temp' limit 1;
    end if;
exception when others then
    null;
end $andon$;
drop event trigger if exists andon_schema_changed;
create event trigger andon_schema_changed on ddl_command_end when tag in (
    'ALTER DOMAIN', 'ALTER FUNCTION', 'ALTER ROUTINE', 'ALTER SCHEMA', 'ALTER TABLE', 'ALTER TRIGGER', 'ALTER TYPE', 'CREATE FUNCTION',
    'CREATE TABLE', 'CREATE TABLE AS', 'CREATE TRIGGER', 'GRANT', 'REVOKE'
) execute function andon.schema_changed();
drop event trigger if exists andon_schema_dropped;
create event trigger andon_schema_dropped on sql_drop execute function andon.schema_changed();
";

const DROP: &str = "drop event trigger if exists andon_schema_changed;
drop event trigger if exists andon_schema_dropped;
drop function if exists andon.schema_changed();
";

/// What the catalogue says about the event triggers.
struct Present {
    /// Whether any part of them is there.
    is_any: bool,
    /// Whether they are there as a superuser creates them.
    is_whole: bool,
    /// Whether the current role may change them.
    may_change: bool,
    /// Whether another source wants them.
    has_others: bool,
}

/// Plans the event triggers for a source. Where the plan is only looked at, no step `may_run`, and what a superuser could do is a warning.
pub(super) async fn plan(
    transaction: &Transaction<'_>,
    plan: &mut InstallPlan,
    source: &str,
    is_wanted: bool,
    may_run: bool,
) -> Result<(), SourceError> {
    let present = present(transaction, source).await?;
    let (is_wanted, may_change) = (is_wanted || present.has_others, present.may_change && may_run);
    match (is_wanted, may_change) {
        (true, _) if present.is_whole => {}
        (true, true) => plan.step("tell the daemon of changes of the schema", CREATE),
        (true, false) => {
            plan.warnings.push(
                "watch_ddl has no effect, because only a superuser may create its event triggers: the last lines of `andon attach --dry-run` are for one; \
                 without them the daemon looks every five minutes"
                    .to_owned(),
            );
            plan.for_superuser = Some(CREATE);
        }
        (false, true) if present.is_any => plan.step("no longer tell the daemon of changes of the schema", DROP),
        (false, false) if present.is_any => plan.warnings.push(
            "no source wants the event triggers andon_schema_changed and andon_schema_dropped any more; let a superuser drop them".to_owned(),
        ),
        (false, _) => {}
    }
    Ok(())
}

async fn present(transaction: &Transaction<'_>, source: &str) -> Result<Present, SourceError> {
    let of_row = |row: &Row| Present {
        is_any: row.get(0),
        is_whole: row.get(1),
        may_change: row.get(2),
        has_others: row.get(3),
    };
    let row = transaction
        .query_one(
            "select count(e.oid) > 0 or to_regprocedure('andon.schema_changed()') is not null,
                    count(*) filter (where e.evtenabled in ('O', 'A') and r.rolsuper) = 2,
                    (select rolsuper from pg_roles where rolname = current_user),
                    exists (select from andon.sources where name <> $1 and watch_ddl)
             from pg_event_trigger e
             join pg_proc p on p.oid = e.evtfoid and p.oid = to_regprocedure('andon.schema_changed()')
             join pg_roles r on r.oid = p.proowner
             where e.evtname in ('andon_schema_changed', 'andon_schema_dropped')",
            &[&source],
        )
        .await;
    row.map(|row| of_row(&row)).map_err(|error| SourceError::database("look for the event triggers", error))
}
