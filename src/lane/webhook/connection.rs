//! Connections to an endpoint, in HTTP/1.1 or HTTP/2, kept open between requests. In: where the endpoint is, and one request at a time. Out: its response, or what
//! could be understood of it. It never sends a request twice: only a request of which nothing was sent, because the endpoint had closed
//! the kept connection, goes out on a new one.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
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
use hyper::rt::Read;
use hyper::rt::Write;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::sync::oneshot;
use tokio::time::timeout;
use url::Position;
use url::Url;

use crate::egress::Dialer;
use crate::lane::webhook::answer_stream::AnswerStream;
use crate::lane::webhook::answer_stream::LONGEST_HEAD;
use crate::lane::webhook::transport::Transport;
use crate::lane::webhook::transport::Version;
use crate::tls;
use crate::tls::Peer;

/// Connects to one endpoint.
#[derive(Debug)]
pub(super) struct Connector {
    /// The scheme, host and port of the endpoint.
    origin: Uri,
    transport: Transport,
}

/// A connection to the endpoint that can send one request after the other.
#[derive(Debug)]
pub(super) struct Connection {
    sender: Sender,
    /// Tells the stream that a request begins.
    begins: Arc<AtomicBool>,
    /// Comes when the connection has ended.
    ended: oneshot::Receiver<End>,
    idle_since: Instant,
}

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
    pub(super) error: hyper::Error,
}

/// The end of a connection.
#[derive(Debug, Default)]
struct End {
    /// The status of the last answer, if it could be understood.
    status: Option<u16>,
    /// Why it ended, if no request was told.
    problem: Option<hyper::Error>,
}

/// Why there is no response. The message does not show the URL, which may hold a token.
#[derive(Debug)]
pub(super) enum SendError {
    /// The name could not be resolved, or TCP or TLS could not connect.
    Connect(Box<dyn Error + Send + Sync>),
    /// The connection ended before the response, or what came was not HTTP.
    Request(hyper::Error),
}

/// A connection that was idle for longer may be dead without either end knowing: a firewall on the way may have forgotten it.
const LONGEST_IDLE: Duration = Duration::from_secs(90);
/// A connection that is given up has this long to end.
const FAREWELL: Duration = Duration::from_secs(1);

impl Connector {
    /// Prepares to connect to the endpoint of this URL.
    pub(super) fn new(url: &Url, dialer: Dialer, tls: ClientConfig) -> anyhow::Result<Connector> {
        let authority = &url[Position::BeforeHost..Position::AfterPort];
        let origin = format!("{}://{authority}/", url.scheme()).parse()?;
        Ok(Connector { origin, transport: Transport::new(url, dialer, tls)? })
    }

    /// Sends a request over the connection in `slot`, or over a new one, which is then in `slot`. After an error, or when the future was
    /// dropped, the connection in `slot` can only say what was understood of the answer.
    pub(super) async fn send(
        &self,
        slot: &mut Option<Connection>,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, SendError> {
        if let Some(kept) = slot.as_mut().filter(|kept| kept.is_usable()) {
            match kept.send(request).await {
                Ok(response) => return Ok(response),
                Err(Unanswered { unsent, error }) => match unsent {
                    // The endpoint closed the connection at this very moment, and nothing was sent.
                    Some(unsent) => request = unsent,
                    None => return Err(SendError::Request(error)),
                },
            }
        }
        // The connection that was kept knows nothing of this request's answer.
        *slot = None;
        let new = slot.insert(self.connect().await?);
        let Unanswered { unsent, error } = match new.send(request).await {
            Ok(response) => return Ok(response),
            Err(unanswered) => unanswered,
        };
        Err(SendError::Request(match slot.take_if(|_| unsent.is_some()) {
            // It ended before anything was sent, and only the connection itself knows why.
            Some(unused) => told(unused.ended, error).await,
            None => error,
        }))
    }

    async fn connect(&self) -> Result<Connection, SendError> {
        let (stream, version) = self.transport.open().await.map_err(|error| SendError::Connect(error.into()))?;
        let stream = TokioIo::new(stream);
        match version {
            Version::Http1 => Connection::over(stream).await,
            Version::Http2 => Connection::over_http2(stream, self.origin.clone()).await,
        }
        .map_err(SendError::Request)
    }
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
    says_ended.send(End { status: stream.status(), problem: ended.err() }).ok();
    drop(timeout(FAREWELL, poll_fn(|context| Pin::new(&mut stream).poll_shutdown(context))).await);
}

/// Does the same in HTTP/2, in which the library understands a status or nobody does.
async fn drive_http2<S>(
    connection: http2::Connection<AnswerStream<S>, Full<Bytes>, TokioExecutor>,
    says_ended: oneshot::Sender<End>,
) where
    S: Read + Write + Unpin + Send + 'static,
{
    let ended = connection.await;
    if let Err(error) = &ended {
        tracing::trace!(%error, "a connection to an endpoint broke");
    }
    says_ended.send(End { status: None, problem: ended.err() }).ok();
}

/// Returns why a connection ended that took no request, and otherwise that it is closed.
async fn told(ended: oneshot::Receiver<End>, closed: hyper::Error) -> hyper::Error {
    let end = timeout(FAREWELL, ended).await.ok().and_then(Result::ok).unwrap_or_default();
    end.problem.unwrap_or(closed)
}

impl Connection {
    /// Begins to speak HTTP/1.1 over a stream.
    pub(super) async fn over<S>(stream: S) -> hyper::Result<Connection>
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
            .await?;
        let (says_ended, ended) = oneshot::channel();
        tokio::spawn(drive(connection, says_ended));
        if let Err(closed) = sender.ready().await {
            return Err(told(ended, closed).await);
        }
        Ok(Connection { sender: Sender::Http1(sender), begins, ended, idle_since: Instant::now() })
    }

