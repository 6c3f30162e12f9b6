//! A failed capture is not a lost event. In: columns that are renamed under a mapping, values that are no event. Out: what is kept of the rows,
//! what `andon capture` makes of it, and what the log and `andon check` say.

mod found_again;
mod values;

use rig::receiver::Receiver;
use serde_json::Value;
use serde_json::json;

use crate::command::run_andon;
use crate::support::daemon;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::plant::Plant;

const SCHEMA: &str = "create table job (id int primary key, status text, customer text, secret text);
    create table measure (machine int, at timestamptz, value numeric, primary key (machine, at)) partition by range (at);
    create table measure_all partition of measure default;";

const MAPPING: &str = r#"
    [source]
    name = "mes"
    [[capture]]
    table = "job"
    on = "insert"
    type = "job.made"
    data = { customer = "new.customer" }
    [[capture]]
    table = "job"
    on = "update"
    of = ["status"]
    type_sql = "'job.' || new.status"
    entity_type = "job"
    data = { customer = "new.customer", before = "old.status" }
    [[capture]]
    table = "job"
    on = "delete"
    type = "job.gone"
    data = { customer = "old.customer" }
    [[capture]]
    table = "measure"
    on = "insert"
    type = "measure.made"
    data = { value = "new.value" }"#;

/// Renames columns under the mapping, and returns the mapping that knows them.
async fn rename(plant: &Plant) -> String {
    plant.run("alter table job rename customer to client; alter table measure rename value to reading").await;
    MAPPING
        .replace("new.customer", "new.client")
        .replace("old.customer", "old.client")
        .replace("new.value", "new.reading")
}

