//! Sessions of the plant's applications. In: sessions with settings and rights of their own. Out: whether the same row gives the same event,
//! whoever writes it.

use crate::support::plant::Plant;
use crate::support::plant::connect;

#[tokio::test]
async fn a_session_with_few_rights_and_traps_in_its_search_path_is_captured_like_any_other() {
    let plant = Plant::attached().await;
    plant
        .run(
            "create role low_operator;
             grant usage on schema public to low_operator;
             grant select, update on jobs to low_operator;
             create schema trap authorization low_operator;
             alter table cells enable row level security",
        )
        .await;
    let session = connect(&plant.url).await;
    session
        .batch_execute(
            "set role low_operator; set search_path = trap, public, pg_catalog; set timezone = 'Asia/Tokyo';
             create function trap.jsonb_strip_nulls(jsonb) returns jsonb language sql as $$ select '{\"cell\": \"trap\"}'::jsonb $$;
             create function trap.ring() returns void language plpgsql as $$ begin raise 'trapped'; end $$;
             create function trap.never(uuid, uuid) returns boolean language sql as 'select false';
             create operator trap.= (function = trap.never, leftarg = uuid, rightarg = uuid)",
        )
        .await
        .unwrap();
    session.batch_execute("create temp table cells (id uuid, name text)").await.unwrap();

    let before = plant.count("select count(*) from andon.events").await;
    session.batch_execute("update public.jobs set customer = 'x', due_date = '2026-01-01 00:00+00'").await.unwrap();

    assert_eq!(plant.count("select count(*) from andon.events").await, before + 1);
    let row = plant
        .client
        .query_one("select context->>'cell', data->>'due_date' from andon.events order by id desc limit 1", &[]);
    let row = row.await.unwrap();
    assert_eq!(row.get::<_, String>(0), "Laser 1");
    assert_eq!(row.get::<_, String>(1), "2026-01-01T00:00:00+00:00");
    assert!(session.batch_execute("select * from andon.events").await.is_err());
    assert!(session.batch_execute("select andon.capture_eryxon_jobs()").await.is_err());
}
