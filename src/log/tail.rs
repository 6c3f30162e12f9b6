//! The tail: the one reader of the log. In: `andon.events`, which many transactions write at once. Out: every committed event exactly
//! once, in an order that keeps each entity's, and the ids that are still undecided. It never waits for a transaction that is open,
//! and it writes nothing but its own row, `andon.tail`.
//!
//! The algorithm is that of holes with a death certificate; `holes` holds the rule and the reason. All reads of one poll share one
//! snapshot: late rows first, then the new ones. A poll is one round trip, but for the rare one that looks into a wide hole: what is
//! asked of the bell, and the xid for the certificates of the holes that the last poll found, go ahead of the read without waiting.

pub mod holes;
mod query;
pub mod snapshot;

use std::sync::Arc;

use futures_util::future::join;
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::Row;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

use crate::event::Event;
use crate::log::row;
use crate::log::tail::holes::Holes;
use crate::log::tail::query::Window;
use crate::log::tail::snapshot::Snapshot;
use crate::log::wakeup::lock::Ask;
use crate::log::wakeup::lock::Bell;
use crate::log::wakeup::writers::Crowd;
use crate::ranges::Ranges;

/// What one poll found.
#[derive(Debug)]
pub struct Batch {
    /// Late arrivals first (their ids are below the position before this poll), then new ones.
    pub events: Vec<Arc<Event>>,
    /// Every id at or below it is decided, except `undecided`.
    pub position: i64,
    /// The open holes.
    pub undecided: Arc<Ranges>,
}

/// The log went back in time: the server was restored, or a standby that lagged was promoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WentBack {
    /// How the server differs from the one that was read before.
    pub reason: String,
    /// Up to where the log can still be trusted to be what was read. None: another daemon has set everyone back already, and only this
    /// one has to begin anew.
    pub to: Option<i64>,
}

/// Which server was read, and which line of its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    system: i64,
    timeline: i32,
}

/// How far a tail was when it lost its connection.
#[derive(Debug, Clone)]
pub struct Reached {
    /// The largest id read.
    pub position: i64,
    /// The open holes.
    pub undecided: Arc<Ranges>,
    /// Where it was read.
    pub server: Server,
}

/// A reader of the log on a connection of its own.
#[derive(Debug)]
pub struct Tail {
    client: Client,
    bell: Bell,
    crowd: Crowd,
    window: Window,
    late_rows: Statement,
    certificate: Statement,
    is_cut: bool,
    holes: Holes,
    undecided: Arc<Ranges>,
    stored: (i64, Arc<Ranges>),
    server: Server,
}

/// What one poll read: by ids that were passed over before, and beyond them.
struct Read {
    late: Vec<Row>,
    fresh: Vec<Row>,
    given_out: i64,
    /// There may be more.
    is_cut: bool,
}

/// Late rows and new rows per poll: enough that a round trip does not count, few enough that a batch is small beside the ring.
const LIMIT: i64 = 1000;
/// Holes per query: each is one probe of the index.
const PROBES: usize = 256;

/// A promoted standby accepted its first write after the last answer of the old primary; clocks of two servers differ by less.
const CLOCK_MARGIN: &str = "5 minutes";

