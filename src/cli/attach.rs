//! `andon attach` and `andon detach`. In: a mapping file or the name of a source. Out: one line for each table that says what became of
//! its triggers, one for each thing that is left out, or the SQL for the database administrator to read.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::capture;
use crate::capture::Change;
use crate::capture::Mapping;
use crate::capture::Report;
use crate::capture::Trust;
use crate::cli::failure::Failure;
use crate::cli::options::GlobalOptions;
use crate::cli::screen;

#[derive(Debug, Args)]
pub(super) struct Attach {
    /// Source mapping, such as config/sources/eryxon.toml
    #[arg(long, value_name = "FILE")]
    source: PathBuf,

    /// Print the SQL that would be run, for the database administrator to read, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Attach although other roles own tables, types or functions that the mapping reads
    ///
    /// The functions that attach installs run with the rights of the role that attaches. Whoever owns a table, a type or a function that they
    /// read can put other code in its place, and so do whatever that role may do: everything, if it is a superuser.
    #[arg(long)]
    trust_owners: bool,

    /// Attach as a superuser
    ///
    /// The functions then have all rights on this server. Whoever can alter what they read, now or later, can use them to do everything.
    #[arg(long)]
    as_superuser: bool,
}

#[derive(Debug, Args)]
pub(super) struct Detach {
    /// Name of an attached source, or its mapping file
    #[arg(long, value_name = "NAME or FILE")]
    source: String,

    /// Print the SQL that would be run, for the database administrator to read, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Attach {
    pub(super) async fn run(&self, global: &GlobalOptions) -> Result<(), Failure> {
        let database = global.database()?;
        // A mapping that cannot be read is bad usage, like an argument that cannot be read.
        let mapping = Mapping::read(&self.source).map_err(|problems| Failure::Usage(problems.into()))?;
        let mut client = database.connect().await.map_err(anyhow::Error::from)?;
        if self.dry_run {
            let sql = capture::plan_sql(&mut client, &mapping).await;
            screen::verbatim(sql.with_context(|| format!("cannot attach source `{}`", mapping.name))?);
            return Ok(());
        }
        if !self.as_superuser {
            let refused = capture::refuse_superuser(&client).await;
            refused.with_context(|| format!("cannot attach source `{}`", mapping.name))?;
        }
        let trust = if self.trust_owners { Trust::Everybody } else { Trust::Itself };
        let report = capture::attach_with(&mut client, &mapping, trust).await;
        print_report(&report.with_context(|| format!("cannot attach source `{}`", mapping.name))?);
        Ok(())
    }
}

impl Detach {
    pub(super) async fn run(&self, global: &GlobalOptions) -> Result<(), Failure> {
        let database = global.database()?;
        let name = if Path::new(&self.source).is_file() {
            Mapping::read(Path::new(&self.source)).map_err(|problems| Failure::Usage(problems.into()))?.name
        } else {
            self.source.clone()
        };
        let mut client = database.connect().await.map_err(anyhow::Error::from)?;
        if self.dry_run {
            let sql = capture::detach_sql(&mut client, &name).await;
            screen::verbatim(sql.with_context(|| format!("cannot detach source `{name}`"))?);
            return Ok(());
        }
        let report = capture::detach(&mut client, &name).await;
        print_report(&report.with_context(|| format!("cannot detach source `{name}`"))?);
        Ok(())
    }
}

fn print_report(report: &Report) {
    screen::say(format_args!("source {}", report.source));
    for (table, change) in &report.tables {
        let change = match change {
            Change::Created => "created",
            Change::Replaced => "replaced",
            Change::Unchanged => "unchanged",
            Change::Dropped => "dropped",
        };
        screen::say(format_args!("  {change:<10} {table}"));
    }
    for finding in &report.left_out {
        screen::show(format_args!("  left out   {finding}\n"));
    }
    for warning in &report.warnings {
        screen::show(format_args!("warning: {warning}\n"));
    }
}
