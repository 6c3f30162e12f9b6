//! Makes the payload of a delivery. In: an event, and the format that its receiver wants. Out: the bytes that go to the broker or into the
//! POST. It never parses or rewrites the event's own JSON: what PostgreSQL wrote is what is signed and sent.

use bytes::Bytes;
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use uuid::Uuid;

use crate::event::Event;

/// The format of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Everything that the log knows of an event. It is the same on MQTT and in a webhook.
    #[default]
    Andon,
    /// The format that receivers of an eryxon system expect.
    Eryxon,
}

impl Format {
    /// Reads the name of a format in a profile or a setting: `andon` or `eryxon`.
    pub fn parse(text: &str) -> Option<Format> {
        match text {
            "andon" => Some(Format::Andon),
            "eryxon" => Some(Format::Eryxon),
            _ => None,
        }
    }
}

/// Returns the payload of a PUBLISH.
pub fn mqtt(event: &Event, format: Format) -> Bytes {
    match format {
        Format::Andon => andon(event),
        Format::Eryxon => eryxon(event, Some(&event.tenant.0)),
    }
}

/// Returns the body of a POST.
pub fn webhook(event: &Event, format: Format) -> Bytes {
    match format {
        Format::Andon => andon(event),
        Format::Eryxon => eryxon(event, None),
    }
}

/// Returns the number of bytes that a payload has at least. It is known before the payload is made.
pub fn least_bytes(event: &Event, format: Format) -> usize {
    let context = match format {
        Format::Andon => event.context.get().len(),
        Format::Eryxon => 0,
    };
    context + event.data.get().len()
}

