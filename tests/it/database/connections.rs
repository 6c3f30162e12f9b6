//! How many connections a daemon holds. In: a run with everything in it, and a database that refuses what a daemon needs. Out: whether
//! PostgreSQL ever sees more connections than the README says, and whether the reason is told once.

use andon::capture::Mapping;
use andon::capture::attach;
use andon::gateway::MOST_CONNECTIONS;
use rig::Postgres;
use rig::Receiver;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::daemon;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::plant::connect;

/// Counts the connections of role `runner` again and again, and returns the most that it has seen.
fn most_connections(url: &str) -> (JoinHandle<()>, tokio::sync::watch::Receiver<i64>) {
    let (most, seen) = tokio::sync::watch::channel(0);
    let url = url.to_owned();
    let counting = tokio::spawn(async move {
        let client = connect(&url).await;
        loop {
            let sql = "select count(*) from pg_stat_activity where usename = 'runner'";
            let Ok(row) = client.query_one(sql, &[]).await else { return };
            most.send_if_modified(|most| {
                let count: i64 = row.get(0);
                let is_more = count > *most;
                *most = count.max(*most);
                is_more
            });
        }
    });
    (counting, seen)
}

const GRANTS: &str = "
    grant usage on schema andon to runner;
    grant select, insert, update, delete on all tables in schema andon to runner;
    grant usage on all sequences in schema andon to runner;
    grant execute on all functions in schema andon to runner;";

async fn line(server: &Postgres) -> (Line, String) {
    let line = Line::on(server).await;
    line.run(&format!("create role runner login; {GRANTS}")).await;
    let url = line.url.replace("postgres@", "runner@");
    (line, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_never_holds_more_connections_than_the_readme_says() {
    assert!(include_str!("../../../README.md").contains(&format!("at most {MOST_CONNECTIONS} connections")));
    let (server, receiver) = (Postgres::start().unwrap(), Receiver::start().await.unwrap());
    let (line, url) = line(&server).await;
    let mapping =
        "[source]\nname = 'line'\n[[channel]]\nchannel = 'machines'\ntype_path = 'event'\nentity_type = 'machine'";
    attach(&mut connect(&line.url).await, &Mapping::parse("line.toml", mapping).unwrap()).await.unwrap();
    for number in 0..15 {
        line.webhook(&receiver.url(&format!("/{number}")), json!({})).await;
        // These fail, so that their deliveries are parked.
        line.webhook(&format!("http://127.0.0.1:1/{number}"), json!({})).await;
    }
    line.emit_all(10, 4).await;
    let (counting, most) = most_connections(&line.url);

    let daemon = daemon::start(&url).await;
    for round in 1..=3 {
        receiver.wait_accepted(PATIENCE, round * 15 * 40).await.unwrap();
        // Everything connects again at once.
        line.run("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'runner'").await;
        let counter = 4 * round as u64;
        line.emit_more(10, counter, counter + 4).await;
    }
    receiver.wait_accepted(PATIENCE, 4 * 15 * 40).await.unwrap();

    counting.abort();
    daemon.stop().await.unwrap();
    let most = *most.borrow();
    assert!((5..=MOST_CONNECTIONS.into()).contains(&most), "{most} connections\n{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_may_not_be_read_takes_no_connection_more_and_is_told_once() {
    let (server, receiver) = (Postgres::start().unwrap(), Receiver::start().await.unwrap());
    let (line, url) = line(&server).await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.emit_all(1, 10).await;
    line.run("revoke select on andon.events, andon.events_default from runner").await;
    let (counting, most) = most_connections(&line.url);

    let daemon = daemon::start(&url).await;
    // By then it has tried several times.
    line.until("select sessions > 30 from pg_stat_database where datname = current_database()").await;
    let most = *most.borrow();
    counting.abort();
    line.run(GRANTS).await;
    receiver.wait_accepted(PATIENCE, 10).await.unwrap();
    line.until(ALL_DONE).await;

    daemon.stop().await.unwrap();
    let log = daemon.log();
    // One for the lease, two to read the log, two to judge the server by, and some that are just being closed.
    assert!(most <= 8, "{most} connections\n{log}");
    let told = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!((told("permission denied for table events"), told("the database is back")), (1, 1), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_cannot_be_renewed_is_told_once_with_its_cause() {
    let (server, receiver) = (Postgres::start().unwrap(), Receiver::start().await.unwrap());
    let (line, url) = line(&server).await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.emit_all(1, 10).await;
    line.run("revoke insert on andon.daemons from runner").await;

    let daemon = daemon::start(&url).await;
    line.until("select sessions > 20 from pg_stat_database where datname = current_database()").await;
    line.run(GRANTS).await;
    receiver.wait_accepted(PATIENCE, 10).await.unwrap();

    daemon.stop().await.unwrap();
    let log = daemon.log();
    let told = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!((told("permission denied for table daemons"), told("this daemon holds a lease")), (1, 1), "{log}");
}
