//! A table that somebody keeps locked, so that not even its columns can be looked at. In: such a lock. Out: whether everything that looks at the
//! mapping ends, says what it waited for, and does not blame the mapping.

use std::time::Duration;

use andon::capture::watch::Look;
use andon::capture::watch::look;

use crate::command::file;
use crate::command::run_andon;
use crate::support::plant::Plant;
use crate::support::plant::connect;

const MAPPING: &str = "[source]
name = 'mes'
[[capture]]
table = 'jobs'
on = 'insert'
type = 'job.created'
data = { status = 'new.status' }";

#[tokio::test]
async fn a_table_that_is_locked_is_no_fault_of_the_mapping_and_is_waited_for_only_briefly() {
    let mut plant = Plant::with("create table jobs (id int primary key, status text)", MAPPING).await;
    let path = file("locked.toml", MAPPING);
    let mut holder = connect(&plant.url).await;
    let holding = holder.transaction().await.unwrap();
    holding.batch_execute("lock table jobs in access exclusive mode").await.unwrap();
    let process: i32 = holding.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);

    plant.run("set lock_timeout = '100ms'").await;
    let looks = look(&mut plant.client, Duration::ZERO).await.unwrap();
    let of_file = run_andon(&plant.url, &["check", "--source", &path, "--timeout", "2s"]);
    let of_all = run_andon(&plant.url, &["check", "--timeout", "2s"]);
    let attached = run_andon(&plant.url, &["attach", "--source", &path]);
    holding.rollback().await.unwrap();
    let afterwards = look(&mut plant.client, Duration::ZERO).await.unwrap();

    assert!(matches!(&looks[0].1, Look::Unknown(reason) if reason.contains("lock timeout")), "{looks:?}");
    for (run, area) in [(&of_file, "FAULT   mapping"), (&of_all, "FAULT   source")] {
        let told = run.out.lines().find(|line| line.starts_with(area)).unwrap_or_else(|| panic!("{run:?}"));
        assert!(told.contains(&format!("process {process} ")) && told.contains("jobs"), "{told}");
        assert_eq!(run.status, 1);
    }
    assert!(attached.status == 1 && attached.err.contains("table public.jobs is busy"), "{attached:?}");
    assert_eq!(afterwards[0].1, Look::Attached);
}
