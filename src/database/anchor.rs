//! The anchor of a pool: one session that has proved which server it is on. In: this session, while it lasts. Out: a verdict on each pooled
//! connection: it is used only if it is on the same server as the session. Behind one address there may be another server at any moment,
//! such as a promoted standby; what a daemon knows of the one must not be written into the other. It knows nothing of why a session is
//! trusted.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use deadpool_postgres::Hook;
use deadpool_postgres::HookError;
use deadpool_postgres::PoolBuilder;
use tokio_postgres::Client;
use tokio_postgres::Error;

/// The session that pooled connections are compared with. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Anchor(Arc<Mutex<Option<Session>>>);

/// A session as all others on its server see it. No other server has one with this number that began in the same microsecond.
#[derive(Debug, Clone, Copy)]
struct Session {
    pid: i32,
    began: Option<i64>,
    anchored: Instant,
}

const OURSELVES: &str = "select pid, (extract(epoch from backend_start) * 1000000)::int8 from pg_stat_activity where pid = pg_backend_pid()";
/// A role that may not see when the sessions of its own user began is one that changes into another role; it sees the number all the same.
const IS_HERE: &str = "select exists (select from pg_stat_activity where pid = $1
    and coalesce((extract(epoch from backend_start) * 1000000)::int8 = $2, true))";

impl Anchor {
    /// Lets pooled connections to the server of this session be used. Those that were made before are used no more.
    pub(super) async fn set(&self, client: &Client) -> Result<(), Error> {
        let row = client.query_one(OURSELVES, &[]).await?;
        let session = Session { pid: row.get(0), began: row.get(1), anchored: Instant::now() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
        Ok(())
    }

    /// Lets no pooled connection be used until there is another session.
    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Makes a pool ask for each connection whether it may be used.
    pub(super) fn guard(&self, pool: PoolBuilder) -> PoolBuilder {
        let (created, recycled) = (self.clone(), self.clone());
        let is_here = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let session = created.session();
            Box::pin(async move {
                let session = session.ok_or(HookError::message(NOT_YET))?;
                let row =
                    client.query_one(IS_HERE, &[&session.pid, &session.began]).await.map_err(HookError::Backend)?;
                if row.get(0) {
                    Ok(())
                } else {
                    Err(HookError::message("it is another server than the one whose log is read"))
                }
            })
        });
        let is_of_now = Hook::sync_fn(move |_, metrics| match recycled.session() {
            Some(session) if metrics.created >= session.anchored => Ok(()),
            _ => Err(HookError::message(NOT_YET)),
        });
        pool.post_create(is_here).pre_recycle(is_of_now)
    }

    fn session(&self) -> Option<Session> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const NOT_YET: &str = "it is not known yet which server this is: the log is not being read";
