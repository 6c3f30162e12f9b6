//! The decisions of a webhook's lane: what is attempted, what is parked, and when the breaker opens, probes and closes.

use jiff::Timestamp;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::*;
use crate::destination::address::Address;
use crate::destination::certificates::Certificates;
use crate::destination::credentials::Credentials;
use crate::event::TenantId;
use crate::payload::Format;
use crate::retry::Schedule;
use crate::signature::WebhookSecret;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// The state of a lane without a network or a database, and the time that it is given.
struct Lane {
    state: WebhookState,
    now: Instant,
    last_event: i64,
}

fn entity(id: &str) -> Entity {
    Entity { entity_type: "job".to_owned(), id: id.to_owned() }
}

fn event(id: i64, of: &str) -> Arc<Event> {
    let json = || RawValue::from_string("{}".to_owned()).unwrap();
    let (tenant, event_type) = (TenantId("acme".to_owned()), "job.made".to_owned());
    Arc::new(Event::new(id, Uuid::nil(), tenant, event_type, entity(of), Timestamp::UNIX_EPOCH, json(), json()))
}

fn parked(id: i64, of: &str, attempts: i32, age: Duration) -> Parked {
    Parked { id, event: event(id, of), attempts, age, replayed: true, due_in: Duration::ZERO }
}

fn delivered() -> AttemptResult {
    AttemptResult { outcome: Outcome::Delivered, status: Some(200), latency: SECOND, excerpt: String::new() }
}

fn failed() -> AttemptResult {
    AttemptResult { outcome: Outcome::Failed { retry_after: None }, status: Some(503), ..delivered() }
}

fn gone() -> AttemptResult {
    AttemptResult { outcome: Outcome::Gone, status: Some(410), ..delivered() }
}

fn unsendable() -> AttemptResult {
    AttemptResult { outcome: Outcome::Unsendable, status: None, excerpt: "too large".to_owned(), ..delivered() }
}

/// Retries are due after an hour, so that no test gets to them by accident.
fn lane(order: Order, concurrency: usize) -> Lane {
    let webhook = Webhook {
        address: Address::parse("http://erp.example/hook").unwrap(),
        dialer: crate::egress::Egress::default().dialer(),
        secret: WebhookSecret::parse("secret").unwrap(),
        format: Format::default(),
        concurrency,
        timeout: SECOND,
        max_payload: 1024,
        retry: Schedule::parse(&["1h"]).unwrap(),
        order,
        certificates: Certificates::default(),
        credentials: Credentials::default(),
    };
    Lane { state: WebhookState::new(&webhook, Vec::new(), None), now: Instant::now(), last_event: 0 }
}

impl Lane {
    fn take(&mut self, entities: &[&str]) -> Vec<Action> {
        let from = self.last_event + 1;
        let events: Vec<_> = (from..).zip(entities).map(|(id, entity)| event(id, entity)).collect();
        self.last_event += i64::try_from(events.len()).unwrap();
        self.state.handle(Input::Taken(events), self.now)
    }

    fn start_all(&mut self) -> Vec<Delivery> {
        std::iter::from_fn(|| self.state.next_attempt(self.now)).collect()
    }

    fn end(&mut self, delivery: Delivery, result: AttemptResult) -> Vec<Action> {
        self.state.handle(Input::Attempted { delivery, result, random: 0.0 }, self.now)
    }

    /// Lets the endpoint fail for five entities, which opens the breaker and parks an event of each for an hour.
    fn open(&mut self) -> Vec<&'static str> {
        let entities = ["a", "b", "c", "d", "e"];
        self.take(&entities);
        for _ in entities {
            let delivery = self.state.next_attempt(self.now).unwrap();
            self.end(delivery, failed());
        }
        assert!(!self.state.breaker.is_closed());
        entities.to_vec()
    }

    /// Passes the time until the next probe, and starts it.
    fn probe(&mut self) -> Delivery {
        self.now = self.state.next_probe().expect("there is something to probe with");
        let mut started = self.start_all();
        assert_eq!(started.len(), 1, "probes are made one at a time");
        started.remove(0)
    }
}

