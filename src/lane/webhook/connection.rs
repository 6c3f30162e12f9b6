//! Connections to an endpoint, HTTP/1.1, kept between requests. In: where the endpoint is, and a request. Out: its response, and the
//! connection it came by. It never sends a request twice: only one that was not sent at all, because a kept connection had ended, goes out
//! on a new one.

use std::error::Error;
use std::fmt;
use std::time::Duration;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::Response;
use hyper::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::client::conn::http1::SendRequest;
use hyper::header::HeaderValue;
use hyper::service::Service as _;
use hyper_rustls::HttpsConnector;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::service::TowerToHyperService;
use rustls::ClientConfig;
use url::Position;
use url::Url;

use crate::tls;

/// Where an endpoint is.
#[derive(Debug)]
pub(super) struct Address {
    /// Scheme, host and port, to connect to.
    place: Uri,
    /// What stands in the request's first line: path and query.
    pub(super) target: Uri,
    /// The `host` header.
    pub(super) host: HeaderValue,
    /// The `authorization` header, where the URL names a user.
    pub(super) authorization: Option<HeaderValue>,
    connector: TowerToHyperService<HttpsConnector<HttpConnector>>,
}

/// A connection that waits for the next request.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    idle_since: Instant,
}

/// Why there is no response. It does not show the URL, which may hold a token.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Name, address, TCP or TLS.
    Connect(Box<dyn Error + Send + Sync>),
    /// The connection ended before the response, or what came is no HTTP.
    Request(hyper::Error),
}

/// A connection that was not used for so long may be dead without a word: something on the way may have forgotten it.
const LONGEST_REST: Duration = Duration::from_secs(90);
/// An endpoint that vanished is noticed by TCP, whatever the attempt's own time.
const KEEPALIVE: Duration = Duration::from_secs(15);

impl Address {
    pub(super) fn new(url: &Url, tls: ClientConfig) -> anyhow::Result<Address> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(KEEPALIVE));
        http.set_keepalive_interval(Some(KEEPALIVE));
        http.set_keepalive_retries(Some(3));
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http);
        let authority = &url[Position::BeforeHost..Position::AfterPort];
        let user = &url[Position::BeforeUsername..Position::AfterPassword];
        let authorization = (!user.is_empty()).then(|| {
            let decoded = |text: &str| percent_decoded(text);
            let pair = format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or_default()));
            let mut header = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
            if let Ok(header) = &mut header {
                header.set_sensitive(true);
            }
            header
        });
        Ok(Address {
            place: format!("{}://{authority}/", url.scheme()).parse()?,
            target: url[Position::BeforePath..Position::AfterQuery].parse()?,
            host: authority.parse()?,
            authorization: authorization.transpose()?,
            connector: TowerToHyperService::new(https),
        })
    }

    /// Sends a request over a connection that is kept, or over a new one. Dropping the future gives both up.
    pub(super) async fn send(
        &self,
        kept: Option<Connection>,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Connection, Response<Incoming>), Trouble> {
        if let Some(mut connection) = kept.filter(Connection::is_fit) {
            match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok((connection, response)),
                Err(mut error) => match error.take_message() {
                    // The endpoint had closed it in this moment, and nothing was sent.
                    Some(unsent) => request = unsent,
                    None => return Err(Trouble::Request(error.into_error())),
                },
            }
        }
        let mut connection = self.connect().await?;
        let response = connection.sender.send_request(request).await.map_err(Trouble::Request)?;
        Ok((connection, response))
    }

    async fn connect(&self) -> Result<Connection, Trouble> {
        let stream = self.connector.call(self.place.clone()).await.map_err(Trouble::Connect)?;
        let (mut sender, connection) = http1::handshake(stream).await.map_err(Trouble::Request)?;
        // It ends with its sender, or with the endpoint; whoever waits for a response is told.
        tokio::spawn(connection);
        sender.ready().await.map_err(Trouble::Request)?;
        Ok(Connection { sender, idle_since: Instant::now() })
    }
}

impl Connection {
    /// Its response was read to the end: it waits for the next request.
    pub(super) fn rests(mut self) -> Connection {
        self.idle_since = Instant::now();
        self
    }

    /// Whether it may be used again.
    pub(super) fn is_fit(&self) -> bool {
        !self.sender.is_closed() && self.idle_since.elapsed() < LONGEST_REST
    }
}

/// The innermost cause is what helps: the outer ones say that a request failed.
impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, error): (_, &(dyn Error + 'static)) = match self {
            Trouble::Connect(error) => ("cannot connect", error.as_ref()),
            Trouble::Request(error) => ("the request failed", error),
        };
        let mut cause = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        match tls::explain(error) {
            Some(advice) => write!(formatter, "{what}: {advice}"),
            None => write!(formatter, "{what}: {cause}"),
        }
    }
}

fn percent_decoded(text: &str) -> String {
    url::form_urlencoded::parse(format!("a={}", text.replace('+', "%2B")).as_bytes())
        .next()
        .map_or_else(String::new, |(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_as_http_wants_it() {
        let url = Url::parse("https://us%20er:p%2Bw+d@erp.example:8443/hooks/a?token=1#part").unwrap();

        let address = Address::new(&url, tls::client(None, None).unwrap()).unwrap();

        assert_eq!(address.place, "https://erp.example:8443/");
        assert_eq!(address.target, "/hooks/a?token=1");
        assert_eq!(address.host, "erp.example:8443");
        let pair =
            STANDARD.decode(address.authorization.unwrap().to_str().unwrap().trim_start_matches("Basic ")).unwrap();
        assert_eq!(pair, b"us er:p+w+d");
        let plain = Address::new(&Url::parse("http://127.0.0.1").unwrap(), tls::client(None, None).unwrap()).unwrap();
        assert_eq!((plain.target, plain.authorization), ("/".parse().unwrap(), None));
    }
}
