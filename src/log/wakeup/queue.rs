//! The server's queue of notifications, which all databases of the server share. In: a connection. Out: whether it fills up, and who holds
//! it up. A session that listens and stays in a transaction keeps everything that was sent since; when the queue is full, every commit that
//! notifies fails, the plant's among them.

use tokio_postgres::Client;
use tokio_postgres::Error;

/// From here on, Andon sends nothing more: as a part of the whole queue, which usually is all but empty. `andon.ring()` and the generated
/// functions hold back a little later, in case the tail has not noticed yet.
const FULL: f64 = 0.01;

/// The session that has been in a transaction for longest. PostgreSQL does not show who listens, and shows the transactions of others only
/// to roles that may see them.
const OLDEST: &str = "
    select format('process %s of role %s, in a transaction since %s', pid, usename, xact_start::timestamptz(0))
    from pg_stat_activity
    where backend_type = 'client backend' and xact_start is not null and pid <> pg_backend_pid()
    order by xact_start limit 1";

/// Returns whether the queue fills up.
pub(crate) async fn is_filling(client: &Client) -> Result<bool, Error> {
    let usage: f64 = client.query_one("select pg_notification_queue_usage()", &[]).await?.get(0);
    Ok(usage >= FULL)
}

/// Says who probably holds the queue up.
pub(crate) async fn culprit(client: &Client) -> Result<String, Error> {
    let oldest = client.query_opt(OLDEST, &[]).await?;
    Ok(oldest.map_or("unknown; a role with pg_monitor can see it".to_owned(), |row| row.get(0)))
}
