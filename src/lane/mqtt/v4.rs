//! MQTT 3.1.1; no other file knows the client library for this version. In: options and publishes. Out: acknowledgements. A broker of
//! this version has no way to refuse a message: it may acknowledge one and drop it.

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

/// Sends to a broker that speaks MQTT 3.1.1.
#[derive(Debug)]
pub(super) struct Client(AsyncClient);

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
    options.set_keep_alive(seconds).set_clean_session(true);
    options.set_max_packet_size(to.max_packet, to.max_packet);
    options.set_max_request_batch(BATCH).set_read_batch_size(BATCH);
    options.set_inflight(to.window);
    options.set_last_will(LastWill::new(&to.status_topic, to.last_will.to_vec(), QoS::AtLeastOnce, true));
    let (client, mut events) = AsyncClient::builder(options).capacity(usize::from(to.window) + 8).build();
    // Each flush writes a whole batch, so the kernel must not wait for more.
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(CONNECT_TIME.as_secs());
    events.set_network_options(network);
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
    Ok((Client(client), limits, driver))
}

impl Client {
    /// Publishes at QoS 1. There is no acknowledgement to wait for when the connection has ended; nothing was sent then.
    pub(super) fn publish(
        &self,
        topic: &str,
        payload: Bytes,
        retain: bool,
    ) -> Option<impl Future<Output = Ack> + use<>> {
        let options = PublishOptions::at_least_once().retain(retain);
        self.0.try_publish_tracked(topic, payload, options).ok().map(acknowledgement)
    }

    pub(super) fn subscribe(&self, topic: &str) -> bool {
        self.0.try_subscribe(topic, QoS::AtLeastOnce).is_ok()
    }

    pub(super) fn disconnect(&self) {
        // An error here means that the connection has ended already.
        drop(self.0.try_disconnect());
    }
}

async fn acknowledgement(notice: PublishNotice) -> Ack {
    match notice.wait_async().await {
        Ok(PublishResult::Qos1(_)) => Ack::Accepted,
        Ok(_) | Err(_) => Ack::Lost,
    }
}

async fn connack(events: &mut EventLoop, to: &ConnectOptions) -> Result<Limits, Refusal> {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                let window = usize::from(to.window);
                return Ok(Limits { window, max_packet: to.max_packet, retains: true });
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
