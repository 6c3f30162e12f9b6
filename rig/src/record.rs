//! Keeps what a witness saw, in order. In: entries, as they come. Out: snapshots, a follower that misses none, and waits that are shown
//! each entry once. It never forgets and never reorders.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::Result;
use anyhow::bail;
use tokio::sync::watch;
use tokio::time::Instant;

/// How many times its patience a wait may last while entries come.
pub const LONGEST: u32 = 5;

/// An append-only list that can be waited on.
pub struct Record<T> {
    entries: Mutex<Vec<Arc<T>>>,
    length: watch::Sender<usize>,
}

impl<T> Record<T> {
    /// Creates an empty record.
    pub fn new() -> Record<T> {
        Record { entries: Mutex::new(Vec::new()), length: watch::Sender::new(0) }
    }

    /// Adds an entry at the end.
    pub fn append(&self, entry: Arc<T>) {
        let mut entries = self.entries();
        entries.push(entry);
        self.length.send_replace(entries.len());
    }

    /// Returns all entries so far.
    pub fn snapshot(&self) -> Vec<Arc<T>> {
        self.entries().clone()
    }

    /// Returns the number of entries so far.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Returns whether there is no entry yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until there are this many entries. For the patience see [`wait_for`](Record::wait_for).
    pub async fn wait_for_count(&self, patience: Duration, count: usize) -> Result<()> {
        self.wait_for_matching(patience, count, |_| true).await
    }

    /// Waits until there are this many entries that match.
    pub async fn wait_for_matching(
        &self,
        patience: Duration,
        count: usize,
        mut matches: impl FnMut(&T) -> bool,
    ) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let mut seen = 0;
        let is_enough = |entry: &T| {
            seen += usize::from(matches(entry));
            seen == count
        };
        self.wait_for(patience, is_enough).await
    }

    /// Waits until `is_enough` says so of an entry. It is shown each entry once, from the first, so that it can add up what it sees: a
    /// condition that looked at all entries again at each new one would take longer with each.
    ///
    /// The patience counts from the last entry that came, because a slow machine makes everything come later, and nothing stop coming.
    /// A wait must end even if entries never cease to come, so it lasts [`LONGEST`] times the patience at most.
    pub async fn wait_for(&self, patience: Duration, mut is_enough: impl FnMut(&T) -> bool) -> Result<()> {
        let mut length = self.length.subscribe();
        let mut seen = 0;
        let end = Instant::now() + patience * LONGEST;
        loop {
            length.mark_unchanged();
            let new = self.entries()[seen..].to_vec();
            seen += new.len();
            if new.iter().any(|entry| is_enough(entry)) {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("what was waited for did not come within {:?}; {seen} entries did", patience * LONGEST);
            }
            let is_late = tokio::time::timeout(patience, length.changed()).await.is_err();
            // A runtime that was held up may let the time run out although something came.
            if is_late && !length.has_changed().unwrap_or(false) {
                bail!(
                    "what was waited for did not come, and nothing else did for {patience:?}; {seen} entries did before"
                );
            }
        }
    }

    /// Reads all entries one by one, from the first, and waits for those to come.
    pub fn follow(self: &Arc<Self>) -> Follower<T> {
        Follower { record: Arc::clone(self), length: self.length.subscribe(), position: 0 }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Arc<T>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Record<T> {
    fn default() -> Self {
        Record::new()
    }
}

/// Reads a record from its beginning on.
pub struct Follower<T> {
    record: Arc<Record<T>>,
    length: watch::Receiver<usize>,
    position: usize,
}

impl<T> Follower<T> {
    /// Waits for the next entry, and returns it. Losing the future loses no entry.
    pub async fn next(&mut self) -> Arc<T> {
        loop {
            self.length.mark_unchanged();
            if let Some(entry) = self.try_next() {
                return entry;
            }
            if self.length.changed().await.is_err() {
                // The record is held by ourselves, so its sender is there.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns the next entry, if it is there.
    pub fn try_next(&mut self) -> Option<Arc<T>> {
        let entry = self.record.entries().get(self.position).cloned()?;
        self.position += 1;
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_follower_sees_what_was_there_and_what_comes() {
        let record = Arc::new(Record::new());
        record.append(Arc::new(1));
        let mut follower = record.follow();

        assert_eq!(*follower.next().await, 1);
        record.append(Arc::new(2));

        assert_eq!(*follower.next().await, 2);
        assert!(follower.try_next().is_none());
    }

    #[tokio::test]
    async fn waiting_in_vain_is_an_error() {
        let record = Record::<u8>::new();

        let error = record.wait_for_count(Duration::from_millis(5), 1).await.unwrap_err();

        assert!(error.to_string().ends_with("0 entries did before"), "{error}");
    }

    #[tokio::test]
    async fn a_wait_is_shown_each_entry_once() {
        let record = Record::new();
        (1..=3).for_each(|entry| record.append(Arc::new(entry)));
        let mut shown = Vec::new();
        let waiting = record.wait_for(Duration::from_secs(60), |entry| {
            shown.push(*entry);
            *entry == 5
        });
        let coming = async { (4..=6).for_each(|entry| record.append(Arc::new(entry))) };

        let (waited, ()) = tokio::join!(waiting, coming);

        waited.unwrap();
        assert_eq!(shown, [1, 2, 3, 4, 5]);
    }

    #[tokio::test]
    async fn patience_counts_from_the_last_entry_and_has_an_end() {
        let record = Record::new();
        let patience = Duration::from_millis(20);
        let trickle = async {
            loop {
                record.append(Arc::new(()));
                tokio::task::yield_now().await;
            }
        };

        let error = tokio::select! {
            // However late the wait is polled, something came since it was polled before.
            biased;
            () = trickle => unreachable!("the trickle never ends"),
            waited = record.wait_for_count(patience, usize::MAX) => waited.unwrap_err().to_string(),
        };

        assert!(error.starts_with("what was waited for did not come within 100ms"), "{error}");
    }
}
