//! Tests what is unsaved against a model of the database that counts deliveries, and tests the rules one by one.

use proptest::prelude::*;

use super::*;

fn at_once() -> Duration {
    Duration::ZERO
}

#[derive(Debug, Clone)]
enum Step {
    Deliver,
    Begin,
    Succeed,
    Fail,
    /// Another write fails: of the state, or a read of the ledger.
    FailBesides,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Deliver),
        2 => Just(Step::Begin),
        1 => Just(Step::Succeed),
        1 => Just(Step::Fail),
        1 => Just(Step::FailBesides),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn each_delivery_is_counted_once_however_the_writes_end(steps in steps()) {
        let now = Instant::now();
        let mut unsaved = Unsaved::new(0, State::Running, false, now);
        let (mut position, mut stored) = (0, 0);
        let mut under_way: Option<Checkpoint> = None;
        for step in steps {
            match step {
                Step::Deliver => {
                    position += 1;
                    unsaved.delivered();
                }
                Step::Begin if under_way.is_none() && unsaved.is_due(now, position, false, at_once) => {
                    under_way = Some(unsaved.begin(position, StoredPending::default(), false));
                }
                Step::Succeed => if let Some(checkpoint) = under_way.take() {
                    stored += checkpoint.delivered;
                    unsaved.saved(&checkpoint, now);
                    prop_assert!(!unsaved.database_is_away());
                }
                Step::Fail => if under_way.take().is_some() {
                    unsaved.failed("away");
                }
                Step::FailBesides => {
                    unsaved.failed("away");
                }
                Step::Begin => {}
            }
            let counted = stored + under_way.as_ref().map_or(0, |checkpoint| checkpoint.delivered);
            prop_assert!(counted <= position);
            prop_assert!(counted == position || unsaved.is_due(now, position, false, at_once), "a delivery is forgotten");
            prop_assert!(!unsaved.is_nothing() || counted == position);
            let says_so = matches!(unsaved.unsaved_state(), Some(State::Retrying(_)));
            prop_assert_eq!(says_so, unsaved.database_is_away());
        }
        if let Some(checkpoint) = under_way {
            stored += checkpoint.delivered;
            unsaved.saved(&checkpoint, now);
        }
        let last = unsaved.begin(position, StoredPending::default(), false);
        unsaved.saved(&last, now);
        prop_assert_eq!(stored + last.delivered, position);
        prop_assert!(unsaved.is_nothing() && !unsaved.is_due(now, position, false, at_once));
    }
}

#[test]
fn an_idle_lane_is_due_twice_a_minute_and_a_replay_at_its_end() {
    let start = Instant::now();
    let mut unsaved = Unsaved::new(10, State::Running, false, start);
    let later = start + IDLE_CHECKPOINT + Duration::from_millis(1);

    assert!(!unsaved.is_due(later, 10, false, at_once), "it is where it was");
    assert!(!unsaved.is_due(start, 20, false, at_once), "others' events went by");
    assert!(unsaved.is_due(later, 20, false, at_once));
    unsaved.holes_closed();
    assert!(
        unsaved.is_due(later, 10, false, at_once),
        "a rollback brings no event, and the row has its ids as pending"
    );
    assert!(!unsaved.is_due(start, 10, false, at_once));

    assert!(unsaved.is_due(start, 10, true, at_once));
    let checkpoint = unsaved.begin(10, StoredPending::default(), true);
    assert!(unsaved.is_due(start, 10, true, at_once), "it is not written yet");
    unsaved.saved(&checkpoint, start);
    assert!(!unsaved.is_due(start, 10, true, at_once));
}

#[test]
fn a_lane_that_stops_stores_its_position_to_the_event() {
    let now = Instant::now();
    let mut unsaved = Unsaved::new(10, State::Running, false, now);

    unsaved.stops_at(10);
    assert!(!unsaved.is_due(now, 10, false, at_once));
    unsaved.stops_at(11);
    assert!(unsaved.is_due(now, 11, false, at_once));
}

#[test]
fn a_recovery_is_written_once_after_each_failure() {
    let mut unsaved = Unsaved::new(0, State::Running, true, Instant::now());

    unsaved.destination_works();
    assert!(unsaved.has_recovered(), "an earlier run may have written that it fails");
    unsaved.recovery_saved();
    unsaved.destination_works();
    assert!(!unsaved.has_recovered());
    unsaved.failure_saved();
    assert!(!unsaved.has_recovered());
    unsaved.destination_works();
    assert!(unsaved.has_recovered());
}

#[test]
fn a_lane_whose_row_shows_no_failure_has_no_recovery_to_write_until_one_may_be_written() {
    let mut unsaved = Unsaved::new(0, State::Running, false, Instant::now());

    unsaved.destination_works();
    assert!(!unsaved.has_recovered() && !unsaved.may_have_failed());
    unsaved.failure_may_be_saved();
    unsaved.destination_works();
    assert!(unsaved.has_recovered());
    unsaved.failure_may_be_saved();
    assert!(unsaved.has_recovered(), "what it recovered from is still to be written");
}

