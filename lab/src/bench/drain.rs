//! `andon-lab bench drain-mqtt` and `drain-webhook`: how fast waiting events are delivered. In: how many events. Out: events per second from
//! the first receipt to the last, of a lane that starts at the beginning of the log. The baselines are bare loops of the client libraries,
//! which send the same bytes out of memory, with the same window or connections, to the same server.

use std::sync::Arc;

use anyhow::Result;
use serde_json::json;

use crate::andon::Andon;
use crate::bench::bare;
use crate::bench::bare::Http;
use crate::bench::bare::Message;
use crate::bench::comparison::Comparison;
use crate::bench::comparison::Goal;
use crate::bench::comparison::Report;
use crate::bench::servers::PATIENCE;
use crate::bench::servers::Servers;
use rig::MosquittoOptions;

/// How much to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct DrainBench {
    /// Rounds; the median of each figure counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Events that wait in the log
    #[arg(long, default_value_t = 200_000)]
    events: i64,

    /// Requests at a time
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
}

/// The default of `mqtt.window`.
pub(super) const WINDOW: u16 = 256;
const TENANT: &str = "acme";
const LABEL: &str = "all";
const ENTITIES: i64 = 1000;
const RATE: &str = "events/s";
const WORK: &str = "microseconds of the gateway's processor time per event";

/// Measures publishes up to their PUBACKs.
pub(super) async fn mqtt(options: DrainBench, andon: &Andon) -> Result<Report> {
    let mut comparison = Comparison::new(&["client", "andon"]);
    let mut payload_bytes = 0;
    for (broker, rate, work) in [
        (MosquittoOptions::default(), RATE, WORK),
        (
            MosquittoOptions::as_installed(),
            "events/s, mosquitto as installed",
            "its processor time, mosquitto as installed",
        ),
    ] {
        payload_bytes = to_broker(andon, options, broker, &mut comparison, rate, work).await?;
    }
    comparison.goal(RATE, "andon", Goal::AtLeast(0.85));
    let facts = json!({
        "events": options.events, "payload_bytes": payload_bytes, "window": WINDOW, "rounds": options.rounds, "connections": 1,
    });
    Ok(Report { bench: "drain-mqtt", comparison, facts })
}

/// Measures on a broker of these options, and returns the size of a payload.
async fn to_broker(
    andon: &Andon,
    options: DrainBench,
    broker: MosquittoOptions,
    comparison: &mut Comparison,
    rate: &str,
    work: &str,
) -> Result<usize> {
    let servers = Servers::start_with(andon, broker).await?;
    servers.fill(TENANT, LABEL, options.events, ENTITIES).await?;
    let mut messages: Arc<[Message]> = Arc::new([]);
    for round in 0..=options.rounds {
        let name = format!("round_{round}");
        let worked = servers.gateway_worked()?;
        let publisher = servers.publisher(TENANT, &name).await?;
        let (first, last) = servers.marks(&name, LABEL).await?;
        let worked = servers.gateway_worked()? - worked;
        servers.retire(&[publisher], options.events).await?;
        if round == 0 {
            // The bare loop sends what the gateway sends. The first round does not count because it is cold.
            messages = templates(&last.payload);
            continue;
        }
        comparison.note(rate, "andon", options.events as f64 / (last.at - first.at).as_secs_f64());
        comparison.note(work, "andon", worked * 1e6 / options.events as f64);
        let took = bare::publish(servers.broker.port(), Arc::clone(&messages), options.events as usize, WINDOW).await?;
        comparison.note(rate, "client", options.events as f64 / took.as_secs_f64());
    }
    servers.stop()?;
    Ok(messages[0].payload.len())
}

/// Measures requests up to their 2xx.
pub(super) async fn webhook(options: DrainBench, andon: &Andon) -> Result<Report> {
    let servers = Servers::start(andon).await?;
    servers.fill(TENANT, LABEL, options.events, ENTITIES).await?;
    let count = options.events.unsigned_abs();
    let messages = templates(&vec![b'x'; 500].into());
    let mut comparison = Comparison::new(&["client", "hyper", "andon"]);
    for round in 0..=options.rounds {
        if round == 1 {
            comparison.forget();
        }
        for (variant, client) in [("client", Http::Reqwest), ("hyper", Http::Hyper)] {
            servers.sink.forget();
            let url = servers.sink.url("/bare");
            let took = bare::post(client, &url, Arc::clone(&messages), count, options.concurrency).await?;
            servers.sink.reached(count, PATIENCE).await?;
            comparison.note(RATE, variant, options.events as f64 / took.as_secs_f64());
        }
        servers.sink.forget();
        let worked = servers.gateway_worked()?;
        let webhook = servers.webhook(TENANT, &format!("/round_{round}"), options.concurrency).await?;
        let tally = servers.sink.reached(count, PATIENCE).await?;
        comparison.note(RATE, "andon", tally.rate());
        comparison.note(WORK, "andon", (servers.gateway_worked()? - worked) * 1e6 / options.events as f64);
        servers.retire(&[webhook], options.events).await?;
    }
    comparison.goal(RATE, "andon", Goal::AtLeast(0.75));
    let facts = json!({
        "events": options.events, "body_bytes": messages[0].payload.len(), "concurrency": options.concurrency, "rounds": options.rounds,
    });
    servers.stop()?;
    Ok(Report { bench: "drain-webhook", comparison, facts })
}

/// Makes messages like the gateway's, with this payload and a topic of the same length.
pub(super) fn templates(payload: &bytes::Bytes) -> Arc<[Message]> {
    let topic = "round_0/chicago/fabrication/laser_1/operation/completed".to_owned();
    Arc::new([Message { topic, payload: payload.clone() }])
}
