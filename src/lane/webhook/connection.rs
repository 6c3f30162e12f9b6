//! A connection to an endpoint, in HTTP/1.1 or HTTP/2. In: a stream, and one request at a time. Out: its response, or what could be understood of
//! it. When it is given up it ends soon, whatever the endpoint waits for.

use std::future::poll_fn;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::Response;
use hyper::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::client::conn::http2;
use hyper::header::HOST;
use hyper::rt::Executor;
use hyper::rt::Read;
use hyper::rt::Write;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;

use crate::lane::webhook::answer_stream::AnswerStream;
use crate::lane::webhook::answer_stream::LONGEST_HEAD;
use crate::lane::webhook::send_error::Broken;

/// A connection to the endpoint that can send one request after the other.
#[derive(Debug)]
pub(super) struct Connection {
    sender: Sender,
    /// Tells the stream that a request begins.
    begins: Arc<AtomicBool>,
    /// Comes when the connection has ended.
    ended: oneshot::Receiver<End>,
    /// Ends the tasks of HTTP/2 soon after the connection was given up.
    farewell: Option<DropGuard>,
    idle_since: Instant,
}

/// Runs the tasks of a connection of HTTP/2, and ends them when it was given up: one that waits for room at the endpoint would never end by itself.
#[derive(Clone)]
struct Tasks(CancellationToken);

/// Sends requests in one version of HTTP.
#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    /// A request of HTTP/2 names the origin itself.
    Http2(http2::SendRequest<Full<Bytes>>, Uri),
}

/// A request without a response.
#[derive(Debug)]
pub(super) struct Unanswered {
    /// The request, if nothing of it was sent.
    pub(super) unsent: Option<Request<Full<Bytes>>>,
    error: hyper::Error,
}

/// The end of a connection.
#[derive(Debug, Default)]
struct End {
    /// The status of the last answer, if it could be understood.
    status: Option<u16>,
    /// HTTP/1.1 was answered in HTTP/2.
    hears_http2: bool,
    /// Why it ended, if no request was told.
    problem: Option<hyper::Error>,
}

/// A connection that was idle for longer may be dead without either end knowing: a firewall on the way may have forgotten it.
const LONGEST_IDLE: Duration = Duration::from_secs(90);
/// A connection that is given up has this long to end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Ends the connection in `slot`, and says what is known of it.
pub(super) async fn broken(slot: &mut Option<Connection>, unanswered: Unanswered) -> Broken {
    let Unanswered { unsent, error } = unanswered;
    let mut end = match slot.take() {
        Some(connection) => connection.end().await,
        None => End::default(),
    };
    if unsent.is_none() {
        // It concerns the request and is told to it.
        end.problem = None;
    }
    end.told(error)
}

/// Moves the bytes of a connection. It ends when the sender is dropped or the endpoint closes the connection, and a waiting request then
/// gets an error.
async fn drive<S>(mut connection: http1::Connection<AnswerStream<S>, Full<Bytes>>, says_ended: oneshot::Sender<End>)
where
    S: Read + Write + Unpin,
{
    let ended = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    if let Err(error) = &ended {
        tracing::trace!(%error, "a connection to an endpoint broke");
    }
    let mut stream = connection.into_parts().io;
    // Nobody asks for it when all went well.
    let end = End { status: stream.status(), hears_http2: stream.hears_http2(), problem: ended.err() };
    says_ended.send(end).ok();
    drop(timeout(FAREWELL, poll_fn(|context| Pin::new(&mut stream).poll_shutdown(context))).await);
}

/// Does the same in HTTP/2, in which the library understands a status or nobody does.
async fn drive_http2<S>(
    connection: http2::Connection<AnswerStream<S>, Full<Bytes>, Tasks>,
    says_ended: oneshot::Sender<End>,
    given_up: CancellationToken,
    Tasks(tasks): Tasks,
) where
    S: Read + Write + Unpin + Send + 'static,
{
    let _ends = tasks.drop_guard();
    let late = async {
        given_up.cancelled().await;
        sleep(FAREWELL).await;
    };
    let mut late = pin!(late);
    let ended = tokio::select! {
        ended = connection => ended,
        () = &mut late => return,
    };
    if let Err(error) = &ended {
        tracing::trace!(%error, "a connection to an endpoint broke");
    }
    says_ended.send(End { problem: ended.err(), ..End::default() }).ok();
    late.await;
}

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        tokio::spawn(self.0.clone().run_until_cancelled_owned(task));
    }
}

async fn end(ended: oneshot::Receiver<End>) -> End {
    timeout(FAREWELL, ended).await.ok().and_then(Result::ok).unwrap_or_default()
}

impl End {
    /// Takes the error of a request, unless the connection knows better.
    fn told(self, error: hyper::Error) -> Broken {
        Broken { error: self.problem.unwrap_or(error), status: self.status, hears_http2: self.hears_http2 }
    }
}

impl Connection {
    /// Begins to speak HTTP/1.1 over a stream.
    pub(super) async fn over<S>(stream: S) -> Result<Connection, Broken>
    where
        S: Read + Write + Unpin + Send + 'static,
    {
        let begins = Arc::new(AtomicBool::new(false));
        let stream = AnswerStream::new(stream, Arc::clone(&begins), true);
        // What does not concern the status must not fail the delivery.
        let (mut sender, connection) = http1::Builder::new()
            .ignore_invalid_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .max_buf_size(LONGEST_HEAD)
            .handshake(stream)
            .await
            .map_err(|error| End::default().told(error))?;
        let (says_ended, ended) = oneshot::channel();
        tokio::spawn(drive(connection, says_ended));
        if let Err(closed) = sender.ready().await {
            return Err(end(ended).await.told(closed));
        }
        Ok(Connection { sender: Sender::Http1(sender), begins, ended, farewell: None, idle_since: Instant::now() })
    }

