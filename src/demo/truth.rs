//! What the shift did. In: what each transaction is about to commit, and that it has. Out: for each entity how many events are expected,
//! and for each event when its commit was asked for. It knows nothing of what arrived.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Instant;

use uuid::Uuid;

use crate::demo::report::Narrator;

/// One event that a transaction causes.
#[derive(Debug, Clone)]
pub(super) struct Happening {
    /// What it happens to.
    pub(super) entity: EntityKey,
    /// Which of the entity's events this is, from 1.
    pub(super) counter: u64,
    /// For people: `Laser cut of J-1001 started at Laser 1`.
    pub(super) what: String,
}

/// An entity as the demo knows it: `operation/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct EntityKey(pub(super) String);

impl EntityKey {
    pub(super) fn new(kind: &str, id: Uuid) -> EntityKey {
        EntityKey(format!("{kind}/{id}"))
    }
}

/// The shift's own account.
pub(super) struct Truth {
    account: Mutex<Account>,
    narrator: Narrator,
}

#[derive(Default)]
struct Account {
    asked_at: HashMap<(EntityKey, u64), Instant>,
    committed: BTreeMap<String, u64>,
    count: u64,
}

impl Truth {
    pub(super) fn new(narrator: Narrator) -> Truth {
        Truth { account: Mutex::default(), narrator }
    }

    /// A commit is about to be asked for; its events may arrive before the answer does.
    pub(super) fn announce(&self, happenings: &[Happening]) {
        let mut account = self.account();
        let now = Instant::now();
        for happening in happenings {
            account.asked_at.insert((happening.entity.clone(), happening.counter), now);
        }
    }

    /// The database has confirmed the commit.
    pub(super) fn confirm(&self, happenings: &[Happening]) {
        let mut account = self.account();
        for happening in happenings {
            let highest = account.committed.entry(happening.entity.0.clone()).or_default();
            *highest = happening.counter.max(*highest);
            account.count += 1;
            self.narrator.event("committed", &happening.what);
        }
    }

    /// When the commit of an event was asked for; nothing if there was none.
    pub(super) fn asked_at(&self, entity: &EntityKey, counter: u64) -> Option<Instant> {
        self.account().asked_at.get(&(entity.clone(), counter)).copied()
    }

    /// Whether the shift has ever touched this entity in a transaction that it meant to commit.
    pub(super) fn knows(&self, entity: &EntityKey) -> bool {
        self.account().asked_at.contains_key(&(entity.clone(), 1))
    }

    /// How many events were committed.
    pub(super) fn count(&self) -> u64 {
        self.account().count
    }

    /// For each entity, the counter of its last event.
    pub(super) fn committed(&self) -> BTreeMap<String, u64> {
        self.account().committed.clone()
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
