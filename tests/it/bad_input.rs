//! Wrong input that somebody will give sooner or later. In: wrong rows, values and answers, next to a healthy webhook. Out: whether each of
//! them leads to a clear error or state, and whether the healthy webhook still gets everything.

use std::collections::BTreeMap;
use std::time::Duration;

use rig::mosquitto::Mosquitto;
use rig::mosquitto::MosquittoOptions;
use rig::oracle::Oracle;
use rig::receiver::Answer;
use rig::receiver::Received;
use rig::receiver::Receiver;
use rig::subscriber::Subscriber;
use rig::subscriber::SubscriberOptions;
use serde_json::json;

use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::marker;
use crate::support::line::wait_for_messages;
use crate::support::plant::Plant;

/// Creates a line with one healthy webhook.
async fn line_with_a_bystander() -> (Line, Receiver) {
    let (line, receiver) = (Line::new().await, Receiver::start().await.unwrap());
    line.webhook(&receiver.url("/good"), json!({})).await;
    (line, receiver)
}

fn numbered(last: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([("e".to_owned(), last)])
}

/// Emits three more events, and waits until the healthy webhook has received all of its events.
async fn the_bystander_goes_on(line: &Line, receiver: &Receiver, before: u64) {
    for counter in before + 1..=before + 3 {
        line.emit("acme", "e", counter).await;
    }
    let mut oracle = Oracle::new(&numbered(before + 3));
    let has_all = |request: &Received| {
        let (entity, counter) = marker(&request.body);
        if request.path == "/good" && entity == "e" {
            oracle.push(&entity, counter);
        }
        oracle.verdict().missing == 0
    };
    receiver.acceptances().wait_for(PATIENCE, has_all).await.unwrap();
    let verdict = oracle.verdict();
    assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_pattern_that_cannot_be_published_to_says_where_and_why() {
    let (mut line, receiver) = line_with_a_bystander().await;
    let mut lanes = Vec::new();
    for pattern in ["plant/#/{event}", "plant/+/{event}", "{sit}/{event}"] {
        lanes.push(line.publisher_of("acme", pattern, 1, json!({})).await);
    }
    line.start();

    the_bystander_goes_on(&line, &receiver, 0).await;

    let mut states = Vec::new();
    for lane in lanes {
        states.push(line.state(&lane, "misconfigured").await);
    }
    line.stop().await.unwrap();
    assert_eq!(
        states,
        [
            "mqtt publisher `plant`: topic_pattern `plant/#/{event}`, column 7: `#` is a wildcard, and one cannot publish to a wildcard; remove it",
            "mqtt publisher `plant`: topic_pattern `plant/+/{event}`, column 7: `+` is a wildcard, and one cannot publish to a wildcard; remove it",
            "mqtt publisher `plant`: topic_pattern `{sit}/{event}`, column 1: unknown placeholder `{sit}`; did you mean `{site}`?",
        ]
    );
}

/// Returns the key of a lane's row.
fn key(lane: &str) -> &str {
    lane.split_once('/').unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_is_none_says_so_and_the_lane_goes_on_once_it_is_mended() {
    let (mut line, receiver) = line_with_a_bystander().await;
    let ftp = line.webhook("ftp://erp/hook", json!({})).await;
    let relative = line.webhook("erp/hook", json!({})).await;
    line.start();

    the_bystander_goes_on(&line, &receiver, 0).await;

    assert_eq!(
        line.state(&ftp, "misconfigured").await,
        format!("webhook `ftp://erp#{}`: url `ftp://erp`: cannot speak `ftp`; use https://host/path", key(&ftp))
    );
    assert_eq!(
        line.state(&relative, "misconfigured").await,
        format!(
            "webhook `{relative}`: url is not the address of an endpoint: relative URL without a base; use https://host/path"
        )
    );
    line.run(&format!("update andon.webhooks set url = '{}' where url like 'ftp:%'", receiver.url("/mended"))).await;
    receiver.wait_accepted(PATIENCE, 6).await.unwrap();
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_whose_events_are_empty_or_null_says_so() {
    let (mut line, receiver) = line_with_a_bystander().await;
    let (empty, null) = (
        line.webhook("http://127.0.0.1:1/empty", json!({})).await,
        line.webhook("http://127.0.0.1:1/null", json!({})).await,
    );
    line.run("update andon.webhooks set events = '{}' where url like '%/empty'").await;
    line.run("update andon.webhooks set events = null where url like '%/null'").await;
    line.start();

    the_bystander_goes_on(&line, &receiver, 0).await;

    for lane in [empty, null] {
        let key = key(&lane);
        assert_eq!(
            line.state(&lane, "misconfigured").await,
            format!(
                "webhook `http://127.0.0.1:1#{key}`: events is empty; name event types such as `job.created` or `job.*`, or `*` for all"
            )
        );
    }
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_says_so() {
    let (mut line, receiver) = line_with_a_bystander().await;
    let lane = line.publisher(1, json!({})).await;
    line.start();

    the_bystander_goes_on(&line, &receiver, 0).await;

    assert_eq!(line.state(&lane, "retrying").await, "I/O: Connection refused (os error 111)");
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_say_so_and_right_ones_bring_everything() {
    let users = vec![("andon".to_owned(), "right".to_owned())];
    let broker = Mosquitto::start(&MosquittoOptions { users: users.clone(), ..MosquittoOptions::default() }).unwrap();
    let (mut line, receiver) = line_with_a_bystander().await;
    let lane = line.publisher(broker.port(), json!({})).await;
    line.run("update andon.mqtt_publishers set username = 'andon', password = 'wrong'").await;
    line.start();

    the_bystander_goes_on(&line, &receiver, 0).await;

    assert_eq!(line.state(&lane, "retrying").await, "the broker refused the connection: not authorized (0x87)");
    let options =
        SubscriberOptions { port: broker.port(), filter: "#".to_owned(), credentials: users.first().cloned() };
    let subscriber = Subscriber::start_with(options).await.unwrap();
    line.run("update andon.mqtt_publishers set password = 'right'").await;
    let wanted = numbered(3);
    wait_for_messages(&subscriber, &wanted).await;
    assert_eq!(line.state(&lane, "running").await, "");
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_is_too_large_is_dead_with_its_size_and_the_next_one_is_published() {
    let broker =
        Mosquitto::start(&MosquittoOptions { max_packet_size: Some(2000), ..MosquittoOptions::default() }).unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let (mut line, receiver) = line_with_a_bystander().await;
    let ours =
        line.publisher_of("acme", "ours/{entity_id}/{event}", broker.port(), json!({"max_payload": "1KiB"})).await;
    let brokers = line.publisher_of("acme", "brokers/{entity_id}/{event}", broker.port(), json!({})).await;
    line.start();

    let event = json!({"entity": "large", "counter": 1, "text": "x".repeat(2000)});
    line.run(&format!("select andon.emit('job.updated', '{event}', 'acme', 'job', 'large')")).await;
    the_bystander_goes_on(&line, &receiver, 0).await;

    subscriber.messages().wait_for_matching(PATIENCE, 6, |message| message.topic.contains("/e/")).await.unwrap();
    line.until("select count(*) = 2 from andon.deliveries where state = 'dead'").await;
    line.stop().await.unwrap();
    assert_eq!(
        line.parked(&ours).await,
        ["dead 1 the payload has at least 2047 bytes, and max_payload is 1024; send less or raise it"]
    );
    assert_eq!(
        line.parked(&brokers).await,
        [
            "dead 1 the packet would have 2377 bytes, and the broker takes 2000; send less or raise its maximum packet size"
        ]
    );
    assert!(subscriber.received().iter().all(|message| !message.topic.contains("large")));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_makes_a_level_or_a_wildcard_and_one_that_is_too_long_is_dead() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let (mut line, receiver) = line_with_a_bystander().await;
    let ascii = line.publisher_of("acme", "ascii/{cell}/{event}", broker.port(), json!({})).await;
    let verbatim =
        line.publisher_of("acme", "verbatim/{cell}/{event}", broker.port(), json!({"naming": "verbatim"})).await;
    line.start();

    for (number, cell) in ["a/b", "a+b", "a#b", "#", &"x".repeat(70_000)].iter().enumerate() {
        let (data, context) = (json!({"entity": "odd", "counter": number + 1}), json!({"cell": cell}));
        line.run(&format!("select andon.emit('job.updated', '{data}', 'acme', 'job', 'odd', '{context}')")).await;
    }
    the_bystander_goes_on(&line, &receiver, 0).await;

    subscriber.messages().wait_for_matching(PATIENCE, 14, |it| !it.topic.starts_with("andon/")).await.unwrap();
    line.until("select count(*) = 2 from andon.deliveries where state = 'dead'").await;
    line.stop().await.unwrap();
    let received = subscriber.received();
    let mut topics: Vec<_> =
        received.iter().map(|it| it.topic.as_str()).filter(|it| !it.starts_with("andon/")).collect();
    topics.sort_unstable();
    topics.dedup();
    assert_eq!(
        topics,
        ["ascii/_/job/updated", "ascii/a_b/job/updated", "verbatim/_/job/updated", "verbatim/a_b/job/updated"]
    );
    for (lane, bytes) in [(ascii, 70_018), (verbatim, 70_021)] {
        let reason = format!(
            "topic would be {bytes} bytes long and MQTT allows 65535 (`{{cell}}` alone has 70000); shorten the value or leave it out of the pattern"
        );
        assert_eq!(line.parked(&lane).await, [format!("dead 1 {reason}")]);
    }
}

/// PostgreSQL's text and jsonb cannot hold a NUL, so it is refused where it comes in: at the application's own call, or in the trigger.
#[tokio::test(flavor = "multi_thread")]
async fn a_nul_never_reaches_the_log_and_does_not_stop_the_plant() {
    let plant = Plant::with(
        "create table notes (id int primary key, note json)",
        r#"
        [source]
        name = "notes"
        [[capture]]
        table = "notes"
        on = "insert"
        type = "note.created"
        columns = ["id", "note"]
        "#,
    )
    .await;

    let emitted = plant.client.execute(r#"select andon.emit('note.created', '{"note": "a\u0000b"}')"#, &[]).await;
    let types =
        plant.types_after(r#"insert into notes values (1, '"a\u0000b"'); insert into notes values (2, '"ab"')"#).await;

    let error = emitted.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().message(), "unsupported Unicode escape sequence");
    assert_eq!(plant.count("select count(*) from notes").await, 2);
    assert_eq!(types, ["note.created"]);
    let (operation, key, state) = ("insert".to_owned(), Some("1".to_owned()), "22P05".to_owned());
    assert_eq!(plant.errors().await, [(operation, key, state, "unsupported Unicode escape sequence".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_tenant_without_destinations_go_nowhere_and_hold_up_nobody() {
    let (mut line, receiver) = line_with_a_bystander().await;
    line.start();

    for counter in 1..=50 {
        line.emit("nobody", "of-nobody", counter).await;
    }
    the_bystander_goes_on(&line, &receiver, 0).await;

    line.stop().await.unwrap();
    assert_eq!(receiver.received().len(), 3);
    line.until("select count(*) = 1 from andon.lanes").await;
    line.until("select count(*) = 0 from andon.deliveries").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_misbehaves_is_parked_or_disabled_with_its_reason_alone() {
    let (mut line, receiver) = line_with_a_bystander().await;
    let mut lanes = BTreeMap::new();
    for (path, answer) in [
        ("/slow", Answer::status(200).after(Duration::from_secs(40))),
        ("/moved", Answer::redirect(&receiver.url("/trap"))),
        ("/busy", Answer::status(429).retry_after("7200")),
        ("/gone", Answer::status(410)),
        ("/endless", Answer::endless()),
    ] {
        receiver.answer(path, answer);
        // A slow machine may take its time for all but one of these answers.
        let settings = json!({"timeout": if path == "/slow" { "300ms" } else { "30s" }, "retry": ["1h"]});
        lanes.insert(path, line.webhook(&receiver.url(path), settings).await);
    }
    line.run("update andon.webhooks set events = '{job.*}'").await;
    line.start();

    the_bystander_goes_on(&line, &receiver, 0).await;

    line.until("select count(*) = 9 from andon.deliveries").await;
    assert_eq!(line.state(&lanes["/gone"], "disabled").await, "answered 410: 410");
    receiver.acceptances().wait_for_matching(PATIENCE, 3, |it| it.path == "/endless").await.unwrap();
    line.stop().await.unwrap();
    for (path, reason) in
        [("/slow", "no answer within 300ms"), ("/moved", "answered 301: 301"), ("/busy", "answered 429: 429")]
    {
        let waits = "waiting 0 waits behind an earlier event of the same entity";
        assert_eq!(line.parked(&lanes[path]).await, [&format!("retry 1 {reason}"), waits, waits], "{path}");
    }
    for path in ["/gone", "/endless"] {
        assert_eq!(line.parked(&lanes[path]).await, Vec::<String>::new(), "{path}");
    }
    let asked = format!(
        "select next_attempt_at - parked_at >= '2 h' from andon.deliveries where lane = '{}' and state = 'retry'",
        lanes["/busy"]
    );
    line.until(&asked).await;
    assert!(receiver.received().iter().all(|request| request.path != "/trap"), "a redirect is not followed");
}
