//! Chaos: the line under faults. In: how long, how many daemons, a seed. Out: a line for each fault as it happens, one line of JSON at the
//! end, and an exit status that says whether anything was lost, out of order, never committed, or repeated beyond what was in flight. It
//! uses the gateway as child processes only, on throw-away servers, and takes no figure from it.

mod allowance;
mod cast;
mod daemon;
mod fault;
mod inject;
mod judge;
mod report;
mod rows;
mod schedule;
mod served;
mod stage;
mod strain;
mod truth;
mod witness;
mod writers;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use futures_util::future::join_all;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::andon::Andon;
use crate::chaos::allowance::Happened;
use crate::chaos::cast::DESTINATIONS;
use crate::chaos::cast::Role;
use crate::chaos::fault::Fault;
use crate::chaos::judge::Evidence;
use crate::chaos::report::Narrator;
use crate::chaos::schedule::Plan;
use crate::chaos::stage::Stage;
use crate::chaos::truth::Truth;
use crate::chaos::witness::Witness;
use crate::duration;

/// How long to wait at the end for the next of what is still on its way.
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

/// Runs it to its end.
pub(crate) async fn run(options: ChaosOptions, andon: &Andon) -> Result<ExitCode> {
    let seed = options.seed.unwrap_or_else(|| rand::random::<u32>().into());
    let narrator = Narrator::new(options.json);
    narrator.seed(seed);
    let replicas = usize::from(options.replicas);
    let plan = Plan { seed, duration: options.duration, daemons: replicas, kills_brokers: options.kill_brokers };
    let stage = Stage::set(andon, replicas, options.kill_brokers).await?;
    let (start, started) = (Instant::now(), Timestamp::now());
    let witness = Witness::new(start);
    let happened = Mutex::new(Vec::new());
    let truth = tokio::select! {
        played = play(plan, &stage, &witness, start, narrator, &happened) => played?,
        () = strain::watch(&stage.database, start, &happened) => unreachable!("strain is watched for ever"),
        () = witness.watch(&stage) => unreachable!("a witness watches for ever"),
        () = supervise(&stage, start, narrator) => unreachable!("supervisors never stop"),
    };
    let mut happened = happened.into_inner().unwrap_or_else(PoisonError::into_inner);
    happened.sort_by(|one: &Happened, other| one.from.total_cmp(&other.from));
    let evidence = Evidence {
        seed,
        replicas,
        truth: &truth,
        seen: &witness.all(),
        happened: &happened,
        started: started.as_millisecond() as f64 / 1e3,
    };
    let judgement = judge::judge(&evidence);
    let is_clean = report::print(&judgement, options.json)?;
    if !is_clean {
        report::explain(&judgement, plan, &happened, &stage).await;
    }
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes and breaks, mends, and waits for what is to come. Returns what was committed.
async fn play(
    plan: Plan,
    stage: &Stage,
    witness: &Witness,
    start: Instant,
    narrator: Narrator,
    happened: &Mutex<Vec<Happened>>,
) -> Result<Truth> {
    try_join_all(stage.daemons.iter().map(daemon::Daemon::start)).await?;
    let over = CancellationToken::new();
    let (_, broken) = tokio::join!(Box::pin(writers::write(&stage.database, plan.seed, &over)), async {
        let broken = Box::pin(break_all(plan, stage, start, narrator, happened)).await;
        tokio::time::sleep(plan.duration.saturating_sub(start.elapsed())).await;
        over.cancel();
        broken
    });
    broken?;
    stage.heal().await?;
    narrator.say(start, "everything is mended; waiting for what is still on its way");
    let truth = Truth::read(&truth::connect(&stage.database).await?).await?;
    all_arrived(&truth, witness).await;
    Ok(truth)
}

async fn break_all(
    plan: Plan,
    stage: &Stage,
    start: Instant,
    narrator: Narrator,
    happened: &Mutex<Vec<Happened>>,
) -> Result<()> {
    let faults = schedule::schedule(plan);
    let all = faults.iter().map(async |(at, fault): &(Duration, Fault)| {
        tokio::time::sleep(at.saturating_sub(start.elapsed())).await;
        narrator.say(start, &fault.to_string());
        let served = served::by(fault.daemon(), &stage.database).await;
        let from = start.elapsed().as_secs_f64();
        inject::inject(fault, stage).await?;
        let until = start.elapsed().as_secs_f64();
        let it = Happened { fault: fault.clone(), from, until, served };
        happened.lock().unwrap_or_else(PoisonError::into_inner).push(it);
        anyhow::Ok(())
    });
    try_join_all(all).await.map(drop)
}

async fn supervise(stage: &Stage, start: Instant, narrator: Narrator) {
    join_all(stage.daemons.iter().map(|daemon| daemon.supervise(move |note| narrator.note(start, note)))).await;
}

/// Returns when everything has arrived that has to, or when nothing new has for too long: what is not there then is missing.
async fn all_arrived(truth: &Truth, witness: &Witness) {
    let expected: Vec<(&str, u64)> = DESTINATIONS
        .iter()
        .filter(|destination| destination.role != Role::Volatile)
        .map(|destination| (destination.label, truth.expected(destination).values().sum()))
        .collect();
    let (mut before, mut deadline) = (0, Instant::now() + ARRIVAL);
    while expected.iter().any(|(label, count)| witness.distinct(label) < *count) {
        let arrived = expected.iter().map(|(label, _)| witness.distinct(label)).sum();
        if arrived > before {
            (before, deadline) = (arrived, Instant::now() + ARRIVAL);
        }
        if Instant::now() >= deadline {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
