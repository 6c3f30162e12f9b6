//! What the address of a database may say. In: the text that people paste, written for libpq, JDBC, Prisma, node-postgres or SQLAlchemy.
//! Out: how to reach each of its hosts, and which of its parameters mean nothing to Andon; or why the text is refused. Whatever cannot be
//! honoured is refused by its name, and no message shows a password.

mod foreign;
mod pairs;

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::ChannelBinding;
use tokio_postgres::config::SslNegotiation;

/// How long connecting may take, and how long a server may be silent before TCP asks whether it is still there.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Why an address is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlProblem {
    /// The text cannot be read. No part of it is shown, since any part may belong to a password.
    #[error(
        "is not the address of a PostgreSQL database; write postgres://user:password@host:5432/name?sslmode=require and percent-encode special characters of the password"
    )]
    NoAddress,
    /// There is nothing to connect to.
    #[error("names no host; write postgres://user:password@host:5432/name, or host=/run/postgresql for a socket")]
    NoHost,
    /// A value that no program could use.
    #[error("has a `{key}` that cannot be used; write {allowed}")]
    Value {
        /// The parameter.
        key: &'static str,
        /// What may be written instead.
        allowed: &'static str,
    },
    /// Andon cannot do what the parameter asks for, and to ignore it would not be safe.
    #[error("asks for `{key}`, which Andon cannot honour; {advice}")]
    Refused {
        /// The parameter.
        key: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A parameter that neither libpq nor any driver known to us has. It may be a mistyped one that matters.
    #[error("has a parameter {0} that Andon does not know; correct or remove it")]
    Unknown(String),
}

/// When the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum TlsMode {
    /// Never.
    Disable,
    /// Only if the server refuses a connection that is not.
    Allow,
    /// If the server can, whatever its certificate is.
    #[default]
    Prefer,
    /// Always, with a certificate that can be verified.
    Require,
}

impl TlsMode {
    /// Returns what is meant when an address names certificates.
    pub(super) fn with_certificates(self) -> TlsMode {
        match self {
            TlsMode::Disable => TlsMode::Disable,
            TlsMode::Allow | TlsMode::Prefer | TlsMode::Require => TlsMode::Require,
        }
    }
}

/// An address that was read.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// One for each host, in the order in which they are tried.
    pub(super) hosts: Vec<Config>,
    pub(super) tls: TlsMode,
    /// From `sslrootcert`.
    pub(super) ca_file: Option<PathBuf>,
    /// From `sslcert` and `sslkey`.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
    /// The parameters that mean nothing to Andon.
    pub(super) ignored: Vec<String>,
}

/// Reads an address.
pub(super) fn read(text: &str) -> Result<Address, UrlProblem> {
    let text = text.trim();
    let pairs = pairs::read(text).ok_or(UrlProblem::NoAddress)?;
    let mut parts = Parts::default();
    // A server that vanished without a word is noticed within half a minute, and not after the system's default of two hours.
    parts.common.keepalives_idle(PATIENCE).keepalives_interval(PATIENCE / 2).keepalives_retries(3);
    for (place, (key, value)) in pairs.iter().enumerate() {
        // An empty value stands for the default, as in libpq.
        if value.is_empty() {
            continue;
        }
        if key == "password" {
            parts.common.password(value);
            continue;
        }
        let value = std::str::from_utf8(value).map_err(|_| UrlProblem::NoAddress)?;
        if !parts.take(key, value)? {
            // What follows a second `@` may be a piece of a password. So may anything that is not written like the name of a parameter.
            let is_name = key.chars().all(|c| c.is_ascii_alphabetic() || c == '_') && text.matches('@').count() < 2;
            let shown = if is_name { format!("`{key}`") } else { format!("(number {})", place + 1) };
            return Err(UrlProblem::Unknown(shown));
        }
    }
    parts.address()
}

/// What was read so far.
#[derive(Default)]
struct Parts {
    common: Config,
    hosts: Vec<String>,
    addresses: Vec<String>,
    ports: Vec<String>,
    tls: TlsMode,
    ca_file: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    ignored: Vec<String>,
}

