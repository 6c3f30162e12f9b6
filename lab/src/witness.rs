//! Tells what arrived, where and when. In: the records of subscribers, taps and a receiver. Out: one arrival after the other, with the
//! destination and the event that it names. It reads messages as a stranger would, and judges nothing.

use std::time::Instant;

use bytes::Bytes;
use futures_util::future::join_all;
use rig::Receiver;
use rig::Subscriber;
use rig::Tap;
use rig::receiver::Received;
use rig::record::Follower;
use rig::subscriber::Message;
use rig::tap::Seen;
use serde_json::Value;
use uuid::Uuid;

/// One message or one accepted request.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) way: Way,
    /// The whole topic, or path and query.
    pub(crate) address: String,
    /// The event that it carries, if it names one.
    pub(crate) event: Option<Uuid>,
    pub(crate) payload: Bytes,
    pub(crate) at: Instant,
    /// The broker sent it before: the subscriber's acknowledgement was lost, which is no doing of the gateway.
    pub(crate) is_redelivered: bool,
}

/// How something arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the broker with this number.
    Mqtt(usize),
    /// At the receiver, which answered 2xx.
    Webhook,
}

/// Follows the records.
pub(crate) struct Witness {
    messages: Vec<Follower<Message>>,
    taps: Vec<Follower<Seen>>,
    requests: Follower<Received>,
}

impl Witness {
    /// Follows the records from their beginning.
    pub(crate) fn new(subscribers: &[Subscriber], receiver: &Receiver) -> Witness {
        let messages = subscribers.iter().map(|subscriber| subscriber.messages().follow()).collect();
        Witness { messages, taps: Vec::new(), requests: receiver.acceptances().follow() }
    }

    /// Counts what a broker acknowledges as arrived, where brokers lose what they have acknowledged.
    pub(crate) fn with_taps(self, taps: &[Tap]) -> Witness {
        Witness { taps: taps.iter().map(|tap| tap.seen().follow()).collect(), ..self }
    }

    /// Reports each arrival as it comes. It runs for as long as it is polled.
    pub(crate) async fn watch(mut self, saw: impl Fn(Arrival)) {
        let messages = join_all((0..).zip(&mut self.messages).map(async |(broker, messages)| {
            loop {
                if let Some(arrival) = published(broker, &*messages.next().await) {
                    saw(arrival);
                }
            }
        }));
        let acknowledgements = join_all((0..).zip(&mut self.taps).map(async |(broker, seen)| {
            loop {
                if let Some(arrival) = acknowledged(broker, &*seen.next().await) {
                    saw(arrival);
                }
            }
        }));
        let requests = async {
            loop {
                saw(posted(&*self.requests.next().await));
            }
        };
        let _: (Vec<()>, Vec<()>, ()) = tokio::join!(messages, acknowledgements, requests);
    }

    /// Returns what came since the last call, without waiting.
    pub(crate) fn take(&mut self) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        while let Some(request) = self.requests.try_next() {
            arrivals.push(posted(&request));
        }
        for (broker, messages) in (0..).zip(&mut self.messages) {
            while let Some(message) = messages.try_next() {
                arrivals.extend(published(broker, &message));
            }
        }
        arrivals
    }
}

/// Returns a message as an arrival. The gateway's own status is no event.
fn published(broker: usize, message: &Message) -> Option<Arrival> {
    let arrival = Arrival {
        way: Way::Mqtt(broker),
        address: message.topic.clone(),
        event: event_of(message),
        payload: message.payload.clone(),
        at: message.at,
        is_redelivered: message.dup,
    };
    (!message.topic.starts_with("andon/")).then_some(arrival)
}

fn acknowledged(broker: usize, seen: &Seen) -> Option<Arrival> {
    let Seen::Acknowledged { topic, payload } = seen else { return None };
    let arrival = Arrival {
        way: Way::Mqtt(broker),
        address: topic.clone(),
        event: None,
        payload: payload.clone(),
        at: Instant::now(),
        is_redelivered: false,
    };
    (!topic.starts_with("andon/")).then_some(arrival)
}

fn posted(request: &Received) -> Arrival {
    // The id of a delivery is the event's, followed by the endpoint's.
    let id = request.headers.get("webhook-id").and_then(|id| id.to_str().ok()?.split('_').next()?.parse().ok());
    Arrival {
        way: Way::Webhook,
        address: request.path.clone(),
        event: id,
        payload: request.body.clone(),
        at: request.at,
        is_redelivered: false,
    }
}

/// Returns the id of the event. MQTT 5 names it in a property; older subscribers find it in the payload, where the format has it.
fn event_of(message: &Message) -> Option<Uuid> {
    match message.user_properties.iter().find(|(name, _)| name == "event_id") {
        Some((_, id)) => id.parse().ok(),
        None => serde_json::from_slice::<Value>(&message.payload).ok()?.get("id")?.as_str()?.parse().ok(),
    }
}