#[test]
fn a_disabled_lane_stays_disabled() {
    let mut unsaved = Unsaved::new(0, State::Running, false, Instant::now());
    let disabled = State::Disabled("410".to_owned());

    assert!(!unsaved.set_state(State::Running), "a lane runs when it starts");
    assert_eq!(unsaved.unsaved_state(), None);
    assert!(unsaved.set_state(disabled.clone()));
    assert!(!unsaved.set_state(State::Running));
    assert_eq!(unsaved.unsaved_state(), Some(&disabled));
    unsaved.state_saved(disabled);
    assert!(unsaved.is_nothing());
}

#[test]
fn a_cursor_with_thousands_of_holes_is_written_less_often_and_at_the_end_all_the_same() {
    let begun = Instant::now();
    let after = |millis| begun + Duration::from_millis(millis);
    let mut unsaved = Unsaved::new(0, State::Running, false, begun);
    let mut pending = StoredPending::default();
    (0..8000).for_each(|hole| pending.pending.insert(2 * hole, 2 * hole));
    unsaved.delivered();
    assert!(unsaved.is_due(after(500), 20_000, false, at_once));
    let checkpoint = unsaved.begin(20_000, pending, false);
    unsaved.saved(&checkpoint, after(500));

    unsaved.delivered();

    assert!(!unsaved.is_due(after(2000), 20_001, false, at_once));
    assert!(unsaved.is_due(after(2500), 20_001, false, at_once));
    assert!(!unsaved.is_nothing());
    unsaved.stops_at(20_001);
    assert!(unsaved.is_due(after(600), 20_001, false, at_once), "a lane that stops does not wait");
}

#[test]
fn a_cursor_waits_for_holes_that_are_about_to_be_shared_unless_its_lane_stops() {
    let begun = Instant::now();
    let after = |seconds| begun + Duration::from_secs(seconds);
    let patience = || Duration::from_secs(36);
    let mut unsaved = Unsaved::new(0, State::Running, false, begun);
    assert!(!unsaved.is_due(after(31), 9, false, patience) && unsaved.is_due(after(31), 9, false, at_once));
    unsaved.delivered();
    assert!(!unsaved.is_due(after(35), 9, false, patience));
    assert!(unsaved.is_due(after(36), 9, false, patience));
    unsaved.stops_at(9);
    assert!(unsaved.is_due(after(1), 9, false, patience));
}

#[test]
fn a_lane_says_that_its_progress_cannot_be_written_and_then_its_own_state_again() {
    let now = Instant::now();
    let mut unsaved = Unsaved::new(0, State::Running, false, now);
    let open = State::Open("answered 503".to_owned());
    unsaved.set_state(open.clone());
    unsaved.state_saved(open.clone());

    assert!(unsaved.failed("the index row is too large"));
    assert!(!unsaved.failed("the database is away"), "the first reason stands");
    let trouble = State::Retrying("cannot write its progress: the index row is too large".to_owned());
    assert_eq!(unsaved.unsaved_state(), Some(&trouble));
    unsaved.state_saved(trouble);
    assert_eq!(unsaved.unsaved_state(), None);
    assert!(!unsaved.set_state(open.clone()));
    let checkpoint = unsaved.begin(1, StoredPending::default(), false);
    unsaved.saved(&checkpoint, now);

    assert_eq!(unsaved.unsaved_state(), Some(&open));
}

#[test]
fn a_state_that_cannot_be_written_is_told_once_though_its_lane_writes_its_cursor_meanwhile() {
    let now = Instant::now();
    let mut unsaved = Unsaved::new(0, State::Running, false, now);
    let disabled = State::Disabled("410".to_owned());
    unsaved.set_state(disabled.clone());
    let write = |unsaved: &mut Unsaved| {
        let checkpoint = unsaved.begin(1, StoredPending::default(), false);
        unsaved.saved(&checkpoint, now);
    };

    assert!(unsaved.failed("denied"));
    write(&mut unsaved);
    assert!(!unsaved.failed("denied"));
    write(&mut unsaved);
    assert!(unsaved.failed("disk full"), "another reason is news");
    write(&mut unsaved);
    unsaved.state_saved(disabled);

    assert!(unsaved.failed("disk full"), "it was well in between");
}

#[test]
fn a_lane_that_is_disabled_says_that_and_nothing_else() {
    let mut unsaved = Unsaved::new(0, State::Running, false, Instant::now());
    let disabled = State::Disabled("410".to_owned());
    unsaved.set_state(disabled.clone());

    unsaved.failed("away");

    assert_eq!(unsaved.unsaved_state(), Some(&disabled));
}
