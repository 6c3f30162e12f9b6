//! TLS in front of a server that has none, with a certificate of a test's choice. In: TLS, or PostgreSQL's request for it and then TLS. Out: what is
//! within, passed on to a port of 127.0.0.1. So the same bad certificate stands before a database, a broker and an endpoint.

use std::sync::Arc;

use anyhow::Context;
use anyhow::Result;
use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::server::TlsStream;

use crate::record::Record;

/// A server on 127.0.0.1 that ends TLS. Dropping it cuts everything.
pub struct TlsFront {
    port: u16,
    greetings: Arc<Record<Greeting>>,
    task: JoinHandle<()>,
}

/// What a client asked for that was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The name of the server (SNI).
    pub server: Option<String>,
    /// The protocol that was agreed on (ALPN).
    pub protocol: Option<String>,
}

/// How it speaks.
#[derive(Debug, Clone)]
pub enum Speaks {
    /// TLS 1.2 or 1.3 with this certificate and key, both PEM.
    Tls {
        /// The chain of certificates.
        certificate: String,
        /// The key of the first one.
        key: String,
        /// The authority that has to have signed the client's certificate, if the client needs one.
        clients: Option<String>,
        /// The protocols that it knows. If there are some, it refuses a client that names only others.
        protocols: Vec<String>,
    },
    /// TLS that never refuses a client for the protocols that it names, as OpenSSL does unless it is told to: if it knows none of them, none is
    /// agreed on.
    LenientTls {
        /// The chain of certificates.
        certificate: String,
        /// The key of the first one.
        key: String,
        /// The protocols that it knows.
        protocols: Vec<String>,
    },
    /// As a server that knows nothing beyond TLS 1.1.
    OldTls,
}

/// The refusal of a client that offers no version below 1.2: a fatal alert, "protocol_version" (RFC 5246, section 7.2).
const PROTOCOL_VERSION: [u8; 7] = [21, 3, 2, 0, 2, 2, 70];
/// PostgreSQL's request for TLS has eight bytes, of which the first is zero. TLS begins with another one.
const REQUEST: usize = 8;

impl TlsFront {
    /// Starts it on a free port, in front of the server at `behind`.
    pub async fn start(behind: u16, speaks: Speaks) -> Result<TlsFront> {
        let configs = match speaks {
            Speaks::OldTls => None,
            Speaks::Tls { certificate, key, clients, protocols } => {
                let config = Arc::new(config(&certificate, &key, clients.as_deref(), protocols)?);
                Some(Configs { agreeing: Arc::clone(&config), other: config })
            }
            Speaks::LenientTls { certificate, key, protocols } => {
                let agreeing = Arc::new(config(&certificate, &key, None, protocols)?);
                Some(Configs { agreeing, other: Arc::new(config(&certificate, &key, None, Vec::new())?) })
            }
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no free port for TLS")?;
        let port = listener.local_addr()?.port();
        let greetings = Arc::default();
        let task = tokio::spawn(serve(listener, behind, configs, Arc::clone(&greetings)));
        Ok(TlsFront { port, greetings, task })
    }

    /// Returns its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the record of the clients that were let in.
    pub fn greetings(&self) -> &Arc<Record<Greeting>> {
        &self.greetings
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How clients are let in that name a protocol which is known, and how all others are.
#[derive(Clone)]
struct Configs {
    agreeing: Arc<ServerConfig>,
    other: Arc<ServerConfig>,
}

impl Configs {
    async fn accept(&self, socket: TcpStream) -> Result<TlsStream<TcpStream>> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
        let known = &self.agreeing.alpn_protocols;
        let agrees = start
            .client_hello()
            .alpn()
            .is_some_and(|mut named| named.any(|name| known.iter().any(|protocol| protocol == name)));
        let config = if agrees { &self.agreeing } else { &self.other };
        Ok(start.into_stream(Arc::clone(config)).await?)
    }
}

fn config(certificate: &str, key: &str, clients: Option<&str>, protocols: Vec<String>) -> Result<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let config = match clients {
        None => ServerConfig::builder().with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
            ServerConfig::builder().with_client_cert_verifier(verifier)
        }
    };
    let mut config = config.with_single_cert(chain, key)?;
    config.alpn_protocols = protocols.into_iter().map(String::into_bytes).collect();
    Ok(config)
}

async fn serve(listener: TcpListener, behind: u16, configs: Option<Configs>, greetings: Arc<Record<Greeting>>) {
    // The connections live in this set so that they end with the front.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((socket, _)) = accepted {
                let (configs, greetings) = (configs.clone(), Arc::clone(&greetings));
                connections.spawn(async move {
                    if let Err(error) = pass_on(socket, behind, configs, &greetings).await {
                        tracing::debug!(%error, "a connection through TLS ended");
                    }
                });
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn pass_on(
    mut socket: TcpStream,
    behind: u16,
    configs: Option<Configs>,
    greetings: &Record<Greeting>,
) -> Result<()> {
    let mut first = [0];
    if socket.peek(&mut first).await? > 0 && first == [0] {
        socket.read_exact(&mut [0; REQUEST]).await?;
        socket.write_all(b"S").await?;
    }
    let Some(configs) = configs else {
        // The hello is read first, or the reset of a socket with unread bytes would overtake the alert.
        socket.read_buf(&mut BytesMut::with_capacity(4096)).await?;
        socket.write_all(&PROTOCOL_VERSION).await?;
        socket.shutdown().await?;
        socket.read_buf(&mut BytesMut::with_capacity(64)).await?;
        return Ok(());
    };
    let mut within = configs.accept(socket).await?;
    let (_, session) = within.get_ref();
    let protocol = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
    greetings.append(Arc::new(Greeting { server: session.server_name().map(str::to_owned), protocol }));
    let mut server = TcpStream::connect(("127.0.0.1", behind)).await?;
    copy_bidirectional(&mut within, &mut server).await?;
    Ok(())
}
