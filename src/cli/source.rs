//! `andon source init`. In: a live database. Out: a first mapping for it, on standard output, for people to edit. It changes nothing.

use anyhow::Context as _;
use clap::Subcommand;

use crate::capture::propose;
use crate::capture::tables;
use crate::cli::Failure;
use crate::cli::Place;

#[derive(Debug, Subcommand)]
pub(super) enum Source {
    /// Print a first mapping for a database: proposals by the names of its tables and columns, as comments to edit
    Init {
        /// What to call the source [default: the name of the database]
        #[arg(long)]
        name: Option<String>,
    },
}

impl Source {
    pub(super) async fn run(self, place: &Place) -> Result<(), Failure> {
        let Source::Init { name } = self;
        let client = place.database()?.connect().await.map_err(anyhow::Error::from)?;
        let asked = client.query_one("select current_database()::text", &[]).await;
        let database: String = asked.context("cannot ask for the name of the database")?.get(0);
        let tables = tables::list(&client).await.context("cannot read the catalogue")?;
        print!("{}", propose::mapping(&source_name(&name.unwrap_or(database)), &tables));
        Ok(())
    }
}

/// As a mapping takes it: up to 24 lower-case letters, digits and hyphens, a letter first.
fn source_name(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
        .collect();
    let name: String = name.trim_start_matches(|letter: char| !letter.is_ascii_lowercase()).chars().take(24).collect();
    if name.is_empty() { "plant".to_owned() } else { name }
}
