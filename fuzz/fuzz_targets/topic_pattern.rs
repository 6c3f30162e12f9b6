//! A topic pattern of a row, and an event's values in it. In: a pattern and a context, each from the bytes. Out: the topic is one that a broker
//! takes: no wildcard, no NUL, within its bound, and as deep as the pattern whatever the values hold.
#![no_main]

use andon::event::Entity;
use andon::event::Event;
use andon::event::TenantId;
use andon::topic::Equipment;
use andon::topic::Levels;
use andon::topic::MAX_TOPIC_BYTES;
use andon::topic::Missing;
use andon::topic::Naming;
use andon::topic::Pattern;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::value::to_raw_value;
use uuid::Uuid;

fuzz_target!(|input: (&str, &str, &str, &str)| {
    let (pattern, tenant, event_type, value) = input;
    let Ok(pattern) = Pattern::compile(pattern) else { return };
    let context = ["enterprise", "site", "area", "line", "cell", "operation", "job_number", "part_number", "custom"]
        .map(|name| (name, value));
    let context = to_raw_value(&std::collections::BTreeMap::from(context)).expect("texts are JSON");
    let entity = Entity { entity_type: value.to_owned(), id: tenant.to_owned() };
    let (tenant, data) = (TenantId(tenant.to_owned()), to_raw_value("").expect("a text is JSON"));
    let event = Event::new(1, Uuid::nil(), tenant, event_type.to_owned(), entity, Timestamp::UNIX_EPOCH, context, data);
    for naming in ["ascii", "eryxon", "verbatim"].iter().filter_map(|name| Naming::parse(name)) {
        for missing in [None, Missing::parse("placeholder"), Missing::parse("drop"), Missing::parse("reject")] {
            let expanded = pattern.expand(&event, naming, missing, &Equipment::default(), &Levels::default());
            let Ok(topic) = expanded else { continue };
            let topic = topic.as_str();
            assert!(!topic.is_empty() && topic.len() <= MAX_TOPIC_BYTES, "{} bytes", topic.len());
            assert!(!topic.contains(['+', '#', '\0']) && !topic.starts_with('$'), "{topic:?}");
            assert!(topic.split('/').count() <= pattern.as_str().split('/').count(), "{topic:?} is deeper");
        }
    }
});
