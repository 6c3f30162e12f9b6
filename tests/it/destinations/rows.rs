//! Whatever stands in a row that Andon reads. In: rows of destinations and of parked deliveries with values that nobody should write. Out:
//! whether each is the state of its own lane, and whether the healthy webhook, `run`, `check` and `deliveries` go on.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use rig::receiver::Answer;
use serde_json::json;

use super::line_with_a_neighbour;
use super::the_neighbour_gets;
use crate::command::run_andon;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::SECRET;
use crate::support::role;

/// A source's own tables, in which every column takes any text: a plant may have made them so.
const LOOSE: &str = "create schema plant;
    create table plant.webhooks (id text, tenant_id text, url text, secret_key text, events json, active text, settings json);
    create table plant.mqtt_publishers (id text, tenant_id text, name text, broker_url text, port text, username text, password text,
        use_tls text, topic_pattern text, events json, active text, default_site text, settings json);
    insert into andon.sources (name, profile, mapping, webhooks, mqtt_publishers)
        values ('plant', 'andon', '', 'plant.webhooks', 'plant.mqtt_publishers');";

/// A text for any column, as PostgreSQL can store it.
fn text() -> impl Strategy<Value = Option<String>> {
    let odd = [
        "",
        " ",
        "0",
        "-1",
        "99999999999999999999",
        "1e400",
        "NaN",
        "infinity",
        "true",
        "maybe",
        "🏭",
        "http://",
        "mqtt://",
        "\\",
    ];
    prop_oneof![
        3 => prop::sample::select(odd.map(str::to_owned).to_vec()).prop_map(Some),
        1 => Just(None),
        1 => "\\PC{0,40}".prop_map(|text| Some(text.replace('\0', ""))),
        1 => prop::sample::select(vec![300_usize, 3_000, 300_000]).prop_map(|length| Some("x".repeat(length))),
        1 => Just(Some("http://127.0.0.1:9/x".to_owned())),
    ]
}

/// The text of any JSON value.
fn json_text() -> impl Strategy<Value = Option<String>> {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let odd = [
        "null",
        "{}",
        "[]",
        "[\"*\"]",
        "{\"a\": 1}",
        "1e400",
        "-0.0e-999",
        "\"*\"",
        "[null, 1, {}, [\"*\"]]",
        "\"\\u0000\"",
        "[\"\\u0000\"]",
        "\"\\ud800\"",
        "290000000000000",
        "{\"\": {\"\": 0}}",
        "\"-009000-01-01T00:00:00Z\"",
        "\"290000000000000ms\"",
        "[\"290000000000000ms\"]",
        "\"infinity\"",
        "\"/dev/null\"",
    ];
    prop_oneof![
        4 => prop::sample::select(odd.map(str::to_owned).to_vec()).prop_map(Some),
        1 => prop::sample::select(vec![200_usize, 3_000]).prop_map(move |depth| Some(nested(depth))),
        1 => Just(None),
        1 => "\\PC{0,20}".prop_map(|text| Some(json!(text.replace('\0', "")).to_string())),
    ]
}

/// The text of a `settings` that holds odd values under names that are known, or is no object at all.
fn settings() -> impl Strategy<Value = Option<String>> {
    let names = [
        "timeout",
        "retry",
        "order",
        "concurrency",
        "window",
        "keep_alive",
        "max_payload",
        "start_at",
        "paused",
        "naming",
        "missing",
        "format",
        "client_id",
        "rate",
        "ca_file",
        "client_cert_file",
        "client_key_file",
        "ca",
        "client_cert",
        "client_key",
        "another",
    ];
    let fields = prop::collection::btree_map(prop::sample::select(names.to_vec()), json_text(), 0..4);
    let object = fields.prop_map(|fields: BTreeMap<&str, Option<String>>| {
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("\"{name}\": {}", value.as_deref().unwrap_or("0"))).collect();
        Some(format!("{{{}}}", fields.join(", ")))
    });
    prop_oneof![4 => object, 1 => json_text()]
}

