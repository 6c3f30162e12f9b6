//! Chaos: the line under faults. In: how long, how many daemons, a seed. Out: a line for each fault as it happens, one line of JSON at the
//! end, and an exit status that says whether anything was lost, out of order, never committed, or repeated without a reason. It runs the
//! gateway as child processes only, on throw-away servers, and takes no figure from it.

mod allowance;
mod claimed;
mod destination_rows;
mod destinations;
mod fault;
mod hostile;
mod inject;
mod judge;
mod report;
mod schedule;
mod served;
mod line;
mod load_probe;
mod mistake;
mod narrator;
mod committed;
mod received;
mod writers;

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use anyhow::ensure;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use rig::Daemon;
use tokio_util::sync::CancellationToken;

use crate::andon::Andon;
use crate::chaos::allowance::Happened;
use crate::chaos::committed::Committed;
use crate::chaos::destinations::DESTINATIONS;
use crate::chaos::destinations::Role;
use crate::chaos::fault::Fault;
use crate::chaos::judge::Evidence;
use crate::chaos::line::Line;
use crate::chaos::narrator::Narrator;
use crate::chaos::received::Received;
use crate::chaos::schedule::Scenario;
use crate::duration;
use crate::stage::connect;

/// How long to wait at the end for the next of the events that are still on their way.
const ARRIVAL: Duration = Duration::from_secs(120);

/// Options of `andon-lab chaos`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ChaosOptions {
    /// How long there are writers and faults, such as `60s` or `10m`
    #[arg(long = "for", default_value = "60s", value_name = "DURATION", value_parser = duration::parse)]
    duration: Duration,

    /// How many daemons share the database
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    replicas: u8,

    /// Chooses the faults; a random one if not given
    #[arg(long)]
    seed: Option<u64>,

    /// Kill brokers as well, which may lose what they acknowledged: acknowledgements are judged instead of what subscribers get
    #[arg(long)]
    kill_brokers: bool,

    /// Print one line of JSON at the end, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

/// Runs chaos to its end.
pub(crate) async fn run(options: ChaosOptions, andon: &Andon) -> Result<ExitCode> {
    let seed = options.seed.unwrap_or_else(|| rand::random::<u32>().into());
    let narrator = Narrator::new(options.json);
    narrator.seed(seed);
    let replicas = usize::from(options.replicas);
    let scenario =
        Scenario { seed, duration: options.duration, daemons: replicas, kills_brokers: options.kill_brokers };
    let line = Line::prepare(andon, replicas, options.kill_brokers).await?;
    let (start, started) = (Instant::now(), Timestamp::now());
    let received = Received::new(start);
    let happened = Mutex::new(Vec::new());
    let Outcome { committed, undone } = tokio::select! {
        played = play(scenario, &line, &received, start, narrator, &happened) => played?,
        () = load_probe::watch(&line.database, start, &happened) => unreachable!("the probe never ends"),
        () = received.watch(line.witness()) => unreachable!("a witness never ends"),
        failed = supervise(&line, start, narrator) => return failed.map(|()| ExitCode::FAILURE),
    };
    let mut happened = happened.into_inner().unwrap_or_else(PoisonError::into_inner);
    happened.sort_by(|one: &Happened, other| one.from.total_cmp(&other.from));
    let evidence = Evidence {
        seed,
        replicas,
        committed: &committed,
        received: &received.all(&undone),
        happened: &happened,
        started: started.as_millisecond() as f64 / 1e3,
    };
    let judgement = judge::judge(&evidence);
    let is_clean = report::print(&judgement, options.json)?;
    if !is_clean {
        report::explain(&judgement, scenario, &happened, &line).await;
    }
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How a run ended.
struct Outcome {
    committed: Committed,
    /// The nonces of events whose commit the database undid.
    undone: HashSet<String>,
}

/// Writes and breaks, mends everything, and waits for the last events.
async fn play(
    scenario: Scenario,
    line: &Line,
    received: &Received,
    start: Instant,
    narrator: Narrator,
    happened: &Mutex<Vec<Happened>>,
) -> Result<Outcome> {
    try_join_all(line.daemons.iter().map(Daemon::start)).await?;
    let over = CancellationToken::new();
    let (_, broken) =
        tokio::join!(Box::pin(writers::write(&line.database, scenario.seed, &line.claimed, &over)), async {
            let broken = Box::pin(break_all(scenario, line, start, narrator, happened)).await;
            tokio::time::sleep(scenario.duration.saturating_sub(start.elapsed())).await;
            over.cancel();
            broken
        });
    broken?;
    line.heal().await?;
    narrator.say(start, "everything is mended; waiting for what is still on its way");
    ensure!(line.hostile.contacts() > 0, "nothing was sent to the hostile destinations: their faults mean nothing");
    let committed = Committed::read(&connect(&line.database).await?).await?;
    let may_undo = happened.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|it| it.fault.undoes_commits());
    let undone = if may_undo { line.claimed.undone(&committed) } else { HashSet::new() };
    all_arrived(&committed, &undone, received).await;
    Ok(Outcome { committed, undone })
}

async fn break_all(
    scenario: Scenario,
    line: &Line,
    start: Instant,
    narrator: Narrator,
    happened: &Mutex<Vec<Happened>>,
) -> Result<()> {
    let faults = schedule::schedule(scenario);
    let all = faults.iter().map(async |(at, fault): &(Duration, Fault)| {
        tokio::time::sleep(at.saturating_sub(start.elapsed())).await;
        narrator.say(start, &fault.to_string());
        let served = served::by(fault.daemon(), &line.database).await;
        let from = start.elapsed().as_secs_f64();
        inject::inject(fault, line).await?;
        let until = start.elapsed().as_secs_f64();
        let it = Happened { fault: fault.clone(), from, until, served };
        happened.lock().unwrap_or_else(PoisonError::into_inner).push(it);
        anyhow::Ok(())
    });
    try_join_all(all).await.map(drop)
}

/// Keeps the daemons running, for as long as it is polled.
async fn supervise(line: &Line, start: Instant, narrator: Narrator) -> Result<()> {
    let daemons = 0..line.daemons.len();
    try_join_all(daemons.map(|daemon| line.supervise(daemon, start, narrator))).await.map(drop)
}

/// Returns when every expected event has arrived, or when no new one has for too long. Whatever has not arrived by then is missing.
async fn all_arrived(committed: &Committed, undone: &HashSet<String>, received: &Received) {
    let expected: Vec<(&str, u64)> = DESTINATIONS
        .iter()
        .filter(|destination| destination.role != Role::Volatile)
        .map(|destination| (destination.label, committed.expected(destination).values().sum()))
        .collect();
    let (mut before, mut deadline) = (0, Instant::now() + ARRIVAL);
    while expected.iter().any(|(label, count)| received.distinct(label, undone) < *count) {
        let arrived = expected.iter().map(|(label, _)| received.distinct(label, undone)).sum();
        if arrived > before {
            (before, deadline) = (arrived, Instant::now() + ARRIVAL);
        }
        if Instant::now() >= deadline {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
