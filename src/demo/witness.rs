//! What arrived, at the subscriber and at the receiver. In: their records. Out: for each way the events in order, as (entity, counter),
//! and how long they took. It reads payloads as a stranger would: the type, and which entity and which of its events that is.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::demo::report::Narrator;
use crate::demo::truth::EntityKey;
use crate::demo::truth::Truth;
use crate::rig::Receiver;
use crate::rig::Subscriber;
use crate::rig::oracle;
use crate::rig::oracle::Verdict;
use crate::rig::receiver::Signature;

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
    received: Vec<(EntityKey, u64)>,
    distinct: HashSet<(EntityKey, u64)>,
    latencies: Vec<Duration>,
}

impl Witness {
    pub(super) fn new(truth: Arc<Truth>, narrator: Narrator) -> Witness {
        Witness { truth, narrator, mqtt: Mutex::default(), webhook: Mutex::default(), arrived: Notify::new() }
    }

    /// Follows the records for as long as it is polled.
    pub(super) async fn watch(&self, subscriber: &Subscriber, receiver: &Receiver) -> Infallible {
        let mut messages = subscriber.messages().follow();
        let mut acceptances = receiver.acceptances().follow();
        let mut requests = receiver.requests().follow();
        loop {
            tokio::select! {
                message = messages.next() => {
                    self.saw(&self.mqtt, &message.payload, message.at, "mqtt", |_| message.topic.clone());
                }
                request = acceptances.next() => {
                    self.saw(&self.webhook, &request.body, request.at, "webhook", |kind| {
                        format!("{kind} answered 200, signature valid")
                    });
                }
                request = requests.next() => if let Signature::Invalid(reason) = &request.signature {
                    self.narrator.event("webhook", &format!("answered 401: {reason}"));
                }
            }
        }
    }

    /// Returns when everything that was committed has arrived on both ways.
    pub(super) async fn all_arrived(&self) {
        loop {
            let arrived = self.arrived.notified();
            let expected = self.truth.count();
            if [&self.mqtt, &self.webhook].iter().all(|way| locked(way).distinct.len() as u64 >= expected) {
                return;
            }
            arrived.await;
        }
    }

    /// What the oracle says of the publishes.
    pub(super) fn mqtt_verdict(&self) -> Verdict {
        self.verdict(&self.mqtt)
    }

    /// What the oracle says of the posts.
    pub(super) fn webhook_verdict(&self) -> Verdict {
        self.verdict(&self.webhook)
    }

    /// From asking for the commit to the first receipt, of every publish.
    pub(super) fn mqtt_latencies(&self) -> Vec<Duration> {
        locked(&self.mqtt).latencies.clone()
    }

    fn verdict(&self, way: &Mutex<Way>) -> Verdict {
        let way = locked(way);
        oracle::judge(
            &self.truth.committed(),
            way.received.iter().map(|(entity, counter)| (entity.0.as_str(), *counter)),
        )
    }

    fn saw(&self, way: &Mutex<Way>, payload: &[u8], at: Instant, name: &str, describe: impl Fn(&str) -> String) {
        // The gateway's own status messages have neither a type nor data, and are no events.
        let Some(seen) = read(payload, |entity| self.truth.knows(entity)) else { return };
        let asked_at = self.truth.asked_at(&seen.entity, seen.counter);
        let took = asked_at.map(|asked_at| at.saturating_duration_since(asked_at));
        let event = (seen.entity, seen.counter);
        let mut way = locked(way);
        let is_first = way.distinct.insert(event.clone());
        way.received.push(event);
        if let (true, Some(took)) = (is_first, took) {
            way.latencies.push(took);
        }
        drop(way);
        self.arrived.notify_waiters();
        let after =
            took.map_or_else(|| "never committed".to_owned(), |took| format!("{:.1} ms", took.as_secs_f64() * 1e3));
        let again = if is_first { "" } else { ", again" };
        self.narrator.event(name, &format!("{} ({after}{again})", describe(&seen.kind)));
    }
}

/// An event, as its receiver understands it.
pub(super) struct Seen {
    pub(super) kind: String,
    pub(super) entity: EntityKey,
    pub(super) counter: u64,
}

/// Reads an event. Its entity is the one of its type's kind whose id is in the data; foreign keys are of other kinds.
pub(super) fn read(payload: &[u8], is_known: impl Fn(&EntityKey) -> bool) -> Option<Seen> {
    let payload: Value = serde_json::from_slice(payload).ok()?;
    let kind = payload.get("event").or_else(|| payload.get("type"))?.as_str()?;
    let data = payload.get("data")?.as_object()?;
    let noun = kind.split('.').next()?;
    let ids: Vec<Uuid> = data.values().filter_map(|value| value.as_str()?.parse().ok()).collect();
    let keys = || ids.iter().map(|id| EntityKey::new(noun, *id));
    // One that nobody knows is kept all the same: the oracle shall see it, as a phantom.
    let entity = keys().find(&is_known).or_else(|| keys().next()).unwrap_or_else(|| EntityKey(noun.to_owned()));
    let counter = counter(kind, data).unwrap_or(0);
    Some(Seen { kind: kind.to_owned(), entity, counter })
}

/// Which of its entity's events this is. Operations count in hundredths of an hour; the others have one event of each type.
fn counter(kind: &str, data: &serde_json::Map<String, Value>) -> Option<u64> {
    match kind {
        "job.created" | "part.created" | "issue.created" => Some(1),
        "job.updated" | "part.updated" | "issue.resolved" => Some(2),
        "job.deleted" | "part.deleted" => Some(3),
        _ if kind.starts_with("sync.") => Some(1),
        _ => {
            let hours = data.get("actual_time")?;
            let hours = hours.as_f64().or_else(|| hours.as_str()?.parse().ok())?;
            let hundredths = (hours * 100.0).round();
            // Beyond this range it cannot be one of ours.
            (1.0..1e9).contains(&hundredths).then_some(hundredths as u64)
        }
    }
}

fn locked(way: &Mutex<Way>) -> MutexGuard<'_, Way> {
    way.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "6f8b2d0e-7c1f-4a53-9d7e-0f5b5a8a2c11";

    #[test]
    fn an_operation_is_counted_by_its_recorded_time() {
        let payload = format!(r#"{{"event":"operation.started","data":{{"operation_id":"{ID}","actual_time":0.07}}}}"#);

        let seen = read(payload.as_bytes(), |_| true).unwrap();

        assert_eq!((seen.entity.0, seen.counter), (format!("operation/{ID}"), 7));
    }

    #[test]
    fn the_entity_is_the_known_one() {
        let known = EntityKey::new("part", ID.parse().unwrap());
        let other = "00000000-0000-0000-0000-000000000001";
        let payload = format!(r#"{{"type":"part.updated","data":{{"job_id":"{other}","id":"{ID}"}}}}"#);

        let seen = read(payload.as_bytes(), |entity| *entity == known).unwrap();

        assert_eq!((seen.entity, seen.counter), (known, 2));
    }

    #[test]
    fn what_cannot_be_placed_is_a_phantom_and_a_status_is_nothing() {
        let odd = read(br#"{"event":"machine.down","data":{}}"#, |_| true).unwrap();

        assert_eq!(odd.counter, 0);
        assert!(read(b"online", |_| true).is_none());
        assert!(read(br#"{"state":"online"}"#, |_| true).is_none());
    }
}
