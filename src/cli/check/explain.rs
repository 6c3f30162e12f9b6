//! Explains what a mapping sends. In: a mapping, and the types of its expressions if a database is at hand. Out: a table for people with
//! each event, the change it comes from, and an example of its topic and payload, made by the code that makes the real ones. The values
//! in the examples are made up; no row of the plant is read.

use std::fmt::Write;

use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::capture::Mapping;
use crate::capture::Types;
use crate::capture::event_name;
use crate::capture::event_name::Part;
use crate::capture::mapping::Capture;
use crate::capture::mapping::Channel;
use crate::capture::mapping::ChannelEventType;
use crate::capture::mapping::EVERY;
use crate::capture::mapping::EventType;
use crate::capture::mapping::Operation;
use crate::capture::mapping::Profile;
use crate::capture::mapping::Text;
use crate::event::Entity;
use crate::event::Event;
use crate::event::TenantId;
use crate::payload;
use crate::payload::Format;
use crate::topic::Equipment;
use crate::topic::Levels;
use crate::topic::Naming;
use crate::topic::Pattern;

/// The topic pattern of a publisher that names none: the default of `andon.mqtt_publishers.topic_pattern`.
const DEFAULT_PATTERN: &str = "{enterprise}/{site}/{area}/{cell}/{event}";
/// The widest that the first column may be; a longer name pushes the rest of its line to the right.
const MAX_NAME_WIDTH: usize = 36;

/// Returns the table, as text.
pub(super) fn table(mapping: &Mapping, types: Option<&Types>) -> String {
    let is_sent = |capture: &&Capture| !is_left_out(types, capture, "");
    let mut rows: Vec<[String; 4]> =
        mapping.captures.iter().filter(is_sent).map(|capture| capture_row(mapping, capture, types)).collect();
    rows.extend(mapping.channels.iter().map(|channel| channel_row(mapping, channel)));
    let width = rows.iter().map(|[event, ..]| event.chars().count()).filter(|width| *width <= MAX_NAME_WIDTH).max();
    let width = width.unwrap_or(MAX_NAME_WIDTH);
    let mut text = format!("{:width$}  FROM\n", "EVENT");
    for [event, from, topic, payload] in &rows {
        write!(text, "\n{event:width$}  {from}\n{0:width$}  {topic}\n{0:width$}  {payload}\n", "")
            .expect("a String takes everything");
    }
    text.push_str(&format!(
        "\nTopics by the default pattern {DEFAULT_PATTERN}. acme, chicago and fabrication stand for the default_* columns of the publisher.\n"
    ));
    text
}

fn capture_row(mapping: &Mapping, capture: &Capture, types: Option<&Types>) -> [String; 4] {
    let (name, event_type) = match &capture.event {
        EventType::Literal(name) => (name.clone(), name.clone()),
        EventType::Sql(sql) => {
            let name = pattern(&sql.sql);
            let first = types.and_then(|types| types.names(capture).first());
            let example = first.cloned().unwrap_or_else(|| name.replace("<...>", "name").replace(['<', '>'], ""));
            (name, example)
        }
    };
    let [topic, payload] = topic_and_payload(mapping, &capture_event(mapping, capture, types, event_type));
    let names = types.map_or(String::new(), |types| types.names(capture).join(", "));
    let change = if names.is_empty() { change(capture) } else { format!("{}: {names}", change(capture)) };
    [name, change, topic, payload]
}

/// Returns the row of a channel: its notifications give events whose fields the paths of the entry read.
fn channel_row(mapping: &Mapping, channel: &Channel) -> [String; 4] {
    let (name, event_type) = match &channel.event {
        ChannelEventType::Literal(name) => (name.clone(), name.clone()),
        ChannelEventType::Path(path) => {
            (format!("<{path}>"), format!("{}.{}", channel.entity_type, path.rsplit('.').next().unwrap_or_default()))
        }
    };
    let mut context: Vec<(&str, String)> =
        mapping.levels.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    for (name, path) in &channel.context {
        context.retain(|(known, _)| known != name);
        context.push((name, example_level(name).map_or_else(|| format!("<{path}>"), str::to_owned)));
    }
    let data: Vec<(&str, String)> =
        channel.data.iter().map(|(name, path)| (name.as_str(), format!("<{path}>"))).collect();
    let tenant = channel.tenant.as_ref().map_or(String::new(), |path| format!("<{path}>"));
    let event = example_event(tenant, event_type, channel.entity_type.clone(), &context, &data);
    let [topic, payload] = topic_and_payload(mapping, &event);
    [name, format!("channel {}", channel.name), topic, payload]
}

/// Returns the topic and the payload of an event, as a publisher with default settings sends them.
fn topic_and_payload(mapping: &Mapping, event: &Event) -> [String; 2] {
    let (naming, format) = match mapping.profile {
        Profile::Andon => (Naming::Ascii, Format::Andon),
        Profile::Eryxon => (Naming::Eryxon, Format::Eryxon),
    };
    let level = |text: &str| Some(text.to_owned());
    let levels =
        Levels { enterprise: level("acme"), site: level("chicago"), area: level("fabrication"), ..Levels::default() };
    let pattern = Pattern::compile(DEFAULT_PATTERN).expect("the default pattern has no fault");
    let topic = pattern.expand(event, naming, None, &Equipment::default(), &levels);
    let topic = topic.map_or_else(|problem| problem.to_string(), |topic| topic.to_string());
    let payload = String::from_utf8_lossy(&payload::mqtt(event, format)).into_owned();
    [topic, payload]
}

