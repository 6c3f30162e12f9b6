//! Writes what the database has refused to take as it was. In: the entries of a checkpoint. Out: all of its deliveries are parked, those
//! that the database refuses alone too as dead, with its reason. It leaves something out only where the database takes it in no other way,
//! so that one delivery cannot keep a lane from writing its progress.

use deadpool_postgres::Transaction;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::destination::LaneName;
use crate::event::Entity;
use crate::ledger::Attempt;
use crate::ledger::Entries;
use crate::ledger::Fate;
use crate::ledger::Undelivered;
use crate::ledger::attempts;
use crate::ledger::deliveries;
use crate::ledger::deliveries::Kept;

/// Returns whether the database refuses what it was to write, so that the same would fail again. Otherwise it is the connection or the
/// server that fails.
pub fn is_refusal(error: &Error) -> bool {
    match error.code() {
        // Data exceptions, constraints, limits such as the size of an index's entry, what triggers raise, and damaged pages.
        Some(state) => {
            let is_damage = [&SqlState::DATA_CORRUPTED, &SqlState::INDEX_CORRUPTED].contains(&state);
            is_damage || ["22", "23", "54", "P0"].contains(&&state.code()[..2])
        }
        // A value that the driver cannot write has no code.
        None => error.to_string().starts_with("error serializing parameter"),
    }
}

/// Makes all texts ASCII that come from destinations. A database whose encoding is not UTF-8 cannot hold everything that they say.
pub fn make_plain(entries: &mut Entries) {
    let Entries { parked, settled, attempts } = entries;
    let reasons = parked.iter_mut().map(|it| &mut it.reason).chain(settled.iter_mut().map(|it| &mut it.reason));
    for text in reasons.chain(attempts.iter_mut().map(|it| &mut it.excerpt)) {
        *text = in_ascii(text);
    }
}

/// Returns the text with an escape in place of each character that PostgreSQL does not have in every encoding.
pub fn in_ascii(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() && c != '\0' { plain.push(c) } else { plain.extend(c.escape_unicode()) }
    }
    plain
}

/// Records the attempts if the database takes them. They are only a record: no delivery depends on it.
pub async fn record(transaction: &mut Transaction<'_>, lane: &LaneName, made: &[Attempt]) -> Result<(), Error> {
    let savepoint = transaction.savepoint("attempts").await?;
    match attempts::record(&savepoint, lane, made).await {
        Ok(()) => savepoint.commit().await,
        Err(error) if is_refusal(&error) => {
            let error = error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
            tracing::warn!(%lane, attempts = made.len(), error, "attempts cannot be recorded; they are left out");
            savepoint.rollback().await
        }
        Err(error) => Err(error),
    }
}

/// Parks the deliveries, each under a savepoint of its own. Returns the entities of which something is not parked as it was to be, because it
/// was refused or has left the log.
pub async fn park_each(
    transaction: &mut Transaction<'_>,
    lane: &LaneName,
    undelivered: &[Undelivered],
) -> Result<Vec<Entity>, Error> {
    let mut unparked = Vec::new();
    for one in undelivered {
        let error = match park(transaction, lane, one, Kept::Whole).await {
            Ok(gone) => {
                unparked.extend(gone);
                continue;
            }
            Err(error) if is_refusal(&error) => error,
            Err(error) => return Err(error),
        };
        let reason = error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
        tracing::error!(%lane, event = one.event.id, reason, "a delivery cannot be parked; it is dead");
        let reason = format!("{}; it cannot be parked: {reason}", one.reason);
        let dead = Undelivered { fate: Fate::Dead, reason, ..one.clone() };
        if park(transaction, lane, &dead, Kept::Whole).await.is_err() {
            let reason = format!(
                "{}; this is event {} of the log without its data, so that no retry delivers it: `andon replay` does while the log has it",
                dead.reason, one.event.id
            );
            park(transaction, lane, &Undelivered { reason, ..dead }, Kept::Bare).await?;
        }
        unparked.push(one.event.entity.clone());
    }
    Ok(unparked)
}

async fn park(
    transaction: &mut Transaction<'_>,
    lane: &LaneName,
    one: &Undelivered,
    kept: Kept,
) -> Result<Vec<Entity>, Error> {
    let savepoint = transaction.savepoint("one").await?;
    let gone = deliveries::park(&savepoint, lane, std::slice::from_ref(one), kept).await?;
    savepoint.commit().await?;
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_ascii_still_says_what_it_said() {
        assert_eq!(in_ascii("no\n\"Werkst\u{fc}ck\" \u{2713}\0"), "no\n\"Werkst\\u{fc}ck\" \\u{2713}\\u{0}");
    }
}
