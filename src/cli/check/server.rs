//! The part of the check that looks at what the server does to sessions, Andon's and the plant's: defaults that keep triggers from firing,
//! and limits on connections. In: the catalogue. Out: findings. It only reads, and it needs no right of its own.

use tokio_postgres::Client;
use tokio_postgres::Error;

use crate::cli::check::report::CheckReport;
use crate::database::locks;
use crate::gateway::MOST_CONNECTIONS;

/// A default that keeps triggers from firing, wherever it is made: for a role, a database, or one in the other; or for the whole server,
/// where `reset_val` shows it even to a session that has set the value for itself.
const REPLICAS: &str = "
    select concat_ws(' in ', case when setrole <> 0 then 'role ' || quote_ident(pg_get_userbyid(setrole)) end,
                     case when setdatabase <> 0 then 'database ' || quote_ident(current_database()) end)
    from pg_db_role_setting, unnest(setconfig) setting
    where setdatabase in (0, (select oid from pg_database where datname = current_database()))
      and setting ilike 'session_replication_role=replica'
    union
    select 'the server' from pg_settings
    where name = 'session_replication_role' and reset_val = 'replica' and source not in ('user', 'database', 'database user')
    order by 1";

/// A trigger of Andon's own tables that somebody has switched off, with the table and the way in which it is switched. Those on the plant's
/// tables are looked at with their source.
const SWITCHED_OFF: &str = "
    select t.tgname::text, format('%I.%I', tables.nspname, c.relname), t.tgenabled = 'R'
    from pg_trigger t
    join pg_class c on c.oid = t.tgrelid join pg_namespace tables on tables.oid = c.relnamespace
    join pg_proc p on p.oid = t.tgfoid join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'andon' and tables.nspname = 'andon' and not t.tgisinternal and t.tgenabled not in ('O', 'A') order by 2, 1";

/// A captured table into which a subscription writes. The workers of a subscription fire no trigger of a statement, and others only when
/// they are switched to `always`.
const SUBSCRIBED: &str = "
    select distinct s.subname::text, format('%I.%I', tables.nspname, c.relname)
    from pg_subscription_rel r join pg_subscription s on s.oid = r.srsubid
    join pg_class c on c.oid = r.srrelid join pg_namespace tables on tables.oid = c.relnamespace
    join pg_trigger t on t.tgrelid = c.oid
    join pg_proc p on p.oid = t.tgfoid join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'andon' order by 2, 1";

/// A limit that is too low for a daemon.
const LIMITS: &str = "
    select 'role ' || quote_ident(rolname), rolconnlimit from pg_roles
    where rolname = current_user and not rolsuper and rolconnlimit between 0 and $1 - 1
    union all
    select 'database ' || quote_ident(datname), datconnlimit from pg_database
    where datname = current_database() and datconnlimit between 0 and $1 - 1
    union all
    select 'the server (max_connections)', current_setting('max_connections')::int
    where current_setting('max_connections')::int < $1";

/// Reports whatever keeps changes from being captured, or a daemon from connecting.
pub(super) async fn check(client: &Client, report: &mut CheckReport) {
    if let Err(error) = look(client, report).await {
        report.fault("server", format!("cannot look at the server's settings: {:#}", anyhow::Error::from(error)));
    }
}

async fn look(client: &Client, report: &mut CheckReport) -> Result<(), Error> {
    for row in client.query(REPLICAS, &[]).await? {
        let whose: &str = row.get(0);
        report.fault(
            "server",
            format!(
                "{whose} has session_replication_role = replica, so that no trigger fires and nothing is captured in \
                 such sessions; reset it (alter role, alter database or alter system)"
            ),
        );
    }
    for row in client.query(SWITCHED_OFF, &[]).await? {
        let (trigger, table, is_for_replicas): (&str, &str, bool) = (row.get(0), row.get(1), row.get(2));
        let how = if is_for_replicas { "fires for replication only" } else { "is switched off" };
        report.fault(
            "server",
            format!(
                "trigger {trigger} of {table} {how}, so that changes of the table are not noticed; run: alter table \
                 {table} enable trigger {trigger}"
            ),
        );
    }
    for row in client.query(SUBSCRIBED, &[]).await? {
        let (subscription, table): (&str, &str) = (row.get(0), row.get(1));
        report.fault(
            "server",
            format!(
                "subscription {subscription} writes into {table}, and no trigger fires for that; attach Andon to the \
                 database that publishes {table}"
            ),
        );
    }
    let usage: f64 = client.query_one("select pg_notification_queue_usage()", &[]).await?.get(0);
    if usage >= 0.01 {
        report.fault(
            "server",
            format!(
                "the queue of notifications is full to {:.0} %, because a session that listens stays in a transaction; \
                 once it is full, every commit that notifies fails; end the session (pg_stat_activity.xact_start)",
                usage * 100.0
            ),
        );
    }
    for stranger in locks::strangers(client).await? {
        let trouble = "holds a lock of Andon's without the rights of a daemon; end it: pg_terminate_backend";
        report.fault("server", format!("{stranger} {trouble}"));
    }
    for row in client.query(LIMITS, &[&MOST_CONNECTIONS]).await? {
        let (whose, limit): (&str, i32) = (row.get(0), row.get(1));
        report.fault(
            "server",
            format!(
                "{whose} may have {limit} connections, and `andon run` needs up to {MOST_CONNECTIONS}; raise the limit"
            ),
        );
    }
    Ok(())
}
