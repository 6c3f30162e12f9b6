//! `andon-lab bench live`: how long a committed event takes to reach a subscriber. In: rates of events. Out: the latency from the trigger,
//! which includes the commit, to the receipt, on the clock of one machine. The baseline carries the payload inside NOTIFY and publishes
//! it. It fails when anything is missing, and never because it was slow.

mod relay;
mod writers;

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::ensure;
use serde_json::json;
use tokio::time::Instant;

use crate::andon::Andon;
use crate::bench::comparison::Comparison;
use crate::bench::comparison::Goal;
use crate::bench::comparison::Report;
use crate::bench::comparison::percentiles;
use crate::bench::latency_probe;
use crate::bench::latency_probe::LatencyProbe;
use crate::bench::live::relay::Relay;
use crate::bench::live::writers::Writers;
use crate::bench::usage;
use crate::stage;
use crate::stage::Stage;
use crate::stage::blocking;
use crate::stage::connect;
use rig::Daemon;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Postgres;

/// How much to measure.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct LiveBench {
    /// Rounds; the median of each figure counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// How long each variant works at each rate in each round, in milliseconds
    #[arg(long, default_value_t = 4000)]
    spell: u64,

    /// Events per second
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1000, 5000])]
    rates: Vec<u32>,
}

const VARIANTS: [&str; 2] = ["notify", "andon"];
/// A filter for the topics of both variants.
const TOPICS: &str = "live/#";

const TABLE: &str = "create table jobs (id bigint primary key generated always as identity, note text not null)";
const TELL: &str = "
create function tell() returns trigger language plpgsql as $$
begin
    perform pg_notify('live', jsonb_build_object('id', new.id, 'note', new.note,
        'stamp', (extract(epoch from clock_timestamp()) * 1000000)::bigint)::text);
    return null;
end $$;
create trigger tell after insert on jobs for each row execute function tell()";
const MAPPING: &str = r#"
[source]
name = "live"
tenant = "'acme'"
[[capture]]
table = "jobs"
on = "insert"
type = "job.created"
columns = ["id", "note"]
data = { stamp = "(extract(epoch from clock_timestamp()) * 1000000)::bigint" }"#;

/// How long to wait for events that are on their way at the end of a spell.
const ARRIVAL: Duration = Duration::from_secs(20);
/// The first moments of a spell, which do not count because processors and plans are cold after the other variant's turn.
const WARMING: Duration = Duration::from_millis(300);

pub(super) async fn live(options: LiveBench, andon: &Andon) -> Result<Report> {
    let (stage, broker) =
        tokio::try_join!(Stage::start(andon, Postgres::start_durable), stage::broker(MosquittoOptions::default()))?;
    let mut bench = Bench::prepare(&options, &stage, &broker).await?;
    for round in 0..=options.rounds {
        for rate in &options.rates {
            for variant in VARIANTS {
                bench.spell(variant, *rate).await?;
            }
        }
        if round == 0 {
            // Caches and connections are cold in the first round.
            bench.figures.forget();
        }
    }
    let Bench { figures, daemon, writers, .. } = bench;
    drop((daemon, writers));
    stage.stop()?;
    let facts = json!({"rounds": options.rounds, "spell_ms": options.spell});
    Ok(Report { bench: "live", comparison: figures, facts })
}

struct Bench {
    spell: Duration,
    writers: [Option<Writers>; 2],
    probe: LatencyProbe,
    daemon: Daemon,
    _relay: Relay,
    figures: Comparison,
}

