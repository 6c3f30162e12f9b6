//! PgBouncer between Andon and PostgreSQL, in each of its modes. In: a pooler that lends sessions for good, by transaction or by statement.
//! Out: whether Andon works through the first, and says why it cannot work through the others, before it has set anything on the plant's
//! sessions.

use rig::PgBouncer;
use rig::Postgres;
use rig::Receiver;
use serde_json::json;

use crate::command::run_andon;
use crate::support::daemon;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::plant::connect;

fn pooler(mode: &str, lines: &[&str]) -> PgBouncer {
    PgBouncer::start(Postgres::shared().port(), mode, lines).unwrap()
}

/// The settings that Andon makes, where they differ from PostgreSQL's defaults: a session of the plant must not have any of them.
const LEFT_BEHIND: &str = "select count(*) from pg_settings where source = 'session' and name in
    ('jit', 'row_security', 'search_path', 'enable_seqscan', 'idle_in_transaction_session_timeout')";

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_shares_its_sessions_is_refused_and_nothing_is_left_on_them() {
    let table: &[(&str, &str, &[&str])] = &[
        ("transaction", "from transaction to transaction", &[]),
        ("statement", "from statement to statement", &[]),
        // With a single session, one client waits while the other one is in a transaction.
        ("transaction", "from transaction to transaction", &["default_pool_size = 1"]),
        ("transaction", "from transaction to transaction", &["ignore_startup_parameters = options"]),
        ("transaction", "from transaction to transaction", &["server_round_robin = 1", "min_pool_size = 5"]),
    ];
    let line = Line::new().await;
    for (mode, unit, lines) in table {
        let pooler = pooler(mode, lines);
        let url = pooler.url(&line.url);

        // A pooler with a single session is recognised by an answer that it holds back.
        let check = run_andon(&url, &["check", "--timeout", "20s"]);
        let run = run_andon(&url, &["run"]);

        for (run, text) in [(&check, &check.out), (&run, &run.err)] {
            assert_eq!(run.status, 1, "{mode} {lines:?}: {run:?}");
            assert!(text.contains(unit) && text.contains("pool_mode = session"), "{mode} {lines:?}: {run:?}");
        }
        assert!(run.err.lines().count() <= 3, "{run:?}");
        let plant = connect(&url).await;
        let messages = plant.simple_query(LEFT_BEHIND).await.unwrap();
        let count = messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        assert_eq!(count.as_deref(), Some("0"), "{mode} {lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_pooler_in_session_mode_everything_works() {
    let (line, receiver) = (Line::new().await, Receiver::start().await.unwrap());
    let pooler = pooler("session", &[]);
    let url = pooler.url(&line.url);
    line.webhook(&receiver.url("/hook"), json!({})).await;

    let check = run_andon(&url, &["check"]);
    let daemon = daemon::start(&url).await;
    daemon.ready().await.unwrap();
    line.emit_all(5, 20).await;

    receiver.wait_accepted(PATIENCE, 100).await.unwrap();
    line.until(ALL_DONE).await;
    assert_eq!(daemon.stop().await.unwrap(), 0);
    assert!(!check.out.contains("FAULT   database"), "{check:?}");
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
}

#[tokio::test]
async fn options_that_a_pooler_refuses_are_named() {
    let line = Line::new().await;
    let pooler = pooler("session", &[]);
    let url = format!("{}?options=-c%20work_mem%3D8MB", pooler.url(&line.url));

    let refused = run_andon(&url, &["check"]);

    assert!(refused.out.contains("ignore_startup_parameters"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_not_taken_for_a_pooler() {
    let line = Line::new().await;
    let checks = (0..4).map(|_| {
        let url = line.url.clone();
        tokio::task::spawn_blocking(move || run_andon(&url, &["check"]))
    });
    for check in checks.collect::<Vec<_>>() {
        let check = check.await.unwrap();
        assert!(check.out.contains("ok      database"), "{check:?}");
    }
}
