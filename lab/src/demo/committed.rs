//! Knows what was committed. In: the events of each transaction of the shift, before and after its commit, and the log at the end. Out:
//! when each commit was asked for, how many events were committed, and the judgement of what arrived. It takes nothing from the gateway.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use jiff::Timestamp;
use uuid::Uuid;

use crate::demo::narrator::Narrator;
use crate::stage::connect;
use rig::oracle;
use rig::oracle::Verdict;
use rig::reference::plant;

/// The shift's own account of its commits.
pub(super) struct Committed {
    account: Mutex<Account>,
    narrator: Narrator,
}

#[derive(Default)]
struct Account {
    asked_at: HashMap<Uuid, Instant>,
    committed: u64,
}

impl Committed {
    pub(super) fn new(narrator: Narrator) -> Committed {
        Committed { account: Mutex::default(), narrator }
    }

    /// Registers events before their commit is asked for, since they may arrive before the database answers.
    pub(super) fn announce(&self, events: &[Uuid]) {
        let mut account = self.account();
        let now = Instant::now();
        account.asked_at.extend(events.iter().map(|event| (*event, now)));
    }

    /// Counts events whose commit the database has confirmed.
    pub(super) fn confirm(&self, events: u64, what: &str) {
        self.account().committed += events;
        self.narrator.event("committed", what);
    }

    /// Says that a transaction was rolled back.
    pub(super) fn given_up(&self, what: &str) {
        self.narrator.event("given up", what);
    }

    /// Returns when the commit of an event was asked for, if it ever was.
    pub(super) fn asked_at(&self, event: Uuid) -> Option<Instant> {
        self.account().asked_at.get(&event).copied()
    }

    /// Returns how many events were committed.
    pub(super) fn count(&self) -> u64 {
        self.account().committed
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log at the end: the events of each entity, counted from 1 in the order of their ids.
pub(super) struct Log {
    events: HashMap<Uuid, Place>,
    expected: BTreeMap<String, u64>,
    /// Why a change was not captured, if there is such a change.
    pub(super) capture_error: Option<String>,
}

struct Place {
    tenant: String,
    entity: String,
    counter: u64,
    /// When its transaction was committed.
    committed_at: Timestamp,
}

impl Place {
    /// Two transactions that wrote about one entity at the same time have no order, unless one waited for the other. In that case their
    /// ids and their commits have the same order.
    fn comes_before(&self, other: &Place) -> bool {
        self.counter < other.counter && self.committed_at <= other.committed_at
    }
}

/// The tenant of a destination, and the event that arrived there, if it is one.
pub(super) type Receipt = (String, Option<Uuid>);

impl Log {
    pub(super) async fn read(database: &str) -> Result<Log> {
        let client = connect(database).await?;
        let statement = "select event_id, tenant, entity_type, entity_id, pg_xact_commit_timestamp(xact::xid)
                         from andon.events order by id";
        let rows = client.query(statement, &[]).await.context("cannot read the log")?;
        let capture_error = plant::capture_error(&client).await?;
        let mut log = Log { events: HashMap::new(), expected: BTreeMap::new(), capture_error };
        for row in rows {
            let (tenant, kind, id): (String, String, String) = (row.get(1), row.get(2), row.get(3));
            let entity = format!("{tenant}/{kind}/{id}");
            let counter = log.expected.entry(entity.clone()).or_default();
            *counter += 1;
            let place = Place { tenant, entity, counter: *counter, committed_at: row.get(4) };
            log.events.insert(row.get(0), place);
        }
        Ok(log)
    }

    /// Returns how many events it holds.
    pub(super) fn captured(&self) -> u64 {
        self.events.len() as u64
    }

    /// Lets the oracle judge what arrived. An event that arrived at another tenant or is not in the log is a phantom.
    pub(super) fn judge(&self, receipts: &[Receipt]) -> Verdict {
        let places: Vec<Option<&Place>> = receipts
            .iter()
            .map(|(tenant, event)| {
                event.and_then(|event| self.events.get(&event)).filter(|place| place.tenant == *tenant)
            })
            .collect();
        let counted = places.iter().map(|place| place.map_or(("", 0), |place| (place.entity.as_str(), place.counter)));
        Verdict { out_of_order: disorders(places.iter().copied().flatten()), ..oracle::judge(&self.expected, counted) }
    }
}

/// Counts the first receipts that came after a later event of the same entity.
fn disorders<'l>(received: impl Iterator<Item = &'l Place>) -> u64 {
    let mut seen: HashMap<&str, BTreeMap<u64, &Place>> = HashMap::new();
    let mut disorders = 0;
    for place in received {
        let known = seen.entry(&place.entity).or_default();
        let is_first = known.insert(place.counter, place).is_none();
        let is_late = known.range(place.counter + 1..).any(|(_, other)| place.comes_before(other));
        disorders += u64::from(is_first && is_late);
    }
    disorders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(counter: u64, second: i64) -> Place {
        let committed_at = Timestamp::from_second(second).unwrap();
        Place { tenant: String::new(), entity: "job/1".to_owned(), counter, committed_at }
    }

    #[test]
    fn what_was_committed_later_with_a_lower_id_has_no_order() {
        let (first, second, third) = (place(1, 30), place(2, 20), place(3, 40));

        assert_eq!(disorders([&second, &first, &third].into_iter()), 0);
        assert_eq!(disorders([&first, &second, &third].into_iter()), 0);
        assert_eq!(disorders([&first, &third, &second].into_iter()), 1);
        assert_eq!(disorders([&third, &first, &third, &second].into_iter()), 2);
    }
}
