//! Tests of a session's rules, one by one.

use jiff::Timestamp;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::*;
use crate::event::Entity;
use crate::event::TenantId;

const STALL: Duration = Duration::from_secs(2);

/// The values that a lane keeps from one connection to the next.
#[derive(Default)]
struct Broker {
    poison: PoisonIsolation,
    dead_letters: DeadLetters,
}

impl Broker {
    fn connect(&mut self, window: usize) -> (Session<'_>, Instant) {
        let now = Instant::now();
        (Session::new(&mut self.poison, &mut self.dead_letters, window, STALL, now), now)
    }

    /// Makes a connection that ends when the broker has answered the status message and these events.
    fn serve(&mut self, acks: impl IntoIterator<Item = (i64, Ack)>) -> Conclusion {
        let (mut session, now) = self.connect(256);
        assert!(session.handle(Input::Status(Ack::Accepted), now).is_continue());
        for (id, ack) in acks {
            drop(session.handle(acknowledged(id, ack), now));
        }
        session.conclude("the connection broke".to_owned(), now)
    }
}

fn delivery(id: i64) -> Delivery {
    let json = || RawValue::from_string("{}".to_owned()).unwrap();
    let entity = Entity { entity_type: "job".to_owned(), id: "1".to_owned() };
    let tenant = TenantId("acme".to_owned());
    let event_type = "job.created".to_owned();
    let event = Event::new(id, Uuid::nil(), tenant, event_type, entity, Timestamp::UNIX_EPOCH, json(), json());
    Delivery::FromLog(Arc::new(event))
}

fn acknowledged(id: i64, ack: Ack) -> Input {
    Input::Acknowledged((delivery(id), ack))
}

fn refused() -> Ack {
    Ack::Refused("not authorized".to_owned())
}

fn not_now() -> Ack {
    Ack::NotNow("quota exceeded".to_owned())
}

fn ids(deliveries: &[Delivery]) -> Vec<i64> {
    deliveries.iter().map(|delivery| delivery.event().id).collect()
}

fn ended(reason: &str) -> Exit {
    Exit::Ended(reason.to_owned())
}

fn exit(outcome: ControlFlow<Exit, Action>) -> Exit {
    outcome.break_value().expect("the connection is to be ended")
}

#[test]
fn after_a_break_nothing_is_published_before_the_broker_has_answered_the_status_message() {
    let answers = [(Ack::Accepted, 1), (refused(), 1), (Ack::Lost, 0)];
    for (answer, window) in answers {
        let mut broker = Broker::default();
        broker.serve([(1, Ack::Lost), (2, Ack::Lost)]);

        let (mut session, now) = broker.connect(256);
        assert_eq!((session.window(), session.awaits_status()), (0, true));
        assert!(session.handle(Input::Status(answer), now).is_continue());

        assert_eq!((session.window(), session.awaits_status()), (window, false));
    }
}

#[test]
fn a_new_connection_publishes_at_once() {
    let mut broker = Broker::default();
    let (session, now) = broker.connect(256);

    assert!(session.may_publish(0, now));
    assert_eq!(session.window(), 256);
}

#[test]
fn an_event_that_is_refused_for_now_ends_the_connection_and_is_sent_again_one_at_a_time() {
    let mut broker = Broker::default();
    let (mut session, now) = broker.connect(256);
    drop(session.handle(Input::Status(Ack::Accepted), now));

    let outcome = session.handle(acknowledged(1, not_now()), now);
    assert_eq!(exit(outcome), ended("quota exceeded"));
    assert!(session.handle(acknowledged(2, Ack::Accepted), now).is_continue(), "what is acknowledged counts");
    assert_eq!(exit(session.handle(acknowledged(3, Ack::Lost), now)), Exit::Lost);
    let conclusion = session.conclude("quota exceeded".to_owned(), now);

    assert_eq!(ids(&conclusion.send_again), [1, 3]);
    assert_eq!(conclusion.reason, "quota exceeded");
    let (mut session, now) = broker.connect(256);
    drop(session.handle(Input::Status(Ack::Accepted), now));
    let mut windows = vec![session.window()];
    for id in [1, 3] {
        drop(session.handle(acknowledged(id, Ack::Accepted), now));
        windows.push(session.window());
    }
    assert_eq!(windows, [1, 1, 256]);
}

