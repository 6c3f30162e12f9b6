//! The way out: the one place from which destinations are connected to. In: what the configuration allows, a host and a port. Out: a socket
//! to an address that was judged, or the rule that forbids each address that the host leads to. A name is looked up once for a connection,
//! and only what was judged is connected to, through the proxy of the configuration if it names one. It never follows a proxy of the environment,
//! and never looks a name up twice.

mod address;
mod connect;
mod item;
mod lookup;
mod own;
mod proxy;
mod rules;

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::net::ToSocketAddrs as _;
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::egress::item::Item;
use crate::egress::lookup::Lookup;
use crate::egress::lookup::turns::Turns;
use crate::egress::own::Own;
use crate::egress::proxy::Proxy;
use crate::egress::rules::Named;
pub use crate::egress::rules::Refused;
use crate::egress::rules::Rules;

/// What destinations may reach. Clones share it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Egress {
    rules: Arc<Rules>,
    own: Own,
    proxy: Option<Arc<Proxy>>,
    turns: Turns,
}

/// Connects to one host, with its lookups one after the other.
#[derive(Debug, Clone)]
pub struct Dialer {
    egress: Egress,
    lookup: Lookup,
}

impl Egress {
    /// Allows these items in addition to the rules so far. An error holds the problems of all items.
    pub fn allow(mut self, items: &[String]) -> Result<Egress, String> {
        let items = read(items, Item::parse_allowed)?;
        Arc::make_mut(&mut self.rules).allow.extend(items);
        Ok(self)
    }

    /// Denies these items, whatever is allowed.
    pub fn deny(mut self, items: &[String]) -> Result<Egress, String> {
        let items = read(items, Item::parse)?;
        Arc::make_mut(&mut self.rules).deny.extend(items);
        Ok(self)
    }

    /// Connects through this proxy: `http://user:password@host:port`. The error does not show the password.
    pub fn through(self, proxy: &str) -> Result<Egress, String> {
        Ok(Egress { proxy: Some(Arc::new(Proxy::parse(proxy)?)), ..self })
    }

    /// Returns the host and port of the proxy, if there is one.
    pub fn proxy(&self) -> Option<String> {
        self.proxy.as_ref().map(ToString::to_string)
    }

    /// Keeps destinations from Andon's own PostgreSQL, which listens there.
    pub fn guard(mut self, hosts: impl IntoIterator<Item = (String, u16)>) -> Egress {
        self.own = Own::at(hosts);
        self
    }

    /// Judges a host as far as that is certain without looking it up: an address, and a name that is denied.
    pub fn judge(&self, host: &str, port: u16) -> Result<(), Refused> {
        let named = Named::of(host);
        self.rules.judge_name(host, &named, port)?;
        match named {
            Named::Address(address) => {
                let is_own = own::is_at(&self.own.literals(port), address);
                self.rules.judge(host, &named, address, port, is_own)
            }
            Named::Name(_) => Ok(()),
        }
    }

    /// Returns the same for the destinations of one tenant, whose lookups take turns.
    pub fn of_tenant(&self, tenant: &str) -> Egress {
        Egress { turns: self.turns.of_tenant(tenant), ..self.clone() }
    }

    /// Returns what connects to one host.
    pub fn dialer(&self) -> Dialer {
        self.dialer_by(|name, port| Ok((name, port).to_socket_addrs()?.collect()))
    }

    fn dialer_by(&self, resolve: lookup::Resolve) -> Dialer {
        Dialer { egress: self.clone(), lookup: Lookup::by(resolve, &self.turns) }
    }
}

impl Dialer {
    /// Connects to an address of the host that may be reached. An error of the kind `PermissionDenied` holds a [`Refused`].
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let addresses = self.addresses(host, port).await?;
        match &self.egress.proxy {
            Some(proxy) => proxy.connect((host, port), &addresses, &self.lookup, proxy::LONGEST_WAIT).await,
            None => connect::first(addresses).await,
        }
    }

    /// Returns what is never shown of an answer, although the row knows nothing of it: the proxy's password.
    pub fn secrets(&self) -> Option<String> {
        self.egress.proxy.as_ref().and_then(|proxy| proxy.password()).map(str::to_owned)
    }

    /// Finds out whether the proxy is there, if there is one, without asking it for anything.
    pub async fn reach_proxy(&self) -> io::Result<()> {
        match &self.egress.proxy {
            Some(proxy) => proxy.reach(&self.lookup, proxy::LONGEST_WAIT).await.map(drop),
            None => Ok(()),
        }
    }

    /// Returns the addresses of the host that may be reached, without connecting.
    pub async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let Egress { rules, own, .. } = &self.egress;
        let named = Named::of(host);
        self.egress.judge(host, port).map_err(refused)?;
        let found = match &named {
            Named::Address(address) => vec![SocketAddr::new(*address, port)],
            Named::Name(_) => self.lookup.find(host, port).await?,
        };
        // Where the database is matters only to those that ask for its port, and it may have moved since the last time.
        let mut guarded = own.literals(port);
        for name in own.names(port) {
            match &named {
                Named::Name(asked) if *asked == name => guarded.extend(found.iter().map(SocketAddr::ip)),
                _ => guarded
                    .extend(self.lookup.find(&name, port).await.map_err(own::unknown)?.iter().map(SocketAddr::ip)),
            }
        }
        let (mut allowed, mut first) = (Vec::new(), None);
        for address in found {
            let is_own = own::is_at(&guarded, address.ip());
            match rules.judge(host, &named, address.ip(), port, is_own) {
                Ok(()) => allowed.push(SocketAddr::new(address.ip(), port)),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        match first {
            Some(error) if allowed.is_empty() => Err(refused(error)),
            None if allowed.is_empty() => {
                Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address; see whether it is written right"))
            }
            _ => Ok(allowed),
        }
    }
}

/// Returns a host in the one way in which hosts are compared: an address in its usual form, whatever the spelling that leads to it, and a name in
/// small letters without a final dot.
pub fn canonical(host: &str) -> String {
    let address = match Named::of(host) {
        Named::Address(address) => address.to_canonical(),
        Named::Name(name) => return name,
    };
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

fn refused(error: Refused) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, error)
}

fn read(items: &[String], parse: fn(&str) -> Result<Item, String>) -> Result<Vec<Item>, String> {
    let (mut good, mut problems) = (Vec::new(), String::new());
    for item in items {
        match parse(item) {
            Ok(item) => good.push(item),
            Err(problem) => {
                let between = if problems.is_empty() { "" } else { "; " };
                write!(problems, "{between}{problem}").expect("a text takes everything");
            }
        }
    }
    if problems.is_empty() { Ok(good) } else { Err(problems) }
}

#[cfg(test)]
mod tests;
