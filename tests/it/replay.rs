//! `andon replay` as an operator and a receiver see it. In: a log with older events, real endpoints and brokers. Out: whether exactly the
//! requested events are delivered again, marked, next to live ones, through failures and restarts, and what the command prints.

use std::sync::Arc;
use std::time::Duration;

use andon::destination::Defaults;
use andon::gateway::retention;
use andon::settings::Retention;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Subscriber;
use rig::receiver::Answer;
use rig::receiver::Received;
use rig::receiver::Receiver;
use rig::record::LONGEST;
use serde_json::json;

use crate::command::Run;
use crate::command::run_andon;
use crate::support::daemon;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::marker;
use crate::support::plant::connect;

impl Line {
    /// Runs `andon replay` while the test goes on.
    async fn replay(&self, arguments: &[&str]) -> Run {
        let url = self.url.clone();
        let arguments: Vec<String> =
            std::iter::once("replay").chain(arguments.iter().copied()).map(str::to_owned).collect();
        let run = tokio::task::spawn_blocking(move || {
            run_andon(&url, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
        });
        tokio::time::timeout(PATIENCE * LONGEST, run).await.expect("the command ends").unwrap()
    }

    /// Starts a replay of everything without waiting for its end. Returns as soon as its lane exists.
    async fn replay_behind(&self, lane: &str) {
        self.replay_up_to(lane, "(select max(id) from andon.events)").await;
    }

    async fn replay_up_to(&self, lane: &str, last: &str) {
        let until = "select max(captured_at) + interval '1 microsecond' from andon.events";
        self.run(&format!(
            "insert into andon.replays (lane, since, until, events, first_id, last_id, total)
            select '{lane}', '2000-01-01', ({until}), '{{*}}', 1, {last}, {last};
            select pg_notify('andon', 'destinations')"
        ))
        .await;
        self.until("select exists (select from andon.lanes where replay is not null)").await;
    }

    /// Waits until everything is delivered, and then sets the time of the events below this id back.
    async fn delivered(&self, past: i64, by: &str) {
        self.until(ALL_DONE).await;
        let sql = format!("update andon.events set captured_at = captured_at - interval '{by}' where id < {past}");
        self.run(&sql).await;
    }

    async fn no_replay_runs(&self) {
        self.until("select not exists (select from andon.replays where state = 'running')").await;
        self.until("select not exists (select from andon.lanes where replay is not null)").await;
    }
}

fn is_marked(request: &Received) -> bool {
    request.headers.get("andon-replayed").is_some_and(|value| value == "true")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_comes_again_marked_and_the_same_to_the_bit() {
    let receiver = Receiver::start().await.unwrap();
    receiver.expect_signature("/hook", crate::support::line::SECRET);
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({})).await;
    line.webhook(&receiver.url("/other"), json!({})).await;
    line.start();
    line.emit_all(10, 3).await;
    line.run("select andon.emit('part.made', '{\"entity\": \"p\", \"counter\": 1}', 'acme', 'part', 'p') from generate_series(1, 2)").await;
    line.emit("rival", "x", 1).await;
    line.emit_more(10, 3, 4).await;
    receiver.wait_accepted(PATIENCE, 84).await.unwrap();
    // The ids 1 to 10 are two days old, 11 to 33 one day, and the rest are from now.
    line.delivered(34, "1 day").await;
    line.delivered(11, "1 day").await;

    let run = line.replay(&["--destination", &lane, "--since", "36h", "--until", "1h ago", "--event", "job.*"]).await;

    assert_eq!(run.status, 0, "{run:?}");
    assert!(
        run.out.starts_with("replay 1: 20 events from ") && run.out.ends_with("replay 1 is done: 20 of 20 delivered\n"),
        "{run:?}"
    );
    line.no_replay_runs().await;
    line.stop().await.unwrap();
    let received = receiver.accepted();
    let (again, live): (Vec<_>, Vec<_>) = received.into_iter().partition(|request| is_marked(request));
    assert_eq!((again.len(), live.len()), (20, 84));
    for request in again {
        assert!(request.path == "/hook" && request.signature == rig::signature::Signature::Valid);
        let first = live.iter().find(|it| it.path == "/hook" && it.body == request.body).expect("the same body");
        assert_eq!(first.headers["webhook-id"], request.headers["webhook-id"]);
        assert!((2..=3).contains(&marker(&request.body).1), "{:?}", marker(&request.body));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_marks_it_in_a_user_property_and_leaves_no_status_behind() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    line.publisher(broker.port(), json!({"client_id": "plant"})).await;
    line.start();
    let expected = line.emit_all(5, 4).await;
    crate::support::line::wait_for_messages(&subscriber, &expected).await;
    line.until(ALL_DONE).await;

    let run = line.replay(&["--destination", "plant", "--since", "1h"]).await;

    assert!(run.status == 0 && run.out.ends_with("replay 1 is done: 20 of 20 delivered\n"), "{run:?}");
    let events = |got: &[Arc<rig::subscriber::Message>]| {
        got.iter().filter(|it| it.topic.starts_with("acme/")).cloned().collect::<Vec<_>>()
    };
    subscriber.messages().wait_for_matching(PATIENCE, 40, |it| it.topic.starts_with("acme/")).await.unwrap();
    line.no_replay_runs().await;
    line.stop().await.unwrap();
    let property = ("replayed".to_owned(), "true".to_owned());
    let (again, live): (Vec<_>, Vec<_>) =
        events(&subscriber.received()).into_iter().partition(|it| it.user_properties.contains(&property));
    assert_eq!((again.len(), live.len()), (20, 20));
    for message in again {
        assert!(live.iter().any(|it| (&it.topic, &it.payload) == (&message.topic, &message.payload)));
    }
    // The broker still retains the status of the lane itself, while that of the replay was removed.
    let later = Subscriber::start(broker.port()).await.unwrap();
    later.wait_received(PATIENCE, 1).await.unwrap();
    let kept: Vec<String> = later.received().iter().filter(|it| it.retain).map(|it| it.topic.clone()).collect();
    assert_eq!(kept, ["andon/test/plant/status"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_goes_on_at_its_own_cursor_after_the_daemon_was_killed() {
    let receiver = Receiver::start().await.unwrap();
    let line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({})).await;
    let daemon = daemon::start(&line.url).await;
    line.emit_all(20, 20).await;
    receiver.wait_accepted(PATIENCE, 400).await.unwrap();
    line.until(ALL_DONE).await;
    receiver.answer("/hook", Answer::status(200).after(Duration::from_millis(10)));

    line.replay_behind(&lane).await;
    line.until("select delivered >= 100 from andon.lanes where replay = 1").await;
    daemon.kill().await.unwrap();
    let delivered = line.number("select delivered from andon.lanes where replay = 1").await;
    let _again = daemon::start(&line.url).await;

    line.no_replay_runs().await;
    let again = receiver.accepted().iter().filter(|it| is_marked(it)).count() as i64;
    assert!(delivered < 400, "it was over before the daemon was killed");
    assert!(again < 400 + 400 - delivered, "what was written down came again: {again}");
    assert_eq!(line.number("select delivered from andon.replays").await, 400);
    let mut bodies: Vec<_> = receiver.accepted().iter().filter(|it| is_marked(it)).map(|it| it.body.clone()).collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 400, "each came");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_flow_does_not_wait_for_a_replay() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"concurrency": 4})).await;
    line.start();
    line.emit_all(20, 20).await;
    receiver.wait_accepted(PATIENCE, 400).await.unwrap();
    line.until(ALL_DONE).await;
    receiver.answer("/hook", Answer::status(200).after(Duration::from_millis(50)));

