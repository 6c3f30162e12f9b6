//! A broker that behaves as its script says, for behaviour that no real broker can be made to show: quotas, silence, floods, answers that
//! the standard forbids. In: a script, which answers each request. Out: a record of the requests. It keeps no message and has no sessions.

use std::sync::Arc;

use anyhow::Context;
use anyhow::Result;
use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::task::JoinSet;

use crate::packet;
use crate::record::Record;

/// A request of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// CONNECT
    Connect {
        /// The protocol level: 5, or 4 for MQTT 3.1.1.
        level: u8,
        /// The client id.
        client_id: String,
        /// The topic of the last will, and whether it is to be retained.
        will: Option<(String, bool)>,
    },
    /// PUBLISH
    Publish {
        /// The protocol level of the connection.
        level: u8,
        /// The packet id.
        id: u16,
        /// The topic.
        topic: String,
        /// The payload.
        payload: Bytes,
        /// Whether the message is to be retained.
        retain: bool,
    },
    /// PINGREQ
    Ping,
    /// DISCONNECT
    Disconnect,
    /// Any other packet, with its type.
    Other(u8),
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These bytes, which may be none.
    Bytes(Vec<u8>),
    /// These bytes, and the end of the connection.
    Last(Vec<u8>),
    /// These bytes again and again, until the client goes away. What it sends meanwhile is not read.
    Endless(Vec<u8>),
}

impl Request {
    /// Returns what a broker answers that has nothing against the request.
    pub fn accepted(&self) -> Answer {
        match self {
            Request::Connect { level, .. } => Answer::Bytes(connack(*level, 0)),
            Request::Publish { id, .. } => {
                let [high, low] = id.to_be_bytes();
                Answer::Bytes(vec![packet::PUBACK << 4, 2, high, low])
            }
            Request::Ping => Answer::Bytes(vec![packet::PINGRESP << 4, 0]),
            Request::Disconnect => Answer::Last(Vec::new()),
            Request::Other(_) => Answer::Bytes(Vec::new()),
        }
    }

    /// Returns the PUBACK of MQTT 5 that answers a PUBLISH with this code.
    pub fn refused(&self, code: u8) -> Answer {
        let Request::Publish { id, .. } = self else { return self.accepted() };
        let [high, low] = id.to_be_bytes();
        Answer::Bytes(vec![packet::PUBACK << 4, 3, high, low, code])
    }

    /// Returns whether this is a PUBLISH of an event. The status of a publisher is not one.
    pub fn is_event(&self) -> bool {
        matches!(self, Request::Publish { topic, .. } if !topic.starts_with("andon/"))
    }
}

/// Returns a CONNACK for the level with this code.
pub fn connack(level: u8, code: u8) -> Vec<u8> {
    match level {
        5 => vec![packet::CONNACK << 4, 3, 0, code, 0],
        _ => vec![packet::CONNACK << 4, 2, 0, code],
    }
}

/// Returns a DISCONNECT of MQTT 5 with this code and reason.
pub fn disconnect(code: u8, reason: &str) -> Vec<u8> {
    let text = u8::try_from(reason.len()).unwrap_or(u8::MAX);
    let property = [&[0x1f, 0, text][..], reason.as_bytes()].concat();
    let properties = text + 3;
    [&[packet::DISCONNECT << 4, properties + 2, code, properties][..], &property].concat()
}

/// A broker on a port of 127.0.0.1. Dropping it cuts everything.
pub struct ScriptedBroker {
    port: u16,
    seen: Arc<Record<Request>>,
    task: JoinHandle<()>,
}

impl ScriptedBroker {
    /// Starts a broker that answers as this script says.
    pub async fn start(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Result<ScriptedBroker> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no free port for the scripted broker")?;
        let port = listener.local_addr()?.port();
        let seen = Arc::new(Record::new());
        let (record, script) = (Arc::clone(&seen), Arc::new(script));
        let task = tokio::spawn(async move {
            // Connections live in this set, so that they end with the broker.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(serve(client, Arc::clone(&script), Arc::clone(&record)));
            }
        });
        Ok(ScriptedBroker { port, seen, task })
    }

    /// Returns the port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the record of all requests.
    pub fn seen(&self) -> &Arc<Record<Request>> {
        &self.seen
    }
}

impl Drop for ScriptedBroker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut client: TcpStream, script: Arc<impl Fn(&Request) -> Answer>, seen: Arc<Record<Request>>) {
    let mut buffer = BytesMut::new();
    let mut level = 4;
    while matches!(client.read_buf(&mut buffer).await, Ok(1..)) {
        while let Some((kind, body, _)) = packet::split(&mut buffer) {
            let request = read(kind, body, &mut level);
            let answer = script(&request);
            // It is recorded after it is answered, so that who waits for it finds the script's state changed.
            seen.append(Arc::new(request));
            let (bytes, is_last) = match answer {
                Answer::Bytes(bytes) => (bytes, false),
                Answer::Last(bytes) => (bytes, true),
                Answer::Endless(bytes) => {
                    let flood = bytes.repeat((64 * 1024 / bytes.len()).max(1));
                    while client.write_all(&flood).await.is_ok() {}
                    return;
                }
            };
            if client.write_all(&bytes).await.is_err() || is_last {
                drop(client.shutdown().await);
                return;
            }
        }
    }
}

fn read(kind: u8, body: Bytes, level: &mut u8) -> Request {
    match kind >> 4 {
        packet::CONNECT => connect(body, level),
        packet::PUBLISH => {
            let retain = kind & 1 == 1;
            let (id, topic, payload) = packet::publish(kind, body, *level);
            Request::Publish { level: *level, id, topic, payload, retain }
        }
        packet::PINGREQ => Request::Ping,
        packet::DISCONNECT => Request::Disconnect,
        other => Request::Other(other),
    }
}

fn connect(mut body: Bytes, level: &mut u8) -> Request {
    text(&mut body);
    *level = body.get_u8();
    let flags = body.get_u8();
    body.advance(2);
    skip_properties(&mut body, *level);
    let client_id = text(&mut body);
    let will = (flags & 0x04 != 0).then(|| {
        skip_properties(&mut body, *level);
        (text(&mut body), flags & 0x20 != 0)
    });
    Request::Connect { level: *level, client_id, will }
}

fn skip_properties(body: &mut Bytes, level: u8) {
    if level == 5 {
        let (properties, digits) = packet::varint(body).unwrap_or_default();
        body.advance(digits + properties);
    }
}

fn text(body: &mut Bytes) -> String {
    let length = usize::from(body.get_u16());
    String::from_utf8_lossy(&body.split_to(length)).into_owned()
}
