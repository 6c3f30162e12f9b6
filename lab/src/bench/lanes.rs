//! `andon-lab bench lanes`: very many destinations. In: how many webhooks and publishers, in how many tenants. Out: the time until the
//! gateway is ready and every publisher connected, its memory, what it costs while nothing happens, how long a change of one row takes to be
//! felt, and whether every lane delivers. The time of the idle gateway includes its regular looks at all rows.

use std::collections::HashSet;
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
use rig::Subscriber;
use rig::subscriber::Message;

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
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

const READY: &str = "until ready, s";
const PEAK: &str = "peak memory, MiB";
const IDLE: &str = "idle, % of a core";
const CHANGE: &str = "until a change is felt, s";
const EVENT: &str = "until all have delivered an event, s";
const PEAK_THEN: &str = "peak memory then, MiB";
/// How long to wait before looking at the idle gateway, because starting lanes leaves work to be done.
const SETTLING: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(50);

pub(super) async fn lanes(options: LanesBench, andon: &Andon) -> Result<Report> {
    let (stage, broker) = tokio::try_join!(
        Stage::start(andon, Postgres::start_durable),
        stage::broker(MosquittoOptions::as_installed())
    )?;
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
    let statuses = Subscriber::start(broker.port()).await?;
    let begun = Instant::now();
    daemon.start().await?;
    let mut figures = Comparison::new(&["andon"]);
    let all = options.webhooks + options.publishers;
    until(&client, &format!("select count(*) >= {all} from andon.lanes where state = 'running'"), begun).await?;
    daemon.ready().await?;
    // A lane's row says that it runs before its publisher is connected. A publisher that is connected says so at its broker.
    while online(&statuses).len() < options.publishers as usize {
        ensure!(
            begun.elapsed() < PATIENCE,
            "{} publishers are connected:\n{}",
            online(&statuses).len(),
            daemon.log_tail()
        );
        tokio::time::sleep(LOOK).await;
    }
    figures.note(READY, "andon", begun.elapsed().as_secs_f64());
    tokio::time::sleep(SETTLING).await;
    let (worked, since) = (usage::processor(daemon.running()?)?, Instant::now());
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let worked = usage::processor(daemon.running()?)? - worked;
    figures.note(IDLE, "andon", worked / since.elapsed().as_secs_f64() * 100.0);
    figures.note(CHANGE, "andon", change(&client).await?);
    figures.note(PEAK, "andon", usage::peak_memory(daemon.running()?)?);
    // All of them have been open if each delivers. Each webhook has a connection then, which is more than it has while nothing happens.
    let sent = Instant::now();
    client
        .execute(
            "insert into andon.events (tenant, type, entity_type, entity_id, data)
            select 'tenant ' || n, 'job.created', 'job', '1', '{}' from generate_series(0, $1 - 1) n",
            &[&options.tenants],
        )
        .await?;
    client.batch_execute("select andon.ring()").await?;
    until(&client, &format!("select count(*) >= {all} from andon.lanes where delivered = 1"), sent).await?;
    figures.note(EVENT, "andon", sent.elapsed().as_secs_f64());
    figures.note(PEAK_THEN, "andon", usage::peak_memory(daemon.running()?)?);
    let lost = daemon.log().matches("the lease was not renewed").count();
    ensure!(lost == 0, "the lease was lost {lost} times, so all lanes were closed and opened again");
    for (what, most) in [(READY, 5.0), (PEAK, 150.0), (IDLE, 1.0), (CHANGE, 1.0)] {
        figures.goal(what, "andon", Goal::Within(most));
    }
    drop((client, daemon));
    stage.stop()?;
    let facts = json!({"webhooks": options.webhooks, "publishers": options.publishers, "tenants": options.tenants, "seconds": options.seconds});
    Ok(Report { bench: "lanes", comparison: figures, facts })
}

/// Returns the topics of the statuses that say that their publisher is connected.
fn online(statuses: &Subscriber) -> HashSet<String> {
    let is_online = |message: &Message| message.payload.windows(13).any(|text| text == b"\"online\":true");
    statuses.received().iter().filter(|it| is_online(it)).map(|it| it.topic.clone()).collect()
}

/// Changes the URL of a webhook, and returns how many seconds it takes until its lane is taken anew.
async fn change(client: &tokio_postgres::Client) -> Result<f64> {
    let of_lane = "andon.lanes where lane = 'andon.webhooks/' || (select min(id::text) from andon.webhooks)";
    let before: i64 = client.query_one(&format!("select epoch from {of_lane}"), &[]).await?.get(0);
    let sql =
        "update andon.webhooks set url = url || '/changed' where id::text = (select min(id::text) from andon.webhooks)";
    client.execute(sql, &[]).await?;
    let changed = Instant::now();
    until(client, &format!("select epoch > {before} from {of_lane}"), changed).await?;
    Ok(changed.elapsed().as_secs_f64())
}

async fn until(client: &tokio_postgres::Client, sql: &str, since: Instant) -> Result<()> {
    while !client.query_one(sql, &[]).await?.get::<_, bool>(0) {
        ensure!(since.elapsed() < PATIENCE, "never became true: {sql}");
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
