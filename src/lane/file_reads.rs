//! Reads files whose names stand in rows. In: what reads them. Out: what was read, or that it takes too long. Only a few files are read at a
//! time and by threads of their own, because a disk may not answer at all, and nobody else is to wait for it or to run out of threads.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::anyhow;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// A place where files are read.
#[derive(Debug, Clone)]
pub struct FileReads {
    places: Arc<Semaphore>,
    patience: Duration,
}

/// How many reads are under way at a time. One that never ends keeps its place.
const AT_ONCE: usize = 4;
/// How long a lane waits for its files, and for a place.
const PATIENCE: Duration = Duration::from_secs(10);

impl Default for FileReads {
    fn default() -> FileReads {
        FileReads { places: Arc::new(Semaphore::new(AT_ONCE)), patience: PATIENCE }
    }
}

impl FileReads {
    /// Runs what reads files, and waits for it for a while.
    pub async fn wait_for<T: Send + 'static>(&self, read: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
        let places = Arc::clone(&self.places);
        let reading = async move {
            let place = places.acquire_owned().await?;
            let read = spawn_blocking(move || {
                let read = read();
                drop(place);
                read
            });
            read.await.context("reading the files that the row names has failed")
        };
        let patience = self.patience;
        timeout(patience, reading).await.map_err(|_| {
            anyhow!("the files that the row names cannot be read within {patience:?}; the disk that they are on does not answer")
        })?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn who_waits_for_a_disk_that_does_not_answer_gives_up_and_takes_no_more_threads() {
        let reads = FileReads { patience: Duration::from_millis(20), ..FileReads::default() };
        let (release, hold) = mpsc::channel::<()>();
        let hold = Arc::new(Mutex::new(hold));
        let stuck = || {
            let hold = Arc::clone(&hold);
            reads.wait_for(move || hold.lock().unwrap().recv().is_ok())
        };

        let ended = futures_util::future::join_all((0..AT_ONCE * 2).map(|_| stuck())).await;

        assert!(ended.iter().all(|read| read.as_ref().unwrap_err().to_string().contains("does not answer")));
        assert_eq!(reads.places.available_permits(), 0);
        drop(release);
        let reads = FileReads { patience: PATIENCE, ..reads };
        reads.wait_for(|| ()).await.expect("there is a place again");
    }
}
