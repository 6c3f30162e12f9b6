//! The holes of the log: ids below the position that were not visible when the log was read there. In: snapshots, and the ids that they
//! showed. Out: which ids are still undecided, and which of them are worth a look. It never talks to the database; the tail does.
//!
//! Identity values are handed out before commit, so a larger id can be visible while the transaction that holds a smaller one still
//! runs. Such an id is a hole. Every transaction that holds an id below a visible one had its xid already (the log's first column
//! takes it), so an xid drawn *after* the read is above all of them: once a snapshot's xmin has reached it, a hole that this snapshot
//! does not show was rolled back.
//!
//! The same xid spares most looks. Every transaction that could fill a hole has an xid below it, and a row becomes visible only when its
//! transaction ends. So a hole that was empty in the last snapshot is empty in this one too, unless an xid below the hole's has ended
//! between them. The hole of an import of a million rows is looked at when the import commits, and not at each poll until then.

use std::sync::Arc;

use crate::log::tail::snapshot::Snapshot;
use crate::ranges::Ranges;

/// The first `NEAR` holes of at most `NARROW` ids are always looked at: that costs less than to find out whether it is worth it.
const NARROW: i64 = if cfg!(test) { 2 } else { 64 };
const NEAR: usize = if cfg!(test) { 3 } else { 64 };

/// The position of a reader of the log, and the ids below it that are undecided.
#[derive(Debug, Clone)]
pub struct Holes {
    position: i64,
    /// In the order of their ids. There may be a hundred thousand, so that a poll copies them only if it changes them.
    open: Arc<Vec<Hole>>,
    /// Grows when the undecided ids change.
    version: u64,
    /// All holes are as this snapshot showed them, or a later one. Before the first look nothing is known.
    seen: Option<Snapshot>,
    /// Whether that snapshot may have shown more rows above the position than were read.
    is_cut: bool,
}

#[derive(Debug, Clone, Copy)]
struct Hole {
    first: i64,
    last: i64,
    /// The death certificate: the hole is dead once xmin reaches this xid. A new hole has none until a fresh xid has been drawn.
    alive_until: Option<u64>,
}

impl Holes {
    /// Goes on from a stored position. The stored holes get new death certificates.
    pub fn resume(position: i64, undecided: &Ranges) -> Holes {
        let open = Arc::new(undecided.iter().map(|(first, last)| Hole { first, last, alive_until: None }).collect());
        Holes { position, open, version: 0, seen: None, is_cut: true }
    }

    /// Returns the largest id read.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Returns whether any id is undecided.
    pub fn any(&self) -> bool {
        !self.open.is_empty()
    }

    /// Returns the undecided ids.
    pub fn undecided(&self) -> Ranges {
        let mut ranges = Ranges::default();
        for hole in self.open.iter() {
            ranges.insert(hole.first, hole.last);
        }
        ranges
    }

    /// Returns a number that grows when the undecided ids change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Records that a row whose id lay in a hole is visible now.
    pub fn arrived(&mut self, id: i64) {
        let index = self.open.partition_point(|hole| hole.last < id);
        let Some(&hole) = self.open.get(index).filter(|hole| hole.first <= id) else { return };
        let left = (hole.first < id).then_some(Hole { last: id - 1, ..hole });
        let right = (id < hole.last).then_some(Hole { first: id + 1, ..hole });
        Arc::make_mut(&mut self.open).splice(index..=index, left.into_iter().chain(right));
        self.version += 1;
    }

    /// Returns the holes that every poll looks at: the first of the narrow ones.
    pub fn near(&self) -> Ranges {
        let mut near = Ranges::default();
        for hole in self.open.iter().filter(|hole| hole.last - hole.first < NARROW).take(NEAR) {
            near.insert(hole.first, hole.last);
        }
        near
    }

    /// Returns what this snapshot may show that earlier ones did not: the holes that are worth a look, and whether there may be anything
    /// above the position.
    pub fn doubts(&self, now: &Snapshot) -> (Ranges, bool) {
        let Some(seen) = &self.seen else { return (self.undecided(), true) };
        let Some(ended) = now.first_ended_since(seen) else { return (Ranges::default(), self.is_cut) };
        let mut doubtful = Ranges::default();
        for hole in self.open.iter() {
            if hole.alive_until.is_none_or(|xid| ended < xid) {
                doubtful.insert(hole.first, hole.last);
            }
        }
        (doubtful, true)
    }

    /// Call this when everything doubtful in this snapshot has been read and the late rows have `arrived`. It drops the holes that the
    /// snapshot proves to be rolled back. `is_cut` says that there may be more above the position than was read.
    pub fn looked(&mut self, now: Snapshot, is_cut: bool) {
        let stays = |hole: &Hole| hole.alive_until.is_none_or(|xid| now.xmin() < xid);
        if !self.open.iter().all(stays) {
            Arc::make_mut(&mut self.open).retain(stays);
            self.version += 1;
        }
        self.seen = Some(now);
        self.is_cut = is_cut;
    }

