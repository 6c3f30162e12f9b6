//! Keeps what the destinations of a chaos run received. In: arrivals, as the witness reports them. Out: the receipts of each destination in
//! their order, with the second of the run. It judges nothing.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Instant;

use serde_json::Value;

use crate::witness::Arrival;
use crate::witness::Way;
use crate::witness::Witness;

/// One event of the run, as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Receipt {
    pub(super) entity: String,
    pub(super) counter: u64,
    pub(super) nonce: String,
    /// The second of the run.
    pub(super) at: f64,
    /// Whether the broker repeated it, and not the gateway.
    pub(super) is_redelivered: bool,
}

/// The receipts of each destination by its label.
pub(super) struct Received {
    start: Instant,
    destinations: Mutex<HashMap<String, Receipts>>,
}

/// The receipts of one destination.
#[derive(Debug, Default, Clone)]
pub(super) struct Receipts {
    pub(super) all: Vec<Receipt>,
    /// The nonces of all receipts.
    pub(super) distinct: HashSet<String>,
}

impl Received {
    pub(super) fn new(start: Instant) -> Received {
        Received { start, destinations: Mutex::default() }
    }

    /// Records what the witness sees, for as long as it is polled.
    pub(super) async fn watch(&self, witness: Witness) {
        witness.watch(|arrival| self.saw(&arrival)).await;
    }

    /// Returns everything so far, except events that were undone.
    pub(super) fn all(&self, undone: &HashSet<String>) -> HashMap<String, Receipts> {
        let mut all = self.destinations().clone();
        for receipts in all.values_mut() {
            receipts.all.retain(|receipt| !undone.contains(&receipt.nonce));
        }
        all
    }

    /// Returns how many different events arrived at a destination, except events that were undone.
    pub(super) fn distinct(&self, label: &str, undone: &HashSet<String>) -> u64 {
        let destinations = self.destinations();
        let Some(Receipts { distinct, .. }) = destinations.get(label) else { return 0 };
        (distinct.len() - undone.iter().filter(|nonce| distinct.contains(*nonce)).count()) as u64
    }

    fn saw(&self, arrival: &Arrival) {
        let payload: Value = serde_json::from_slice(&arrival.payload).unwrap_or_default();
        let text = |name: &str| payload["data"][name].as_str().unwrap_or_default().to_owned();
        let (entity, nonce) = (text("entity"), text("nonce"));
        let counter = payload["data"]["counter"].as_u64().unwrap_or(0);
        let at = match arrival.way {
            Way::Mqtt(_) => arrival.at,
            // A request counts from its answer.
            Way::Webhook => Instant::now(),
        };
        let at = at.saturating_duration_since(self.start).as_secs_f64();
        let mut destinations = self.destinations();
        let receipts = destinations.entry(label(&arrival.address).to_owned()).or_default();
        let is_first = receipts.distinct.insert(nonce.clone());
        let is_redelivered = arrival.is_redelivered && !is_first;
        receipts.all.push(Receipt { entity, counter, nonce, at, is_redelivered });
    }

    fn destinations(&self) -> MutexGuard<'_, HashMap<String, Receipts>> {
        self.destinations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the first level of a topic or path, which is the label of a destination.
fn label(address: &str) -> &str {
    address.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::label;

    #[test]
    fn topics_and_paths_begin_with_the_label() {
        assert_eq!(label("steady-a/v1/e3/job/updated"), "steady-a");
        assert_eq!(label("/volatile-b.2?v=4"), "volatile-b.2");
    }
}
