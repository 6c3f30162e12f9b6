//! graphile-worker next to Andon, to signed webhooks. In: servers and options. Out: the figures of bursts and backlogs. graphile-worker
//! gets its jobs through its own function, a hundred at a time in a transaction; with Andon, the plant's table is written as well.

use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use anyhow::ensure;
use serde_json::json;

use crate::bench::comparison::Comparison;
use crate::bench::peers::bursts::VARIANTS;
use crate::bench::peers::bursts::bursts;
use crate::bench::peers::consumer::Program;
use crate::bench::peers::contest::ArrivalCounter;
use crate::bench::peers::contest::Side;
use crate::bench::peers::options::PeersBench;
use crate::bench::peers::plant;
use crate::bench::sink::SECRET;
use crate::bench::sink::Sink;
use crate::packages::Packages;
use crate::stage::Stage;
use crate::stage::connect;

const PATH: &str = "/reports";
/// The jobs of graphile-worker are rows that it updates and deletes. Dead rows must not be left for the next burst.
const TIDY_JOBS: &str = "vacuum graphile_worker._private_jobs";
const TIDY_TABLE: &str = "truncate reports";
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets both take turns, and adds their figures.
pub(super) async fn compare(
    options: &PeersBench,
    packages: &Packages,
    stage: &Stage,
    comparison: &mut Comparison,
) -> Result<()> {
    let sink = Sink::start()?;
    let url = sink.url(PATH);
    let intake = format!(
        "select count(*) from graphile_worker.add_jobs(array(
            select row('post', {}::json, null, null, null, null, null, null)::graphile_worker.job_spec from ({}) report))",
        plant::body("report"),
        plant::reports()
    );
    let program = Program::GraphileWorker { url: url.clone(), concurrency: options.concurrency };
    let database = stage.postgres.create_database().await?;
    let mut peer = Side::new(program, database.clone(), options.writers, intake, TIDY_JOBS).await?;
    peer.start(packages).await?;
    is_listening(&database).await?;
    let database = posting(stage, &url, options.concurrency).await?;
    let mut andon =
        Side::new(Program::Andon(stage.andon.clone()), database, options.writers, plant::insert(), TIDY_TABLE).await?;
    andon.start(packages).await?;
    let counter = ArrivalCounter::Endpoint(sink);
    bursts("graphile-worker", [&peer, &andon], &counter, &stage.postgres, options, comparison).await?;
    for round in 0..=options.rounds {
        for (side, variant) in [(&mut peer, VARIANTS[0]), (&mut andon, VARIANTS[1])] {
            let drain = side.drain(&counter, packages, options.events).await?;
            // The first round does not count because it is cold.
            if round > 0 {
                comparison.note("graphile-worker, a backlog: events/s", variant, drain.rate);
                comparison.note("graphile-worker, a backlog: its processor time, us/event", variant, drain.work);
                comparison.note("graphile-worker, a backlog: from start to first receipt, s", variant, drain.start);
            }
        }
    }
    Ok(())
}

/// Waits until graphile-worker listens, which it does after it has made its schema.
async fn is_listening(database: &str) -> Result<()> {
    let client = connect(database).await?;
    let deadline = Instant::now() + PATIENCE;
    let sql = "select count(*) from pg_stat_activity where datname = current_database() and query ilike 'listen %jobs:insert%'";
    while client.query_one(sql, &[]).await?.get::<_, i64>(0) == 0 {
        ensure!(Instant::now() < deadline, "graphile-worker does not listen for jobs");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Makes a database that Andon is attached to, with one webhook.
async fn posting(stage: &Stage, url: &str, concurrency: usize) -> Result<String> {
    let database = plant::attached(stage).await?;
    connect(&database)
        .await?
        .execute(
            "insert into andon.webhooks (tenant_id, url, secret_key, events, settings) values ('acme', $1, $2, '{*}', $3)",
            &[&url, &SECRET, &json!({"concurrency": concurrency})],
        )
        .await?;
    Ok(database)
}
