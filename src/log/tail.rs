//! The tail: the one reader of the log. In: `andon.events`, which many transactions write at once. Out: every committed event exactly
//! once, in an order that keeps each entity's, and the ids that are still undecided. It never waits for a transaction that is open,
//! and it writes nothing but its own row, `andon.tail`.
//!
//! The algorithm is that of holes with a death certificate; `holes` holds the rule and the reason. All reads of one poll share one
//! snapshot: late rows first, then the new ones. A poll is one round trip, except for the rare one that reads wide holes: a request that
//! has to precede the read, and the xid for the certificates of the holes that the last poll found, are sent ahead of it without waiting
//! for their answers.

pub mod checkpoint;
pub mod holes;
mod one_by_one;
mod query;
mod read;
pub(crate) mod row;
pub mod snapshot;

use std::sync::Arc;

use futures_util::future::join;
use tokio_postgres::Client;
use tokio_postgres::Error;
use uuid::Uuid;

use crate::database::portion::RowLimit;
use crate::event::Event;
use crate::log::set_aside;
use crate::log::set_aside::Found;
use crate::log::set_aside::SetAside;
use crate::log::tail::checkpoint::Mark;
use crate::log::tail::checkpoint::Reached;
use crate::log::tail::checkpoint::WentBack;
use crate::log::tail::holes::Holes;
use crate::log::tail::query::PollQueries;
use crate::log::tail::read::Read;
use crate::log::tail::read::read;
use crate::ranges::Ranges;

/// The events and holes that one poll found.
#[derive(Debug)]
pub struct Batch {
    /// Late arrivals first (their ids are below the position before this poll), then new ones.
    pub events: Vec<Arc<Event>>,
    /// Every id at or below it is decided, except `undecided`.
    pub position: i64,
    /// The open holes.
    pub undecided: Arc<Ranges>,
}

/// A reader of the log on a connection of its own.
#[derive(Debug)]
pub struct Tail {
    client: Arc<Client>,
    queries: PollQueries,
    holes: Holes,
    undecided: Arc<Ranges>,
    mark: Mark,
    /// How old the events of the last poll were, in seconds.
    ages: Vec<f64>,
    /// The last poll left something for the next.
    is_cut: bool,
    limit: RowLimit,
}

impl Tail {
    /// Goes on where `andon.tail` says, or, after a lost connection, where the tail had `reached`. If the log is not the one that was read,
    /// it gives the client back instead: set back what is to be set back, forget what was read, then open again.
    pub async fn open(client: Client, reached: Option<Reached>) -> Result<Result<Tail, (Client, WentBack)>, Error> {
        let stored = match checkpoint::load(&client, reached.as_ref()).await? {
            Ok(stored) => stored,
            Err(went_back) => return Ok(Err((client, went_back))),
        };
        // It always reads by key, whatever the planner knew of the log when the statements were prepared, and without planning again. What it
        // writes (rows that are set aside, its claim to lead) is made again after a crash, and to wait for the disk would hold up every lane.
        let settings = "set synchronous_commit = off; set plan_cache_mode = force_generic_plan;
            set enable_seqscan = off; set enable_bitmapscan = off";
        client.batch_execute(settings).await?;
        let queries = PollQueries::prepare(&client).await?;
        let mark = stored.mark;
        let (position, undecided) =
            reached.map_or((stored.position, stored.undecided), |at| (at.position, at.undecided));
        let holes = Holes::resume(position, &undecided);
        let (client, limit) = (Arc::new(client), RowLimit::new(read::ROWS, read::ROWS));
        Ok(Ok(Tail { client, queries, holes, undecided, mark, ages: Vec::new(), is_cut: false, limit }))
    }

    /// Returns how far it is, and how the log that it reads can be recognised.
    pub(crate) fn reached(&self) -> Reached {
        Reached { position: self.holes.position(), undecided: Arc::clone(&self.undecided), mark: self.mark.clone() }
    }

    /// Returns the largest id read.
    pub(crate) fn position(&self) -> i64 {
        self.holes.position()
    }

    /// Returns the open holes.
    pub(crate) fn undecided(&self) -> &Arc<Ranges> {
        &self.undecided
    }

    /// Returns the connection that it reads on.
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Reads what became visible since the last poll. After an error nothing has moved, and the next poll reads the same again.
    pub async fn poll(&mut self) -> Result<Batch, Error> {
        self.poll_after(async { Ok(()) }).await.map(|((), batch)| batch)
    }

    /// Polls like [`Tail::poll`], after another request on the same connection, and returns the answer to that too. The request is sent
    /// ahead of the read, which does not wait for the answer.
    pub(crate) async fn poll_after<T>(
        &mut self,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<(T, Batch), Error> {
        let mut holes = self.holes.clone();
        self.queries.switch_partition(&self.client, holes.position()).await?;
        // Both are sent at once, in this order.
        let (answer, read) = join(request, read(&self.client, &self.queries, &mut holes, &mut self.limit)).await;
        let answer = answer?;
        self.ages.clear();
        let mut read_rows = ReadRows::default();
        let (given_out, is_cut) = match read {
            Ok(Read { late, fresh, given_out, is_cut }) => {
                self.ages.extend(late.iter().chain(&fresh).map(query::age));
                read_rows.late(late.iter().map(set_aside::decode));
                read_rows.fresh(fresh.iter().map(set_aside::decode), &mut holes);
                (given_out, is_cut)
            }
            Err(error) if set_aside::is_of_a_row(&error) => {
                holes = self.holes.clone();
                let read = one_by_one::read(&self.client, &self.queries, &mut holes).await?;
                read_rows.late(read.late.into_iter());
                read_rows.fresh(read.fresh.into_iter(), &mut holes);
                (read.given_out, read.is_cut)
            }
            Err(error) => return Err(error),
        };
        set_aside::record(&self.client, &read_rows.set_aside).await?;
        if let Some(last) = read_rows.last {
            self.mark.event = last;
        }
        if holes.version() != self.holes.version() {
            self.undecided = Arc::new(holes.undecided());
        }
        self.holes = holes;
        self.queries.set_given_out(given_out);
        self.is_cut = is_cut;
        let events = read_rows.events;
        Ok((answer, Batch { events, position: self.holes.position(), undecided: Arc::clone(&self.undecided) }))
    }

    /// Returns how old the events of the last poll were when they were read, in seconds, by the server's clock.
    pub(crate) fn ages(&self) -> &[f64] {
        &self.ages
    }

    /// Returns whether the last poll left something for the next.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }
}

/// The rows of one poll.
#[derive(Default)]
struct ReadRows {
    events: Vec<Arc<Event>>,
    set_aside: Vec<SetAside>,
    /// The last new one, by which the log can be recognised if it could be read.
    last: Option<Option<Uuid>>,
}

impl ReadRows {
    fn late(&mut self, rows: impl ExactSizeIterator<Item = Found>) {
        self.events.reserve(rows.len());
        for row in rows {
            self.add(row);
        }
    }

    fn fresh(&mut self, rows: impl ExactSizeIterator<Item = Found>, holes: &mut Holes) {
        self.events.reserve(rows.len());
        for row in rows {
            holes.read(set_aside::id(&row));
            self.last = Some(row.as_ref().ok().map(|event| event.event_id));
            self.add(row);
        }
    }

    fn add(&mut self, row: Found) {
        match row {
            Ok(event) => self.events.push(event),
            Err(set_aside) => self.set_aside.push(set_aside),
        }
    }
}
