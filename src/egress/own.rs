//! Where Andon's own PostgreSQL is, which no destination may reach by another way. In: the hosts of the database's URL. Out: whether an
//! address is one of them, in whatever form it is written. A database on this machine, reached by loopback or by a socket of the file
//! system, may listen on all addresses of the machine, so all of them count. It never connects.

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::UdpSocket;
use std::sync::Arc;

use crate::egress::address;
use crate::egress::rules::Named;

/// The hosts of the database and their ports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Own(Arc<[(String, u16)]>);

impl Own {
    pub(super) fn at(hosts: impl IntoIterator<Item = (String, u16)>) -> Own {
        Own(hosts.into_iter().collect())
    }

    /// Returns the addresses with this port that are known without a lookup.
    pub(super) fn literals(&self, port: u16) -> Vec<IpAddr> {
        let known = self.hosts(port).filter_map(|host| match host {
            Named::Address(address) => Some(address),
            Named::Name(name) => (name == "localhost").then_some(Ipv4Addr::LOCALHOST.into()),
        });
        known.collect()
    }

    /// Returns the names with this port that have to be looked up.
    pub(super) fn names(&self, port: u16) -> Vec<String> {
        let named = self.hosts(port).filter_map(|host| match host {
            Named::Address(_) => None,
            Named::Name(name) => (name != "localhost").then_some(name),
        });
        named.collect()
    }

    fn hosts(&self, port: u16) -> impl Iterator<Item = Named> {
        self.0.iter().filter(move |(_, at)| *at == port).map(|(host, _)| Named::of(host))
    }
}

/// Returns whether an address leads to one of these, where the database is.
pub(super) fn is_at(own: &[IpAddr], address: IpAddr) -> bool {
    let own: Vec<IpAddr> = own.iter().map(IpAddr::to_canonical).collect();
    let is_on_this_machine = own.iter().any(IpAddr::is_loopback);
    address::views(address)
        .into_iter()
        .any(|view| own.contains(&view) || is_on_this_machine && is_of_this_machine(view))
}

/// Says that nobody knows where the database is. The text does not name it, because the row's writer may not know that.
pub(super) fn unknown(error: io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("the port is that of Andon's own PostgreSQL, whose name cannot be looked up now: {error}"),
    )
}

/// A socket can only be bound to an address of the machine. Nothing is sent.
fn is_of_this_machine(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}
