//! Names of events that an expression gives. In: values that are no names. Out: whether each event has a name that a destination can ask for,
//! and whether what can be known about it is said before.

use andon::capture::Mapping;
use andon::capture::event_name::event_type;

use crate::command::file;
use crate::command::run_andon;
use crate::support::plant::Plant;

const SCHEMA: &str = "
    create type state as enum ('new', 'Due Today', 'done');
    create table job (id int primary key, status text, state state, kind text check (kind in ('a b', 'c')));";

fn mapping(type_sql: &str) -> String {
    format!(
        "[source]
        name = 'mes'
        [[capture]]
        table = 'job'
        on = ['insert', 'update']
        type_sql = \"{type_sql}\"
        entity_type = 'job'"
    )
}

async fn findings(plant: &mut Plant, type_sql: &str) -> Vec<String> {
    let mapping = Mapping::parse("test.toml", &mapping(type_sql)).unwrap();
    let checked = andon::capture::check(&mut plant.client, &mapping).await.unwrap();
    checked.findings.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_no_dotted_name_is_made_one() {
    let plant = Plant::with(SCHEMA, &mapping("'job.' || new.status")).await;

    let types = plant
        .clean_types_after(
            "insert into job values (1, 'Due Today'), (2, 'done'), (3, E'50% \\n?'), (4, 'a.b-c_d'), (5, 'größer')",
        )
        .await;

    assert_eq!(types, ["job.Due_Today", "job.done", "job.50_", "job.a.b-c_d", "job.gr_er"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_predicts_the_name_that_the_database_makes() {
    let plant = Plant::empty().await;

    for text in [
        "job.new",
        "Job.NEW",
        "a b",
        "a\t\n b",
        "größer.x",
        "日本.語",
        "a.b-c_d",
        "-",
        "_._",
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a. .b",
        "a.ü.",
    ] {
        let made = plant.client.query_one("select andon.event_type($1)", &[&text]).await;
        assert_eq!(event_type(text), made.ok().map(|row| row.get(0)), "{text:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_without_a_name_is_kept_and_says_so() {
    let plant = Plant::with(SCHEMA, &mapping("'job.' || new.status")).await;

    let types = plant.types_after("insert into job values (1, null), (2, 'done'), (3, ''), (4, 'x..y')").await;
    let errors = plant.errors().await;

    assert_eq!(types, ["job.done"]);
    let said: Vec<(Option<&str>, &str)> =
        errors.iter().map(|(_, key, _, said)| (key.as_deref(), said.as_str())).collect();
    assert_eq!(
        said,
        [
            (Some("1"), "type_sql gives null, and an event needs a type"),
            (Some("3"), "type_sql gives '...', which is no dotted name such as job.created"),
            (Some("4"), "type_sql gives '...', which is no dotted name such as job.created"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_names_that_are_known_before_are_checked() {
    let mut plant = Plant::empty().await;
    plant.run(SCHEMA).await;
    plant.run("create type odd as enum ('a b', 'a_b', ''); alter table job add odd odd, add single text check (single in ('', 'x'))").await;

    assert_eq!(findings(&mut plant, "'job.' || new.state").await, [""; 0]);
    assert_eq!(findings(&mut plant, "'job.' || new.kind || '.' || new.status").await, [""; 0]);
    let none = findings(&mut plant, "'job.' || new.odd").await;
    assert!(
        none[0].contains("type_sql: gives 'job.', of which no dotted name such as job.created can be made"),
        "{none:?}"
    );
    let same = findings(&mut plant, "'job.' || new.odd || 'x'").await;
    assert!(same[0].contains("gives 'job.a bx' and 'job.a_bx', which are both the type job.a_bx"), "{same:?}");
    let of_check = findings(&mut plant, "'job.' || new.single").await;
    assert!(of_check[0].contains("gives 'job.', of which"), "{of_check:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_events_lists_the_names_that_there_will_be() {
    let plant = Plant::empty().await;
    plant.run(SCHEMA).await;
    let mapping = file("event_names.toml", &mapping("'job.' || lower(new.state::text)"));

    let explained = run_andon(&plant.url, &["check", "--source", &mapping, "--explain"]);

    assert!(explained.out.contains("job.<state>"), "{explained:?}");
    assert!(explained.out.contains(": job.new, job.due_today, job.done"), "{explained:?}");
    assert!(explained.out.contains("/job/new\n") || explained.out.contains("\"type\":\"job.new\""), "{explained:?}");
}
