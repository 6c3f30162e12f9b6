//! `andon source diff`. In: a mapping file, and the mapping of the same name that is attached. Out: what would change for receivers, and an
//! exit status that says whether one could break. It changes nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tokio_postgres::Client;

use crate::capture;
use crate::capture::Contract;
use crate::capture::Mapping;
use crate::capture::Problems;
use crate::capture::SourceError;
use crate::capture::contract::difference;
use crate::cli::failure::Failure;
use crate::cli::options::GlobalOptions;
use crate::cli::screen;

#[derive(Debug, Args)]
pub(in crate::cli) struct Diff {
    /// Source mapping to compare with the attached one
    #[arg(long, value_name = "FILE")]
    source: PathBuf,
}

impl Diff {
    pub(super) async fn run(self, global: &GlobalOptions) -> Result<ExitCode, Failure> {
        let database = global.database()?;
        let new = Mapping::read(&self.source).map_err(|problems| Failure::Usage(problems.into()))?;
        let mut client = database.connect().await.map_err(anyhow::Error::from)?;
        let old = attached(&client, &new.name).await?;
        let after = contract(&mut client, &new).await?;
        if let Some(problems) = after.1 {
            return Err(anyhow::Error::from(SourceError::Findings(problems)).into());
        }
        // The database may have changed since the old mapping was attached. What no longer fits there has no type to compare.
        let before = contract(&mut client, &old).await?;
        let differences = difference::between(&before.0, &after.0);
        screen::verbatim(difference::text(&new.name, &differences));
        // What is installed is what the database was like then: a column that has come or gone since, or has another type, changes events too.
        let has_changed = capture::inspect(&mut client, &old)
            .await
            .map_or(true, |it| !it.differences.is_empty() || !it.findings.is_empty());
        if has_changed {
            screen::say(format_args!(
                "the database has changed since {} was attached (`andon check` says how): both mappings are compared as they fit it now, \
                 and attaching may change more than this",
                new.name
            ));
        }
        let breaks = differences.iter().any(|difference| difference.breaks);
        Ok(if breaks { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Returns what a mapping offers in this database, and what does not fit there.
async fn contract(client: &mut Client, mapping: &Mapping) -> anyhow::Result<(Contract, Option<Problems>)> {
    let checked = capture::check(client, mapping).await?;
    let problems = (!checked.findings.is_empty()).then_some(Problems(checked.findings));
    Ok((Contract::of(mapping, &checked.types), problems))
}

async fn attached(client: &Client, name: &str) -> Result<Mapping, Failure> {
    let row = client.query_opt("select mapping from andon.sources where name = $1", &[&name]).await;
    let row = row.context("cannot read andon.sources; run `andon migrate` first")?;
    let Some(row) = row else { return Err(anyhow::Error::from(SourceError::Unknown(name.to_owned())).into()) };
    let text: String = row.get(0);
    Ok(Mapping::parse(&format!("{name} as attached"), &text).map_err(anyhow::Error::from)?)
}
