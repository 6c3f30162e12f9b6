//! Tests what topics look like, and what no value can do to them.

use std::collections::HashMap;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;
use serde_json::value::to_raw_value;
use uuid::Uuid;

use super::*;
use crate::event::Entity;
use crate::event::Event;
use crate::event::TenantId;

const ALL: &str = "{enterprise}/{site}/{area}/{line}/{cell}/{operation}/{event}/{tenant_id}/{job_number}/{part_number}";

fn event(event_type: &str, context: &serde_json::Value) -> Event {
    Event::new(
        1,
        Uuid::nil(),
        TenantId("Tenant-A".to_owned()),
        event_type.to_owned(),
        Entity { entity_type: "job".to_owned(), id: "J 1".to_owned() },
        Timestamp::UNIX_EPOCH,
        to_raw_value(context).unwrap(),
        to_raw_value(&json!({"order": {"lines": [{"no": 7}]}, "empty": ""})).unwrap(),
    )
}

fn levels(site: &str) -> Levels {
    Levels { site: Some(site.to_owned()), ..Levels::default() }
}

fn expand(pattern: &str, event: &Event, naming: Naming, missing: Option<Missing>) -> Result<String, TopicProblem> {
    let pattern = Pattern::compile(pattern).unwrap();
    pattern.expand(event, naming, missing, &Equipment::default(), &Levels::default()).map(|topic| topic.0)
}

#[test]
fn each_naming_has_its_own_topic_of_one_event() {
    let context = json!({"enterprise": "Müller AG", "cell": "Säge/2", "job_number": "J-1", "part_number": "P/N 42-A"});
    let event = event("sync.jobs.completed", &context);

    let topics =
        [Naming::Ascii, Naming::Verbatim, Naming::Eryxon].map(|naming| expand(ALL, &event, naming, None).unwrap());

    assert_eq!(topics[0], "mueller_ag/_/_/_/saege_2/_/sync/jobs/completed/tenant-a/j-1/p_n_42-a");
    assert_eq!(topics[1], "Müller AG/_/_/_/Säge_2/_/sync/jobs/completed/Tenant-A/J-1/P_N 42-A");
    assert_eq!(topics[2], "mller_ag/main/production/sge2/sync/jobs.completed/Tenant-A/j-1/pn_42-a");
}

#[test]
fn a_missing_value_follows_the_policy() {
    let event = event("job.created", &json!({}));
    let missing = |policy| expand("plant/{site}/{cell|none}/{event}", &event, Naming::Ascii, Some(policy));

    assert_eq!(missing(Missing::Placeholder).unwrap(), "plant/_/none/job/created");
    assert_eq!(missing(Missing::Drop).unwrap(), "plant/none/job/created");
    assert_eq!(missing(Missing::Reject), Err(TopicProblem::Missing("site".to_owned())));
    assert_eq!(expand("{site}/{cell}", &event, Naming::Ascii, Some(Missing::Drop)), Err(TopicProblem::Empty));
}

#[test]
fn an_explicit_policy_overrules_the_eryxon_rule() {
    let event = event("job.created", &json!({}));

    let topic = expand("{site}/{line}/{event}", &event, Naming::Eryxon, Some(Missing::Placeholder));

    assert_eq!(topic.unwrap(), "_/_/job/created");
}

#[test]
fn a_level_comes_from_the_event_then_the_equipment_then_the_publisher() {
    let pattern = Pattern::compile("{site}").unwrap();
    let equipment = Equipment(HashMap::from([("Laser 1".to_owned(), levels("Hall"))]));
    let topic = |context: serde_json::Value| {
        let event = event("job.created", &context);
        pattern.expand(&event, Naming::Ascii, None, &equipment, &levels("Default")).unwrap().0
    };

    assert_eq!(topic(json!({"cell": "Laser 1", "site": "Munich"})), "munich");
    assert_eq!(topic(json!({"cell": "Laser 1"})), "hall");
    assert_eq!(topic(json!({"work_unit": "Laser 1"})), "hall");
    assert_eq!(topic(json!({"cell": "Laser 2"})), "default");
}

#[test]
fn the_payload_can_be_reached_by_a_path() {
    let topic = expand(
        "{entity_type}/{entity_id}/{data.order.lines.0.no}/{data.empty}",
        &event("a", &json!({})),
        Naming::Ascii,
        None,
    );

    assert_eq!(topic.unwrap(), "job/j_1/7/_");
}

#[test]
fn a_value_of_70000_characters_is_a_clear_error() {
    let event = event("job.created", &json!({"cell": "x".repeat(70_000)}));

    let problem = expand("plant/{cell}/{event}", &event, Naming::Ascii, None).unwrap_err();

    insta::assert_snapshot!(problem, @"topic would be 70018 bytes long and MQTT allows 65535 (`{cell}` alone has 70000); shorten the value or leave it out of the pattern");
}

#[test]
fn a_topic_from_elsewhere_is_checked() {
    assert_eq!(Topic::parse("andon/_gateway/a/status".to_owned()).unwrap().as_str(), "andon/_gateway/a/status");
    assert_eq!(Topic::parse(String::new()), Err(TopicProblem::Empty));
    for text in ["a/+", "#", "$SYS/a", "a//b", "/a", "a/", "a\0"] {
        assert_eq!(Topic::parse(text.to_owned()), Err(TopicProblem::Malformed));
    }
}

fn namings() -> impl Strategy<Value = Naming> {
    prop::sample::select(vec![Naming::Ascii, Naming::Verbatim, Naming::Eryxon])
}

fn policies() -> impl Strategy<Value = Option<Missing>> {
    prop::sample::select(vec![None, Some(Missing::Placeholder), Some(Missing::Drop), Some(Missing::Reject)])
}

/// Generates any text, with dangerous characters more often than others.
fn values() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![any::<char>(), prop::sample::select(vec!['/', '+', '#', '$', '\0', ' ', '.', '_'])],
        0..12,
    )
    .prop_map(String::from_iter)
}

proptest! {
    #[test]
    fn no_value_adds_a_level_or_a_wildcard(
        naming in namings(), missing in policies(), cell in values(), job in values(), event_type in values(), tenant in values()
    ) {
        let mut event = event(&event_type, &json!({"cell": cell, "job_number": job}));
        event.tenant = TenantId(tenant);
        let Ok(topic) = expand("{cell}/x-{job_number}/{tenant_id}/{event}", &event, naming, missing) else {
            return Ok(());
        };
        prop_assert!(Topic::parse(topic.clone()).is_ok(), "{topic:?}");
        prop_assert!(topic.split('/').count() <= 4 + event_type.matches('.').count());
    }

    #[test]
    fn the_depth_is_constant_under_placeholder(
        naming in namings(), cell in values(), job in values(), tenant in values(), site in values()
    ) {
        let mut event = event("operation.completed", &json!({"cell": cell, "job_number": job}));
        event.tenant = TenantId(tenant);
        let pattern = Pattern::compile("{site}/{cell}/x-{job_number}/{tenant_id}/{event}").unwrap();

        let topic = pattern.expand(&event, naming, Some(Missing::Placeholder), &Equipment::default(), &levels(&site)).unwrap();

        prop_assert_eq!(topic.as_str().split('/').count(), 6);
    }
}