    line.replay_behind(&lane).await;
    for counter in 21..=25 {
        line.emit("acme", "e1", counter).await;
        receiver.acceptances().wait_for(PATIENCE, |it| marker(&it.body) == ("e1".to_owned(), counter)).await.unwrap();
    }

    let accepted = receiver.accepted();
    let again = accepted.iter().filter(|it| is_marked(it)).count();
    assert!(again < 400, "the live events came after the replay");
    line.stop().await.unwrap();
    // The replay has at most two of its own requests open at a time, however many live ones there are.
    let own = |it: &Arc<Received>| it.concurrent.iter().filter(|body| marker(body).1 <= 20).count();
    assert!(receiver.received().iter().filter(|it| is_marked(it)).all(|it| own(it) <= 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_delivered_again_is_dead_at_its_destination_and_the_replay_ends() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1ms"]})).await;
    line.start();
    line.emit_all(5, 2).await;
    receiver.wait_accepted(PATIENCE, 10).await.unwrap();
    line.until(ALL_DONE).await;
    receiver.answer_containing("/hook", r#""e3""#, Answer::status(422));

    let run = line.replay(&["--destination", &lane, "--since", "2020-01-01T00:00:00Z"]).await;

    assert!(
        run.status == 1 && run.out.contains("replay 1 is done: 8 of 10 delivered, 2 dead; see `andon deliveries"),
        "{run:?}"
    );
    line.no_replay_runs().await;
    assert_eq!(line.parked(&lane).await, ["dead 2 answered 422: 422"; 2]);
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_a_replay_is_not_over_is_no_part_of_it() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1h"]})).await;
    line.start();
    line.emit_all(5, 1).await;
    receiver.wait_accepted(PATIENCE, 5).await.unwrap();
    line.until(ALL_DONE).await;
    receiver.answer_containing("/hook", r#""e3""#, Answer::status(422));
    line.replay_behind(&lane).await;
    receiver.wait_accepted(PATIENCE, 9).await.unwrap();
    line.until("select pending = '{}' from andon.lanes where replay = 1").await;

    for counter in 1..=30 {
        line.emit("acme", "live", counter).await;
        receiver.acceptances().wait_for(PATIENCE, |it| marker(&it.body) == ("live".to_owned(), counter)).await.unwrap();
    }
    let cancelled = line.replay(&["--cancel", "1"]).await;
    line.no_replay_runs().await;

    line.stop().await.unwrap();
    assert_eq!(cancelled.status, 0, "{cancelled:?}");
    assert_eq!(receiver.accepted().iter().filter(|it| is_marked(it)).count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_listed_and_can_be_cancelled() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1h"]})).await;
    line.start();
    line.emit_all(10, 20).await;
    receiver.wait_accepted(PATIENCE, 200).await.unwrap();
    line.until(ALL_DONE).await;
    receiver.answer("/hook", Answer::status(503));

    line.replay_behind(&lane).await;
    line.until("select exists (select from andon.lanes where replay = 1 and state = 'open')").await;
    let listed = line.replay(&["--list"]).await;
    let cancelled = line.replay(&["--cancel", "1"]).await;
    line.no_replay_runs().await;
    let again = line.replay(&["--cancel", "1"]).await;
    let after = line.replay(&["--list"]).await;

    assert!(
        listed.out.contains("running  0 of 200") && listed.out.contains("open: answered 503: 503"),
        "{}",
        listed.out
    );
    assert_eq!((cancelled.status, again.status), (0, 1), "{cancelled:?} {again:?}");
    assert!(after.out.contains("cancelled  0 of 200"), "{}", after.out);
    assert_eq!(
        line.number("select count(*) from andon.deliveries").await,
        0,
        "what it would have tried again is not wanted"
    );
    assert_eq!(line.state(&lane, "running").await, "");
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_does_not_reach_back_that_far_is_replayed_only_if_that_is_said() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::in_small_partitions().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({})).await;
    line.start();
    line.emit_all(10, 25).await;
    receiver.wait_accepted(PATIENCE, 250).await.unwrap();
    line.delivered(100, "20 days").await;
    line.until("select position >= 250 and holes = '{}' from andon.tail").await;
    let mut client = connect(&line.url).await;
    retention::apply(&mut client, &Retention::default(), &Defaults::default()).await.unwrap();
    assert_eq!(line.number("select min(id) from andon.events").await, 100);

    let refused = line.replay(&["--destination", &lane, "--since", "25d"]).await;
    let within = line.replay(&["--destination", &lane, "--since", "19d", "--until", "18d"]).await;
    let partial = line.replay(&["--destination", &lane, "--since", "25d", "--partial"]).await;

    let reach: String =
        line.client.query_one("select forgotten::date::text from andon.tail", &[]).await.unwrap().get(0);
    assert!(refused.status == 1 && refused.err.contains(&format!("the log reaches back to {reach}T")), "{refused:?}");
    assert_eq!((within.status, within.out.as_str()), (0, "there is nothing to deliver again\n"));
    assert!(partial.status == 0 && partial.out.ends_with("151 of 151 delivered\n"), "{partial:?}");
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_takes_from_a_replay_is_told() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::in_small_partitions().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({})).await;
    line.start();
    line.emit_all(10, 25).await;
    receiver.wait_accepted(PATIENCE, 250).await.unwrap();
    line.until(ALL_DONE).await;
    line.until("select position >= 250 and holes = '{}' from andon.tail").await;
    receiver.answer("/hook", Answer::hang());
    line.replay_up_to(&lane, "150").await;
    receiver.requests().wait_for(PATIENCE, is_marked).await.unwrap();

    let mut client = connect(&line.url).await;
    retention::apply(&mut client, &Retention { log_size: 1, ..Retention::default() }, &Defaults::default())
        .await
        .unwrap();
    receiver.answer("/hook", Answer::status(200));

    line.no_replay_runs().await;
    let (lost, delivered) =
        (line.number("select lost from andon.replays").await, line.number("select delivered from andon.replays").await);
    assert_eq!((lost, delivered), (150, 0));
    assert_eq!(line.number("select lost from andon.lanes").await, 0, "the live lane has lost nothing");
    line.stop().await.unwrap();
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_anything_is_asked_for() {
    let line = Line::new().await;
    line.run("insert into andon.lanes (lane, tenant, name, position) values ('andon.webhooks/1', '', 'erp', 0)").await;

    let time = line.replay(&["--destination", "erp", "--since", "yesterday"]).await;
    let pattern = line.replay(&["--destination", "erp", "--since", "1h", "--event", "*.made"]).await;
    let name = line.replay(&["--destination", "epr", "--since", "1h"]).await;
    let gone = line.replay(&["--destination", "erp", "--since", "1h"]).await;
    let nothing = line.replay(&[]).await;

    assert!(time.status == 2 && time.err.contains("`yesterday` is no time"), "{time:?}");
    assert!(pattern.status == 2 && pattern.err.contains("`*.made` is none of"), "{pattern:?}");
    assert!(name.status == 2 && name.err.contains("did you mean `erp`?"), "{name:?}");
    assert!(gone.status == 1 && gone.err.contains("andon.webhooks/1 is not active"), "{gone:?}");
    assert_eq!(nothing.status, 2);
    assert_eq!(line.number("select count(*) from andon.replays").await, 0);
}
