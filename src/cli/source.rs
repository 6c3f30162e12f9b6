//! `andon source`: help with mappings. In: a live database, and a mapping. Out: a first mapping for the database, or what another mapping
//! would change for receivers. It changes nothing.

mod diff;
mod init;

use std::process::ExitCode;

use clap::Subcommand;

use crate::cli::failure::Failure;
use crate::cli::options::GlobalOptions;

#[derive(Debug, Subcommand)]
pub(super) enum Source {
    /// Print a first mapping for a database, which can be attached as it is
    ///
    /// It proposes the busiest tables whose rows go through states, or log what happened, with their tenants, places and names, as far as
    /// the catalogue tells. What it leaves out is listed at the end, with the reason.
    Init(init::Init),
    /// Show what a mapping would change for receivers, compared with the attached mapping of the same name
    ///
    /// It compares events, the fields of their payloads with their types, entities, tenants and the levels of topics. The exit status is 1
    /// when a receiver could break: an event or a field is gone, or means something else. Those lines begin with `!`.
    Diff(diff::Diff),
}

impl Source {
    pub(super) async fn run(self, global: &GlobalOptions) -> Result<ExitCode, Failure> {
        match self {
            Source::Init(init) => init.run(global).await.map(|()| ExitCode::SUCCESS),
            Source::Diff(diff) => diff.run(global).await,
        }
    }
}
