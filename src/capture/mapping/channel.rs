//! A NOTIFY channel as a source. In: a `[[channel]]` of the mapping, and then the payload of a notification. Out: the event that it is,
//! or the reason why it is none. It listens to nothing; paths are followed, never guessed.

use serde_json::Map;
use serde_json::Value;
use toml::de::DeValue;

use crate::capture::finding::Place;
use crate::capture::mapping::Mapping;
use crate::capture::mapping::section::Report;
use crate::capture::mapping::section::Section;

const KEYS: &[&str] =
    &["channel", "type", "type_path", "entity_type", "entity_id", "tenant", "context", "fields", "data"];
/// PostgreSQL cuts longer names.
const LONGEST_NAME: usize = 63;

/// One entry: a channel whose notifications become events. What it takes from a payload is named by a path, such as `order.lines.0.id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Where it begins.
    pub place: Place,
    /// The channel's name, as `notify` has it.
    pub name: String,
    /// The event's name.
    pub event: EventName,
    /// What kind of thing it happened to.
    pub entity_type: String,
    /// Path to which one; none in particular where nothing is said.
    pub entity_id: Option<String>,
    /// Path to whose; nobody's where nothing is said.
    pub tenant: Option<String>,
    /// What topics need, by name, and the paths to it.
    pub context: Vec<(String, String)>,
    /// What goes into the event's payload, by name, and the paths to it.
    pub data: Vec<(String, String)>,
}

/// How a notification's event is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventName {
    /// Always the same.
    Literal(String),
    /// By what stands at this path.
    Path(String),
}

/// What a notification says.
#[derive(Debug, PartialEq)]
pub struct Notified {
    /// The event's name.
    pub kind: String,
    /// Whose; empty for nobody's.
    pub tenant: String,
    /// Which one; empty for none.
    pub entity_id: String,
    /// What topics need.
    pub context: Map<String, Value>,
    /// The payload.
    pub data: Map<String, Value>,
}

/// Why a notification is no event.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON at all.
    #[error("the payload is not JSON ({0}); only JSON can be carried")]
    NotJson(String),
    /// Without what says its name or its owner.
    #[error("the payload has no text or number at `{0}`, which gives the event's {1}")]
    Missing(String, &'static str),
    /// With something there that is no name.
    #[error("`{0}` is not a dotted name such as machine.down")]
    NoName(String),
}

