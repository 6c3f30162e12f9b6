//! Looks up the addresses of an endpoint. In: its name. Out: what the system's resolver says. The resolver blocks a thread of a pool that
//! all lanes share, so there is never more than one for an endpoint: a name that is never answered must not take those that others need.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// The lookups of one endpoint, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    turn: Arc<Semaphore>,
    resolve: Resolve,
}

/// Looks up a name. The port is that of the addresses.
pub(super) type Resolve = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

impl Lookup {
    pub(super) fn by(resolve: Resolve) -> Lookup {
        Lookup { turn: Arc::new(Semaphore::new(1)), resolve }
    }

    pub(super) async fn find(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let (turn, resolve, name) = (Arc::clone(&self.turn), self.resolve, name.to_owned());
        let turn = turn.acquire_owned().await.map_err(io::Error::other)?;
        let looking = spawn_blocking(move || {
            let found = resolve(&name, port);
            // The thread goes on when nobody waits for it any more, and until it ends it is nobody else's turn.
            drop(turn);
            found
        });
        looking.await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;
    use std::sync::mpsc;

    use futures_util::FutureExt as _;
    use tokio::sync::Notify;

    use super::*;

    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    static HAS_BEGUN: Notify = Notify::const_new();
    static ANSWERS: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);

    /// Answers when the test does.
    fn slow(_: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        BEGUN.fetch_add(1, Ordering::SeqCst);
        HAS_BEGUN.notify_one();
        ANSWERS.lock().unwrap().as_ref().unwrap().recv().unwrap();
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }

    #[tokio::test]
    async fn a_name_that_is_not_answered_blocks_one_thread_however_often_it_is_asked_for() {
        let (answer, answers) = mpsc::channel();
        *ANSWERS.lock().unwrap() = Some(answers);
        let lookup = Lookup::by(slow);

        let mut asked: Vec<_> = (0..100).map(|_| Box::pin(lookup.find("erp.example", 443))).collect();
        assert!(asked.iter_mut().all(|one| one.now_or_never().is_none()));
        HAS_BEGUN.notified().await;
        // All are given up, as when an attempt takes too long.
        drop(asked);
        let mut last = Box::pin(lookup.find("erp.example", 443));
        assert!((&mut last).now_or_never().is_none());
        assert_eq!(BEGUN.load(Ordering::SeqCst), 1);

        (0..2).for_each(|_| answer.send(()).unwrap());
        assert_eq!(last.await.unwrap().len(), 1);
        assert_eq!(BEGUN.load(Ordering::SeqCst), 2);
    }
}
