//! What a stolen role of the daemon can make others believe. In: that role, lanes and a channel of one tenant. Out: whether what it parks is in the
//! log, whether a destination that it calls disabled is one of that tenant, and whether its notifications are those of the mapping.

use andon::capture::Mapping;
use andon::capture::attach;
use serde_json::Value;
use serde_json::json;

use crate::command::run_andon;
use crate::support::line::Line;
use crate::support::plant::connect;
use crate::support::role;
use crate::support::role::as_daemon;

const MAPPING: &str = "
[source]
name = 'line'
[[channel]]
channel = 'machines'
type = 'machine.down'
own_tenant = 'acme'
[[channel]]
channel = 'any'
type_path = 'event'
entity_type = 'machine'
tenant = 'org'";

/// Makes a lane as a daemon does, for a webhook that no daemon serves.
async fn lane(line: &Line) -> String {
    let lane = line.webhook("http://127.0.0.1:9/hook", json!({})).await;
    line.run(&format!("insert into andon.lanes (lane, tenant, name, position) values ('{lane}', 'acme', 'erp', 0)"))
        .await;
    lane
}

#[tokio::test]
async fn a_stolen_role_parks_only_what_the_log_has_of_the_lanes_tenant() {
    let line = Line::new().await;
    let lane = lane(&line).await;
    line.emit("acme", "e", 1).await;
    line.emit("bolt", "e", 1).await;
    let thief = connect(&as_daemon(&line.url)).await;
    let ids: Vec<i64> = line
        .client
        .query("select id from andon.events order by id", &[])
        .await
        .unwrap()
        .iter()
        .map(|it| it.get(0))
        .collect();

    let park = |second: i64, is_bare: bool| {
        format!(
            "select andon.park('{lane}', array[{}, {second}, 999], '{{dead,dead,dead}}', '{{0,0,0}}', '{{null,null,null}}', '{{a,b,c}}', {is_bare})",
            ids[0]
        )
    };
    let missing: Vec<i64> = thief.query_one(&park(ids[1], false), &[]).await.unwrap().get(0);
    line.run("create table before as select * from andon.deliveries; delete from andon.deliveries").await;
    thief.query_one(&park(998, true), &[]).await.unwrap();

    let parked = "select to_jsonb(it) from before it";
    let parked: Value = line.client.query_one(parked, &[]).await.unwrap().get(0);
    let event: Value = line
        .client
        .query_one("select to_jsonb(it) from andon.events it order by id limit 1", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(missing, [ids[1], 999]);
    for field in ["event_id", "tenant", "type", "entity_type", "entity_id", "occurred_at", "context", "data"] {
        assert_eq!(parked[field], event[field], "{field}");
    }
    let bare = "select data = 'null' and entity_id = 'e' from andon.deliveries";
    assert!(line.client.query_one(bare, &[]).await.unwrap().get::<_, bool>(0));
    let lost: i64 = line.client.query_one("select lost from andon.lanes", &[]).await.unwrap().get(0);
    assert_eq!(lost, 4, "what has left the log is told as lost");
}

#[tokio::test]
async fn a_stolen_role_tells_no_other_tenant_and_of_no_lane_that_is_not_disabled() {
    let line = Line::new().await;
    let lane = lane(&line).await;
    let thief = connect(&as_daemon(&line.url)).await;
    let tell = format!("select andon.emit_disabled('{lane}')");
    let told = "select coalesce(string_agg(tenant || ' ' || (data ->> 'reason'), ', '), '') from andon.events";
    line.run("insert into andon.sources (name, profile, mapping, webhooks) values ('line', 'none', '', 'line.hooks')")
        .await;

    let running = thief.batch_execute(&tell).await.unwrap_err();
    let disable = |tenant: &str| {
        format!("update andon.lanes set state = 'disabled', reason = 'answered 410', tenant = '{tenant}'; {tell}")
    };
    thief.batch_execute(&disable("bolt")).await.unwrap();
    let of_others: String = line.client.query_one(told, &[]).await.unwrap().get(0);
    thief.batch_execute(&disable("acme")).await.unwrap();
    for (made_up, tenant) in [("zzz/1", "acme"), ("line.hooks/1", "*"), ("line.hooks/2", "acme")] {
        let forged = format!(
            "insert into andon.lanes (lane, tenant, name, state, reason, epoch, position)
            values ('{made_up}', '{tenant}', 'x', 'disabled', '{made_up}', 1, 1); select andon.emit_disabled('{made_up}')"
        );
        thief.batch_execute(&forged).await.unwrap();
    }
    let own: String = line.client.query_one(told, &[]).await.unwrap().get(0);

    assert!(running.as_db_error().unwrap().message().ends_with("is not disabled"), "{running:?}");
    assert_eq!((of_others.as_str(), own.as_str()), ("", "acme answered 410, acme line.hooks/2"));
}

#[tokio::test]
async fn a_stolen_role_makes_of_a_channel_only_what_its_mapping_says() {
    let line = Line::new().await;
    attach(&mut connect(&line.url).await, &Mapping::parse("line.toml", MAPPING).unwrap()).await.unwrap();
    role::grant(&line.client).await;
    let thief = connect(&as_daemon(&line.url)).await;
    let emit = |channel: &str, event: &str, tenant: &str, entity: &str| {
        format!(
            "select andon.emit_notified('line', '{channel}', '{event}', '{{}}', '{tenant}', '{entity}', '1', '{{}}')"
        )
    };

    for forged in [
        emit("machines", "job.done", "acme", "machine"),
        emit("machines", "machine.down", "bolt", "machine"),
        emit("machines", "machine.down", "", "machine"),
        emit("machines", "machine.down", "acme", "job"),
        emit("any", "machine.up", "bolt", "job"),
    ] {
        let refused = thief.batch_execute(&forged).await.unwrap_err();
        let message = refused.as_db_error().unwrap().message();
        assert!(message.contains("of source line makes no such event: its mapping says {"), "{forged}: {message}");
    }
    for sent in [emit("machines", "machine.down", "acme", "machine"), emit("any", "machine.up", "bolt", "machine")] {
        thief.batch_execute(&sent).await.unwrap();
    }
    line.run("update andon.sources set channel_events = null").await;
    thief.batch_execute(&emit("machines", "machine.up", "bolt", "machine")).await.unwrap();
}

#[tokio::test]
async fn a_stolen_role_neither_hides_what_could_not_be_captured_nor_makes_it_up() {
    let line = Line::new().await;
    line.emit("acme", "e", 1).await;
    line.run(
        "insert into andon.capture_errors (source, table_name, operation, sqlstate, message) select 's', 't', 'insert', '', n::text from generate_series(1, 5) n",
    )
    .await;
    let thief = connect(&as_daemon(&line.url)).await;

    let most = thief.batch_execute("select andon.keep_capture_errors('0', 1)").await.unwrap_err();
    thief.batch_execute("select andon.keep_capture_errors('0')").await.unwrap();
    // The second event is from before the rules.
    line.run(
        "alter table andon.events drop constraint times_are_between_the_years_1_and_9999;
        insert into andon.events (tenant, type, entity_type, entity_id, occurred_at, context, data) values ('acme', 'a.b', 'job', '1', 'infinity', '{}', '{}')",
    )
    .await;
    let aside = "select count(*) filter (where andon.set_aside(n, 'XX001', 'damaged')) from generate_series(-5, 500) n, generate_series(1, 2)";
    let aside: i64 = thief.query_one(aside, &[]).await.unwrap().get(0);
    thief
        .batch_execute(
            "select andon.notifications_failed('s', 'c' || n, '22023', '', 1) from generate_series(1, 100) n",
        )
        .await
        .unwrap();

    assert_eq!(most.code().unwrap().code(), "42883", "{most:?}");
    let rows = "select string_agg(concat_ws(' ', operation, key), ', ' order by id) from andon.capture_errors";
    assert_eq!((aside, line.text(rows).await.as_str()), (1, "insert, insert, insert, insert, insert, read 2"));
}

#[tokio::test]
async fn a_stolen_role_makes_no_partition_that_holds_the_log_for_ever() {
    let line = Line::new().await;
    for counter in 1..4 {
        line.emit("acme", "e", counter).await;
    }
    let thief = connect(&as_daemon(&line.url)).await;

    for forged in
        ["'1 day', 1000, 100000000000000000", "'9000 years', 9000000000000000000, 1000000", "null, null, null"]
    {
        thief.batch_execute(&format!("select andon.extend_log({forged})")).await.unwrap();
    }

    let widest = line.number("select max(past - low) from andon.log_partitions()").await;
    assert_eq!(widest, 1_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_role_has_no_event_delivered_without_its_data() {
    let line = Line::new().await;
    let lane = lane(&line).await;
    for counter in 1..3 {
        line.emit("acme", "e", counter).await;
    }
    let thief = connect(&as_daemon(&line.url)).await;
    let park = |event: i64, state: &str, delay: &str, is_bare: bool| {
        format!(
            "select andon.park('{lane}', array[{event}], '{{{state}}}', '{{0}}', '{{{delay}}}', '{{x}}', {is_bare})"
        )
    };
    let state = "select string_agg(concat_ws(' ', event, state), ', ' order by event) from andon.deliveries";

    let due = thief.batch_execute(&park(1, "retry", "0", true)).await.unwrap_err();
    thief.batch_execute(&park(1, "dead", "null", true)).await.unwrap();
    thief.batch_execute(&park(2, "dead", "null", false)).await.unwrap();
    let again = "update andon.deliveries set state = 'retry', next_attempt_at = now() where event = 1";
    let again = thief.batch_execute(again).await.unwrap_err();
    let bare = line.text("select id::text from andon.deliveries where event = 1").await;
    let retried = run_andon(&line.url, &["deliveries", "retry", &bare]);
    let all = run_andon(&line.url, &["deliveries", "retry", "--destination", &lane]);

    for refused in [&due, &again] {
        let rule = refused.as_db_error().unwrap().constraint();
        assert_eq!(rule, Some("a_delivery_without_data_is_dead"), "{refused:?}");
    }
    assert!(retried.status == 1 && retried.err.contains("their data is not in the ledger"), "{retried:?}");
    assert_eq!(all.status, 0, "{all:?}");
    assert_eq!(line.text(state).await, "1 dead, 2 retry", "what has its data does not wait for what has none");
}

#[tokio::test]
async fn a_stolen_role_makes_up_no_more_causes_than_twenty_of_a_channel_and_a_thousand_of_the_log() {
    let line = Line::new().await;
    attach(&mut connect(&line.url).await, &Mapping::parse("line.toml", MAPPING).unwrap()).await.unwrap();
    role::grant(&line.client).await;
    let thief = connect(&as_daemon(&line.url)).await;
    let rows = "select string_agg(concat_ws(' ', table_name, rows, times), ', ' order by table_name)
        from (select table_name, count(*) as rows, sum(times) as times from andon.capture_errors group by 1) it";

    for forged in ["'z' || n", "'ABCDEF'", "null", "to_char(n, 'FM00000')"] {
        let forged = format!(
            "select andon.notifications_failed('line', 'any', {forged}, 'made up', 1) from generate_series(1, 50) n"
        );
        thief.batch_execute(&forged).await.unwrap();
    }
    thief.batch_execute("select andon.notifications_failed('line', 'machines', '22023', '', -5)").await.unwrap();
    line.run(
        "alter table andon.events drop constraint times_are_between_the_years_1_and_9999;
        insert into andon.events (tenant, type, entity_type, entity_id, occurred_at, context, data)
        select 'acme', 'a.b', 'job', '1', 'infinity', '{}', '{}' from generate_series(1, 1005)",
    )
    .await;
    thief.batch_execute("select andon.set_aside(id, 'XX001', 'damaged') from andon.events").await.unwrap();

    assert_eq!(line.text(rows).await, "andon.events 1000 1005, any 20 50, machines 1 1");
}
