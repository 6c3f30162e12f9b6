//! Tests of a session's rules, one by one.

mod dead;

use jiff::Timestamp;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::*;
use crate::event::Entity;
use crate::event::TenantId;

const STALL: Duration = Duration::from_secs(2);

/// The values that a lane keeps from one connection to the next.
#[derive(Default)]
struct Broker(Memory);

impl Broker {
    fn connect(&mut self, window: usize) -> (Session<'_>, Instant) {
        let now = Instant::now();
        (Session::new(&mut self.0, window, STALL, now), now)
    }

    /// Makes a connection that breaks when the broker has answered the status message and these events.
    fn serve(&mut self, acks: impl IntoIterator<Item = (i64, Ack)>) -> Conclusion {
        self.serve_until(acks, broke())
    }

    /// Makes a connection that ends in this way instead.
    fn serve_until(&mut self, acks: impl IntoIterator<Item = (i64, Ack)>, ending: Ending) -> Conclusion {
        let (mut session, now) = self.connect(256);
        assert!(session.handle(Input::Status(Ack::Accepted), now).is_continue());
        for (id, ack) in acks {
            drop(session.handle(acknowledged(id, ack), now));
        }
        session.conclude(ending, now)
    }

    /// Makes connections that end on event 7 alone, until it is compared with others.
    fn suspect(&mut self, in_flight: usize) {
        self.serve((7..).take(in_flight).map(|id| (id, Ack::Lost)));
        for _ in 0..FAILURES {
            let conclusion = self.serve([(7, Ack::Lost)]);
            assert!(conclusion.dead_letter.is_none() && ids(&conclusion.send_again) == [7] && !conclusion.was_useful);
        }
        assert_eq!(self.0.poison.suspect(), Some(7));
    }
}

fn broke() -> Ending {
    Ending::unclear("the connection broke")
}

fn over_quota() -> Ending {
    Ending { reason: "quota exceeded".to_owned(), meaning: Meaning::Broker }
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
    Exit::Ended(Ending::unclear(reason))
}

fn published(in_flight: usize, has_next: bool) -> Input {
    Input::Published { in_flight, has_next }
}

/// Returns the pause that a session begins, as the ids to send again and the reason.
fn pause(outcome: ControlFlow<Exit, Action>) -> (Vec<i64>, String) {
    match outcome {
        ControlFlow::Continue(Action::Pause { send_again, reason }) => (ids(&send_again), reason),
        other => panic!("a pause begins, and not {other:?}"),
    }
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
fn an_event_that_is_refused_for_now_is_sent_again_on_the_same_connection_after_a_pause_one_at_a_time() {
    let mut broker = Broker::default();
    let (mut session, now) = broker.connect(256);
    drop(session.handle(Input::Status(Ack::Accepted), now));

    assert!(session.handle(acknowledged(1, not_now()), now).is_continue(), "the connection goes on");
    assert_eq!(session.window(), 0, "nothing is published until all that is in flight is answered");
    assert!(matches!(session.handle(published(2, true), now), ControlFlow::Continue(Action::Nothing)));
    assert!(session.handle(acknowledged(2, Ack::Accepted), now).is_continue(), "what is acknowledged counts");
    assert!(session.handle(acknowledged(3, not_now()), now).is_continue());

    assert_eq!(pause(session.handle(published(0, true), now)), (vec![1, 3], "quota exceeded".to_owned()));
    let resumes = session.resumes_at().unwrap();
    assert!(resumes > now && session.window() == 0);
    drop(session.handle(Input::Resumed, resumes));
    let mut windows = vec![session.window()];
    for id in [1, 3] {
        drop(session.handle(acknowledged(id, Ack::Accepted), resumes));
        windows.push(session.window());
    }
    assert_eq!(windows, [1, 1, 256]);
}

#[test]
fn the_pauses_after_refusals_grow_until_the_broker_takes_an_event() {
    let mut broker = Broker::default();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let (mut session, now) = broker.connect(256);
        drop(session.handle(Input::Status(Ack::Accepted), now));
        drop(session.handle(acknowledged(1, not_now()), now));
        pause(session.handle(published(0, true), now));
        pauses.push(session.resumes_at().unwrap() - now);
        let later = now + LONGEST_PAUSE * 2;
        let tick = session.handle(Input::Tick, later);
        assert!(matches!(tick, ControlFlow::Continue(Action::Checkpoint { is_well: false })), "it takes nothing");
    }
    assert!(pauses[0] < Duration::from_secs(1) && *pauses.last().unwrap() >= LONGEST_PAUSE, "{pauses:?}");

    let (mut session, now) = broker.connect(256);
    drop(session.handle(acknowledged(1, Ack::Accepted), now));
    drop(session.handle(acknowledged(2, not_now()), now));
    pause(session.handle(published(0, true), now));
    assert!(session.resumes_at().unwrap() - now < Duration::from_secs(1));
}

#[test]
fn a_refusal_for_now_slows_the_next_connection_even_if_it_comes_to_light_at_the_end() {
    let mut broker = Broker::default();

    let conclusion = broker.serve([(1, Ack::Lost), (2, not_now())]);

    assert_eq!(ids(&conclusion.send_again), [1, 2]);
    let (mut session, now) = broker.connect(256);
    drop(session.handle(Input::Status(Ack::Accepted), now));
    assert_eq!(session.window(), 1, "2 must not overtake 1 a second time");
}

#[test]
fn the_broker_counts_as_recovered_when_it_has_taken_all_that_there_is() {
    let mut broker = Broker::default();
    let (mut session, now) = broker.connect(256);
    let is_recovered = |outcome| matches!(outcome, ControlFlow::Continue(Action::Recovered));

    assert!(!is_recovered(session.handle(published(0, false), now)), "it has not answered the status message");
    drop(session.handle(Input::Status(Ack::Accepted), now));
    assert!(!is_recovered(session.handle(published(1, false), now)));
    assert!(is_recovered(session.handle(published(0, false), now)));
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

    assert!(session.conclude(broke(), later).was_useful);
}

#[test]
fn a_lane_that_is_asked_to_stop_stops() {
    let mut broker = Broker::default();
    let (mut session, now) = broker.connect(256);

    assert_eq!(exit(session.handle(Input::Stop(STALL), now)), Exit::Stop(STALL));
}