    /// Records that the reader has read this id, the next one in order. Every id that was skipped is a new hole.
    pub fn read(&mut self, id: i64) {
        if id > self.position + 1 {
            Arc::make_mut(&mut self.open).push(Hole { first: self.position + 1, last: id - 1, alive_until: None });
            self.version += 1;
        }
        self.position = self.position.max(id);
    }

    /// Returns whether any hole waits for its certificate.
    pub fn needs_certificate(&self) -> bool {
        self.open.iter().any(|hole| hole.alive_until.is_none())
    }

    /// Certifies the new holes with an xid that was drawn after the read that opened them, however much later.
    pub fn certify(&mut self, fresh: u64) {
        for hole in Arc::make_mut(&mut self.open) {
            hole.alive_until.get_or_insert(fresh);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Insert(u8),
        /// An insert in a subtransaction of its own, which may be rolled back.
        InsertBelow(u8, bool),
        Commit(u8),
        RollBack(u8),
        Touch,
        Poll {
            limit: usize,
            commits_before_certificate: Option<u8>,
        },
        Checkpoint,
        Crash,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (0..6u8).prop_map(Step::Insert),
            2 => (0..6u8, any::<bool>()).prop_map(|(who, stays)| Step::InsertBelow(who, stays)),
            3 => (0..6u8).prop_map(Step::Commit),
            2 => (0..6u8).prop_map(Step::RollBack),
            1 => Just(Step::Touch),
            4 => (1..6usize, prop::option::of(0..6u8)).prop_map(|(limit, who)| Step::Poll { limit, commits_before_certificate: who }),
            1 => Just(Step::Checkpoint),
            1 => Just(Step::Crash),
        ];
        prop::collection::vec(step, 0..150)
    }

    /// PostgreSQL as far as the tail can see it: it hands out xids before ids and ids before commits, and it takes snapshots.
    #[derive(Default)]
    struct Server {
        next_xid: u64,
        next_id: i64,
        /// One past the last xid that has ended, which is where a snapshot's knowledge ends.
        xmax: u64,
        running: BTreeMap<u8, Transaction>,
        committed: BTreeSet<i64>,
    }

    #[derive(Default)]
    struct Transaction {
        xid: u64,
        /// The last xid of it and its subtransactions.
        last: u64,
        ids: Vec<i64>,
    }

    impl Server {
        fn insert(&mut self, who: u8) {
            if !self.running.contains_key(&who) {
                let xid = self.draw_xid();
                self.running.insert(who, Transaction { xid, last: xid, ids: Vec::new() });
            }
            self.next_id += 1;
            self.running.get_mut(&who).unwrap().ids.push(self.next_id);
        }
        fn insert_below(&mut self, who: u8, stays: bool) {
            self.insert(who);
            let xid = self.draw_xid();
            let transaction = self.running.get_mut(&who).unwrap();
            transaction.last = xid;
            if !stays {
                transaction.ids.pop();
                self.xmax = self.xmax.max(xid + 1);
            }
        }
        fn end(&mut self, who: u8, commits: bool) {
            if let Some(transaction) = self.running.remove(&who) {
                self.xmax = self.xmax.max(transaction.last + 1);
                if commits {
                    self.committed.extend(transaction.ids);
                }
            }
        }
        fn snapshot(&self) -> Snapshot {
            let known: Vec<u64> = self.running.values().map(|it| it.xid).filter(|xid| *xid < self.xmax).collect();
            let xmin = known.iter().min().copied().unwrap_or(self.xmax);
            let known: Vec<String> = known.iter().map(ToString::to_string).collect();
            Snapshot::parse(&format!("{xmin}:{}:{}", self.xmax, known.join(","))).unwrap()
        }
        fn draw_xid(&mut self) -> u64 {
            self.next_xid += 1;
            self.next_xid - 1
        }
        /// Draws an xid in a transaction that ends at once.
        fn touch(&mut self) -> u64 {
            let xid = self.draw_xid();
            self.xmax = self.xmax.max(xid + 1);
            xid
        }
    }