impl Parts {
    /// Takes one parameter in, and returns whether it is known.
    fn take(&mut self, key: &str, value: &str) -> Result<bool, UrlProblem> {
        let list = || value.split(',').map(str::to_owned).collect();
        let file = || Some(PathBuf::from(value));
        match key {
            "host" => self.hosts = list(),
            "hostaddr" => self.addresses = list(),
            "port" => self.ports = list(),
            "sslmode" => self.tls = tls_mode(value)?,
            // JDBC and node-postgres.
            "ssl" => self.tls = if is_off(value) { TlsMode::Disable } else { TlsMode::Require },
            // Andon trusts the certificates of the system in any case.
            "sslrootcert" if value == "system" => {}
            "sslrootcert" => self.ca_file = file(),
            "sslcert" => self.certificate = file(),
            "sslkey" => self.key = file(),
            _ if take_setting(&mut self.common, key, value)? || is_granted(key, value)? => {}
            _ if foreign::IGNORED.contains(&key.to_ascii_lowercase().as_str()) => self.ignored.push(key.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn address(self) -> Result<Address, UrlProblem> {
        let identity = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) => {
                return wrong(
                    "sslcert",
                    "the client's certificate there and its key in `sslkey`, or a CA in `sslrootcert`",
                );
            }
            (None, Some(_)) => return wrong("sslkey", "the client's certificate in `sslcert` as well"),
        };
        let hosts = self.configs()?;
        Ok(Address { hosts, tls: self.tls, ca_file: self.ca_file, identity, ignored: self.ignored })
    }

    /// Pairs up the lists of hosts, addresses and ports.
    fn configs(&self) -> Result<Vec<Config>, UrlProblem> {
        let count = self.hosts.len().max(self.addresses.len());
        if count == 0 || (0..count).any(|place| self.host(place).is_none() && self.hostaddr(place).is_none()) {
            return Err(UrlProblem::NoHost);
        }
        if !self.hosts.is_empty() && !self.addresses.is_empty() && self.hosts.len() != self.addresses.len() {
            return wrong("hostaddr", "as many addresses as hosts");
        }
        if self.ports.len() > 1 && self.ports.len() != count {
            return wrong("port", "one port for all hosts, or one for each");
        }
        (0..count).map(|place| self.config(place)).collect()
    }

    fn config(&self, place: usize) -> Result<Config, UrlProblem> {
        let mut config = self.common.clone();
        // The parser of the driver is not asked, as it would split a name at commas. A certificate may be for an address, too.
        if let Some(host) = self.host(place).or(self.hostaddr(place)) {
            config.host(host);
        }
        if let Some(address) = self.hostaddr(place) {
            config.hostaddr(
                address.parse().or_else(|_| wrong("hostaddr", "the number of an address, such as 192.0.2.7"))?,
            );
        }
        let port = self.ports.get(place).or(self.ports.first()).map_or("", |port| port.trim());
        let allowed = "a number from 1 to 65535";
        config.port(if port.is_empty() { 5432 } else { port.parse().or_else(|_| wrong("port", allowed))? });
        if config.get_ports() == [0] {
            return wrong("port", allowed);
        }
        if config.get_application_name().is_none() {
            config.application_name("andon");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(PATIENCE);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(PATIENCE * 3);
        }
        Ok(config)
    }

    fn host(&self, place: usize) -> Option<&str> {
        self.hosts.get(place).map(|host| host.trim()).filter(|host| !host.is_empty())
    }

    fn hostaddr(&self, place: usize) -> Option<&str> {
        self.addresses.get(place).map(|address| address.trim()).filter(|address| !address.is_empty())
    }
}

/// Takes in what the driver itself does, and returns whether it is that.
fn take_setting(config: &mut Config, key: &str, value: &str) -> Result<bool, UrlProblem> {
    match key {
        "user" => config.user(value),
        "dbname" | "database" => config.dbname(value),
        "options" => config.options(value),
        "application_name" => config.application_name(value),
        "sslnegotiation" => config.ssl_negotiation(negotiation(value)?),
        "channel_binding" => config.channel_binding(channel_binding(value)?),
        "connect_timeout" => match seconds("connect_timeout", value)? {
            Some(time) => config.connect_timeout(time),
            None => config,
        },
        // libpq counts this one in milliseconds.
        "tcp_user_timeout" => match seconds("tcp_user_timeout", value)? {
            Some(time) => config.tcp_user_timeout(time / 1000),
            None => config,
        },
        "keepalives" => config.keepalives(!is_off(value)),
        "keepalives_idle" => match seconds("keepalives_idle", value)? {
            Some(time) => config.keepalives_idle(time),
            None => config,
        },
        "keepalives_interval" => match seconds("keepalives_interval", value)? {
            Some(time) => config.keepalives_interval(time),
            None => config,
        },
        "keepalives_count" | "keepalives_retries" => match seconds("keepalives_count", value)? {
            Some(count) => config.keepalives_retries(u32::try_from(count.as_secs()).unwrap_or(u32::MAX)),
            None => config,
        },
        _ => return Ok(false),
    };
    Ok(true)
}

/// Returns whether the parameter asks for something that holds anyway. Fails if it asks for something that Andon cannot do.
fn is_granted(key: &str, value: &str) -> Result<bool, UrlProblem> {
    match key {
        // Andon needs the one server that takes writes, and sees to that itself.
        "target_session_attrs" => match value {
            "any" | "read-write" | "primary" => Ok(true),
            "read-only" | "standby" | "prefer-standby" => {
                refused("target_session_attrs", "write `primary`, since Andon writes into the database")
            }
            _ => wrong("target_session_attrs", "`primary`, `read-write` or `any`"),
        },
        "gssencmode" => match value {
            "disable" | "prefer" => Ok(true),
            "require" => refused("gssencmode=require", "write gssencmode=disable and sslmode=require"),
            _ => wrong("gssencmode", "`disable` or `prefer`"),
        },
        "sslsni" if value != "1" => refused("sslsni=0", "remove it; Andon always says which server it means"),
        "sslcertmode" if value == "require" => refused("sslcertmode=require", "let pg_hba.conf ask for a certificate"),
        "ssl_min_protocol_version" if !matches!(value, "TLSv1" | "TLSv1.1" | "TLSv1.2") => {
            refused("ssl_min_protocol_version", "set it on the server; Andon speaks TLS 1.2 and 1.3")
        }
        "replication" if !is_off(value) => refused("replication", "remove it; Andon reads a log of its own"),
        "sslsni" | "sslcertmode" | "ssl_min_protocol_version" | "replication" => Ok(true),
        "client_encoding" => Ok(matches!(value.to_ascii_lowercase().as_str(), "auto" | "utf8" | "utf-8")),
        _ => match foreign::REFUSED.iter().find(|(refused, _)| *refused == key) {
            Some((key, advice)) => refused(key, advice),
            None => Ok(false),
        },
    }
}

fn refused<T>(key: &'static str, advice: &'static str) -> Result<T, UrlProblem> {
    Err(UrlProblem::Refused { key, advice })
}

fn wrong<T>(key: &'static str, allowed: &'static str) -> Result<T, UrlProblem> {
    Err(UrlProblem::Value { key, allowed })
}

fn is_off(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "0" | "false" | "off" | "no" | "disable")
}