/// A piece of a payload.
#[derive(Clone, Copy)]
enum Part<'a> {
    /// Text that is JSON already, or a piece of JSON.
    Json(&'a str),
    /// Text that becomes a JSON string.
    Text(&'a str),
    /// A time that becomes a JSON string, by RFC 3339 in UTC with milliseconds, just as JavaScript's `toISOString` writes it.
    Time(Timestamp),
}

const MILLISECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
const NO_FIELD: [Part<'static>; 2] = [Part::Json(""), Part::Json("")];

fn andon(event: &Event) -> Bytes {
    let mut id = Uuid::encode_buffer();
    let tenant = &event.tenant.0;
    let [tenant_name, tenant] = match tenant.is_empty() {
        true => NO_FIELD,
        false => [Part::Json(r#","tenant":"#), Part::Text(tenant)],
    };
    join(&[
        Part::Json(r#"{"id":""#),
        Part::Json(event.event_id.hyphenated().encode_lower(&mut id)),
        Part::Json(r#"","type":"#),
        Part::Text(&event.event_type),
        Part::Json(r#","timestamp":"#),
        Part::Time(event.occurred_at),
        tenant_name,
        tenant,
        Part::Json(r#","entity":{"type":"#),
        Part::Text(&event.entity.entity_type),
        Part::Json(r#","id":"#),
        Part::Text(&event.entity.id),
        Part::Json(r#"},"context":"#),
        Part::Json(event.context.get()),
        Part::Json(r#","data":"#),
        Part::Json(event.data.get()),
        Part::Json("}"),
    ])
}

fn eryxon(event: &Event, tenant_id: Option<&str>) -> Bytes {
    let [tenant_name, tenant] = match tenant_id {
        None => NO_FIELD,
        Some(tenant) => [Part::Json(r#","tenant_id":"#), Part::Text(tenant)],
    };
    join(&[
        Part::Json(r#"{"event":"#),
        Part::Text(&event.event_type),
        Part::Json(r#","timestamp":"#),
        Part::Time(event.occurred_at),
        tenant_name,
        tenant,
        Part::Json(r#","data":"#),
        Part::Json(event.data.get()),
        Part::Json("}"),
    ])
}

/// Writes the parts one after the other. Unless a text has to be escaped, the capacity is exactly right, and then the vector
/// becomes `Bytes` without a second allocation.
fn join(parts: &[Part<'_>]) -> Bytes {
    let bytes = parts.iter().map(|part| match part {
        Part::Json(text) => text.len(),
        Part::Text(text) => text.len() + 2,
        Part::Time(_) => r#""2026-11-20T06:00:00.123Z""#.len(),
    });
    let mut body = Vec::with_capacity(bytes.sum());
    for part in parts {
        match part {
            Part::Json(text) => body.extend_from_slice(text.as_bytes()),
            Part::Text(text) => serde_json::to_writer(&mut body, text).expect("a vector takes every text"),
            Part::Time(time) => {
                body.push(b'"');
                MILLISECONDS.print_timestamp(time, &mut body).expect("a vector takes every time");
                body.push(b'"');
            }
        }
    }
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Entity;
    use crate::event::TenantId;
    use proptest::prelude::*;
    use serde::Serialize;
    use serde_json::Value;
    use serde_json::value::RawValue;

    /// Spaces and the order of keys are PostgreSQL's own, and the number is one that no float holds.
    const DATA: &str = r#"{"b": 1.10, "a": 12345678901234567890.5}"#;

    fn event(tenant: &str, event_type: &str, data: &str) -> Event {
        Event::new(
            7,
            "0198c2f4-0000-7000-8000-000000000001".parse().unwrap(),
            TenantId(tenant.to_owned()),
            event_type.to_owned(),
            Entity { entity_type: "operation".to_owned(), id: "42".to_owned() },
            "2026-11-20T06:00:00.123987Z".parse().unwrap(),
            RawValue::from_string(r#"{"cell": "Laser 1"}"#.to_owned()).unwrap(),
            RawValue::from_string(data.to_owned()).unwrap(),
        )
    }

    #[test]
    fn the_andon_payload_is_the_same_on_mqtt_and_in_a_webhook() {
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
    fn in_format_eryxon_the_payloads_are_those_of_an_eryxon_system() {
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

    /// The andon payload, as a serializer writes it.
    #[derive(Serialize)]
    struct Model<'a> {
        id: Uuid,
        r#type: &'a str,
        timestamp: String,
        #[serde(skip_serializing_if = "str::is_empty")]
        tenant: &'a str,
        entity: ModelEntity<'a>,
        context: &'a RawValue,
        data: &'a RawValue,
    }

    #[derive(Serialize)]
    struct ModelEntity<'a> {
        r#type: &'a str,
        id: &'a str,
    }

    proptest! {
        #[test]
        fn the_andon_payload_is_what_a_serializer_writes(
            tenant in "[\\PC\n\"\\\\]{0,8}", event_type in any::<String>(), id in any::<String>(), second in -377_705_023_201i64..253_402_207_200, nano in 0..1_000_000_000i32
        ) {
            let mut event = event(&tenant, &event_type, DATA);
            event.entity.id = id;
            event.occurred_at = Timestamp::new(second, nano).unwrap();
            let model = Model {
                id: event.event_id,
                r#type: &event.event_type,
                timestamp: format!("{:.3}", event.occurred_at),
                tenant: &event.tenant.0,
                entity: ModelEntity { r#type: &event.entity.entity_type, id: &event.entity.id },
                context: serde_json::from_str(event.context.get()).unwrap(),
                data: serde_json::from_str(event.data.get()).unwrap(),
            };
            prop_assert_eq!(webhook(&event, Format::Andon), serde_json::to_vec(&model).unwrap());
            for format in [Format::Andon, Format::Eryxon] {
                prop_assert!(least_bytes(&event, format) <= webhook(&event, format).len());
            }
        }

        #[test]
        fn every_payload_is_json_with_its_data_untouched(tenant in "\\PC{0,20}", event_type in "\\PC{1,20}", text in "\\PC{0,60}") {
            let data = serde_json::to_string(&text).unwrap();
            let end = format!("\"data\":{data}}}");
            let event = event(&tenant, &event_type, &data);
            for body in [mqtt(&event, Format::Andon), mqtt(&event, Format::Eryxon), webhook(&event, Format::Eryxon)] {
                let read: Value = serde_json::from_slice(&body).unwrap();
                prop_assert_eq!(read["data"].as_str(), Some(text.as_str()));
                prop_assert!(String::from_utf8_lossy(&body).ends_with(&end));
            }
        }
    }
}
