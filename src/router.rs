//! Decides which lanes an event goes to. In: an event's tenant and type, and each lane's tenant and `events` patterns. Out: the places
//! of lanes. It never does I/O, and never looks at a lane of another tenant, except those that want the events of all tenants.

use std::collections::HashMap;
use std::fmt;

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

    /// Returns the text that the event's type has to begin with, and whether it may go on after that.
    pub fn parts(&self) -> (&str, bool) {
        (&self.stem, self.is_open)
    }

    /// Returns whether an event of this type is wanted.
    pub fn matches(&self, event_type: &str) -> bool {
        if self.is_open { event_type.starts_with(&self.stem) } else { event_type == self.stem }
    }
}

impl fmt::Display for EventPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.stem, if self.is_open { "*" } else { "" })
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
        self.tenant.includes(&event.tenant) && self.wants(event)
    }

    /// Returns whether an event that was parked is still for the destination, whose row may have been changed since.
    pub fn still_takes(&self, event: &Event) -> bool {
        self.tenant.includes(&event.tenant) && self.names(event)
    }

    fn wants(&self, event: &Event) -> bool {
        // The event that a destination was disabled is meant for the tenant's other destinations.
        let is_about_itself = event.event_type == DISABLED && event.entity.id == self.lane.as_ref();
        !is_about_itself && self.names(event)
    }

    fn names(&self, event: &Event) -> bool {
        self.events.iter().any(|pattern| pattern.matches(&event.event_type))
    }
}

/// All routes, by tenant, so that an event costs as much as its own tenant has destinations, however many there are in all. Each route has
/// a place, by which its owner finds what belongs to it.
#[derive(Debug)]
pub struct Router<L> {
    by_tenant: HashMap<TenantId, Tenant<L>>,
    /// Tenants without routes of their own: only the routes for all tenants, which the tenants above have among theirs.
    others: Tenant<L>,
    tenants: HashMap<usize, TenantId>,
}

#[derive(Debug)]
struct Tenant<L> {
    routes: Vec<(usize, Route<L>)>,
    /// The places of the routes that want events of a type. The patterns are only looked at when a type comes for the first time.
    by_type: HashMap<String, Vec<usize>>,
    /// The places of an event that is not like the others of its type.
    chosen: Vec<usize>,
}

/// Types that are remembered for a tenant. A plant has some dozens of them; one that makes up a type for each event gains nothing here,
/// and costs no memory.
const MOST_TYPES: usize = 64;

impl<L> Default for Tenant<L> {
    fn default() -> Tenant<L> {
        Tenant { routes: Vec::new(), by_type: HashMap::new(), chosen: Vec::new() }
    }
}

impl<L> Tenant<L> {
    fn add(&mut self, route: Route<L>, place: usize) {
        self.routes.push((place, route));
        self.by_type.clear();
    }

    fn remove(&mut self, place: usize) {
        self.routes.retain(|(other, _)| *other != place);
        self.by_type.clear();
    }

    /// Returns whether all of its routes are for all tenants.
    fn has_no_own(&self) -> bool {
        self.routes.iter().all(|(_, route)| route.tenant.is_all())
    }
}

impl<L> Default for Router<L> {
    fn default() -> Router<L> {
        Router { by_tenant: HashMap::new(), others: Tenant::default(), tenants: HashMap::new() }
    }
}

impl<L: AsRef<str> + Clone> Router<L> {
    /// Adds a route at a place that no other route has.
    pub fn add(&mut self, route: Route<L>, place: usize) {
        self.tenants.insert(place, route.tenant.clone());
        if route.tenant.is_all() {
            self.by_tenant.values_mut().for_each(|tenant| tenant.add(route.clone(), place));
            return self.others.add(route, place);
        }
        let for_all = &self.others.routes;
        let first = || Tenant { routes: for_all.clone(), ..Tenant::default() };
        self.by_tenant.entry(route.tenant.clone()).or_insert_with(first).add(route, place);
    }

    /// Removes the route at a place.
    pub fn remove(&mut self, place: usize) {
        let Some(name) = self.tenants.remove(&place) else { return };
        if name.is_all() {
            self.by_tenant.values_mut().for_each(|tenant| tenant.remove(place));
            return self.others.remove(place);
        }
        let Some(tenant) = self.by_tenant.get_mut(&name) else { return };
        tenant.remove(place);
        if tenant.has_no_own() {
            self.by_tenant.remove(&name);
        }
    }

