//! Decides which lanes an event goes to. In: an event's tenant and type, and each lane's tenant and `events` patterns. Out: lanes. It never
//! does I/O, and never looks at a lane of another tenant.

use std::collections::HashMap;

use crate::event::DISABLED;
use crate::event::Event;
use crate::event::TenantId;

/// Which events a destination wants: `job.created`, `job.*` (all below `job.`) or `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventPattern {
    /// The text that the event's type has to begin with.
    stem: String,
    /// Whether the type may go on after the stem.
    is_open: bool,
}

/// A pattern that can match nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event pattern `{0}` is none of `job.created`, `job.*` and `*`")]
pub struct PatternError(String);

impl EventPattern {
    /// Reads one element of the `events` column.
    pub fn parse(text: &str) -> Result<EventPattern, PatternError> {
        let stem = text.strip_suffix(".*").unwrap_or(text);
        let is_name =
            |level: &str| !level.is_empty() && level.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
        if text == "*" || stem.split('.').all(is_name) {
            let open = text.strip_suffix('*');
            Ok(EventPattern { stem: open.unwrap_or(text).to_owned(), is_open: open.is_some() })
        } else {
            Err(PatternError(text.to_owned()))
        }
    }

    /// Returns whether an event of this type is wanted.
    pub fn matches(&self, event_type: &str) -> bool {
        if self.is_open { event_type.starts_with(&self.stem) } else { event_type == self.stem }
    }
}

/// The events that one lane wants.
#[derive(Debug, Clone)]
pub struct Route<L> {
    /// The tenant whose events it gets.
    pub tenant: TenantId,
    /// It gets an event that matches any of these.
    pub events: Vec<EventPattern>,
    /// The lane.
    pub lane: L,
}

impl<L: AsRef<str>> Route<L> {
    /// Returns whether the lane gets this event.
    pub fn takes(&self, event: &Event) -> bool {
        self.tenant == event.tenant && self.wants(event)
    }

    fn wants(&self, event: &Event) -> bool {
        // The event that a destination was disabled is meant for the tenant's other destinations.
        let is_about_itself = event.event_type == DISABLED && event.entity.id == self.lane.as_ref();
        !is_about_itself && self.events.iter().any(|pattern| pattern.matches(&event.event_type))
    }
}

/// All routes, by tenant, so that an event costs as much as its own tenant has destinations, however many there are in all.
#[derive(Debug)]
pub struct Router<L> {
    by_tenant: HashMap<TenantId, Vec<Route<L>>>,
}

impl<L> Default for Router<L> {
    fn default() -> Router<L> {
        Router { by_tenant: HashMap::new() }
    }
}

impl<L: PartialEq + AsRef<str>> Router<L> {
    /// Adds a route.
    pub fn add(&mut self, route: Route<L>) {
        self.by_tenant.entry(route.tenant.clone()).or_default().push(route);
    }

    /// Removes a lane's route and returns it.
    pub fn remove(&mut self, lane: &L) -> Option<Route<L>> {
        for routes in self.by_tenant.values_mut() {
            if let Some(index) = routes.iter().position(|route| route.lane == *lane) {
                return Some(routes.swap_remove(index));
            }
        }
        None
    }

    /// Returns the lanes that an event goes to.
    pub fn lanes<'a>(&'a self, event: &'a Event) -> impl Iterator<Item = &'a L> {
        let routes = self.by_tenant.get(&event.tenant).map_or(&[][..], Vec::as_slice);
        routes.iter().filter(|route| route.wants(event)).map(|route| &route.lane)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::value::RawValue;
    use uuid::Uuid;

    use super::*;
    use crate::event::Entity;

    fn event(tenant: &str, event_type: &str) -> Event {
        event_of(tenant, event_type, "1")
    }

    fn event_of(tenant: &str, event_type: &str, id: &str) -> Event {
        let json = || RawValue::from_string("{}".to_owned()).unwrap();
        let entity = Entity { entity_type: "job".to_owned(), id: id.to_owned() };
        let tenant = TenantId(tenant.to_owned());
        Event::new(1, Uuid::nil(), tenant, event_type.to_owned(), entity, Timestamp::UNIX_EPOCH, json(), json())
    }

    fn route(tenant: &str, events: &[&str], lane: &'static str) -> Route<&'static str> {
        let events = events.iter().map(|text| EventPattern::parse(text).unwrap()).collect();
        Route { tenant: TenantId(tenant.to_owned()), events, lane }
    }

    #[test]
    fn an_event_reaches_the_lanes_of_its_tenant_that_want_it() {
        let mut router = Router::default();
        for route in [
            route("acme", &["job.created", "part.*"], "1"),
            route("acme", &["*"], "2"),
            route("rival", &["*"], "3"),
            route("acme", &[], "4"),
        ] {
            router.add(route);
        }
        let lanes = |tenant, event_type| router.lanes(&event(tenant, event_type)).copied().collect::<Vec<_>>();

        assert_eq!(lanes("acme", "job.created"), ["1", "2"]);
        assert_eq!(lanes("acme", "part.deleted"), ["1", "2"]);
        assert_eq!(lanes("acme", "partial.load"), ["2"]);
        assert_eq!(lanes("rival", "job.created"), ["3"]);
        assert!(lanes("nobody", "job.created").is_empty());
    }

    #[test]
    fn a_lane_does_not_get_the_news_that_it_was_disabled() {
        let mut router = Router::default();
        router.add(route("acme", &["*"], "a"));
        router.add(route("acme", &["andon.*"], "b"));
        let lanes = |event_type, id| router.lanes(&event_of("acme", event_type, id)).copied().collect::<Vec<_>>();

        assert_eq!(lanes(DISABLED, "a"), ["b"]);
        assert_eq!(lanes(DISABLED, "c"), ["a", "b"]);
        assert_eq!(lanes("job.created", "a"), ["a"]);
    }

    #[test]
    fn a_pattern_that_can_match_nothing_is_refused() {
        for text in ["", "job.", "job.*.x", "*.created", "job created", ".*", "job.#", "job,part"] {
            assert!(EventPattern::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(
            EventPattern::parse("job.#").unwrap_err().to_string(),
            "event pattern `job.#` is none of `job.created`, `job.*` and `*`"
        );
    }
}
