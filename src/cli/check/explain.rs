//! What a mapping would send. In: a mapping, and the types of its expressions where a database was asked. Out: a table for people: each
//! event, from which change, with an example of its topic and its payload, made by the same code that makes the real ones. The examples'
//! values are made up; no row of the plant is read.

use std::fmt::Write;

use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::capture::Mapping;
use crate::capture::Types;
use crate::capture::mapping::Capture;
use crate::capture::mapping::Channel;
use crate::capture::mapping::ChannelEventType;
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

/// What a publisher has that names no other (`andon.mqtt_publishers.topic_pattern`).
const PATTERN: &str = "{enterprise}/{site}/{area}/{cell}/{event}";
/// Names in the first column; longer ones push the rest of their line.
const WIDEST: usize = 36;

/// The table.
pub(super) fn table(mapping: &Mapping, types: Option<&Types>) -> String {
    let mut rows: Vec<[String; 4]> = mapping.captures.iter().map(|capture| row(mapping, capture, types)).collect();
    rows.extend(mapping.channels.iter().map(|channel| channel_row(mapping, channel)));
    let width = rows.iter().map(|[event, ..]| event.chars().count()).filter(|width| *width <= WIDEST).max();
    let width = width.unwrap_or(WIDEST);
    let mut text = format!("{:width$}  FROM\n", "EVENT");
    for [event, from, topic, payload] in &rows {
        write!(text, "\n{event:width$}  {from}\n{0:width$}  {topic}\n{0:width$}  {payload}\n", "")
            .expect("a String takes everything");
    }
    text.push_str(&format!(
        "\nTopics by the default pattern {PATTERN}. acme, chicago and fabrication stand for the default_* columns of the publisher.\n"
    ));
    text
}

fn row(mapping: &Mapping, capture: &Capture, types: Option<&Types>) -> [String; 4] {
    let (name, kind) = match &capture.event {
        EventType::Literal(name) => (name.clone(), name.clone()),
        EventType::Sql(sql) => {
            let (stem, column) = likely_kind(capture, &sql.sql);
            (format!("{stem}.<{column}>"), format!("{stem}.{column}"))
        }
    };
    let [topic, payload] = sent(mapping, &event(mapping, capture, types, kind));
    [name, from(capture), topic, payload]
}

/// A notification, as the paths of the entry read it.
fn channel_row(mapping: &Mapping, channel: &Channel) -> [String; 4] {
    let (name, kind) = match &channel.event {
        ChannelEventType::Literal(name) => (name.clone(), name.clone()),
        ChannelEventType::Path(path) => {
            (format!("<{path}>"), format!("{}.{}", channel.entity_type, path.rsplit('.').next().unwrap_or_default()))
        }
    };
    let mut context: Vec<(&str, String)> =
        mapping.levels.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    for (name, path) in &channel.context {
        context.retain(|(known, _)| known != name);
        context.push((name, example(name).map_or_else(|| format!("<{path}>"), str::to_owned)));
    }
    let data: Vec<(&str, String)> =
        channel.data.iter().map(|(name, path)| (name.as_str(), format!("<{path}>"))).collect();
    let tenant = channel.tenant.as_ref().map_or(String::new(), |path| format!("<{path}>"));
    let event = made(tenant, kind, channel.entity_type.clone(), &context, &data);
    let [topic, payload] = sent(mapping, &event);
    [name, format!("channel {}", channel.name), topic, payload]
}

/// Topic and payload of an event, as a publisher without settings of its own sends it.
fn sent(mapping: &Mapping, event: &Event) -> [String; 2] {
    let (naming, format) = match mapping.profile {
        Profile::Andon => (Naming::Ascii, Format::Andon),
        Profile::Eryxon => (Naming::Eryxon, Format::Eryxon),
    };
    let level = |text: &str| Some(text.to_owned());
    let levels =
        Levels { enterprise: level("acme"), site: level("chicago"), area: level("fabrication"), ..Levels::default() };
    let pattern = Pattern::compile(PATTERN).expect("the default pattern has no fault");
    let topic = pattern.expand(event, naming, None, &Equipment::default(), &levels);
    let topic = topic.map_or_else(|problem| problem.to_string(), |topic| topic.to_string());
    let payload = String::from_utf8_lossy(&payload::mqtt(event, format)).into_owned();
    [topic, payload]
}