impl Tail {
    /// Takes up the log where `andon.tail` says, or, after a lost connection, where it was `reached`. `Err` inside `Ok` when the log went
    /// back: call [`Tail::rewind`], then open again.
    pub async fn open(
        client: Client,
        reached: Option<Reached>,
    ) -> Result<Result<Tail, (Client, WentBack)>, tokio_postgres::Error> {
        let seen = client
            .query_one(
                "select position, holes::text, tail.system_identifier, timeline, control.system_identifier, checkpoint.timeline_id,
                    coalesce(pg_sequence_last_value(pg_get_serial_sequence('andon.events', 'id')::regclass), 0)
                from andon.tail tail, pg_control_system() control, pg_control_checkpoint() checkpoint",
                &[],
            )
            .await?;
        if let Some(went_back) = went_back(&client, &seen, reached.as_ref()).await? {
            return Ok(Err((client, went_back)));
        }
        let server = Server { system: seen.get(4), timeline: seen.get(5) };
        client
            .execute(
                "update andon.tail tail set system_identifier = control.system_identifier, timeline = checkpoint.timeline_id
                from pg_control_system() control, pg_control_checkpoint() checkpoint
                where (tail.system_identifier, tail.timeline)
                    is distinct from (control.system_identifier, checkpoint.timeline_id)",
                &[],
            )
            .await?;
        // What it writes is its own place alone; to lose a second of that in a crash costs nothing, to wait for the disk would hold up all.
        // It reads by key, whatever was known of the log when it prepared its statements, and does not plan again what it reads by.
        let settings = "set synchronous_commit = off; set plan_cache_mode = force_generic_plan;
            set enable_seqscan = off; set enable_bitmapscan = off";
        client.batch_execute(settings).await?;
        let window = Window::open(&client).await?;
        let late_rows = client
            .prepare(&format!(
                // Lateral, so that each hole is one probe of the index, however long the log is.
                "select event.* from unnest($1::int8[], $2::int8[]) hole (low, high) cross join lateral (
                    select {} from andon.events where id between low and high order by id limit $3
                ) event order by id limit $3",
                query::columns()
            ))
            .await?;
        let certificate = client.prepare("select pg_current_xact_id()::text").await?;
        let bell = Bell::prepare(&client).await?;
        let crowd = Crowd::new(Instant::now());
        let stored = (seen.get(0), Arc::new(Ranges::parse(seen.get(1)).expect("the column is an int8multirange")));
        let (position, undecided) = reached.map_or_else(|| stored.clone(), |at| (at.position, at.undecided));
        let holes = Holes::resume(position, &undecided);
        Ok(Ok(Tail {
            client,
            bell,
            crowd,
            window,
            late_rows,
            certificate,
            is_cut: false,
            holes,
            undecided,
            stored,
            server,
        }))
    }

    /// The server that it reads.
    pub fn server(&self) -> Server {
        self.server
    }

    /// The connection, for the bell's lock: it must be held by the session that reads.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Reads what became visible since the last poll. After an error nothing has moved: what was read is read again.
    pub async fn poll(&mut self) -> Result<Batch, tokio_postgres::Error> {
        self.poll_behind(Ask::Nothing).await.map(|(_, batch)| batch)
    }

    /// The same, with what is asked of the bell's lock in front of it, and whether we hold that then.
    pub(crate) async fn poll_behind(&mut self, ask: Ask) -> Result<(bool, Batch), tokio_postgres::Error> {
        let mut holes = self.holes.clone();
        self.window.follow(&self.client, holes.position()).await?;
        // Both are on their way at once, in this order.
        let (is_asleep, read) = join(self.bell.ask(&self.client, ask), self.read(&mut holes)).await;
        let (is_asleep, Read { late, fresh, given_out, is_cut }) = (is_asleep?, read?);
        let mut events = Vec::with_capacity(late.len() + fresh.len());
        for row in &late {
            events.push(row::event(row)?);
        }
        for row in &fresh {
            let event = row::event(row)?;
            holes.read(event.id);
            events.push(event);
        }
        self.crowd.saw(Instant::now(), late.iter().chain(&fresh).map(query::age));
        if holes.any() || !self.undecided.is_empty() {
            self.undecided = Arc::new(holes.undecided());
        }
        self.holes = holes;
        self.window.saw(given_out);
        self.is_cut = is_cut;
        Ok((is_asleep, Batch { events, position: self.holes.position(), undecided: Arc::clone(&self.undecided) }))
    }

    /// Whether the last poll left something for the next.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// How many write at once.
    pub(crate) fn crowd(&self) -> &Crowd {
        &self.crowd
    }

    /// Writes down how far the tail is, if that changed.
    pub async fn checkpoint(&mut self) -> Result<(), tokio_postgres::Error> {
        let now = (self.holes.position(), Arc::clone(&self.undecided));
        if now != self.stored {
            store(&self.client, now.0, &now.1).await?;
            self.stored = now;
        }
        Ok(())
    }

    /// Sets the tail back to where the log can be trusted, so that everything after it is read again. The lanes do the same.
    pub async fn rewind(client: &Client, to: i64) -> Result<(), tokio_postgres::Error> {
        client
            .execute(
                "update andon.tail set position = least(position, $1), holes = holes * int8multirange(int8range(null, $1, '[]')),
                    system_identifier = null, timeline = null, seen_at = now()",
                &[&to],
            )
            .await?;
        Ok(())
    }

    async fn read(&self, holes: &mut Holes) -> Result<Read, tokio_postgres::Error> {
        if !holes.any() {
            let query = self.window.over(None);
            let rows = self.client.query(&query.fresh, &[&holes.position(), &LIMIT]).await?;
            let given_out = query::given_out(&rows);
            let fresh: Vec<Row> = query::events(rows).map(|(_, row)| row).collect();
            let is_cut = fresh.len() as i64 == LIMIT || query.misses(given_out);
            return Ok(Read { late: Vec::new(), fresh, given_out, is_cut });
        }
        let (position, near) = (holes.position(), holes.near());
        let (lows, highs): (Vec<i64>, Vec<i64>) = near.iter().unzip();
        let certifying = async {
            // Drawn after the read that opened the hole, and before the snapshot that may close it.
            if holes.needs_certificate() {
                Ok(Some(self.client.query_one(&self.certificate, &[]).await?))
            } else {
                Ok(None)
            }
        };
        let query = self.window.over(lows.first().copied());
        let parameters: [&(dyn ToSql + Sync); 4] = [&position, &LIMIT, &lows, &highs];
        let (drawn, rows) = join(certifying, self.client.query(&query.fresh_and_late, &parameters)).await;
        if let Some(drawn) = drawn? {
            holes.certify(xid(drawn.get(0)));
        }
        let rows = rows?;
        let now = snapshot(rows[0].get(query::SNAPSHOT));
        let (doubtful, _) = holes.doubts(&now);
        if !doubtful.without(&near).is_empty() {
            return self.read_in_portions(holes).await;
        }
        let given_out = query::given_out(&rows);
        let (mut late, mut fresh): (Vec<_>, Vec<_>) = query::events(rows).partition(|(id, _)| *id <= position);
        late.sort_unstable_by_key(|(id, _)| *id);
        fresh.sort_unstable_by_key(|(id, _)| *id);
        late.iter().for_each(|(id, _)| holes.arrived(*id));
        let is_cut = fresh.len() as i64 == LIMIT || query.misses(given_out);
        holes.looked(now, is_cut);
        let rows = |events: Vec<(i64, Row)>| events.into_iter().map(|(_, row)| row).collect();
        Ok(Read { late: rows(late), fresh: rows(fresh), given_out, is_cut })
    }

    /// Reads what is doubtful before anything new, however much it is.
    async fn read_in_portions(&self, holes: &mut Holes) -> Result<Read, tokio_postgres::Error> {
        // After an error in between the session is given up.
        self.client.batch_execute("begin isolation level repeatable read read only").await?;
        let now = self.client.query_one("select pg_current_snapshot()::text", &[]).await?;
        let now = snapshot(now.get(0));
        let (doubtful, beyond) = holes.doubts(&now);
        let mut late = Vec::new();
        let ranges: Vec<(i64, i64)> = doubtful.iter().collect();
        for probes in ranges.chunks(PROBES) {
            let (lows, highs): (Vec<i64>, Vec<i64>) = probes.iter().copied().unzip();
            late.extend(self.client.query(&self.late_rows, &[&lows, &highs, &(LIMIT - late.len() as i64)]).await?);
            if late.len() as i64 == LIMIT {
                break;
            }
        }
        let late_are_cut = late.len() as i64 == LIMIT;
        let (mut fresh, mut given_out) = (Vec::new(), holes.position());
        if beyond && !late_are_cut {
            let rows = self.client.query(&self.window.whole().fresh, &[&holes.position(), &LIMIT]).await?;
            given_out = query::given_out(&rows);
            fresh = query::events(rows).map(|(_, row)| row).collect();
        }
        self.client.batch_execute("commit").await?;
        for row in &late {
            holes.arrived(row.get(0));
        }
        let is_cut = late_are_cut || fresh.len() as i64 == LIMIT;
        // Otherwise the next poll doubts what this one doubted, and goes on with it before it reads anything new.
        if !late_are_cut {
            holes.looked(now, is_cut);
        }
        Ok(Read { late, fresh, given_out, is_cut })
    }
}

