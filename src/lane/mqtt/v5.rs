//! MQTT 5; no other file of a lane knows the client library for this version. In: options and publishes. Out: acknowledgements, as their
//! reason codes say.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rumqttc_v5::AsyncClient;
use rumqttc_v5::Broker;
use rumqttc_v5::ConnectionError;
use rumqttc_v5::Event;
use rumqttc_v5::EventLoop;
use rumqttc_v5::LastWill;
use rumqttc_v5::MqttOptions;
use rumqttc_v5::Packet;
use rumqttc_v5::PublishNotice;
use rumqttc_v5::PublishNoticeError;
use rumqttc_v5::PublishOptions;
use rumqttc_v5::PublishProperties;
use rumqttc_v5::PublishResult;
use rumqttc_v5::QoS;
use rumqttc_v5::StateError;
use rumqttc_v5::mqttbytes;
use rumqttc_v5::mqttbytes::v5::SubscribeReasonCode;
use tokio::time::timeout;
use uuid::Uuid;

use crate::destination::echo::Echo;
use crate::lane::mqtt::driver::Driver;
use crate::lane::mqtt::frames::Heard;
use crate::lane::mqtt::frames::LARGEST;
use crate::lane::mqtt::last_words;
use crate::lane::mqtt::protocol::Ack;
use crate::lane::mqtt::protocol::BATCH;
use crate::lane::mqtt::protocol::CONNECT_TIME;
use crate::lane::mqtt::protocol::Cause;
use crate::lane::mqtt::protocol::ConnectOptions;
use crate::lane::mqtt::protocol::Ending;
use crate::lane::mqtt::protocol::Incoming;
use crate::lane::mqtt::protocol::Limits;
use crate::lane::mqtt::protocol::Refusal;
use crate::lane::mqtt::protocol::Version;
use crate::lane::mqtt::reason_code;
use crate::lane::mqtt::reason_code::Meaning;
use crate::lane::mqtt::reason_code::Packet as Answer;
use crate::lane::mqtt::receive_max::ReceiveMaxima;
use crate::lane::mqtt::socket;
use crate::tls;
use crate::tls::Peer;

/// Sends to a broker that speaks MQTT 5.
#[derive(Debug)]
pub(super) struct Client {
    client: AsyncClient,
    is_replay: bool,
    /// What may not be shown of the broker's answers.
    echo: Arc<Echo>,
}

/// What the brokers said before.
static MAXIMA: ReceiveMaxima = ReceiveMaxima::new();
/// A broker that is asked to end a connection has this long to do so.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why there is no connection to a broker that would never take a publish. The library only says that it cannot read the answer.
const NO_RECEIVE_MAX: &str = "the broker announces a Receive Maximum of 0, which MQTT 5 forbids; let it allow one unacknowledged publish or more (the same as its in-flight window)";

/// Connects, and returns when the broker has answered. What the broker says meanwhile is in `heard`.
pub(super) async fn connect(to: &ConnectOptions, heard: &Heard) -> Result<(Client, Limits, Driver), Refusal> {
    let question = MAXIMA.ask(&to.host, to.port).await;
    let expected = question.expected(to.window);
    let (client, limits, mut driver) = attempt(to, expected, heard).await?;
    question.answered(limits.receive_max);
    let allowed = to.window.min(limits.receive_max);
    if allowed <= expected {
        return Ok((client, limits, driver));
    }
    // It allows more than it did before, and the tables of this connection are too small for that.
    client.disconnect();
    drop(timeout(FAREWELL, driver.ended()).await);
    heard.forget();
    attempt(to, allowed, heard).await
}

