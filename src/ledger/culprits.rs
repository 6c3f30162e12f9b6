//! Writes what the database has refused to take as it was. In: the entries of a checkpoint. Out: all of its deliveries are parked, those
//! that the database refuses alone too as dead, with its reason. It leaves something out only where the database takes it in no other way,
//! so that one delivery cannot keep a lane from writing its progress.

use std::sync::Arc;

use deadpool_postgres::Transaction;
use serde_json::value::RawValue;
use tokio_postgres::Error;

use crate::destination::LaneName;
use crate::event::Entity;
use crate::event::Event;
use crate::ledger::Attempt;
use crate::ledger::Entries;
use crate::ledger::Fate;
use crate::ledger::Undelivered;
use crate::ledger::attempts;
use crate::ledger::deliveries;

/// The characters that are left of a culprit's entity.
const ENTITY: usize = 64;

/// Returns whether the database refuses what it was to write, so that the same would fail again. Otherwise it is the connection or the
/// server that fails.
pub fn is_refusal(error: &Error) -> bool {
    match error.code() {
        // Data exceptions, constraints, limits such as the size of an index's entry, and what triggers raise.
        Some(state) => ["22", "23", "54", "P0"].contains(&&state.code()[..2]),
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

/// Parks the deliveries, each under a savepoint of its own. Returns the entities of which nothing is parked now because it was refused.
pub async fn park_each(
    transaction: &mut Transaction<'_>,
    lane: &LaneName,
    undelivered: &[Undelivered],
) -> Result<Vec<Entity>, Error> {
    let mut refused = Vec::new();
    for one in undelivered {
        let Err(error) = park(transaction, lane, one).await else { continue };
        if !is_refusal(&error) {
            return Err(error);
        }
        let reason = error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
        tracing::error!(%lane, event = one.event.id, reason, "a delivery cannot be parked; it is dead");
        let reason = format!("{}; it cannot be parked: {reason}", one.reason);
        let dead = Undelivered { fate: Fate::Dead, reason, ..one.clone() };
        if park(transaction, lane, &dead).await.is_err() {
            park(transaction, lane, &bare(dead)).await?;
        }
        refused.push(one.event.entity.clone());
    }
    deliveries::make_next_due(transaction, lane, &Vec::from_iter(&refused)).await
}

async fn park(transaction: &mut Transaction<'_>, lane: &LaneName, one: &Undelivered) -> Result<(), Error> {
    let savepoint = transaction.savepoint("one").await?;
    deliveries::park(&savepoint, lane, std::slice::from_ref(one)).await?;
    savepoint.commit().await
}

/// Leaves out whatever may be large or odd. The log still has the event.
fn bare(one: Undelivered) -> Undelivered {
    let Event { id, event_id, tenant, event_type, entity, occurred_at, .. } = &*one.event;
    let cut = |text: &str| text.chars().filter(|c| !c.is_control()).take(ENTITY).collect();
    let entity = Entity { entity_type: cut(&entity.entity_type), id: cut(&entity.id) };
    let empty = || RawValue::NULL.to_owned();
    let event = Event::new(*id, *event_id, tenant.clone(), cut(event_type), entity, *occurred_at, empty(), empty());
    let reason = format!("{}; this is event {id} of the log without its data", one.reason);
    Undelivered { event: Arc::new(event), reason, ..one }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_ascii_still_says_what_it_said() {
        assert_eq!(in_ascii("no\n\"Werkst\u{fc}ck\" \u{2713}\0"), "no\n\"Werkst\\u{fc}ck\" \\u{2713}\\u{0}");
    }
}
