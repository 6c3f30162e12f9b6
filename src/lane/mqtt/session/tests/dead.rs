//! Tests of the rules that decide which events are dead, and when the broker is held to be the trouble instead.

use super::*;

#[test]
fn an_event_is_dead_once_the_broker_has_taken_another_and_ends_one_more_connection_on_it() {
    let mut broker = Broker::default();
    broker.suspect(2);

    let last = broker.serve([(8, Ack::Accepted), (7, Ack::Lost)]);

    let letter = last.dead_letter.unwrap();
    assert_eq!(letter.delivery.event().id, 7);
    let expected = "the broker took others, and failed on it alone more than 5 times; the last: the connection broke";
    assert_eq!(letter.reason, expected);
    assert!(last.send_again.is_empty());
}

#[test]
fn a_broker_that_takes_no_event_makes_none_dead() {
    let mut broker = Broker::default();
    broker.suspect(2);

    for _ in 0..50 {
        let event = if let Choice::Suspect(event) = broker.connect(256).0.choice() { event } else { 8 };
        let conclusion = broker.serve([(event, Ack::Lost)]);
        assert!(conclusion.dead_letter.is_none() && !conclusion.was_useful);
        assert_eq!(conclusion.reason, "the connection broke (5 times in a row, with one event alone in flight)");
    }
}

#[test]
fn a_connection_that_ends_for_a_reason_of_the_brokers_makes_no_event_dead() {
    let mut broker = Broker::default();
    for _ in 0..50 {
        let conclusion = broker.serve_until([(7, Ack::Lost)], over_quota());
        assert!(conclusion.dead_letter.is_none());
        let conclusion = broker.serve_until([(8, Ack::Accepted), (7, Ack::Lost)], over_quota());
        assert!(conclusion.dead_letter.is_none() && ids(&conclusion.send_again) == [7]);
    }
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
fn an_event_that_the_broker_fails_on_is_dead_once_it_was_alone_and_another_was_taken() {
    let mut broker = Broker::default();
    let (mut session, now) = broker.connect(256);
    drop(session.handle(Input::Status(Ack::Accepted), now));
    let failed = || Ack::Failed("unspecified error".to_owned());
    let fail = |session: &mut Session<'_>, id| match session.handle(acknowledged(id, failed()), now) {
        ControlFlow::Continue(Action::DeadLetter(letter)) => Some(letter.delivery.event().id),
        _ => {
            pause(session.handle(published(0, true), now));
            drop(session.handle(Input::Resumed, now));
            None
        }
    };

    // Only the first failure was not alone in flight, so it does not count.
    for _ in 0..=FAILURES {
        assert_eq!(fail(&mut session, 7), None);
    }
    assert!(matches!(session.choice(), Choice::Other { suspect: 7, .. } | Choice::Suspect(7)));
    drop(session.handle(acknowledged(8, Ack::Accepted), now));

    assert_eq!(session.choice(), Choice::Suspect(7));
    assert_eq!(fail(&mut session, 7), Some(7));
    assert_eq!(session.window(), 256);
}

#[test]
fn a_broker_that_takes_nothing_gets_three_dead_letters_and_the_others_are_withheld() {
    let mut broker = Broker::default();
    let (mut session, now) = broker.connect(256);
    let is_parked = |action| matches!(action, ControlFlow::Continue(Action::DeadLetter(_)));
    let parked: Vec<bool> = (1..=5).map(|id| is_parked(session.handle(acknowledged(id, refused()), now))).collect();
    assert_eq!(parked, [true, true, true, false, false]);

    assert!(session.handle(published(1, true), now).is_continue(), "one in flight may be taken");
    let outcome = session.handle(published(0, false), now);
    assert_eq!(exit(outcome), ended("the broker takes nothing"));
    let conclusion = session.conclude(Ending::unclear("the broker takes nothing"), now);

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
    assert!(session.handle(published(1, true), now).is_continue());

    drop(session.handle(acknowledged(5, refused()), now));

    assert!(session.handle(published(1, true), now).is_break());
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
    let conclusion = session.conclude(broke(), now);
    assert!(conclusion.send_again.is_empty() && conclusion.was_useful);
}
