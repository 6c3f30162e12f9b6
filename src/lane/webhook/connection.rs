//! Connections to an endpoint, HTTP/1.1, kept open between requests. In: where the endpoint is, and a request. Out: its response, or what
//! could be understood of it. It never sends a request twice: only a request of which nothing was sent, because the endpoint had closed
//! the kept connection, goes out on a new one.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::Response;
use hyper::Uri;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1;
use hyper::client::conn::http1::SendRequest;
use hyper::rt::Read;
use hyper::rt::Write;
use hyper::service::Service as _;
use hyper_rustls::HttpsConnector;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tower_service::Service;
use url::Position;
use url::Url;

use crate::egress::Dialer;
use crate::lane::webhook::answer_stream::AnswerStream;
use crate::lane::webhook::answer_stream::LONGEST_HEAD;
use crate::tls;
use crate::tls::Peer;

/// Connects to one endpoint.
#[derive(Debug)]
pub(super) struct Connector {
    /// The scheme, host and port of the endpoint.
    origin: Uri,
    https: TowerToHyperService<HttpsConnector<Dial>>,
}

/// The egress dialer, as the TLS of this file wants to call it.
#[derive(Debug, Clone)]
struct Dial(Dialer);

/// A connection to the endpoint that can send one request after the other.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Tells the stream that a request begins.
    begins: Arc<AtomicBool>,
    /// Comes when the connection has ended: the status of the last answer, if it could be understood.
    ended: oneshot::Receiver<Option<u16>>,
    idle_since: Instant,
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
        let dial = Dial(dialer);
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(dial);
        let authority = &url[Position::BeforeHost..Position::AfterPort];
        let origin = format!("{}://{authority}/", url.scheme()).parse()?;
        Ok(Connector { origin, https: TowerToHyperService::new(https) })
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
                Err(mut error) => match error.take_message() {
                    // The endpoint closed the connection at this very moment, and nothing was sent.
                    Some(unsent) => request = unsent,
                    None => return Err(SendError::Request(error.into_error())),
                },
            }
        }
        // The connection that was kept knows nothing of this request's answer.
        *slot = None;
        let new = slot.insert(self.connect().await?);
        new.send(request).await.map_err(|error| SendError::Request(error.into_error()))
    }

    async fn connect(&self) -> Result<Connection, SendError> {
        let stream = self.https.call(self.origin.clone()).await.map_err(SendError::Connect)?;
        Connection::over(stream).await.map_err(SendError::Request)
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<TcpStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, origin: Uri) -> Self::Future {
        let dialer = self.0.clone();
        Box::pin(async move {
            let default = if origin.scheme_str() == Some("https") { 443 } else { 80 };
            let port = origin.port_u16().unwrap_or(default);
            let host = origin.host().unwrap_or_default();
            Ok(TokioIo::new(dialer.connect(host, port).await?))
        })
    }
}

/// Moves the bytes of a connection. It ends when the sender is dropped or the endpoint closes the connection, and a waiting request then
/// gets an error.
async fn drive<S>(
    mut connection: http1::Connection<AnswerStream<S>, Full<Bytes>>,
    says_ended: oneshot::Sender<Option<u16>>,
) where
    S: Read + Write + Unpin,
{
    let ended = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection to an endpoint broke");
    }
    let mut stream = connection.into_parts().io;
    // Nobody asks for the status when all went well.
    says_ended.send(stream.status()).ok();
    drop(timeout(FAREWELL, poll_fn(|context| Pin::new(&mut stream).poll_shutdown(context))).await);
}

impl Connection {
    /// Begins to speak HTTP over a stream.
    pub(super) async fn over<S>(stream: S) -> hyper::Result<Connection>
    where
        S: Read + Write + Unpin + Send + 'static,
    {
        let begins = Arc::new(AtomicBool::new(false));
        let stream = AnswerStream::new(stream, Arc::clone(&begins));
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
        sender.ready().await?;
        Ok(Connection { sender, begins, ended, idle_since: Instant::now() })
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>> {
        self.begins.store(true, Ordering::Release);
        self.sender.try_send_request(request).await
    }

    /// Ends the connection, and returns the status of the answer that did not come whole, as far as it could be understood.
    pub(super) async fn status(self) -> Option<u16> {
        drop(self.sender);
        timeout(FAREWELL, self.ended).await.ok()?.ok()?
    }

    /// Starts the idle time of a connection whose response was read to its end.
    pub(super) fn idle(mut self) -> Connection {
        self.idle_since = Instant::now();
        self
    }

    /// Returns whether it can be used for one more request.
    pub(super) fn is_usable(&self) -> bool {
        !self.sender.is_closed() && self.idle_since.elapsed() < LONGEST_IDLE
    }
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
        match tls::explain(error, Peer::Destination) {
            Some(advice) => write!(formatter, "{what}: {advice}"),
            None => write!(formatter, "{what}: {cause}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::Egress;

    #[test]
    fn it_connects_to_scheme_host_and_port_alone() {
        let url = Url::parse("https://us%20er:p%2Bw+d@erp.example:8443/hooks/a?token=1#part").unwrap();

        let connector = Connector::new(&url, Egress::default().dialer(), tls::client(None, None).unwrap()).unwrap();

        assert_eq!(connector.origin, "https://erp.example:8443/");
    }
}
