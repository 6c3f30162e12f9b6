//! `andon-lab bench lanes`: very many destinations. In: how many webhooks and publishers, in how many tenants. Out: the time until the
//! gateway is ready, its memory, what it costs while nothing happens, and how long a change of one row takes to be felt.

use std::time::Duration;

use anyhow::Result;
use anyhow::ensure;
use serde_json::json;
use tokio::time::Instant;

use crate::andon::Andon;
use crate::bench::comparison::Comparison;
use crate::bench::comparison::Goal;
use crate::bench::comparison::Report;
use crate::bench::sink::SECRET;
use crate::bench::sink::Sink;
use crate::bench::usage;
use crate::stage;
use crate::stage::Stage;
use crate::stage::connect;
use rig::DaemonOptions;
use rig::MosquittoOptions;
use rig::Postgres;

/// How much to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct LanesBench {
    /// Webhooks
    #[arg(long, default_value_t = 10_000)]
    webhooks: i32,

    /// MQTT publishers
    #[arg(long, default_value_t = 2000)]
    publishers: i32,

    /// Tenants
    #[arg(long, default_value_t = 1000)]
    tenants: i32,

    /// How long to look at the idle gateway, in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

const READY: &str = "until ready, s";
const PEAK: &str = "peak memory, MiB";
const IDLE: &str = "idle, % of a core";
const CHANGE: &str = "until a change is felt, s";
/// How long to wait before looking at the idle gateway, because starting lanes leaves work to be done.
const SETTLING: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) async fn lanes(options: LanesBench, andon: &Andon) -> Result<Report> {
    let (stage, broker) =
        tokio::try_join!(Stage::start(andon, Postgres::start_durable), stage::broker(MosquittoOptions::default()))?;
    let url = stage.database().await?;
    let (client, sink) = (connect(&url).await?, Sink::start()?);
    client
        .execute(
            "insert into andon.webhooks (tenant_id, url, secret_key, events)
            select 'tenant ' || n % $1, $2 || n, $3, '{*}' from generate_series(1, $4) n",
            &[&options.tenants, &sink.url("/"), &SECRET, &options.webhooks],
        )
        .await?;
    client
        .execute(
            "insert into andon.mqtt_publishers (tenant_id, name, broker_url, port, topic_pattern, events)
            select 'tenant ' || n % $1, 'plant ' || n, '127.0.0.1', $2, n || '/{event}', '{*}' from generate_series(1, $3) n",
            &[&options.tenants, &i32::from(broker.port()), &options.publishers],
        )
        .await?;
    let daemon = andon.daemon(&url, DaemonOptions::default())?;
    let begun = Instant::now();
    daemon.start().await?;
    let mut figures = Comparison::new(&["andon"]);
    let all = options.webhooks + options.publishers;
    let running = format!("select count(*) >= {all} from andon.lanes where state = 'running'");
    until(&client, &running, begun).await?;
    daemon.ready().await?;
    figures.note(READY, "andon", begun.elapsed().as_secs_f64());
    tokio::time::sleep(SETTLING).await;
    let (worked, since) = (usage::processor(daemon.running()?)?, Instant::now());
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let worked = usage::processor(daemon.running()?)? - worked;
    figures.note(IDLE, "andon", worked / since.elapsed().as_secs_f64() * 100.0);
    let row = client.query_one("update andon.webhooks set url = url || '/changed' where id = (select min(id::text)::uuid from andon.webhooks) returning id::text", &[]).await?;
    let (changed, lane) = (Instant::now(), row.get::<_, &str>(0));
    let before = "select coalesce(max(epoch), 0) > 1 from andon.lanes where lane like '%/";
    until(&client, &format!("{before}{lane}'"), changed).await?;
    figures.note(CHANGE, "andon", changed.elapsed().as_secs_f64());
    figures.note(PEAK, "andon", usage::peak_memory(daemon.running()?)?);
    for (what, most) in [(READY, 5.0), (PEAK, 150.0), (IDLE, 1.0), (CHANGE, 1.0)] {
        figures.goal(what, "andon", Goal::Within(most));
    }
    drop((client, daemon));
    stage.stop()?;
    let facts = json!({"webhooks": options.webhooks, "publishers": options.publishers, "tenants": options.tenants, "seconds": options.seconds});
    Ok(Report { bench: "lanes", comparison: figures, facts })
}

async fn until(client: &tokio_postgres::Client, sql: &str, since: Instant) -> Result<()> {
    while !client.query_one(sql, &[]).await?.get::<_, bool>(0) {
        ensure!(since.elapsed() < PATIENCE, "never became true: {sql}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