impl Bench {
    async fn prepare(options: &LiveBench, stage: &Stage, broker: &Mosquitto) -> Result<Bench> {
        // Each variant has a database of its own, because NOTIFY wakes every listener of a database, whatever it listens to.
        let plain = stage.postgres.create_database().await?;
        connect(&plain).await?.batch_execute(&format!("{TABLE}; {TELL}")).await?;
        let attached = stage.database().await?;
        let owner = connect(&attached).await?;
        owner.batch_execute(TABLE).await?;
        stage.andon.attach(&attached, MAPPING).await?;
        owner
            .execute(
                "insert into andon.mqtt_publishers (tenant_id, name, broker_url, port, topic_pattern, events)
                values ('acme', 'plant', '127.0.0.1', $1, 'live/{event}', '{*}')",
                &[&i32::from(broker.port())],
            )
            .await?;
        let most = options.rates.iter().map(|rate| sessions(*rate)).max().unwrap_or(1);
        let daemon = stage.andon.start(&attached).await?;
        let bench = Bench {
            spell: Duration::from_millis(options.spell),
            writers: [
                Some(Writers::connect(plain.clone(), most).await?),
                Some(Writers::connect(attached, most).await?),
            ],
            probe: LatencyProbe::start(broker.port(), TOPICS)?,
            daemon,
            _relay: Relay::start(plain, broker.port())?,
            figures: goals(&options.rates),
        };
        bench.lane_runs(&owner).await?;
        Ok(bench)
    }

    async fn lane_runs(&self, client: &tokio_postgres::Client) -> Result<()> {
        let deadline = Instant::now() + ARRIVAL;
        while client.query_one("select count(*) from andon.lanes", &[]).await?.get::<_, i64>(0) == 0 {
            ensure!(Instant::now() < deadline, "the gateway does not start its lane:\n{}", self.daemon.log_tail());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // The lane connects to its broker after that.
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(())
    }

    async fn spell(&mut self, variant: &'static str, rate: u32) -> Result<()> {
        let is_ours = variant == VARIANTS[1];
        let mut writers = self.writers[usize::from(is_ours)].take().context("a spell before failed")?;
        let sessions = sessions(rate);
        // At ten a second, a short spell says little.
        let spell = if rate < 100 { self.spell * 2 } else { self.spell };
        self.probe.forget();
        let worked = usage::processor(self.daemon.running()?)?;
        let begun = latency_probe::wall_clock();
        let (writers, wrote) = blocking(move || {
            let wrote = writers.write(rate, sessions, spell)?;
            Ok((writers, wrote))
        })
        .await?;
        self.writers[usize::from(is_ours)] = Some(writers);
        let deadline = Instant::now() + ARRIVAL;
        while (self.probe.count() as u64) < wrote && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let took = (latency_probe::wall_clock() - begun).as_secs_f64();
        let receipts = self.probe.take(is_ours)?;
        let distinct: HashSet<i64> = receipts.iter().map(|receipt| receipt.id).collect();
        let missing = wrote.saturating_sub(distinct.len() as u64);
        ensure!(missing == 0, "{variant} at {rate}/s: {missing} of {wrote} are missing:\n{}", self.daemon.log_tail());
        let warm = begun + WARMING;
        let latencies =
            receipts.iter().filter(|receipt| receipt.stamp >= warm).map(|it| it.at.saturating_sub(it.stamp)).collect();
        let [p50, p99] = percentiles(latencies, [0.50, 0.99]);
        let mut note = |what: &str, figure| self.figures.note(&format!("{rate}/s, {what}"), variant, figure);
        note("p50, ms", p50);
        note("p99, ms", p99);
        note("commits/s", wrote as f64 / took);
        if is_ours {
            note("gateway's CPU, us/event", (usage::processor(self.daemon.running()?)? - worked) * 1e6 / wrote as f64);
        }
        Ok(())
    }
}

fn goals(rates: &[u32]) -> Comparison {
    let mut figures = Comparison::new(&VARIANTS);
    for (rate, p50, p99) in [(1000, 1.3, 1.5), (5000, 1.0, 1.0)] {
        if rates.contains(&rate) {
            figures.goal(&format!("{rate}/s, p50, ms"), VARIANTS[1], Goal::AtMost(p50));
            figures.goal(&format!("{rate}/s, p99, ms"), VARIANTS[1], Goal::AtMost(p99));
        }
    }
    figures
}

/// Returns how many sessions write. Few are enough at low rates, while a plant with 5,000 events a second has many.
fn sessions(rate: u32) -> usize {
    match rate {
        0..100 => 1,
        100..1000 => 2,
        1000..5000 => 8,
        _ => 32,
    }
}
