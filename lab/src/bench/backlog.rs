//! `andon-lab bench backlog`: a day's absence. In: how many events wait. Out: the gateway's peak memory, and how fast it drains the last
//! million deliveries compared with the first. Twenty publishers are at very different places: the first lacks all events, and each next
//! one lacks half of what the one before it lacks.

use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use anyhow::ensure;
use serde_json::json;

use crate::andon::Andon;
use crate::bench::comparison::Comparison;
use crate::bench::comparison::Goal;
use crate::bench::comparison::Report;
use crate::bench::servers::PATIENCE;
use crate::bench::servers::Servers;
use crate::bench::usage;

/// How much to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct BacklogBench {
    /// Events that wait
    #[arg(long, default_value_t = 5_000_000)]
    events: i64,
}

const LANES: u32 = 20;
/// One part in this many of all deliveries is compared, at the beginning and at the end: a million of ten.
const SHARE: i64 = 10;
const PEAK: &str = "peak memory of the gateway, MiB";
const RATE: &str = "deliveries/s";

/// Runs the bench.
pub(super) async fn backlog(options: BacklogBench, andon: &Andon) -> Result<Report> {
    let servers = Servers::start(andon).await?;
    let mut wanted = 0;
    servers.fill("acme", "all", options.events, 1000).await?;
    servers.client.batch_execute("vacuum analyze andon.events").await?;
    usage::forget_peak(servers.daemon.running()?)?;
    servers.client.batch_execute("begin").await?;
    for number in 0..LANES {
        let lacking = (options.events >> number).max(1);
        wanted += lacking;
        let first = options.events - lacking + 1;
        let sql = "select captured_at::text from andon.events where id >= $1 order by id limit 1";
        let start: String = servers.client.query_one(sql, &[&first]).await?.get(0);
        servers.publisher_from("acme", &format!("p_{number}"), &start).await?;
    }
    servers.client.batch_execute("commit").await?;
    let mut seen: Vec<(Instant, i64)> = Vec::new();
    let begun = Instant::now();
    while seen.last().is_none_or(|(_, delivered)| *delivered < wanted) {
        let sql = "select coalesce(sum(delivered), 0)::bigint from andon.lanes";
        let delivered = servers.client.query_one(sql, &[]).await?.get(0);
        ensure!(begun.elapsed() < PATIENCE, "{delivered} of {wanted} were delivered:\n{}", servers.daemon.log_tail());
        seen.push((Instant::now(), delivered));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut comparison = Comparison::new(&["first", "last"]);
    let at = |delivered: i64| seen.iter().find(|it| it.1 >= delivered).map_or(begun, |it| it.0);
    let part = wanted / SHARE;
    let rate = |from: Instant, to: Instant| part as f64 / (to - from).as_secs_f64();
    comparison.note(RATE, "first", rate(begun, at(part)));
    comparison.note(RATE, "last", rate(at(wanted - part), at(wanted)));
    comparison.note(PEAK, "last", usage::peak_memory(servers.daemon.running()?)?);
    comparison.goal(RATE, "last", Goal::AtLeast(0.9));
    comparison.goal(PEAK, "last", Goal::Within(96.0));
    let facts = json!({
        "events": options.events, "publishers": LANES, "deliveries": wanted, "deliveries_compared": part,
        "seconds": begun.elapsed().as_secs_f64(),
    });
    servers.stop()?;
    Ok(Report { bench: "backlog", comparison, facts })
}