/// Returns the change that an event comes from: the table, its operations, and the conditions.
fn change(capture: &Capture) -> String {
    let mut text = format!("{}, ", capture.table);
    for (index, operation) in capture.operations.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { " or " });
        text.push_str(operation.name());
        if *operation == Operation::Update && !capture.of.is_empty() {
            let columns: Vec<&str> = capture.of.iter().map(|column| column.sql.as_str()).collect();
            text.push_str(&format!(" of {}", columns.join(", ")));
        }
    }
    if let Some(when) = &capture.when {
        text.push_str(&format!(", when {}", one_line(&when.sql)));
    }
    if let EventType::Sql(sql) = &capture.event {
        text.push_str(&format!(", named by {}", one_line(&sql.sql)));
    }
    text
}

fn capture_event(mapping: &Mapping, capture: &Capture, types: Option<&Types>, event_type: String) -> Event {
    let placeholder = |text: &Text| match types {
        Some(types) => types.of(capture, &text.field).unwrap_or("unknown").to_owned(),
        None => one_line(&text.sql),
    };
    let mut context: Vec<(&str, String)> =
        mapping.levels.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    for (name, text) in capture.context.iter().filter(|(_, text)| !is_left_out(types, capture, &text.field)) {
        context.retain(|(known, _)| known != name);
        context.push((name, example_level(name).map_or_else(|| format!("<{}>", placeholder(text)), str::to_owned)));
    }
    let mut data = Vec::new();
    for column in capture.columns.iter().filter(|column| capture.data.iter().all(|(name, _)| *name != column.sql)) {
        let text = Text { field: format!("columns.{}", column.sql), ..column.clone() };
        if !is_left_out(types, capture, &text.field) {
            data.push((column.sql.as_str(), format!("<{}>", placeholder(&text))));
        }
    }
    let sent = capture.data.iter().filter(|(_, text)| !is_left_out(types, capture, &text.field));
    data.extend(sent.map(|(name, text)| (name.as_str(), format!("<{}>", placeholder(text)))));
    let tenant = if capture.tenant.is_some() { "<tenant>" } else { "" };
    let mut event = example_event(tenant.to_owned(), event_type, capture.entity_type.clone(), &context, &data);
    if capture.is_truncate() && capture.entity_id.is_none() {
        EVERY.clone_into(&mut event.entity.id);
    }
    event
}

/// Returns whether the database does not have what an optional field names, or an optional entry if the field is empty.
fn is_left_out(types: Option<&Types>, capture: &Capture, field: &str) -> bool {
    types.is_some_and(|types| types.leaves_out(capture, field))
}

fn example_event(
    tenant: String,
    event_type: String,
    entity_type: String,
    context: &[(&str, String)],
    data: &[(&str, String)],
) -> Event {
    Event::new(
        0,
        Uuid::from_u128(0x0198_c2f4_0000_7000_8000_0000_0000_0001),
        TenantId(tenant),
        event_type,
        Entity { entity_type, id: "<id>".to_owned() },
        "2026-11-20T06:00:00Z".parse().expect("a time"),
        json_object(context),
        json_object(data),
    )
}

/// Returns an example of a value for a level of the topic.
fn example_level(name: &str) -> Option<&'static str> {
    Some(match name {
        "enterprise" => "Acme",
        "site" => "Chicago",
        "area" => "Fabrication",
        "line" => "Line 2",
        "cell" => "Laser 1",
        _ => return None,
    })
}

/// Returns what the types of an entry with `type_sql` look like, such as `job.<status>`, as far as the expression tells.
fn pattern(sql: &str) -> String {
    let parts = event_name::parts(sql);
    let parts = parts.iter().map(|part| match part {
        Part::Text(text) => text.clone(),
        Part::Column { name, .. } => format!("<{name}>"),
        Part::Other => "<...>".to_owned(),
    });
    parts.collect()
}

/// Writes an object by hand, since a map would not keep the fields in the order of the mapping.
fn json_object(fields: &[(&str, String)]) -> Box<RawValue> {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{}: {}", json!(name), json!(value))).collect();
    RawValue::from_string(format!("{{{}}}", fields.join(", "))).expect("it is put together of JSON")
}

fn one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::capture::Mapping;
    use rig::reference::System;
    use rig::reference::system::names;

    #[test]
    fn a_channel_is_a_row_of_the_table_like_any_other() {
        let text = "[source]\nname = 'line'\nsite = 'Hamburg'\n[[channel]]\nchannel = 'machines'\ntype_path = 'event'\n\
                    entity_type = 'machine'\ncontext = { cell = 'machine.name' }\nfields = ['code']";

        insta::assert_snapshot!(table(&Mapping::parse("line.toml", text).unwrap(), None), @r#"
        EVENT    FROM

        <event>  channel machines
                 acme/hamburg/fabrication/laser_1/machine/event
                 {"id":"0198c2f4-0000-7000-8000-000000000001","type":"machine.event","timestamp":"2026-11-20T06:00:00.000Z","entity":{"type":"machine","id":"<id>"},"context":{"site": "Hamburg", "cell": "Laser 1"},"data":{"code": "<code>"}}

        Topics by the default pattern {enterprise}/{site}/{area}/{cell}/{event}. acme, chicago and fabrication stand for the default_* columns of the publisher.
        "#);
    }

    fn mapping(name: &str) -> Mapping {
        Mapping::parse(name, &System::find(name).unwrap().mapping).unwrap()
    }

    #[test]
    fn the_table_of_every_system_is_as_pinned() {
        for name in names() {
            insta::assert_snapshot!(format!("explain_{name}"), table(&mapping(name), None));
        }
    }
}
