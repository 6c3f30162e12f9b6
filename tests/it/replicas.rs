//! Several daemons on one database share the lanes by leases, and each of them may be killed, paused or restarted at any time.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use rig::Receiver;
use rig::oracle::Verdict;
use rig::receiver::Answer;
use rig::receiver::Received;
use serde_json::json;

use crate::support::daemon;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::SECRET;
use crate::support::line::judge_requests;
use crate::support::line::listener;

const HOOKS: u64 = 4;

/// Creates four webhooks, each on a path of its own.
async fn four_hooks() -> (Line, Receiver) {
    let receiver = Receiver::start().await.unwrap();
    let line = Line::new().await;
    for hook in 0..HOOKS {
        line.webhook(&receiver.url(&format!("/{hook}")), json!({"concurrency": 2})).await;
    }
    (line, receiver)
}

/// Waits until the daemons serve these numbers of lanes, in ascending order.
async fn shares(line: &Line, shares: &[i64]) {
    line.until(&format!(
        "select coalesce(array_agg(lanes order by lanes), '{{}}') = array{shares:?}::int8[] from (
            select count(*) lanes from andon.lanes l join andon.daemons d using (daemon)
            where andon.lives(lease_until) group by daemon
        ) shares"
    ))
    .await;
}

async fn all_arrive(line: &Line, receiver: &Receiver, expected: &BTreeMap<String, u64>) {
    let every = (expected.values().sum::<u64>() * HOOKS) as usize;
    let mut seen = HashSet::new();
    let is_first = |it: &Received| seen.insert((it.path.clone(), it.body.clone()));
    receiver.acceptances().wait_for_matching(PATIENCE, every, is_first).await.unwrap();
    line.until(ALL_DONE).await;
}

