//! The measurements, made small. In: the program with small numbers. Out: whether they run to their end, lose nothing and report figures.

use std::path::Path;

use serde_json::Value;

use crate::lab;

/// Runs a bench and reads its report.
fn figures(arguments: &[&str]) -> Value {
    let ran = lab().arg("bench").args(arguments).arg("--json").output().unwrap();
    assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

/// Asserts that each of these variants has a figure for every round.
fn has_figures(report: &Value, what: &str, variants: &[&str]) {
    let rows = report["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["what"] == what).unwrap_or_else(|| panic!("no `{what}` in {report}"));
    for variant in variants {
        let rounds = row["variants"][variant]["rounds"].as_array().unwrap();
        assert!(!rounds.is_empty() && rounds.iter().all(|figure| figure.as_f64() > Some(0.0)), "{variant}: {row}");
    }
}

#[test]
fn events_that_wait_in_the_log_are_drained_next_to_bare_loops() {
    let mqtt = figures(&["drain-mqtt", "--events", "2000", "--rounds", "1"]);
    let webhook = figures(&["drain-webhook", "--events", "2000", "--rounds", "1"]);

    has_figures(&mqtt, "events/s", &["client", "andon"]);
    has_figures(&webhook, "events/s", &["client", "hyper", "andon"]);
    assert_eq!(mqtt["goals"][0]["ratio at least"], 0.85);
}

#[test]
fn one_event_goes_to_many() {
    let report = figures(&["fan-out", "--events", "200", "--each", "3", "--rounds", "1"]);

    has_figures(&report, "deliveries/s, of what waits in the log", &["bare", "andon"]);
    has_figures(&report, "deliveries/s, of a burst", &["bare", "andon"]);
}

#[test]
fn a_backlog_is_drained_and_memory_is_reported() {
    let report = figures(&["backlog", "--events", "3000"]);

    has_figures(&report, "peak memory of the gateway, MiB", &["last"]);
}

#[test]
fn the_bounds_at_scale_are_measured() {
    let memory = figures(&["memory", "--events", "5", "--lanes", "5", "--flood", "1", "--seconds", "5"]);
    let holes = figures(&["holes", "--holes", "100", "--rounds", "1", "--seconds", "1"]);
    let lanes = figures(&["lanes", "--webhooks", "5", "--publishers", "5", "--tenants", "2", "--seconds", "1"]);
    let ledger = figures(&["ledger", "--parked", "200", "--drained", "100"]);

    has_figures(&memory, "peak memory of the gateway, MiB", &["arriving", "behind", "all"]);
    has_figures(&holes, "p99, ms", &["none", "holes"]);
    has_figures(&lanes, "until ready, s", &["andon"]);
    has_figures(&ledger, "deliveries/s", &["log", "ledger"]);
    has_figures(&ledger, "discard, s", &["ledger"]);
}

#[test]
fn two_builds_take_turns() {
    let lab_program = lab().get_program().to_owned();
    let andon = Path::new(&lab_program).with_file_name("andon");
    let andon = andon.to_str().unwrap();

    let report =
        figures(&["fan-out", "--events", "50", "--each", "1", "--rounds", "1", "--before", andon, "--turns", "2"]);

    has_figures(&report, "deliveries/s, of a burst", &["before", "andon"]);
    assert_eq!(report["rows"][0]["variants"]["andon"]["rounds"].as_array().unwrap().len(), 2);
}
