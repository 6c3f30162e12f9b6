//! `andon-lab bench holes`: a long import beside live events. In: how many holes the import leaves in the log. Out: the latency of 20 events
//! a second for 100 lanes, from the insert to the receipt, without holes and with them. It fails when anything is missing.

use std::time::Duration;

use anyhow::Result;
use anyhow::ensure;
use serde_json::json;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;
use tokio_postgres::Client;

use crate::andon::Andon;
use crate::bench::comparison::Comparison;
use crate::bench::comparison::Goal;
use crate::bench::comparison::Report;
use crate::bench::comparison::percentiles;
use crate::bench::latency_probe::LatencyProbe;
use crate::bench::servers::PATIENCE;
use crate::bench::servers::Servers;
use crate::bench::sink::SECRET;
use crate::stage::connect;

/// How much to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct HolesBench {
    /// Rounds; the median of each figure counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// How long each variant works in each round, in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,

    /// Holes: an hour's import of 20 rows a second, row by row
    #[arg(long, default_value_t = 72_000)]
    holes: i64,
}

const VARIANTS: [&str; 2] = ["none", "holes"];
const LANES: i32 = 100;
const RATE: u32 = 20;
const P99: &str = "p99, ms";

pub(super) async fn holes(options: HolesBench, andon: &Andon) -> Result<Report> {
    let servers = Servers::start(andon).await?;
    add_lanes(&servers).await?;
    let probe = LatencyProbe::start(servers.broker.port(), "live/#")?;
    let mut figures = Comparison::new(&VARIANTS);
    figures.goal(P99, VARIANTS[1], Goal::AtMost(1.5));
    for round in 0..=options.rounds {
        for variant in VARIANTS {
            let importer = connect(&servers.url).await?;
            if variant == VARIANTS[1] {
                make_holes(&importer, &servers.client, options.holes).await?;
            }
            let holes = if variant == VARIANTS[1] { options.holes } else { 0 };
            until(&servers, &format!("(select count(*) from unnest(holes)) >= {holes}")).await?;
            let (worked, begun) = (servers.gateway_worked()?, Instant::now());
            let latencies = spell(&servers, &probe, Duration::from_secs(options.seconds)).await?;
            let share = (servers.gateway_worked()? - worked) / begun.elapsed().as_secs_f64() * 100.0;
            let [p50, p99] = percentiles(latencies, [0.50, 0.99]);
            // The first round is cold.
            if round > 0 {
                figures.note("p50, ms", variant, p50);
                figures.note(P99, variant, p99);
                figures.note("gateway, % of a core", variant, share);
            }
            drop(importer);
            until(&servers, "isempty(holes)").await?;
        }
    }
    servers.stop()?;
    let facts = json!({"rounds": options.rounds, "seconds": options.seconds, "holes": options.holes, "lanes": LANES, "rate": RATE});
    Ok(Report { bench: "holes", comparison: figures, facts })
}

/// Adds a publisher, whose events are timed, and webhooks that take the same events.
async fn add_lanes(servers: &Servers) -> Result<()> {
    let client = &servers.client;
    client
        .execute(
            "insert into andon.mqtt_publishers (tenant_id, name, broker_url, port, topic_pattern, events)
            values ('acme', 'plant', '127.0.0.1', $1, 'live/{event}', '{*}')",
            &[&i32::from(servers.broker.port())],
        )
        .await?;
    client
        .execute(
            "insert into andon.webhooks (tenant_id, url, secret_key, events) select 'acme', $1 || n, $2, '{*}' from generate_series(2, $3) n",
            &[&servers.sink.url("/"), &SECRET, &LANES],
        )
        .await?;
    let deadline = Instant::now() + PATIENCE;
    let running = "select count(*)::int from andon.lanes where state = 'running'";
    while client.query_one(running, &[]).await?.get::<_, i32>(0) < LANES {
        ensure!(Instant::now() < deadline, "not {LANES} lanes run:\n{}", servers.daemon.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Leaves holes in the log that stay open until `importer` ends its transaction. Between each two of them stands an event that nobody wants.
async fn make_holes(importer: &Client, client: &Client, count: i64) -> Result<()> {
    importer
        .batch_execute("begin; insert into andon.events (tenant, type, entity_type, entity_id, data) values ('nobody', 'row.imported', 'row', '0', '{}')")
        .await?;
    client
        .execute(
            "insert into andon.events (tenant, type, entity_type, entity_id, data)
            select 'nobody', 'row.passed', 'row', n::text, jsonb_build_object('taken', hole)
            from (select n, nextval('andon.events_id_seq') as hole from generate_series(1, $1::bigint) n offset 0) row",
            &[&count],
        )
        .await?;
    client.batch_execute("select andon.ring()").await?;
    Ok(())
}

/// Waits until the open holes of the tail are so.
async fn until(servers: &Servers, holes: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let sql = format!("select {holes} from andon.tail");
    while !servers.client.query_one(&sql, &[]).await?.get::<_, bool>(0) {
        ensure!(Instant::now() < deadline, "the tail does not get there: {holes}\n{}", servers.daemon.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Emits events one by one, and returns how long each took to the subscriber.
async fn spell(servers: &Servers, probe: &LatencyProbe, length: Duration) -> Result<Vec<Duration>> {
    let emit = servers
        .client
        .prepare(
            "with made as (
                insert into andon.events (tenant, type, entity_type, entity_id, data)
                select 'acme', 'job.updated', 'job', $1::bigint::text, jsonb_build_object('id', $1::bigint,
                    'stamp', (extract(epoch from clock_timestamp()) * 1000000)::bigint)
            )
            select andon.ring()",
        )
        .await?;
    let count = i64::from(RATE) * length.as_secs() as i64;
    let mut clock = tokio::time::interval(Duration::from_secs(1) / RATE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    probe.forget();
    for id in 1..=count {
        clock.tick().await;
        servers.client.execute(&emit, &[&id]).await?;
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while (probe.count() as i64) < count {
        ensure!(
            Instant::now() < deadline,
            "{} of {count} events arrived:\n{}",
            probe.count(),
            servers.daemon.log_tail()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(probe.take(true)?.into_iter().map(|receipt| receipt.at.saturating_sub(receipt.stamp)).collect())
}
