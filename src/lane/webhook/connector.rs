//! Sends requests to an endpoint. In: where it is, and one request at a time. Out: its response, or why there is none, over a connection that
//! is kept between requests. It never sends a request twice that may have been understood: only one of which nothing was sent, because the endpoint had
//! closed the kept connection, or which was answered in another version of HTTP, goes out on a new one.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::Response;
use hyper::Uri;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use url::Position;
use url::Url;

use crate::egress::Dialer;
use crate::lane::webhook::connection::Connection;
use crate::lane::webhook::connection::Unanswered;
use crate::lane::webhook::connection::broken;
use crate::lane::webhook::send_error::Broken;
use crate::lane::webhook::send_error::SendError;
use crate::lane::webhook::transport::Stream;
use crate::lane::webhook::transport::Transport;
use crate::lane::webhook::transport::Version;

/// Connects to one endpoint.
#[derive(Debug)]
pub(super) struct Connector {
    /// The scheme, host and port of the endpoint.
    origin: Uri,
    transport: Transport,
}

impl Connector {
    /// Prepares to connect to the endpoint of this URL.
    pub(super) fn new(url: &Url, dialer: Dialer, tls: ClientConfig) -> anyhow::Result<Connector> {
        let authority = &url[Position::BeforeHost..Position::AfterPort];
        let origin = format!("{}://{authority}/", url.scheme()).parse()?;
        Ok(Connector { origin, transport: Transport::new(url, dialer, tls)? })
    }

    /// Sends a request over the connection in `slot`, or over a new one, which is then in `slot`. After an error there is none; when the future
    /// was dropped, the one in `slot` can only say what was understood of the answer.
    pub(super) async fn send(
        &self,
        slot: &mut Option<Connection>,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, SendError> {
        if let Some(kept) = slot.as_mut().filter(|kept| kept.is_usable()) {
            match kept.send(request).await {
                Ok(response) => return Ok(response),
                // The endpoint closed the connection at this very moment, and nothing was sent.
                Err(Unanswered { unsent: Some(unsent), .. }) => request = unsent,
                Err(unanswered) => return Err(SendError::Request(broken(slot, unanswered).await)),
            }
        }
        // The connection that was kept knows nothing of this request's answer.
        *slot = None;
        let (stream, version) = self.open().await?;
        let again = (version == Version::Unnamed).then(|| request.clone());
        let (broken, again) = match (self.send_over(stream, version, slot, request).await, again) {
            (Err(broken), Some(again)) if broken.status.is_none() => (broken, again),
            (sent, _) => return sent.map_err(SendError::Request),
        };
        // Another attempt finds out more, and if the endpoint has no HTTP/2, that costs it nothing.
        self.transport.expect_http2();
        if !broken.hears_http2 {
            return Err(SendError::Request(broken));
        }
        match self.open().await {
            Ok((stream, Version::Http2)) => {
                self.send_over(stream, Version::Http2, slot, again).await.map_err(SendError::Request)
            }
            _ => Err(SendError::Request(broken)),
        }
    }

    async fn open(&self) -> Result<(Stream, Version), SendError> {
        self.transport.open().await.map_err(|error| SendError::Connect(error.into()))
    }

    async fn send_over(
        &self,
        stream: Stream,
        version: Version,
        slot: &mut Option<Connection>,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Broken> {
        let stream = TokioIo::new(stream);
        let new = slot.insert(match version {
            Version::Http1 | Version::Unnamed => Connection::over(stream).await?,
            Version::Http2 => Connection::over_http2(stream, self.origin.clone()).await?,
        });
        match new.send(request).await {
            Ok(response) => Ok(response),
            Err(unanswered) => Err(broken(slot, unanswered).await),
        }
    }
}
