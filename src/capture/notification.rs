//! Reads a notification into an event. In: a `[[channel]]` entry and the payload of a notification. Out: the event, or the reason why the
//! payload is none. It follows the paths of the entry and guesses nothing.

use serde_json::Map;
use serde_json::Value;

use crate::capture::mapping::Channel;
use crate::capture::mapping::ChannelEventType;
use crate::capture::mapping::is_event_type;

/// The event that a notification announces.
#[derive(Debug, PartialEq)]
pub struct Notified {
    /// The type of the event.
    pub event_type: String,
    /// The tenant; empty if the event belongs to none.
    pub tenant: String,
    /// The id of the thing it happened to; empty if the payload has none.
    pub entity_id: String,
    /// The context, from which topics are made.
    pub context: Map<String, Value>,
    /// The payload.
    pub data: Map<String, Value>,
}

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
}

impl Channel {
    /// Reads the payload of a notification; `levels` are those of the source.
    pub fn read(&self, payload: &str, levels: &[(String, String)]) -> Result<Notified, Unreadable> {
        let payload: Value = serde_json::from_str(payload).map_err(|error| Unreadable::NotJson(error.to_string()))?;
        let required = |path: &String, what| {
            at(&payload, path).and_then(scalar).ok_or_else(|| Unreadable::Missing(path.clone(), what))
        };
        let event_type = match &self.event {
            ChannelEventType::Literal(name) => name.clone(),
            ChannelEventType::Path(path) => required(path, "type")?,
        };
        if !is_event_type(&event_type) {
            return Err(Unreadable::NotAType(event_type));
        }
        let tenant = self.tenant.as_ref().map(|path| required(path, "tenant")).transpose()?.unwrap_or_default();
        let entity_id = self.entity_id.as_ref().and_then(|path| scalar(at(&payload, path)?)).unwrap_or_default();
        let mut context: Map<String, Value> =
            levels.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        for (name, path) in &self.context {
            if let Some(value) = at(&payload, path).filter(|value| !value.is_null()) {
                context.insert(name.clone(), value.clone());
            }
        }
        let found = |path| at(&payload, path).cloned().unwrap_or_default();
        let data = self.data.iter().map(|(name, path)| (name.clone(), found(path))).collect();
        Ok(Notified { event_type, tenant, entity_id, context, data })
    }
}

fn at<'v>(payload: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(payload, |value, step| match value {
        Value::Object(fields) => fields.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serde_json::json;

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
        assert_eq!(Value::from(event.context), json!({"site": "main", "cell": "Laser", "line": "L1"}));
        assert_eq!(Value::from(event.data), json!({"state": "E-12", "gone": null, "machine": 4}));
    }

    #[test]
    fn a_notification_that_is_not_an_event_says_why() {
        let mapping = Mapping::parse("line.toml", MAPPING).unwrap();
        let said = |payload: &str| mapping.channels[0].read(payload, &[]).unwrap_err().to_string();

        assert!(said("down!").starts_with("the payload is not JSON (expected value at line 1"));
        assert!(said(r#"{"org": 7}"#).contains("at `event`, which gives the event's type"));
        assert!(said(r#"{"event": "machine.down"}"#).contains("at `org`, which gives the event's tenant"));
        assert!(said(r#"{"event": "machine down", "org": 7}"#).contains("not a dotted name"));
    }
}
