//! Keeps what the demo's destinations received. In: arrivals, as the witness reports them, and when each commit was asked for. Out: for
//! each way the events in their order with the tenant at whose destination they arrived, and how long they took. It judges nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use rig::Receiver;
use rig::reference::plant::Outlet;
use rig::signature::Signature;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::timeout;
use uuid::Uuid;

use crate::demo::committed::Committed;
use crate::demo::committed::Receipt;
use crate::demo::narrator::Narrator;
use crate::witness::Arrival;
use crate::witness::Way;
use crate::witness::Witness;

/// The receipts of both ways.
pub(super) struct Received {
    committed: Arc<Committed>,
    narrator: Narrator,
    mqtt: Mutex<Receipts>,
    webhook: Mutex<Receipts>,
    changed: Notify,
}

#[derive(Default)]
struct Receipts {
    all: Vec<Receipt>,
    distinct: HashSet<Uuid>,
    latencies: Vec<Duration>,
}

impl Received {
    pub(super) fn new(committed: Arc<Committed>, narrator: Narrator) -> Received {
        Received { committed, narrator, mqtt: Mutex::default(), webhook: Mutex::default(), changed: Notify::new() }
    }

    /// Records what the witness sees, for as long as it is polled. Broker number `n` belongs to `outlets[n]`.
    pub(super) async fn watch(&self, outlets: &[Outlet], witness: Witness, receiver: &Receiver) {
        let refusals = async {
            let mut requests = receiver.requests().follow();
            loop {
                if let Signature::Invalid(reason) = &requests.next().await.signature {
                    self.narrator.event("webhook", &format!("answered 401: {reason}"));
                }
            }
        };
        let arrivals = witness.watch(|arrival| match arrival.way {
            Way::Mqtt(broker) => self.saw(&self.mqtt, &outlets[broker].tenant, &arrival, "mqtt", &arrival.address),
            Way::Webhook => {
                let outlet = outlets.iter().find(|outlet| outlet.path == arrival.address);
                let tenant = outlet.map_or("", |outlet| outlet.tenant.as_str());
                let what = format!("{} answered 200, signature valid", kind(&arrival.payload));
                self.saw(&self.webhook, tenant, &arrival, "webhook", &what);
            }
        });
        let _: ((), ()) = tokio::join!(arrivals, refusals);
    }

    /// Returns when everything that was committed has arrived on both ways, or when nothing new has for as long as the patience lasts.
    pub(super) async fn all_arrived(&self, patience: Duration) {
        let count = || [&self.mqtt, &self.webhook].map(|way| lock(way).distinct.len() as u64);
        let has_news = async |before| {
            loop {
                let changed = self.changed.notified();
                if count() != before {
                    return;
                }
                changed.await;
            }
        };
        loop {
            let so_far = count();
            let is_over = so_far.iter().all(|arrived| *arrived >= self.committed.count());
            if is_over || timeout(patience, has_news(so_far)).await.is_err() {
                return;
            }
        }
    }

    /// Returns the publishes, in order.
    pub(super) fn published(&self) -> Vec<Receipt> {
        lock(&self.mqtt).all.clone()
    }

    /// Returns the accepted posts, in order.
    pub(super) fn posted(&self) -> Vec<Receipt> {
        lock(&self.webhook).all.clone()
    }

    /// Returns the time from asking for the commit to the first receipt, of every publish.
    pub(super) fn mqtt_latencies(&self) -> Vec<Duration> {
        lock(&self.mqtt).latencies.clone()
    }

    fn saw(&self, receipts: &Mutex<Receipts>, tenant: &str, arrival: &Arrival, way: &str, what: &str) {
        let asked_at = arrival.event.and_then(|event| self.committed.asked_at(event));
        let took = asked_at.map(|asked_at| arrival.at.saturating_duration_since(asked_at));
        let mut receipts = lock(receipts);
        let is_first = arrival.event.is_none_or(|event| receipts.distinct.insert(event));
        receipts.all.push((tenant.to_owned(), arrival.event));
        if let (true, Some(took)) = (is_first, took) {
            receipts.latencies.push(took);
        }
        drop(receipts);
        self.changed.notify_waiters();
        let after =
            took.map_or_else(|| "never committed".to_owned(), |took| format!("{:.1} ms", took.as_secs_f64() * 1e3));
        let again = if is_first { "" } else { ", again" };
        self.narrator.event(way, &format!("{what} ({after}{again})"));
    }
}

fn kind(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body.get("type").or_else(|| body.get("event")).and_then(Value::as_str).unwrap_or("something").to_owned()
}

fn lock(receipts: &Mutex<Receipts>) -> MutexGuard<'_, Receipts> {
    receipts.lock().unwrap_or_else(PoisonError::into_inner)
}
