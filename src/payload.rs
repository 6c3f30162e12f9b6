//! The body of a delivery. In: an event and the form its receiver wants. Out: the bytes that go to the broker or into the POST. It never
//! parses or rewrites the event's own JSON: what PostgreSQL wrote is what is signed and sent.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::event::Event;

/// The form of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Everything the log knows of an event; the same on MQTT and in a webhook.
    #[default]
    Andon,
    /// What receivers of an eryxon system know.
    Eryxon,
}

impl Format {
    /// Reads the name that a profile or a setting gives it: `andon` or `eryxon`.
    pub fn parse(text: &str) -> Option<Format> {
        match text {
            "andon" => Some(Format::Andon),
            "eryxon" => Some(Format::Eryxon),
            _ => None,
        }
    }
}

/// The payload of a PUBLISH.
pub fn mqtt(event: &Event, format: Format) -> Bytes {
    match format {
        Format::Andon => andon(event),
        Format::Eryxon => eryxon(event, Some(&event.tenant.0)),
    }
}

/// The body of a POST.
pub fn webhook(event: &Event, format: Format) -> Bytes {
    match format {
        Format::Andon => andon(event),
        Format::Eryxon => eryxon(event, None),
    }
}

#[derive(Serialize)]
struct AndonPayload<'a> {
    id: Uuid,
    r#type: &'a str,
    timestamp: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    tenant: &'a str,
    entity: AndonEntity<'a>,
    context: &'a RawValue,
    data: &'a RawValue,
}

#[derive(Serialize)]
struct AndonEntity<'a> {
    r#type: &'a str,
    id: &'a str,
}

#[derive(Serialize)]
struct EryxonPayload<'a> {
    event: &'a str,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<&'a str>,
    data: &'a RawValue,
}

fn andon(event: &Event) -> Bytes {
    written(&AndonPayload {
        id: event.event_id,
        r#type: &event.kind,
        timestamp: milliseconds(event.occurred_at),
        tenant: &event.tenant.0,
        entity: AndonEntity { r#type: &event.entity.kind, id: &event.entity.id },
        context: event.context_json(),
        data: event.data_json(),
    })
}

fn eryxon(event: &Event, tenant_id: Option<&str>) -> Bytes {
    let timestamp = milliseconds(event.occurred_at);
    written(&EryxonPayload { event: &event.kind, timestamp, tenant_id, data: event.data_json() })
}

fn written(payload: &impl Serialize) -> Bytes {
    serde_json::to_vec(payload).expect("texts and JSON that is JSON already can be written").into()
}

/// RFC 3339 in UTC with three digits, which is what JavaScript's `toISOString` writes too.
fn milliseconds(timestamp: Timestamp) -> String {
    format!("{timestamp:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Entity;
    use crate::event::TenantId;
    use proptest::prelude::*;
    use serde_json::Value;

    /// Spaces and the order of keys are PostgreSQL's own, and the number is one that no float holds.
    const DATA: &str = r#"{"b": 1.10, "a": 12345678901234567890.5}"#;

    fn event(tenant: &str, kind: &str, data: &str) -> Event {
        Event::new(
            7,
            "0198c2f4-0000-7000-8000-000000000001".parse().unwrap(),
            TenantId(tenant.to_owned()),
            kind.to_owned(),
            Entity { kind: "operation".to_owned(), id: "42".to_owned() },
            "2026-11-20T06:00:00.123987Z".parse().unwrap(),
            RawValue::from_string(r#"{"cell": "Laser 1"}"#.to_owned()).unwrap(),
            RawValue::from_string(data.to_owned()).unwrap(),
        )
    }

    #[test]
    fn the_andon_payload_is_the_same_on_both_ways() {
        let event = event("acme", "operation.completed", DATA);

        let body = webhook(&event, Format::Andon);

        assert_eq!(
            body,
            r#"{"id":"0198c2f4-0000-7000-8000-000000000001","type":"operation.completed","timestamp":"2026-11-20T06:00:00.123Z","tenant":"acme","entity":{"type":"operation","id":"42"},"context":{"cell": "Laser 1"},"data":{"b": 1.10, "a": 12345678901234567890.5}}"#
        );
        assert_eq!(body, mqtt(&event, Format::Andon));
    }

    #[test]
    fn a_system_without_tenants_has_none_in_its_payload() {
        let body = mqtt(&event("", "job.created", DATA), Format::Andon);

        assert!(!String::from_utf8_lossy(&body).contains("tenant"));
    }

    #[test]
    fn the_eryxon_payloads_are_that_systems() {
        let event = event("acme", "operation.completed", DATA);

        assert_eq!(
            webhook(&event, Format::Eryxon),
            r#"{"event":"operation.completed","timestamp":"2026-11-20T06:00:00.123Z","data":{"b": 1.10, "a": 12345678901234567890.5}}"#
        );
        assert_eq!(
            mqtt(&event, Format::Eryxon),
            r#"{"event":"operation.completed","timestamp":"2026-11-20T06:00:00.123Z","tenant_id":"acme","data":{"b": 1.10, "a": 12345678901234567890.5}}"#
        );
    }

    proptest! {
        #[test]
        fn every_payload_is_json_with_its_data_untouched(tenant in "\\PC{0,20}", kind in "\\PC{1,20}", text in "\\PC{0,60}") {
            let data = serde_json::to_string(&text).unwrap();
            let end = format!("\"data\":{data}}}");
            let event = event(&tenant, &kind, &data);
            for body in [mqtt(&event, Format::Andon), mqtt(&event, Format::Eryxon), webhook(&event, Format::Eryxon)] {
                let read: Value = serde_json::from_slice(&body).unwrap();
                prop_assert_eq!(read["data"].as_str(), Some(text.as_str()));
                prop_assert!(String::from_utf8_lossy(&body).ends_with(&end));
            }
        }
    }
}