/// Connects with tables for `room` publishes.
async fn attempt(to: &ConnectOptions, room: u16, heard: &Heard) -> Result<(Client, Limits, Driver), Refusal> {
    let mut options = MqttOptions::new(&to.client_id, Broker::tcp(&to.host, to.port));
    let (reach, listens) = (to.clone(), heard.clone());
    options.set_socket_connector(move |_, _| {
        let (reach, listens) = (reach.clone(), listens.clone());
        async move { socket::open(&reach, Version::V5, listens).await }
    });
    if let Some((username, password)) = &to.credentials {
        options.set_credentials(username, password.expose().to_owned());
    }
    let seconds = u16::try_from(to.keep_alive.as_secs()).unwrap_or(u16::MAX);
    options.set_keep_alive(seconds).set_clean_start(true).set_connect_timeout(CONNECT_TIME);
    options.set_max_request_batch(BATCH).set_read_batch_size(BATCH);
    // The library walks a table of this size at every flush: with its default of 65,535 publishing is ten times slower. The lane never
    // has more than its window between the oldest unacknowledged publish and the newest, and the status message besides.
    options.set_outgoing_inflight_upper_limit(room.saturating_add(8));
    let will = to.last_will.to_vec();
    options.set_last_will(LastWill::new(&to.status_topic, will, QoS::AtLeastOnce, to.retains, None));
    let (client, mut events) = AsyncClient::builder(options).capacity(usize::from(to.window) + 8).build();
    // The library makes room for 128 packets ahead, and all of it is in use in time.
    events.state.events = VecDeque::new();
    let limits = connack(&mut events, to, room, heard).await?;
    let (heard, echo) = (heard.clone(), Arc::clone(heard.echo()));
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
    Ok((Client { client, is_replay: to.is_replay, echo }, limits, driver))
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
        self.client
            .try_publish_tracked(topic, payload, options)
            .ok()
            .map(|notice| acknowledgement(notice, Arc::clone(&self.echo)))
    }

    pub(super) fn subscribe(&self, topic: &str) -> bool {
        self.client.try_subscribe(topic, QoS::AtLeastOnce).is_ok()
    }

    pub(super) fn disconnect(&self) {
        // An error here means that the connection has ended already.
        drop(self.client.try_disconnect());
    }
}

async fn acknowledgement(notice: PublishNotice, echo: Arc<Echo>) -> Ack {
    let (reason, text) = match notice.wait_async().await {
        Ok(PublishResult::Qos1(ack)) => (ack.reason, ack.properties.and_then(|it| it.reason_string)),
        Err(PublishNoticeError::V5PubAck(reason)) => (reason, None),
        Ok(_) | Err(_) => return Ack::Lost,
    };
    let code = reason as u8;
    let said = || last_words::answer(code, text.as_deref(), &echo);
    match reason_code::meaning(Answer::Puback, code) {
        Meaning::Fine => Ack::Accepted,
        Meaning::Refused => Ack::Refused(said()),
        Meaning::Unclear => Ack::Failed(said()),
        Meaning::Broker | Meaning::NoRetained | Meaning::OtherVersion | Meaning::TakenOver => Ack::NotNow(said()),
    }
}

async fn connack(events: &mut EventLoop, to: &ConnectOptions, room: u16, heard: &Heard) -> Result<Limits, Refusal> {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(connack))) => {
                let properties = connack.properties.as_ref();
                if properties.and_then(|it| it.max_qos) == Some(0) {
                    let reason =
                        "the broker takes messages of QoS 0 only, which nobody acknowledges; let it take QoS 1";
                    return Err(Refusal { reason: reason.to_owned(), cause: Cause::Other });
                }
                let receive_max = properties.and_then(|it| it.receive_max).unwrap_or(u16::MAX);
                let max_packet =
                    properties.and_then(|it| it.max_packet_size).map_or(usize::MAX, |bytes| bytes as usize);
                if max_packet < to.status_packet {
                    let (needed, topic) = (to.status_packet, &to.status_topic);
                    let reason = format!(
                        "the broker takes packets of {max_packet} bytes at most, and our status on `{topic}` needs up to {needed}; raise its maximum packet size"
                    );
                    return Err(Refusal { reason, cause: Cause::Other });
                }
                return Ok(Limits {
                    window: usize::from(room.min(receive_max).max(1)),
                    receive_max,
                    max_packet: max_packet.min(to.max_packet),
                    retains: to.retains && properties.and_then(|it| it.retain_available) != Some(0),
                });
            }
            Ok(_) => {}
            Err(error) => return Err(refusal(&error, heard)),
        }
    }
}

