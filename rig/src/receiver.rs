//! A webhook endpoint that can misbehave. In: HTTP requests to any path. Out: a record of all requests, each with the verdict on its
//! signature, and a record of those that were answered with 2xx, in the order of the answers. It shares no code with the sender, so it
//! accepts what a stranger's receiver would accept.

mod answer;

use std::collections::HashMap;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::StreamBody;
use http_body_util::combinators::BoxBody;
use hyper::HeaderMap;
use hyper::Request;
use hyper::Response;
use hyper::body::Frame;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::task::JoinSet;

use crate::receiver::answer::Manner;
use crate::record::Record;
use crate::signature::Signature;

pub use crate::receiver::answer::Answer;

/// A request, as it arrived.
#[derive(Debug)]
pub struct Received {
    /// Path and query.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body's bytes.
    pub body: Bytes,
    /// The verdict on the signature.
    pub signature: Signature,
    /// When its last byte arrived.
    pub at: Instant,
    /// The bodies of the other requests to this path that were in progress when this one arrived.
    pub concurrent: Vec<Bytes>,
}

/// An HTTP/1.1 server on 127.0.0.1. Dropping it cuts everything.
pub struct Receiver {
    port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    received: Arc<Record<Received>>,
    accepted: Arc<Record<Received>>,
    paths: Mutex<HashMap<String, Path>>,
}

#[derive(Default, Clone)]
struct Path {
    secret: Option<String>,
    /// Answers to requests whose body contains this text.
    poison: Vec<(String, Answer)>,
    first: VecDeque<Answer>,
    then: Option<Answer>,
    open: Vec<(u64, Bytes)>,
    arrivals: u64,
}

/// A request that is open until it is answered or the sender gives up.
struct Open<'a> {
    shared: &'a Shared,
    path: String,
    number: u64,
}

/// What is known of a request once it has arrived whole.
struct Arrival<'a> {
    open: Open<'a>,
    received: Arc<Received>,
    answer: Answer,
}

impl Receiver {
    /// Starts it on a free port. Every path answers 200 until a test changes that.
    pub async fn start() -> Result<Receiver> {
        Receiver::start_with(Speaks::Both).await
    }

    /// Starts one that has nothing but HTTP/2. It greets with its settings, and ends a connection that does not begin as HTTP/2 does.
    pub async fn start_http2() -> Result<Receiver> {
        Receiver::start_with(Speaks::Http2).await
    }

    async fn start_with(speaks: Speaks) -> Result<Receiver> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no free port for the receiver")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(serve(listener, Arc::clone(&shared), speaks));
        Ok(Receiver { port, shared, task })
    }

    /// Returns its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the URL of a path, which starts with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Makes this path answer 401 to requests that are not signed with this secret.
    pub fn expect_signature(&self, path: &str, secret: &str) {
        self.shared.with_path(path, |found| found.secret = Some(secret.to_owned()));
    }

    /// Sets the answer to all further requests to this path.
    pub fn answer(&self, path: &str, answer: Answer) {
        self.shared.with_path(path, |found| found.then = Some(answer));
    }

    /// Sets the answer to the next `count` requests to this path. The ones after that are answered as before.
    pub fn answer_next(&self, path: &str, count: usize, answer: &Answer) {
        self.shared.with_path(path, |found| found.first.extend(std::iter::repeat_n(answer.clone(), count)));
    }

    /// Sets the answer to all further requests to this path whose body contains this text. It takes precedence over all other answers.
    pub fn answer_containing(&self, path: &str, text: &str, answer: Answer) {
        self.shared.with_path(path, |found| found.poison.push((text.to_owned(), answer)));
    }

    /// Returns all requests so far, in the order in which they arrived.
    pub fn received(&self) -> Vec<Arc<Received>> {
        self.shared.received.snapshot()
    }

    /// Returns the requests that were answered with 2xx so far, in the order of the answers.
    pub fn accepted(&self) -> Vec<Arc<Received>> {
        self.shared.accepted.snapshot()
    }

    /// Returns the record of all requests.
    pub fn requests(&self) -> &Arc<Record<Received>> {
        &self.shared.received
    }

    /// Returns the record of the requests that were answered with 2xx.
    pub fn acceptances(&self) -> &Arc<Record<Received>> {
        &self.shared.accepted
    }

    /// Waits until this many requests have arrived. For the patience see [`Record::wait_for`].
    pub async fn wait_received(&self, patience: Duration, count: usize) -> Result<()> {
        self.shared.received.wait_for_count(patience, count).await
    }

    /// Waits until this many requests were answered with 2xx.
    pub async fn wait_accepted(&self, patience: Duration, count: usize) -> Result<()> {
        self.shared.accepted.wait_for_count(patience, count).await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn with_path<T>(&self, path: &str, act: impl FnOnce(&mut Path) -> T) -> T {
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        act(paths.entry(path.to_owned()).or_default())
    }

    /// Registers a request as open, records it, and returns its answer. This happens under one lock, so that the order of the record is
    /// the order in which requests saw each other.
    fn arrive(&self, path: &str, head: Parts, body: Bytes, signature: Signature) -> Arrival<'_> {
        self.with_path(path, |found| {
            let answer = found.next_answer(&body).unwrap_or_else(|| Answer::status(200));
            let concurrent = found.open.iter().map(|(_, body)| body.clone()).collect();
            found.arrivals += 1;
            found.open.push((found.arrivals, body.clone()));
            let open = Open { shared: self, path: path.to_owned(), number: found.arrivals };
            // HTTP/2 names scheme and host as well.
            let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
            let at = Instant::now();
            let received = Arc::new(Received { path, headers: head.headers, body, signature, at, concurrent });
            self.received.append(Arc::clone(&received));
            Arrival { open, received, answer }
        })
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.shared.with_path(&self.path, |found| found.open.retain(|(number, _)| *number != self.number));
    }
}