impl Channel {
    /// Reads a payload.
    pub fn read(&self, payload: &str, levels: &[(String, String)]) -> Result<Notified, Unreadable> {
        let payload: Value = serde_json::from_str(payload).map_err(|error| Unreadable::NotJson(error.to_string()))?;
        let required = |path: &String, what| {
            at(&payload, path).and_then(scalar).ok_or_else(|| Unreadable::Missing(path.clone(), what))
        };
        let kind = match &self.event {
            EventName::Literal(name) => name.clone(),
            EventName::Path(path) => required(path, "type")?,
        };
        if !is_event_name(&kind) {
            return Err(Unreadable::NoName(kind));
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
        Ok(Notified { kind, tenant, entity_id, context, data })
    }
}

/// Whether an event can be called so.
pub(crate) fn is_event_name(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    name.split('.').all(|level| !level.is_empty() && level.chars().all(is_letter))
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

/// Reads the `[[channel]]` entries of a mapping.
pub(crate) fn channels(report: &mut Report<'_>, root: &Section<'_>, mapping: &mut Mapping) {
    let Some(value) = root.get("channel") else { return };
    let DeValue::Array(entries) = value.get_ref() else {
        let place = report.place(value.span().start);
        return report.add(place, "channel", "", "is not a list of entries; write [[channel]]");
    };
    for (number, value) in (1..).zip(entries.iter()) {
        let Some(section) = Section::open(report, &format!("channel {number}"), value, KEYS) else { continue };
        let Some(channel) = channel(report, &section) else { continue };
        if mapping.channels.iter().any(|earlier| earlier.name == channel.name) {
            let message = format!("`{}` has an entry above; one channel takes one entry", channel.name);
            report.add(section.place, &section.entry, "channel", message);
        }
        mapping.channels.push(channel);
    }
}

fn channel(report: &mut Report<'_>, section: &Section<'_>) -> Option<Channel> {
    let entry = section.entry.as_str();
    let name = section.required(report, "channel");
    if let Some(name) = name.as_ref().filter(|name| name.sql.is_empty() || name.sql.len() > LONGEST_NAME) {
        report.add(name.place, entry, "channel", "is not a channel's name; take 1 to 63 bytes");
    }
    if let Some(name) = name.as_ref().filter(|name| name.sql == "andon") {
        report.add(name.place, entry, "channel", "`andon` is the channel of Andon itself; notify on another");
    }
    let event = match (section.text(report, "type"), section.text(report, "type_path")) {
        (Some(name), None) => {
            if !is_event_name(&name.sql) {
                let message = format!("`{}` is not a dotted name such as machine.down", name.sql);
                report.add(name.place, entry, "type", message);
            }
            Some(EventName::Literal(name.sql))
        }
        (None, Some(path)) => Some(EventName::Path(path.sql)),
        (Some(_), Some(path)) => {
            report.add(path.place, entry, "type_path", "an entry has either type or type_path");
            None
        }
        (None, None) => {
            report.add(section.place, entry, "type", "is missing; name the event, or where its name stands: type_path");
            None
        }
    };
    let entity_type = match (section.text(report, "entity_type"), &event) {
        (Some(entity_type), _) => entity_type.sql,
        (None, Some(EventName::Literal(name))) => name.split('.').next().unwrap_or_default().to_owned(),
        (None, Some(EventName::Path(_))) => {
            report.add(section.place, entry, "entity_type", "is missing; type_path gives no name to take it from");
            String::new()
        }
        (None, None) => String::new(),
    };
    let mut data: Vec<(String, String)> = Vec::new();
    for field in section.texts(report, "fields") {
        data.push((field.sql.clone(), field.sql));
    }
    for (name, path) in section.pairs(report, "data") {
        data.retain(|(known, _)| *known != name);
        data.push((name, path.sql));
    }
    let context = section.pairs(report, "context").into_iter().map(|(name, path)| (name, path.sql)).collect();
    let entity_id = section.text(report, "entity_id").map(|path| path.sql);
    let tenant = section.text(report, "tenant").map(|path| path.sql);
    Some(Channel {
        place: section.place,
        name: name?.sql,
        event: event?,
        entity_type,
        entity_id,
        tenant,
        context,
        data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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

        assert_eq!((event.kind.as_str(), event.tenant.as_str(), event.entity_id.as_str()), ("machine.down", "7", "4"));
        assert_eq!(Value::from(event.context), json!({"site": "main", "cell": "Laser", "line": "L1"}));
        assert_eq!(Value::from(event.data), json!({"state": "E-12", "gone": null, "machine": 4}));
    }

    #[test]
    fn what_is_no_event_says_why() {
        let mapping = Mapping::parse("line.toml", MAPPING).unwrap();
        let said = |payload: &str| mapping.channels[0].read(payload, &[]).unwrap_err().to_string();

        assert!(said("down!").starts_with("the payload is not JSON (expected value at line 1"));
        assert!(said(r#"{"org": 7}"#).contains("at `event`, which gives the event's type"));
        assert!(said(r#"{"event": "machine.down"}"#).contains("at `org`, which gives the event's tenant"));
        assert!(said(r#"{"event": "machine down", "org": 7}"#).contains("not a dotted name"));
    }

    #[test]
    fn everything_that_is_wrong_with_an_entry_is_said_at_once() {
        let text = "
[source]
name = 'line'
[[channel]]
channel = 'andon'
type = 'machine down'
chanel = 'x'
[[channel]]
channel = 'b'
type_path = 'event'
[[channel]]
channel = 'b'";

        insta::assert_snapshot!(Mapping::parse("line.toml", text).unwrap_err().to_string(), @"
        line.toml:5:11: channel 1, channel: `andon` is the channel of Andon itself; notify on another
        line.toml:6:8: channel 1, type: `machine down` is not a dotted name such as machine.down
        line.toml:7:1: channel 1, chanel: unknown key; the nearest known key is channel
        line.toml:8:1: channel 2, entity_type: is missing; type_path gives no name to take it from
        line.toml:11:1: channel 3, type: is missing; name the event, or where its name stands: type_path
        ");
    }
}
