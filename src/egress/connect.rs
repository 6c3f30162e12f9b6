//! Opens a socket to the first of several addresses that answers. In: addresses that were judged. Out: a socket that sends at once and
//! notices when its peer has vanished, or the last error. An address that does not answer holds up the next one for a moment only.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use socket2::SockRef;
use socket2::TcpKeepalive;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an address has for itself before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(300);
/// No more addresses of a name are tried. Whoever answers for it in DNS may list thousands, each of which would be a socket, and a packet to somebody.
pub(super) const MOST: usize = 8;
/// TCP notices with this that an endpoint has vanished, however long an attempt may take.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Connects to the first address that answers, out of the first ones. The addresses of both families take turns, in the order of the resolver.
pub(super) async fn first(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut left = in_turn(addresses).into_iter().take(MOST);
    let mut trying = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address; see whether it is written right");
    loop {
        if let Some(address) = left.next() {
            trying.push(TcpStream::connect(address));
        }
        let is_last = left.len() == 0;
        let outcome = match is_last {
            true => trying.next().await,
            false => match timeout(HEAD_START, trying.next()).await {
                Ok(outcome) => outcome,
                Err(_) => continue,
            },
        };
        match outcome {
            Some(Ok(socket)) => return prepared(socket),
            Some(Err(error)) => last = error,
            None if is_last => return Err(last),
            None => {}
        }
    }
}

fn prepared(socket: TcpStream) -> io::Result<TcpStream> {
    // Each flush writes a whole request or batch, so the kernel must not wait for more.
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(3);
    SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
    Ok(socket)
}

fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let preferred = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (one, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv4() == preferred);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut all = Vec::with_capacity(one.len() + other.len());
    loop {
        let (a, b) = (one.next(), other.next());
        if a.is_none() && b.is_none() {
            return all;
        }
        all.extend(a.into_iter().chain(b));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_refuses() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

        assert_eq!(first(vec![closed, good]).await.unwrap().peer_addr().unwrap(), good);
        assert_eq!(first(vec![closed]).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_name_with_many_addresses_costs_no_more_than_a_few_sockets() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let after = |refusing: usize| [vec![closed; refusing], vec![good]].concat();

        assert!(first(after(MOST - 1)).await.is_ok());
        assert_eq!(first(after(MOST)).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn the_families_take_turns() {
        let addresses =
            ["[::1]:1", "[::2]:1", "127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1"].map(|it| it.parse().unwrap());

        let texts: Vec<String> = in_turn(addresses.to_vec()).iter().map(ToString::to_string).collect();

        assert_eq!(texts, ["[::1]:1", "127.0.0.1:1", "[::2]:1", "127.0.0.2:1", "127.0.0.3:1"]);
    }
}
