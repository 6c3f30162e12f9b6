//! Rows that are large only once they are read. In: rows of one tenant that PostgreSQL stores in little and that take long to read. Out:
//! whether what another tenant changes is felt all the same, and whether somebody is told whose rows they are.

use rig::Receiver;
use serde_json::json;

use super::line_with_a_neighbour;
use super::the_neighbour_gets;
use crate::command::run_andon;
use crate::support::line::Line;
use crate::support::line::PATIENCE;

/// Adds a webhook of another tenant than the one with the large rows, and switches it off again.
async fn a_change_is_felt(line: &Line, receiver: &Receiver) {
    let lane = line.webhook(&receiver.url("/new"), json!({})).await;
    receiver.acceptances().wait_for(PATIENCE, |it| it.path == "/new").await.unwrap();
    line.run("update andon.webhooks set active = false where url like '%/new'").await;
    line.state(&lane, "removed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_tenant_that_grow_when_they_are_read_hold_up_no_change_of_another() {
    let (mut line, receiver) = line_with_a_neighbour().await;
    line.start();
    the_neighbour_gets(&line, &receiver, 1).await;
    // Texts, JSON and arrays of megabytes that are stored in less than 64 KiB. A copy of a row is not compressed once more.
    line.run(
        "insert into andon.webhooks (tenant_id, url, secret_key, events, settings) values
            ('rival', 'http://127.0.0.1:9', repeat('v', 5000000), '{*}', '{}'),
            ('rival', 'http://127.0.0.1:9', 'k', '{*}', jsonb_build_object('timeout', repeat('v', 5000000))),
            ('rival', 'http://127.0.0.1:9', 'k', array_fill('v'::text, array[500000]), '{}');
        insert into andon.webhooks (tenant_id, url, secret_key, events, settings)
            select tenant_id, url, secret_key, events, settings from andon.webhooks, generate_series(1, 59) where tenant_id = 'rival'",
    )
    .await;

    a_change_is_felt(&line, &receiver).await;

    let reason = "the row is larger than 64 KiB; shorten its texts";
    let told = format!("state = 'misconfigured' and reason = format('webhook `%s`: {reason}', lane)");
    line.until(&format!("select count(*) = 180 from andon.lanes where {told}")).await;
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_takes_too_long_is_read_as_far_as_time_allows_and_the_tenant_with_the_largest_rows_is_named() {
    let (mut line, receiver) = line_with_a_neighbour().await;
    line.start();
    the_neighbour_gets(&line, &receiver, 1).await;
    // Numbers that are small in binary, and that have 26 million digits in each row.
    line.run(
        "insert into andon.webhooks (tenant_id, url, secret_key, events, settings)
            select 'rival', 'http://127.0.0.1:9', 'k', '{*}', jsonb_build_object('timeout', digits)
            from (select jsonb_agg('1e131071'::numeric) from generate_series(1, 200)) it (digits), generate_series(1, 60)",
    )
    .await;

    a_change_is_felt(&line, &receiver).await;

    let check = run_andon(&line.url, &["check"]);
    the_neighbour_gets(&line, &receiver, 2).await;
    line.stop().await.unwrap();
    let said = "cannot read the destinations in andon.webhooks: canceling statement due to statement timeout; reading it takes too long: \
        the rows of tenant `rival` are the largest together, so shorten or delete some of them";
    assert!(check.status == 1 && check.out.contains(said), "{}", check.out);
}
