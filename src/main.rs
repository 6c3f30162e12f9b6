//! The `andon` program. In: a command line. Out: an exit status: 0 for success, 1 for a fault, 2 for bad usage or a bad configuration.

use std::process::ExitCode;
use std::time::Duration;

use andon::cli::Cli;
use andon::cli::failure::Failure;
use andon::telemetry;
use anyhow::Context as _;
use clap::Parser as _;
use mimalloc::MiMalloc;

/// The system's allocator took a fifth of the gateway's processor time under load; see ARCHITECTURE.md.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How long the runtime may take to shut down, so that a name look-up that hangs does not hold up the end of the process.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let cli = Cli::parse();
    start(cli).unwrap_or_else(|failure| failure.report())
}

fn start(cli: Cli) -> Result<ExitCode, Failure> {
    telemetry::start(cli.log).map_err(|error| Failure::Usage(error.into()))?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if cli.is_daemon() {
        forgo_huge_pages();
        builder.worker_threads(worker_threads());
    }
    let runtime = builder.enable_all().build().context("cannot start the runtime")?;
    let outcome = runtime.block_on(Box::pin(cli.run()));
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    outcome
}

/// Makes the kernel give memory in pages of 4 KiB. The allocator asks for huge ones, which become resident as a whole where the tables of ten
/// thousand lanes use a part, and a third of a start was spent on clearing them. A kernel that does not know the request gives what it likes.
fn forgo_huge_pages() {
    nix::sys::prctl::set_thp_disable(true).ok();
}

/// Returns one thread for every second processor, because database and broker often run on the same machine. Each thread that wakes up
/// wakes another one to look for work; on two processors, that took a quarter of all processor time and gained nothing.
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| (processors.get() / 2).max(1))
}
