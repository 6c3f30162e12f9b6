//! MQTT 5; no other file of a lane knows the client library for this version. In: options and publishes. Out: acknowledgements, as their
//! reason codes say.

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
use uuid::Uuid;

use crate::lane::mqtt::driver::Driver;
use crate::lane::mqtt::protocol::Ack;
use crate::lane::mqtt::protocol::BATCH;
use crate::lane::mqtt::protocol::CONNECT_TIME;
use crate::lane::mqtt::protocol::Cause;
use crate::lane::mqtt::protocol::ConnectOptions;
use crate::lane::mqtt::protocol::Incoming;
use crate::lane::mqtt::protocol::Limits;
use crate::lane::mqtt::protocol::Refusal;
use crate::tls;

/// Sends to a broker that speaks MQTT 5.
#[derive(Debug)]
pub(super) struct Client {
    client: AsyncClient,
    is_replay: bool,
}

/// Connects, and returns when the broker has answered.
pub(super) async fn connect(to: &ConnectOptions) -> Result<(Client, Limits, Driver), Refusal> {
    let mut options = MqttOptions::new(&to.client_id, Broker::tcp(&to.host, to.port));
    if let Some(tls) = &to.tls {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(tls))));
    }
    if let Some((username, password)) = &to.credentials {
        options.set_credentials(username, password.expose().to_owned());
    }
    let seconds = u16::try_from(to.keep_alive.as_secs()).unwrap_or(u16::MAX);
    options.set_keep_alive(seconds).set_clean_start(true).set_connect_timeout(CONNECT_TIME);
    // Each flush writes a whole batch, so the kernel must not wait for more.
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    options.set_max_request_batch(BATCH).set_read_batch_size(BATCH);
    // The library walks a table of this size at every flush: with its default of 65,535 publishing is ten times slower. The lane never
    // has more than its window between the oldest unacknowledged publish and the newest, and the status message besides.
    options.set_outgoing_inflight_upper_limit(to.window.saturating_add(8));
    options.set_last_will(LastWill::new(&to.status_topic, to.last_will.to_vec(), QoS::AtLeastOnce, true, None));
    let (client, mut events) = AsyncClient::builder(options).capacity(usize::from(to.window) + 8).build();
    let limits = connack(&mut events, to).await?;
    let driver = Driver::spawn(|inbox| async move {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::SubAck(answer))) => {
                    let is_good = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
                    inbox.put(Incoming::Subscribed(answer.return_codes.iter().all(is_good)));
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => inbox.put(Incoming::Message(publish.payload)),
                Ok(_) => {}
                Err(error) => return reason(&error),
            }
        }
    });
    Ok((Client { client, is_replay: to.is_replay }, limits, driver))
}

impl Client {
    /// Publishes at QoS 1; `event` is the event's id and whether somebody asked for it again. There is no acknowledgement to wait for
    /// when the connection has ended; nothing was sent then.
    pub(super) fn publish(
        &self,
        topic: &str,
        payload: Bytes,
        event: Option<(Uuid, bool)>,
        retain: bool,
    ) -> Option<impl Future<Output = Ack> + use<>> {
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
        self.client.try_publish_tracked(topic, payload, options).ok().map(acknowledgement)
    }

    pub(super) fn subscribe(&self, topic: &str) -> bool {
        self.client.try_subscribe(topic, QoS::AtLeastOnce).is_ok()
    }

    pub(super) fn disconnect(&self) {
        // An error here means that the connection has ended already.
        drop(self.client.try_disconnect());
    }
}

async fn acknowledgement(notice: PublishNotice) -> Ack {
    let reason = match notice.wait_async().await {
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

async fn connack(events: &mut EventLoop, to: &ConnectOptions) -> Result<Limits, Refusal> {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(connack))) => {
                let properties = connack.properties.as_ref();
                let window = properties.and_then(|it| it.receive_max).unwrap_or(u16::MAX);
                let max_packet =
                    properties.and_then(|it| it.max_packet_size).map_or(usize::MAX, |bytes| bytes as usize);
                return Ok(Limits {
                    window: usize::from(to.window.min(window).max(1)),
                    max_packet: max_packet.min(to.max_packet),
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
        // The answer is not valid in MQTT 5; the CONNACK of 3.1.1, for example, is not.
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
