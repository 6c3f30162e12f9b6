//! Reads a notification into an event. In: a `[[channel]]` entry and the payload of a notification. Out: the event, or the reason why the
//! payload is none. It follows the paths of the entry and guesses nothing, and a number keeps its digits.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::value::to_raw_value;

use crate::capture::mapping::Channel;
use crate::capture::mapping::ChannelEventType;
use crate::capture::mapping::is_event_type;
use crate::capture::mapping::is_reserved;
use crate::event::Field;
use crate::event::Json;

/// The event that a notification announces.
#[derive(Debug)]
pub struct Notified {
    /// The type of the event.
    pub event_type: String,
    /// The tenant; empty if the event belongs to none.
    pub tenant: String,
    /// The id of the thing it happened to; empty if the payload has none.
    pub entity_id: String,
    /// The context, from which topics are made.
    pub context: Fields,
    /// The payload.
    pub data: Fields,
}

/// The fields of an object, each with its JSON as the payload has it.
pub type Fields = BTreeMap<String, Box<RawValue>>;

/// Why a notification is not an event.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The payload is not JSON.
    #[error("the payload is not JSON ({0}); only JSON can be carried")]
    NotJson(String),
    /// The payload lacks the type or the tenant.
    #[error("the payload has no text or number at `{0}`, which gives the event's {1}")]
    Missing(String, &'static str),
    /// The text at the path of the type is not one.
    #[error("`{0}` is not a dotted name such as machine.down")]
    NotAType(String),
    /// The type is one of Andon's own.
    #[error("`{0}` is not the plant's to send: names that begin with andon are Andon's own")]
    Reserved(String),
}

impl Channel {
    /// Reads the payload of a notification; `levels` are those of the source.
    pub fn read(&self, payload: &str, levels: &[(String, String)]) -> Result<Notified, Unreadable> {
        let unreadable = |error: serde_json::Error| Unreadable::NotJson(error.to_string());
        let payload = Json::from(serde_json::from_str::<Box<RawValue>>(payload).map_err(unreadable)?);
        let found = |path: &String| {
            let json = payload.at(path).map_or("null", Field::json);
            RawValue::from_string(json.to_owned()).map_err(unreadable)
        };
        let required = |path: &String, what| {
            payload.at(path).and_then(scalar).ok_or_else(|| Unreadable::Missing(path.clone(), what))
        };
        let event_type = match &self.event {
            ChannelEventType::Literal(name) => name.clone(),
            ChannelEventType::Path(path) => required(path, "type")?,
        };
        if !is_event_type(&event_type) {
            return Err(Unreadable::NotAType(event_type));
        }
        if is_reserved(&event_type) {
            return Err(Unreadable::Reserved(event_type));
        }
        let named = self.tenant.as_ref().map(|path| required(path, "tenant")).transpose()?.unwrap_or_default();
        let tenant = self.own_tenant.clone().unwrap_or(named);
        let entity_id = self.entity_id.as_ref().and_then(|path| scalar(payload.at(path)?)).unwrap_or_default();
        let mut context = Fields::new();
        for (name, value) in levels {
            context.insert(name.clone(), to_raw_value(value).map_err(unreadable)?);
        }
        for (name, path) in &self.context {
            let value = found(path)?;
            if value.get() != "null" {
                context.insert(name.clone(), value);
            }
        }
        let data = self.data.iter().map(|(name, path)| Ok((name.clone(), found(path)?))).collect::<Result<_, _>>()?;
        Ok(Notified { event_type, tenant, entity_id, context, data })
    }
}

/// Returns the text of a string or a number.
fn scalar(field: Field<'_>) -> Option<String> {
    let is_boolean = matches!(field.json(), "true" | "false");
    field.text().filter(|_| !is_boolean).map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::mapping::Mapping;

    const MAPPING: &str = "
[source]
name = 'line'
site = 'main'
[[channel]]
channel = 'machine_events'
type_path = 'event'
entity_type = 'machine'
entity_id = 'machine.id'
tenant = 'org'
context = { cell = 'machine.name', line = 'lines.0' }
fields = ['state', 'gone']
data = { machine = 'machine.id' }";

    #[test]
    fn a_notification_is_read_by_its_paths() {
        let mapping = Mapping::parse("line.toml", MAPPING).unwrap();
        let payload = r#"{"event": "machine.down", "org": 7, "state": "E-12", "lines": ["L1"], "machine": {"id": 4, "name": "Laser"}}"#;

        let event = mapping.channels[0].read(payload, &mapping.levels).unwrap();

        assert_eq!(
            (event.event_type.as_str(), event.tenant.as_str(), event.entity_id.as_str()),
            ("machine.down", "7", "4")
        );
        assert_eq!(text(&event.context), r#"{"cell":"Laser","line":"L1","site":"main"}"#);
        assert_eq!(text(&event.data), r#"{"gone":null,"machine":4,"state":"E-12"}"#);
    }

    #[test]
    fn a_number_of_a_notification_keeps_its_digits() {
        let mapping = Mapping::parse("line.toml", MAPPING).unwrap();
        let payload =
            r#"{"event": "machine.down", "org": 1.50, "state": [ 0.10 ], "machine": {"id": 12345678901234567890}}"#;

        let event = mapping.channels[0].read(payload, &[]).unwrap();

        assert_eq!((event.tenant.as_str(), event.entity_id.as_str()), ("1.50", "12345678901234567890"));
        assert_eq!(text(&event.data), r#"{"gone":null,"machine":12345678901234567890,"state":[ 0.10 ]}"#);
    }

    fn text(fields: &Fields) -> String {
        serde_json::to_string(fields).unwrap()
    }

    #[test]
    fn a_notification_that_is_not_an_event_says_why() {
        let mapping = Mapping::parse("line.toml", MAPPING).unwrap();
        let said = |payload: &str| mapping.channels[0].read(payload, &[]).unwrap_err().to_string();

        assert!(said("down!").starts_with("the payload is not JSON (expected value at line 1"));
        assert!(said(r#"{"org": 7}"#).contains("at `event`, which gives the event's type"));
        assert!(said(r#"{"event": "machine.down", "org": true}"#).contains("at `org`, which gives the event's tenant"));
        assert!(said(r#"{"event": "machine.down"}"#).contains("at `org`, which gives the event's tenant"));
        assert!(said(r#"{"event": "machine down", "org": 7}"#).contains("not a dotted name"));
        assert!(said(r#"{"event": "Andon.destination.disabled", "org": 7}"#).contains("are Andon's own"));
    }
}
