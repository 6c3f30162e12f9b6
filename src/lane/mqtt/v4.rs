//! MQTT 3.1.1; no other file knows the client library for this version. In: options and publishes. Out: acknowledgements. A broker of
//! this version has no way to refuse a message: it may acknowledge one and drop it.

use std::collections::VecDeque;

use bytes::Bytes;
use rumqttc_v4::AsyncClient;
use rumqttc_v4::Broker;
use rumqttc_v4::ConnectionError;
use rumqttc_v4::Event;
use rumqttc_v4::EventLoop;
use rumqttc_v4::LastWill;
use rumqttc_v4::MqttOptions;
use rumqttc_v4::Packet;
use rumqttc_v4::PublishNotice;
use rumqttc_v4::PublishOptions;
use rumqttc_v4::PublishResult;
use rumqttc_v4::QoS;
use rumqttc_v4::StateError;
use rumqttc_v4::mqttbytes;
use rumqttc_v4::mqttbytes::v4::SubscribeReasonCode;

use crate::lane::mqtt::driver::Driver;
use crate::lane::mqtt::frames::Heard;
use crate::lane::mqtt::frames::LARGEST;
use crate::lane::mqtt::last_words;
use crate::lane::mqtt::protocol::Ack;
use crate::lane::mqtt::protocol::BATCH;
use crate::lane::mqtt::protocol::Cause;
use crate::lane::mqtt::protocol::ConnectOptions;
use crate::lane::mqtt::protocol::Ending;
use crate::lane::mqtt::protocol::Incoming;
use crate::lane::mqtt::protocol::Limits;
use crate::lane::mqtt::protocol::Refusal;
use crate::lane::mqtt::protocol::Version;
use crate::lane::mqtt::reason_code;
use crate::lane::mqtt::reason_code::Meaning;
use crate::lane::mqtt::socket;
use crate::tls;
use crate::tls::Peer;

/// Sends to a broker that speaks MQTT 3.1.1.
#[derive(Debug)]
pub(super) struct Client(AsyncClient);

/// Connects, and returns when the broker has answered. What the broker does meanwhile is in `heard`.
pub(super) async fn connect(to: &ConnectOptions, heard: &Heard) -> Result<(Client, Limits, Driver), Refusal> {
    let mut options = MqttOptions::new(&to.client_id, Broker::tcp(&to.host, to.port));
    let (reach, listens) = (to.clone(), heard.clone());
    options.set_socket_connector(move |_, _| {
        let (reach, listens) = (reach.clone(), listens.clone());
        async move { socket::open(&reach, Version::V4, listens).await }
    });
    if let Some((username, password)) = &to.credentials {
        options.set_credentials(username, password.expose().to_owned());
    }
    let seconds = u16::try_from(to.keep_alive.as_secs()).unwrap_or(u16::MAX);
    options.set_keep_alive(seconds).set_clean_session(true);
    options.set_max_packet_size(LARGEST, to.max_packet);
    options.set_max_request_batch(BATCH).set_read_batch_size(BATCH);
    options.set_inflight(to.window);
    options.set_last_will(LastWill::new(&to.status_topic, to.last_will.to_vec(), QoS::AtLeastOnce, to.retains));
    let (client, mut events) = AsyncClient::builder(options).capacity(usize::from(to.window) + 8).build();
    // The library makes room for 128 packets ahead, and all of it is in use in time.
    events.state.events = VecDeque::new();
    let limits = connack(&mut events, to, heard).await?;
    let heard = heard.clone();
    let driver = Driver::spawn(|inbox| async move {
        loop {
            let incoming = match events.poll().await {
                Ok(Event::Incoming(Packet::SubAck(answer))) => {
                    let is_good = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
                    Incoming::Subscribed(answer.return_codes.iter().all(is_good))
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => Incoming::Message(publish.payload),
                Ok(_) => continue,
                Err(error) => return ending(&error, &heard),
            };
            if !inbox.put(incoming) {
                return Ending::flooded();
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

async fn connack(events: &mut EventLoop, to: &ConnectOptions, heard: &Heard) -> Result<Limits, Refusal> {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                let window = usize::from(to.window);
                return Ok(Limits { window, receive_max: u16::MAX, max_packet: to.max_packet, retains: to.retains });
            }
            Ok(_) => {}
            Err(error) => {
                let is_silence = matches!(
                    error,
                    ConnectionError::MqttState(StateError::ConnectionAborted) | ConnectionError::NetworkTimeout
                );
                let cause = if is_silence && heard.is_silent() { Cause::Silence } else { Cause::Other };
                return Err(Refusal { reason: reason(&error, heard), cause });
            }
        }
    }
}

fn ending(error: &ConnectionError, heard: &Heard) -> Ending {
    let meaning = if heard.fault().is_some() { Meaning::Broker } else { Meaning::Unclear };
    Ending { reason: reason(error, heard), meaning }
}

fn reason(error: &ConnectionError, heard: &Heard) -> String {
    if let Some(fault) = heard.fault() {
        return fault;
    }
    // The library quotes the broker here and there.
    let shown = |text: String| last_words::clean(&text, heard.echo());
    match error {
        ConnectionError::ConnectionRefused(code) => {
            format!("the broker refused the connection: {}", reason_code::describe_v4(*code as u8))
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => "the broker closed the connection".to_owned(),
        ConnectionError::MqttState(StateError::AwaitPingResp) => "the broker answers no ping".to_owned(),
        ConnectionError::MqttState(StateError::Unsolicited(id)) => {
            format!("the broker acknowledged packet {id}, which was not sent")
        }
        ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)),
        ) => shown(tls::explain(error, Peer::Broker).unwrap_or_else(|| format!("the connection broke: {error}"))),
        other => shown(tls::explain(other, Peer::Broker).unwrap_or_else(|| other.to_string())),
    }
}
