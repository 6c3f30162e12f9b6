//! A relay between MQTT clients and their broker that reads along. In: connections to its own port. Out: the same packets at the broker,
//! and a record of what was published and acknowledged. On demand it behaves like other brokers: it knows no MQTT 5, refuses a message
//! for now, or ends the connection at a message. It never changes a packet.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use anyhow::Context;
use anyhow::Result;
use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::task::JoinSet;

use crate::packet::CONNECT;
use crate::packet::PUBACK;
use crate::packet::PUBLISH;
use crate::packet::publish;
use crate::packet::split;
use crate::record::Record;

/// How the relay behaves. The default forwards everything.
#[derive(Debug, Clone, Default)]
pub struct TapOptions {
    /// How it treats clients of MQTT 5.
    pub mqtt5: Mqtt5,
    /// A PUBLISH whose payload contains this text ends the connection.
    pub poison: Option<Vec<u8>>,
    /// A PUBLISH of MQTT 5 whose payload contains this text is refused with `Quota exceeded` this many times, and not forwarded.
    pub quota: Option<(Vec<u8>, u32)>,
    /// This many connections end at their first PUBLISH, whatever it contains.
    pub flaps: u32,
}

/// How a relay treats clients of MQTT 5.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Mqtt5 {
    /// They are connected to the broker.
    #[default]
    Spoken,
    /// They get these bytes, and the connection ends.
    Answered(Vec<u8>),
    /// Their connections end this many times; after that they reach the broker.
    Closed(u32),
}

/// Something that passed the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A connection with the protocol level that it asked for: 5, or 4 for MQTT 3.1.1.
    Connect(u8),
    /// A message that the broker acknowledged. It is recorded before the client gets the acknowledgement.
    Acknowledged {
        /// Its topic.
        topic: String,
        /// Its payload.
        payload: Bytes,
    },
    /// A PUBLISH that ended its connection.
    Poisoned,
    /// A PUBLISH that the relay refused for now.
    Refused,
}

/// A tap in front of a port of 127.0.0.1. Dropping it cuts everything.
pub struct Tap {
    port: u16,
    seen: Arc<Record<Seen>>,
    task: JoinHandle<()>,
}

struct Relay {
    target: u16,
    options: TapOptions,
    seen: Arc<Record<Seen>>,
    flaps: AtomicU32,
    closings: AtomicU32,
    refusals: AtomicU32,
}

/// PUBLISHes of one connection that wait for their acknowledgement, by packet id.
type Waiting = Mutex<HashMap<u16, (String, Bytes)>>;

const QUOTA_EXCEEDED: u8 = 0x97;

impl Tap {
    /// Starts relaying to a broker at a port of 127.0.0.1.
    pub async fn start(target: u16, options: TapOptions) -> Result<Tap> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no free port for the tap")?;
        let port = listener.local_addr()?.port();
        let seen = Arc::new(Record::new());
        let flaps = AtomicU32::new(options.flaps);
        let closings = AtomicU32::new(if let Mqtt5::Closed(times) = options.mqtt5 { times } else { 0 });
        let refusals = AtomicU32::new(options.quota.as_ref().map_or(0, |(_, times)| *times));
        let relay = Arc::new(Relay { target, options, seen: Arc::clone(&seen), flaps, closings, refusals });
        let task = tokio::spawn(async move {
            // Connections live in this set, so that they end with the tap.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(Arc::clone(&relay).connection(client));
            }
        });
        Ok(Tap { port, seen, task })
    }

    /// Returns the port to connect to instead of the broker's.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the record of what passed.
    pub fn seen(&self) -> &Arc<Record<Seen>> {
        &self.seen
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// Relays both directions until one of them ends, and closes both.
    async fn connection(self: Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.target)).await else { return };
        if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
            return;
        }
        let (client_reads, client_writes) = client.into_split();
        let (server_reads, server_writes) = server.into_split();
        let client_writes = Mutex::new(client_writes);
        let waiting = Waiting::default();
        tokio::select! {
            () = self.upwards(client_reads, server_writes, &client_writes, &waiting) => {}
            () = self.downwards(server_reads, &client_writes, &waiting) => {}
        }
    }

    async fn upwards(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        back: &Mutex<OwnedWriteHalf>,
        waiting: &Waiting,
    ) {
        let mut buffer = BytesMut::new();
        let mut level = 4;
        loop {
            let mut forward = BytesMut::new();
            while let Some((kind, body, packet)) = split(&mut buffer) {
                if kind >> 4 == CONNECT {
                    // It follows the length and the text `MQTT`.
                    level = body.get(6).copied().unwrap_or_default();
                    self.seen.append(Arc::new(Seen::Connect(level)));
                    match &self.options.mqtt5 {
                        Mqtt5::Answered(answer) if level == 5 => {
                            drop(back.lock().await.write_all(answer).await);
                            return;
                        }
                        Mqtt5::Closed(_) if level == 5 && one_less(&self.closings) => return,
                        _ => {}
                    }
                }
                if kind >> 4 == PUBLISH {
                    let (id, topic, payload) = publish(kind, body, level);
                    let holds = |text: &Vec<u8>| payload.windows(text.len()).any(|part| part == text.as_slice());
                    if one_less(&self.flaps) || self.options.poison.as_ref().is_some_and(holds) {
                        self.seen.append(Arc::new(Seen::Poisoned));
                        return;
                    }
                    if self.options.quota.as_ref().is_some_and(|(text, _)| holds(text)) && one_less(&self.refusals) {
                        self.seen.append(Arc::new(Seen::Refused));
                        let [high, low] = id.to_be_bytes();
                        drop(back.lock().await.write_all(&[PUBACK << 4, 3, high, low, QUOTA_EXCEEDED]).await);
                        continue;
                    }
                    waiting.lock().await.insert(id, (topic, payload));
                }
                forward.extend_from_slice(&packet);
            }
            if to.write_all(&forward).await.is_err() || !matches!(from.read_buf(&mut buffer).await, Ok(1..)) {
                return;
            }
        }
    }

    async fn downwards(&self, mut from: OwnedReadHalf, to: &Mutex<OwnedWriteHalf>, waiting: &Waiting) {
        let mut buffer = BytesMut::new();
        while matches!(from.read_buf(&mut buffer).await, Ok(1..)) {
            let mut forward = BytesMut::new();
            while let Some((kind, mut body, packet)) = split(&mut buffer) {
                if kind >> 4 == PUBACK {
                    let message = waiting.lock().await.remove(&body.get_u16());
                    let is_refusal = body.first().is_some_and(|reason| *reason >= 0x80);
                    if let Some((topic, payload)) = message.filter(|_| !is_refusal) {
                        self.seen.append(Arc::new(Seen::Acknowledged { topic, payload }));
                    }
                }
                forward.extend_from_slice(&packet);
            }
            if to.lock().await.write_all(&forward).await.is_err() {
                return;
            }
        }
    }
}

/// Counts down, and returns whether there was anything left.
fn one_less(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}
