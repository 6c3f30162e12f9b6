//! Looks up the addresses of an endpoint. In: its name. Out: what the system's resolver says. The resolver blocks a thread of a pool that
//! all lanes share, so there is never more than one for an endpoint, and there are few for a tenant: names that are never answered must not
//! take the threads that others need.

pub(super) mod turns;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::egress::lookup::turns::Turns;

/// The lookups of one endpoint, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    turn: Arc<Semaphore>,
    of_tenant: Arc<Semaphore>,
    resolve: Resolve,
}

/// Looks up a name. The port is that of the addresses.
pub(super) type Resolve = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

impl Lookup {
    pub(super) fn by(resolve: Resolve, turns: &Turns) -> Lookup {
        Lookup { turn: Arc::new(Semaphore::new(1)), of_tenant: turns.own(), resolve }
    }

    pub(super) async fn find(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let (turn, resolve, name) = (Arc::clone(&self.turn), self.resolve, name.to_owned());
        let turn = turn.acquire_owned().await.map_err(io::Error::other)?;
        let of_tenant = Arc::clone(&self.of_tenant).acquire_owned().await.map_err(io::Error::other)?;
        let looking = spawn_blocking(move || {
            let found = resolve(&name, port);
            // The thread goes on when nobody waits for it any more, and until it ends it is nobody else's turn.
            drop((turn, of_tenant));
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
        let lookup = Lookup::by(slow, &Turns::default());

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

    static STUCK: AtomicUsize = AtomicUsize::new(0);
    static RELEASED: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);

    /// Never answers, but for one name.
    fn stuck(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if name != "erp.other.example" {
            STUCK.fetch_add(1, Ordering::SeqCst);
            RELEASED.lock().unwrap().as_ref().unwrap().recv().ok();
        }
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }

    #[test]
    fn names_of_one_tenant_that_are_never_answered_leave_threads_to_others() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().max_blocking_threads(turns::AT_ONCE + 1).build().unwrap();
        let (release, released) = mpsc::channel();
        *RELEASED.lock().unwrap() = Some(released);
        let all = Turns::default();

        let found = runtime.block_on(async {
            // Each row is read anew, with lookups of its own.
            let rows: Vec<Lookup> =
                (0..turns::AT_ONCE * 3).map(|_| Lookup::by(stuck, &all.of_tenant("slow"))).collect();
            let mut asked: Vec<_> = rows.iter().map(|one| Box::pin(one.find("erp.slow.example", 443))).collect();
            assert!(asked.iter_mut().all(|one| one.now_or_never().is_none()));
            let other = Lookup::by(stuck, &all.of_tenant("other"));
            tokio::time::timeout(std::time::Duration::from_secs(60), other.find("erp.other.example", 443)).await
        });

        assert_eq!(found.expect("a thread is left").unwrap().len(), 1);
        drop(release);
        drop(runtime);
        assert!(STUCK.load(Ordering::SeqCst) <= turns::AT_ONCE);
    }
}