/// What a test puts into the columns of a row, in their order: `j` is any JSON, `s` are settings, and `t` is any text.
fn row(columns: &'static str) -> impl Strategy<Value = Vec<Option<String>>> {
    let column = |kind: char| match kind {
        'j' => json_text().boxed(),
        's' => settings().boxed(),
        _ => text().boxed(),
    };
    columns.chars().map(column).collect::<Vec<_>>()
}

/// Inserts the row, unless PostgreSQL itself refuses it.
async fn insert(line: &Line, table: &str, columns: &str, row: &[Option<String>]) {
    let kinds: Vec<String> = (1..=row.len()).map(|place| format!("${place}::text")).collect();
    let kinds: Vec<String> = kinds
        .iter()
        .zip(columns.chars())
        .map(|(value, kind)| if kind == 't' { value.clone() } else { format!("{value}::json") })
        .collect();
    let values: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = row.iter().map(|value| value as _).collect();
    let sql = format!("insert into {table} values ({})", kinds.join(", "));
    if let Err(error) = line.client.execute(&sql, &values).await {
        assert!(error.as_db_error().is_some(), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_stands_in_a_row_is_its_own_trouble_and_the_neighbour_is_served() {
    const WEBHOOK: &str = "ttttjts";
    const PUBLISHER: &str = "tttttttttjtts";
    let (mut line, receiver) = line_with_a_neighbour().await;
    line.run(LOOSE).await;
    role::grant(&line.client).await;
    line.start();
    let mut runner = TestRunner::deterministic();
    for round in 1..=6 {
        for place in 0..25 {
            let mut webhook = row(WEBHOOK).new_tree(&mut runner).unwrap().current();
            let mut publisher = row(PUBLISHER).new_tree(&mut runner).unwrap().current();
            // Most have a key and can be told apart, so that it is not the key alone that keeps them from being read.
            if place % 5 != 0 {
                webhook[0] = Some(format!("{round}-{place}"));
                publisher[0] = Some(format!("{round}-{place}"));
            }
            insert(&line, "plant.webhooks", WEBHOOK, &webhook).await;
            insert(&line, "plant.mqtt_publishers", PUBLISHER, &publisher).await;
        }
        line.run("select andon.notify_destinations()").await;
        the_neighbour_gets(&line, &receiver, round).await;
        // Each row that is not switched off has a lane, and one that cannot be served says why.
        let keys = "select 'plant.webhooks/' || id lane from plant.webhooks where id like '%-%' and active is null
            union all select 'plant.mqtt_publishers/' || id from plant.mqtt_publishers where id like '%-%' and active is null";
        line.until(&format!("select not exists (select from ({keys}) it where not exists (select from andon.lanes known where known.lane = it.lane))"))
            .await;
        line.until("select bool_and(reason is not null) from andon.lanes where state in ('misconfigured', 'retrying', 'open', 'paused')").await;
    }
    line.stop().await.unwrap();
    // A daemon that starts with all of it there serves as well.
    line.start();
    the_neighbour_gets(&line, &receiver, 7).await;

    let check = run_andon(&line.url, &["check"]);
    let deliveries = run_andon(&line.url, &["deliveries"]);
    line.stop().await.unwrap();

    assert_eq!(check.status, 1, "{check:?}");
    assert!(check.out.contains("FAULT") && !check.err.contains("panicked"), "{}", check.err);
    assert!(deliveries.status == 0 && !deliveries.err.contains("panicked"), "{deliveries:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_beyond_all_measure_are_named_in_the_state_of_their_lane() {
    let (mut line, receiver) = line_with_a_neighbour().await;
    let nested = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let hostile = [
        format!(r#"{{"a": {nested}}}"#),
        r#"{"timeout": 1e400}"#.to_owned(),
        format!(r#"{{"timeout": {nested}}}"#),
        r#"{"start_at": "-009000-01-01T00:00:00Z"}"#.to_owned(),
        "[]".to_owned(),
    ];
    for (place, settings) in hostile.iter().enumerate() {
        let sql = "insert into andon.webhooks (tenant_id, url, secret_key, events, settings) values ('acme', $1, $2, '{*}', $3::text::jsonb)";
        line.client.execute(sql, &[&receiver.url(&format!("/{place}")), &SECRET, settings]).await.unwrap();
    }

    line.start();
    the_neighbour_gets(&line, &receiver, 1).await;

    let mut reasons = Vec::new();
    for place in [0, 1, 2, 4] {
        let sql = "select id::text from andon.webhooks where url = $1";
        let url = receiver.url(&format!("/{place}"));
        let key: String = line.client.query_one(sql, &[&url]).await.unwrap().get(0);
        let name = receiver.url(&format!("#{key}"));
        reasons.push(line.state(&format!("andon.webhooks/{key}"), "misconfigured").await.replace(&name, ""));
    }
    assert!(reasons[0].starts_with("webhook ``: settings.a is unknown"), "{}", reasons[0]);
    assert!(reasons[1].starts_with("webhook ``: settings.timeout: `1000000"), "{}", reasons[1]);
    assert!(reasons[2].starts_with("webhook ``: settings.timeout: `[[[["), "{}", reasons[2]);
    assert!(reasons[3].starts_with("webhook ``: settings is not a JSON object"), "{}", reasons[3]);
    // A time before the log began is the beginning of the log.
    receiver.acceptances().wait_for(PATIENCE, |it| it.path == "/3").await.unwrap();
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_delivery_with_a_time_or_count_beyond_reach_is_shown_and_delays_nobody() {
    let (mut line, receiver) = line_with_a_neighbour().await;
    receiver.answer("/hook", Answer::status(500));
    let lane = line.webhook(&receiver.url("/hook"), json!({"retry": ["1h", "1h"]})).await;
    line.start();
    line.emit("acme", "x", 0).await;
    line.until(&format!("select count(*) = 1 from andon.deliveries where lane = '{lane}'")).await;
    line.stop().await.unwrap();
    line.run(
        "insert into andon.deliveries (lane, event, event_id, tenant, type, entity_type, entity_id, occurred_at, context, data, state,
            next_attempt_at, reason)
        select lane, event, gen_random_uuid(), tenant, type, entity_type, 'x' || place, occurred_at, context, data, state, next_attempt_at, reason
        from andon.deliveries, generate_series(1, 5) place",
    )
    .await;
    let ids = line.client.query("select id from andon.deliveries order by id", &[]).await.unwrap();
    let ids: Vec<i64> = ids.iter().map(|row| row.get(0)).collect();
    for (id, odd) in ids.iter().zip([
        "next_attempt_at = '12030-01-01'",
        "next_attempt_at = 'infinity', parked_at = 'infinity'",
        "next_attempt_at = '-infinity', parked_at = '-infinity', occurred_at = '-infinity'",
        "next_attempt_at = now(), occurred_at = 'infinity', parked_at = 'infinity', attempts = 2147483647",
        "next_attempt_at = '4713-01-01 BC', occurred_at = '4713-01-01 BC', attempts = -2147483648, context = '[]', data = '0'",
        "next_attempt_at = now(), type = '', entity_type = '', reason = repeat('x', 100000)",
    ]) {
        line.run(&format!("update andon.deliveries set {odd} where id = {id}")).await;
    }

    let list = run_andon(&line.url, &["deliveries"]);
    let shown: Vec<_> = ids.iter().map(|id| run_andon(&line.url, &["deliveries", "show", &id.to_string()])).collect();
    receiver.answer("/hook", Answer::status(200));
    line.start();
    the_neighbour_gets(&line, &receiver, 1).await;
    // Those that are due are delivered, however odd they are.
    line.until(&format!("select count(*) = 2 from andon.deliveries where lane = '{lane}'")).await;
    let retried = run_andon(&line.url, &["deliveries", "retry", &ids[0].to_string(), &ids[1].to_string()]);
    line.until("select count(*) = 0 from andon.deliveries").await;

    line.stop().await.unwrap();
    assert!(list.status == 0 && list.out.contains("in 2911"), "{list:?}");
    for run in &shown {
        assert_eq!(run.status, 0, "{run:?}");
    }
    assert_eq!(retried.status, 0, "{retried:?}");
}
