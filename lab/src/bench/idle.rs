//! `andon-lab bench idle`: what the gateway costs while nothing happens. In: how long to look. Out: the processor time of the gateway and of
//! PostgreSQL, and how many queries the gateway sends, with no lane and with 50. It fails when a lane does not run.

use std::time::Duration;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::ensure;
use serde_json::json;
use tokio::time::Instant;
use tokio_postgres::Client;

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
use rig::Daemon;
use rig::MosquittoOptions;
use rig::Postgres;

/// How much to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct IdleBench {
    /// Rounds; the median of each figure counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// How long each variant is looked at in each round, in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

const VARIANTS: [&str; 2] = ["0 lanes", "50 lanes"];
/// Lanes of each kind, spread over this many tenants.
const LANES: i32 = 25;
const TENANTS: i32 = 5;
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait before looking, because starting and stopping lanes leaves work to be done.
const SETTLING: Duration = Duration::from_secs(3);

const SHARE: &str = "gateway, % of a core";
const BUSIEST: &str = "calls/s of the busiest query";

pub(super) async fn idle(options: IdleBench, andon: &Andon) -> Result<Report> {
    let counting = || Postgres::start_with(&["fsync=on", "shared_preload_libraries=pg_stat_statements"]);
    let (stage, broker) = tokio::try_join!(Stage::start(andon, counting), stage::broker(MosquittoOptions::default()))?;
    let url = stage.database().await?;
    let client = connect(&url).await?;
    client.batch_execute("create extension pg_stat_statements").await?;
    let (daemon, sink) = (andon.start(&url).await?, Sink::start()?);
    let mut figures = Comparison::new(&VARIANTS);
    figures.goal(SHARE, VARIANTS[1], Goal::Within(0.5));
    // At one call a second, the ends of the time can count one call more than there are seconds.
    figures.goal(BUSIEST, VARIANTS[1], Goal::Within(1.0 + 1.0 / options.seconds as f64));
    let mut busiest = String::new();
    for _ in 0..options.rounds {
        for variant in VARIANTS {
            let lanes = if variant == VARIANTS[1] { LANES } else { 0 };
            set_lanes(&client, lanes, broker.port(), &sink).await?;
            lanes_run(&client, lanes * 2, &daemon).await?;
            tokio::time::sleep(SETTLING).await;
            client.batch_execute("select pg_stat_statements_reset()").await?;
            let server = stage.postgres.pid().context("PostgreSQL ended")?;
            let (begun, gateway, database) =
                (Instant::now(), usage::processor(daemon.running()?)?, usage::processor(server)?);
            tokio::time::sleep(Duration::from_secs(options.seconds)).await;
            let (gateway, database) =
                (usage::processor(daemon.running()?)? - gateway, usage::processor(server)? - database);
            let took = begun.elapsed().as_secs_f64();
            let (calls, most, query) = queries(&client).await?;
            figures.note(SHARE, variant, gateway / took * 100.0);
            figures.note("gateway, seconds of CPU in an hour", variant, gateway / took * 3600.0);
            figures.note("PostgreSQL, % of a core", variant, database / took * 100.0);
            figures.note("queries/s", variant, calls / took);
            figures.note(BUSIEST, variant, most / took);
            busiest = query;
        }
    }
    drop((client, daemon));
    stage.stop()?;
    let facts = json!({"rounds": options.rounds, "seconds": options.seconds, "busiest": busiest});
    Ok(Report { bench: "idle", comparison: figures, facts })
}

/// Replaces all publishers and webhooks by `count` of each.
async fn set_lanes(client: &Client, count: i32, broker: u16, sink: &Sink) -> Result<()> {
    client.batch_execute("delete from andon.mqtt_publishers; delete from andon.webhooks").await?;
    client
        .execute(
            "insert into andon.mqtt_publishers (tenant_id, name, broker_url, port, topic_pattern, events)
            select 'tenant ' || n % $1, 'plant ' || n, '127.0.0.1', $2, n || '/{event}', '{*}' from generate_series(1, $3) n",
            &[&TENANTS, &i32::from(broker), &count],
        )
        .await?;
    client
        .execute(
            "insert into andon.webhooks (tenant_id, url, secret_key, events)
            select 'tenant ' || n % $1, $2 || n, $3, '{*}' from generate_series(1, $4) n",
            &[&TENANTS, &sink.url("/"), &SECRET, &count],
        )
        .await?;
    Ok(())
}

async fn lanes_run(client: &Client, count: i32, daemon: &Daemon) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let running = "select count(*)::int from andon.lanes where state = 'running' and daemon is not null";
    while client.query_one(running, &[]).await?.get::<_, i32>(0) != count {
        ensure!(Instant::now() < deadline, "not {count} lanes run:\n{}", daemon.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Returns the calls of all queries but our own, the calls of the one that was called most, and its text.
async fn queries(client: &Client) -> Result<(f64, f64, String)> {
    let row = client
        .query_one(
            "select coalesce(sum(calls), 0)::float8, coalesce(max(calls), 0)::float8,
                coalesce((array_agg(query order by calls desc))[1], '')
            from pg_stat_statements where query not like '%pg_stat_statements%'",
            &[],
        )
        .await?;
    Ok((row.get(0), row.get(1), row.get(2)))
}
