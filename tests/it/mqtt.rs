//! The MQTT lane with a real mosquitto, and with the faults of brokers and networks. In: events and faults. Out: whether the subscriber
//! gets all events in order, and whether the lane reports what the broker acknowledged and refused.

mod address;
mod broken;
mod hostile;
mod identity;
mod installed;
mod lacking;
mod limits;
mod order;
mod poison;
mod rate;
mod refused;
mod status;
mod tls;
mod told;
mod topics;
mod trouble;
mod version;

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::sync::Arc;

use rig::subscriber::Message;
use rig::subscriber::Subscriber;

use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::marker;

/// Says whether a message is an event. The lanes' status messages are not.
fn is_event(message: &Message) -> bool {
    !message.topic.starts_with("andon/")
}

/// Filters the events out of all messages that arrived.
fn events(got: &[Arc<Message>]) -> impl Iterator<Item = &Arc<Message>> {
    got.iter().filter(|message| is_event(message))
}

/// Waits until `count` different events have arrived.
async fn wait_for_all(subscriber: &Subscriber, count: usize) {
    let mut seen = HashSet::new();
    let is_first = |message: &Message| is_event(message) && seen.insert(marker(&message.payload));
    subscriber.messages().wait_for_matching(PATIENCE, count, is_first).await.unwrap();
}

/// Returns the SQL that inserts the counters `from` to `to` of each of the `entities`, in one transaction.
fn chunk(entities: u64, from: u64, to: u64) -> String {
    format!(
        "insert into andon.events (tenant, type, entity_type, entity_id, data)
        select 'acme', 'job.updated', 'job', 'e' || entity, jsonb_build_object('entity', 'e' || entity, 'counter', counter)
        from generate_series({from}, {to}) counter, generate_series(1, {entities}) entity order by counter;
        select andon.ring();"
    )
}

/// Returns the last counter of each entity, as the oracle expects it.
fn expected(entities: u64, last: u64) -> BTreeMap<String, u64> {
    (1..=entities).map(|entity| (format!("e{entity}"), last)).collect()
}

/// Emits one event whose payload contains this text.
async fn emit_with(line: &Line, entity: &str, counter: u64, text: &str) {
    line.run(&format!(
        "select andon.emit('job.updated', jsonb_build_object('entity', '{entity}', 'counter', {counter}, 'text', '{text}'),
        'acme', 'job', '{entity}')"
    ))
    .await;
}

/// Changes the row of every publisher.
pub(crate) async fn set(line: &Line, columns: &str) {
    line.run(&format!("update andon.mqtt_publishers set {columns}")).await;
}

/// Waits until the lane has acknowledged all events of the log.
pub(crate) async fn wait_for_done(line: &Line, lane: &str) {
    line.until(&format!(
        "select exists (select from andon.lanes where lane = '{lane}' and isempty(pending)
        and position >= (select max(id) from andon.events))"
    ))
    .await;
}
