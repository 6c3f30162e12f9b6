//! What really happened. In: which events each transaction of the shift is about to commit, and that it has; at the end, the log. Out:
//! when each commit was asked for, how much was committed, and the judgement of what arrived. It takes nothing from the gateway.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use uuid::Uuid;

use crate::demo::plant;
use crate::demo::report::Narrator;
use crate::rig::oracle;
use crate::rig::oracle::Verdict;

/// The shift's own account.
pub(super) struct Truth {
    account: Mutex<Account>,
    narrator: Narrator,
}

#[derive(Default)]
struct Account {
    asked_at: HashMap<Uuid, Instant>,
    committed: u64,
}

impl Truth {
    pub(super) fn new(narrator: Narrator) -> Truth {
        Truth { account: Mutex::default(), narrator }
    }

    /// A commit is about to be asked for; its events may arrive before the answer does.
    pub(super) fn announce(&self, events: &[Uuid]) {
        let mut account = self.account();
        let now = Instant::now();
        account.asked_at.extend(events.iter().map(|event| (*event, now)));
    }

    /// The database has confirmed the commit.
    pub(super) fn confirm(&self, events: u64, what: &str) {
        self.account().committed += events;
        self.narrator.event("committed", what);
    }

    /// The transaction was rolled back.
    pub(super) fn given_up(&self, what: &str) {
        self.narrator.event("given up", what);
    }

    /// When the commit of an event was asked for; nothing if there was none.
    pub(super) fn asked_at(&self, event: Uuid) -> Option<Instant> {
        self.account().asked_at.get(&event).copied()
    }

    /// How many events were committed.
    pub(super) fn count(&self) -> u64 {
        self.account().committed
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log at the end: the events of each entity, counted from 1 in their order.
pub(super) struct Log {
    events: HashMap<Uuid, Place>,
    expected: BTreeMap<String, u64>,
    /// Why something was not captured, if so.
    pub(super) capture_error: Option<String>,
}

struct Place {
    tenant: String,
    entity: String,
    counter: u64,
}

/// An event that arrived, if it is one, at a destination of this tenant.
pub(super) type Receipt = (String, Option<Uuid>);

impl Log {
    pub(super) async fn read(database: &str) -> Result<Log> {
        let client = plant::connect(database).await?;
        let statement = "select event_id, tenant, entity_type, entity_id from andon.events order by id";
        let rows = client.query(statement, &[]).await.context("cannot read the log")?;
        let capture_error = plant::capture_error(&client).await?;
        let mut log = Log { events: HashMap::new(), expected: BTreeMap::new(), capture_error };
        for row in rows {
            let (tenant, kind, id): (String, String, String) = (row.get(1), row.get(2), row.get(3));
            let entity = format!("{tenant}/{kind}/{id}");
            let counter = log.expected.entry(entity.clone()).or_default();
            *counter += 1;
            log.events.insert(row.get(0), Place { tenant, entity, counter: *counter });
        }
        Ok(log)
    }

    /// How many events it holds.
    pub(super) fn captured(&self) -> u64 {
        self.events.len() as u64
    }

    /// What the oracle says of what arrived. What arrived at another tenant, or is in no log, is a phantom.
    pub(super) fn judge(&self, receipts: &[Receipt]) -> Verdict {
        let placed = receipts.iter().map(|(tenant, event)| {
            let place = event.and_then(|event| self.events.get(&event)).filter(|place| place.tenant == *tenant);
            place.map_or(("", 0), |place| (place.entity.as_str(), place.counter))
        });
        oracle::judge(&self.expected, placed)
    }
}