    /// Begins to speak HTTP/2 over a stream, with as much room for answers as HTTP/1.1 has.
    pub(super) async fn over_http2<S>(stream: S, origin: Uri) -> hyper::Result<Connection>
    where
        S: Read + Write + Unpin + Send + 'static,
    {
        let begins = Arc::new(AtomicBool::new(false));
        let stream = AnswerStream::new(stream, Arc::clone(&begins), false);
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
            .max_header_list_size(u32::try_from(LONGEST_HEAD).unwrap_or(u32::MAX))
            .handshake(stream)
            .await?;
        let (says_ended, ended) = oneshot::channel();
        tokio::spawn(drive_http2(connection, says_ended));
        if let Err(closed) = sender.ready().await {
            return Err(told(ended, closed).await);
        }
        Ok(Connection { sender: Sender::Http2(sender, origin), begins, ended, idle_since: Instant::now() })
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
        drop(self.sender);
        timeout(FAREWELL, self.ended).await.ok()?.ok()?.status
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

/// Only the innermost cause helps people: the outer ones merely say that a request failed.
impl fmt::Display for SendError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, error): (_, &(dyn Error + 'static)) = match self {
            SendError::Connect(error) => ("cannot connect", error.as_ref()),
            SendError::Request(error) => ("the request failed", error),
        };
        let mut cause = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let advice = match self {
            // The library has a question for this, but only in a server.
            SendError::Request(error) if error.to_string() == "message head is too large" => {
                "; Andon reads no longer ones"
            }
            SendError::Request(error) if error.is_parse() => {
                ", so the answer is none of HTTP; see whether scheme, host and port are those of the endpoint"
            }
            _ => "",
        };
        match tls::explain(error, Peer::Destination) {
            Some(explained) => write!(formatter, "{what}: {explained}"),
            None => write!(formatter, "{what}: {cause}{advice}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::task::Context;
    use std::task::Poll;

    use tokio::io::AsyncRead;
    use tokio::io::AsyncReadExt as _;
    use tokio::io::AsyncWrite;
    use tokio::io::AsyncWriteExt as _;
    use tokio::io::ReadBuf;
    use tokio::io::duplex;

    use super::*;

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

        assert_eq!(SendError::Request(problem).to_string(), "the request failed: it wants a certificate");
    }

    #[tokio::test]
    async fn an_answer_that_is_none_of_http_says_where_to_look() {
        for answer in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 two hundred\r\n\r\n", "\u{15}\u{3}\u{1}"] {
            let (near, mut far) = duplex(1 << 16);
            let mut connection = Connection::over(TokioIo::new(near)).await.unwrap();
            let answering = async {
                far.read_u8().await.unwrap();
                far.write_all(answer.as_bytes()).await.unwrap();
            };
            let (sent, ()) = tokio::join!(connection.send(Request::new(Full::new(Bytes::new()))), answering);

            let told = SendError::Request(sent.unwrap_err().error).to_string();
            assert!(told.ends_with("see whether scheme, host and port are those of the endpoint"), "{told}");
        }
    }
}
