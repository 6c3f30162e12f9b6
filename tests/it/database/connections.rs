//! How many connections a daemon holds. In: a run with everything in it, and a database that refuses what a daemon needs. Out: whether it ever
//! holds more than the README says, and whether the reason is told once.

use std::collections::HashSet;
use std::time::Duration;

use andon::capture::Mapping;
use andon::capture::attach;
use andon::gateway::MOST_CONNECTIONS;
use rig::Daemon;
use rig::Postgres;
use rig::Receiver;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::daemon;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::plant::connect;

/// Counts the connections of a daemon to PostgreSQL again and again, and returns the most that it has seen. PostgreSQL itself also shows those
/// that the daemon has closed already, for as long as their processes take to end.
fn most_connections(daemon: &Daemon, port: u16) -> (JoinHandle<()>, watch::Receiver<usize>) {
    let (most, seen) = watch::channel(0);
    let pid = daemon.running().unwrap();
    let counting = tokio::spawn(async move {
        let mut clock = tokio::time::interval(Duration::from_millis(1));
        while let Some(count) = open_connections(pid, port) {
            most.send_if_modified(|most| {
                let is_more = count > *most;
                *most = count.max(*most);
                is_more
            });
            clock.tick().await;
        }
    });
    (counting, seen)
}

/// Returns how many connections to this port a process has. The kernel's list is read before the process's own, so that none that was closed
/// in between counts.
fn open_connections(pid: i32, port: u16) -> Option<usize> {
    let all = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let remote = format!(":{port:04X}");
    let to_port = all.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let to_port = to_port.filter(|fields| fields.get(2).is_some_and(|address| address.ends_with(&remote)));
    let inodes: HashSet<String> =
        to_port.filter_map(|fields| fields.get(9).map(|inode| format!("socket:[{inode}]"))).collect();
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    Some(targets.filter(|target| target.to_str().is_some_and(|name| inodes.contains(name))).count())
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

    let daemon = daemon::start(&url).await;
    let (counting, most) = most_connections(&daemon, server.port());
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
    assert!((5..=usize::try_from(MOST_CONNECTIONS).unwrap()).contains(&most), "{most} connections\n{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_may_not_be_read_takes_no_connection_more_and_is_told_once() {
    let (server, receiver) = (Postgres::start().unwrap(), Receiver::start().await.unwrap());
    let (line, url) = line(&server).await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.emit_all(1, 10).await;
    line.run("revoke select on andon.events, andon.events_default from runner").await;

    let daemon = daemon::start(&url).await;
    let (counting, most) = most_connections(&daemon, server.port());
    // By then it has tried several times.
    line.until("select sessions > 30 from pg_stat_database where datname = current_database()").await;
    let most = *most.borrow();
    counting.abort();
    line.run(GRANTS).await;
    receiver.wait_accepted(PATIENCE, 10).await.unwrap();
    line.until(ALL_DONE).await;

    daemon.stop().await.unwrap();
    let log = daemon.log();
    // One for the lease, two to read the log, and two to judge the server by.
    assert!((1..=5).contains(&most), "{most} connections\n{log}");
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
