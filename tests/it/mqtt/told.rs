//! What the log says of brokers that do the same again and again. In: brokers that come and go, or refuse many events. Out: a few lines of the
//! log, and all of it in the tables.

use rig::ScriptedBroker;
use rig::scripted_broker::Answer;
use rig::scripted_broker::Request;
use serde_json::json;

use super::chunk;
use super::wait_for_done;
use crate::support::daemon::start;
use crate::support::line::Line;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_takes_one_event_and_hangs_up_is_told_at_growing_distances() {
    let script = |request: &Request| match request.accepted() {
        Answer::Bytes(bytes) if request.is_event() => Answer::Last(bytes),
        answer => answer,
    };
    let broker = ScriptedBroker::start(script).await.unwrap();
    let line = Line::new().await;
    let lane = line.publisher(broker.port(), json!({"order": "strict"})).await;
    line.run(&chunk(1, 1, 15)).await;

    let daemon = start(&line.url).await;
    wait_for_done(&line, &lane).await;
    daemon.stop().await.unwrap();

    let log = daemon.log();
    let told: Vec<&str> = log.lines().filter(|it| it.contains("takes nothing now") || it.contains("again")).collect();
    assert!(told.len() == 2 && told[0].contains("times=1 ") | told[0].ends_with("times=1"), "{told:#?}");
    assert!(told[1].contains("times=10"), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_events_that_are_dead_at_once_the_log_names_the_first_and_counts_the_others() {
    let broker = ScriptedBroker::start(|request| match request {
        Request::Publish { topic, .. } if topic.starts_with("acme/bad/") => request.refused(0x87),
        _ => request.accepted(),
    })
    .await
    .unwrap();
    let line = Line::new().await;
    let lane = line.publisher(broker.port(), json!({"order": "strict"})).await;
    for counter in 1..=12 {
        line.emit("acme", "bad", counter).await;
        line.emit("acme", "good", counter).await;
    }

    let daemon = start(&line.url).await;
    wait_for_done(&line, &lane).await;
    daemon.stop().await.unwrap();

    let log = daemon.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("parked dead")).collect();
    assert!(told.len() == 2 && told[0].contains("not authorized"), "{told:#?}");
    assert!(told[1].contains("count=10"), "{told:#?}");
    assert_eq!(line.parked(&lane).await.len(), 12);
}