impl Path {
    fn next_answer(&mut self, body: &[u8]) -> Option<Answer> {
        let body = String::from_utf8_lossy(body);
        if let Some((_, answer)) = self.poison.iter().find(|(text, _)| body.contains(text)) {
            return Some(answer.clone());
        }
        self.first.pop_front().or_else(|| self.then.clone())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Both,
    Http2,
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, speaks: Speaks) {
    // The connections live in this set so that they end with the receiver.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((socket, peer)) = accepted {
                connections.spawn(serve_connection(socket, peer, Arc::clone(&shared), speaks));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_connection(socket: TcpStream, peer: SocketAddr, shared: Arc<Shared>, speaks: Speaks) {
    if socket.set_nodelay(true).is_err() {
        return;
    }
    // A client that knows that HTTP/2 is spoken begins so.
    let mut start = [0; 3];
    if speaks == Speaks::Http2 || matches!(socket.peek(&mut start).await, Ok(3)) && start == *b"PRI" {
        return serve_http2(socket, peer, shared).await;
    }
    let floods = AtomicBool::new(false);
    let service = hyper::service::service_fn(|request| Box::pin(answer(request, &shared, &floods)));
    let mut connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    let served = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let mut socket = connection.into_parts().io.into_inner();
    if floods.load(Ordering::Relaxed) {
        while socket.write_all(INTERIM).await.is_ok() {}
    } else if let Err(error) = served {
        tracing::trace!(error = %error, %peer, "a connection to the receiver broke");
    }
}

async fn serve_http2(socket: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    let service = hyper::service::service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { answer(request, &shared, &AtomicBool::new(false)).await }
    });
    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    if let Err(error) = serving.serve_connection(TokioIo::new(socket), service).await {
        tracing::trace!(error = %error, %peer, "a connection to the receiver broke");
    }
}

const INTERIM: &[u8] = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";

type Body = BoxBody<Bytes, Infallible>;

/// Answers a request; `floods` is set for an answer that has to be written without hyper.
async fn answer(request: Request<Incoming>, shared: &Shared, floods: &AtomicBool) -> Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = head.uri.path().to_owned();
    let secret = shared.with_path(&path, |found| found.secret.clone());
    let signature =
        secret.as_deref().map_or(Signature::NotChecked, |secret| Signature::of(secret, &head.headers, &body));
    let Arrival { open, received, mut answer } = shared.arrive(&path, head, body, signature);
    if let Signature::Invalid(_) = received.signature {
        answer = Answer::status(401);
    }
    tokio::time::sleep(answer.delay).await;
    let body = match answer.manner {
        Manner::Plain => Full::new(Bytes::from(format!("{}\n", answer.status))).boxed(),
        Manner::EndlessBody => {
            StreamBody::new(futures_util::stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[b'a'; 4096])))))
                .boxed()
        }
        Manner::SlowBody(pause) => {
            let chunk = move |_| async move {
                tokio::time::sleep(pause).await;
                Ok(Frame::data(Bytes::from_static(b"slowly\n")))
            };
            StreamBody::new(futures_util::StreamExt::then(futures_util::stream::iter(0..2), chunk)).boxed()
        }
        Manner::EndlessInterim => {
            floods.store(true, Ordering::Relaxed);
            anyhow::bail!("no server of HTTP answers like this")
        }
        Manner::Hang => std::future::pending().await,
        // An error of the service makes hyper close the connection.
        Manner::Drop => anyhow::bail!("the receiver has to drop the connection"),
    };
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    let response = response.body(body)?;
    drop(open);
    if response.status().is_success() {
        shared.accepted.append(received);
    }
    Ok(response)
}
