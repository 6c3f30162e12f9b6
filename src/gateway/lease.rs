//! The leases of the daemons that serve one database. In: the database and its clock. Out: our own lease, renewed for as long as the
//! database answers, and the other daemons that hold one, with the keys that they hold. It never hands out lanes: `assignment` decides which daemon serves a lane, and
//! the lane's epoch keeps a daemon that has lost the lane from writing to it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use deadpool_postgres::Pool;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::clock::Clock;
use crate::database::Database;
use crate::database::reconnect::Reconnect;
use crate::gateway::assignment::DaemonId;
use crate::gateway::assignment::LivingDaemon;

/// How long a daemon counts as alive after its last renewal.
const LEASE: Duration = Duration::from_secs(3);
/// How often a daemon renews its lease.
const RENEWAL: Duration = Duration::from_secs(1);
/// How long the pauses get between renewals that fail. They stay short, because nothing is delivered without a lease.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How soon it is looked for a lease again that was renewed without a word.
const LOOK: Duration = Duration::from_millis(200);

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Acquires and renews this daemon's lease.
#[derive(Debug)]
pub(super) struct LeaseKeeper {
    pub(super) id: DaemonId,
    name: String,
    /// The ids of the keys that open sealed secrets. Commands seal with no key that a living daemon does not hold, and a lane whose row needs
    /// one that only some daemons hold goes to one of those.
    keys: Vec<String>,
    clock: Clock,
    has_company: Arc<AtomicBool>,
    lease: watch::Sender<Lease>,
}

/// The right to serve lanes, for a limited time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease {
    /// Counts the leases that were not renewals of the one before; 0 before the first.
    pub(super) term: u64,
    /// When the lease ends by our monotonic clock. It is counted from before the renewal was sent, so that no other daemon can consider
    /// the lease expired before we do.
    until: Instant,
    /// All daemons that hold a lease, this one included.
    pub(super) living: Vec<LivingDaemon>,
}

impl Lease {
    fn holds(&self) -> bool {
        self.term > 0 && Instant::now() < self.until
    }
}

impl LeaseKeeper {
    /// Gives this daemon a new identity. It holds no lease yet.
    pub(super) fn new(name: String, keys: Vec<String>, clock: Clock, has_company: Arc<AtomicBool>) -> LeaseKeeper {
        let lease = watch::Sender::new(Lease { term: 0, until: Instant::now(), living: Vec::new() });
        LeaseKeeper { id: Uuid::new_v4(), name, keys, clock, has_company, lease }
    }

    /// Renews the lease forever, through lost connections.
    pub(super) async fn keep(&self, database: &Database) {
        let mut reconnect = Reconnect::new(LONGEST_PAUSE);
        let mut was_held = false;
        loop {
            let Err(error) = self.renew(database, &mut reconnect).await;
            let error = format!("{error:#}");
            let failure = reconnect.failed(Instant::now(), &error);
            // A lease that is still held is missed by nobody yet.
            let is_held = self.lease.borrow().holds();
            if is_held {
                tracing::debug!(error, "cannot renew the lease yet");
            } else if failure.is_news || was_held {
                tracing::warn!(error, "cannot renew the lease, without which nothing is delivered; trying again");
            }
            was_held = is_held;
            tokio::time::sleep(failure.pause).await;
        }
    }

    /// Waits until this daemon holds a lease.
    pub(super) async fn held(&self) -> Lease {
        let mut lease = self.lease.subscribe();
        loop {
            let now = lease.borrow_and_update().clone();
            if now.holds() {
                return now;
            }
            // A renewal that changes nothing but the time is not announced, so we look again after a while.
            drop(timeout(LOOK, lease.changed()).await);
        }
    }

    /// Waits until the set of living daemons differs from the one in this lease. Returns false if the lease is lost.
    pub(super) async fn changed(&self, known: &Lease) -> bool {
        self.until(known, |now| now.living != known.living).await
    }

    /// Waits until this lease is lost.
    pub(super) async fn lost(&self, known: &Lease) {
        self.until(known, |_| false).await;
    }

    async fn until(&self, known: &Lease, is_news: impl Fn(&Lease) -> bool) -> bool {
        let mut lease = self.lease.subscribe();
        loop {
            let now = lease.borrow_and_update().clone();
            if now.term != known.term || !now.holds() {
                return false;
            }
            if is_news(&now) {
                return true;
            }
            drop(tokio::time::timeout_at(now.until, lease.changed()).await);
        }
    }

    /// Gives the lease up, so that the other daemons need not wait for it to run out.
    pub(super) async fn leave(&self, pool: &Pool) -> anyhow::Result<()> {
        pool.get().await?.execute("delete from andon.daemons where daemon = $1", &[&self.id]).await?;
        Ok(())
    }

