//! The hosts of an address, and the ways to reach one. In: an address that was read. Out: a connection on which nothing has been set yet, and
//! which the caller has to poll.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::ClientConfig;
use tokio_postgres::Client;
use tokio_postgres::Config;
use tokio_postgres::Connection;
use tokio_postgres::Error;
use tokio_postgres::Socket;
use tokio_postgres::config::Host;
use tokio_postgres::config::SslMode;
use tokio_postgres::config::SslNegotiation;
use tokio_postgres::error::SqlState;

use crate::database::encryption::Encryption;
use crate::database::encryption::Encryptor;
use crate::database::encryption::PostgresStream;
use crate::database::session;
use crate::database::url::Address;
use crate::database::url::PATIENCE;
use crate::database::url::TlsMode;
use crate::tls;
use crate::tls::Peer;

/// A connection, which has to be polled. Notifications come out of it.
pub type PostgresConnection = Connection<Socket, PostgresStream>;

/// The hosts of a database, in the order in which they are tried. Clones share what was learned about them.
#[derive(Clone)]
pub(super) struct Hosts {
    configs: Vec<Config>,
    tls: TlsMode,
    verified: Encryptor,
    unverified: Encryptor,
    /// User, hosts, ports and database, for messages.
    pub(super) target: String,
    /// The host that took the last connection, and is tried first.
    last: Arc<AtomicUsize>,
    /// Where the address leaves it open, whether connections go the way that is tried second: in the open for `prefer`, in TLS for `allow`.
    second_way: Arc<AtomicBool>,
}

impl Hosts {
    /// Prepares the hosts of an address.
    pub(super) fn new(address: &Address, mut tls: ClientConfig) -> Hosts {
        if address.hosts.iter().any(|host| host.get_ssl_negotiation() == SslNegotiation::Direct) {
            tls.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Hosts {
            configs: address.hosts.clone(),
            tls: address.tls,
            verified: Encryptor::verified(tls.clone()),
            unverified: Encryptor::unverified(tls),
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

    /// Returns whether each connection is verified.
    pub(super) fn verifies(&self) -> bool {
        self.tls == TlsMode::Require
    }

    /// Returns whether all hosts are this machine.
    pub(super) fn is_local(&self) -> bool {
        self.configs.iter().all(|config| match (config.get_hosts(), config.get_hostaddrs()) {
            (_, [address, ..]) => address.is_loopback(),
            ([Host::Tcp(name)], _) => {
                name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
            _ => true,
        })
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

    async fn dial_host(&self, host: &Config) -> Result<(Client, PostgresConnection), Error> {
        let ways = ways(self.tls, host);
        let is_second = self.second_way.load(Ordering::Relaxed);
        let [known, other] = if is_second { [ways[1], ways[0]] } else { ways };
        let error = match self.dial_by(host, known).await {
            Err(error) if known != other && (is_of_tls(&error) || is_refused(&error)) => error,
            outcome => return outcome,
        };
        let opened = match self.dial_by(host, other).await {
            // The server wants TLS, so the reason is why there is none.
            Err(refusal) if is_of_tls(&error) && is_refused(&refusal) => return Err(error),
            outcome => outcome?,
        };
        self.second_way.store(!is_second, Ordering::Relaxed);
        Ok(opened)
    }

    async fn dial_by(&self, host: &Config, way: Encryption) -> Result<(Client, PostgresConnection), Error> {
        let mut config = host.clone();
        match way {
            Encryption::Verified => config.ssl_mode(SslMode::Require).connect(self.verified.clone()).await,
            Encryption::Unverified => config.ssl_mode(SslMode::Require).connect(self.unverified.clone()).await,
            // Without a password, or on a socket of the system, there is nothing to guard.
            Encryption::None if host.get_password().is_none() || is_socket(host) => {
                config.ssl_mode(SslMode::Disable).connect(self.unverified.clone()).await
            }
            // The driver gives its stream away only to what makes TLS of it. Told that TLS begins at once, it asks the server for none.
            Encryption::None => {
                config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
                config.connect(self.unverified.none()).await
            }
        }
    }
}

/// Returns the ways to a host that its address allows, in the order in which they are tried. As in libpq, `prefer` takes whatever certificate
/// there is, goes on in the open where the server has no TLS, and `allow` asks for TLS when the server wants it. Unlike in libpq, `require`
/// verifies, and nobody on the way can talk Andon out of TLS when there is a password to lose.
fn ways(tls: TlsMode, host: &Config) -> [Encryption; 2] {
    match tls {
        _ if is_socket(host) => [Encryption::None; 2],
        TlsMode::Disable => [Encryption::None; 2],
        TlsMode::Require => [Encryption::Verified; 2],
        TlsMode::Prefer | TlsMode::Allow if host.get_password().is_some() => [Encryption::Unverified; 2],
        TlsMode::Prefer => [Encryption::Unverified, Encryption::None],
        TlsMode::Allow => [Encryption::None, Encryption::Unverified],
    }
}

/// No network lies between Andon and a socket of the system, and PostgreSQL has no TLS there.
fn is_socket(host: &Config) -> bool {
    matches!(host.get_hosts(), [Host::Unix(_)])
}

/// Returns the host and the address of each of these, with its port. A socket of the file system belongs to a server of this machine.
pub(super) fn endpoints(hosts: &[Config]) -> Vec<(String, u16)> {
    let of = |host: &Config| {
        let port = host.get_ports().first().copied().unwrap_or(5432);
        let names = host.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(_) => "localhost".to_owned(),
        });
        let addresses = host.get_hostaddrs().iter().map(ToString::to_string);
        names.chain(addresses).map(|host| (host, port)).collect::<Vec<_>>()
    };
    hosts.iter().flat_map(of).collect()
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

/// The server has no TLS, or none that Andon can speak.
fn is_of_tls(error: &Error) -> bool {
    has_no_tls(error) || tls::explain(error, Peer::Database).is_some()
}

/// The server answered that it has no TLS. The driver has only a text for that.
pub(super) fn has_no_tls(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.to_string() == "server does not support TLS")
}
