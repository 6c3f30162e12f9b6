//! The destinations of a chaos run, and the entities that its events are about. They are values: which destination wants which entities,
//! and how it is judged.

use crate::witness::Way;

/// One destination. Its number is its place in [`DESTINATIONS`].
#[derive(Debug)]
pub(super) struct Destination {
    /// The first level of its topics or of its path. When it is deleted and added again, a number is appended.
    pub(super) label: &'static str,
    pub(super) way: Way,
    pub(super) tenant: &'static str,
    /// The kind of entities that it wants; `None` means all.
    pub(super) kind: Option<&'static str>,
    /// Its `settings.order`.
    pub(super) order: &'static str,
    pub(super) role: Role,
}

/// The changes that are made to a destination's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing is done to it.
    Steady,
    /// It is edited, and must miss nothing.
    Edited,
    /// It is edited, deactivated and deleted, and events that happen while it is off are not for it.
    Volatile,
}

pub(super) const BROKERS: usize = 2;
/// Unacknowledged publishes of a publisher, and open requests of a webhook. They are small so that the allowance for duplicates means
/// something.
pub(super) const WINDOW: u64 = 32;
pub(super) const CONCURRENCY: u64 = 4;
/// Keep-alive in seconds. A publisher whose broker is silent for twice as long connects again.
pub(super) const KEEP_ALIVE: u64 = 2;
/// How long a request may take, in seconds.
pub(super) const TIMEOUT: u64 = 3;

const fn destination(
    label: &'static str,
    way: Way,
    tenant: &'static str,
    kind: Option<&'static str>,
    role: Role,
) -> Destination {
    Destination { label, way, tenant, kind, order: "entity", role }
}

const fn strict(it: Destination) -> Destination {
    Destination { order: "strict", ..it }
}

pub(super) const DESTINATIONS: [Destination; 8] = [
    destination("steady-a", Way::Mqtt(0), "acme", None, Role::Steady),
    strict(destination("steady-b", Way::Mqtt(1), "globex", None, Role::Steady)),
    destination("steady-c", Way::Webhook, "acme", None, Role::Steady),
    strict(destination("steady-d", Way::Webhook, "acme", Some("machine"), Role::Steady)),
    destination("edited-a", Way::Mqtt(0), "acme", Some("job"), Role::Edited),
    destination("edited-b", Way::Webhook, "globex", None, Role::Edited),
    destination("volatile-a", Way::Mqtt(1), "acme", None, Role::Volatile),
    destination("volatile-b", Way::Webhook, "acme", None, Role::Volatile),
];

impl Destination {
    pub(super) fn wants(&self, tenant: &str, kind: &str) -> bool {
        self.tenant == tenant && self.kind.is_none_or(|wanted| wanted == kind)
    }

    /// Returns how many deliveries may be under way to it without an answer.
    pub(super) fn in_flight(&self) -> u64 {
        match self.way {
            Way::Mqtt(_) => WINDOW,
            Way::Webhook => CONCURRENCY,
        }
    }
}

/// Finds the destination of a label, whatever number is appended to it.
pub(super) fn destination_of(label: &str) -> Option<usize> {
    let base = label.split('.').next().unwrap_or_default();
    DESTINATIONS.iter().position(|destination| destination.label == base)
}

/// A thing in the plant that events are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entity {
    pub(super) name: String,
    pub(super) tenant: &'static str,
    pub(super) kind: &'static str,
}

/// Returns the entities of the writers.
pub(super) fn entities() -> Vec<Entity> {
    (0..200).map(|number| entity(format!("e{number}"), number)).collect()
}

/// Returns the entities of the transaction that stays open. They are its own, so that no writer waits for their rows.
pub(super) fn bulk_entities() -> Vec<Entity> {
    (0..40).map(|number| entity(format!("bulk{number}"), number)).collect()
}

fn entity(name: String, number: usize) -> Entity {
    let tenant = if number % 10 < 7 { "acme" } else { "globex" };
    Entity { name, tenant, kind: if number.is_multiple_of(2) { "job" } else { "machine" } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_destination_wants_something_and_none_of_another_tenant() {
        let entities = entities();
        for destination in &DESTINATIONS {
            let wanted: Vec<_> = entities.iter().filter(|it| destination.wants(it.tenant, it.kind)).collect();

            assert!(wanted.len() >= 30, "{destination:?}");
            assert!(wanted.iter().all(|it| it.tenant == destination.tenant));
        }
    }

    #[test]
    fn a_destination_made_anew_is_known_by_its_label() {
        assert_eq!(destination_of("volatile-b.3"), Some(7));
        assert_eq!(destination_of("steady-a"), Some(0));
        assert_eq!(destination_of("stranger"), None);
    }
}
