//! `andon migrate`. In: the database. Out: one line for each migration that was applied.

use anyhow::Context as _;

use crate::cli::screen;
use crate::database::Database;
use crate::migrate;

pub(super) async fn run(database: &Database) -> anyhow::Result<()> {
    let mut client = database.connect().await?;
    let applied =
        migrate::migrate(&mut client).await.with_context(|| format!("cannot migrate {}", database.target()))?;
    for name in &applied {
        screen::say(format_args!("applied {name}"));
    }
    if applied.is_empty() {
        screen::say("schema andon is up to date");
    }
    Ok(())
}