fn from(capture: &Capture) -> String {
    let mut text = format!("{}, ", capture.table);
    for (place, operation) in capture.operations.iter().enumerate() {
        text.push_str(if place == 0 { "" } else { " or " });
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

fn event(mapping: &Mapping, capture: &Capture, types: Option<&Types>, kind: String) -> Event {
    let shape = |text: &Text| match types {
        Some(types) => types.of(capture, &text.field).unwrap_or("unknown").to_owned(),
        None => one_line(&text.sql),
    };
    let mut context: Vec<(&str, String)> =
        mapping.levels.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    for (name, text) in &capture.context {
        context.retain(|(known, _)| known != name);
        context.push((name, example(name).map_or_else(|| format!("<{}>", shape(text)), str::to_owned)));
    }
    let mut data = Vec::new();
    for column in capture.columns.iter().filter(|column| capture.data.iter().all(|(name, _)| *name != column.sql)) {
        let text = Text { field: format!("columns.{}", column.sql), ..column.clone() };
        data.push((column.sql.as_str(), format!("<{}>", shape(&text))));
    }
    data.extend(capture.data.iter().map(|(name, text)| (name.as_str(), format!("<{}>", shape(text)))));
    let tenant = if capture.tenant.is_some() { "<tenant>" } else { "" };
    made(tenant.to_owned(), kind, capture.entity_type.clone(), &context, &data)
}

fn made(
    tenant: String,
    kind: String,
    entity_type: String,
    context: &[(&str, String)],
    data: &[(&str, String)],
) -> Event {
    Event::new(
        0,
        Uuid::from_u128(0x0198_c2f4_0000_7000_8000_0000_0000_0001),
        TenantId(tenant),
        kind,
        Entity { kind: entity_type, id: "<id>".to_owned() },
        "2026-11-20T06:00:00Z".parse().expect("a time"),
        object(context),
        object(data),
    )
}

/// What the levels of a topic may look like.
fn example(name: &str) -> Option<&'static str> {
    Some(match name {
        "enterprise" => "Acme",
        "site" => "Chicago",
        "area" => "Fabrication",
        "line" => "Line 2",
        "cell" => "Laser 1",
        _ => return None,
    })
}

/// A name for an event whose name is made at the time: the literal it begins with, and the column that it goes on with.
fn likely_kind(capture: &Capture, sql: &str) -> (String, String) {
    let literal = sql.trim_start().strip_prefix('\'').and_then(|rest| rest.split('\'').next());
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let column = ["new.", "old.", "this."].into_iter().filter_map(|row| sql.split(row).nth(1)).next();
    let column: String = column.unwrap_or("name").chars().take_while(|letter| is_word(*letter)).collect();
    let stem = literal.and_then(|literal| literal.strip_suffix('.')).unwrap_or(&capture.entity_type);
    (stem.to_owned(), column)
}

/// In the order of the mapping, which a map of values would not keep.
fn object(fields: &[(&str, String)]) -> Box<RawValue> {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{}: {}", json!(name), json!(value))).collect();
    RawValue::from_string(format!("{{{}}}", fields.join(", "))).expect("it was put together of JSON")
}

fn one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::capture::Mapping;
    use crate::demo::system::System;
    use crate::demo::system::names;

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

    #[test]
    fn the_table_of_every_system_is_as_pinned() {
        for name in names() {
            insta::assert_snapshot!(format!("explain_{name}"), table(&System::find(name).unwrap().mapping, None));
        }
    }
}