fn ids(deliveries: &[Delivery]) -> Vec<i64> {
    deliveries.iter().map(|delivery| delivery.event().id).collect()
}

#[test]
fn an_event_waits_for_the_one_before_it_of_its_entity_and_for_no_other() {
    let mut lane = lane(Order::Entity, 8);

    assert!(lane.take(&["a", "a", "b"]).is_empty());
    let mut started = lane.start_all();

    assert_eq!(ids(&started), [1, 3]);
    let actions = lane.end(started.remove(0), delivered());
    assert!(
        matches!(&actions[..], [Action::MarkDelivered(event), Action::ReportSuccess { closed: false }] if event.id == 1)
    );
    assert_eq!(ids(&lane.start_all()), [2]);
}

#[test]
fn what_follows_a_failed_event_of_its_entity_is_parked_with_it_until_the_entity_is_released() {
    let mut lane = lane(Order::Entity, 8);
    lane.take(&["a", "a"]);

    let first = lane.start_all().remove(0);
    let actions = lane.end(first, failed());

    let [Action::Record(attempt), Action::ParkWaiting(second), Action::Park { event, fate, attempts: 1, .. }] =
        &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((attempt.outcome, second.id, event.id, *fate), ("retry", 2, 1, Fate::Retry(60 * MINUTE)));
    assert!(matches!(&lane.take(&["a"])[..], [Action::ParkWaiting(third)] if third.id == 3));
    lane.state.handle(Input::Released(vec![entity("a")]), lane.now);
    lane.take(&["a"]);
    assert_eq!(ids(&lane.start_all()), [4]);
}

#[test]
fn an_event_that_cannot_be_sent_is_dead_and_says_nothing_about_its_endpoint() {
    for order in [Order::Entity, Order::Strict, Order::None] {
        let mut lane = lane(order, 1);
        lane.take(&["a"; 10]);

        for _ in 0..9 {
            let delivery = lane.start_all().remove(0);
            let actions = lane.end(delivery, unsendable());
            let [Action::Record(attempt), Action::Park { fate: Fate::Dead, reason, .. }] = &actions[..] else {
                panic!("{actions:?}")
            };
            assert_eq!((attempt.outcome, reason.as_str()), ("dead", "too large"));
        }

        assert!(lane.state.breaker.is_closed());
        let last = lane.start_all().remove(0);
        assert!(matches!(&lane.end(last, delivered())[..], [Action::MarkDelivered(event), _] if event.id == 10));
    }
}

#[test]
fn an_event_that_cannot_be_sent_is_no_probe() {
    let mut lane = lane(Order::Entity, 1);
    lane.open();
    lane.take(&["f", "g"]);

    let too_large = lane.probe();
    lane.end(too_large, unsendable());

    assert_eq!(ids(&lane.start_all()), [7], "the next one probes at once");
}