/// Returns the events of the log without what differs from run to run.
async fn events(plant: &Plant) -> Vec<String> {
    let sql = "select concat_ws(' ', type, entity_id, data, context) from andon.events order by id";
    plant.client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_failed_while_a_column_had_another_name_become_events_when_the_mapping_knows_it() {
    let mut plant = Plant::with(SCHEMA, MAPPING).await;
    plant.run("insert into job values (1, 'new', 'Bolt', 'hush'), (2, 'new', 'Acme', 'hush')").await;
    let mended = rename(&plant).await;
    plant
        .run(
            "insert into job select n, 'new', 'C' || n, 'hush' from generate_series(10, 149) n;
             update job set status = 'started' where id = 1;
             update job set status = 'done' where id = 1;
             delete from job where id = 2;
             insert into measure values (7, '2026-01-01 00:00Z', 1.5)",
        )
        .await;
    let images = plant.count("select count(*) from andon.capture_errors where key is not null and coalesce(new_image, old_image) is not null").await;
    let secrets = plant.count("select count(*) from andon.capture_errors e where e::text like '%hush%'").await;
    let broken = run_andon(&plant.url, &["check"]);
    let too_early = run_andon(&plant.url, &["capture", "--again"]);
    plant.attach(&mended).await;

    let listed = run_andon(&plant.url, &["capture", "errors", "--limit", "1000"]);
    let tried = run_andon(&plant.url, &["capture", "--again", "--dry-run"]);
    let before = events(&plant).await.len();
    let recovered = run_andon(&plant.url, &["capture", "--again"]);
    let check = run_andon(&plant.url, &["check"]);

    assert_eq!((images, secrets), (144, 0));
    assert_eq!(broken.status, 1);
    let counted = "FAULT   capture         public.job (source mes): 142 changes (insert+update)";
    assert!(broken.out.contains(counted), "{broken:?}");
    assert!(broken.out.contains("andon capture --again"), "{broken:?}");
    assert!(too_early.status == 1 && too_early.err.contains("mend and attach it first"), "{too_early:?}");
    assert!(listed.status == 0 && listed.out.lines().count() == 145, "{listed:?}");
    assert!(tried.status == 0 && tried.out == "would have recovered 144 changes, which made 144 events\n", "{tried:?}");
    assert!(
        recovered.status == 0 && recovered.out == "recovered 144 changes, which made 144 events\n",
        "{recovered:?}"
    );
    let made = events(&plant).await.split_off(before);
    assert_eq!(before, 2);
    assert_eq!(made[0], r#"job.made 10 {"customer": "C10"} {"recovered": true}"#);
    assert_eq!(
        made[140..],
        [
            r#"job.started 1 {"before": "new", "customer": "Bolt"} {"recovered": true}"#,
            r#"job.done 1 {"before": "started", "customer": "Bolt"} {"recovered": true}"#,
            r#"job.gone 2 {"customer": null} {"recovered": true}"#,
            r#"measure.made 7/2026-01-01 00:00:00+00 {"value": 1.5} {"recovered": true}"#,
        ]
    );
    assert!(!check.out.contains("FAULT   capture"), "{check:?}");
    let again = run_andon(&plant.url, &["capture", "--again"]);
    assert_eq!(again.out, "recovered 0 changes, which made 0 events\n");
    let at = "select count(*) from andon.events e join andon.capture_errors c on c.id = 1 where e.entity_id = '10' and e.occurred_at = c.at";
    assert_eq!(plant.count(at).await, 1, "it happened when it failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_chosen_by_id_table_and_time_and_can_be_acknowledged() {
    let mut plant = Plant::with(SCHEMA, MAPPING).await;
    let mended = rename(&plant).await;
    plant.run("insert into job values (1, 'new', 'A'); insert into job values (2, 'new', 'B'); insert into measure values (7, now(), 1)").await;
    plant.attach(&mended).await;
    let andon = |arguments: &[&str]| run_andon(&plant.url, &[&["capture"], arguments].concat());

    let one = andon(&["--again", "2"]);
    let earlier = andon(&["--again", "--until", "1h"]);
    let measure = andon(&["acknowledge", "--table", "measure"]);
    let open = andon(&["errors"]);
    let all = andon(&["errors", "--all"]);
    let rest = andon(&["acknowledge"]);

    assert_eq!(one.out, "recovered 1 changes, which made 1 events\n", "{one:?}");
    assert!(
        earlier.out.starts_with("recovered 0 changes, which made 0 events; none of the chosen is open"),
        "{earlier:?}"
    );
    assert_eq!(measure.out, "acknowledged 1\n");
    assert!(open.out.lines().count() == 2 && open.out.contains("public.job"), "{open:?}");
    for state in ["recovered", "acknowledged", "open"] {
        assert!(all.out.contains(state), "{all:?}");
    }
    assert_eq!(rest.out, "acknowledged 1\n");
    plant.run("select andon.keep_capture_errors('0 s')").await;
    assert_eq!(plant.count("select count(*) from andon.capture_errors").await, 0, "what was seen to is pruned");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_made_of_rows_as_they_are_where_nothing_was_kept() {
    let plant = Plant::with(SCHEMA, MAPPING).await;
    plant
        .run(
            "insert into job values (1, 'done', 'A', 'x'), (2, 'new', 'B', 'x');
             select andon.capture_failed('mes', 'public.job', 'update', '2', '42703', 'of an older version');
             select andon.capture_failed('mes', 'public.job', 'update', '3', '42703', 'of a row that is gone');
             select andon.capture_failed('mes', 'public.job', 'update', null, '42703', 'without a key');",
        )
        .await;

    let again = run_andon(&plant.url, &["capture", "--again"]);
    let rows = run_andon(&plant.url, &["capture", "--again", "--table", "job", "--where", "status = 'done'"]);
    let unknown = run_andon(&plant.url, &["capture", "--again", "--table", "jobs", "--where", "true"]);

    assert_eq!((again.status, again.out.as_str()), (1, "recovered 1 changes, which made 1 events\n"), "{again:?}");
    assert!(again.err.contains("its row is gone") && again.err.contains("--table and --where"), "{again:?}");
    assert_eq!((rows.status, rows.out.as_str()), (0, "made 1 events\n"), "{rows:?}");
    assert!(
        unknown.status == 1 && unknown.err.contains("no attached source captures a table public.jobs"),
        "{unknown:?}"
    );
    let made = events(&plant).await;
    assert_eq!(
        made[2..],
        [
            r#"job.new 2 {"before": null, "customer": "B"} {"recovered": true}"#,
            r#"job.done 1 {"before": null, "customer": "A"} {"recovered": true}"#,
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_odd_row_is_kept_with_its_key_and_the_daemon_tells_of_a_reason_once() {
    let receiver = Receiver::start().await.unwrap();
    let plant = Plant::with(SCHEMA, MAPPING).await;
    let line = Line::of(plant);
    line.webhook_of("", &receiver.url("/hook"), json!({})).await;
    let daemon = daemon::start(&line.url).await;
    daemon.ready().await.unwrap();
    line.run("insert into job values (1, 'new', 'A'), (2, 'new', 'B')").await;
    receiver.wait_accepted(PATIENCE, 2).await.unwrap();

    // A type of more than 512 bytes is no event.
    line.run("update job set status = case id when 1 then repeat('x', 600) else 'done' end").await;
    line.run("alter table job rename customer to client; insert into job values (3), (4); insert into job values (5)")
        .await;
    receiver.wait_accepted(PATIENCE, 3).await.unwrap();
    let told = || daemon.log().lines().filter(|line| line.contains("changes could not be captured")).count();
    line.until_told(&daemon, 2).await;
    let kept: Vec<Value> = line
        .client
        .query("select jsonb_build_array(key, new_image, old_image) from andon.capture_errors order by id", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let count = told();
    daemon.stop().await.unwrap();

    assert_eq!(kept[0][0], "1");
    assert_eq!(kept[0][2], json!({"id": 1, "status": "new", "customer": "A"}));
    let keys: Vec<&Value> = kept[1..].iter().map(|it| &it[0]).collect();
    assert_eq!(keys, ["3", "4", "5"]);
    assert_eq!(count, 2, "{}", daemon.log());
    assert!(daemon.log().contains("ERROR") && daemon.log().contains("public.job"), "{}", daemon.log());
}

impl Line {
    /// Waits until the daemon's log tells of so many reasons, while the database answers.
    async fn until_told(&self, daemon: &rig::Daemon, count: usize) {
        let mut clock = tokio::time::interval(std::time::Duration::from_millis(50));
        let end = tokio::time::Instant::now() + PATIENCE;
        while daemon.log().lines().filter(|line| line.contains("changes could not be captured")).count() < count {
            assert!(tokio::time::Instant::now() < end, "{}", daemon.log());
            clock.tick().await;
        }
    }
}
