//! What waits for one lane in memory. In: the sequence numbers of its events, as the tail reads them. Out: runs of them, or the ids that the
//! lane has to read from the log because they were too many. It never holds an event.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::feed::horizon::Horizon;
use crate::log::recent::RecentEvent;
use crate::ranges::Ranges;

/// What waits for one lane.
#[derive(Debug)]
pub(super) struct Inbox {
    wake: Arc<Notify>,
    pub(super) runs: VecDeque<Run>,
    /// The lane fell behind and does not know it yet: up to this horizon, it has not read these ids.
    pub(super) behind: Option<Box<(Horizon, Ranges)>>,
}

/// Events of one batch with consecutive sequence numbers that are all for this lane. A lane that takes everything needs one run for a whole
/// batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// The sequence number of the first event.
    pub(super) first: u64,
    pub(super) count: u64,
    /// The lowest id that is pending with these events: `from..=last` is.
    pub(super) from: i64,
    /// The id of the last event.
    last: i64,
}

/// How many runs may wait for one lane in memory. Beyond that, the lane reads the log.
pub(super) const MOST_RUNS: usize = if cfg!(test) { 4 } else { 2048 };
/// How many may wait for one lane where more than [`CROWD`] wait for all of them.
const MOST_IN_A_CROWD: usize = if cfg!(test) { 2 } else { 64 };
const CROWD: usize = if cfg!(test) { 6 } else { 1 << 18 };

impl Inbox {
    pub(super) fn new(wake: Arc<Notify>) -> Inbox {
        Inbox { wake, runs: VecDeque::new(), behind: None }
    }

    /// Adds the event with this sequence number. `before` is the horizon before its batch, or the one that a lane which joins has seen;
    /// `of_all` is how many runs wait for all lanes.
    pub(super) fn push(&mut self, sequence: u64, recent: &RecentEvent, before: &Horizon, of_all: usize) {
        if self.behind.is_some() {
            return;
        }
        let (id, floor) = (recent.event.id, recent.floor);
        let last = self.runs.back().map(|run| run.last);
        let from = if id <= floor { id } else { last.map_or(floor, |last| floor.max(last)) + 1 };
        if let Some(run) = self.runs.back_mut()
            && run.first >= before.next
            && run.first + run.count == sequence
            && from == run.last + 1
            && id >= from
        {
            (run.count, run.last) = (run.count + 1, id);
            return;
        }
        let most = if of_all > CROWD { MOST_IN_A_CROWD } else { MOST_RUNS };
        if self.runs.len() >= most {
            while self.runs.back().is_some_and(|run| run.first >= before.next) {
                self.runs.pop_back();
            }
            self.behind = Some(Box::new(self.fall_behind(before)));
            self.wake.notify_one();
            return;
        }
        if self.runs.is_empty() {
            self.wake.notify_one();
        }
        self.runs.push_back(Run { first: sequence, count: 1, from, last: id });
    }

    /// Empties the inbox. Returns up to where the lane has to read the log, and the ids that it has not read there.
    pub(super) fn fall_behind(&mut self, horizon: &Horizon) -> (Horizon, Ranges) {
        if let Some(behind) = self.behind.take() {
            return *behind;
        }
        let unread = self.unread();
        self.runs.clear();
        (horizon.clone(), unread)
    }

    pub(super) fn unread(&self) -> Ranges {
        let mut unread = Ranges::default();
        for run in &self.runs {
            unread.insert(run.from, run.last);
        }
        unread
    }
}