    /// Begins to speak HTTP/2 over a stream, with as much room for answers as HTTP/1.1 has.
    pub(super) async fn over_http2<S>(stream: S, origin: Uri) -> Result<Connection, Broken>
    where
        S: Read + Write + Unpin + Send + 'static,
    {
        let begins = Arc::new(AtomicBool::new(false));
        let stream = AnswerStream::new(stream, Arc::clone(&begins), false);
        let (given_up, tasks) = (CancellationToken::new(), Tasks(CancellationToken::new()));
        let farewell = given_up.clone().drop_guard();
        let (mut sender, connection) = http2::Builder::new(tasks.clone())
            .max_header_list_size(u32::try_from(LONGEST_HEAD).unwrap_or(u32::MAX))
            .handshake(stream)
            .await
            .map_err(|error| End::default().told(error))?;
        let (says_ended, ended) = oneshot::channel();
        tokio::spawn(drive_http2(connection, says_ended, given_up, tasks));
        if let Err(closed) = sender.ready().await {
            return Err(end(ended).await.told(closed));
        }
        let (sender, farewell) = (Sender::Http2(sender, origin), Some(farewell));
        Ok(Connection { sender, begins, ended, farewell, idle_since: Instant::now() })
    }

    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Unanswered> {
        self.begins.store(true, Ordering::Release);
        match &mut self.sender {
            Sender::Http1(sender) => sender
                .try_send_request(request)
                .await
                .map_err(|mut error| Unanswered { unsent: error.take_message(), error: error.into_error() }),
            Sender::Http2(sender, origin) => {
                let absolute = absolute(request.clone(), origin);
                sender.try_send_request(absolute).await.map_err(|mut error| Unanswered {
                    unsent: error.take_message().map(|_| request),
                    error: error.into_error(),
                })
            }
        }
    }

    /// Ends the connection, and returns the status of the answer that did not come whole, as far as it could be understood.
    pub(super) async fn status(self) -> Option<u16> {
        self.end().await.status
    }

    async fn end(self) -> End {
        drop((self.sender, self.farewell));
        end(self.ended).await
    }

    /// Starts the idle time of a connection whose response was read to its end.
    pub(super) fn idle(mut self) -> Connection {
        self.idle_since = Instant::now();
        self
    }

    /// Returns whether it can be used for one more request.
    pub(super) fn is_usable(&self) -> bool {
        let is_closed = match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender, _) => sender.is_closed(),
        };
        !is_closed && self.idle_since.elapsed() < LONGEST_IDLE
    }
}

/// Writes a request as HTTP/2 wants it, which has no header `host`.
fn absolute(mut request: Request<Full<Bytes>>, origin: &Uri) -> Request<Full<Bytes>> {
    let mut parts = origin.clone().into_parts();
    parts.path_and_query = request.uri().path_and_query().cloned();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request.headers_mut().remove(HOST);
    request
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::task::Context;
    use std::task::Poll;

    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncRead;
    use tokio::io::AsyncWrite;
    use tokio::io::AsyncWriteExt as _;
    use tokio::io::ReadBuf;
    use tokio::io::duplex;

    use super::*;
    use crate::lane::webhook::send_error::SendError;
    use crate::tls::Peer;

    /// A peer whose first word is an alert.
    struct Alert;

    impl AsyncRead for Alert {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::Error::other("it wants a certificate")))
        }
    }

    impl AsyncWrite for Alert {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_connection_that_ends_before_it_is_used_says_why() {
        let problem = Connection::over(TokioIo::new(Alert)).await.unwrap_err();

        let told = SendError::Request(problem).text(Peer::Endpoint);
        assert_eq!(told, "the request failed: it wants a certificate");
    }

    /// Returns a frame of HTTP/2 with the settings of an endpoint: one number, and its value.
    fn settings(number: u8, value: u8) -> Vec<u8> {
        vec![0, 0, 6, 4, 0, 0, 0, 0, 0, 0, number, 0, 0, 0, value]
    }

    #[tokio::test]
    async fn a_connection_that_is_given_up_ends_whatever_its_endpoint_waits_for() {
        let origin = || Uri::from_static("https://erp.example/");
        let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[7; 8]].concat();
        // No request at all may be begun, no byte of a body may be sent, and nothing is said.
        for greeting in [Some(settings(3, 0)), Some(settings(4, 0)), Some(settings(3, 1)), None] {
            let (near, mut far) = duplex(4096);
            let request = Request::new(Full::new(Bytes::from(vec![b'a'; 1 << 20])));
            let (is_http2, greeting) = (greeting.is_some(), greeting.unwrap_or_default());
            far.write_all(&greeting).await.unwrap();
            let mut connection = match is_http2 {
                true => Connection::over_http2(TokioIo::new(near), origin()).await.unwrap(),
                false => Connection::over(TokioIo::new(near)).await.unwrap(),
            };
            assert!(timeout(Duration::from_millis(50), connection.send(request)).await.is_err());

            drop(connection);

            // Whoever reads nothing, so that a farewell never leaves, learns of the end as well.
            let write_on = async { while far.write_all(&ping).await.is_ok() {} };
            assert!(timeout(5 * FAREWELL, write_on).await.is_ok(), "{greeting:?}");
        }
    }
}
