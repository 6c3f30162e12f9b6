//! The holes of the log: ids below the position that were not visible when it was read. In: the ids that a snapshot showed, and its
//! xmin. Out: which ids are still undecided. It never talks to the database; `tail` does.
//!
//! Identity values are handed out before commit, so a larger id can be visible while the transaction that holds a smaller one still
//! runs. Such an id is a hole. Every transaction that holds an id below a visible one had its xid already (the log's first column
//! takes it), so an xid drawn *after* the read is above all of them: once a snapshot's xmin has reached it, a hole that this snapshot
//! does not show was rolled back.

use std::collections::BTreeMap;

use crate::ranges::Ranges;

/// The position of a reader of the log, and the ids below it that are undecided.
#[derive(Debug, Clone)]
pub struct Holes {
    position: i64,
    open: BTreeMap<i64, Hole>,
}

#[derive(Debug, Clone, Copy)]
struct Hole {
    last: i64,
    /// The hole is dead once xmin reaches this xid. None until a fresh xid has been drawn.
    alive_until: Option<u64>,
}

impl Holes {
    /// Goes on from a stored position. The stored holes get their death certificate anew.
    pub fn resume(position: i64, undecided: &Ranges) -> Holes {
        let open = undecided.iter().map(|(first, last)| (first, Hole { last, alive_until: None })).collect();
        Holes { position, open }
    }

    /// The largest id read.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Whether any id is undecided.
    pub fn any(&self) -> bool {
        !self.open.is_empty()
    }

    /// The undecided ids.
    pub fn undecided(&self) -> Ranges {
        let mut ranges = Ranges::default();
        for (&first, hole) in &self.open {
            ranges.insert(first, hole.last);
        }
        ranges
    }

    /// A row whose id lay in a hole is visible now.
    pub fn arrived(&mut self, id: i64) {
        let Some((&first, &hole)) = self.open.range(..=id).next_back() else { return };
        if hole.last < id {
            return;
        }
        self.open.remove(&first);
        if first < id {
            self.open.insert(first, Hole { last: id - 1, ..hole });
        }
        if id < hole.last {
            self.open.insert(id + 1, hole);
        }
    }

    /// Drops the holes that a snapshot with this xmin proves to be rolled back. Only after that snapshot's late rows have `arrived`.
    pub fn bury(&mut self, xmin: u64) {
        self.open.retain(|_, hole| hole.alive_until.is_none_or(|xid| xmin < xid));
    }

    /// The next id that the reader saw, in order; every id that it jumped over is a new hole.
    pub fn read(&mut self, id: i64) {
        if id > self.position + 1 {
            self.open.insert(self.position + 1, Hole { last: id - 1, alive_until: None });
        }
        self.position = self.position.max(id);
    }

    /// Whether a hole waits for its certificate.
    pub fn needs_certificate(&self) -> bool {
        self.open.values().any(|hole| hole.alive_until.is_none())
    }

    /// Certifies the new holes with an xid that was drawn after the read that opened them.
    pub fn certify(&mut self, fresh: u64) {
        for hole in self.open.values_mut() {
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
        Commit(u8),
        RollBack(u8),
        Touch,
        Poll { limit: usize, commits_before_certificate: Option<u8> },
        Checkpoint,
        Crash,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (0..6u8).prop_map(Step::Insert),
            3 => (0..6u8).prop_map(Step::Commit),
            2 => (0..6u8).prop_map(Step::RollBack),
            1 => Just(Step::Touch),
            4 => (1..6usize, prop::option::of(0..6u8)).prop_map(|(limit, who)| Step::Poll { limit, commits_before_certificate: who }),
            1 => Just(Step::Checkpoint),
            1 => Just(Step::Crash),
        ];
        prop::collection::vec(step, 0..150)
    }

    /// PostgreSQL, as far as the tail can see it: xids before ids, ids before commits, snapshots.
    #[derive(Default)]
    struct Server {
        next_xid: u64,
        next_id: i64,
        running: BTreeMap<u8, (u64, Vec<i64>)>,
        committed: BTreeSet<i64>,
    }

    impl Server {
        fn insert(&mut self, who: u8) {
            let (xid, id) = (self.next_xid, self.next_id + 1);
            let transaction = self.running.entry(who).or_insert((xid, Vec::new()));
            self.next_xid += u64::from(transaction.0 == xid);
            transaction.1.push(id);
            self.next_id = id;
        }
        fn end(&mut self, who: u8, commits: bool) {
            if let Some((_, ids)) = self.running.remove(&who)
                && commits
            {
                self.committed.extend(ids);
            }
        }
        fn xmin(&self) -> u64 {
            self.running.values().map(|(xid, _)| *xid).min().unwrap_or(self.next_xid)
        }
        fn draw_xid(&mut self) -> u64 {
            self.next_xid += 1;
            self.next_xid - 1
        }
    }

    fn poll(server: &mut Server, holes: &mut Holes, limit: usize, ends_meanwhile: Option<u8>) -> Vec<i64> {
        let undecided = holes.undecided();
        let late: Vec<i64> = server.committed.iter().copied().filter(|id| undecided.contains(*id)).collect();
        let fresh: Vec<i64> = server.committed.range(holes.position() + 1..).copied().take(limit).collect();
        late.iter().for_each(|id| holes.arrived(*id));
        holes.bury(server.xmin());
        fresh.iter().for_each(|id| holes.read(*id));
        if let Some(who) = ends_meanwhile {
            server.end(who, true);
        }
        if holes.needs_certificate() {
            holes.certify(server.draw_xid());
        }
        late.into_iter().chain(fresh).collect()
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
                    Step::Touch => { server.draw_xid(); }
                    Step::Poll { limit, commits_before_certificate } =>
                        seen.extend(poll(&mut server, &mut holes, limit, commits_before_certificate)),
                    Step::Checkpoint => checkpoint = (holes.position(), holes.undecided(), seen.len()),
                    Step::Crash => {
                        holes = Holes::resume(checkpoint.0, &checkpoint.1);
                        seen.truncate(checkpoint.2);
                    }
                }
            }
            for who in 0..6 { server.end(who, who % 2 == 0); }
            seen.extend(poll(&mut server, &mut holes, usize::MAX, None));
            seen.extend(poll(&mut server, &mut holes, usize::MAX, None));

            prop_assert_eq!(seen.len(), server.committed.len(), "seen twice or not at all");
            prop_assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), server.committed);
            prop_assert!(!holes.any(), "a hole outlived every transaction that could fill it");
        }
    }
}