#[test]
fn a_refusal_for_now_that_comes_to_light_at_the_end_does_not_slow_the_next_connection() {
    let mut broker = Broker::default();

    let conclusion = broker.serve([(1, Ack::Lost), (2, not_now())]);

    assert_eq!(ids(&conclusion.send_again), [1, 2]);
    assert_eq!(broker.connect(256).0.window(), 256);
}

#[test]
fn five_connections_that_end_on_one_event_alone_make_it_a_dead_letter() {
    let mut broker = Broker::default();
    let first = broker.serve([(7, Ack::Lost), (8, Ack::Lost)]);
    assert_eq!((ids(&first.send_again), first.was_useful), (vec![7, 8], false));

    let mut conclusions: Vec<Conclusion> = (0..5).map(|_| broker.serve([(7, Ack::Lost)])).collect();

    let last = conclusions.pop().unwrap();
    assert!(conclusions.iter().all(|it| it.dead_letter.is_none() && ids(&it.send_again) == [7] && !it.was_useful));
    let letter = last.dead_letter.unwrap();
    assert_eq!(letter.delivery.event().id, 7);
    assert_eq!(letter.reason, "5 connections ended on it, alone in flight; the last: the connection broke");
    assert_eq!((last.reason.as_str(), last.was_useful), ("the connection broke", true));
    assert!(last.send_again.is_empty());
}

#[test]
fn a_broker_that_answers_anything_has_no_poison_message() {
    let answers =
        [[(6, Ack::Accepted), (7, Ack::Lost)], [(6, refused()), (7, Ack::Lost)], [(7, Ack::Lost), (8, not_now())]];
    for acks in answers {
        let mut broker = Broker::default();
        broker.serve([(6, Ack::Lost), (7, Ack::Lost)]);

        let found = (0..20).any(|_| broker.serve(acks.clone()).dead_letter.is_some());

        assert!(!found, "{acks:?}");
    }
}

#[test]
fn an_event_that_the_broker_fails_on_five_times_is_poison() {
    let mut broker = Broker::default();
    let failed = || Ack::Failed("unspecified error".to_owned());

    let found: Vec<bool> = (0..5).map(|_| broker.serve([(7, failed())]).dead_letter.is_some()).collect();

    assert_eq!(found, [false, false, false, false, true]);
}

#[test]
fn a_small_window_is_filled_at_any_acknowledgement() {
    let mut broker = Broker::default();
    let (session, now) = broker.connect(63);

    assert!(session.may_publish(62, now));
}

#[test]
fn a_large_window_is_filled_in_quarters_or_after_a_lull() {
    for window in [64, 256] {
        let mut broker = Broker::default();
        let (mut session, start) = broker.connect(window);
        let now = start + Duration::from_secs(1);
        session.starts_waiting(now);

        assert!(session.may_publish(window - window / 4, now));
        assert!(!session.may_publish(window - window / 4 + 1, now));
        assert_eq!(session.lull_at(), now + Duration::from_millis(1));
        assert!(!session.may_publish(window - 1, session.lull_at() - Duration::from_nanos(1)));
        assert!(session.may_publish(window - 1, session.lull_at()));

        let later = now + Duration::from_micros(900);
        drop(session.handle(acknowledged(1, Ack::Accepted), later));
        assert_eq!(session.lull_at(), later + Duration::from_millis(1), "an acknowledgement ends the lull");
    }
}

#[test]
fn a_connection_stalls_while_an_acknowledgement_is_due() {
    let mut broker = Broker::default();
    let (mut session, start) = broker.connect(256);
    assert_eq!(session.stalls_at(0), None);

    let sent = start + Duration::from_secs(10);
    session.starts_waiting(sent);
    assert_eq!(session.stalls_at(1), Some(sent + STALL));
    let answered = sent + Duration::from_secs(1);
    drop(session.handle(acknowledged(1, Ack::Accepted), answered));
    assert_eq!(session.stalls_at(1), Some(answered + STALL));
    let outcome = session.handle(Input::Stalled, answered + STALL);

    assert_eq!(exit(outcome), ended("no acknowledgement for 2s"));
}

#[test]
fn a_connection_stalls_when_a_suspect_waits_for_the_status_message() {
    let mut broker = Broker::default();
    broker.serve([(1, Ack::Lost)]);

    let (mut session, start) = broker.connect(256);
    assert_eq!(session.stalls_at(0), Some(start + STALL));
    drop(session.handle(Input::Status(Ack::Accepted), start));

    assert_eq!(session.stalls_at(0), None);
}

