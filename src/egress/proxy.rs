//! The proxy that the configuration names, if a plant lets nothing out but through one. In: an address that was judged. Out: a socket that leads
//! there through the proxy (HTTP CONNECT), or what is wrong with the proxy. It is asked for addresses and never for names, because nobody could
//! judge what a name means there; it never sees what is sent through it in TLS, and nothing of what it says is shown but the number of a status.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

use crate::egress::connect;
use crate::egress::lookup::Lookup;
use crate::percent;
use crate::secret::Secret;

/// A proxy of HTTP.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    host: String,
    port: u16,
    /// What the header `proxy-authorization` says.
    authorization: Option<Secret>,
    password: Option<Secret>,
}

/// How long it may take to reach the proxy and to get its answer.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// The longest head of an answer that is read.
const LONGEST_HEAD: usize = 8 << 10;

/// What the proxy said to a CONNECT.
enum Answer {
    Connected(TcpStream),
    /// It did not get there, so that another address may do.
    Unreached(u16),
    Refused(u16),
}

impl Proxy {
    /// Reads `http://user:password@host:port`. The error shows nothing of the text.
    pub(super) fn parse(text: &str) -> Result<Proxy, String> {
        let form = "write http://host:port, with user:password@ before the host if the proxy wants them";
        let url = Url::parse(text.trim()).map_err(|error| format!("is not the address of a proxy: {error}; {form}"))?;
        if url.scheme() != "http" {
            return Err(format!("is not the address of a proxy of HTTP without TLS; {form}"));
        }
        let has_more = !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some();
        let (Some(host), Some(port), false) = (url.host_str(), url.port_or_known_default(), has_more) else {
            return Err(format!("is more than the address of a proxy; {form}"));
        };
        let (user, password) = (percent::decoded(url.username()), percent::decoded(url.password().unwrap_or_default()));
        if user.contains(':') {
            return Err("has a user with a colon, which no proxy understands".to_owned());
        }
        let pair = STANDARD.encode([user.as_bytes(), b":", password.as_bytes()].concat());
        let has_user = !user.is_empty() || !password.is_empty();
        let authorization = has_user.then(|| Secret::new(format!("Basic {pair}")));
        let host = host.trim_matches(['[', ']']).to_owned();
        let password = Some(password).filter(|password| !password.is_empty()).map(Secret::new);
        Ok(Proxy { host, port, authorization, password })
    }

    /// Returns what nobody may be shown who gets an answer through it: it may answer in the name of whoever is called.
    pub(super) fn password(&self) -> Option<&str> {
        self.password.as_ref().map(Secret::expose)
    }

    /// Connects to the first of the first addresses of `to` that the proxy reaches. An error names `to` and no address, because the row's writer may
    /// not know what a name leads to.
    pub(super) async fn connect(
        &self,
        to: (&str, u16),
        addresses: &[SocketAddr],
        lookup: &Lookup,
        longest: Duration,
    ) -> io::Result<TcpStream> {
        let connecting = async {
            let mut last =
                io::Error::new(io::ErrorKind::NotFound, "the name has no address; see whether it is written right");
            for address in addresses.iter().take(connect::MOST) {
                let socket = self.reach(lookup, longest).await?;
                match self.ask(socket, *address).await? {
                    Answer::Connected(socket) => return Ok(socket),
                    Answer::Refused(status) => return Err(self.refused(to, status)),
                    Answer::Unreached(status) => {
                        last = self
                            .fault(format!("cannot reach {}:{} (it answered {status}); see what it logs", to.0, to.1));
                    }
                }
            }
            Err(last)
        };
        let late = |_| Err(self.fault(format!("has not connected within {longest:?}; see whether it works")));
        timeout(longest, connecting).await.unwrap_or_else(late)
    }

    /// Connects to the proxy itself. Its address is the configuration's, so it may be any.
    pub(super) async fn reach(&self, lookup: &Lookup, longest: Duration) -> io::Result<TcpStream> {
        let connecting = async {
            let addresses = lookup.find(&self.host, self.port).await?;
            connect::first(addresses).await
        };
        let outcome = timeout(longest, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        outcome.map_err(|error| self.fault(format!("cannot be reached: {error}; see whether it runs there")))
    }

    async fn ask(&self, mut socket: TcpStream, address: SocketAddr) -> io::Result<Answer> {
        let login = self.authorization.as_ref();
        let login = login.map_or(String::new(), |it| format!("Proxy-Authorization: {}\r\n", it.expose()));
        let request = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n{login}\r\n");
        let broke = |error: io::Error| self.fault(format!("broke the connection: {error}; see what it logs"));
        socket.write_all(request.as_bytes()).await.map_err(broke)?;
        let mut head = Vec::new();
        let end = loop {
            if let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            if head.len() >= LONGEST_HEAD || !b"HTTP/1.".starts_with(&head[..head.len().min(7)]) {
                return Err(self.fault("does not answer as a proxy of HTTP does; name another port or proxy"));
            }
            if socket.read_buf(&mut head).await.map_err(broke)? == 0 {
                return Err(self.fault("closed the connection before it answered; see what it logs"));
            }
        };
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let status = String::from_utf8_lossy(line).split_ascii_whitespace().nth(1).and_then(|it| it.parse().ok());
        match status {
            // Neither TLS nor HTTP nor MQTT lets a server speak first.
            Some(200..300) if head.len() > end => {
                Err(self.fault("sends what nobody asked for behind its answer; name another port or proxy"))
            }
            Some(200..300) => Ok(Answer::Connected(socket)),
            Some(status @ 500..600) => Ok(Answer::Unreached(status)),
            Some(status @ 100..500) => Ok(Answer::Refused(status)),
            _ => Err(self.fault("does not answer as a proxy of HTTP does; name another port or proxy")),
        }
    }

    fn refused(&self, (host, port): (&str, u16), status: u16) -> io::Error {
        let problem = match (status, &self.authorization) {
            (407, None) => "wants a user and a password (it answered 407); write them into egress.proxy".to_owned(),
            (407, Some(_)) => "does not take the user and the password of egress.proxy (it answered 407)".to_owned(),
            (403, _) => {
                format!("may not connect to the address of {host} port {port} (it answered 403); allow that there")
            }
            _ => format!("does not connect to {host}:{port} (it answered {status}); see what it logs"),
        };
        self.fault(problem)
    }

    /// Makes the error that says that the proxy is at fault, and not the destination.
    fn fault(&self, problem: impl fmt::Display) -> io::Error {
        io::Error::other(format!("the proxy {self} of [egress] {problem}"))
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Proxy { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

#[cfg(test)]
mod tests;
