//! `andon-lab bench memory`: the memory of the gateway at its peak, where memory is short. In: how many events of a megabyte, and how many
//! webhooks are behind whose endpoint is away. Out: the peak, for a while in which the events arrive at ten destinations, for a while in
//! which ten more read them from the log, and for a while in which all others try to: ten thousand webhooks that read a gigabyte each would
//! take days. It fails when one of the first gets nothing, or when none of the webhooks that are behind has its turn.

use std::time::Duration;

use anyhow::Result;
use anyhow::ensure;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use crate::andon::Andon;
use crate::bench::comparison::Comparison;
use crate::bench::comparison::Goal;
use crate::bench::comparison::Report;
use crate::bench::servers::PATIENCE;
use crate::bench::servers::Servers;
use crate::bench::sink::SECRET;
use crate::bench::usage;

/// How much to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct MemoryBench {
    /// Events
    #[arg(long, default_value_t = 1000)]
    events: i64,

    /// The size of an event's data, in bytes
    #[arg(long, default_value_t = 1_000_000)]
    bytes: i32,

    /// Webhooks that are behind
    #[arg(long, default_value_t = 10_000)]
    lanes: i32,

    /// How long to look at the gateway while events arrive, while some destinations are behind, and while all are, in seconds
    #[arg(long, default_value_t = 45)]
    seconds: u64,

    /// How much a broker sends unasked, in MiB
    #[arg(long, default_value_t = 2048)]
    flood: usize,
}

const PEAK: &str = "peak memory of the gateway, MiB";
const TURNS: &str = "destinations behind that were tried";
const MIB: f64 = 1024.0 * 1024.0;
/// What README says: `log.memory`, so much besides, so much for each destination, and for each publisher its largest event.
const LOG_MEMORY: f64 = 32.0;
const BESIDES: f64 = 128.0;
const OF_A_LANE: f64 = 16.0 / 1024.0;
/// Destinations of each kind that take all events.
const GOOD: i32 = 5;

pub(super) async fn memory(options: MemoryBench, andon: &Andon) -> Result<Report> {
    let servers = Servers::start(andon).await?;
    let (flood, flooding) = flood(options.flood << 20).await?;
    let mut figures = Comparison::new(&["arriving", "behind", "all"]);
    // The first destinations get the events as they are committed, and the next read them from the log.
    let good = add_good(&servers, "arriving").await?;
    running(&servers, 2 * GOOD).await?;
    fill(&servers, options).await?;
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    // Ten destinations with a gigabyte each may take longer, but none of them waits for the others.
    delivered(&servers, &good, 1).await?;
    figures.note(PEAK, "arriving", peak(&servers)?);
    add_good(&servers, "behind").await?;
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    figures.note(PEAK, "behind", peak(&servers)?);
    add_bad(&servers, options.lanes, flood).await?;
    // These start at the beginning of the log together with all others, and take turns with them.
    add_good(&servers, "all").await?;
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let tried = "select count(*)::int from andon.lanes where state in ('open', 'retrying')
        or exists (select from andon.deliveries where deliveries.lane = lanes.lane)";
    // One of them is the flooding broker's.
    until(&servers, tried, 2).await?;
    let tried: i32 = servers.client.query_one(tried, &[]).await?.get(0);
    figures.note(TURNS, "all", f64::from(tried));
    figures.note(PEAK, "all", peak(&servers)?);
    let publishers = f64::from(3 * GOOD + 1) * f64::from(options.bytes) / MIB;
    let all = LOG_MEMORY + BESIDES + f64::from(options.lanes) * OF_A_LANE + publishers;
    figures.goal(PEAK, "behind", Goal::Within((LOG_MEMORY + BESIDES + publishers).ceil()));
    figures.goal(PEAK, "all", Goal::Within(all.ceil()));
    flooding.abort();
    servers.stop()?;
    let facts = json!({"events": options.events, "bytes": options.bytes, "lanes": options.lanes, "seconds": options.seconds, "flood_MiB": options.flood});
    Ok(Report { bench: "memory", comparison: figures, facts })
}

