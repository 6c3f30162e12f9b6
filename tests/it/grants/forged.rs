//! What a stolen role of the daemon can make others believe. In: that role, lanes and a channel of one tenant. Out: whether what it parks is in the
//! log, whether a destination that it calls disabled is one of that tenant, and whether its notifications are those of the mapping.

use andon::capture::Mapping;
use andon::capture::attach;
use serde_json::Value;
use serde_json::json;

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
            "select andon.park('{lane}', array[{}, {second}, 999], '{{waiting,waiting,waiting}}', '{{0,0,0}}', '{{null,null,null}}', '{{a,b,c}}', {is_bare})",
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

    let running = thief.batch_execute(&tell).await.unwrap_err();
    let disable = |tenant: &str| {
        format!("update andon.lanes set state = 'disabled', reason = 'answered 410', tenant = '{tenant}'; {tell}")
    };
    thief.batch_execute(&disable("bolt")).await.unwrap();
    let of_others: String = line.client.query_one(told, &[]).await.unwrap().get(0);
    thief.batch_execute(&disable("acme")).await.unwrap();
    let own: String = line.client.query_one(told, &[]).await.unwrap().get(0);

    assert!(running.as_db_error().unwrap().message().ends_with("is not disabled"), "{running:?}");
    assert_eq!((of_others.as_str(), own.as_str()), ("", "acme answered 410"));
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
    let aside = "select count(*) filter (where andon.set_aside(n, 'XX001', 'damaged')) from generate_series(-5, 500) n, generate_series(1, 2)";
    let aside: i64 = thief.query_one(aside, &[]).await.unwrap().get(0);
    thief
        .batch_execute(
            "select andon.notifications_failed('s', 'c' || n, '22023', '', 1) from generate_series(1, 100) n",
        )
        .await
        .unwrap();

    assert_eq!(most.code().unwrap().code(), "42883", "{most:?}");
    let rows = "select string_agg(operation, ' ' order by id) from andon.capture_errors";
    let rows: String = line.client.query_one(rows, &[]).await.unwrap().get(0);
    assert_eq!((aside, rows.as_str()), (1, "insert insert insert insert insert read"));
}
