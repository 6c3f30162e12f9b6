//! Seals all secrets with the first key: those in plain text, and those of other keys. In: the tables, while everything runs. Out: how many were
//! sealed, and which do not open. It goes row by row and holds no lock from one to the next; no lane restarts, because what a sealed value
//! means stays the same.

use tokio_postgres::GenericClient;

use crate::sealing;
use crate::sealing::Keys;
use crate::secret::Secret;
use crate::secrets::held::Held;
use crate::secrets::held::all;
use crate::secrets::rows::write;

/// What was done.
#[derive(Debug, Default)]
pub struct SealedAll {
    /// How many stood in plain text and are sealed now.
    pub from_plain: usize,
    /// How many were sealed with another key and are sealed with the first one now.
    pub from_other_keys: usize,
    /// What does not open, each with the reason.
    pub shut: Vec<String>,
    /// Whether somebody changed values as fast as they were sealed, so that some are left.
    pub is_unfinished: bool,
}

/// How often values are read again that somebody changed while they were being sealed.
const TURNS: usize = 10;

/// Seals everything that is not sealed with the first key.
pub async fn seal_all(client: &impl GenericClient, keys: &Keys) -> Result<SealedAll, tokio_postgres::Error> {
    let mut done = SealedAll::default();
    for _ in 0..TURNS {
        done.shut.clear();
        done.is_unfinished = false;
        for held in &all(client).await? {
            seal(client, keys, held, &mut done).await?;
        }
        if !done.is_unfinished {
            break;
        }
    }
    Ok(done)
}

async fn seal(
    client: &impl GenericClient,
    keys: &Keys,
    held: &Held,
    done: &mut SealedAll,
) -> Result<(), tokio_postgres::Error> {
    let opened = match sealing::is_sealed(&held.text) {
        false => Ok(Secret::new(held.text.clone())),
        true => keys.open(&held.text, held.place()),
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(problem) => {
            done.shut.push(format!("`{}`: {} {problem}", held.name, held.column));
            return Ok(());
        }
    };
    if keys.is_current(&held.text) {
        return Ok(());
    }
    let Some(sealed) = keys.seal(&opened, held.place()) else { return Ok(()) };
    match write(client, held.place(), &sealed, Some(&held.text)).await? {
        true if held.is_plain() => done.from_plain += 1,
        true => done.from_other_keys += 1,
        false => done.is_unfinished = true,
    }
    Ok(())
}
