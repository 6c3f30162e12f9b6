//! Values that cannot be carried. In: a plant, an application or a channel that writes them, and a log that has them all the same. Out:
//! whether each is one event with a fault of its own, recorded, and its neighbours are delivered.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use andon::settings::Retention;
use rig::Postgres;
use rig::Receiver;
use serde_json::json;

use crate::command::run_andon;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::judge_requests;
use crate::support::line::wait_for_requests;
use crate::support::plant::Plant;
use crate::support::plant::connect;

/// A table whose rows say what their events are made of.
const THINGS: &str = "create table things (id text primary key, due timestamptz, note text, kind text not null default 'thing.made', tenant text)";
const MAPPING: &str = "
[source]
name = 'line'
[[capture]]
table = 'things'
on = 'insert'
type_sql = 'new.kind'
entity_type = 'thing'
entity_id = 'new.id'
tenant = 'new.tenant'
occurred_at = 'new.due'
data = { note = 'new.note' }";

/// Rows that cannot be carried, as the values of id, due, note, kind and tenant, with the rule that each breaks.
const ODD_ROWS: [(&str, &str); 9] = [
    ("('forever', 'infinity', '', 'thing.made', '')", "times_are_between"),
    ("('never', '-infinity', '', 'thing.made', '')", "times_are_between"),
    ("('last', '9999-12-31', '', 'thing.made', '')", "times_are_between"),
    ("('ancient', '0044-03-15 12:00:00 BC', '', 'thing.made', '')", "times_are_between"),
    ("('long', now(), repeat('x', 1100000), 'thing.made', '')", "event_is_not_larger"),
    ("('escaped', now(), repeat(chr(1), 200000), 'thing.made', '')", "event_is_not_larger"),
    ("(repeat('i', 513), now(), '', 'thing.made', '')", "have_512_bytes"),
    ("('kind', now(), '', repeat('k', 513), '')", "have_512_bytes"),
    ("('tenant', now(), '', 'thing.made', repeat('t', 513))", "have_512_bytes"),
];

