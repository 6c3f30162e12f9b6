//! `andon attach` and `andon detach`. In: a mapping file or a source's name. Out: what became of the capture of each table, or the SQL
//! for the database's administrator to read.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::capture;
use crate::capture::Change;
use crate::capture::Mapping;
use crate::capture::Report;
use crate::cli::Failure;
use crate::cli::Place;

#[derive(Debug, Args)]
pub(super) struct Attach {
    /// Source mapping, such as config/sources/eryxon.toml
    #[arg(long, value_name = "FILE")]
    source: PathBuf,

    /// Print the SQL that would be run, for the database's administrator to read, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct Detach {
    /// Name of an attached source, or its mapping file
    #[arg(long, value_name = "NAME or FILE")]
    source: String,
}

impl Attach {
    pub(super) async fn run(&self, place: &Place) -> Result<(), Failure> {
        let database = place.database()?;
        // A mapping that cannot be read is as good as an argument that cannot.
        let mapping = Mapping::read(&self.source).map_err(|problems| Failure::Usage(problems.into()))?;
        let mut client = database.connect().await.map_err(anyhow::Error::from)?;
        if self.dry_run {
            let sql = capture::plan_sql(&mut client, &mapping).await;
            print!("{}", sql.with_context(|| format!("cannot attach source `{}`", mapping.name))?);
            return Ok(());
        }
        let report = capture::attach(&mut client, &mapping).await;
        print(&report.with_context(|| format!("cannot attach source `{}`", mapping.name))?);
        Ok(())
    }
}

impl Detach {
    pub(super) async fn run(&self, place: &Place) -> Result<(), Failure> {
        let database = place.database()?;
        let name = if Path::new(&self.source).is_file() {
            Mapping::read(Path::new(&self.source)).map_err(|problems| Failure::Usage(problems.into()))?.name
        } else {
            self.source.clone()
        };
        let mut client = database.connect().await.map_err(anyhow::Error::from)?;
        let report = capture::detach(&mut client, &name).await;
        print(&report.with_context(|| format!("cannot detach source `{name}`"))?);
        Ok(())
    }
}

fn print(report: &Report) {
    println!("source {}", report.source);
    for (table, change) in &report.tables {
        let what = match change {
            Change::Created => "created",
            Change::Replaced => "replaced",
            Change::Unchanged => "unchanged",
            Change::Dropped => "dropped",
        };
        println!("  {what:<10} {table}");
    }
}
