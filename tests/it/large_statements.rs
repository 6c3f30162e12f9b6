//! Statements of many rows. In: a session that fixed its plans with a small statement, and then a large one. Out: whether the large one is
//! captured completely, in order and in time.

use crate::support::plant::Plant;

const TENANT: &str = "00000000-0000-0000-0000-00000000000a";
const JOB: &str = "00000000-0000-0000-0000-000000000001";

#[tokio::test]
async fn a_hundred_thousand_rows_in_one_statement_are_captured_whatever_plan_the_session_had_before() {
    let plant = Plant::attached().await;
    plant.run(&format!("update jobs set customer = 'one row, to fix the plan' where id = '{JOB}'")).await;

    plant
        .run(&format!(
            "insert into jobs (tenant_id, job_number) select '{TENANT}', 'B-' || n from generate_series(1, 100000) n;
             update jobs set status = 'in_progress' where job_number like 'B-%';
             delete from jobs where job_number like 'B-%'"
        ))
        .await;

    let count = |kind: &str| format!("select count(*) from andon.events where type = '{kind}'");
    assert_eq!(plant.count(&count("job.created")).await, 100_000);
    assert_eq!(plant.count(&count("job.started")).await, 100_000);
    assert_eq!(plant.count(&count("job.deleted")).await, 100_000);
    assert_eq!(plant.errors().await, []);
    let first = "select data->>'job_number' from andon.events where type = 'job.created' order by id limit 3";
    let rows = plant.client.query(first, &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), ["B-1", "B-2", "B-3"]);
}

#[tokio::test]
async fn the_plan_of_a_first_small_update_is_none_that_a_large_one_would_never_finish() {
    let one = "[[capture]]
         table = 'rates'
         on = 'update'
         type = 'rate.changed'";
    let two = format!(
        "[[capture]]
         table = 'rates'
         on = 'update'
         of = ['parts']
         when = 'new.parts > 1000000'
         type = 'rate.soared'
         {one}
         of = ['parts']"
    );
    for captures in [one, &two] {
        let plant = Plant::with(
            "create table rates (id int primary key, parts int)",
            &format!("[source]\nname = 'line'\n{captures}"),
        )
        .await;
        plant.run("insert into rates select n, 1 from generate_series(1, 60000) n").await;
        plant.run("set statement_timeout = '30 s'; update rates set parts = 2 where id = 7").await;

        plant.run("update rates set parts = parts + 1").await;

        assert_eq!(plant.count("select count(*) from andon.events where type = 'rate.changed'").await, 60_001);
        assert_eq!(plant.errors().await, []);
    }
}
