//! How much a lane may take. In: what it has in memory, and whether its destination takes anything. Out: room for more events, or a wait
//! until there is some. It never touches an event.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio_util::task::AbortOnDropHandle;

use crate::feed::account::Account;
use crate::feed::memory::Grant;
use crate::feed::memory::LaneMemory;
use crate::feed::memory::OWN;

/// The room of one lane.
#[derive(Debug)]
pub(super) struct Room {
    account: Account,
    /// The weight of the next event, if there was no room for it.
    lacking: Option<usize>,
    /// The lane waits for its turn. It is a task, so that the lane keeps its place while it does other things.
    turn: Option<AbortOnDropHandle<Grant>>,
    /// The weight of the events that wait to be written as parked.
    parked: usize,
    /// The weight of the next page of the log, at most.
    page: usize,
    /// The destination is in trouble: before this time the lane takes only what it may have without asking.
    modest_until: Option<Instant>,
    /// When the lane last handed an event on.
    got_on: Instant,
}

/// The weight of a page of the log, at most, unless a single event is larger.
const PAGE: usize = 1 << 20;
/// A lane that could hand on nothing for this long is stuck.
const STUCK: Duration = Duration::from_secs(1);

impl Room {
    pub(super) fn new(memory: Arc<LaneMemory>) -> Room {
        Room {
            account: Account::new(memory),
            lacking: None,
            turn: None,
            parked: 0,
            page: PAGE,
            modest_until: None,
            got_on: Instant::now(),
        }
    }

    /// Reserves as much as the lane may take now, and returns how much that is.
    pub(super) fn reserve(&mut self) -> usize {
        self.reserve_up_to(usize::MAX)
    }

    /// Reserves room for a page, and returns how much that is.
    pub(super) fn reserve_page(&mut self) -> usize {
        self.reserve_up_to(self.page)
    }

    fn reserve_up_to(&mut self, most: usize) -> usize {
        let most = if self.modest_until.is_some() { most.min(self.account.left_of_own()) } else { most };
        // What the lane has waited for is reserved already.
        self.account.reserve(most.max(self.account.reserved()))
    }

    /// Records that the lane has this much more, and reserves nothing any more.
    pub(super) fn take(&mut self, weight: usize) {
        self.account.take(weight);
    }

    /// Records that a page of the log has come.
    pub(super) fn take_page(&mut self, weight: usize) {
        self.take(weight);
        (self.page, self.got_on) = ((self.page * 4).min(PAGE), Instant::now());
    }

    /// Records that there was no room for the next event, which has this weight.
    pub(super) fn lacks(&mut self, weight: usize) {
        self.lacking = Some(weight);
        self.take(0);
    }

    /// Waits until there is room for the next event, if it is known that there was none. Dropping the future loses nothing.
    pub(super) async fn wait(&mut self) {
        let Some(weight) = self.lacking else { return };
        match self.modest_until {
            Some(until) => sleep_until(until).await,
            None if self.account.reserve(weight) == weight => {
                self.lacking = None;
                return;
            }
            None => self.take(0),
        }
        if !self.account.is_empty() {
            // The lane asks again when it is done with something that it has.
            std::future::pending::<()>().await;
        }
        let memory = Arc::clone(self.account.memory());
        let turn = self.turn.get_or_insert_with(|| AbortOnDropHandle::new(tokio::spawn(memory.turn(weight))));
        let grant = turn.await.expect("waiting for memory neither panics nor is aborted");
        self.account.reserve_grant(grant);
        (self.turn, self.lacking) = (None, None);
    }

    /// Records that the lane no longer has this much.
    pub(super) fn give_back(&mut self, weight: usize) {
        self.account.give_back(weight);
    }

    /// Gives up what is reserved, and what the lane waits for.
    pub(super) fn forget(&mut self) {
        (self.turn, self.lacking) = (None, None);
        self.take(0);
    }

    /// Records that events of this weight wait to be written as parked. The lane has them until then.
    pub(super) fn parked(&mut self, weight: usize) {
        self.parked += weight;
    }

    /// Returns the weight of the events that wait to be written as parked.
    pub(super) fn weight_of_parked(&self) -> usize {
        self.parked
    }

    /// Records that events of this weight, which were parked, are written.
    pub(super) fn parked_are_written(&mut self, weight: usize) {
        self.parked -= weight;
        self.account.give_back(weight);
    }

    /// Records that the lane has handed events on.
    pub(super) fn gets_on(&mut self) {
        self.got_on = Instant::now();
    }

    /// Returns whether the lane has had much for long and could not hand it on. If so, it is to read less at a time.
    pub(super) fn is_stuck(&mut self) -> bool {
        let has_much = self.account.is_large() || self.account.reserved() > 0;
        let is_stuck = has_much && self.got_on.elapsed() > STUCK;
        if is_stuck {
            self.page = OWN;
        }
        is_stuck
    }

    /// Returns whether the lane has, or is about to have, more than it may have without asking.
    pub(super) fn is_large(&self) -> bool {
        self.account.is_large() || self.account.reserved() > OWN || self.turn.is_some()
    }

    /// Records that the destination is in trouble, and takes nothing before this time.
    pub(super) fn be_modest(&mut self, until: Instant) {
        self.modest_until = Some(until);
    }

    /// Records that the destination takes what it gets.
    pub(super) fn be_normal(&mut self) {
        self.modest_until = None;
    }
}
