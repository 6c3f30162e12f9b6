//! Locks that anybody can take. In: a role that may do nothing but connect, and takes every lock of Andon's. Out: whether everything goes on,
//! and whether the role is named.

use std::time::Duration;

use andon::capture::Mapping;
use andon::capture::attach;
use andon::database::locks::Lock;
use rig::Postgres;
use rig::Receiver;
use serde_json::json;

use crate::command::run_andon;
use crate::support::daemon;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::plant::connect;

/// The partition of attempts that is made last.
const IN_TWO_DAYS: &str = "'andon.attempts_' || to_char((now() + interval '2 days') at time zone 'UTC', 'YYYYMMDD')";

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_all_locks_without_a_right_stops_nothing_and_is_named() {
    let (server, receiver) = (Postgres::start().unwrap(), Receiver::start().await.unwrap());
    let line = Line::on(&server).await;
    line.run("create role guest login").await;
    let mapping =
        "[source]\nname = 'line'\n[[channel]]\nchannel = 'machines'\ntype_path = 'event'\nentity_type = 'machine'";
    attach(&mut connect(&line.url).await, &Mapping::parse("line.toml", mapping).unwrap()).await.unwrap();
    let guest = connect(&line.url.replace("postgres@", "guest@")).await;
    guest
        .batch_execute("select pg_advisory_lock(1097753711, number) from generate_series(1, 20) number")
        .await
        .unwrap();

    guest
        .batch_execute("select pg_advisory_lock_shared(1097753711, number) from generate_series(1, 20) number")
        .await
        .unwrap();
    line.run(&format!(
        "do $$ begin execute 'drop table ' || {IN_TWO_DAYS}; end $$;
        select setval('andon.events_id_seq', max(past) + 10) from andon.log_partitions()"
    ))
    .await;
    line.run("select andon.extend_log(); select andon.keep_attempts('30 days')").await;
    let is_made = format!(
        "select to_regclass({IN_TWO_DAYS}) is not null
            and (select max(past) from andon.log_partitions()) > (select last_value from andon.events_id_seq)"
    );
    let is_made: bool = line.client.query_one(&is_made, &[]).await.unwrap().get(0);
    line.run("update andon.tail set position = (select min(past) from andon.log_partitions())").await;
    line.until("select andon.drop_empty_log() > 0").await;

    let daemon = daemon::start(&line.url).await;
    daemon.ready().await.unwrap();
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.emit_all(1, 5).await;
    receiver.wait_accepted(PATIENCE, 5).await.unwrap();
    let listening =
        "select exists (select from pg_stat_activity where query like 'listen \"machines\"%' and state = 'idle')";
    line.until(listening).await;
    line.run(r#"notify machines, '{"event": "machine.down"}'"#).await;
    line.until("select exists (select from andon.events where type = 'machine.down')").await;
    line.until(ALL_DONE).await;

    let check = run_andon(&line.url, &["check"]);
    let waited = Lock::Migrate.acquire(&line.client, Duration::from_millis(1)).await.unwrap();
    daemon.stop().await.unwrap();
    let log = daemon.log();
    assert!(is_made, "partitions are made whoever holds locks");
    assert!(check.status == 1 && check.out.contains("of role guest () holds a lock of Andon's"), "{check:?}");
    assert_eq!(check.out.matches("of role guest").count(), 1, "one line for one session: {}", check.out);
    assert_eq!(log.matches("of role guest").count(), 1, "{log}");
    assert!(waited.unwrap_err().contains("of role guest"));
    assert!(log.contains("ERROR somebody without the rights of a daemon holds a lock of Andon's"), "{log}");
}
