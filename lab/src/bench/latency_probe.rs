//! The subscriber of the benches of latency. In: what is published. Out: each payload with the wall-clock time of its receipt. It shares the
//! machine with what is measured, so it costs as little as possible: it has a thread of its own, uses QoS 0, and reads the payloads only
//! when the spell is over.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use anyhow::Context as _;
use anyhow::Result;
use bytes::Bytes;
use rumqttc_v5::AsyncClient;
use rumqttc_v5::Event;
use rumqttc_v5::MqttOptions;
use rumqttc_v5::Packet;
use rumqttc_v5::mqttbytes::QoS;
use serde::Deserialize;
use tokio::sync::oneshot;

/// A running subscriber. Dropping it ends it.
pub(super) struct LatencyProbe {
    arrived: Arc<Mutex<Vec<(Duration, Bytes)>>>,
    _lifeline: oneshot::Sender<()>,
}

/// An event that was received.
pub(super) struct Receipt {
    /// The id of the row.
    pub(super) id: i64,
    /// When the trigger ran.
    pub(super) stamp: Duration,
    /// When it was received.
    pub(super) at: Duration,
}

#[derive(Deserialize)]
struct Job {
    id: i64,
    /// Microseconds since 1970.
    stamp: u64,
}

#[derive(Deserialize)]
struct Envelope {
    data: Job,
}

const BATCH: usize = 64;
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns the time since 1970, like PostgreSQL's `clock_timestamp()`.
pub(super) fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl LatencyProbe {
    /// Subscribes, and returns when the broker has confirmed it.
    pub(super) fn start(broker: u16, filter: &'static str) -> Result<LatencyProbe> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (lifeline, over) = oneshot::channel();
        let (says_ready, ready) = std::sync::mpsc::channel();
        let arrived = Arc::default();
        let sees = Arc::clone(&arrived);
        std::thread::Builder::new().name("latency-probe".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = over => {}
                    () = see(broker, filter, &says_ready, &sees) => {}
                }
            });
        })?;
        ready.recv_timeout(PATIENCE).context("the broker does not confirm the subscription")?;
        Ok(LatencyProbe { arrived, _lifeline: lifeline })
    }

    /// Returns how many events arrived since `forget`.
    pub(super) fn count(&self) -> usize {
        lock(&self.arrived).len()
    }

    pub(super) fn forget(&self) {
        lock(&self.arrived).clear();
    }

    /// Takes what arrived. `in_envelope` says that the payloads are in the format of the gateway.
    pub(super) fn take(&self, in_envelope: bool) -> Result<Vec<Receipt>> {
        let arrived = std::mem::take(&mut *lock(&self.arrived));
        let receipts = arrived.into_iter().map(|(at, payload)| {
            let job = if in_envelope {
                serde_json::from_slice::<Envelope>(&payload)?.data
            } else {
                serde_json::from_slice(&payload)?
            };
            Ok(Receipt { id: job.id, stamp: Duration::from_micros(job.stamp), at })
        });
        receipts.collect::<Result<_>>().context("something else was published")
    }
}

async fn see(
    broker: u16,
    filter: &str,
    says_ready: &std::sync::mpsc::Sender<()>,
    arrived: &Mutex<Vec<(Duration, Bytes)>>,
) {
    let mut options = MqttOptions::new("latency-probe", ("127.0.0.1", broker));
    let mut network = options.network_options();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    options.set_read_batch_size(BATCH).set_outgoing_inflight_upper_limit(1);
    let (client, mut events) = AsyncClient::builder(options).unbounded().build();
    if client.try_subscribe(filter, QoS::AtMostOnce).is_err() {
        return;
    }
    // The loop ends with the connection. Messages that come after that are missing in the count.
    while let Ok(event) = events.poll().await {
        match event {
            Event::Incoming(Packet::Publish(publish)) => lock(arrived).push((wall_clock(), publish.payload)),
            Event::Incoming(Packet::SubAck(_)) if says_ready.send(()).is_err() => return,
            _ => {}
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