    /// Returns the places of the lanes that an event goes to.
    pub fn places(&mut self, event: &Event) -> &[usize] {
        let tenant = self.by_tenant.get_mut(&event.tenant).unwrap_or(&mut self.others);
        let Tenant { routes, by_type, chosen } = tenant;
        let wanting = routes.iter().filter(|(_, route)| route.wants(event)).map(|(place, _)| *place);
        if event.event_type == DISABLED {
            // It depends on its entity who gets it.
            chosen.clear();
            chosen.extend(wanting);
            return chosen;
        }
        if !by_type.contains_key(&event.event_type) {
            if by_type.len() >= MOST_TYPES {
                by_type.clear();
            }
            by_type.insert(event.event_type.clone(), wanting.collect());
        }
        by_type.get(&event.event_type).map_or(&[], Vec::as_slice)
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
            let place = route.lane.parse().unwrap();
            router.add(route, place);
        }
        let mut places = |tenant, event_type| router.places(&event(tenant, event_type)).to_vec();

        // The second time, the router remembers.
        for _ in 0..2 {
            assert_eq!(places("acme", "job.created"), [1, 2]);
            assert_eq!(places("acme", "part.deleted"), [1, 2]);
            assert_eq!(places("acme", "partial.load"), [2]);
            assert_eq!(places("rival", "job.created"), [3]);
            assert!(places("nobody", "job.created").is_empty());
        }
    }

    #[test]
    fn a_lane_for_all_tenants_gets_the_events_of_each_whenever_either_comes() {
        let mut router = Router::default();
        router.add(route("acme", &["*"], "1"), 1);
        router.add(route("*", &["job.*"], "2"), 2);
        router.add(route("bolt", &["*"], "3"), 3);
        let mut places = |tenant, event_type| router.places(&event(tenant, event_type)).to_vec();

        for _ in 0..2 {
            assert_eq!(places("acme", "job.created"), [1, 2]);
            assert_eq!(places("bolt", "job.created"), [2, 3]);
            assert_eq!((places("", "job.created"), places("nobody", "job.created")), (vec![2], vec![2]));
            assert!(places("nobody", "part.made").is_empty());
        }
        router.remove(3);
        assert_eq!(router.places(&event("bolt", "job.created")), [2]);
        router.remove(2);
        assert_eq!(router.places(&event("acme", "job.created")), [1]);
        assert!(router.places(&event("nobody", "job.created")).is_empty() && router.by_tenant.len() == 1);
    }

    #[test]
    fn lanes_that_come_and_go_are_seen_by_types_that_are_known() {
        let mut router = Router::default();
        router.add(route("acme", &["*"], "1"), 1);
        assert_eq!(router.places(&event("acme", "job.created")), [1]);

        router.add(route("acme", &["job.*"], "2"), 2);
        assert_eq!(router.places(&event("acme", "job.created")), [1, 2]);
        router.remove(1);
        assert_eq!(router.places(&event("acme", "job.created")), [2]);
        router.remove(2);
        assert!(router.places(&event("acme", "job.created")).is_empty() && router.by_tenant.is_empty());
    }

    #[test]
    fn a_plant_that_makes_up_types_takes_no_more_memory() {
        let mut router = Router::default();
        router.add(route("acme", &["job.*"], "1"), 1);

        for number in 0..10 * MOST_TYPES {
            assert_eq!(router.places(&event("acme", &format!("job.{number}"))), [1]);
            assert!(router.by_tenant.values().all(|tenant| tenant.by_type.len() <= MOST_TYPES));
        }
    }

    #[test]
    fn a_lane_does_not_get_the_news_that_it_was_disabled() {
        let mut router = Router::default();
        router.add(route("acme", &["*"], "a"), 0);
        router.add(route("acme", &["andon.*"], "b"), 1);
        let mut places = |event_type, id| router.places(&event_of("acme", event_type, id)).to_vec();

        assert_eq!(places(DISABLED, "a"), [1]);
        assert_eq!(places(DISABLED, "c"), [0, 1]);
        assert_eq!(places("job.created", "a"), [0]);
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
