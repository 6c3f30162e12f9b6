//! `andon-lab bench peers`: Andon next to programs that people use for the same purpose. In: how many events. Out: events per second and
//! processor time per event, of Node-RED and Andon from a table to MQTT, and of graphile-worker and Andon to signed webhooks, on the same
//! servers. The peers do less: they keep no order, and Node-RED loses what is committed while it does not listen.

mod consumer;
mod contest;
mod graphile_worker;
mod node_red;
mod packages;
mod plant;
mod counting_subscriber;

use std::path::PathBuf;

use anyhow::Result;
use anyhow::ensure;
use serde_json::json;

use crate::andon::Andon;
use crate::bench::Report;
use crate::bench::comparison::Comparison;
use crate::bench::comparison::Goal;
use crate::bench::peers::contest::ArrivalCounter;
use crate::bench::peers::contest::Side;
use crate::bench::peers::packages::Packages;
use crate::stage::Stage;
use crate::stage::blocking;
use crate::stage::connect;
use rig::Postgres;

/// How much to measure.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PeersBench {
    /// Rounds; the median of each figure counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Events of a burst, and of a backlog
    #[arg(long, default_value_t = 20_000)]
    events: i64,

    /// Sessions that commit them
    #[arg(long, default_value_t = 1)]
    writers: usize,

    /// Requests at a time, of graphile-worker and of Andon
    #[arg(long, default_value_t = 64)]
    concurrency: usize,

    /// Where npm installs the peers; they stay there
    #[arg(long, default_value = "target/bench-peers", value_name = "DIRECTORY")]
    packages: PathBuf,
}

const VARIANTS: [&str; 2] = ["peer", "andon"];

/// Measures both pairs.
pub(super) async fn peers(options: PeersBench, andon: &Andon) -> Result<Report> {
    ensure!(options.events > 0 && options.writers > 0, "--events and --writers must be above 0");
    let directory = options.packages.clone();
    let packages = blocking(move || Packages::install(&directory)).await?;
    let stage = Stage::start(andon, Postgres::start_durable).await?;
    let mut comparison = Comparison::new(&VARIANTS);
    let mut facts = json!({
        "events": options.events, "events_per_commit": plant::PORTION, "writers": options.writers, "concurrency": options.concurrency,
        "rounds": options.rounds, "packages": packages.names(),
    });
    facts["node_red"] = node_red::compare(&options, &packages, &stage, &mut comparison).await?;
    graphile_worker::compare(&options, &packages, &stage, &mut comparison).await?;
    for peer in ["Node-RED", "graphile-worker"] {
        comparison.goal(&rate(peer), "andon", Goal::AtLeast(2.0));
        comparison.goal(&work(peer), "andon", Goal::AtMost(0.5));
    }
    stage.stop()?;
    Ok(Report { bench: "peers", comparison, facts })
}

fn rate(peer: &str) -> String {
    format!("{peer}: events/s, from the commit of an import")
}

fn work(peer: &str) -> String {
    format!("{peer}: its processor time, us/event")
}

/// Lets both sides work in turns, and adds their figures.
async fn bursts(
    peer: &str,
    sides: [&Side; 2],
    counter: &ArrivalCounter,
    postgres: &Postgres,
    options: &PeersBench,
    comparison: &mut Comparison,
) -> Result<()> {
    for side in sides {
        side.takes_up(counter).await?;
        // The first burst does not count because it is cold.
        side.burst(counter, postgres, options.events, plant::PORTION).await?;
    }
    for _ in 0..options.rounds {
        for (side, variant) in sides.into_iter().zip(VARIANTS) {
            let burst = side.burst(counter, postgres, options.events, plant::PORTION).await?;
            comparison.note(&format!("{peer}: events/s, as fast as they are committed"), variant, burst.rate);
            comparison.note(&work(peer), variant, burst.work);
            comparison.note(&format!("{peer}: PostgreSQL's processor time, us/event"), variant, burst.database_work);
            comparison.note(&format!("{peer}: processor time of all processes, us/event"), variant, burst.all_work);
            // All events of an import are there at once, so this shows how fast the consumer can be.
            let import = side.burst(counter, postgres, options.events, options.events).await?;
            comparison.note(&rate(peer), variant, import.rate);
            comparison.note(&format!("{peer}: its processor time in an import, us/event"), variant, import.work);
        }
    }
    Ok(())
}

/// Makes a database with schema `andon`, the plant's table and its triggers.
async fn attached(stage: &Stage) -> Result<String> {
    let database = stage.database().await?;
    let owner = connect(&database).await?;
    owner.batch_execute(plant::TABLE).await?;
    stage.andon.attach(&database, plant::MAPPING).await?;
    Ok(database)
}
