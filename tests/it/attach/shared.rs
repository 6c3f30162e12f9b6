//! Tables that more than one entry of the world captures. In: two sources, or one, that name a table, its parent or a part of it. Out: a
//! warning where each change makes the events of two sources, and a refusal where one source would say everything twice.

use andon::capture::Mapping;

use crate::command::file;
use crate::command::run_andon;
use crate::support::plant::Plant;

const PARTITIONED: &str = "create table jobs (id int primary key, status text) partition by range (id);
    create table jobs_1 partition of jobs for values from (0) to (100)";
const INHERITED: &str = "create table jobs (id int primary key, status text); create table jobs_1 () inherits (jobs)";

fn mapping(source: &str, tables: &[&str]) -> String {
    let entry = |table: &&str| {
        format!("[[capture]]\ntable = '{table}'\non = 'insert'\nentity_id = 'new.id'\ntype = '{table}.created'\n")
    };
    format!("[source]\nname = '{source}'\n{}", tables.iter().map(entry).collect::<String>())
}

#[tokio::test]
async fn a_table_of_two_sources_is_a_warning_at_attach_and_check() {
    for (schema, one, other, said) in [
        (
            "create table jobs (id int primary key)",
            "jobs",
            "jobs",
            "source `one` captures public.jobs as well as `two`",
        ),
        (PARTITIONED, "jobs", "jobs_1", "source `one` captures public.jobs_1 as well as `two`"),
        (PARTITIONED, "jobs_1", "jobs", "source `one` captures public.jobs as well as `two`"),
        (INHERITED, "jobs", "jobs_1", "source `one` captures public.jobs_1 as well as `two`"),
        (INHERITED, "jobs_1", "jobs", "source `one` captures public.jobs as well as `two`"),
    ] {
        let plant = Plant::with(schema, &mapping("one", &[one])).await;
        let alone = run_andon(&plant.url, &["check", "--strict"]);
        assert!(!alone.out.contains("as well as"), "{alone:?}");

        let path = file("two.toml", &mapping("two", &[other]));
        let attached = run_andon(&plant.url, &["attach", "--source", &path]);
        let check = run_andon(&plant.url, &["check"]);

        assert!(attached.status == 0 && attached.out.contains(said), "{schema}: {attached:?}");
        let line = check.out.lines().find(|line| line.contains(said)).unwrap();
        assert!(check.status == 0 && line.starts_with("warning"), "{schema}: {check:?}");
    }
}

#[tokio::test]
async fn a_source_that_names_a_table_and_a_part_of_it_is_refused() {
    for schema in [PARTITIONED, INHERITED] {
        let mut plant = Plant::empty().await;
        plant.run(schema).await;
        let both = Mapping::parse("test.toml", &mapping("one", &["jobs_1", "jobs"])).unwrap();

        let refused = andon::capture::attach(&mut plant.client, &both).await.unwrap_err().to_string();

        assert!(refused.contains("captures public.jobs and public.jobs_1, which is a part of it"), "{refused}");
    }
}
