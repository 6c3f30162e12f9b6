//! Settings of the sessions that write. In: the same row, written under settings that change the text of a value or the truth of a condition.
//! Out: whether it is the same event each time, also when it is captured again, and whether tables that need nothing pay nothing.

use serde_json::Value;
use serde_json::json;

use crate::command::run_andon;
use crate::support::plant::Plant;
use crate::support::plant::connect;

const SCHEMA: &str = r"
    create table measure (
        machine int, at timestamptz, day date, took interval, speed float8, raw bytea, cost money, span tstzrange, note text,
        list interval[], primary key (machine, at)
    );
    create table stash as table measure;
    insert into stash values (7, '2026-01-02 03:04:05+00', '2026-03-04', '1 day 2 hours', 0.1::float8 + 0.2, '\x00ff', 12.5::numeric::money,
        '[2026-01-02 00:00+00,2026-02-03 00:00+00)', 'n', array[null, interval '-1 day']);
    create table called (id int primary key, day date);
    create function public.seen(day date) returns text language sql stable as 'select day::text';
    create table plain (id int primary key, status text, amount numeric, uid uuid, at timestamptz, doc jsonb, kind char(1));";

const MAPPING: &str = r#"
    [source]
    name = "mes"
    [[capture]]
    table = "measure"
    on = "insert"
    when = "new.day = '03/04/2026' and new.took <= '1 2:03:04' and (new.note = null) is null"
    type = "measure.made"
    tenant = "this.day"
    columns = ["day", "took", "speed", "raw", "cost", "span", "list", "at"]
    [measure.data]
    [[capture]]
    table = "called"
    on = "insert"
    type = "called.made"
    data = { seen = "public.seen(new.day)" }
    [[capture]]
    table = "plain"
    on = ["insert", "update"]
    when = "new.status <> 'x' and new.at is not null"
    type = "plain.made"
    columns = ["status", "amount", "uid", "at", "doc", "kind"]
    data = { key = "this.id::text || '-' || this.status", late = "this.at < now()" }"#;

/// Values that are made in the expressions.
const DATA: &str = r#"
    data = { text = "'on ' || this.day", name = "to_char(this.at, 'TMMonth')", gone = "this.note = null", mark = "'a\\b'", doc = "xmlelement(name b, this.raw)::text", rows = "'{1,NULL}'::text[]" }"#;

/// What a session may have set: one in another country, an old driver, a report, a restore.
const SESSIONS: [&str; 6] = [
    "set DateStyle = 'ISO, DMY'",
    "set DateStyle = 'German, DMY'; set IntervalStyle = sql_standard; set bytea_output = escape; set extra_float_digits = -10",
    "set DateStyle = 'SQL, DMY'; set IntervalStyle = iso_8601; set xmlbinary = hex; set xmloption = document; set row_security = off",
    "set DateStyle = 'Postgres, YMD'; set IntervalStyle = postgres_verbose; set transform_null_equals = on; set array_nulls = off",
    "set lc_monetary = 'C.UTF-8'; set lc_numeric = 'C.UTF-8'; set lc_time = 'C.UTF-8'; set quote_all_identifiers = on",
    "set standard_conforming_strings = off; set escape_string_warning = off; set backslash_quote = off; set TimeZone = 'Asia/Tokyo'",
];

fn mapping() -> String {
    MAPPING.replace("    [measure.data]", DATA)
}