fn refusal(error: &ConnectionError, heard: &Heard) -> Refusal {
    let words = heard.last_words().filter(|words| words.packet == Answer::Connack);
    if words.as_ref().is_some_and(|words| words.code == 0 && words.receive_max == Some(0)) {
        return Refusal { reason: NO_RECEIVE_MAX.to_owned(), cause: Cause::Forbidden };
    }
    let meaning = words.as_ref().map(|words| reason_code::meaning(Answer::Connack, words.code));
    let cause = match (meaning, error) {
        (Some(Meaning::OtherVersion), _) => Cause::Version,
        (Some(Meaning::NoRetained), _) => Cause::NoRetained,
        (Some(Meaning::Broker | Meaning::TakenOver | Meaning::Refused | Meaning::Unclear), _) => Cause::Other,
        // The answer is not valid in MQTT 5; the CONNACK of 3.1.1, for example, is not.
        (_, ConnectionError::NotConnAck(_)) => Cause::Version,
        (_, ConnectionError::MqttState(StateError::ConnectionAborted)) => Cause::Silence,
        (_, ConnectionError::Timeout(_)) if heard.is_silent() => Cause::Silence,
        (
            _,
            ConnectionError::MqttState(
                StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)),
            ),
        ) if tls::explain(error, Peer::Broker).is_none() && heard.fault().is_none() => Cause::Silence,
        (_, ConnectionError::MqttState(StateError::Deserialization(error)))
            if !matches!(error, mqttbytes::Error::Io(_)) =>
        {
            Cause::Version
        }
        _ => Cause::Other,
    };
    let said = words.filter(|_| meaning != Some(Meaning::Fine)).map(|words| words.text());
    Refusal { reason: said.unwrap_or_else(|| reason(error, heard)), cause }
}

fn ending(error: &ConnectionError, heard: &Heard) -> Ending {
    if heard.fault().is_some() {
        return Ending { reason: reason(error, heard), meaning: Meaning::Broker };
    }
    let is_read = !matches!(error, ConnectionError::MqttState(StateError::Deserialization(_)));
    match heard.last_words() {
        Some(words) if words.packet == Answer::Disconnect => {
            Ending { reason: words.text(), meaning: reason_code::meaning(words.packet, words.code) }
        }
        // The library ends the connection at an acknowledgement whose code is not in the standard.
        Some(words) if words.packet == Answer::Puback && !is_read => {
            Ending { reason: words.text(), meaning: reason_code::meaning(words.packet, words.code) }
        }
        _ => Ending::unclear(reason(error, heard)),
    }
}

fn reason(error: &ConnectionError, heard: &Heard) -> String {
    if let Some(fault) = heard.fault() {
        return fault;
    }
    // The library quotes the broker here and there.
    let shown = |text: String| last_words::clean(&text, heard.echo());
    match error {
        ConnectionError::Timeout(_) => format!("no answer within {CONNECT_TIME:?}"),
        ConnectionError::MqttState(StateError::ConnectionAborted) => "the broker closed the connection".to_owned(),
        ConnectionError::MqttState(StateError::AwaitPingResp) => "the broker answers no ping".to_owned(),
        ConnectionError::MqttState(StateError::Unsolicited(id)) => {
            format!("the broker acknowledged packet {id}, which was not sent")
        }
        ConnectionError::MqttState(StateError::Deserialization(mqttbytes::Error::PayloadSizeLimitExceeded {
            ..
        })) => format!("the broker sent a packet of more than {LARGEST} bytes"),
        ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)),
        ) => shown(tls::explain(error, Peer::Broker).unwrap_or_else(|| format!("the connection broke: {error}"))),
        other => shown(tls::explain(other, Peer::Broker).unwrap_or_else(|| other.to_string())),
    }
}
