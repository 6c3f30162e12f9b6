//! `andon-lab bench peers`: Andon next to programs that people use for the same purpose. In: how many events. Out: events per second and
//! processor time per event, of Node-RED and Andon from a table to MQTT, and of graphile-worker and Andon to signed webhooks, on the same
//! servers. The peers do less: they keep no order, and Node-RED loses what is committed while it does not listen.

mod bursts;
mod consumer;
mod contest;
mod graphile_worker;
mod node_red;
mod options;
mod plant;
mod counting_subscriber;

use anyhow::Result;
use anyhow::ensure;
use serde_json::json;

use crate::andon::Andon;
use crate::bench::comparison::Comparison;
use crate::bench::comparison::Goal;
use crate::bench::comparison::Report;
use crate::bench::peers::bursts::VARIANTS;
use crate::bench::peers::bursts::rate;
use crate::bench::peers::bursts::work;
use crate::packages::Packages;
use crate::stage::Stage;
use crate::stage::blocking;
use rig::Postgres;

pub(super) use options::PeersBench;

/// The peers, in the versions that are compared.
const WANTED: &str = include_str!("../../peers/package.json");

/// Measures both pairs.
pub(super) async fn peers(options: PeersBench, andon: &Andon) -> Result<Report> {
    ensure!(options.events > 0 && options.writers > 0, "--events and --writers must be above 0");
    let directory = options.packages.clone();
    let packages = blocking(move || Packages::install(&directory, WANTED)).await?;
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
