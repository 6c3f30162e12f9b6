//! `andon-lab bench`: measurements on throw-away servers. In: which bench, and how much of it. Out: figures next to those of a baseline from
//! the same run, as a table or as JSON, and the goals. It fails when something is lost, and never because something was slow.

mod arrival;
mod backlog;
mod bare;
mod capture;
mod comparison;
mod drain;
mod fan_out;
mod growth;
mod holes;
mod idle;
mod isolation;
mod lanes;
mod latency_probe;
mod ledger;
mod live;
mod machine;
mod memory;
mod peers;
mod servers;
mod sink;
mod turns;
mod usage;

use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::bail;
use serde_json::Value;
use serde_json::json;

use crate::andon::Andon;
use crate::bench::comparison::Report;

/// Which bench, and what to do with its figures.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchOptions {
    #[command(subcommand)]
    which: Which,

    /// Print one line of JSON instead of a table
    #[arg(long, global = true)]
    json: bool,

    /// Write the figures, and what machine they were taken on, into this file too
    #[arg(long, global = true, value_name = "FILE")]
    save: Option<PathBuf>,

    /// Compare with the `andon` of another build: both take turns, and only their own figures are shown
    #[arg(long, global = true, value_name = "FILE")]
    before: Option<PathBuf>,

    /// How often each of the two builds has its turn
    #[arg(long, global = true, default_value_t = 3, value_name = "COUNT")]
    turns: usize,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Which {
    /// The first nine, one after the other, at their defaults: twenty minutes
    All,
    /// What waits in the log, to PUBACKs: against a bare loop of the MQTT client
    DrainMqtt(drain::DrainBench),
    /// What waits in the log, to 2xx: against a bare loop of the HTTP client, and of hyper
    DrainWebhook(drain::DrainBench),
    /// One event to ten publishers and ten webhooks: against as many bare loops at once
    FanOut(fan_out::FanOutBench),
    /// Millions of events wait, for destinations that are at very different places of the log: memory, and the last of them against the
    /// first
    Backlog(backlog::BacklogBench),
    /// What an event costs with more destinations, tenants and entities
    Growth(growth::GrowthBench),
    /// From the commit to a subscriber: against the payload inside NOTIFY and a bare publish
    Live(live::LiveBench),
    /// What 50 lanes cost while nothing happens
    Idle(idle::IdleBench),
    /// What capture costs the plant, against none and against a NOTIFY for each row
    Capture(capture::CaptureBench),
    /// Node-RED and graphile-worker with the same work, installed with npm: against Andon
    Peers(peers::PeersBench),
    /// What bad destinations cost the good ones: 100 webhooks and 20 publishers, three in ten of them bad
    Isolation(isolation::IsolationBench),
    /// What 72,000 open holes cost 20 events a second for 100 lanes: against none
    Holes(holes::HolesBench),
    /// The memory at its peak, with large events and 10,000 lanes behind: against what README says
    Memory(memory::MemoryBench),
    /// What 10,000 webhooks and 2,000 publishers cost: until ready, memory, idle, and a change of one
    Lanes(lanes::LanesBench),
    /// What a million parked deliveries cost: list, retry, discard, restart, and draining them against the log
    Ledger(ledger::LedgerBench),
}

/// Measures and prints.
pub(crate) async fn run(options: BenchOptions, andon: &Andon) -> Result<()> {
    let machine = machine::description();
    let before = options.before.map(|program| Andon::find(Some(program))).transpose()?;
    let mut reports = Vec::new();
    for which in options.which.listed() {
        let report = match &before {
            Some(before) => {
                let bench = async |program: &Andon| which.clone().run(program).await;
                turns::take_turns(options.turns, before, andon, bench).await?
            }
            None => which.run(andon).await?,
        };
        let json = report.comparison.json(report.bench, &report.facts);
        let text = if options.json {
            json.to_string()
        } else {
            format!("# {}\n{}\n{}\n", report.bench, report.facts, report.comparison.table())
        };
        // A reader that has closed it wants no more, which is no fault.
        drop(writeln!(std::io::stdout().lock(), "{text}"));
        reports.push(json);
        if let Some(path) = &options.save {
            // They are saved after each bench, so that one that fails does not cost the figures of the others.
            save(path, &json!({"machine": machine, "taken_at": jiff::Timestamp::now(), "benches": reports}))?;
        }
    }
    Ok(())
}

impl Which {
    fn listed(self) -> Vec<Which> {
        match self {
            Which::All => {
                vec![
                    Which::DrainMqtt(defaults()),
                    Which::DrainWebhook(defaults()),
                    Which::FanOut(defaults()),
                    Which::Live(defaults()),
                    Which::Capture(defaults()),
                    Which::Idle(defaults()),
                    Which::Growth(defaults()),
                    Which::Backlog(defaults()),
                    Which::Peers(defaults()),
                ]
            }
            one => vec![one],
        }
    }

    async fn run(self, andon: &Andon) -> Result<Report> {
        match self {
            Which::All => bail!("`all` is a list of benches, and none itself"),
            Which::DrainMqtt(options) => Box::pin(drain::mqtt(options, andon)).await,
            Which::DrainWebhook(options) => Box::pin(drain::webhook(options, andon)).await,
            Which::FanOut(options) => Box::pin(fan_out::fan_out(options, andon)).await,
            Which::Backlog(options) => Box::pin(backlog::backlog(options, andon)).await,
            Which::Growth(options) => Box::pin(growth::growth(options, andon)).await,
            Which::Live(options) => Box::pin(live::live(options, andon)).await,
            Which::Idle(options) => Box::pin(idle::idle(options, andon)).await,
            Which::Capture(options) => Box::pin(capture::capture(options, andon)).await,
            Which::Peers(options) => Box::pin(peers::peers(options, andon)).await,
            Which::Isolation(options) => Box::pin(isolation::isolation(options, andon)).await,
            Which::Holes(options) => Box::pin(holes::holes(options, andon)).await,
            Which::Memory(options) => Box::pin(memory::memory(options, andon)).await,
            Which::Lanes(options) => Box::pin(lanes::lanes(options, andon)).await,
            Which::Ledger(options) => Box::pin(ledger::ledger(options, andon)).await,
        }
    }
}

/// Returns the options of a bench at their defaults.
fn defaults<O: clap::Args>() -> O {
    let command = O::augment_args(clap::Command::new("bench").no_binary_name(true));
    let matches = command.get_matches_from(std::iter::empty::<&str>());
    O::from_arg_matches(&matches).expect("every option of a bench has a default")
}

fn save(path: &Path, results: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(results)? + "\n";
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
