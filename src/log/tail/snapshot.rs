//! A snapshot of PostgreSQL: which transactions had ended when it was taken. In: its text. Out: which transactions ended between two
//! snapshots. Like `pg_current_snapshot()`, it knows top-level transactions only: what a subtransaction wrote becomes visible when its
//! top-level transaction commits.

use std::collections::BTreeSet;

/// The three parts of the text `xmin:xmax:xip,xip`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// All transactions below it had ended.
    xmin: u64,
    /// No transaction at or above it had ended. It is one past the last that had, so a transaction at or above it may have been running.
    xmax: u64,
    /// The transactions between the two that were still running.
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

    /// Returns the xid below which all transactions had ended.
    pub fn xmin(&self) -> u64 {
        self.xmin
    }

    /// Returns the lowest xid that has ended since an earlier snapshot: one that this snapshot does not count as running, while the earlier
    /// one did or could not know it yet. Without such an xid, everything that this snapshot shows was visible in the earlier one too.
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
    fn a_transaction_that_has_ended_since_ran_before_or_began_since() {
        assert_eq!(first_ended("10:10:", "10:10:"), None);
        assert_eq!(first_ended("10:15:10,12", "10:15:10,12"), None);
        assert_eq!(first_ended("10:15:10,12", "10:15:10"), Some(12));
        assert_eq!(first_ended("10:15:10,12", "10:18:10,12,15,16"), Some(17), "drawn since, and ended");
        assert_eq!(first_ended("10:15:10", "18:18:"), Some(10));
    }

    #[test]
    fn a_text_that_is_no_snapshot_gives_none() {
        for text in ["", "10", "10:15", "10:15:x", "a:15:"] {
            assert_eq!(Snapshot::parse(text), None, "{text}");
        }
    }
}
