//! The judge is judged. Each thing that can be wrong is put into receipts that are right, and the judge has to see and report it.

use std::time::Duration;

use uuid::Uuid;

use crate::chaos::committed::Fact;
use crate::chaos::fault::Fault;

use super::*;

/// Returns three events of one entity in each tenant.
fn committed() -> Committed {
    let facts = |entity: &str| {
        let fact = |counter| Fact { nonce: format!("{entity}-{counter}"), event_id: Uuid::nil(), at: 1000.5 };
        (entity.to_owned(), (1..=3).map(|counter| (counter, fact(counter))).collect())
    };
    Committed::new([facts("e0"), facts("e8")].into())
}

fn receipt(entity: &str, counter: u64, at: f64) -> Receipt {
    let nonce = format!("{entity}-{counter}");
    Receipt { entity: entity.to_owned(), counter, nonce, at, is_redelivered: false }
}

/// Returns the receipts of all destinations when nothing goes wrong. Entity e0 is a job of acme, and e8 a job of globex.
fn all_well() -> HashMap<String, Receipts> {
    DESTINATIONS
        .iter()
        .map(|destination| {
            let entity = if destination.tenant == "acme" { "e0" } else { "e8" };
            let wanted = if destination.kind == Some("machine") { 0 } else { 3 };
            let receipts = (1..=wanted).map(|counter| receipt(entity, counter, counter as f64)).collect();
            (destination.label.to_owned(), Receipts { all: receipts, ..Receipts::default() })
        })
        .collect()
}

fn judged(seen: &HashMap<String, Receipts>, happened: &[Happened]) -> Judgement {
    judge(&Evidence { seed: 1, replicas: 1, committed: &committed(), received: seen, happened, started: 1000.0 })
}

fn altered(label: &str, alter: impl FnOnce(&mut Vec<Receipt>)) -> Judgement {
    let mut seen = all_well();
    alter(&mut seen.get_mut(label).unwrap().all);
    judged(&seen, &[])
}

#[test]
fn what_arrives_once_and_in_order_is_clean() {
    let judgement = judged(&all_well(), &[]);

    assert!(judgement.is_clean(), "{judgement:?}");
    assert_eq!((judgement.committed, judgement.duplicates), (6, 0));
}

#[test]
fn a_loss_is_seen_and_reported_with_its_time() {
    let judgement = altered("steady-a", |receipts| drop(receipts.remove(1)));

    assert_eq!(judgement.missing, 1);
    assert!(!judgement.is_clean());
    let told = &judgement.complaints[0];
    assert!(told.starts_with("steady-a: e0 2 is missing; written at 0.50 s"), "{told}");
}

#[test]
fn a_destination_that_gets_nothing_at_all_is_missed() {
    let mut seen = all_well();
    seen.remove("edited-b");

    assert_eq!(judged(&seen, &[]).missing, 3);
}

#[test]
fn what_a_volatile_destination_did_not_get_may_have_come_while_it_was_off() {
    let judgement = altered("volatile-b", |receipts| drop(receipts.remove(1)));

    assert!(judgement.is_clean(), "{judgement:?}");
}

#[test]
fn a_disorder_is_seen_and_reported_with_what_came_before() {
    for label in ["steady-c", "volatile-a"] {
        let judgement = altered(label, |receipts| receipts.swap(0, 1));

        assert_eq!(judgement.out_of_order, 1);
        assert!(!judgement.is_clean());
        let told = &judgement.complaints[0];
        assert_eq!(
            *told,
            format!("{label}: e0 1, received at 1.00 s: out of order: counter 2 came before it, at 2.00 s")
        );
    }
}

#[test]
fn what_was_rolled_back_never_happened_or_is_anothers_is_a_phantom() {
    let rolled_back = altered("steady-a", |receipts| receipts[1].nonce = "other".to_owned());
    let unheard_of = altered("steady-a", |receipts| receipts.push(receipt("e0", 4, 9.0)));
    let of_another_tenant = altered("steady-a", |receipts| receipts.push(receipt("e8", 1, 9.0)));

    for judgement in [&rolled_back, &unheard_of, &of_another_tenant] {
        assert_eq!(judgement.phantom, 1);
        assert!(!judgement.is_clean() && judgement.complaints[0].contains("phantom"), "{judgement:?}");
    }
    assert_eq!(rolled_back.missing, 1);
}

#[test]
fn a_repeat_needs_a_fault_before_it_that_explains_it() {
    let mut seen = all_well();
    seen.get_mut("steady-a").unwrap().all.push(receipt("e0", 3, 9.0));
    let restart = |broker, from| {
        let fault = Fault::RestartBroker { broker, away: Duration::ZERO };
        Happened { fault, from, until: from, served: None }
    };

    let explained = judged(&seen, &[restart(0, 5.0)]);
    let by_nothing = judged(&seen, &[]);
    let by_another_broker = judged(&seen, &[restart(1, 5.0)]);
    let too_late = judged(&seen, &[restart(0, 9.5)]);

    assert!(explained.is_clean());
    assert_eq!(explained.faults["restart broker"], 1);
    let [source] = &explained.sources[..] else { panic!("{explained:?}") };
    assert_eq!(
        (source.fault.as_str(), source.duplicates, source.allowed),
        ("restart broker (broker 1) at 5.0 s", 1, 64)
    );
    assert_eq!((by_nothing.duplicates, by_nothing.duplicates_allowed), (1, 0));
    for judgement in [by_nothing, by_another_broker, too_late] {
        assert_eq!(judgement.duplicates_unexplained, 1);
        assert!(!judgement.is_clean());
    }
}

#[test]
fn what_the_broker_sent_again_is_no_repeat_of_the_gateways() {
    let judgement = altered("steady-a", |receipts| {
        receipts.push(Receipt { is_redelivered: true, ..receipt("e0", 3, 9.0) });
    });

    assert_eq!(judgement.duplicates, 0);
}
