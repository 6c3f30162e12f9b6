//! Tables of destinations that cannot be read. In: tables that are renamed, dropped, not granted, locked, or hidden by row-level security.
//! Out: whether their lanes stay as they are, whether those of other tables go on, and whether somebody is told.

use rig::Postgres;
use serde_json::json;

use super::NEIGHBOUR;
use super::the_neighbour_gets;
use crate::command::run_andon;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::SECRET;
use crate::support::line::marker;
use crate::support::plant::connect;

/// A trouble with a table, how it ends, and what the lane's state says of it.
const TROUBLES: [(&str, &str, &str); 5] = [
    (
        "alter table plant.webhooks rename to hooks",
        "alter table plant.hooks rename to webhooks",
        "it is gone or has another name now; rename it back, or attach the source again",
    ),
    (
        "create table plant.saved as select * from plant.webhooks; drop table plant.webhooks",
        "create table plant.webhooks (like andon.webhooks including all); insert into plant.webhooks select * from plant.saved;
        grant select on plant.webhooks to andon_run; drop table plant.saved",
        "it is gone or has another name now; rename it back, or attach the source again",
    ),
    (
        "revoke select on plant.webhooks from andon_run",
        "grant select on plant.webhooks to andon_run",
        "permission denied for table webhooks; grant `select` on it (and `usage` on its schema) to the role of `andon run`",
    ),
    (
        "alter table plant.webhooks enable row level security",
        "alter table plant.webhooks disable row level security",
        "query would be affected by row-level security policy for table \"webhooks\"; a policy may hide rows, so give the role `bypassrls`, \
        or switch row-level security off for this table",
    ),
    (
        "alter table plant.webhooks rename to hooks;
        create view plant.webhooks as select *, 1 / (length(url) * 0) as broken from plant.hooks; grant select on plant.webhooks to andon_run",
        "drop view plant.webhooks; alter table plant.hooks rename to webhooks",
        "division by zero",
    ),
];

/// Creates a line on a server of its own, with a table of destinations that belongs to a source and has one webhook.
async fn line_with_a_table(server: &Postgres, receiver: &rig::Receiver) -> (Line, String) {
    let line = Line::on(server).await;
    line.run(
        "create schema plant; create table plant.webhooks (like andon.webhooks including all);
        grant usage on schema plant to andon_run; grant select on plant.webhooks to andon_run;
        insert into andon.sources (name, profile, mapping, webhooks) values ('plant', 'andon', '', 'plant.webhooks')",
    )
    .await;
    line.webhook(&receiver.url(NEIGHBOUR), json!({})).await;
    let sql = "insert into plant.webhooks (tenant_id, url, secret_key, events, settings)
        values ('acme', $1, $2, '{*}', '{\"start_at\": \"2000-01-01T00:00:00Z\"}')";
    line.client.execute(sql, &[&receiver.url("/plant"), &SECRET]).await.unwrap();
    let role = line.url.replace("postgres://postgres@", "postgres://andon_run@");
    (line, role)
}

impl Line {
    /// Emits an event, and waits until the webhook of the source's table has it.
    async fn the_table_gets(&self, receiver: &rig::Receiver, counter: u64) {
        self.emit("acme", "e", counter).await;
        the_table_got(receiver, counter).await;
    }
}

async fn the_table_got(receiver: &rig::Receiver, counter: u64) {
    let is_it = |path: &str, body: &[u8]| path == "/plant" && marker(body) == ("e".to_owned(), counter);
    receiver.acceptances().wait_for(PATIENCE, |it| is_it(&it.path, &it.body)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_read_keeps_its_lanes_as_they_were_and_those_of_other_tables_go_on() {
    let server = tokio::task::spawn_blocking(|| Postgres::start().unwrap()).await.unwrap();
    let receiver = rig::Receiver::start().await.unwrap();
    let (mut line, role) = line_with_a_table(&server, &receiver).await;
    line.start_at(&role);
    line.until("select count(*) = 2 from andon.lanes").await;
    let mut counter = 0;
    for (trouble, mend, reason) in TROUBLES {
        line.run(&format!("{trouble}; select andon.notify_destinations()")).await;

        // What runs goes on, and `check` says what is wrong.
        counter += 1;
        line.the_table_gets(&receiver, counter).await;
        the_neighbour_gets(&line, &receiver, counter + 1000).await;
        let check = run_andon(&role, &["check"]);
        assert!(check.status == 1, "{trouble}: {check:?}");
        assert!(
            check.out.contains(&format!("cannot read the destinations in plant.webhooks: {reason}")),
            "{}",
            check.out
        );
        assert!(!check.out.contains("removed"), "{}", check.out);

        // After a restart, the others go on, and the lane says why it does not.
        line.stop().await.unwrap();
        line.start_at(&role);
        counter += 1;
        the_neighbour_gets(&line, &receiver, counter).await;
        let lane: String =
            line.client.query_one("select lane from andon.lanes where lane like 'plant.%'", &[]).await.unwrap().get(0);
        let said = line.state(&lane, "misconfigured").await;
        assert_eq!(said, format!("cannot read the destinations in plant.webhooks: {reason}"));

        // Once it can be read again, nothing was lost.
        line.run(&format!("{mend}; select andon.notify_destinations()")).await;
        the_table_got(&receiver, counter).await;
        line.state(&lane, "running").await;
    }
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();
    let got: Vec<u64> =
        receiver.accepted().iter().filter(|it| it.path == "/plant").map(|it| marker(&it.body).1).collect();
    let own: Vec<u64> = got.iter().copied().filter(|counter| *counter < 1000).collect();
    assert_eq!(own, (1..=counter).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_has_locked_holds_up_no_other() {
    let server = tokio::task::spawn_blocking(|| Postgres::start().unwrap()).await.unwrap();
    let receiver = rig::Receiver::start().await.unwrap();
    let (mut line, role) = line_with_a_table(&server, &receiver).await;
    line.start_at(&role);
    line.the_table_gets(&receiver, 1).await;
    line.stop().await.unwrap();
    let locker = connect(&line.url).await;
    locker.batch_execute("begin; lock table plant.webhooks in access exclusive mode").await.unwrap();

    line.start_at(&role);
    the_neighbour_gets(&line, &receiver, 2).await;
    let check = run_andon(&role, &["check"]);
    // A change of the other table is felt all the same.
    line.webhook(&receiver.url("/new"), json!({})).await;
    receiver.acceptances().wait_for_matching(PATIENCE, 2, |it| it.path == "/new").await.unwrap();
    let lane: String =
        line.client.query_one("select lane from andon.lanes where lane like 'plant.%'", &[]).await.unwrap().get(0);
    let said = line.state(&lane, "misconfigured").await;
    locker.batch_execute("commit").await.unwrap();

    the_table_got(&receiver, 2).await;
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();
    assert!(said.ends_with("another session has locked it, and Andon goes on looking"), "{said}");
    assert!(check.status == 1 && check.out.contains("has locked it"), "{check:?}");
}
