//! `andon source init`. In: a live database. Out: a first mapping for it on standard output, which people then edit. It changes nothing.

use anyhow::Context as _;
use anyhow::anyhow;
use clap::Args;

use crate::capture::propose;
use crate::capture::propose::Wish;
use crate::capture::propose::tables;
use crate::cli::failure::Failure;
use crate::cli::options::GlobalOptions;
use crate::cli::screen;

#[derive(Debug, Args)]
pub(in crate::cli) struct Init {
    /// Name of the source [default: the name of the database]
    #[arg(long)]
    name: Option<String>,

    /// Propose these tables only, whatever they look like: a name, with its schema or without, in which * stands for any letters
    #[arg(long, value_name = "PATTERN")]
    table: Vec<String>,

    /// Leave these tables out
    #[arg(long, value_name = "PATTERN")]
    not_table: Vec<String>,

    /// Propose at most this many [[capture]] entries, of the busiest tables [default: 60; without a limit if --table is given]
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
}

impl Init {
    pub(super) async fn run(self, global: &GlobalOptions) -> Result<(), Failure> {
        let client = global.database()?.connect().await.map_err(anyhow::Error::from)?;
        let row = client.query_one("select current_database()::text", &[]).await;
        let database: String = row.context("cannot read the name of the database")?.get(0);
        let tables = tables::list(&client).await.context("cannot read the catalogue")?;
        let name = match self.name {
            None => source_name(&database),
            Some(name) if source_name(&name) == name => name,
            Some(name) => {
                let rule = "at most 24 lower-case letters, digits and hyphens, with a letter first";
                return Err(Failure::Usage(anyhow!("--name {name} cannot be the name of a source: it has {rule}")));
            }
        };
        let wish = Wish { name, tables: self.table, not_tables: self.not_table, limit: self.limit };
        screen::verbatim(propose::mapping(&wish, &tables).map_err(anyhow::Error::from)?);
        Ok(())
    }
}

/// Turns a database's name into a name that a mapping accepts: at most 24 lower-case letters, digits and hyphens, with a letter first.
fn source_name(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
        .collect();
    let name: String = name.trim_start_matches(|letter: char| !letter.is_ascii_lowercase()).chars().take(24).collect();
    if name.is_empty() { "plant".to_owned() } else { name }
}
