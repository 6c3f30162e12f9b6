//! A snapshot of PostgreSQL: which transactions had ended when it was taken. In: its text. Out: what has ended between two of them. It
//! knows top-level transactions only, as `pg_current_snapshot()` does; what a subtransaction wrote becomes visible with its top-level one.

use std::collections::BTreeSet;

/// See the module's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// All below it had ended.
    xmin: u64,
    /// None from it on had ended. It is one past the last that had, so that one from it on may be running all the same.
    xmax: u64,
    /// Those between them that ran.
    running: BTreeSet<u64>,
}

impl Snapshot {
    /// Reads `xmin:xmax:xip,xip`.
    pub fn parse(text: &str) -> Option<Snapshot> {
        let mut parts = text.split(':');
        let mut next = || parts.next();
        let (xmin, xmax, running) = (next()?.parse().ok()?, next()?.parse().ok()?, next()?);
        let running =
            running.split(',').filter(|xid| !xid.is_empty()).map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Snapshot { xmin, xmax, running })
    }

    /// All transactions below it had ended.
    pub fn xmin(&self) -> u64 {
        self.xmin
    }

    /// The lowest xid that has ended since an earlier snapshot: one that this snapshot does not count as running, and that one did, or
    /// could not know yet. None: nothing that this snapshot shows was hidden from that one.
    pub fn first_ended_since(&self, earlier: &Snapshot) -> Option<u64> {
        let known = earlier.running.iter().copied();
        known.chain(earlier.xmax..self.xmax).find(|xid| !self.runs(*xid))
    }

    fn runs(&self, xid: u64) -> bool {
        xid >= self.xmax || self.running.contains(&xid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_ended(earlier: &str, later: &str) -> Option<u64> {
        Snapshot::parse(later).unwrap().first_ended_since(&Snapshot::parse(earlier).unwrap())
    }

    #[test]
    fn what_has_ended_was_running_before_or_not_there_yet() {
        assert_eq!(first_ended("10:10:", "10:10:"), None);
        assert_eq!(first_ended("10:15:10,12", "10:15:10,12"), None);
        assert_eq!(first_ended("10:15:10,12", "10:15:10"), Some(12));
        assert_eq!(first_ended("10:15:10,12", "10:18:10,12,15,16"), Some(17), "drawn since, and ended");
        assert_eq!(first_ended("10:15:10", "18:18:"), Some(10));
    }

    #[test]
    fn what_is_no_snapshot_is_none() {
        for text in ["", "10", "10:15", "10:15:x", "a:15:"] {
            assert_eq!(Snapshot::parse(text), None, "{text}");
        }
    }
}
