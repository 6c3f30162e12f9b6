//! The `andon` program. In: a command line. Out: an exit status: 0, 1 for a fault, 2 for bad usage or a bad configuration.

use std::process::ExitCode;
use std::time::Duration;

use andon::cli::Cli;
use andon::cli::Failure;
use andon::telemetry;
use anyhow::Context as _;
use clap::Parser as _;
use mimalloc::MiMalloc;

/// A fifth of the gateway's work under load was the system's allocator; see ARCHITECTURE.md.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A name look-up that hangs must not hold up the end.
const LEAVING: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let cli = Cli::parse();
    start(cli).unwrap_or_else(|failure| failure.tell())
}

fn start(cli: Cli) -> Result<ExitCode, Failure> {
    telemetry::start(cli.log).map_err(|error| Failure::Usage(error.into()))?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if cli.is_daemon() {
        builder.worker_threads(workers());
    }
    let runtime = builder.enable_all().build().context("cannot start the runtime")?;
    let outcome = runtime.block_on(Box::pin(cli.run()));
    runtime.shutdown_timeout(LEAVING);
    outcome
}

/// Threads that carry events, one for every second processor: database and broker are often on the same machine. Each wake-up of one
/// thread wakes another to look for work, and on two processors that cost a quarter of all processor time and brought nothing.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| (processors.get() / 2).max(1))
}
