//! The server's queue of notifications, which a stranger can fill: whoever listens and stays in a transaction keeps everything that is sent.
//! In: such a stranger. Out: whether everything is delivered although nobody is notified, and whether it is told.

use rig::Postgres;
use rig::Receiver;
use serde_json::json;

use crate::command::run_andon;
use crate::support::daemon;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::listener;
use crate::support::plant::connect;

/// Fills two hundredths of the queue and a little more: each notification takes a page, and there are 2^20.
const FILL: &str =
    "do $$ begin for i in 1..21500 loop perform pg_notify('shift', i || repeat('x', 7900)); end loop; end $$";

#[tokio::test(flavor = "multi_thread")]
async fn while_a_stranger_fills_the_queue_of_notifications_nobody_is_notified_and_everything_arrives() {
    let (server, receiver) = (Postgres::start().unwrap(), Receiver::start().await.unwrap());
    let line = Line::on(&server).await;
    line.webhook(&receiver.url("/first"), json!({})).await;
    // Only who may see the transactions of others can name the one that holds the queue up.
    line.run("grant pg_monitor to andon_run").await;
    let daemon = daemon::start(&line.url).await;
    daemon.ready().await.unwrap();
    let stranger = connect(&line.url).await;
    stranger.batch_execute("listen shift").await.unwrap();
    stranger.batch_execute("begin; select 1").await.unwrap();

    line.run(FILL).await;
    line.emit_all(1, 5).await;
    receiver.wait_accepted(PATIENCE, 5).await.unwrap();
    // It gives the bell's lock back, so that no writer rings any more.
    line.until(
        "select not exists (select from pg_locks where locktype = 'advisory' and classid = 1097753711 and objid = 1
        and mode = 'ExclusiveLock')",
    )
    .await;
    let check = run_andon(&line.url, &["check"]);
    // A new destination is found although nobody says so.
    line.webhook(&receiver.url("/second"), json!({})).await;
    line.emit_more(1, 5, 10).await;
    receiver.wait_accepted(PATIENCE, 20).await.unwrap();
    line.until(ALL_DONE).await;

    // A stranger who takes the bell's lock cannot make the writers ring either.
    let (hearing, heard) = listener(&line.url).await;
    hearing.batch_execute("listen andon").await.unwrap();
    stranger.batch_execute("select pg_advisory_lock(1097753711, 1)").await.unwrap();
    line.run("select andon.ring(), andon.notify_destinations(), andon.notify_deliveries(); notify andon, 'mark'").await;
    heard.wait_for_count(PATIENCE, 1).await.unwrap();
    assert_eq!(heard.snapshot().iter().map(|payload| payload.to_string()).collect::<Vec<_>>(), ["mark"]);

    stranger.batch_execute("rollback; select pg_advisory_unlock_all()").await.unwrap();
    line.until(
        "select exists (select from pg_locks where locktype = 'advisory' and classid = 1097753711 and objid = 1
        and mode = 'ExclusiveLock' and granted)",
    )
    .await;
    daemon.stop().await.unwrap();
    let log = daemon.log();
    assert!(check.status == 1 && check.out.contains("the queue of notifications is full to 2 %"), "{check:?}");
    let told = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    for text in ["WARN the queue of notifications fills up", "has room again", "role postgres, in a transaction since"]
    {
        assert_eq!(told(text), 1, "{text}: {log}");
    }
}
