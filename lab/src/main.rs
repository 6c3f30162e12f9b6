//! The `andon-lab` program, which shows Andon at work, under faults, and compared with other programs. In: a command line. Out: an exit
//! status: 0, 1 for a fault or a loss, 2 for bad usage. It starts the `andon` binary as a user would, and shares no code with it.

mod andon;
mod bench;
mod chaos;
mod compat;
mod demo;
mod duration;
mod packages;
mod stage;
mod witness;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::Result;
use clap::Parser;
use clap::Subcommand;
use mimalloc::MiMalloc;
use tracing_subscriber::EnvFilter;

use crate::andon::Andon;
use crate::bench::BenchOptions;
use crate::chaos::ChaosOptions;
use crate::compat::CompatOptions;
use crate::demo::DemoOptions;

/// The allocator of `andon`, so that a baseline in this process does not suffer from a slower one.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Shows and measures Andon on throw-away servers
#[derive(Debug, Parser)]
#[command(name = "andon-lab", version, max_term_width = 100)]
struct Cli {
    /// The `andon` to start, such as one of another build to compare [default: the one next to this program]
    #[arg(long, global = true, env = "ANDON_PROGRAM", hide_env_values = true, value_name = "FILE")]
    andon: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show it at work: a simulated plant on throw-away servers, and witnesses that judge what arrives
    Demo(Box<DemoOptions>),
    /// Prove it: break everything around it, and judge what arrives
    Chaos(ChaosOptions),
    /// Find out with whom it works: a small line beside each PostgreSQL, broker and pooler of a list
    Compat(CompatOptions),
    /// Measure, on throw-away servers
    Bench(BenchOptions),
}

/// The log filter unless ANDON_LOG or RUST_LOG sets another.
const LOG: &str = "info,tokio_postgres=warn";

/// How long the end waits for servers that are still starting.
const LEAVING: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let cli = Cli::parse();
    start(cli).unwrap_or_else(|error| {
        eprintln!("andon-lab: {error:#}");
        ExitCode::FAILURE
    })
}

fn start(cli: Cli) -> Result<ExitCode> {
    log();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let outcome = runtime.block_on(Box::pin(run(cli)));
    runtime.shutdown_timeout(LEAVING);
    outcome
}

async fn run(cli: Cli) -> Result<ExitCode> {
    let andon = Andon::find(cli.andon)?;
    match cli.command {
        Command::Demo(options) => demo::run(*options, &andon).await,
        Command::Chaos(options) => chaos::run(options, &andon).await,
        Command::Compat(options) => compat::run(options, &andon).await,
        Command::Bench(options) => bench::run(options, &andon).await.map(|()| ExitCode::SUCCESS),
    }
}

fn log() {
    let filter = ["ANDON_LOG", "RUST_LOG"].iter().find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    let writer = std::io::stderr;
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter.as_deref().unwrap_or(LOG)))
        .with_writer(writer)
        .with_ansi(writer().is_terminal())
        .with_target(false)
        .init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }
}
