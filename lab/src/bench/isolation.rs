//! `andon-lab bench isolation`: what bad destinations cost the good ones. In: a rate of events to 100 webhooks and 20 publishers of one
//! tenant. Out: the latency from commit to receipt at the destinations that are never touched, and the gateway's memory, in four spells
//! that take turns: with events for the good ones only, with all healthy, with three in ten bad, and while those come back. It fails when
//! anything is missing or out of order anywhere, or when the gateway's memory grows beyond its bound, and never because it was slow.

mod destinations;
mod received;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use anyhow::bail;
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
use crate::bench::isolation::destinations::ALL;
use crate::bench::isolation::destinations::Audience;
use crate::bench::isolation::destinations::Destinations;
use crate::bench::isolation::received::Received;
use crate::bench::usage;
use crate::stage::Stage;
use crate::stage::connect;
use rig::Daemon;
use rig::Postgres;

/// How much to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct IsolationBench {
    /// Rounds; the median of each figure counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// How long each spell of a round lasts at least, in seconds
    #[arg(long, default_value_t = 10)]
    spell: u64,

    /// Events per second, each to up to 120 destinations
    #[arg(long, default_value_t = 20)]
    rate: u32,

    /// Events that pile up for the bad destinations alone, in each round
    #[arg(long, default_value_t = 1000)]
    backlog: i64,
}

const SPELLS: [&str; 4] = ["without", "healthy", "bad", "return"];
const P99: &str = "latency of the others, p99, ms";
const PEAK: &str = "peak memory of the gateway, MiB";
const ENTITIES: u32 = 40;
/// The most memory that the gateway may take, in MiB: 32 for the recent events, and the rest for 120 lanes.
const MEMORY: f64 = 128.0;
/// How long to wait for events that are on their way. A lane may pause for a minute before it tries whether its destination is back.
const ARRIVAL: Duration = Duration::from_secs(180);
/// The time between two looks at what has arrived, since each look takes time from what is measured.
const LOOK: Duration = Duration::from_millis(250);

pub(super) async fn isolation(options: IsolationBench, andon: &Andon) -> Result<Report> {
    let stage = Stage::start(andon, Postgres::start_durable).await?;
    let url = stage.database().await?;
    let client = connect(&url).await?;
    let destinations = Destinations::start().await?;
    destinations.insert(&client).await?;
    let daemon = andon.start(&url).await?;
    lanes_are_there(&client, &daemon).await?;
    let received = Received::new(&destinations);
    let mut bench =
        Bench { options, client, destinations, daemon, received, figures: Comparison::new(&SPELLS), ticks: 0 };
    bench.round().await?;
    // Connections and caches are cold in the first round.
    bench.figures.forget();
    for _ in 0..options.rounds {
        bench.round().await?;
    }
    let verdict = bench.received.judge();
    let facts =
        json!({"events_per_second": options.rate, "destinations": ALL, "rounds": options.rounds, "verdict": verdict});
    ensure!(verdict.is_clean(), "the oracle objects: {verdict:?}");
    let mut comparison = std::mem::replace(&mut bench.figures, Comparison::new(&SPELLS));
    comparison.goal(P99, "bad", Goal::AtMost(1.5));
    comparison.goal(PEAK, "bad", Goal::Within(MEMORY));
    drop(bench);
    stage.stop()?;
    Ok(Report { bench: "isolation", comparison, facts })
}

struct Bench {
    options: IsolationBench,
    client: Client,
    destinations: Destinations,
    daemon: Daemon,
    received: Received,
    figures: Comparison,
    ticks: u32,
}

impl Bench {
    async fn round(&mut self) -> Result<()> {
        for spell in SPELLS {
            usage::forget_peak(self.daemon.running()?)?;
            let (worked, begun) = (usage::processor(self.daemon.running()?)?, Instant::now());
            let least = begun + Duration::from_secs(self.options.spell);
            match spell {
                "without" => self.work(Audience::Live, |_| Instant::now() >= least).await?,
                "healthy" => self.work(Audience::All, |_| Instant::now() >= least).await?,
                "bad" => {
                    self.destinations.fail().await?;
                    self.pile_up().await?;
                    self.work(Audience::All, |_| Instant::now() >= least).await?;
                }
                _ => {
                    self.destinations.heal().await?;
                    self.work(Audience::All, Received::all_arrived).await?;
                    self.figures.note("until all have caught up, s", spell, begun.elapsed().as_secs_f64());
                }
            }
            let busy = (usage::processor(self.daemon.running()?)? - worked) / begun.elapsed().as_secs_f64();
            self.arrival(if spell == "bad" { Received::live_arrived } else { Received::all_arrived }).await?;
            let latencies = self.received.take_latencies();
            let all = latencies.iter().map(|(_, latency)| *latency).collect();
            let [p50, p99] = percentiles(all, [0.50, 0.99]);
            self.figures.note("latency of the others, p50, ms", spell, p50);
            self.figures.note(P99, spell, p99);
            self.figures.note("the same, p99 of the worst second, ms", spell, worst_second(&latencies));
            let peak = usage::peak_memory(self.daemon.running()?)?;
            ensure!(peak <= MEMORY, "the gateway took {peak:.0} MiB in a spell, and {MEMORY} is its bound");
            self.figures.note(PEAK, spell, peak);
            self.figures.note("cores busy with the gateway", spell, busy);
        }
        Ok(())
    }

