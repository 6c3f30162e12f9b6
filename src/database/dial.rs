//! The hosts of an address, and the ways to reach one. In: an address that was read. Out: a connection on which nothing has been set yet, and
//! which the caller has to poll.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::Config;
use tokio_postgres::Connection;
use tokio_postgres::Error;
use tokio_postgres::Socket;
use tokio_postgres::config::Host;
use tokio_postgres::config::SslMode;
use tokio_postgres::config::SslNegotiation;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::database::session;
use crate::database::url::Address;
use crate::database::url::PATIENCE;
use crate::database::url::TlsMode;

/// A connection, which has to be polled. Notifications come out of it.
pub type PostgresConnection = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// The hosts of a database, in the order in which they are tried. Clones share what was learned about them.
#[derive(Clone)]
pub(super) struct Hosts {
    configs: Vec<Config>,
    tls: TlsMode,
    connector: MakeRustlsConnect,
    /// User, hosts, ports and database, for messages.
    pub(super) target: String,
    /// The host that took the last connection, and is tried first.
    last: Arc<AtomicUsize>,
    /// Where the address leaves it open, whether connections go the way that is tried second: without TLS for `prefer`, with it for `allow`.
    second_way: Arc<AtomicBool>,
}

impl Hosts {
    /// Prepares the hosts of an address.
    pub(super) fn new(address: &Address, mut tls: rustls::ClientConfig) -> Hosts {
        if address.hosts.iter().any(|host| host.get_ssl_negotiation() == SslNegotiation::Direct) {
            tls.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Hosts {
            configs: address.hosts.clone(),
            tls: address.tls,
            connector: MakeRustlsConnect::new(tls),
            target: target(&address.hosts),
            last: Arc::default(),
            second_way: Arc::default(),
        }
    }

    /// Adds a mark to the end of the name of each session.
    pub(super) fn mark(&mut self, mark: &str) {
        for config in &mut self.configs {
            // The server cuts names off after 63 bytes.
            let name: String = config.get_application_name().unwrap_or_default().chars().take(40).collect();
            config.application_name(name + mark);
        }
    }

    /// How long connecting may take: a host that is away may take up its time before another one is asked.
    pub(super) fn patience(&self) -> Duration {
        PATIENCE * u32::try_from(self.configs.len()).unwrap_or(u32::MAX)
    }

    /// Opens a session, with the settings of Andon's sessions, on the first host that takes writes.
    pub(super) async fn open(&self) -> Result<(Client, PostgresConnection), Error> {
        self.connect(true).await
    }

    /// Connects to the first host that answers, and sets nothing.
    pub(super) async fn dial(&self) -> Result<(Client, PostgresConnection), Error> {
        self.connect(false).await
    }

    /// Tries the hosts in turn, the one that was right the last time first. Returns the error of the last one if none will do.
    async fn connect(&self, is_prepared: bool) -> Result<(Client, PostgresConnection), Error> {
        let first = self.last.load(Ordering::Relaxed);
        let mut outcome = self.connect_to(first, is_prepared).await;
        for place in (0..self.configs.len()).filter(|place| *place != first) {
            let Err(error) = &outcome else { break };
            tracing::debug!(%error, database = self.target, "a host of the database will not do; trying the next");
            outcome = self.connect_to(place, is_prepared).await;
            if outcome.is_ok() {
                self.last.store(place, Ordering::Relaxed);
            }
        }
        outcome
    }

    async fn connect_to(&self, place: usize, is_prepared: bool) -> Result<(Client, PostgresConnection), Error> {
        let (client, mut link) = self.dial_host(&self.configs[place]).await?;
        if is_prepared {
            let preparing = session::prepare(&client);
            tokio::pin!(preparing);
            // Whatever ends the connection is the answer to the request as well.
            tokio::select! {
                biased;
                prepared = &mut preparing => prepared?,
                ended = &mut link => {
                    ended?;
                    preparing.await?;
                }
            }
        }
        Ok((client, link))
    }

    /// As in libpq, `prefer` goes on without TLS when TLS fails, `allow` asks for TLS when the server wants it, and `require` does neither.
    /// Unlike in libpq, `require` verifies the certificate.
    async fn dial_host(&self, host: &Config) -> Result<(Client, PostgresConnection), Error> {
        let ways = match self.tls {
            TlsMode::Disable => [SslMode::Disable; 2],
            TlsMode::Require => [SslMode::Require; 2],
            TlsMode::Prefer => [SslMode::Prefer, SslMode::Disable],
            TlsMode::Allow => [SslMode::Disable, SslMode::Require],
        };
        let connect = |mode| {
            let mut config = host.clone();
            config.ssl_mode(mode);
            let connector = self.connector.clone();
            async move { config.connect(connector).await }
        };
        let is_second = self.second_way.load(Ordering::Relaxed);
        let [known, other] = if is_second { [ways[1], ways[0]] } else { ways };
        let error = match connect(known).await {
            Err(error) if known != other && (is_of_tls(&error) || is_refused(&error)) => error,
            outcome => return outcome,
        };
        let opened = match connect(other).await {
            // The server wants TLS, so the reason is why there is none.
            Err(refusal) if is_of_tls(&error) && is_refused(&refusal) => return Err(error),
            outcome => outcome?,
        };
        self.second_way.store(!is_second, Ordering::Relaxed);
        if other == SslMode::Disable && is_of_tls(&error) {
            let error = tls_reason(&error);
            tracing::warn!(
                database = self.target,
                error,
                "the connection to PostgreSQL is not encrypted, for its certificate \
                cannot be verified; set database.ca_file and sslmode=require, or sslmode=disable where that is meant"
            );
        }
        Ok(opened)
    }
}

fn target(hosts: &[Config]) -> String {
    let names = hosts.iter().map(|host| {
        let name = match (host.get_hosts(), host.get_hostaddrs()) {
            ([Host::Tcp(name)], _) => name.clone(),
            ([Host::Unix(path)], _) => path.display().to_string(),
            (_, addresses) => addresses.iter().map(ToString::to_string).collect(),
        };
        let port = host.get_ports().first().copied().unwrap_or(5432);
        if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") }
    });
    let names = names.collect::<Vec<_>>().join(",");
    let first = hosts.first();
    let user = first.and_then(Config::get_user);
    let database = first.and_then(Config::get_dbname).or(user).unwrap_or("(default)");
    format!("{}@{names}/{database}", user.unwrap_or("(current user)"))
}

/// The server takes no connection like this one: it wants TLS, or wants none.
fn is_refused(error: &Error) -> bool {
    error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
}

fn is_of_tls(error: &Error) -> bool {
    source_of_tls(error).is_some()
}

fn tls_reason(error: &Error) -> String {
    source_of_tls(error).map_or_else(|| error.to_string(), ToString::to_string)
}

fn source_of_tls(error: &Error) -> Option<&rustls::Error> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let within = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(found) = within.and_then(|error| error.downcast_ref()).or_else(|| error.downcast_ref()) {
            return Some(found);
        }
        source = error.source();
    }
    None
}
