//! A TCP proxy that breaks connections on command. In: connections to its own port. Out: the same bytes at the target's port, unless it
//! has to cut, reset, half-open, stall, slow down or refuse connections. It never changes a byte.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;
use tokio::net::tcp::WriteHalf;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::task::JoinSet;

/// A proxy in front of one port of 127.0.0.1. Dropping it cuts everything.
pub struct Proxy {
    port: u16,
    faults: Arc<Faults>,
    listening: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

/// One of the two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The end that connected to the proxy.
    Client,
    /// The end that the proxy connects to.
    Target,
}

/// How the proxy ends all its connections.
#[derive(Debug, Clone, Copy)]
enum Break {
    Cut,
    Reset,
    HalfOpen(Side),
}

struct Faults {
    refuses: watch::Sender<bool>,
    stalls: watch::Sender<bool>,
    bytes_per_second: watch::Sender<Option<u64>>,
    /// How many times connections were broken, and how the last time.
    breaks: watch::Sender<(u64, Break)>,
    releases: watch::Sender<u64>,
    bytes_until_cut: Mutex<Option<u64>>,
    target: AtomicU16,
}

impl Proxy {
    /// Starts forwarding to a port of 127.0.0.1.
    pub async fn start(target: u16) -> Result<Proxy> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no free port for the proxy")?;
        let port = listener.local_addr()?.port();
        let faults = Arc::new(Faults {
            refuses: watch::Sender::new(false),
            stalls: watch::Sender::new(false),
            bytes_per_second: watch::Sender::new(None),
            breaks: watch::Sender::new((0, Break::Cut)),
            releases: watch::Sender::new(0),
            bytes_until_cut: Mutex::new(None),
            target: AtomicU16::new(target),
        });
        let (says_listening, listening) = watch::channel(true);
        let task = tokio::spawn(serve(listener, port, Arc::clone(&faults), says_listening));
        Ok(Proxy { port, faults, listening, task })
    }

    /// Returns the port to connect to instead of the target's.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Leads new connections to another port of 127.0.0.1.
    pub fn redirect(&self, target: u16) {
        self.faults.target.store(target, Ordering::Relaxed);
    }

    /// Closes all connections now.
    pub fn cut(&self) {
        self.faults.end(Break::Cut);
    }

    /// Ends all connections now with a reset, on both sides.
    pub fn reset(&self) {
        self.faults.end(Break::Reset);
    }

    /// Closes one side of all connections and hides that from the other side: what that side sends is read and thrown away until it gives
    /// up or `release` is called. New connections work.
    pub fn half_open(&self, gone: Side) {
        self.faults.end(Break::HalfOpen(gone));
    }

    /// Resets the connections that `half_open` has left.
    pub fn release(&self) {
        self.faults.releases.send_modify(|releases| *releases += 1);
    }

    /// Closes all connections once this many more bytes have passed, counted over all of them in both directions.
    pub fn cut_after(&self, bytes: u64) {
        *self.faults.budget() = Some(bytes);
    }

    /// Returns how many times connections were broken so far.
    pub fn cuts(&self) -> u64 {
        self.faults.breaks.borrow().0
    }

    /// Stops forwarding. The sockets stay open.
    pub fn stall(&self) {
        self.faults.stalls.send_replace(true);
    }

    /// Forwards again after `stall`.
    pub fn resume(&self) {
        self.faults.stalls.send_replace(false);
    }

    /// Closes or opens the port for new connections, and returns when that is done. Existing connections stay.
    pub async fn refuse(&self, refuses: bool) -> Result<()> {
        self.faults.refuses.send_replace(refuses);
        let mut listening = self.listening.clone();
        listening.wait_for(|is_listening| *is_listening != refuses).await.context("the proxy has ended")?;
        Ok(())
    }

    /// Limits the bytes per second in each direction; `None` removes the limit.
    pub fn slow(&self, bytes_per_second: Option<u64>) {
        self.faults.bytes_per_second.send_replace(bytes_per_second);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Faults {
    fn end(&self, how: Break) {
        self.breaks.send_modify(|(count, last)| (*count, *last) = (*count + 1, how));
    }

    fn budget(&self) -> std::sync::MutexGuard<'_, Option<u64>> {
        self.bytes_until_cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many of these bytes may still pass, and whether that used up the budget.
    fn take(&self, bytes: usize) -> (usize, bool) {
        let mut budget = self.budget();
        let Some(left) = *budget else { return (bytes, false) };
        let passes = bytes.min(usize::try_from(left).unwrap_or(usize::MAX));
        let is_spent = passes as u64 == left;
        *budget = if is_spent { None } else { Some(left - passes as u64) };
        (passes, is_spent)
    }
}

async fn serve(listener: TcpListener, port: u16, faults: Arc<Faults>, listening: watch::Sender<bool>) {
    // The connections live in this set so that they end with the proxy.
    let mut connections = JoinSet::new();
    let mut refuses = faults.refuses.subscribe();
    let mut listener = Some(listener);
    loop {
        if *refuses.borrow_and_update() {
            listener = None;
            listening.send_replace(false);
            if refuses.changed().await.is_err() {
                return;
            }
            continue;
        }
        let Some(bound) = &listener else {
            match TcpListener::bind(("127.0.0.1", port)).await {
                Ok(bound) => {
                    listener = Some(bound);
                    listening.send_replace(true);
                }
                // Some outgoing connection uses the port at the moment, which will not last.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            continue;
        };
        tokio::select! {
            accepted = bound.accept() => if let Ok((client, _)) = accepted {
                connections.spawn(forward(client, Arc::clone(&faults)));
            },
            Some(_) = connections.join_next() => {}
            changed = refuses.changed() => if changed.is_err() { return },
        }
    }
}

async fn forward(mut client: TcpStream, faults: Arc<Faults>) {
    let mut breaks = faults.breaks.subscribe();
    let target = faults.target.load(Ordering::Relaxed);
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    for socket in [&client, &server] {
        if socket.set_nodelay(true).is_err() {
            return;
        }
    }
    let how = {
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        let both = async {
            tokio::join!(pump(client_reads, server_writes, &faults), pump(server_reads, client_writes, &faults))
        };
        tokio::select! {
            _ = both => Break::Cut,
            _ = breaks.changed() => breaks.borrow().1,
        }
    };
    match how {
        Break::Cut => {}
        Break::Reset => [&client, &server].into_iter().for_each(reset_at_close),
        Break::HalfOpen(gone) => {
            let (gone, left) = if gone == Side::Client { (client, server) } else { (server, client) };
            drop(gone);
            leave_hanging(left, &faults).await;
        }
    }
}

/// Reads and throws away what comes, until the remaining side gives up or is released.
async fn leave_hanging(mut left: TcpStream, faults: &Faults) {
    let mut releases = faults.releases.subscribe();
    let mut buffer = vec![0; 64 * 1024];
    let given_up = async { while matches!(left.read(&mut buffer).await, Ok(1..)) {} };
    tokio::select! {
        () = given_up => {}
        _ = releases.changed() => reset_at_close(&left),
    }
}

fn reset_at_close(socket: &TcpStream) {
    if let Err(error) = socket.set_zero_linger() {
        tracing::warn!(%error, "a connection is closed instead of reset");
    }
}

/// Forwards one direction until its end. An error ends it like a close, and both sides see that.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, faults: &Faults) {
    let mut buffer = vec![0; 64 * 1024];
    let mut stalls = faults.stalls.subscribe();
    // What to do with bytes is decided when they arrive, and not when the wait for them begins.
    while from.readable().await.is_ok() {
        let rate = *faults.bytes_per_second.borrow();
        // The portions are small so that a slow connection trickles instead of jerking.
        let portion = rate.map_or(buffer.len() as u64, |rate| (rate / 20).clamp(1, buffer.len() as u64));
        let portion = usize::try_from(portion).unwrap_or(buffer.len());
        let Ok(read) = from.read(&mut buffer[..portion]).await else { break };
        if stalls.wait_for(|stalls| !stalls).await.is_err() || read == 0 {
            break;
        }
        let (passes, is_spent) = faults.take(read);
        if to.write_all(&buffer[..passes]).await.is_err() {
            break;
        }
        if is_spent {
            faults.end(Break::Cut);
            break;
        }
        if let Some(rate) = rate {
            tokio::time::sleep(Duration::from_secs_f64(read as f64 / rate as f64)).await;
        }
    }
    // The other side may be gone already, which no longer matters.
    if to.shutdown().await.is_err() {
        tracing::trace!("the other side was closed before");
    }
}
