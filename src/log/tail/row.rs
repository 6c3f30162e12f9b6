//! Keeps the tail's row in `andon.tail` up to date. In: how far the tail is, each second. Out: writes beside the polls, on another connection,
//! so that no poll waits for one: a row with a hundred thousand holes takes long to write, and somebody may have locked it.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::log::tail::checkpoint;
use crate::ranges::Ranges;

/// The tail's row.
#[derive(Debug)]
pub(crate) struct TailRow {
    pool: Pool,
    /// The position and the open holes that the row has, as far as that is known.
    stored: Option<(i64, Arc<Ranges>)>,
    writing: Option<AbortOnDropHandle<anyhow::Result<()>>>,
    next_write: Instant,
    has_failed: bool,
}

/// The pause after a write, for each of its holes. What the tail has read since is only read again after a start.
const PAUSE_PER_HOLE: Duration = Duration::from_micros(250);

impl TailRow {
    /// Knows nothing of the row yet.
    pub(crate) fn new(pool: Pool) -> TailRow {
        TailRow { pool, stored: None, writing: None, next_write: Instant::now(), has_failed: false }
    }

    /// Begins to write how far the tail is, if that has changed, the last write is over and its pause too.
    pub(crate) async fn keep(&mut self, position: i64, undecided: &Arc<Ranges>) {
        self.end_write().await;
        let is_stored = |(stored, holes): &(i64, Arc<Ranges>)| *stored == position && holes == undecided;
        if self.writing.is_some() || Instant::now() < self.next_write || self.stored.as_ref().is_some_and(is_stored) {
            return;
        }
        self.stored = Some((position, Arc::clone(undecided)));
        let (pool, undecided) = (self.pool.clone(), Arc::clone(undecided));
        let write = async move {
            let mut client = pool.get().await?;
            Ok(checkpoint::store(&mut client, position, &undecided).await?)
        };
        self.writing = Some(AbortOnDropHandle::new(tokio::spawn(write)));
    }

    async fn end_write(&mut self) {
        let Some(write) = self.writing.take_if(|write| write.is_finished()) else { return };
        let holes = self.stored.as_ref().map_or(0, |(_, holes)| holes.len());
        self.next_write = Instant::now() + PAUSE_PER_HOLE * u32::try_from(holes).unwrap_or(u32::MAX);
        match write.await.expect("writing the row neither panics nor is aborted") {
            Ok(()) => self.has_failed = false,
            Err(error) => {
                if !self.has_failed {
                    let error = format!("{error:#}");
                    tracing::warn!(
                        error,
                        "cannot write down how far the log is read; after a start more of it is read again"
                    );
                }
                (self.stored, self.has_failed) = (None, true);
            }
        }
    }
}
