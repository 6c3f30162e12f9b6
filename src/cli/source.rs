//! `andon source init`. In: a live database. Out: a first mapping for it on standard output, which people then edit. It changes nothing.

use anyhow::Context as _;
use clap::Subcommand;

use crate::capture::propose;
use crate::capture::propose::tables;
use crate::cli::failure::Failure;
use crate::cli::options::GlobalOptions;

#[derive(Debug, Subcommand)]
pub(super) enum Source {
    /// Print a first mapping for a database: proposals based on the names of its tables and columns, as comments to edit
    Init {
        /// Name of the source [default: the name of the database]
        #[arg(long)]
        name: Option<String>,
    },
}

impl Source {
    pub(super) async fn run(self, global: &GlobalOptions) -> Result<(), Failure> {
        let Source::Init { name } = self;
        let client = global.database()?.connect().await.map_err(anyhow::Error::from)?;
        let row = client.query_one("select current_database()::text", &[]).await;
        let database: String = row.context("cannot read the name of the database")?.get(0);
        let tables = tables::list(&client).await.context("cannot read the catalogue")?;
        print!("{}", propose::mapping(&source_name(&name.unwrap_or(database)), &tables));
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