#[test]
fn a_delivery_is_dead_after_the_last_attempt_of_the_schedule() {
    let mut lane = lane(Order::Entity, 8);
    lane.state.due.push_back(parked(1, "a", 1, 60 * MINUTE));

    let second_attempt = lane.start_all().remove(0);
    let actions = lane.end(second_attempt, failed());

    let [Action::Record(attempt), Action::Settle(settlement)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((attempt.number, attempt.outcome, settlement.fate), (2, "dead", Some(Fate::Dead)));
}

#[test]
fn events_and_due_deliveries_take_turns_and_share_the_concurrency() {
    let mut lane = lane(Order::Entity, 4);
    lane.take(&["a", "b", "c", "d"]);
    lane.state.due.extend((11..=14).map(|id| parked(id, &id.to_string(), 1, MINUTE)));

    let mut started = lane.start_all();

    assert_eq!(ids(&started), [11, 1, 12, 2]);
    lane.end(started.remove(0), delivered());
    assert_eq!(ids(&lane.start_all()), [13], "one ended, and one starts");
}

#[test]
fn the_breaker_opens_after_failures_in_a_row_probes_one_at_a_time_and_closes_on_success() {
    let mut lane = lane(Order::Entity, 4);
    lane.take(&["a", "b", "c", "d", "e", "f", "g", "h", "i"]);
    let mut in_flight = lane.start_all();
    for _ in 1..OPENS_AFTER {
        lane.end(in_flight.remove(0), failed());
        in_flight.extend(lane.start_all());
    }

    let actions = lane.end(in_flight.remove(0), failed());

    assert!(matches!(actions.last(), Some(Action::ReportFailure { opened: true, .. })), "{actions:?}");
    assert!(lane.start_all().is_empty(), "nothing starts at once");
    while let Some(delivery) = in_flight.pop() {
        let actions = lane.end(delivery, failed());
        assert!(
            matches!(&actions[..], [Action::ReportFailure { opened: false, .. }]),
            "they cost no attempt: {actions:?}"
        );
    }
    lane.now += SECOND;
    let first = lane.start_all();
    assert_eq!(first.len(), 1);
    assert!(lane.state.next_probe().is_none(), "one is in flight");
    for delivery in first {
        lane.end(delivery, failed());
    }
    lane.now += SECOND;
    assert!(lane.start_all().is_empty(), "the second pause is longer");
    let second = lane.probe();
    let actions = lane.end(second, delivered());
    assert!(matches!(&actions[..], [Action::MarkDelivered(_), Action::ReportSuccess { closed: true }]), "{actions:?}");
    assert_eq!(lane.start_all().len(), 3, "all that are left start together");
}

#[test]
fn a_parked_delivery_that_was_a_failed_probe_keeps_its_attempts_and_waits_for_the_next_probe() {
    let mut lane = lane(Order::Entity, 4);
    lane.open();
    lane.state.due.push_back(parked(1, "a", 1, MINUTE));

    let probe = lane.probe();
    let actions = lane.end(probe, failed());

    let [Action::Settle(settlement), Action::ReportFailure { .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((settlement.attempts, settlement.fate), (1, Some(Fate::Retry(2 * SECOND))));
}

#[test]
fn a_lane_that_only_probes_says_when_it_lacks_something_to_probe_with() {
    let mut lane = lane(Order::Entity, 4);
    assert_eq!(lane.state.next_probe_in_want(), None, "it does not probe");
    lane.open();

    assert_eq!(lane.state.next_probe_in_want(), Some(lane.now + SECOND));
    let early = Parked { due_in: 60 * MINUTE, ..parked(1, "a", 1, MINUTE) };
    lane.state.due.push_back(early);
    assert_eq!(lane.state.next_probe_in_want(), None, "there is one now");
    let probe = lane.probe();
    assert_eq!(lane.state.next_probe_in_want(), None, "one is in flight");
    let actions = lane.end(probe, failed());

    let [Action::Settle(settlement), _] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((settlement.attempts, settlement.fate), (1, Some(Fate::Retry(60 * MINUTE))), "it keeps its time");
}

#[test]
fn an_event_that_its_endpoint_never_takes_is_not_the_only_one_to_probe_with() {
    let mut lane = lane(Order::Entity, 1);
    lane.open();
    lane.take(&["poison", "healthy"]);

    let first = lane.probe();
    lane.end(first, failed());

    assert_eq!(lane.probe().event().entity.id, "healthy");
}

#[test]
fn while_the_breaker_is_open_events_of_held_entities_are_moved_to_the_ledger_a_few_at_a_time() {
    let mut lane = lane(Order::Entity, 2);
    lane.open();

    let moved = lane.take(&["a"; 32]);

    assert_eq!(moved.len(), 32);
    assert_eq!(lane.state.room(), 0, "the others stay in the log");
    lane.state.due.push_back(parked(1, "a", 1, MINUTE));
    let probe = lane.probe();
    assert_eq!(lane.state.room(), 0);
    lane.end(probe, failed());
    assert_eq!(lane.state.room(), MOVED_PER_PROBE);
    lane.state.due.push_back(parked(1, "a", 1, MINUTE));
    let probe = lane.probe();
    lane.end(probe, delivered());
    assert_eq!(lane.state.room(), 32, "nothing counts against a lane whose endpoint is healthy");
}

#[test]
fn a_lane_whose_parked_deliveries_were_all_discarded_while_its_breaker_was_open_probes_with_the_next_event() {
    let mut lane = lane(Order::Entity, 2);
    let held = lane.open();
    lane.take(&["a"; 32]);
    assert_eq!((lane.state.room(), lane.state.next_probe()), (0, None), "nothing is due, and nothing may be taken");

    lane.state.handle(Input::Released(held.into_iter().map(entity).collect()), lane.now);

    assert_eq!(lane.state.room(), 32);
    lane.take(&["a"]);
    let probe = lane.probe();
    let actions = lane.end(probe, delivered());
    assert!(matches!(&actions[..], [Action::MarkDelivered(_), Action::ReportSuccess { closed: true }]), "{actions:?}");
}

#[test]
fn in_strict_order_one_is_tried_at_a_time_and_the_first_failure_opens_the_breaker() {
    let mut lane = lane(Order::Strict, 8);
    lane.take(&["a", "b"]);

    let mut started = lane.start_all();
    assert_eq!(ids(&started), [1]);
    let actions = lane.end(started.remove(0), failed());

    let [Action::Record(_), Action::Park { fate, .. }, Action::ReportFailure { opened: true, .. }] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(*fate, Fate::Retry(SECOND), "the breaker says when it is tried again");
    lane.now += MINUTE;
    assert!(lane.start_all().is_empty(), "the second waits for the first, wherever that is");
}

#[test]
fn in_strict_order_a_delivery_probes_until_its_time_is_over_and_then_the_others_go_on() {
    let mut lane = lane(Order::Strict, 8);
    lane.take(&["a", "b"]);
    let first = lane.start_all().remove(0);
    lane.end(first, failed());

    lane.state.due.push_back(parked(1, "a", 1, 59 * MINUTE));
    let probe = lane.probe();
    let actions = lane.end(probe, failed());
    assert!(
        matches!(&actions[..], [Action::Settle(it), _] if it.attempts == 1 && it.fate != Some(Fate::Dead)),
        "{actions:?}"
    );
    lane.state.due.push_back(parked(1, "a", 1, 60 * MINUTE));
    let probe = lane.probe();
    let actions = lane.end(probe, failed());
    assert!(
        matches!(&actions[..], [Action::Record(_), Action::Settle(it), _] if it.fate == Some(Fate::Dead)),
        "{actions:?}"
    );

    lane.state.handle(Input::Released(vec![entity("a")]), lane.now);
    assert_eq!(lane.probe().event().id, 2);
}

#[test]
fn after_a_410_nothing_more_is_attempted_and_the_event_stays() {
    let mut lane = lane(Order::Entity, 1);
    lane.take(&["a", "b"]);

    let first = lane.start_all().remove(0);
    let actions = lane.end(first, gone());

    assert!(actions.is_empty(), "{actions:?}");
    assert_eq!(lane.state.disabled(), Some("answered 410"));
    assert!(lane.start_all().is_empty());
    assert_eq!(lane.state.queue.queued(), 2);
}

#[test]
fn a_destination_that_failed_for_too_long_gets_nothing_more() {
    let mut lane = lane(Order::Entity, 1);
    lane.take(&["a"]);

    lane.state.handle(Input::FailedTooLong("a week".to_owned()), lane.now);

    assert_eq!(lane.state.disabled(), Some("a week"));
    assert!(lane.start_all().is_empty());
}
