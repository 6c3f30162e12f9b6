//! A receiver that costs little because it only counts. In: POSTs to any path. Out: how many distinct deliveries arrived, and when the
//! first and the last of them did. It checks every thousandth signature, and answers 400 to a wrong one and to a delivery without an id, so
//! that the bench misses it. It runs on a thread of its own, so that it shares only the machine with what is measured.

use std::collections::HashSet;
use std::convert::Infallible;
use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::Result;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::Empty;
use hyper::Request;
use hyper::Response;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

use crate::bench::arrival::arrival;
use rig::signature::Signature;

/// The secret of every webhook of a bench.
pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// One in this many signatures is checked.
const SAMPLE: u64 = 1000;

/// The deliveries that arrived, in numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    /// Deliveries with different ids.
    pub(super) distinct: u64,
    /// All deliveries.
    pub(super) all: u64,
    /// When the first delivery came, and when the last new one did.
    pub(super) span: Option<(Instant, Instant)>,
}

impl Tally {
    /// Returns the distinct deliveries per second.
    pub(super) fn rate(&self) -> f64 {
        self.span.map_or(f64::NAN, |(first, last)| self.distinct as f64 / (last - first).as_secs_f64())
    }
}

/// A running receiver. Dropping it cuts everything.
pub(super) struct Sink {
    port: u16,
    counted: Arc<Mutex<Counted>>,
    _lifeline: oneshot::Sender<()>,
}

#[derive(Default)]
struct Counted {
    tally: Tally,
    /// Hashes of their ids.
    ids: HashSet<u64>,
    hashing: RandomState,
}

impl Sink {
    pub(super) fn start() -> Result<Sink> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port for the receiver")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let counted = Arc::new(Mutex::new(Counted::default()));
        let (lifeline, over) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let counting = Arc::clone(&counted);
        std::thread::Builder::new().name("sink".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = over => {}
                    () = serve(listener, counting) => {}
                }
            });
        })?;
        Ok(Sink { port, counted, _lifeline: lifeline })
    }

    /// Returns the URL of a path, which starts with `/`.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Returns the deliveries that arrived since `forget`.
    pub(super) fn tally(&self) -> Tally {
        lock(&self.counted).tally
    }

    /// Counts from here on.
    pub(super) fn forget(&self) {
        *lock(&self.counted) = Counted::default();
    }

    /// Waits for this many distinct deliveries.
    pub(super) async fn reached(&self, distinct: u64, within: Duration) -> Result<Tally> {
        arrival(within, || {
            let tally = self.tally();
            if tally.distinct < distinct {
                Err(format!("{} of {distinct} deliveries", tally.distinct))
            } else {
                Ok(tally)
            }
        })
        .await
    }
}

impl Counted {
    fn count(&mut self, id: &[u8]) {
        let now = Instant::now();
        self.tally.all += 1;
        if self.ids.insert(self.hashing.hash_one(id)) {
            self.tally.distinct += 1;
            let first = self.tally.span.map_or(now, |(first, _)| first);
            self.tally.span = Some((first, now));
        }
    }
}

fn lock(counted: &Mutex<Counted>) -> MutexGuard<'_, Counted> {
    counted.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, counted: Arc<Mutex<Counted>>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    while let Ok((socket, _)) = listener.accept().await {
        if socket.set_nodelay(true).is_err() {
            continue;
        }
        let counted = Arc::clone(&counted);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|request| answer(request, &counted));
            // A sender that hangs up is no error here; a delivery that it did not make is missing in the count.
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await);
        });
    }
}

async fn answer(request: Request<Incoming>, counted: &Mutex<Counted>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut response = Response::new(Empty::new());
    let Ok(body) = body.collect().await else { return Ok(response) };
    let due = lock(counted).tally.all.is_multiple_of(SAMPLE);
    let is_wrong = || {
        let signature = Signature::of(SECRET, &head.headers, &body.to_bytes());
        signature != Signature::Valid
    };
    match head.headers.get("webhook-id") {
        Some(id) if !due || !is_wrong() => lock(counted).count(id.as_bytes()),
        _ => *response.status_mut() = hyper::StatusCode::BAD_REQUEST,
    }
    Ok(response)
}
