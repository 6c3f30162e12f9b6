//! MQTT 5, and the one place that knows the client library's version of it. In: a plan and publishes. Out: acknowledgements with
//! their reason codes.

use std::sync::Arc;

use bytes::Bytes;
use rumqttc_v5::AsyncClient;
use rumqttc_v5::Broker;
use rumqttc_v5::ConnectReturnCode;
use rumqttc_v5::ConnectionError;
use rumqttc_v5::Event;
use rumqttc_v5::EventLoop;
use rumqttc_v5::LastWill;
use rumqttc_v5::MqttOptions;
use rumqttc_v5::NetworkOptions;
use rumqttc_v5::Packet;
use rumqttc_v5::PubAckReason;
use rumqttc_v5::PublishNotice;
use rumqttc_v5::PublishNoticeError;
use rumqttc_v5::PublishOptions;
use rumqttc_v5::PublishProperties;
use rumqttc_v5::PublishResult;
use rumqttc_v5::QoS;
use rumqttc_v5::StateError;
use rumqttc_v5::TlsConfiguration;
use rumqttc_v5::Transport;
use rumqttc_v5::mqttbytes;
use rumqttc_v5::mqttbytes::v5::SubscribeReasonCode;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

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
    is_replay: bool,
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
        options.set_keep_alive(seconds).set_clean_start(true).set_connect_timeout(CONNECT_TIME);
        // What is flushed is a whole batch; the kernel must not wait for more.
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        options.set_max_request_batch(BATCH).set_read_batch_size(BATCH);
        // A table of this size is walked at every flush: the library's default of 65,535 costs ten times the speed. The lane never has
        // more than its window between the oldest unacknowledged publish and the newest, and the status message beside it.
        options.set_outgoing_inflight_upper_limit(plan.window.saturating_add(8));
        options.set_last_will(LastWill::new(&plan.status_topic, plan.last_will.to_vec(), QoS::AtLeastOnce, true, None));
        let (client, mut events) = AsyncClient::builder(options).capacity(usize::from(plan.window) + 8).build();
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
        Ok(Link { client, polling, heard, limits, is_replay: plan.is_replay })
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// `event`: its id, and whether somebody asked for it again.
    pub(super) fn publish(
        &self,
        topic: &str,
        payload: Bytes,
        event: Option<(Uuid, bool)>,
        retain: bool,
    ) -> Option<Notice> {
        let mut user_properties = Vec::new();
        if let Some((id, replayed)) = event {
            user_properties.push(("event_id".to_owned(), id.to_string()));
            if replayed || self.is_replay {
                user_properties.push(("replayed".to_owned(), "true".to_owned()));
            }
        }
        let properties = PublishProperties {
            user_properties,
            content_type: Some("application/json".to_owned()),
            ..PublishProperties::default()
        };
        let options = PublishOptions::at_least_once().retain(retain).properties(properties);
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
        let reason = match self.0.wait_async().await {
            Ok(PublishResult::Qos1(ack)) => ack.reason,
            Err(PublishNoticeError::V5PubAck(reason)) => reason,
            Ok(_) | Err(_) => return Ack::Lost,
        };
        match reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Ack::Accepted,
            PubAckReason::QuotaExceeded | PubAckReason::PacketIdentifierInUse => {
                Ack::NotNow(format!("the broker answered {reason:?}"))
            }
            PubAckReason::UnspecifiedError | PubAckReason::ImplementationSpecificError => {
                Ack::Failed(format!("the broker answered {reason:?}"))
            }
            PubAckReason::NotAuthorized | PubAckReason::TopicNameInvalid | PubAckReason::PayloadFormatInvalid => {
                Ack::Refused(format!("the broker answered {reason:?}"))
            }
        }
    }
}

async fn connack(events: &mut EventLoop, plan: &Plan) -> Result<Limits, Refusal> {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(connack))) => {
                let properties = connack.properties.as_ref();
                let window = properties.and_then(|it| it.receive_max).unwrap_or(u16::MAX);
                let max_packet =
                    properties.and_then(|it| it.max_packet_size).map_or(usize::MAX, |bytes| bytes as usize);
                return Ok(Limits {
                    window: usize::from(plan.window.min(window).max(1)),
                    max_packet: max_packet.min(plan.max_packet),
                    retains: properties.and_then(|it| it.retain_available) != Some(0),
                });
            }
            Ok(_) => {}
            Err(error) => {
                return Err(Refusal { reason: reason(&error), cause: cause(&error) });
            }
        }
    }
}

fn cause(error: &ConnectionError) -> Cause {
    match error {
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::UnsupportedProtocolVersion | ConnectReturnCode::RefusedProtocolVersion,
        )
        // An answer that is none in MQTT 5, such as the CONNACK of 3.1.1.
        | ConnectionError::NotConnAck(_) => Cause::Version,
        ConnectionError::MqttState(StateError::ConnectionAborted) => Cause::Silence,
        ConnectionError::MqttState(StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error))) => {
            if tls::explain(error).is_none() { Cause::Silence } else { Cause::Other }
        }
        ConnectionError::MqttState(StateError::Deserialization(_)) => Cause::Version,
        _ => Cause::Other,
    }
}

fn reason(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionRefused(code) => format!("the broker refused the connection: {code:?}"),
        ConnectionError::Timeout(_) => format!("no answer within {CONNECT_TIME:?}"),
        ConnectionError::MqttState(StateError::ConnectionAborted) => "the broker closed the connection".to_owned(),
        ConnectionError::MqttState(StateError::AwaitPingResp) => "the broker answers no ping".to_owned(),
        ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)),
        ) => tls::explain(error).unwrap_or_else(|| format!("the connection broke: {error}")),
        other => tls::explain(other).unwrap_or_else(|| other.to_string()),
    }
}