/// Zero and less stand for the default, as in libpq.
fn seconds(key: &'static str, value: &str) -> Result<Option<Duration>, UrlProblem> {
    let seconds: i32 = value.trim().parse().or_else(|_| wrong(key, "a whole number"))?;
    Ok(u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs))
}

fn tls_mode(value: &str) -> Result<TlsMode, UrlProblem> {
    match value {
        "disable" => Ok(TlsMode::Disable),
        "allow" => Ok(TlsMode::Allow),
        "prefer" => Ok(TlsMode::Prefer),
        "require" | "verify-ca" | "verify-full" => Ok(TlsMode::Require),
        "no-verify" => refused("sslmode=no-verify", "write sslmode=require, and name the server's CA in sslrootcert"),
        _ => wrong("sslmode", "`disable`, `allow`, `prefer`, `require`, `verify-ca` or `verify-full`"),
    }
}

fn negotiation(value: &str) -> Result<SslNegotiation, UrlProblem> {
    match value {
        "postgres" => Ok(SslNegotiation::Postgres),
        "direct" => Ok(SslNegotiation::Direct),
        _ => wrong("sslnegotiation", "`postgres` or `direct`"),
    }
}

fn channel_binding(value: &str) -> Result<ChannelBinding, UrlProblem> {
    match value {
        "disable" => Ok(ChannelBinding::Disable),
        "prefer" => Ok(ChannelBinding::Prefer),
        "require" => Ok(ChannelBinding::Require),
        _ => wrong("channel_binding", "`disable`, `prefer` or `require`"),
    }
}

#[cfg(test)]
mod tests;
