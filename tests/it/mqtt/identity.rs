//! Publishers whose client id is pinned, by their row or by the broker. In: checks and replays while their lane is connected. Out: whether the
//! lane stays connected, and whether what could not be tried is said.

use std::sync::Arc;

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::ScriptedBroker;
use rig::scripted_broker::Answer;
use rig::scripted_broker::Request;
use rig::scripted_broker::connack;
use rig::scripted_broker::disconnect;
use serde_json::json;

use super::set;
use super::wait_for_done;
use crate::command::run_andon;
use crate::support::line::Line;

fn connections(broker: &Mosquitto) -> usize {
    broker.log().matches("New client connected").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_throws_no_lane_off_whose_client_id_is_pinned_and_says_what_it_did_not_try() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(broker.port(), json!({"client_id": "plc-7"})).await;

    let alone = run_andon(&line.url, &["check"]);
    line.start();
    line.emit("acme", "e", 1).await;
    // A lane counts as running before it has connected for the first time.
    wait_for_done(&line, &lane).await;
    let before = connections(&broker);
    let beside = run_andon(&line.url, &["check"]);
    let canary = run_andon(&line.url, &["check", "--canary"]);
    let after = connections(&broker);
    line.publisher(broker.port(), json!({"client_id": "plc-7"})).await;
    let shared = run_andon(&line.url, &["check"]);

    line.stop().await.unwrap();
    assert!(broker.log().contains("as plc-7 ") && !broker.log().contains("plc-7-check"), "{}", broker.log());
    assert!(alone.status == 0 && alone.out.contains("speaks MQTT 5"), "{alone:?}");
    assert!(beside.status == 0 && beside.out.contains("its lane is running; not tried beside it"), "{beside:?}");
    assert!(canary.out.contains("not tried: the broker knows one client `plc-7`, which its lane is"), "{canary:?}");
    assert_eq!(after, before, "neither of them connected");
    assert!(
        shared.status == 1 && shared.out.contains("settings.client_id `plc-7` is that of `plant` at 127.0.0.1"),
        "{shared:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_throws_no_lane_off_whose_user_name_is_its_client_id() {
    let users = vec![("andon".to_owned(), "secret".to_owned())];
    let lines = vec!["use_username_as_clientid true".to_owned()];
    let broker = Mosquitto::start(&MosquittoOptions { users, lines, ..MosquittoOptions::default() }).unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(broker.port(), json!({})).await;
    set(&line, "username = 'andon', password = 'secret'").await;
    line.start();
    line.emit("acme", "e", 1).await;
    // A lane counts as running before it has connected for the first time.
    wait_for_done(&line, &lane).await;

    let before = connections(&broker);
    let check = run_andon(&line.url, &["check"]);
    let after = connections(&broker);

    line.stop().await.unwrap();
    assert!(check.out.contains("its lane is running; not tried beside it"), "{check:?}");
    assert_eq!(after, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_gives_way_to_the_publisher_whose_place_it_takes_and_says_so() {
    let script = |request: &Request| match request {
        Request::Connect { client_id, .. } if client_id == "plc-7-replay-1" => {
            Answer::Last([connack(5, 0), disconnect(0x8e, "one client, one connection")].concat())
        }
        _ => request.accepted(),
    };
    let broker = ScriptedBroker::start(script).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(broker.port(), json!({"client_id": "plc-7"})).await;
    line.start();
    line.emit("acme", "e", 1).await;
    wait_for_done(&line, &lane).await;

    line.run(&format!(
        "insert into andon.replays (lane, since, until, events, first_id, last_id, total)
        select '{lane}', '2000-01-01', now(), '{{*}}', 1, max(id), 1 from andon.events; select andon.notify_destinations()"
    ))
    .await;
    let reason = line.state(&format!("{lane}~replay/1"), "disabled").await;
    line.emit("acme", "e", 2).await;
    wait_for_done(&line, &lane).await;

    line.stop().await.unwrap();
    assert!(reason.contains("session taken over"), "{reason}");
    assert!(reason.ends_with(
        "the broker takes the replay and the publisher for one client, so the replay has to give way: cancel it"
    ));
    let replays = broker.seen().snapshot();
    let as_replay = |request: &&Arc<Request>| matches!(&***request, Request::Connect { client_id, .. } if client_id.contains("replay"));
    assert_eq!(replays.iter().filter(as_replay).count(), 1, "it does not come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_with_name_and_client_id_of_another_takes_neither_and_gets_the_id_when_that_is_gone() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher(broker.port(), json!({"client_id": "plc-7"})).await;
    line.start();
    line.emit("acme", "e", 1).await;
    wait_for_done(&line, &lane).await;
    let (before, epoch) = (connections(&broker), format!("select epoch::text from andon.lanes where lane = '{lane}'"));
    let began = line.text(&epoch).await;

    // Their lanes may sort before or after the first.
    let mut rivals = Vec::new();
    for _ in 0..4 {
        rivals.push(line.publisher_of("rival", "{event}", broker.port(), json!({"client_id": "plc-7"})).await);
    }
    let mut reasons = Vec::new();
    for rival in &rivals {
        reasons.push(line.state(rival, "misconfigured").await);
    }
    let named = line.publisher_of("rival", "{event}", broker.port(), json!({})).await;
    line.emit("rival", "e", 2).await;
    line.emit("acme", "e", 3).await;
    wait_for_done(&line, &named).await;
    wait_for_done(&line, &lane).await;
    let (after, ended) = (connections(&broker), line.text(&epoch).await);
    line.run("delete from andon.mqtt_publishers where tenant_id = 'acme'").await;
    rivals.sort();
    line.state(&rivals[0], "running").await;
    line.stop().await.unwrap();

    let wanted = format!(
        "mqtt publisher `plant`: settings.client_id `plc-7` is that of another publisher at 127.0.0.1:{}; give it its own",
        broker.port()
    );
    assert!(reasons.iter().all(|reason| *reason == wanted), "{reasons:?}");
    assert_eq!((after, ended), (before + 1, began), "nobody threw the lane off, and it was not restarted");
}
