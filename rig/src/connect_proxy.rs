//! A proxy of HTTP that knows nothing but CONNECT. In: requests for addresses of 127.0.0.1. Out: a tunnel to each, and a record of what was asked
//! for and by whom. It never looks into a tunnel, and connects nowhere beyond this host.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use anyhow::Result;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::task::JoinSet;

use crate::record::Record;

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// The host and port.
    pub target: String,
    /// The header `proxy-authorization`.
    pub authorization: Option<String>,
}

/// A proxy on a port of 127.0.0.1. Dropping it cuts everything.
pub struct ConnectProxy {
    port: u16,
    requests: Arc<Record<Connect>>,
    task: JoinHandle<()>,
}

impl ConnectProxy {
    /// Starts it on a free port. With `authorization`, it refuses whoever does not show exactly that.
    pub async fn start(authorization: Option<String>) -> Result<ConnectProxy> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no free port for the proxy")?;
        let port = listener.local_addr()?.port();
        let requests: Arc<Record<Connect>> = Arc::default();
        let task = tokio::spawn(serve(listener, authorization, Arc::clone(&requests)));
        Ok(ConnectProxy { port, requests, task })
    }

    /// Returns its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the record of all requests.
    pub fn requests(&self) -> &Arc<Record<Connect>> {
        &self.requests
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, authorization: Option<String>, requests: Arc<Record<Connect>>) {
    // The tunnels live in this set so that they end with the proxy.
    let mut tunnels = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((socket, _)) = accepted {
                tunnels.spawn(tunnel(socket, authorization.clone(), Arc::clone(&requests)));
            },
            Some(_) = tunnels.join_next() => {}
        }
    }
}

/// An error ends the connection.
async fn tunnel(mut socket: TcpStream, wanted: Option<String>, requests: Arc<Record<Connect>>) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.lines();
    let target = lines.next().and_then(|line| line.strip_prefix("CONNECT ")?.strip_suffix(" HTTP/1.1"));
    let target = target.context("it is no CONNECT")?.to_owned();
    let header = lines.find_map(|line| line.strip_prefix("Proxy-Authorization: "));
    let authorization = header.map(str::to_owned);
    let is_known = wanted.is_none() || authorization == wanted;
    requests.append(Arc::new(Connect { target: target.clone(), authorization }));
    let address = target.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
    let far = match address {
        Some(address) if is_known => TcpStream::connect(address).await.ok(),
        _ => None,
    };
    let answer = match (is_known, address, &far) {
        (false, ..) => "407 Proxy Authentication Required",
        (true, None, _) => "403 Forbidden",
        (true, Some(_), None) => "502 Bad Gateway",
        (true, Some(_), Some(_)) => "200 Connection established",
    };
    socket.write_all(format!("HTTP/1.1 {answer}\r\nVia: 1.1 rig\r\n\r\n").as_bytes()).await?;
    if let Some(mut far) = far {
        copy_bidirectional(&mut socket, &mut far).await?;
    }
    Ok(())
}