    /// Polls as the tail does. While there are no holes, it needs no snapshot. Otherwise one snapshot shows the near holes and what is new,
    /// and where it says that other holes are worth a look, all of them are read in portions in another snapshot. A poll must show
    /// everything that is committed by then, up to where it read: a late row that came a poll later might come after one that depends on
    /// it.
    fn poll(server: &mut Server, holes: &mut Holes, limit: usize, ends_meanwhile: Option<u8>) -> Poll {
        let end_one = |server: &mut Server| ends_meanwhile.into_iter().for_each(|who| server.end(who, true));
        if !holes.any() {
            let fresh: Vec<i64> = server.committed.range(holes.position() + 1..).copied().take(limit).collect();
            fresh.iter().for_each(|id| holes.read(*id));
            let top = if fresh.len() == limit { holes.position() } else { i64::MAX };
            let shown = server.committed.range(..=top).copied().collect();
            end_one(server);
            return Poll { events: fresh, shown };
        }
        let near = holes.near();
        if holes.needs_certificate() {
            let drawn = server.touch();
            end_one(server);
            holes.certify(drawn);
        }
        let now = server.snapshot();
        let (doubtful, beyond) = holes.doubts(&now);
        let is_near = doubtful.clone().without(&near).is_empty();
        let (looks_at, most) = if is_near { (near, usize::MAX) } else { (doubtful, limit) };
        if !is_near {
            end_one(server);
        }
        let now = server.snapshot();
        let (looks_at, beyond) = if is_near { (looks_at, beyond) } else { holes.doubts(&now) };
        let late = server.committed.iter().copied().filter(|id| looks_at.contains(*id));
        let late: Vec<i64> = late.take(most).collect();
        let late_are_cut = late.len() == most;
        let rows = server.committed.range(holes.position() + 1..).copied();
        let fresh: Vec<i64> = rows.take(if (is_near || beyond) && !late_are_cut { limit } else { 0 }).collect();
        assert!(beyond || fresh.is_empty(), "nothing has ended, and yet there is more to see");
        late.iter().for_each(|id| holes.arrived(*id));
        if !late_are_cut {
            holes.looked(now, fresh.len() == limit);
        }
        fresh.iter().for_each(|id| holes.read(*id));
        let top = match late.last() {
            Some(last) if late_are_cut => *last,
            _ if fresh.len() == limit => holes.position(),
            _ => i64::MAX,
        };
        let shown = server.committed.range(..=top).copied().collect();
        Poll { events: late.into_iter().chain(fresh).collect(), shown }
    }

    struct Poll {
        events: Vec<i64>,
        /// All ids that must have been seen by now.
        shown: Vec<i64>,
    }

    #[test]
    fn a_hole_is_worth_a_look_when_one_has_ended_that_could_fill_it() {
        let snapshot = |text| Snapshot::parse(text).unwrap();
        let mut holes = Holes::resume(0, &Ranges::default());
        holes.read(5);
        holes.certify(20);
        let hole = Ranges::span(1, 4);
        assert_eq!(holes.doubts(&snapshot("10:15:10")), (hole.clone(), true), "nothing is known yet");

        holes.looked(snapshot("10:15:10"), false);

        assert_eq!(holes.doubts(&snapshot("10:15:10")), (Ranges::default(), false), "nothing has ended");
        assert_eq!(holes.doubts(&snapshot("10:16:10")), (hole.clone(), true), "15 was drawn before the certificate");
        assert_eq!(holes.doubts(&snapshot("15:15:")), (hole, true), "10 has ended");
        holes.looked(snapshot("10:25:10"), true);
        assert_eq!(holes.doubts(&snapshot("10:30:10")), (Ranges::default(), true), "only younger ones have ended");
        assert_eq!(holes.doubts(&snapshot("10:25:10")), (Ranges::default(), true), "there may be more above");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn each_committed_event_is_seen_once_and_every_hole_is_decided(steps in steps()) {
            let mut server = Server::default();
            let mut holes = Holes::resume(0, &Ranges::default());
            let mut seen: Vec<i64> = Vec::new();
            let mut checkpoint = (0, Ranges::default(), 0);
            for step in steps {
                match step {
                    Step::Insert(who) => server.insert(who),
                    Step::Commit(who) => server.end(who, true),
                    Step::RollBack(who) => server.end(who, false),
                    Step::InsertBelow(who, stays) => server.insert_below(who, stays),
                    Step::Touch => { server.touch(); }
                    Step::Poll { limit, commits_before_certificate } =>
                    {
                        let polled = poll(&mut server, &mut holes, limit, commits_before_certificate);
                        seen.extend(polled.events);
                        prop_assert!(polled.shown.iter().all(|id| seen.contains(id)), "committed, and seen too late: {:?}", polled.shown);
                    }
                    Step::Checkpoint => checkpoint = (holes.position(), holes.undecided(), seen.len()),
                    Step::Crash => {
                        holes = Holes::resume(checkpoint.0, &checkpoint.1);
                        seen.truncate(checkpoint.2);
                    }
                }
            }
            for who in 0..6 { server.end(who, who % 2 == 0); }
            seen.extend(poll(&mut server, &mut holes, usize::MAX, None).events);
            seen.extend(poll(&mut server, &mut holes, usize::MAX, None).events);

            prop_assert_eq!(seen.len(), server.committed.len(), "seen twice or not at all");
            prop_assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), server.committed);
            prop_assert!(!holes.any(), "a hole outlived every transaction that could fill it");
        }
    }
}
