//! `andon deliveries` as an operator uses it. In: parked deliveries of real endpoints. Out: what is printed, and whether retried deliveries
//! reach their receiver in the order of their entity while discarded ones do not.

use rig::receiver::Answer;
use rig::receiver::Receiver;
use serde_json::Value;
use serde_json::json;

use crate::command::run_andon;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::marker;

/// Creates a stopped line with a webhook, which failed to deliver the counters 1 to 3 of entity `e`.
async fn three_parked(receiver: &Receiver) -> Line {
    receiver.answer("/hook", Answer::status(500));
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({"retry": ["1h", "1h"]})).await;
    line.run("update andon.webhooks set name = 'erp'").await;
    line.start();
    for counter in 1..=3 {
        line.emit("acme", "e", counter).await;
    }
    line.until("select count(*) = 3 from andon.deliveries").await;
    line.stop().await.unwrap();
    line
}

impl Line {
    /// Returns the id and the state of each parked delivery, in the order of the log.
    async fn ledger(&self) -> Vec<(i64, String)> {
        let rows = self.client.query("select id, state from andon.deliveries order by event", &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    async fn states(&self) -> Vec<String> {
        self.ledger().await.into_iter().map(|(_, state)| state).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_delivery_that_is_retried_goes_before_those_behind_it_and_says_that_it_is_replayed() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = three_parked(&receiver).await;
    line.run("update andon.deliveries set state = 'dead', next_attempt_at = null where state = 'retry'").await;
    line.start();
    line.until("select count(*) = 1 from andon.deliveries where state = 'retry' and attempts = 1").await;
    line.stop().await.unwrap();
    assert_eq!(line.states().await, ["dead", "retry", "waiting"]);

    let run = run_andon(&line.url, &["deliveries", "retry", "--destination", "erp", "--state", "dead"]);
    let states = line.states().await;
    let again = run_andon(&line.url, &["deliveries", "retry", "--destination", "erp", "--state", "dead"]);
    receiver.answer("/hook", Answer::status(200));
    line.start();

    assert_eq!(run.status, 0, "{run:?}");
    assert_eq!(states, ["retry", "waiting", "waiting"]);
    assert!(again.status == 0 && again.out.starts_with("nothing is dead for andon.webhooks/"), "{again:?}");
    receiver.wait_accepted(PATIENCE, 3).await.unwrap();
    line.until("select count(*) = 0 from andon.deliveries").await;
    line.stop().await.unwrap();
    let accepted = receiver.accepted();
    let got: Vec<_> =
        accepted.iter().map(|it| (marker(&it.body).1, it.headers.contains_key("andon-replayed"))).collect();
    assert_eq!(got, [(1, true), (2, false), (3, false)]);
    assert_eq!(accepted[0].headers["andon-replayed"], "true");
    assert_eq!(receiver.received()[0].body, accepted[0].body, "the payload is the same to the bit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_a_destination_takes_what_is_dead_and_what_would_be_tried_again_later() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = three_parked(&receiver).await;
    line.start();
    line.emit("acme", "f", 4).await;
    line.until("select count(*) = 2 from andon.deliveries where state = 'retry' and next_attempt_at > now() + interval '30 min'")
        .await;
    line.run("update andon.deliveries set state = 'dead', next_attempt_at = null where entity_id = 'f'").await;

    receiver.answer("/hook", Answer::status(200));
    let run = run_andon(&line.url, &["deliveries", "retry", "--destination", "erp"]);

    assert!(run.status == 0 && run.out.ends_with("1 was dead, 1 was in retry\n"), "{run:?}");
    receiver.wait_accepted(PATIENCE, 4).await.unwrap();
    line.until("select count(*) = 0 from andon.deliveries").await;
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_delivery_behind_one_that_is_tried_waits_its_turn() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = three_parked(&receiver).await;
    let third = line.ledger().await[2].0;
    line.run(&format!("update andon.deliveries set state = 'dead' where id = {third}")).await;

    let run = run_andon(&line.url, &["deliveries", "retry", &third.to_string()]);
    let waits = run_andon(&line.url, &["deliveries", "retry", &third.to_string()]);

    assert!(run.status == 0 && run.out.contains("dead  waits its turn"), "{run:?}");
    assert!(waits.status == 1 && waits.err.contains("wait behind an earlier event"), "{waits:?}");
    assert_eq!(line.states().await, ["retry", "waiting", "waiting"]);
    receiver.answer("/hook", Answer::status(200));
    line.run("update andon.deliveries set next_attempt_at = now() where state = 'retry'").await;
    line.start();
    receiver.wait_accepted(PATIENCE, 3).await.unwrap();
    line.stop().await.unwrap();
    let counters: Vec<_> = receiver.accepted().iter().map(|it| marker(&it.body).1).collect();
    assert_eq!(counters, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_delivery_is_gone_and_what_waited_behind_it_goes() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = three_parked(&receiver).await;
    let first = line.ledger().await[0].0;

    let run = run_andon(&line.url, &["deliveries", "discard", &first.to_string()]);
    let again = run_andon(&line.url, &["deliveries", "discard", &first.to_string()]);
    let states = line.states().await;
    receiver.answer("/hook", Answer::status(200));
    line.start();

    assert!(run.status == 0 && run.out.contains("retry  discarded"), "{run:?}");
    assert!(again.status == 1 && again.err.contains(&format!("delivery {first} is not parked")), "{again:?}");
    assert_eq!(states, ["retry", "waiting"]);
    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.until("select count(*) = 0 from andon.deliveries").await;
    line.stop().await.unwrap();
    let counters: Vec<_> = receiver.accepted().iter().map(|it| marker(&it.body).1).collect();
    assert_eq!(counters, [2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_runs_notices_at_once_what_is_retried_and_what_is_discarded() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = three_parked(&receiver).await;
    let ids = line.ledger().await;
    line.run(&format!("update andon.deliveries set state = 'dead' where id = {}", ids[2].0)).await;
    receiver.answer("/hook", Answer::status(200));
    line.start();
    line.until("select exists (select from andon.lanes where state = 'running' and daemon is not null)").await;
    line.emit("acme", "other", 1).await;
    receiver.wait_accepted(PATIENCE, 1).await.unwrap();

    let discarded = run_andon(&line.url, &["deliveries", "discard", &ids[0].0.to_string()]);
    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    let retried = run_andon(&line.url, &["deliveries", "retry", &ids[2].0.to_string()]);
    receiver.wait_accepted(PATIENCE, 3).await.unwrap();

    line.stop().await.unwrap();
    assert_eq!((discarded.status, retried.status), (0, 0), "{discarded:?} {retried:?}");
    let counters: Vec<_> = receiver.accepted().iter().map(|it| marker(&it.body).1).collect();
    assert_eq!(counters, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_is_counted_listed_and_shown() {
    let receiver = Receiver::start().await.unwrap();
    let line = three_parked(&receiver).await;
    let (first, _) = line.ledger().await[0];

    let list = run_andon(&line.url, &["deliveries", "--limit", "1"]);
    let waiting = run_andon(&line.url, &["deliveries", "--state", "waiting", "--destination", "erp", "--json"]);
    let story = run_andon(&line.url, &["deliveries", "show", &first.to_string()]);
    let absent = run_andon(&line.url, &["deliveries", "show", "4711"]);

    let waiting: Value = serde_json::from_str(&waiting.out).unwrap();
    assert!(list.out.contains("retry    1 ") && list.out.contains("waiting  2 "), "{}", list.out);
    assert!(list.out.ends_with("1 of 3 are listed; --limit 3 lists all\n"), "{}", list.out);
    assert_eq!((waiting["counts"][0]["count"].as_i64(), waiting["deliveries"].as_array().unwrap().len()), (Some(2), 2));
    for expected in
        ["answered 500: 500", r#"{"entity": "e", "counter": 1}"#, "job e\n", "2 later events of the same entity"]
    {
        assert!(story.out.contains(expected), "{expected} is not in\n{}", story.out);
    }
    assert!(story.out.contains("1        retry    500   "), "{}", story.out);
    assert!(absent.status == 1 && absent.err.contains("delivery 4711 is not parked"), "{absent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_not_known_or_not_clear_is_not_guessed() {
    let line = Line::new().await;
    line.run(
        "insert into andon.lanes (lane, tenant, name, position)
        values ('andon.webhooks/1', '', 'erp', 0), ('andon.webhooks/2', '', 'erp', 0), ('andon.webhooks/3', '', 'quality', 0)",
    )
    .await;
    let discard = |name: &str| run_andon(&line.url, &["deliveries", "discard", "--destination", name]);

    let (two, mistyped, by_key, all) = (discard("erp"), discard("qualty"), discard("3"), discard(""));
    let nothing = run_andon(&line.url, &["deliveries", "discard"]);

    assert!(two.status == 2 && two.err.contains("2 destinations are called `erp`"), "{two:?}");
    assert!(mistyped.status == 2 && mistyped.err.contains("did you mean `quality`?"), "{mistyped:?}");
    assert_eq!((by_key.status, by_key.out.as_str()), (0, "nothing is dead for andon.webhooks/3\n"));
    assert_eq!((all.status, nothing.status), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_the_lane_or_the_key_of_another_destination_hides_nothing() {
    let line = Line::new().await;
    line.run(
        "insert into andon.lanes (lane, tenant, name, position)
        values ('andon.webhooks/1', 'acme', 'erp', 0), ('andon.webhooks/2', 'bolt', 'andon.webhooks/1', 0), ('andon.webhooks/3', 'bolt', '1', 0)",
    )
    .await;

    for wanted in ["andon.webhooks/1", "1"] {
        let run = run_andon(&line.url, &["deliveries", "retry", "--destination", wanted]);

        assert!(run.status == 0 && run.out.starts_with("nothing is dead or in retry for andon.webhooks/1"), "{run:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_events_does_not_name_any_more_is_dead_until_it_is_named_and_retried() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::status(500));
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1h", "1h"]})).await;
    line.run("update andon.webhooks set name = 'erp'").await;
    line.start();
    for (counter, event_type) in
        ["job.paused", "job.updated", "part.made", "job.paused", "jobless.made"].iter().enumerate()
    {
        let data = json!({"entity": "e", "counter": counter + 1});
        line.run(&format!("select andon.emit('{event_type}', '{data}', 'acme', 'job', 'e')")).await;
    }
    line.until("select count(*) = 5 from andon.deliveries").await;

    // Both are taken out. The one in the middle waits for nothing any more, and neither does what is new.
    receiver.answer("/hook", Answer::status(200));
    line.run("update andon.webhooks set events = '{job.updated,part.*}'").await;
    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.until("select count(*) = 3 and bool_and(state = 'dead') from andon.deliveries").await;
    let dead = |event_type: &str, attempts: u32| {
        format!("dead {attempts} the destination's events do not name `{event_type}`; add it and retry, or discard")
    };
    assert_eq!(line.parked(&lane).await, [dead("job.paused", 1), dead("job.paused", 0), dead("jobless.made", 0)]);

    // A retry does not change what the destination takes, whether the lane is told of it or not.
    let run = run_andon(&line.url, &["deliveries", "retry", "--destination", "erp"]);
    line.until("select count(*) = 3 from andon.deliveries where state = 'dead' and replayed").await;
    line.run("update andon.deliveries set state = 'retry', next_attempt_at = now()").await;
    line.emit("acme", "e", 6).await;
    receiver.wait_accepted(PATIENCE, 3).await.unwrap();
    line.stop().await.unwrap();
    line.start();
    line.until("select count(*) = 3 from andon.deliveries where state = 'dead'").await;
    assert!(run.status == 0 && run.out.contains("dead"), "{run:?}");

    // It is named again.
    line.run("update andon.webhooks set events = '{*}'").await;
    line.until("select patterns = '{*}' from andon.lanes").await;
    assert_eq!(line.states().await, ["dead"; 3], "nobody has retried them");
    assert_eq!(run_andon(&line.url, &["deliveries", "retry", "--destination", "erp"]).status, 0);
    receiver.wait_accepted(PATIENCE, 6).await.unwrap();
    line.stop().await.unwrap();
    let accepted = receiver.accepted();
    let counters: Vec<_> = accepted.iter().map(|it| marker(&it.body).1).collect();
    assert_eq!(counters, [2, 3, 6, 1, 4, 5]);
}