/// Checks that a statement with odd rows and two good ones captured the good ones, and recorded each odd one with its key and its rule.
async fn assert_captures_the_others(plant: &Plant) {
    let odd = ODD_ROWS.map(|(row, _)| row).join(", ");
    let insert = format!(
        "insert into things values ('a', now(), '', 'thing.made', ''), {odd}, ('b', null, '', 'thing.made', '')"
    );
    let events = plant.events_after(&insert).await;

    let captured: Vec<&str> = events.iter().map(|event| event["entity_id"].as_str().unwrap()).collect();
    assert_eq!(captured, ["a", "b"]);
    assert_eq!(plant.count("select count(*) from things").await, 11, "the plant's statement succeeded");
    let errors = plant.errors().await;
    assert_eq!(errors.len(), ODD_ROWS.len(), "{errors:?}");
    for ((operation, key, code, message), (row, rule)) in errors.iter().zip(ODD_ROWS) {
        assert_eq!((operation.as_str(), code.as_str()), ("insert", "23514"), "{row}");
        assert!(message.contains(rule), "{row}: {message}");
        let id = plant.count(&format!("select count(*) from things where id = '{}'", key.as_deref().unwrap())).await;
        assert_eq!(id, 1, "{row} is found by {key:?}");
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_carried_is_recorded_with_its_key_and_the_others_are_captured() {
    assert_captures_the_others(&Plant::with(THINGS, MAPPING).await).await;
}

#[tokio::test]
async fn a_row_of_a_partitioned_table_that_cannot_be_carried_is_recorded_as_well() {
    let table = format!(
        "{THINGS} partition by hash (id); create table part partition of things for values with (modulus 1, remainder 0)"
    );

    assert_captures_the_others(&Plant::with(&table, MAPPING).await).await;
}

#[tokio::test]
async fn the_owner_says_how_large_an_event_may_be() {
    let plant = Plant::with(THINGS, MAPPING).await;
    let insert = |id: &str| format!("insert into things (id, note) values ('{id}', repeat('x', 1100000))");

    plant.run("select andon.set_max_event(4194304)").await;
    assert_eq!(plant.types_after(&insert("large")).await, ["thing.made"]);
    plant.run("select andon.set_max_event(65536)").await;
    assert_eq!(plant.types_after(&insert("small")).await, Vec::<String>::new());

    assert_eq!(plant.errors().await.len(), 1);
}

#[tokio::test]
async fn emitting_what_cannot_be_carried_is_recorded_and_lets_the_transaction_go_on() {
    let plant = Plant::empty().await;
    plant.run("create table work (id int)").await;
    let odd = [
        "andon.emit('a.b', jsonb_build_object('note', repeat('x', 1100000)), entity_type => 'job', entity_id => '1')",
        "andon.emit('a.b', context => jsonb_build_object('note', repeat(chr(1), 200000)), entity_type => 'job', entity_id => '2')",
        "andon.emit('a.b', entity_type => 'job', entity_id => repeat('3', 513))",
        "andon.emit('a.b', tenant => repeat('t', 513), entity_type => 'job', entity_id => '4')",
        "andon.emit(repeat('a', 513), entity_type => 'job', entity_id => '5')",
    ];
    for call in odd {
        plant
            .run(&format!("begin; insert into work values (1); select {call}; select andon.emit('good'); commit"))
            .await;
        assert_eq!(plant.count(&format!("select count({call})")).await, 0, "it returns null");
    }

    assert_eq!(plant.count("select count(*) from work").await, 5);
    assert_eq!(plant.count("select count(*) from andon.events").await, 5);
    let errors = plant.errors().await;
    assert_eq!(errors.len(), 2, "one for each rule: {errors:?}");
    assert_eq!((errors[0].0.as_str(), errors[0].1.as_deref(), errors[0].2.as_str()), ("emit", Some("job/1"), "22001"));
    assert!(errors[0].3.contains("1048576"), "{errors:?}");
}

/// Values that no new row has, by the column of `andon.events` that they stand in. With an infinite `captured_at`, the server refuses the poll.
const ODD_COLUMNS: [(&str, &str); 11] = [
    ("occurred_at", "'infinity'"),
    ("occurred_at", "'-infinity'"),
    ("occurred_at", "'9999-12-31 23:00:00+00'"),
    ("occurred_at", "'294276-12-31'"),
    ("occurred_at", "'4713-01-01 BC'"),
    ("captured_at", "'infinity'"),
    ("captured_at", "'-infinity'"),
    ("type", "''"),
    ("entity_id", "repeat('i', 100000)"),
    ("context", "'[1, null]'"),
    ("data", "'1e400'"),
];

/// Lets rows in that are older than the rules.
async fn drop_rules(line: &Line) {
    line.run(
        "do $$ declare rule name; begin
            for rule in select conname from pg_constraint where conrelid = 'andon.events'::regclass and contype = 'c' loop
                execute format('alter table andon.events drop constraint %I', rule);
            end loop;
        end $$",
    )
    .await;
}

impl Line {
    /// Makes the log so small that nothing of it may stay.
    async fn forget_all(&self) {
        self.run("select setval('andon.events_id_seq', (select max(past) from andon.log_partitions()))").await;
        self.run("update andon.tail set position = (select max(past) from andon.log_partitions())").await;
        self.tidy(&Retention { log_size: 0, ..Retention::default() }).await;
    }
}

/// Returns which events were set aside.
async fn set_aside(line: &Line) -> Vec<String> {
    let sql = "select key from andon.capture_errors where source = 'andon.log' order by key::bigint";
    line.client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_stands_in_a_row_of_the_log_its_neighbours_are_delivered_and_it_is_told_once() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    drop_rules(&line).await;
    line.webhook(&receiver.url("/live"), json!({"concurrency": 1})).await;
    line.start();
    let mut last = 0;
    for round in 0..2 {
        for (column, value) in ODD_COLUMNS {
            let columns = ["type", "entity_id", "occurred_at", "captured_at", "context", "data"];
            let plain = ["'job.odd'", "'odd'", "now()", "now()", "'{}'", "'{\"entity\": \"odd\", \"counter\": 1}'"];
            let values = columns.iter().zip(plain).map(|(name, plain)| if *name == column { value } else { plain });
            let values = values.collect::<Vec<_>>().join(", ");
            line.run(&format!(
                "insert into andon.events (tenant, entity_type, {}) values ('acme', 'job', {values})",
                columns.join(", ")
            ))
            .await;
            line.emit("acme", "good", last + 1).await;
            last += 1;
        }
        if round == 0 {
            line.stop().await.unwrap();
            // It reads the log itself, and so do the lanes after the restart.
            line.webhook(&receiver.url("/late"), json!({})).await;
            line.start();
        }
    }

    line.until("select count(*) = 2 from andon.lanes").await;
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();
    let expected = std::iter::once(("good".to_owned(), last)).collect();
    for path in ["/live", "/late"] {
        let accepted = receiver.accepted();
        let good: Vec<_> = accepted
            .into_iter()
            .filter(|it| it.path == path && it.body.windows(6).any(|part| part == b"\"good\""))
            .collect();
        let verdict = judge_requests(&expected, &good);
        assert!(verdict.is_clean(), "{path}: {verdict:?}");
    }
    let told = set_aside(&line).await;
    let unique: BTreeSet<&String> = told.iter().collect();
    assert_eq!(told.len(), unique.len(), "each is told once");
    // What has an odd time of capture is read by itself, and delivered: nobody needs that time.
    assert_eq!(told.len(), 8, "the four times that cannot be carried, in both rounds: {told:?}");
    let check = run_andon(&line.url, &["check"]);
    assert_eq!(check.status, 1, "{check:?}");
    assert!(check.out.contains("cannot be read"), "{check:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn characters_that_unicode_does_not_have_are_one_event_and_let_the_log_be_shortened() {
    let server = Postgres::shared();
    let url = server.create_database().await.unwrap();
    let name = format!("{}_western", url.rsplit('/').next().unwrap());
    let admin = connect(&url).await;
    admin
        .batch_execute(&format!("create database {name} encoding 'WIN1252' locale 'C' template template0"))
        .await
        .unwrap();
    let url = server.url(&name);
    andon::migrate::migrate(&mut connect(&url).await).await.unwrap();
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::at(&url).await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.start();

    let mut expected = BTreeMap::new();
    for (round, column) in ["tenant", "type", "entity_type", "entity_id"].into_iter().enumerate() {
        let columns = ["tenant", "type", "entity_type", "entity_id"];
        let values = columns.map(|name| if name == column { "convert_from('\\x81', 'WIN1252')" } else { "'plain'" });
        line.run(&format!("insert into andon.events ({}) values ({})", columns.join(", "), values.join(", "))).await;
        let entity = format!("e{round}");
        line.emit("acme", &entity, 1).await;
        expected.insert(entity, 1);
    }
    line.run(
        "insert into andon.events (tenant, type, entity_type, entity_id, data)
        values ('acme', 'a.b', 'job', '1', jsonb_build_object('note', convert_from('\\x81', 'WIN1252')))",
    )
    .await;
    line.emit("acme", "last", 1).await;
    expected.insert("last".to_owned(), 1);

    wait_for_requests(&receiver, &expected).await;
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();
    assert_eq!(set_aside(&line).await.len(), 5);

    // A destination that is away loses what it has not taken, the odd ones as well.
    line.run("update andon.lanes set position = 0; update andon.webhooks set events = '{*}'").await;
    line.forget_all().await;
    assert_eq!(line.number("select lost from andon.lanes").await, 6, "all of its tenant, the odd one as well");
    assert_eq!(line.number("select count(*) from andon.events").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_page_costs_the_events_that_are_on_it_and_no_others() {
    let server = tokio::task::spawn_blocking(|| Postgres::start().unwrap()).await.unwrap();
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::on(&server).await;
    let mut expected = line.emit_all(10, 30).await;
    line.run("vacuum andon.events").await;
    // The first page of the partition is overwritten while the server is down, as a broken disk would do it.
    let file = "(select pg_relation_filepath(tableoid::regclass) from andon.events order by id limit 1)";
    let on_page: i64 = line
        .client
        .query_one("select count(*) from andon.events where ctid < '(1,0)' and tableoid = (select tableoid from andon.events order by id limit 1)", &[])
        .await
        .unwrap()
        .get(0);
    let path: String = line
        .client
        .query_one(&format!("select current_setting('data_directory') || '/' || {file}"), &[])
        .await
        .unwrap()
        .get(0);
    server.stop().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[..64].fill(0xAA);
    std::fs::write(&path, bytes).unwrap();
    server.start_again().unwrap();
    line.client = connect(&line.url).await;
    line.webhook(&receiver.url("/hook"), json!({"start_at": null})).await;
    line.run("update andon.webhooks set settings = settings - 'start_at'; insert into andon.lanes (lane, tenant, name, position)
        select 'andon.webhooks/' || id, 'acme', url, 0 from andon.webhooks").await;

    line.start();
    let after = line.emit_more(10, 30, 40).await;
    expected.extend(after);

    line.until(ALL_DONE).await;
    line.stop().await.unwrap();
    assert!(on_page > 0 && on_page < 300, "{on_page}");
    assert_eq!(set_aside(&line).await.len() as i64, on_page);
    let verdict = judge_requests(&expected, &receiver.accepted());
    assert_eq!((verdict.missing as i64, verdict.out_of_order), (on_page, 0), "{verdict:?}");

    line.run("update andon.lanes set position = 0").await;
    line.forget_all().await;
    assert_eq!(line.number("select count(*) from andon.events").await, 0, "the damaged page is gone");
    assert!(line.number("select lost from andon.lanes").await >= 400);
}
