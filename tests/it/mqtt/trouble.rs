//! Brokers in trouble: over a quota, out of order, taken over, flooding, silent. In: events that the broker does not take for a while. Out:
//! whether each of them arrives afterwards, in order, and whether the lane says what the broker said.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use rig::ScriptedBroker;
use rig::scripted_broker::Answer;
use rig::scripted_broker::Request;
use rig::scripted_broker::disconnect;
use serde_json::json;

use super::chunk;
use super::wait_for_done;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::marker;

/// An event that met as many troubles in a row, alone in flight, was dead before troubles were told apart from it.
const MEETINGS: usize = 7;

/// Starts a broker that answers events in this way while it is in trouble, and everything else as it should.
async fn broker(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> (ScriptedBroker, Arc<AtomicBool>) {
    let trouble = Arc::new(AtomicBool::new(true));
    let is_in_trouble = Arc::clone(&trouble);
    let script = move |request: &Request| match request.is_event() && is_in_trouble.load(Ordering::SeqCst) {
        true => answer(request),
        false => request.accepted(),
    };
    (ScriptedBroker::start(script).await.unwrap(), trouble)
}

/// Returns the counters of the events that the broker got after the first `skipped`, in their order.
fn counters(broker: &ScriptedBroker, skipped: usize) -> Vec<u64> {
    let seen = broker.seen().snapshot();
    let events = seen.iter().filter(|request| request.is_event()).skip(skipped);
    events
        .filter_map(
            |request| if let Request::Publish { payload, .. } = &**request { Some(marker(payload).1) } else { None },
        )
        .collect()
}

fn connects(broker: &ScriptedBroker) -> usize {
    broker.seen().snapshot().iter().filter(|request| matches!(***request, Request::Connect { .. })).count()
}

/// Lets the lane meet a broker in trouble until it has seen that many events. Returns the lane's reason. All events must arrive once the
/// trouble is over, in order and none of them dead.
async fn no_event_is_lost_at(broker: &ScriptedBroker, trouble: &AtomicBool, meetings: usize) -> String {
    let mut line = Line::new().await;
    let lane = line.publisher(broker.port(), json!({"order": "strict"})).await;
    line.run(&chunk(1, 1, 5)).await;

    line.start();
    broker.seen().wait_for_matching(PATIENCE, meetings, Request::is_event).await.unwrap();
    let reason = line.state(&lane, "retrying").await;
    trouble.store(false, Ordering::SeqCst);
    let before = broker.seen().snapshot().iter().filter(|request| request.is_event()).count();
    wait_for_done(&line, &lane).await;
    line.state(&lane, "running").await;

    line.stop().await.unwrap();
    assert!(line.parked(&lane).await.is_empty());
    let mut arrived = counters(broker, before);
    arrived.dedup();
    assert!(arrived.ends_with(&[2, 3, 4, 5]) && arrived.is_sorted(), "{arrived:?}");
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_ends_the_connection_over_a_quota_costs_no_event() {
    let (broker, trouble) = broker(|_| Answer::Last(disconnect(0x97, "1000 messages a day"))).await;

    let reason = no_event_is_lost_at(&broker, &trouble, MEETINGS).await;

    let said = "the broker ended the connection: quota exceeded (0x97), it says `1000 messages a day`";
    assert!(reason.starts_with(said), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_up_at_every_event_costs_none_even_in_strict_order() {
    let (broker, trouble) = broker(|_| Answer::Last(Vec::new())).await;

    let reason = no_event_is_lost_at(&broker, &trouble, MEETINGS).await;

    assert_eq!(reason, "the broker closed the connection (5 times in a row, with one event alone in flight)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_fails_on_every_event_costs_none_and_keeps_its_connection() {
    let (broker, trouble) = broker(|request| request.refused(0x80)).await;

    let reason = no_event_is_lost_at(&broker, &trouble, MEETINGS).await;

    assert_eq!(reason, "the broker answered: unspecified error (0x80)");
    assert_eq!(connects(&broker), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_refuses_for_now_costs_no_event_and_keeps_its_connection() {
    let (broker, trouble) = broker(|request| request.refused(0x97)).await;

    let reason = no_event_is_lost_at(&broker, &trouble, MEETINGS).await;

    assert_eq!(reason, "the broker answered: quota exceeded (0x97)");
    assert_eq!(connects(&broker), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_with_codes_of_its_own_costs_no_event() {
    let (broker, trouble) = broker(|request| request.refused(0xc7)).await;

    let reason = no_event_is_lost_at(&broker, &trouble, MEETINGS).await;

    assert_eq!(reason, "the broker answered: unknown reason (0xc7)");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_broker_fails_on_is_dead_and_the_others_arrive_on_the_same_connection() {
    let fails = |request: &Request| matches!(request, Request::Publish { payload, .. } if marker(payload).0 == "e2");
    let script = move |request: &Request| match request.is_event() && fails(request) {
        true => request.refused(0x83),
        false => request.accepted(),
    };
    let broker = ScriptedBroker::start(script).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(broker.port(), json!({})).await;
    line.emit("acme", "e2", 1).await;

    line.start();
    broker.seen().wait_for_matching(PATIENCE, MEETINGS, |it| it.is_event() && fails(it)).await.unwrap();
    let parked_alone = line.parked(&lane).await;
    line.run(&chunk(1, 1, 2)).await;
    line.until("select count(*) = 1 from andon.deliveries where state = 'dead'").await;
    wait_for_done(&line, &lane).await;

    line.stop().await.unwrap();
    assert!(
        parked_alone.is_empty(),
        "as long as the broker takes no other, it is the broker that fails: {parked_alone:?}"
    );
    let because = "the broker took others, and failed on it alone more than 5 times";
    let last = "the last: the broker answered: implementation specific error (0x83)";
    assert_eq!(line.parked(&lane).await, [format!("dead 1 {because}; {last}")]);
    assert_eq!(connects(&broker), 1);
}
