//! A witness at brokers that know MQTT 3.1.1 only, and at all others too. In: everything that is published below a topic, over a session
//! that the broker keeps while we are away, if it can. Out: a record of it in the order of arrival, and how many times the broker has
//! confirmed the subscription. It is written by hand, so that no client library stands between the broker and the record.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use anyhow::ensure;
use bytes::Bytes;
use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::packet;
use crate::packet::CONNACK;
use crate::packet::PUBLISH;
use crate::process::PATIENCE;
use crate::record::Record;
use crate::subscriber::Message;
use crate::subscriber::SubscriberOptions;

const RECONNECT_AFTER: Duration = Duration::from_millis(50);
const SUBACK: u8 = 9;
const REFUSED: u8 = 0x80;

/// A subscriber at QoS 1 that reconnects on its own. Dropping it closes the connection without a DISCONNECT.
pub struct SubscriberV4 {
    messages: Arc<Record<Message>>,
    state: watch::Receiver<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    /// How many times the broker has confirmed the subscription.
    confirmations: u32,
    /// Why the last connection ended.
    ended: String,
}

impl SubscriberV4 {
    /// Subscribes, and returns when the broker has confirmed it.
    pub async fn start(options: SubscriberOptions) -> Result<SubscriberV4> {
        let messages = Arc::new(Record::new());
        let (says, state) = watch::channel(State::default());
        let task = tokio::spawn(listen(options, Arc::clone(&messages), says));
        let subscriber = SubscriberV4 { messages, state, task };
        subscriber.wait_confirmed(1).await?;
        Ok(subscriber)
    }

    /// Returns the record of the messages.
    pub fn messages(&self) -> &Arc<Record<Message>> {
        &self.messages
    }

    /// Returns how many times the broker has confirmed the subscription: once more after each connection that broke.
    pub fn confirmations(&self) -> u32 {
        self.state.borrow().confirmations
    }

    /// Waits until the broker has confirmed the subscription this many times.
    pub async fn wait_confirmed(&self, times: u32) -> Result<()> {
        let mut state = self.state.clone();
        let confirmed = state.wait_for(|state| state.confirmations >= times);
        if let Ok(confirmed) = tokio::time::timeout(PATIENCE, confirmed).await {
            confirmed.context("the subscriber is gone")?;
            return Ok(());
        }
        bail!("the broker does not confirm the subscription: {}", self.state.borrow().ended)
    }
}

impl Drop for SubscriberV4 {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(options: SubscriberOptions, messages: Arc<Record<Message>>, state: watch::Sender<State>) {
    let id = format!("andon-rig-{:08x}", rand::random::<u32>());
    loop {
        if let Err(error) = connection(&options, &id, &messages, &state).await {
            state.send_modify(|state| state.ended = format!("{error:#}"));
        }
        tokio::time::sleep(RECONNECT_AFTER).await;
    }
}

/// Serves one connection until it breaks. It subscribes even if the broker remembers the session, because some brokers remember the session
/// and not what it was subscribed to.
async fn connection(
    options: &SubscriberOptions,
    id: &str,
    messages: &Record<Message>,
    state: &watch::Sender<State>,
) -> Result<()> {
    let mut socket = TcpStream::connect(("127.0.0.1", options.port)).await.context("cannot reach the broker")?;
    socket.set_nodelay(true)?;
    socket.write_all(&connect(id, options.credentials.as_ref())).await?;
    let mut buffer = BytesMut::new();
    loop {
        while let Some((kind, body, _)) = packet::split(&mut buffer) {
            match kind >> 4 {
                CONNACK => {
                    ensure!(body.get(1) == Some(&0), "it refuses the connection: {body:?}");
                    socket.write_all(&subscribe(&options.filter)).await?;
                }
                SUBACK => {
                    ensure!(body.last().is_some_and(|code| *code != REFUSED), "it refuses the subscription");
                    state.send_modify(|state| state.confirmations += 1);
                }
                PUBLISH => {
                    let (id, message) = message(kind, body);
                    messages.append(Arc::new(message));
                    if id > 0 {
                        let [high, low] = id.to_be_bytes();
                        socket.write_all(&[0x40, 2, high, low]).await?;
                    }
                }
                _ => {}
            }
        }
        ensure!(socket.read_buf(&mut buffer).await? > 0, "it closed the connection");
    }
}

fn message(kind: u8, body: Bytes) -> (u16, Message) {
    let (id, topic, payload) = packet::publish(kind, body, 4);
    let (retain, dup) = (kind & 1 != 0, kind & 8 != 0);
    (id, Message { topic, payload, user_properties: Vec::new(), retain, dup, at: Instant::now() })
}

/// Asks for the stored session, without a keep-alive.
fn connect(id: &str, credentials: Option<&(String, String)>) -> Vec<u8> {
    let flags = if credentials.is_some() { 0b1100_0000 } else { 0 };
    let mut body = [text("MQTT"), vec![4, flags, 0, 0], text(id)].concat();
    if let Some((name, password)) = credentials {
        body.extend([text(name), text(password)].concat());
    }
    packet(0x10, &body)
}

fn subscribe(filter: &str) -> Vec<u8> {
    packet(0x82, &[vec![0, 1], text(filter), vec![1]].concat())
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&length, text.as_bytes()].concat()
}

/// Puts a head before a body, which is shorter than 128 bytes here.
fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
    [&[kind, length], body].concat()
}
