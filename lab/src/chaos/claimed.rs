//! Remembers which commits were asked for. In: the nonces of a transaction, before its `commit` is sent. Out: those that the database no
//! longer has at the end. A crash that loses the last writes, or the promotion of a standby that lagged, undoes commits whose events were
//! delivered already; nobody can call these back, so they are no phantoms.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::chaos::committed::Committed;

#[derive(Default)]
pub(super) struct Claimed(Mutex<HashSet<String>>);

impl Claimed {
    /// Records the nonces of a transaction that is about to commit.
    pub(super) fn add(&self, nonces: impl IntoIterator<Item = String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(nonces);
    }

    /// Returns the nonces whose commit was asked for, and that were not committed or were undone.
    pub(super) fn undone(&self, committed: &Committed) -> HashSet<String> {
        let claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let nonces = committed.nonces();
        claimed.iter().filter(|nonce| !nonces.contains(nonce.as_str())).cloned().collect()
    }
}