#[test]
fn a_broker_that_takes_nothing_gets_three_dead_letters_and_the_others_are_withheld() {
    let mut broker = Broker::default();
    let (mut session, now) = broker.connect(256);
    let is_parked = |action| matches!(action, ControlFlow::Continue(Action::DeadLetter(_)));
    let parked: Vec<bool> = (1..=5).map(|id| is_parked(session.handle(acknowledged(id, refused()), now))).collect();
    assert_eq!(parked, [true, true, true, false, false]);

    assert!(session.handle(Input::Published { is_idle: false }, now).is_continue(), "one in flight may be taken");
    let outcome = session.handle(Input::Published { is_idle: true }, now);
    assert_eq!(exit(outcome), ended("the broker takes nothing"));
    let conclusion = session.conclude("the broker takes nothing".to_owned(), now);

    assert_eq!(ids(&conclusion.send_again), [4, 5]);
    let expected =
        "it takes no event: not authorized; after 3 that are parked dead, the others wait until it takes one";
    assert_eq!((conclusion.reason.as_str(), conclusion.was_useful), (expected, false));
    assert_eq!(broker.connect(256).0.window(), 256, "no event is suspected");
}

#[test]
fn a_broker_that_refuses_a_whole_window_takes_nothing() {
    let mut broker = Broker::default();
    let (mut session, now) = broker.connect(2);
    for id in 1..=4 {
        assert!(session.handle(acknowledged(id, refused()), now).is_continue());
    }
    assert!(session.handle(Input::Published { is_idle: false }, now).is_continue());

    drop(session.handle(acknowledged(5, refused()), now));

    assert!(session.handle(Input::Published { is_idle: false }, now).is_break());
}

#[test]
fn withheld_events_are_dead_letters_once_the_broker_takes_another() {
    let mut broker = Broker::default();
    let (mut session, now) = broker.connect(256);
    for id in 1..=5 {
        drop(session.handle(acknowledged(id, refused()), now));
    }

    let outcome = session.handle(acknowledged(6, Ack::Accepted), now);

    let Some(Action::Delivered { delivery, dead_letters }) = outcome.continue_value() else { panic!("6 is delivered") };
    assert_eq!(delivery.event().id, 6);
    assert_eq!(dead_letters.iter().map(|letter| letter.delivery.event().id).collect::<Vec<_>>(), [4, 5]);
    let conclusion = session.conclude("the connection broke".to_owned(), now);
    assert!(conclusion.send_again.is_empty() && conclusion.was_useful);
}

#[test]
fn a_poison_message_is_withheld_too_when_the_broker_takes_nothing() {
    let mut broker = Broker::default();
    broker.serve([(1, refused()), (2, refused()), (3, refused()), (7, Ack::Lost)]);
    // The broker has answered on the first connection, so only the next one makes 7 a suspect.
    let conclusions: Vec<Conclusion> = (0..6).map(|_| broker.serve([(7, Ack::Lost)])).collect();

    let last = conclusions.last().unwrap();
    assert!(last.dead_letter.is_none());
    assert_eq!(ids(&last.send_again), [7]);
    assert!(last.reason.starts_with("it takes no event: the connection broke; after 3"), "{}", last.reason);
}

#[test]
fn a_connection_that_lasts_longer_than_the_longest_pause_is_useful() {
    let mut broker = Broker::default();
    let (mut session, start) = broker.connect(256);
    let is_well = |outcome| match outcome {
        ControlFlow::Continue(Action::Checkpoint { is_well }) => is_well,
        other => panic!("a checkpoint is written, and not {other:?}"),
    };

    assert!(!is_well(session.handle(Input::Tick, start + LONGEST_PAUSE)));
    let later = start + LONGEST_PAUSE + Duration::from_nanos(1);
    assert!(is_well(session.handle(Input::Tick, later)));

    assert!(session.conclude("the connection broke".to_owned(), later).was_useful);
}

#[test]
fn retries_get_an_eighth_of_the_window_and_one_at_least() {
    for (window, expected) in [(1, 1), (8, 1), (9, 2), (256, 32)] {
        let mut broker = Broker::default();
        let (mut session, now) = broker.connect(window);

        let outcome = session.handle(Input::RetriesDue, now);

        assert!(matches!(outcome, ControlFlow::Continue(Action::LookForRetries { most }) if most == expected));
    }
}

#[test]
fn a_lane_that_is_asked_to_stop_stops() {
    let mut broker = Broker::default();
    let (mut session, now) = broker.connect(256);

    assert_eq!(exit(session.handle(Input::Stop(STALL), now)), Exit::Stop(STALL));
}
