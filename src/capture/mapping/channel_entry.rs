//! Reads the `[[channel]]` entries of a mapping. In: the file's root section. Out: the channels, with their paths. Paths are not judged:
//! only a notification shows whether there is a value.

use toml::de::DeValue;

use crate::capture::mapping::Channel;
use crate::capture::mapping::ChannelEventType;
use crate::capture::mapping::is_event_type;
use crate::capture::mapping::is_reserved;
use crate::capture::mapping::section::Findings;
use crate::capture::mapping::section::Section;

const KEYS: &[&str] = &[
    "channel",
    "type",
    "type_path",
    "entity_type",
    "entity_id",
    "tenant",
    "own_tenant",
    "signed",
    "context",
    "fields",
    "data",
];
/// PostgreSQL cuts longer names.
const LONGEST_NAME: usize = 63;

/// Reads all `[[channel]]` entries.
pub(super) fn channels(findings: &mut Findings<'_>, root: &Section<'_>) -> Vec<Channel> {
    let mut channels: Vec<Channel> = Vec::new();
    let Some(value) = root.get("channel") else { return channels };
    let DeValue::Array(entries) = value.get_ref() else {
        let location = findings.location(value.span().start);
        findings.add(location, "channel", "", "is not a list of entries; write [[channel]]");
        return channels;
    };
    for (number, value) in (1..).zip(entries.iter()) {
        let Some(section) = Section::open(findings, &format!("channel {number}"), value, KEYS) else { continue };
        let Some(channel) = channel(findings, &section) else { continue };
        if channels.iter().any(|earlier| earlier.name == channel.name) {
            let message = format!("`{}` has an entry above; a channel can have only one", channel.name);
            findings.add(section.location, &section.entry, "channel", message);
        }
        channels.push(channel);
    }
    channels
}

fn channel(findings: &mut Findings<'_>, section: &Section<'_>) -> Option<Channel> {
    let name = channel_name(findings, section);
    let event = event_type(findings, section);
    let entity_type = entity_type(findings, section, event.as_ref());
    let data = data(findings, section);
    let context = section.pairs(findings, "context").into_iter().map(|(name, path)| (name, path.sql)).collect();
    let entity_id = section.text(findings, "entity_id").map(|path| path.sql);
    let tenant = section.text(findings, "tenant").map(|path| path.sql);
    let own_tenant = own_tenant(findings, section);
    let is_signed = section.flag(findings, "signed");
    Some(Channel {
        location: section.location,
        name: name?,
        event: event?,
        entity_type,
        entity_id,
        tenant,
        own_tenant,
        is_signed,
        context,
        data,
    })
}

fn own_tenant(findings: &mut Findings<'_>, section: &Section<'_>) -> Option<String> {
    let own = section.text(findings, "own_tenant")?;
    if own.sql == "*" || own.sql.trim() != own.sql || own.sql.is_empty() {
        let message = "is not the name of a tenant; leave it out if events have none";
        findings.add(own.location, &section.entry, "own_tenant", message);
    }
    if section.get("tenant").is_some() {
        let message = "an entry has either tenant, a path, or own_tenant, a name";
        findings.add(own.location, &section.entry, "own_tenant", message);
    }
    Some(own.sql)
}

fn channel_name(findings: &mut Findings<'_>, section: &Section<'_>) -> Option<String> {
    let name = section.required(findings, "channel")?;
    if name.sql.is_empty() || name.sql.len() > LONGEST_NAME {
        findings.add(name.location, &section.entry, "channel", "is not a channel name; use 1 to 63 bytes");
    }
    if name.sql == "andon" {
        let message = "`andon` is the channel of Andon itself; notify on another";
        findings.add(name.location, &section.entry, "channel", message);
    }
    Some(name.sql)
}

fn event_type(findings: &mut Findings<'_>, section: &Section<'_>) -> Option<ChannelEventType> {
    let entry = section.entry.as_str();
    match (section.text(findings, "type"), section.text(findings, "type_path")) {
        (Some(name), None) => {
            if !is_event_type(&name.sql) {
                let message = format!("`{}` is not a dotted name such as machine.down", name.sql);
                findings.add(name.location, entry, "type", message);
            } else if is_reserved(&name.sql) {
                let message =
                    format!("`{}` is not yours: names that begin with andon are Andon's own; choose another", name.sql);
                findings.add(name.location, entry, "type", message);
            }
            Some(ChannelEventType::Literal(name.sql))
        }
        (None, Some(path)) => Some(ChannelEventType::Path(path.sql)),
        (Some(_), Some(path)) => {
            findings.add(path.location, entry, "type_path", "an entry has either type or type_path");
            None
        }
        (None, None) => {
            let message = "is missing; name the event, or say where the payload names it: type_path";
            findings.add(section.location, entry, "type", message);
            None
        }
    }
}

fn entity_type(findings: &mut Findings<'_>, section: &Section<'_>, event: Option<&ChannelEventType>) -> String {
    match (section.text(findings, "entity_type"), event) {
        (Some(entity_type), _) => entity_type.sql,
        (None, Some(ChannelEventType::Literal(name))) => name.split('.').next().unwrap_or_default().to_owned(),
        (None, Some(ChannelEventType::Path(_))) => {
            let message = "is missing; with type_path it cannot be taken from the type";
            findings.add(section.location, &section.entry, "entity_type", message);
            String::new()
        }
        (None, None) => String::new(),
    }
}

/// Returns the payload: `fields` under their own names, and `data`, which wins where both name the same field.
fn data(findings: &mut Findings<'_>, section: &Section<'_>) -> Vec<(String, String)> {
    let mut data: Vec<(String, String)> = Vec::new();
    for field in section.texts(findings, "fields") {
        data.push((field.sql.clone(), field.sql));
    }
    for (name, path) in section.pairs(findings, "data") {
        data.retain(|(known, _)| *known != name);
        data.push((name, path.sql));
    }
    data
}

#[cfg(test)]
mod tests {
    use crate::capture::mapping::Mapping;

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
channel = 'b'
tenant = 'org'
own_tenant = '*'";

        insta::assert_snapshot!(Mapping::parse("line.toml", text).unwrap_err().to_string(), @"
        line.toml:5:11: channel 1, channel: `andon` is the channel of Andon itself; notify on another
        line.toml:6:8: channel 1, type: `machine down` is not a dotted name such as machine.down
        line.toml:7:1: channel 1, chanel: unknown key; the nearest known key is channel
        line.toml:8:1: channel 2, entity_type: is missing; with type_path it cannot be taken from the type
        line.toml:11:1: channel 3, type: is missing; name the event, or say where the payload names it: type_path
        line.toml:14:14: channel 3, own_tenant: is not the name of a tenant; leave it out if events have none
        line.toml:14:14: channel 3, own_tenant: an entry has either tenant, a path, or own_tenant, a name
        ");
    }
}
