//! What a witness saw, in order. In: entries, as they come. Out: snapshots, a follower that misses none, and waiting for a condition
//! with a deadline. It never forgets and never reorders.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::Result;
use anyhow::bail;
use tokio::sync::watch;

/// An append-only list that can be waited on.
pub struct Record<T> {
    entries: Mutex<Vec<Arc<T>>>,
    length: watch::Sender<usize>,
}

impl<T> Record<T> {
    /// Nothing seen yet.
    pub fn new() -> Record<T> {
        Record { entries: Mutex::new(Vec::new()), length: watch::Sender::new(0) }
    }

    /// Adds an entry at the end.
    pub fn append(&self, entry: Arc<T>) {
        let mut entries = self.entries();
        entries.push(entry);
        self.length.send_replace(entries.len());
    }

    /// Everything so far.
    pub fn snapshot(&self) -> Vec<Arc<T>> {
        self.entries().clone()
    }

    /// How much there is so far.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether nothing came yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the entries fulfil `is_enough`. It is asked after each change and must not take long.
    pub async fn wait_until(&self, within: Duration, mut is_enough: impl FnMut(&[Arc<T>]) -> bool) -> Result<()> {
        let mut length = self.length.subscribe();
        let waiting = async {
            loop {
                length.mark_unchanged();
                if is_enough(&self.entries()) || length.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(within, waiting).await.is_err() {
            bail!("what was waited for did not come within {within:?}; {} entries did", self.len());
        }
        Ok(())
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
    /// The next entry; waits for it. Losing the future loses no entry.
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

    /// The next entry, if it is there.
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

        let error = record.wait_until(Duration::from_millis(5), |all| all.len() == 1).await.unwrap_err();

        assert!(error.to_string().ends_with("0 entries did"), "{error}");
    }
}