    /// Renews the lease until that fails. It has a connection of its own, because nothing that the lanes do may delay a renewal.
    async fn renew(&self, database: &Database, reconnect: &mut Reconnect) -> anyhow::Result<Infallible> {
        let client = timeout(LEASE, database.connect()).await.context("connecting takes too long")??;
        let statement = client
            .prepare(
                "with renewed as (
                    insert into andon.daemons (daemon, name, version, keys, lease_until)
                    values ($1, $2, $3, $5, clock_timestamp() + $4::float8 * interval '1 second')
                    on conflict (daemon) do update set lease_until = excluded.lease_until
                )
                select clock_timestamp(), exists (select from andon.daemons where daemon <> $1 and not andon.lives(lease_until)),
                    other.daemon, other.keys
                from (select) here left join andon.daemons other on daemon <> $1 and andon.lives(lease_until)",
            )
            .await
            .map_err(outdated)?;
        let lease = LEASE.as_secs_f64();
        let mut clock = tokio::time::interval(RENEWAL);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            let asked = Instant::now();
            let values: [&(dyn ToSql + Sync); 5] = [&self.id, &self.name, &VERSION, &lease, &self.keys];
            let rows = timeout(LEASE, client.query(&statement, &values)).await;
            let rows = rows.context("the database does not answer")??;
            let row = rows.first().context("the database does not tell its time")?;
            self.clock.set(row.get::<_, Timestamp>(0), std::time::Instant::now());
            self.renewed(asked, rows.iter().filter_map(other).collect());
            reconnect.opened(Instant::now());
            if row.get(1) {
                end_expired_daemons(&client, self.id).await.context("ending the sessions of a daemon that is gone")?;
            }
        }
    }

    fn renewed(&self, asked: Instant, others: Vec<LivingDaemon>) {
        self.has_company.store(!others.is_empty(), Ordering::Relaxed);
        let mut living = others;
        living.push(LivingDaemon { id: self.id, keys: self.keys.clone() });
        living.sort_unstable();
        self.lease.send_if_modified(|lease| {
            // If the lease ran out between two renewals, another daemon may have declared this one dead in that time: this is a new lease.
            let term = if asked < lease.until { lease.term } else { lease.term + 1 };
            if term != lease.term {
                tracing::info!("this daemon holds a lease");
            }
            let is_news = term != lease.term || living != lease.living;
            if living.len() != lease.living.len() {
                tracing::info!(daemons = living.len(), "daemons that share the lanes");
            }
            *lease = Lease { term, until: asked + LEASE, living };
            is_news
        });
    }
}

/// Says what to do where the schema has not what this version needs, as when the database was away while the process started.
fn outdated(error: tokio_postgres::Error) -> anyhow::Error {
    let lacks = [SqlState::UNDEFINED_COLUMN, SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_FUNCTION];
    let is_outdated = error.code().is_some_and(|code| lacks.contains(code));
    let error = anyhow::Error::from(error);
    match is_outdated {
        true => error.context("schema andon is older than this version; run `andon migrate` as its owner"),
        false => error,
    }
}

/// Returns another daemon that lives, if the row has one. A daemon of a version that tells no keys holds none, as far as anybody knows.
fn other(row: &Row) -> Option<LivingDaemon> {
    let keys: Option<Vec<String>> = row.get(3);
    Some(LivingDaemon { id: row.get::<_, Option<DaemonId>>(2)?, keys: keys.unwrap_or_default() })
}

/// Removes the daemons whose leases have expired and terminates their remaining sessions, because a daemon that is only suspended may
/// still hold the wake-up lock, or be in the middle of a write.
async fn end_expired_daemons(client: &Client, ourselves: DaemonId) -> Result<(), tokio_postgres::Error> {
    let gone = client
        .query(
            "delete from andon.daemons where daemon <> $1 and not andon.lives(lease_until) returning daemon, name, lease_until",
            &[&ourselves],
        )
        .await?;
    for row in gone {
        let (daemon, name, lease_until): (DaemonId, &str, Timestamp) = (row.get(0), row.get(1), row.get(2));
        let ended = client
            .execute(
                "select pg_terminate_backend(pid) from pg_stat_activity
                where datname = current_database() and right(application_name, 9) = $1 and backend_start < $2",
                &[&session_mark(daemon), &lease_until],
            )
            .await?;
        tracing::warn!(name, %daemon, sessions = ended, "a daemon is gone; its lanes are free");
    }
    Ok(())
}

/// Returns the suffix of the application name of all sessions of a daemon, by which they can be found.
pub(super) fn session_mark(daemon: DaemonId) -> String {
    format!(" {:.8}", daemon.simple().to_string())
}
