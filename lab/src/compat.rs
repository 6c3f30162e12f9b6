//! `andon-lab compat`: with whom Andon works. In: a list of PostgreSQL versions, brokers and poolers. Out: a table of what a small line did
//! beside each, and an exit status of 1 if one failed or could not be had. A candidate that fails costs no other its row.

mod broker;
mod candidate;
mod line;
mod plant;
mod programs;
mod recipes;
mod steps;
mod table;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::bail;
use clap::builder::PossibleValuesParser;

use crate::andon::Andon;
use crate::compat::candidate::CANDIDATES;
use crate::compat::candidate::Candidate;
use crate::compat::line::Line;
use crate::compat::programs::Programs;
use crate::compat::steps::Step;
use crate::compat::table::Row;
use crate::compat::table::table;
use crate::compat::verdict::Cell;

/// Options of `andon-lab compat`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CompatOptions {
    /// Only this one, and others that are named likewise
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(CANDIDATES.iter().map(|it| it.name)))]
    only: Vec<String>,

    /// Where npm and pip install what the distribution does not have; it stays there
    #[arg(long, default_value = "target/compat", value_name = "DIRECTORY")]
    packages: PathBuf,
}

/// How long `andon run` may take to refuse.
const REFUSAL: Duration = Duration::from_secs(60);
/// What a refusal has to name, so that the reader knows what to do.
const REMEDY: &str = "pool_mode = session";

/// Tries one candidate after the other and prints the table.
pub(crate) async fn run(options: CompatOptions, andon: &Andon) -> Result<ExitCode> {
    let programs = Programs::new(&options.packages)?;
    let is_chosen =
        |candidate: &&Candidate| options.only.is_empty() || options.only.iter().any(|it| it == candidate.name);
    let mut rows = Vec::new();
    for candidate in CANDIDATES.iter().filter(is_chosen) {
        eprintln!("{}", candidate.name);
        let row = Box::pin(examine(*candidate, andon, &programs)).await;
        row.faults().iter().for_each(|fault| eprintln!("  {fault}"));
        rows.push(row);
    }
    println!("{}", table(&rows));
    let faults: Vec<String> = rows.iter().flat_map(Row::faults).collect();
    faults.iter().for_each(|fault| println!("{fault}"));
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes the row of a candidate.
async fn examine(candidate: Candidate, andon: &Andon, programs: &Programs) -> Row {
    let mut row = Row { title: candidate.name.to_owned(), ..Row::default() };
    if let Err(error) = fill(&mut row, candidate, andon, programs).await {
        row.broken = Some(format!("{error:#}"));
    }
    row
}

async fn fill(row: &mut Row, candidate: Candidate, andon: &Andon, programs: &Programs) -> Result<()> {
    let servers = candidate.start(andon, programs).await?;
    row.title.clone_from(&servers.title);
    let line = Line::prepare(servers).await?;
    if line.servers.is_to_be_refused {
        row.check = refusal(&line).await?;
        return line.servers.stage.stop();
    }
    line.daemon.start().await?;
    line.daemon.ready().await?;
    for step in Step::ALL {
        eprintln!("  {}", step.title());
        let cell = Cell::of(&step.take(&line).await.with_context(|| step.title())?);
        let is_over = cell.fault.is_some();
        row.steps.push(cell);
        row.mqtt = line.mqtt();
        if is_over {
            // What comes after a failure would only fail as well, after a long time.
            bail!("the log of `andon run` ends with:\n{}", line.daemon.log_tail());
        }
        if step == Step::Live {
            let (is_well, said) = line.servers.stage.andon.check(&line.url).await?;
            row.check = if is_well { Cell::good("ok") } else { Cell::failed(said) };
        }
    }
    line.daemon.stop().await?;
    line.servers.stage.stop()
}

/// Judges how Andon refuses to work where a session is not its own: by the exit status, and with what to do.
async fn refusal(line: &Line) -> Result<Cell> {
    let (is_well, said) = line.servers.stage.andon.check(&line.url).await?;
    if is_well || !said.contains(REMEDY) {
        return Ok(Cell::failed(format!("`andon check` does not refuse with `{REMEDY}`:\n{said}")));
    }
    // A daemon that ends at once has ended, too.
    drop(line.daemon.start().await);
    let ended = tokio::time::timeout(REFUSAL, line.daemon.ended()).await;
    let log = line.daemon.log_tail();
    Ok(match ended {
        Ok(Ok(1)) if log.contains(REMEDY) => Cell::good("refused"),
        _ => Cell::failed(format!("`andon run` does not refuse with `{REMEDY}`:\n{log}")),
    })
}
