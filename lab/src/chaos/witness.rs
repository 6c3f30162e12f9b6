//! What arrived. In: the records of the subscribers, of the taps and of the receiver. Out: each receipt, with the destination that it belongs to and
//! the second of the run. It reads messages as a stranger would, and judges nothing.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Instant;

use futures_util::future::join_all;
use futures_util::future::join3;
use serde_json::Value;

use crate::chaos::stage::Stage;
use rig::tap::Seen;

/// One message, as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Receipt {
    pub(super) entity: String,
    pub(super) counter: u64,
    pub(super) nonce: String,
    /// The second of the run.
    pub(super) at: f64,
    /// The broker says that it sent this before: the subscriber's acknowledgement was lost, which is no doing of the gateway.
    pub(super) redelivered: bool,
}

/// The receipts of each destination, by its label, in their order.
pub(super) struct Witness {
    start: Instant,
    seen: Mutex<HashMap<String, Arrived>>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Arrived {
    pub(super) receipts: Vec<Receipt>,
    pub(super) distinct: HashSet<(String, u64)>,
}

impl Witness {
    pub(super) fn new(start: Instant) -> Witness {
        Witness { start, seen: Mutex::default() }
    }

    /// Follows the records for as long as it is polled.
    pub(super) async fn watch(&self, stage: &Stage) {
        let publishes = join_all(stage.subscribers.iter().map(async |subscriber| {
            let mut messages = subscriber.messages().follow();
            loop {
                let message = messages.next().await;
                self.saw(first_level(&message.topic), &message.payload, message.at, message.dup);
            }
        }));
        let acknowledgements = join_all(stage.taps.iter().map(async |tap| {
            let mut seen = tap.seen().follow();
            loop {
                if let Seen::Acknowledged { topic, payload } = &*seen.next().await {
                    self.saw(first_level(topic), payload, Instant::now(), false);
                }
            }
        }));
        let posts = async {
            let mut acceptances = stage.receiver.acceptances().follow();
            loop {
                let request = acceptances.next().await;
                let path = request.path.split('?').next().unwrap_or_default();
                self.saw(path.trim_start_matches('/'), &request.body, Instant::now(), false);
            }
        };
        let _: (Vec<()>, Vec<()>, ()) = join3(publishes, acknowledgements, posts).await;
    }

    fn saw(&self, label: &str, payload: &[u8], at: Instant, redelivered: bool) {
        // The gateway's own status is no event.
        if label == "andon" {
            return;
        }
        let payload: Value = serde_json::from_slice(payload).unwrap_or_default();
        let text = |name: &str| payload["data"][name].as_str().unwrap_or_default().to_owned();
        let (entity, nonce) = (text("entity"), text("nonce"));
        let counter = payload["data"]["counter"].as_u64().unwrap_or(0);
        let at = at.saturating_duration_since(self.start).as_secs_f64();
        let mut seen = self.seen();
        let seen = seen.entry(label.to_owned()).or_default();
        let is_first = seen.distinct.insert((entity.clone(), counter));
        seen.receipts.push(Receipt { entity, counter, nonce, at, redelivered: redelivered && !is_first });
    }

    /// Everything so far.
    pub(super) fn all(&self) -> HashMap<String, Arrived> {
        self.seen().clone()
    }

    /// How many different events arrived at a destination.
    pub(super) fn distinct(&self, label: &str) -> u64 {
        self.seen().get(label).map_or(0, |seen| seen.distinct.len() as u64)
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<String, Arrived>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn first_level(topic: &str) -> &str {
    topic.split('/').next().unwrap_or_default()
}