/// Adds destinations that take everything, from the beginning of the log.
async fn add_good(servers: &Servers, name: &str) -> Result<Vec<Uuid>> {
    let mut added = Vec::new();
    for number in 0..GOOD {
        let name = format!("{name}_{number}");
        added.push(servers.publisher("acme", &name).await?);
        added.push(servers.webhook("acme", &format!("/{name}"), 8).await?);
    }
    Ok(added)
}

/// Adds webhooks whose endpoint refuses every connection, and a publisher whose broker sends what nobody asked for.
async fn add_bad(servers: &Servers, count: i32, flood: u16) -> Result<()> {
    let settings = json!({"start_at": "2000-01-01T00:00:00Z"});
    servers
        .client
        .execute(
            "insert into andon.webhooks (tenant_id, url, secret_key, events, settings)
            select 'acme', 'http://127.0.0.1:9/' || n, $1, '{*}', $2 from generate_series(1, $3) n",
            &[&SECRET, &settings, &count],
        )
        .await?;
    servers
        .client
        .execute(
            "insert into andon.mqtt_publishers (tenant_id, name, broker_url, port, events, settings)
            values ('acme', 'flood', '127.0.0.1', $1, '{*}', $2)",
            &[&i32::from(flood), &settings],
        )
        .await?;
    Ok(())
}

async fn fill(servers: &Servers, options: MemoryBench) -> Result<()> {
    servers
        .client
        .execute(
            "insert into andon.events (tenant, type, entity_type, entity_id, data)
            select 'acme', 'drawing.changed', 'drawing', n::text, jsonb_build_object('text', repeat('x', $1))
            from generate_series(1, $2::bigint) n",
            &[&options.bytes, &options.events],
        )
        .await?;
    servers.client.batch_execute("select andon.ring()").await?;
    Ok(())
}

async fn running(servers: &Servers, count: i32) -> Result<()> {
    until(servers, "select count(*)::int from andon.lanes where state = 'running'", count).await
}

/// Waits until each of these destinations has all events.
async fn delivered(servers: &Servers, destinations: &[Uuid], events: i64) -> Result<()> {
    let ids: Vec<String> = destinations.iter().map(|id| format!("'{id}'")).collect();
    let sql = format!(
        "select count(*)::int from andon.lanes where delivered >= {events} and split_part(lane, '/', 2) in ({})",
        ids.join(", ")
    );
    until(servers, &sql, destinations.len() as i32).await
}

async fn until(servers: &Servers, sql: &str, count: i32) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now: i32 = servers.client.query_one(sql, &[]).await?.get(0);
        if now >= count {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{now} of {count}: {sql}\n{}", servers.daemon.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn peak(servers: &Servers) -> Result<f64> {
    usage::peak_memory(servers.daemon.running()?)
}

/// Starts a broker that lets everybody in and then sends messages that nobody has subscribed to, as fast as they are taken.
async fn flood(most: usize) -> Result<(u16, JoinHandle<()>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let task = tokio::spawn(async move {
        let mut left = most;
        while let Ok((mut socket, _)) = listener.accept().await {
            // A CONNACK of MQTT 5, and then PUBLISH packets at QoS 0: topic `a`, no properties, and a payload of 16,380 bytes.
            let mut connect = [0; 1024];
            if socket.read(&mut connect).await.is_err() || socket.write_all(&[0x20, 3, 0, 0, 0]).await.is_err() {
                continue;
            }
            let mut publish = vec![0x30, 0x80, 0x80, 0x01, 0, 1, b'a', 0];
            publish.resize(4 + 16_384, b'x');
            while left > 0 && socket.write_all(&publish).await.is_ok() {
                left = left.saturating_sub(publish.len());
            }
        }
    });
    Ok((port, task))
}
