//! A webhook endpoint that answers with bytes of a test's choice. In: HTTP requests. Out: any bytes, at any pace, and a record of the
//! requests with the connection that each came by. It knows nothing of HTTP but where a request ends, so that it can answer what no
//! HTTP server would.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::task::JoinSet;

use crate::record::Record;

/// One thing that the endpoint does in answer to a request, after the one before it.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends these bytes.
    Send(Bytes),
    /// Sends these bytes again and again, as fast as they are taken.
    Flood(Bytes),
    /// Sends these bytes again and again, with this pause before each time.
    Trickle(Bytes, Duration),
    /// Does nothing for this long.
    Wait(Duration),
    /// Does nothing more, and keeps the connection open.
    Hang,
    /// Closes the connection.
    Close,
    /// Ends the connection with a reset.
    Reset,
}

impl Step {
    /// Sends this text.
    pub fn send(text: impl Into<String>) -> Step {
        Step::Send(Bytes::from(text.into()))
    }
}

/// A request, as it arrived.
#[derive(Debug)]
pub struct Request {
    /// The number of the connection that it came by, from 1.
    pub connection: usize,
    /// Its body.
    pub body: Bytes,
}

/// A server on 127.0.0.1 that answers by a script. Dropping it cuts everything.
pub struct ScriptedEndpoint {
    port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

type Script = dyn Fn(&Request) -> Vec<Step> + Send + Sync;

struct Shared {
    script: Box<Script>,
    requests: Arc<Record<Request>>,
    sent: AtomicU64,
}

impl ScriptedEndpoint {
    /// Starts it on a free port. The script says what is done in answer to each request; the connection is then ready for the next one.
    pub async fn start(script: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> Result<ScriptedEndpoint> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no free port for the scripted endpoint")?;
        let port = listener.local_addr()?.port();
        let (requests, sent) = (Arc::default(), AtomicU64::new(0));
        let shared = Arc::new(Shared { script: Box::new(script), requests, sent });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(ScriptedEndpoint { port, shared, task })
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// Returns the record of all requests.
    pub fn requests(&self) -> &Arc<Record<Request>> {
        &self.shared.requests
    }

    /// Returns how many bytes it has sent so far.
    pub fn bytes_sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }
}

impl Drop for ScriptedEndpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // The connections live in this set so that they end with the endpoint.
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((socket, peer)) = accepted {
                number += 1;
                connections.spawn(serve_connection(socket, number, peer, Arc::clone(&shared)));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_connection(mut socket: TcpStream, number: usize, peer: SocketAddr, shared: Arc<Shared>) {
    let mut read = Vec::new();
    let answering = async {
        socket.set_nodelay(true)?;
        while let Some(body) = next_request(&mut socket, &mut read).await? {
            let request = Arc::new(Request { connection: number, body });
            let steps = (shared.script)(&request);
            shared.requests.append(request);
            for step in steps {
                shared.take(step, &mut socket).await?;
            }
        }
        anyhow::Ok(())
    };
    if let Err(error) = answering.await {
        tracing::trace!(error = %error, %peer, "a connection to the scripted endpoint ended");
    }
}

impl Shared {
    /// An error ends the connection.
    async fn take(&self, step: Step, socket: &mut TcpStream) -> Result<()> {
        match step {
            Step::Send(bytes) => self.send(&bytes, socket).await,
            Step::Flood(bytes) => loop {
                self.send(&bytes, socket).await?;
            },
            Step::Trickle(bytes, pause) => loop {
                tokio::time::sleep(pause).await;
                self.send(&bytes, socket).await?;
            },
            Step::Wait(pause) => {
                tokio::time::sleep(pause).await;
                Ok(())
            }
            Step::Hang => {
                // The sender may give up.
                while socket.read(&mut [0; 1024]).await? > 0 {}
                bail!("the sender has closed the connection")
            }
            Step::Close => bail!("the script closes the connection"),
            Step::Reset => {
                socket.set_zero_linger()?;
                bail!("the script resets the connection")
            }
        }
    }

    async fn send(&self, bytes: &[u8], socket: &mut TcpStream) -> Result<()> {
        socket.write_all(bytes).await?;
        self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// Reads a request, and returns its body. There is none if the connection was closed before the request began.
async fn next_request(socket: &mut TcpStream, read: &mut Vec<u8>) -> Result<Option<Bytes>> {
    let head = loop {
        if let Some(at) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        if socket.read_buf(read).await? == 0 {
            return if read.is_empty() { Ok(None) } else { Err(anyhow::anyhow!("a request without an end")) };
        }
    };
    let lines = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
    let length = lines.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap_or("0");
    let end = head + length.trim().parse::<usize>().context("a content-length that is no number")?;
    while read.len() < end {
        if socket.read_buf(read).await? == 0 {
            bail!("a request whose body ends too early");
        }
    }
    let body = Bytes::copy_from_slice(&read[head..end]);
    read.drain(..end);
    Ok(Some(body))
}
