//! `andon bench growth`: whether an event costs the same, however much there is beside it. In: how many events. Out: the processor time that
//! the gateway and PostgreSQL spend on an event, with 1 to 1,000 publishers in as many tenants, and with 1 to 1,000,000 entities. The
//! smallest is the baseline.

use std::time::Duration;

use anyhow::Result;
use anyhow::ensure;
use serde_json::json;
use tokio::time::Instant;

use crate::bench::Report;
use crate::bench::comparison::Comparison;
use crate::bench::comparison::Goal;
use crate::bench::stage::PATIENCE;
use crate::bench::stage::Stage;

/// How much is measured.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct GrowthBench {
    /// Rounds; the median of each figure counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Events of each figure
    #[arg(long, default_value_t = 100_000)]
    events: i64,
}

const VARIANTS: [&str; 7] = ["1", "10", "100", "1000", "1 entity", "1000 e.", "1000000 e."];
const DESTINATIONS: [(&str, i64); 4] = [("1", 1), ("10", 10), ("100", 100), ("1000", 1000)];
const ENTITIES: [(&str, i64); 3] = [("1 entity", 1), ("1000 e.", 1000), ("1000000 e.", 1_000_000)];
/// Rows of a transaction: the plant is busy, and the lanes keep up.
const PORTION: i64 = 100;
const WORK: &str = "gateway, microseconds per event";
const DATABASE: &str = "PostgreSQL, microseconds per event";

/// Measures.
pub(super) async fn growth(options: GrowthBench) -> Result<Report> {
    let mut comparison = Comparison::new(&VARIANTS);
    for (variant, destinations) in DESTINATIONS {
        let stage = Stage::start().await?;
        for number in 0..destinations {
            stage.publisher(&format!("tenant-{number}"), &format!("p_{number}")).await?;
        }
        for round in 0..=options.rounds {
            let cost = cost(&stage, options.events, destinations, 1000).await?;
            if round > 0 {
                note(&mut comparison, variant, cost);
            }
        }
        stage.postgres.stop()?;
    }
    for (variant, entities) in ENTITIES {
        let stage = Stage::start().await?;
        stage.publisher("tenant-0", "p_0").await?;
        for round in 0..=options.rounds {
            let cost = cost(&stage, options.events.max(entities), 1, entities).await?;
            if round > 0 {
                note(&mut comparison, variant, cost);
            }
        }
        stage.postgres.stop()?;
    }
    for (variant, _) in &DESTINATIONS[1..] {
        comparison.goal(WORK, variant, Goal::AtMost(1.3));
    }
    for (variant, _) in &ENTITIES[1..] {
        comparison.goal_against(WORK, variant, ENTITIES[0].0, Goal::AtMost(1.3));
    }
    let facts = json!({"events": options.events, "rows_in_a_transaction": PORTION, "rounds": options.rounds});
    Ok(Report { bench: "growth", comparison, facts })
}

fn note(comparison: &mut Comparison, variant: &'static str, (gateway, database): (f64, f64)) {
    comparison.note(WORK, variant, gateway);
    comparison.note(DATABASE, variant, database);
}

/// Commits events, in turns for each tenant, and waits until all are delivered. Microseconds per event.
async fn cost(stage: &Stage, events: i64, tenants: i64, entities: i64) -> Result<(f64, f64)> {
    let delivered = "select coalesce(sum(delivered), 0)::bigint, count(*) from andon.lanes where state = 'running'";
    let deadline = Instant::now() + PATIENCE;
    let before: i64 = loop {
        let row = stage.client.query_one(delivered, &[]).await?;
        if row.get::<_, i64>(1) >= tenants {
            break row.get(0);
        }
        ensure!(Instant::now() < deadline, "the gateway does not take up its lanes:\n{}", stage.daemon.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let (gateway, database) = (stage.daemon.worked()?, stage.database_worked()?);
    let portion = stage
        .client
        .prepare(
            "with made as (
                insert into andon.events (tenant, type, entity_type, entity_id, context, data)
                select 'tenant-' || n % $3, 'operation.completed', 'operation', (n % $4)::text,
                    jsonb_build_object('site', 'Chicago', 'area', 'Fabrication', 'cell', 'Laser 1', 'job_number', 'J-' || n),
                    jsonb_build_object('operation_name', 'Cut', 'quantity', n, 'note', repeat('x', 178))
                from generate_series($1::bigint, $2::bigint) n
            )
            select andon.ring()",
        )
        .await?;
    let mut next = 0;
    while next < events {
        stage.client.execute(&portion, &[&next, &(next + PORTION - 1), &tenants, &entities]).await?;
        next += PORTION;
    }
    while stage.client.query_one(delivered, &[]).await?.get::<_, i64>(0) < before + events {
        ensure!(Instant::now() < deadline, "not all of {events} events were delivered:\n{}", stage.daemon.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let per_event = |before: f64, after: f64| (after - before) * 1e6 / events as f64;
    Ok((per_event(gateway, stage.daemon.worked()?), per_event(database, stage.database_worked()?)))
}