fn verdicts(receiver: &Receiver, expected: &BTreeMap<String, u64>) -> Vec<Verdict> {
    let accepted = receiver.accepted();
    let of = |hook| {
        let path = format!("/{hook}");
        let requests: Vec<_> = accepted.iter().filter(|it| it.path == path).cloned().collect();
        judge_requests(expected, &requests)
    };
    (0..HOOKS).map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn daemons_share_the_lanes_and_hand_them_over_without_a_repeat() {
    let (line, receiver) = four_hooks().await;
    let first = daemon::start(&line.url).await;
    shares(&line, &[4]).await;
    line.emit_all(10, 10).await;

    let second = daemon::start(&line.url).await;
    shares(&line, &[2, 2]).await;
    line.emit_more(10, 10, 20).await;
    let _third = daemon::start(&line.url).await;
    shares(&line, &[1, 1, 2]).await;
    line.emit_more(10, 20, 30).await;
    assert_eq!(first.stop().await.unwrap(), 0);
    line.emit_more(10, 30, 40).await;
    shares(&line, &[2, 2]).await;
    assert_eq!(second.stop().await.unwrap(), 0);
    let expected = line.emit_more(10, 40, 50).await;

    shares(&line, &[4]).await;
    all_arrive(&line, &receiver, &expected).await;
    for verdict in verdicts(&receiver, &expected) {
        assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lanes_and_the_bell_of_a_killed_daemon_go_to_another() {
    let (line, receiver) = four_hooks().await;
    let first = daemon::start(&line.url).await;
    shares(&line, &[4]).await;
    let _second = daemon::start(&line.url).await;
    shares(&line, &[2, 2]).await;
    line.emit_all(10, 10).await;

    first.kill().await.unwrap();
    let longest: f64 = line
        .client
        .query_one("select extract(epoch from max(lease_until) - clock_timestamp())::float8 from andon.daemons", &[])
        .await
        .unwrap()
        .get(0);
    let expected = line.emit_more(10, 10, 20).await;

    assert!(longest <= 3.0, "a lease that holds for {longest} s more keeps its lanes for longer than five seconds");
    all_arrive(&line, &receiver, &expected).await;
    shares(&line, &[4]).await;
    for verdict in verdicts(&receiver, &expected) {
        assert!(verdict.is_clean(), "{verdict:?}");
    }
}

/// This is less than the time after which a daemon looks at the destinations although nothing has happened.
const AGREED: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn daemons_that_start_at_the_same_moment_leave_no_lane_to_each_other() {
    let (line, receiver) = four_hooks().await;
    for hook in HOOKS..8 {
        line.webhook(&receiver.url(&format!("/{hook}")), json!({})).await;
    }

    for round in 1..=6 {
        let (first, second, third) =
            tokio::join!(daemon::start(&line.url), daemon::start(&line.url), daemon::start(&line.url));

        let agreed = tokio::time::timeout(AGREED, shares(&line, &[2, 3, 3])).await;

        assert!(agreed.is_ok(), "round {round}: a lane is served by nobody, or one daemon has too many");
        tokio::try_join!(first.stop(), second.stop(), third.stop()).unwrap();
    }
}

/// Finds, in `pg_locks`, the lock of the daemon that rings for the others.
const TAIL: &str = "locktype = 'advisory' and classid = 1097753711 and objid = 2 and granted
    and database = (select oid from pg_database where datname = current_database())";

/// Records each write to a row of `andon.lanes`, with the session and the epoch.
const WITNESS: &str = "
    create table public.writes (at timestamptz default clock_timestamp(), session text, lane text, epoch bigint);
    create function public.witness() returns trigger language plpgsql security definer as $$
    begin
        insert into public.writes (session, lane, epoch) values (current_setting('application_name'), new.lane, new.epoch);
        return null;
    end $$;
    create trigger witness after update on andon.lanes for each row execute function public.witness()";

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_slept_beyond_its_lease_writes_nothing_of_what_it_lost() {
    let (line, receiver) = four_hooks().await;
    line.run(WITNESS).await;
    let sleeper = daemon::start(&line.url).await;
    shares(&line, &[4]).await;
    let mark: String =
        line.client.query_one("select left(daemon::text, 8) from andon.daemons", &[]).await.unwrap().get(0);
    // The daemon is paused in the middle of its work, so the answers that it waits for arrive while it sleeps.
    for hook in 0..HOOKS {
        receiver.answer_next(&format!("/{hook}"), 2, &Answer::status(500).after(Duration::from_secs(1)));
    }
    line.emit_all(10, 10).await;
    receiver.wait_received(PATIENCE, 4).await.unwrap();

    sleeper.pause().unwrap();
    let _other = daemon::start(&line.url).await;
    shares(&line, &[4]).await;
    let expected = line.emit_more(10, 10, 20).await;
    all_arrive(&line, &receiver, &expected).await;
    let taken: Vec<(String, i64)> = line
        .client
        .query("select lane, epoch from andon.lanes", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    // The other daemon must take over the lock: while the sleeper held it, silent writers would go unnoticed.
    line.until(&format!("select exists (select from pg_locks join pg_stat_activity using (pid) where {TAIL} and application_name not like '% {mark}')"))
        .await;
    sleeper.resume().unwrap();

    // The sleeper joins again, and gets its share of the lanes under new epochs.
    shares(&line, &[2, 2]).await;
    for (lane, epoch) in taken {
        let sql = "select count(*) from public.writes where lane = $1 and session like '% ' || $2 and epoch = $3";
        let written: i64 = line.client.query_one(sql, &[&lane, &mark, &epoch]).await.unwrap().get(0);
        assert_eq!(written, 0, "{lane} was written by one who had lost it");
    }
    let expected = line.emit_more(10, 20, 30).await;
    all_arrive(&line, &receiver, &expected).await;
    for verdict in verdicts(&receiver, &expected) {
        assert!(verdict.is_clean(), "{verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_and_repeats_nothing() {
    let (line, receiver) = four_hooks().await;
    let mut daemons = Vec::new();
    for _ in 0..3 {
        daemons.push(daemon::start(&line.url).await);
    }
    shares(&line, &[1, 1, 2]).await;
    line.emit_all(10, 10).await;

    for round in 1..=3 {
        let old = daemons.remove(0);
        daemons.push(daemon::start(&line.url).await);
        line.until("select count(*) = 4 from andon.daemons").await;
        assert_eq!(old.stop().await.unwrap(), 0);
        // The daemon has given up its lease, so the others need not wait for its end.
        line.until("select count(*) = 3 from andon.daemons where andon.lives(lease_until)").await;
        line.emit_more(10, round * 10, round * 10 + 10).await;
        shares(&line, &[1, 1, 2]).await;
    }

    let expected = (1..=10).map(|entity| (format!("e{entity}"), 40)).collect();
    all_arrive(&line, &receiver, &expected).await;
    for verdict in verdicts(&receiver, &expected) {
        assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_daemon_finds_it_rings_for() {
    let (line, receiver) = four_hooks().await;
    // While another session holds this lock, the tail does not sleep, and so writers stay silent.
    line.run("select pg_advisory_lock_shared(1097753711, 1)").await;
    let _daemons = [daemon::start(&line.url).await, daemon::start(&line.url).await];
    shares(&line, &[2, 2]).await;
    let (listener, received) = listener(&line.url).await;
    listener.batch_execute("listen andon").await.unwrap();

    // The daemon rings as soon as it knows of the other one, which it learns when it renews its lease; until then the other polls.
    let mut counter = 0;
    while counter == 0 || received.wait_for(Duration::from_secs(1), String::is_empty).await.is_err() {
        counter += 1;
        assert!(counter < 30, "nobody rings for what the other daemon does not know");
        line.emit("acme", "e1", counter).await;
    }

    all_arrive(&line, &receiver, &BTreeMap::from([("e1".to_owned(), counter)])).await;
}

/// Builds a library that sets the wall clock of a process forward by an hour.
fn clock_that_is_off() -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (source, library) = (directory.join("off.c"), directory.join("off.so"));
    let code = "#define _GNU_SOURCE
        #include <dlfcn.h>
        #include <time.h>
        int clock_gettime(clockid_t clock, struct timespec *at) {
            static int (*real)(clockid_t, struct timespec *);
            if (!real) real = dlsym(RTLD_NEXT, \"clock_gettime\");
            int result = real(clock, at);
            if (clock == CLOCK_REALTIME) at->tv_sec += 3600;
            return result;
        }";
    std::fs::write(&source, code).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl").status();
    assert!(compiled.expect("the test needs a C compiler, package gcc").success());
    library
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_clock_is_off_by_an_hour_is_as_good_as_any() {
    let off = clock_that_is_off();
    let receiver = Receiver::start().await.unwrap();
    let line = Line::new().await;
    for hook in 0..HOOKS {
        let path = format!("/{hook}");
        receiver.answer_next(&path, 1, &Answer::status(500));
        // The receiver refuses a request that was not signed within five minutes of its own time.
        receiver.expect_signature(&path, SECRET);
        line.webhook(&receiver.url(&path), json!({"retry": ["1s"]})).await;
    }
    let _right = daemon::start(&line.url).await;
    let wrong = daemon::start_with(&line.url, vec![("LD_PRELOAD".into(), off.into())]).await;
    shares(&line, &[2, 2]).await;

    let expected = line.emit_all(1, 1).await;
    line.until("select count(*) = 4 from andon.attempts").await;
    line.until("select count(*) = 4 from andon.deliveries where next_attempt_at between now() - '1 min'::interval and now() + '1 min'")
        .await;
    all_arrive(&line, &receiver, &expected).await;
    line.until("select count(*) = 2 from andon.daemons where andon.lives(lease_until)").await;
    shares(&line, &[2, 2]).await;

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for request in receiver.received() {
        let signed: u64 = request.headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
        assert!(now.abs_diff(signed) < 300, "signed at {signed}, now it is {now}");
    }
    assert_eq!(wrong.stop().await.unwrap(), 0);
    shares(&line, &[4]).await;
}
