//! `andon-lab bench fan-out`: one event to many. In: how many events. Out: deliveries per second to publishers and webhooks at once, for
//! events that wait in the log, and for a burst that is committed while the lanes are ready. The baseline is the same number of bare loops
//! of the client libraries, which run at the same time and share the machine like the lanes.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use futures_util::future::try_join_all;
use serde_json::json;
use uuid::Uuid;

use crate::andon::Andon;
use crate::bench::bare;
use crate::bench::bare::Http;
use crate::bench::comparison::Comparison;
use crate::bench::comparison::Goal;
use crate::bench::comparison::Report;
use crate::bench::drain;
use crate::bench::drain::WINDOW;
use crate::bench::servers::PATIENCE;
use crate::bench::servers::Servers;

/// How much to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct FanOutBench {
    /// Rounds; the median of each figure counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Events, each to all destinations
    #[arg(long, default_value_t = 20_000)]
    events: i64,

    /// Publishers, and as many webhooks
    #[arg(long, default_value_t = 10)]
    each: usize,
}

/// The default of `webhook.concurrency`.
const CONCURRENCY: usize = 8;
const BACKLOG: &str = "deliveries/s, of what waits in the log";
const BURST: &str = "deliveries/s, of a burst";

/// Runs the bench.
pub(super) async fn fan_out(options: FanOutBench, andon: &Andon) -> Result<Report> {
    let servers = Servers::start(andon).await?;
    let mut comparison = Comparison::new(&["bare", "andon"]);
    for round in 0..=options.rounds {
        if round == 1 {
            comparison.forget();
        }
        let bare = bare_rate(&servers, options).await?;
        comparison.note(BACKLOG, "bare", bare);
        comparison.note(BURST, "bare", bare);
        servers.sink.forget();
        // Each round has a tenant of its own, so that no event of an earlier round waits for these lanes.
        let tenant = format!("tenant-{round}");
        servers.fill(&tenant, "backlog", options.events, 1000).await?;
        let names: Vec<String> = (0..options.each).map(|number| format!("round_{round}_{number}")).collect();
        let mut destinations: Vec<Uuid> = Vec::new();
        servers.client.batch_execute("begin").await?;
        for name in &names {
            destinations.push(servers.publisher(&tenant, name).await?);
            destinations.push(servers.webhook(&tenant, &format!("/{name}"), CONCURRENCY).await?);
        }
        servers.client.batch_execute("commit").await?;
        comparison.note(BACKLOG, "andon", rate(&servers, &names, "backlog", options.events, options).await?);
        servers.sink.forget();
        servers.fill(&tenant, "burst", options.events, 1000).await?;
        comparison.note(BURST, "andon", rate(&servers, &names, "burst", options.events, options).await?);
        servers.retire(&destinations, 2 * options.events).await?;
    }
    for shape in [BACKLOG, BURST] {
        comparison.goal(shape, "andon", Goal::AtLeast(0.7));
    }
    let facts = json!({
        "events": options.events, "publishers": options.each, "webhooks": options.each, "window": WINDOW, "concurrency": CONCURRENCY,
        "rounds": options.rounds,
    });
    servers.stop()?;
    Ok(Report { bench: "fan-out", comparison, facts })
}

/// Waits until everything has arrived everywhere, and returns the deliveries per second from the first receipt to the last.
async fn rate(servers: &Servers, names: &[String], label: &str, events: i64, options: FanOutBench) -> Result<f64> {
    let tally = servers.sink.reached(events.unsigned_abs() * options.each as u64, PATIENCE).await?;
    let (mut first, mut last) = tally.span.expect("something was received");
    for name in names {
        let (one, other) = servers.marks(name, label).await?;
        (first, last) = (first.min(one.at), last.max(other.at));
    }
    Ok(2.0 * events as f64 * options.each as f64 / (last - first).as_secs_f64())
}

async fn bare_rate(servers: &Servers, options: FanOutBench) -> Result<f64> {
    let messages = drain::templates(&vec![b'x'; 500].into());
    let count = options.events.unsigned_abs();
    let mut publishing = Vec::new();
    let begun = Instant::now();
    for _ in 0..options.each {
        let publish = bare::publish(servers.broker.port(), Arc::clone(&messages), count as usize, WINDOW);
        publishing.push(tokio::spawn(publish));
        let (url, messages) = (servers.sink.url("/bare"), Arc::clone(&messages));
        publishing
            .push(tokio::spawn(async move { bare::post(Http::Reqwest, &url, messages, count, CONCURRENCY).await }));
    }
    for done in try_join_all(publishing).await? {
        done?;
    }
    Ok(2.0 * count as f64 * options.each as f64 / begun.elapsed().as_secs_f64())
}
