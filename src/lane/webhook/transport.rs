//! The way to an endpoint. In: where it is. Out: a connection by TCP, in TLS if its address says so, and the version of HTTP to speak on it:
//! HTTP/1.1, or HTTP/2 if the endpoint refuses to speak anything else. It sends nothing of a request.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use url::Url;

use crate::egress::Dialer;
use crate::tls;

/// Opens connections to one endpoint.
pub(super) struct Transport {
    host: String,
    port: u16,
    dialer: Dialer,
    tls: Option<Tls>,
}

/// A connection, encrypted or not.
pub(super) type Stream = Either<Box<TlsStream<TcpStream>>, TcpStream>;

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    /// HTTP/1.1, to an endpoint that did not say in TLS what it speaks. Some have HTTP/2 alone, and do not refuse what they have not.
    Unnamed,
    Http2,
}

/// How TLS is spoken to the endpoint. One version is offered at a time, because many servers that have both choose HTTP/2 whatever is preferred.
struct Tls {
    name: ServerName<'static>,
    http1: TlsConnector,
    http2: TlsConnector,
    /// The endpoint had nothing but HTTP/2 the last time.
    has_only_http2: AtomicBool,
    /// The endpoint may have nothing else, which one more connection finds out. It is one, lest an endpoint be lost for good that breaks off or
    /// says nothing when HTTP/2 is offered.
    may_have_only_http2: AtomicBool,
}

impl Transport {
    /// Prepares to connect to the endpoint of this URL.
    pub(super) fn new(url: &Url, dialer: Dialer, config: ClientConfig) -> anyhow::Result<Transport> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or_default();
        let tls = if url.scheme() == "https" { Some(Tls::new(&host, config)?) } else { None };
        Ok(Transport { host, port, dialer, tls })
    }

    /// Connects. If the endpoint does not speak the version that is offered, the other one is offered on a connection of its own.
    pub(super) async fn open(&self) -> io::Result<(Stream, Version)> {
        let Some(tls) = &self.tls else { return Ok((Either::Right(self.dial().await?), Version::Http1)) };
        let may_have_only_http2 = tls.may_have_only_http2.swap(false, Ordering::Relaxed);
        let has_only_http2 = may_have_only_http2 || tls.has_only_http2.load(Ordering::Relaxed);
        let (first, other) = if has_only_http2 { (&tls.http2, &tls.http1) } else { (&tls.http1, &tls.http2) };
        let stream = match first.connect(tls.name.clone(), self.dial().await?).await {
            Err(error) if tls::speaks_another_protocol(&error) => {
                other.connect(tls.name.clone(), self.dial().await?).await.map_err(tls::of_handshake)?
            }
            connected => connected.map_err(tls::of_handshake)?,
        };
        let version = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Version::Http2,
            Some(_) => Version::Http1,
            None => Version::Unnamed,
        };
        tls.has_only_http2.store(version == Version::Http2, Ordering::Relaxed);
        Ok((Either::Left(Box::new(stream)), version))
    }

    /// Lets the next connection offer HTTP/2 first. An endpoint that names no version in TLS is called in HTTP/1.1 all the same.
    pub(super) fn expect_http2(&self) {
        if let Some(tls) = &self.tls {
            tls.may_have_only_http2.store(true, Ordering::Relaxed);
        }
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        self.dialer.connect(&self.host, self.port).await
    }
}

impl Tls {
    fn new(host: &str, config: ClientConfig) -> anyhow::Result<Tls> {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
        let offering = |protocol: &[u8]| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.to_vec()];
            TlsConnector::from(Arc::new(config))
        };
        let (http1, http2) = (offering(b"http/1.1"), offering(b"h2"));
        Ok(Tls {
            name,
            http1,
            http2,
            has_only_http2: AtomicBool::new(false),
            may_have_only_http2: AtomicBool::new(false),
        })
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transport({}:{})", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::Egress;

    #[test]
    fn it_connects_to_scheme_host_and_port_alone() {
        let of = |url: &str| {
            let url = Url::parse(url).unwrap();
            Transport::new(&url, Egress::default().dialer(), tls::client(None, None).unwrap()).unwrap()
        };

        let named = of("https://us%20er:p%2Bw+d@erp.example:8443/hooks/a?token=1#part");
        assert_eq!(format!("{named:?}"), "Transport(erp.example:8443)");
        assert!(named.tls.is_some());
        let literal = of("https://[::1]/");
        assert_eq!((literal.port, literal.tls.unwrap().name), (443, ServerName::try_from("::1").unwrap()));
        assert!(of("http://erp.example/").tls.is_none());
    }
}
