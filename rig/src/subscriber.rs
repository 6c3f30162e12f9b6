//! A witness at the broker. In: everything that is published, over a session that the broker keeps while we are away. Out: a record of it
//! in the order of arrival. A message is acknowledged only once it is in the record: the client library would acknowledge messages that
//! nobody has read yet, and forget them when the connection breaks.

mod v4;

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use bytes::Bytes;
use rumqttc_v5::AckMode;
use rumqttc_v5::AsyncClient;
use rumqttc_v5::ConnectionError;
use rumqttc_v5::Event;
use rumqttc_v5::EventLoop;
use rumqttc_v5::MqttOptions;
use rumqttc_v5::mqttbytes::QoS;
use rumqttc_v5::mqttbytes::v5::Packet;
use rumqttc_v5::mqttbytes::v5::Publish;
use rumqttc_v5::mqttbytes::v5::SubscribeReasonCode;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::process::PATIENCE;
use crate::record::Record;

pub use v4::SubscriberV4;

const RECONNECT_AFTER: Duration = Duration::from_millis(20);

/// One message, as it arrived.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Bytes,
    /// The user properties of MQTT 5, in their order.
    pub user_properties: Vec<(String, String)>,
    /// Whether the broker sent it because it had kept it.
    pub retain: bool,
    /// Whether the broker sent it before and got no acknowledgement from us.
    pub dup: bool,
    /// When it arrived.
    pub at: Instant,
}

/// The topics to subscribe to, and the user.
#[derive(Debug, Clone)]
pub struct SubscriberOptions {
    /// The broker's port on 127.0.0.1.
    pub port: u16,
    /// The topic filter.
    pub filter: String,
    /// User name and password.
    pub credentials: Option<(String, String)>,
}

/// A subscriber with a persistent session, which reconnects on its own. Dropping it closes the connection without a DISCONNECT.
pub struct Subscriber {
    messages: Arc<Record<Message>>,
    task: JoinHandle<()>,
}

impl Subscriber {
    /// Subscribes to `#` at a port of 127.0.0.1 and returns when the broker has confirmed it.
    pub async fn start(port: u16) -> Result<Subscriber> {
        Subscriber::start_with(SubscriberOptions { port, filter: "#".to_owned(), credentials: None }).await
    }

    /// Subscribes with options, and returns when the broker has confirmed it.
    pub async fn start_with(options: SubscriberOptions) -> Result<Subscriber> {
        let id = format!("andon-rig-{:08x}", rand::random::<u32>());
        let mut mqtt = MqttOptions::new(id, ("127.0.0.1", options.port));
        mqtt.set_clean_start(false)
            .set_session_expiry_interval(Some(u32::MAX))
            // It publishes nothing, while the library walks a table of this size at every acknowledgement.
            .set_outgoing_inflight_upper_limit(1)
            .set_ack_mode(AckMode::Manual)
            .set_unlimited_incoming_packet_size()
            .set_keep_alive(30);
        let mut network = mqtt.network_options();
        network.set_tcp_nodelay(true);
        mqtt.set_network_options(network);
        if let Some((name, password)) = options.credentials {
            mqtt.set_credentials(name, password);
        }
        let (client, events) = AsyncClient::builder(mqtt).unbounded().build();
        let messages = Arc::new(Record::new());
        let (says_state, mut state) = watch::channel(Subscription::Waiting);
        let task = tokio::spawn(listen(client, events, options.filter, Arc::clone(&messages), says_state));
        let subscriber = Subscriber { messages, task };
        let confirmed = state.wait_for(|state| matches!(state, Subscription::Confirmed | Subscription::Refused(_)));
        let state = tokio::time::timeout(PATIENCE, confirmed)
            .await
            .context("the broker does not confirm the subscription")??;
        if let Subscription::Refused(reason) = &*state {
            bail!("the broker refuses the subscription: {reason}");
        }
        drop(state);
        Ok(subscriber)
    }

    /// Returns the messages so far.
    pub fn received(&self) -> Vec<Arc<Message>> {
        self.messages.snapshot()
    }

    /// Returns the record of the messages.
    pub fn messages(&self) -> &Arc<Record<Message>> {
        &self.messages
    }

    /// Waits until this many messages have arrived. For the patience see [`Record::wait_for`].
    pub async fn wait_received(&self, patience: Duration, count: usize) -> Result<()> {
        self.messages.wait_for_count(patience, count).await
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

enum Subscription {
    Waiting,
    Confirmed,
    Refused(String),
}

async fn listen(
    client: AsyncClient,
    mut events: EventLoop,
    filter: String,
    messages: Arc<Record<Message>>,
    state: watch::Sender<Subscription>,
) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(answer))) if !answer.session_present => {
                if let Err(error) = client.try_subscribe(filter.clone(), QoS::AtLeastOnce) {
                    state.send_replace(Subscription::Refused(error.to_string()));
                    return;
                }
            }
            Ok(Event::Incoming(Packet::SubAck(answer))) => {
                let is_granted = answer.return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_)));
                state.send_replace(if is_granted {
                    Subscription::Confirmed
                } else {
                    Subscription::Refused(format!("{:?}", answer.return_codes))
                });
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                messages.append(Arc::new(message(&publish)));
                // This fails only when the event loop is gone, and we own that.
                if client.try_ack(&publish).is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(ConnectionError::ConnectionRefused(reason)) => {
                state.send_replace(Subscription::Refused(format!("{reason:?}")));
                tokio::time::sleep(RECONNECT_AFTER).await;
            }
            // The broker is away, but it keeps our session.
            Err(_) => tokio::time::sleep(RECONNECT_AFTER).await,
        }
    }
}

fn message(publish: &Publish) -> Message {
    Message {
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: publish.payload.clone(),
        user_properties: publish.properties.as_ref().map(|found| found.user_properties.clone()).unwrap_or_default(),
        retain: publish.retain,
        dup: publish.dup,
        at: Instant::now(),
    }
}
