//! MQTT 3.1.1, and the one place that knows the client library's version of it. In: a plan and publishes. Out: acknowledgements. A
//! broker of this version has no way to say no: it may acknowledge what it drops.

use std::sync::Arc;

use bytes::Bytes;
use rumqttc_v4::AsyncClient;
use rumqttc_v4::Broker;
use rumqttc_v4::ConnectionError;
use rumqttc_v4::Event;
use rumqttc_v4::EventLoop;
use rumqttc_v4::LastWill;
use rumqttc_v4::MqttOptions;
use rumqttc_v4::NetworkOptions;
use rumqttc_v4::Packet;
use rumqttc_v4::PublishNotice;
use rumqttc_v4::PublishOptions;
use rumqttc_v4::PublishResult;
use rumqttc_v4::QoS;
use rumqttc_v4::StateError;
use rumqttc_v4::TlsConfiguration;
use rumqttc_v4::Transport;
use rumqttc_v4::mqttbytes;
use rumqttc_v4::mqttbytes::v4::SubscribeReasonCode;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::lane::mqtt::link::Ack;
use crate::lane::mqtt::link::CONNECT_TIME;
use crate::lane::mqtt::link::Cause;
use crate::lane::mqtt::link::Heard;
use crate::lane::mqtt::link::Limits;
use crate::lane::mqtt::link::Plan;
use crate::lane::mqtt::link::Refusal;
use crate::tls;

/// One connection.
#[derive(Debug)]
pub struct Link {
    client: AsyncClient,
    polling: JoinHandle<ConnectionError>,
    heard: mpsc::UnboundedReceiver<Heard>,
    limits: Limits,
}

/// A promise of a PUBACK.
#[derive(Debug)]
pub struct Notice(PublishNotice);

/// Requests and packets that the library handles per turn of its loop.
const BATCH: usize = 64;

impl Link {
    pub(super) async fn connect(plan: &Plan) -> Result<Link, Refusal> {
        let mut options = MqttOptions::new(&plan.client_id, Broker::tcp(&plan.host, plan.port));
        if let Some(tls) = &plan.tls {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(tls))));
        }
        if let Some((username, password)) = &plan.credentials {
            options.set_credentials(username, password.expose().to_owned());
        }
        let seconds = u16::try_from(plan.keep_alive.as_secs()).unwrap_or(u16::MAX);
        options.set_keep_alive(seconds).set_clean_session(true);
        options.set_max_packet_size(plan.max_packet, plan.max_packet);
        options.set_max_request_batch(BATCH).set_read_batch_size(BATCH);
        options.set_inflight(plan.window);
        options.set_last_will(LastWill::new(&plan.status_topic, plan.last_will.to_vec(), QoS::AtLeastOnce, true));
        let (client, mut events) = AsyncClient::builder(options).capacity(usize::from(plan.window) + 8).build();
        // What is flushed is a whole batch; the kernel must not wait for more.
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_TIME.as_secs());
        events.set_network_options(network);
        let limits = connack(&mut events, plan).await?;
        let (hears, heard) = mpsc::unbounded_channel();
        let polling = tokio::spawn(async move {
            loop {
                let told = match events.poll().await {
                    Ok(Event::Incoming(Packet::SubAck(answer))) => {
                        let is_good = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
                        Heard::Subscribed(answer.return_codes.iter().all(is_good))
                    }
                    Ok(Event::Incoming(Packet::Publish(publish))) => Heard::Message(publish.payload),
                    Ok(_) => continue,
                    Err(error) => return error,
                };
                // Nobody may be listening any more, while the link is being dropped.
                drop(hears.send(told));
            }
        });
        Ok(Link { client, polling, heard, limits })
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn publish(&self, topic: &str, payload: Bytes, retain: bool) -> Option<Notice> {
        let options = PublishOptions::at_least_once().retain(retain);
        self.client.try_publish_tracked(topic, payload, options).ok().map(Notice)
    }

    pub(super) fn subscribe(&self, topic: &str) -> bool {
        self.client.try_subscribe(topic, QoS::AtLeastOnce).is_ok()
    }

    pub(super) async fn heard(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }

    pub(super) async fn ended(&mut self) -> String {
        match (&mut self.polling).await {
            Ok(error) => reason(&error),
            Err(error) => format!("the client failed: {error}"),
        }
    }

    pub(super) fn disconnect(&self) {
        // An error here means that the connection has ended already.
        drop(self.client.try_disconnect());
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.polling.abort();
    }
}

impl Notice {
    pub(super) async fn ack(self) -> Ack {
        match self.0.wait_async().await {
            Ok(PublishResult::Qos1(_)) => Ack::Accepted,
            Ok(_) | Err(_) => Ack::Lost,
        }
    }
}

async fn connack(events: &mut EventLoop, plan: &Plan) -> Result<Limits, Refusal> {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                let window = usize::from(plan.window);
                return Ok(Limits { window, max_packet: plan.max_packet, retains: true });
            }
            Ok(_) => {}
            Err(error) => {
                return Err(Refusal { reason: reason(&error), cause: Cause::Other });
            }
        }
    }
}

fn reason(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionRefused(code) => format!("the broker refused the connection: {code:?}"),
        ConnectionError::MqttState(StateError::ConnectionAborted) => "the broker closed the connection".to_owned(),
        ConnectionError::MqttState(StateError::AwaitPingResp) => "the broker answers no ping".to_owned(),
        ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)),
        ) => tls::explain(error).unwrap_or_else(|| format!("the connection broke: {error}")),
        other => tls::explain(other).unwrap_or_else(|| other.to_string()),
    }
}
