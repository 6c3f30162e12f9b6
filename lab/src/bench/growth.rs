//! `andon-lab bench growth`: whether the cost of an event depends on how much else there is. In: how many events. Out: the processor time
//! that the gateway and PostgreSQL spend on an event, with 1 to 1,000 publishers in as many tenants, and with 1 to 1,000,000 entities. The
//! smallest number is the baseline.

use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use anyhow::ensure;
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::andon::Andon;
use crate::bench::comparison::Comparison;
use crate::bench::comparison::Goal;
use crate::bench::comparison::Report;
use crate::bench::servers::PATIENCE;
use crate::bench::servers::Servers;
use crate::stage::connect;

/// How much to measure.
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
const DESTINATIONS: [(&str, Population); 4] =
    [("1", of(1, 1000)), ("10", of(10, 1000)), ("100", of(100, 1000)), ("1000", of(1000, 1000))];
const ENTITIES: [(&str, Population); 3] =
    [("1 entity", of(1, 1)), ("1000 e.", of(1, 1000)), ("1000000 e.", of(1, 1_000_000))];
/// How events are committed: each in a transaction of its own, as a plant does it, or in large transactions, whose events a lane publishes
/// together.
const SHAPES: [Shape; 2] = [
    Shape { portion: 1, part: 4, gateway: "gateway, us per event", database: "PostgreSQL, us per event" },
    Shape {
        portion: 100,
        part: 1,
        gateway: "gateway, us per event, 100 in a transaction",
        database: "PostgreSQL, us per event, 100 in a transaction",
    },
];
const WRITERS: i64 = 4;

struct Shape {
    portion: i64,
    /// Only one in this many of the events is used, for shapes that take longer.
    part: i64,
    gateway: &'static str,
    database: &'static str,
}

/// Runs the bench.
pub(super) async fn growth(options: GrowthBench, andon: &Andon) -> Result<Report> {
    let mut comparison = Comparison::new(&VARIANTS);
    measure(andon, &mut comparison, &DESTINATIONS, options).await?;
    measure(andon, &mut comparison, &ENTITIES, options).await?;
    for (variant, _) in &DESTINATIONS[1..] {
        comparison.goal(SHAPES[0].gateway, variant, Goal::AtMost(1.3));
    }
    for (variant, _) in &ENTITIES[1..] {
        comparison.goal_against(SHAPES[0].gateway, variant, ENTITIES[0].0, Goal::AtMost(1.3));
    }
    let facts = json!({"events": options.events, "writers": WRITERS, "rounds": options.rounds});
    Ok(Report { bench: "growth", comparison, facts })
}

/// How many tenants and entities there are. Each tenant has one destination.
#[derive(Clone, Copy)]
struct Population {
    tenants: i64,
    entities: i64,
}

const fn of(tenants: i64, entities: i64) -> Population {
    Population { tenants, entities }
}

/// Lets the variants take turns, each on servers of its own.
async fn measure(
    andon: &Andon,
    comparison: &mut Comparison,
    variants: &[(&str, Population)],
    options: GrowthBench,
) -> Result<()> {
    let mut all = Vec::new();
    for (_, population) in variants {
        let servers = Servers::start(andon).await?;
        for number in 0..population.tenants {
            servers.publisher(&format!("tenant-{number}"), &format!("p_{number}")).await?;
        }
        let writers = try_join_all((0..WRITERS).map(|_| connect(&servers.url))).await?;
        all.push((servers, writers));
    }
    for round in 0..=options.rounds {
        for ((variant, population), (servers, writers)) in variants.iter().zip(&all) {
            for shape in &SHAPES {
                let (gateway, database) =
                    cost(servers, writers, options.events / shape.part, shape.portion, *population).await?;
                // Caches and plans are cold in the first round.
                if round > 0 {
                    comparison.note(shape.gateway, variant, gateway);
                    comparison.note(shape.database, variant, database);
                }
            }
        }
    }
    for (servers, _) in all {
        servers.stop()?;
    }
    Ok(())
}

/// Commits events for the tenants in turns, and waits until all are delivered. Returns the microseconds of the gateway and of PostgreSQL
/// per event.
async fn cost(
    servers: &Servers,
    writers: &[Client],
    events: i64,
    portion: i64,
    population: Population,
) -> Result<(f64, f64)> {
    let delivered = "select coalesce(sum(delivered), 0)::bigint, count(*) from andon.lanes where state = 'running'";
    let deadline = Instant::now() + PATIENCE;
    let before: i64 = loop {
        let row = servers.client.query_one(delivered, &[]).await?;
        if row.get::<_, i64>(1) >= population.tenants {
            break row.get(0);
        }
        ensure!(Instant::now() < deadline, "the gateway does not start its lanes:\n{}", servers.daemon.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let (gateway, database) = (servers.gateway_worked()?, servers.database_worked()?);
    let next = AtomicI64::new(0);
    try_join_all(writers.iter().map(async |client| {
        let emit = client.prepare(EMIT).await?;
        loop {
            let first = next.fetch_add(portion, Ordering::Relaxed);
            if first >= events {
                return anyhow::Ok(());
            }
            client.execute(&emit, &[&first, &(first + portion - 1), &population.tenants, &population.entities]).await?;
        }
    }))
    .await?;
    while servers.client.query_one(delivered, &[]).await?.get::<_, i64>(0) < before + events {
        ensure!(Instant::now() < deadline, "not all of {events} events were delivered:\n{}", servers.daemon.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let per_event = |before: f64, after: f64| (after - before) * 1e6 / events as f64;
    Ok((per_event(gateway, servers.gateway_worked()?), per_event(database, servers.database_worked()?)))
}

const EMIT: &str = "
    with made as (
        insert into andon.events (tenant, type, entity_type, entity_id, context, data)
        select 'tenant-' || n % $3, 'operation.completed', 'operation', (n % $4)::text,
            jsonb_build_object('site', 'Chicago', 'area', 'Fabrication', 'cell', 'Laser 1', 'job_number', 'J-' || n),
            jsonb_build_object('operation_name', 'Cut', 'quantity', n, 'note', repeat('x', 178))
        from generate_series($1::bigint, $2::bigint) n
    )
    select andon.ring()";
