//! `andon-lab bench ledger`: very many parked deliveries. In: how many. Out: how long an operator's commands and a restart take with them,
//! and how fast deliveries that are due come out of the ledger, next to events that come out of the log. It fails when one is missing.

use std::time::Duration;

use anyhow::Result;
use anyhow::ensure;
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::andon::Andon;
use crate::bench::comparison::Comparison;
use crate::bench::comparison::Goal;
use crate::bench::comparison::Report;
use crate::bench::servers::PATIENCE;
use crate::bench::servers::Servers;

/// How much to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct LedgerBench {
    /// Parked deliveries
    #[arg(long, default_value_t = 1_000_000)]
    parked: i64,

    /// Deliveries that are drained, from the log and from the ledger
    #[arg(long, default_value_t = 50_000)]
    drained: i64,
}

const VARIANTS: [&str; 2] = ["log", "ledger"];
const RATE: &str = "deliveries/s";
/// Parked deliveries are of as many entities, so that most of them wait for one before them.
const ENTITIES: i64 = 100_000;
const CONCURRENCY: usize = 8;

pub(super) async fn ledger(options: LedgerBench, andon: &Andon) -> Result<Report> {
    let servers = Servers::start(andon).await?;
    let mut figures = Comparison::new(&VARIANTS);
    figures.goal(RATE, VARIANTS[1], Goal::AtLeast(0.5));
    let id = servers.webhook("acme", "/ledger", CONCURRENCY).await?;
    let lane = format!("andon.webhooks/{id}");
    running(&servers, &lane).await?;
    servers.sink.forget();
    servers.fill("acme", "ledger", options.drained, ENTITIES).await?;
    figures.note(RATE, "log", servers.sink.reached(options.drained.unsigned_abs(), PATIENCE).await?.rate());
    pause(&servers, id, false).await?;
    park(&servers, &lane, options.drained, "retry").await?;
    servers.sink.forget();
    pause(&servers, id, true).await?;
    figures.note(RATE, "ledger", servers.sink.reached(options.drained.unsigned_abs(), PATIENCE).await?.rate());

    // The lane is at rest, so that only the commands are measured.
    pause(&servers, id, false).await?;
    park(&servers, &lane, options.parked, "dead").await?;
    let commands: [(&str, &[&str]); 3] = [
        ("list, s", &["deliveries", "--destination", &lane]),
        ("retry, s", &["deliveries", "retry", "--destination", &lane]),
        ("discard, s", &["deliveries", "discard", "--destination", &lane, "--state", "waiting"]),
    ];
    for (what, command) in commands {
        let begun = Instant::now();
        andon.command(&servers.url, command, PATIENCE).await?;
        figures.note(what, "ledger", begun.elapsed().as_secs_f64());
        figures.goal(what, "ledger", Goal::Within(10.0));
    }
    servers.client.execute("delete from andon.deliveries where lane = $1", &[&lane]).await?;
    park(&servers, &lane, options.parked, "waiting").await?;
    servers.daemon.stop().await?;
    servers.client.execute("update andon.webhooks set active = true where id = $1", &[&id]).await?;
    let begun = Instant::now();
    servers.daemon.start().await?;
    servers.daemon.ready().await?;
    running(&servers, &lane).await?;
    figures.note("restart, s", "ledger", begun.elapsed().as_secs_f64());
    figures.goal("restart, s", "ledger", Goal::Within(10.0));
    servers.stop()?;
    let facts =
        json!({"parked": options.parked, "drained": options.drained, "entities": ENTITIES, "concurrency": CONCURRENCY});
    Ok(Report { bench: "ledger", comparison: figures, facts })
}

/// Parks deliveries of events that never stood in the log. Of each entity that is retried, one is due and the others wait.
async fn park(servers: &Servers, lane: &str, count: i64, state: &str) -> Result<()> {
    servers
        .client
        .execute(
            "insert into andon.deliveries (lane, event, event_id, tenant, type, entity_type, entity_id, occurred_at, context, data, state,
                attempts, next_attempt_at, reason)
            select $1, -n, gen_random_uuid(), 'acme', 'operation.completed', 'operation', (n % $3)::text, now(),
                jsonb_build_object('site', 'Chicago', 'cell', 'Laser 1'), jsonb_build_object('quantity', n, 'note', repeat('x', 178)),
                case when $4 = 'waiting' and n <= $3 then 'retry' else $4 end, 1,
                case when $4 = 'retry' then now() when $4 = 'waiting' and n <= $3 then now() + interval '1 day' end, 'answered 500'
            from generate_series(1, $2::bigint) n",
            &[&lane, &count, &ENTITIES, &state],
        )
        .await?;
    servers.client.batch_execute("analyze andon.deliveries").await?;
    Ok(())
}

/// Activates or deactivates the webhook, and waits until its lane follows.
async fn pause(servers: &Servers, id: Uuid, active: bool) -> Result<()> {
    servers.client.execute("update andon.webhooks set active = $2 where id = $1", &[&id, &active]).await?;
    let sql = format!("select (state <> 'removed') = {active} from andon.lanes where lane = 'andon.webhooks/{id}'");
    until(servers, &sql).await
}

async fn running(servers: &Servers, lane: &str) -> Result<()> {
    until(servers, &format!("select exists (select from andon.lanes where lane = '{lane}' and state = 'running')"))
        .await
}

async fn until(servers: &Servers, sql: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !servers.client.query_one(sql, &[]).await?.get::<_, bool>(0) {
        ensure!(Instant::now() < deadline, "never became true: {sql}\n{}", servers.daemon.log_tail());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