    /// Commits events at the rate until `is_over`.
    async fn work(&mut self, audience: Audience, is_over: impl Fn(&Received) -> bool) -> Result<()> {
        let (kind, family) = match audience {
            Audience::All => ("to_all.made", "all"),
            Audience::Live => ("to_live.made", "live"),
            Audience::Bad => ("to_bad.made", "bad"),
        };
        let emit = self.client.prepare("select andon.emit($1, $2, 'acme', 'job', $3)").await?;
        let mut clock = tokio::time::interval(Duration::from_secs(1) / self.options.rate);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut looked, deadline) = (Instant::now(), Instant::now() + ARRIVAL);
        loop {
            clock.tick().await;
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.received.read()?;
                if is_over(&self.received) {
                    return Ok(());
                }
                ensure!(
                    looked < deadline,
                    "not all came back within {ARRIVAL:?}: {:?} lack something\n{}",
                    self.received.lacking(),
                    self.daemon.log_tail()
                );
            }
            self.ticks += 1;
            let entity = format!("{family}-{}", self.ticks % ENTITIES);
            let counter = self.received.next_counter(audience, &entity);
            let data = json!({"entity": entity, "counter": counter, "note": "x".repeat(200)});
            let transaction = self.client.transaction().await?;
            let event = transaction.query_one(&emit, &[&kind, &data, &entity]).await?.get(0);
            transaction.commit().await?;
            self.received.commits(audience, &entity, counter, event, Some(std::time::Instant::now()));
        }
    }

    /// Commits the backlog of the bad destinations in one statement.
    async fn pile_up(&mut self) -> Result<()> {
        let after = self.received.next_counter(Audience::Bad, "bad-0") as i64 - 1;
        let rows = self
            .client
            .query(
                "insert into andon.events (tenant, type, entity_type, entity_id, data)
                select 'acme', 'to_bad.made', 'job', 'bad-' || entity, jsonb_build_object('note', repeat('x', 200))
                from generate_series($1::bigint + 1, $1::bigint + $2::bigint / 20) counter, generate_series(0, 19) entity order by counter, entity
                returning event_id, entity_id",
                &[&after, &self.options.backlog],
            )
            .await?;
        for row in rows {
            let entity: &str = row.get(1);
            let counter = self.received.next_counter(Audience::Bad, entity);
            self.received.commits(Audience::Bad, entity, counter, row.get(0), None);
        }
        self.client.batch_execute("select andon.ring()").await?;
        Ok(())
    }

    async fn arrival(&mut self, is_enough: impl Fn(&Received) -> bool) -> Result<()> {
        let deadline = Instant::now() + ARRIVAL;
        let mut clock = tokio::time::interval(LOOK);
        loop {
            self.received.read()?;
            if is_enough(&self.received) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "destinations {:?} lack something after {ARRIVAL:?}:\n{}",
                    self.received.lacking(),
                    self.daemon.log_tail()
                );
            }
            clock.tick().await;
        }
    }
}

/// Waits until the gateway has started all lanes, so that none misses an event by starting after it.
async fn lanes_are_there(client: &Client, daemon: &Daemon) -> Result<()> {
    let deadline = Instant::now() + ARRIVAL;
    let mut clock = tokio::time::interval(LOOK);
    while client.query_one("select count(*) from andon.lanes", &[]).await?.get::<_, i64>(0) < ALL as i64 {
        ensure!(Instant::now() < deadline, "the gateway does not start its lanes:\n{}", daemon.log_tail());
        clock.tick().await;
    }
    Ok(())
}

/// Returns the highest p99 of all seconds, because a short disturbance does not show in the percentiles of a whole spell.
fn worst_second(latencies: &[(std::time::Instant, Duration)]) -> f64 {
    let Some(first) = latencies.iter().map(|(at, _)| *at).min() else { return f64::NAN };
    let mut seconds: BTreeMap<u64, Vec<Duration>> = BTreeMap::new();
    for (at, latency) in latencies {
        seconds.entry(at.duration_since(first).as_secs()).or_default().push(*latency);
    }
    seconds.into_values().map(|second| percentiles(second, [0.99])[0]).fold(0.0, f64::max)
}