/// Writes down how far the tail is. One that is further keeps its place.
pub async fn store(client: &Client, position: i64, undecided: &Ranges) -> Result<(), tokio_postgres::Error> {
    let statement =
        "update andon.tail set position = $1, holes = $2::text::int8multirange, seen_at = now() where position <= $1";
    client.execute(statement, &[&position, &undecided.to_string()]).await?;
    Ok(())
}

/// Compares the server with the one that `andon.tail` remembers, and with the one that this process has read.
async fn went_back(
    client: &Client,
    seen: &Row,
    reached: Option<&Reached>,
) -> Result<Option<WentBack>, tokio_postgres::Error> {
    let (position, last_id): (i64, i64) = (seen.get(0), seen.get(6));
    let known: (Option<i64>, Option<i32>) = (seen.get(2), seen.get(3));
    let found: (i64, i32) = (seen.get(4), seen.get(5));
    if let (Some(system), Some(timeline)) = known
        && (system, timeline) != found
    {
        // What was written on the new line has a later time than the last answer of the old one.
        let to: i64 = client
            .query_one(
                &format!(
                    "select least($1, $2, coalesce((select min(id) - 1 from andon.events, andon.tail
                        where captured_at > seen_at - interval '{CLOCK_MARGIN}'), $1))"
                ),
                &[&position, &last_id],
            )
            .await?
            .get(0);
        let reason = format!(
            "the server is not the one that was read before (system {system}, timeline {timeline}; now {}, {})",
            found.0, found.1
        );
        return Ok(Some(WentBack { reason, to: Some(to) }));
    }
    if position > last_id {
        let reason = format!("the log ends at {last_id}, before the position {position} that was read");
        return Ok(Some(WentBack { reason, to: Some(last_id) }));
    }
    let is_new_to_us = |at: &Reached| at.position > last_id || (at.server.system, at.server.timeline) != found;
    if reached.is_some_and(is_new_to_us) {
        let reason = "another daemon found it so, and has set the lanes back".to_owned();
        return Ok(Some(WentBack { reason, to: None }));
    }
    Ok(None)
}

fn snapshot(text: &str) -> Snapshot {
    Snapshot::parse(text).expect("PostgreSQL writes a snapshot as xmin:xmax:xips")
}

/// xid8 has no Rust type in the driver; its text is a decimal.
fn xid(text: &str) -> u64 {
    text.parse().expect("PostgreSQL writes an xid8 as a decimal")
}
