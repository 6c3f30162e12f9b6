//! Who takes part: destinations, entities and tenants. Values. In: nothing. Out: which destination wants which entities, and how it is
//! judged. It never talks to a server.

use crate::witness::Way;

/// One destination. Its number is its place in [`DESTINATIONS`].
#[derive(Debug)]
pub(super) struct Destination {
    /// The first level of its topics, or of its path. One that is deleted and made anew gets a number behind it.
    pub(super) label: &'static str,
    pub(super) way: Way,
    pub(super) tenant: &'static str,
    /// The entities' kind that it wants; all where there is none.
    pub(super) kind: Option<&'static str>,
    /// Its `settings.order`.
    pub(super) order: &'static str,
    pub(super) role: Role,
}

/// What is done to a destination's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing.
    Steady,
    /// It is edited, and has to miss nothing.
    Edited,
    /// It is edited, deactivated and deleted: what happens while it is off is not for it.
    Volatile,
}

pub(super) const BROKERS: usize = 2;
/// Unacknowledged publishes of a publisher, and open requests of a webhook. Small, so that the allowance for duplicates says something.
pub(super) const WINDOW: u64 = 32;
pub(super) const CONCURRENCY: u64 = 4;
/// In seconds. A publisher whose broker is silent for twice its keep-alive connects again.
pub(super) const KEEP_ALIVE: u64 = 2;
/// In seconds: how long a request may take.
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

    /// What may be under way to it without an answer.
    pub(super) fn in_flight(&self) -> u64 {
        match self.way {
            Way::Mqtt(_) => WINDOW,
            Way::Webhook => CONCURRENCY,
        }
    }
}

/// The destination of a label, whatever number is behind it.
pub(super) fn destination_of(label: &str) -> Option<usize> {
    let base = label.split('.').next().unwrap_or_default();
    DESTINATIONS.iter().position(|destination| destination.label == base)
}

/// Something that events are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entity {
    pub(super) name: String,
    pub(super) tenant: &'static str,
    pub(super) kind: &'static str,
}

/// Those of the writers.
pub(super) fn entities() -> Vec<Entity> {
    (0..200).map(|number| entity(format!("e{number}"), number)).collect()
}

/// Those of the transaction that stays open: nobody else waits for their rows.
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
