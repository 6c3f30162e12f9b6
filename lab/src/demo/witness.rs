//! What arrived, at the subscribers and at the receiver. In: their records. Out: for each way the ids of the events in order, each with
//! the tenant at whose destination it arrived, and how long they took. It reads messages as a stranger would.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::timeout;
use uuid::Uuid;

use crate::demo::report::Narrator;
use crate::demo::truth::Receipt;
use crate::demo::truth::Truth;
use rig::Receiver;
use rig::Subscriber;
use rig::receiver::Received;
use rig::reference::plant::Outlet;
use rig::signature::Signature;
use rig::subscriber::Message;

/// Both ways.
pub(super) struct Witness {
    truth: Arc<Truth>,
    narrator: Narrator,
    mqtt: Mutex<Way>,
    webhook: Mutex<Way>,
    arrived: Notify,
}

#[derive(Default)]
struct Way {
    receipts: Vec<Receipt>,
    distinct: HashSet<Uuid>,
    latencies: Vec<Duration>,
}

impl Witness {
    pub(super) fn new(truth: Arc<Truth>, narrator: Narrator) -> Witness {
        Witness { truth, narrator, mqtt: Mutex::default(), webhook: Mutex::default(), arrived: Notify::new() }
    }

    /// Follows the records for as long as it is polled.
    pub(super) async fn watch(&self, outlets: &[Outlet], subscribers: &[Subscriber], receiver: &Receiver) {
        let publishes = outlets.iter().zip(subscribers).map(async |(outlet, subscriber)| {
            let mut messages = subscriber.messages().follow();
            loop {
                let message = messages.next().await;
                // The gateway's own status is no event.
                if !message.topic.starts_with("andon/") {
                    self.saw(&self.mqtt, &outlet.tenant, published(&message), message.at, "mqtt", &message.topic);
                }
            }
        });
        let posts = async {
            let mut acceptances = receiver.acceptances().follow();
            let mut requests = receiver.requests().follow();
            loop {
                tokio::select! {
                    request = acceptances.next() => {
                        let tenant = outlets.iter().find(|outlet| outlet.path == request.path);
                        let tenant = tenant.map_or("", |outlet| outlet.tenant.as_str());
                        let what = format!("{} answered 200, signature valid", kind(&request.body));
                        self.saw(&self.webhook, tenant, posted(&request), request.at, "webhook", &what);
                    }
                    request = requests.next() => if let Signature::Invalid(reason) = &request.signature {
                        self.narrator.event("webhook", &format!("answered 401: {reason}"));
                    }
                }
            }
        };
        let _: (Vec<()>, ()) = tokio::join!(join_all(publishes), posts);
    }

    /// Returns when everything that was committed has arrived on both ways, or when nothing new has for as long as the patience lasts.
    pub(super) async fn all_arrived(&self, patience: Duration) {
        let ways = || [&self.mqtt, &self.webhook].map(|way| locked(way).distinct.len() as u64);
        let has_news = async |before| {
            loop {
                let arrived = self.arrived.notified();
                if ways() != before {
                    return;
                }
                arrived.await;
            }
        };
        loop {
            let so_far = ways();
            let is_over = so_far.iter().all(|arrived| *arrived >= self.truth.count());
            if is_over || timeout(patience, has_news(so_far)).await.is_err() {
                return;
            }
        }
    }

    /// The publishes, in order.
    pub(super) fn published(&self) -> Vec<Receipt> {
        locked(&self.mqtt).receipts.clone()
    }

    /// The accepted posts, in order.
    pub(super) fn posted(&self) -> Vec<Receipt> {
        locked(&self.webhook).receipts.clone()
    }

    /// From asking for the commit to the first receipt, of every publish.
    pub(super) fn mqtt_latencies(&self) -> Vec<Duration> {
        locked(&self.mqtt).latencies.clone()
    }

    fn saw(&self, way: &Mutex<Way>, tenant: &str, event: Option<Uuid>, at: Instant, name: &str, what: &str) {
        let asked_at = event.and_then(|event| self.truth.asked_at(event));
        let took = asked_at.map(|asked_at| at.saturating_duration_since(asked_at));
        let mut way = locked(way);
        let is_first = event.is_none_or(|event| way.distinct.insert(event));
        way.receipts.push((tenant.to_owned(), event));
        if let (true, Some(took)) = (is_first, took) {
            way.latencies.push(took);
        }
        drop(way);
        self.arrived.notify_waiters();
        let after =
            took.map_or_else(|| "never committed".to_owned(), |took| format!("{:.1} ms", took.as_secs_f64() * 1e3));
        let again = if is_first { "" } else { ", again" };
        self.narrator.event(name, &format!("{what} ({after}{again})"));
    }
}

/// Which event a message is: MQTT 5 says it in a property; older subscribers find it in the payload, where the format has it.
fn published(message: &Message) -> Option<Uuid> {
    let property = message.user_properties.iter().find(|(name, _)| name == "event_id");
    match property {
        Some((_, id)) => id.parse().ok(),
        None => serde_json::from_slice::<Value>(&message.payload).ok()?.get("id")?.as_str()?.parse().ok(),
    }
}

/// Which event a request is. Its id is the event's, and then the endpoint's.
fn posted(request: &Received) -> Option<Uuid> {
    request.headers.get("webhook-id")?.to_str().ok()?.split('_').next()?.parse().ok()
}

fn kind(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body.get("type").or_else(|| body.get("event")).and_then(Value::as_str).unwrap_or("something").to_owned()
}

fn locked(way: &Mutex<Way>) -> MutexGuard<'_, Way> {
    way.lock().unwrap_or_else(PoisonError::into_inner)
}