/// Returns the newest event of the log, without what differs from one to the next.
async fn newest(plant: &Plant) -> Value {
    let sql = "select jsonb_build_array(tenant, type, entity_id, data) from andon.events order by id desc limit 1";
    plant.client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_row_is_the_same_event_whatever_the_session_has_set() {
    let plant = Plant::with(SCHEMA, &mapping()).await;
    plant.run("insert into measure table stash").await;
    let first = newest(&plant).await;
    plant.run("insert into called values (1, '2026-03-04')").await;
    let called = newest(&plant).await;
    plant.run("delete from measure; delete from called").await;

    for settings in SESSIONS {
        let session = connect(&plant.url).await;
        session.batch_execute(settings).await.unwrap();
        let before = plant.count("select count(*) from andon.events").await;
        session.batch_execute("insert into measure table stash").await.unwrap();
        assert_eq!(plant.count("select count(*) from andon.events").await, before + 1, "{settings}");
        assert_eq!(newest(&plant).await, first, "{settings}");
        session.batch_execute("insert into called values (1, make_date(2026, 3, 4))").await.unwrap();
        assert_eq!(newest(&plant).await, called, "{settings}");
        session.batch_execute("delete from measure; delete from called").await.unwrap();
    }

    assert_eq!(plant.errors().await, []);
    let data = json!({
        "text": "on 2026-03-04", "name": "January", "gone": null, "mark": "a\\b", "doc": "<b>AP8=</b>", "rows": ["1", null],
        "day": "2026-03-04", "took": "1 day 02:00:00", "speed": 0.30000000000000004, "raw": "\\x00ff", "cost": first[3]["cost"],
        "span": "[\"2026-01-02 00:00:00+00\",\"2026-02-03 00:00:00+00\")", "list": [null, "-1 days"], "at": "2026-01-02T03:04:05+00:00"
    });
    assert_eq!(first, json!(["2026-03-04", "measure.made", "7/2026-01-02 03:04:05+00", data]));
    assert_eq!(called[3], json!({"seen": "2026-03-04"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_captured_again_is_the_event_that_it_would_have_been() {
    let plant = Plant::with(SCHEMA, &mapping()).await;
    plant.run("insert into measure table stash").await;
    let first = newest(&plant).await;
    plant
        .run(
            "delete from measure; alter table measure rename took to lasted;
             set DateStyle = 'SQL, DMY'; set IntervalStyle = iso_8601; set extra_float_digits = 0; insert into measure table stash;
             alter table measure rename lasted to took",
        )
        .await;

    let again = run_andon(&plant.url, &["capture", "--again"]);

    assert_eq!(again.out, "recovered 1 changes, which made 1 events\n", "{again:?}");
    assert_eq!(newest(&plant).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_numbers_and_texts_pins_nothing_more_than_every_table() {
    let mut plant = Plant::with(SCHEMA, &mapping()).await;

    let sql =
        "select replace(array_to_string(proconfig, ' '), ', ', ',') from pg_proc where proname = 'capture_mes_plain'";
    let settings: String = plant.client.query_one(sql, &[]).await.unwrap().get(0);
    let again = plant.attach(&mapping()).await;

    assert_eq!(settings, "search_path=pg_catalog,pg_temp TimeZone=UTC jit=off");
    assert!(again.tables.iter().all(|(_, change)| *change == andon::capture::Change::Unchanged), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mapping_that_comes_with_andon_pins_nothing_more_either() {
    let plant = Plant::attached().await;

    let sql = "select coalesce(string_agg(proname || array_to_string(proconfig[4:], ' '), '; ' order by proname), '')
        from pg_proc where proname like 'capture_eryxon_%' and cardinality(proconfig) > 3";
    let pinned: String = plant.client.query_one(sql, &[]).await.unwrap().get(0);

    assert_eq!(pinned, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_a_looked_up_table_hides_the_same_rows_from_each_session() {
    let mut plant = Plant::empty().await;
    let owner = format!("forced_{}", std::process::id());
    plant
        .run(&format!(
            "create role {owner}; grant all on schema andon, public to {owner};
             grant all on all tables in schema andon to {owner}; grant all on all functions in schema andon to {owner};
             set role {owner};
             create table cell (id int primary key, name text); insert into cell values (1, 'Laser 1'), (2, 'Saw');
             alter table cell enable row level security; alter table cell force row level security;
             create policy seen on cell using (id = 1); create table job (id int primary key, cell_id int)"
        ))
        .await;
    let mapping = "[source]
        name = 'mes'
        [[capture]]
        table = 'job'
        on = 'insert'
        type = 'job.made'
        lookup = [{ alias = 'cell', table = 'cell', on = 'cell.id = new.cell_id' }]
        data = { cell = 'cell.name' }";
    plant.attach(mapping).await;

    let events = plant
        .events_after("reset role; set row_security = off; insert into job values (1, 1), (2, 2); set row_security = on; insert into job values (3, 1)")
        .await;

    let cells: Vec<&Value> = events.iter().map(|event| &event["data"]["cell"]).collect();
    assert_eq!(plant.errors().await, []);
    assert_eq!(cells, [&json!("Laser 1"), &Value::Null, &json!("Laser 1")]);
}
