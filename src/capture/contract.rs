//! What receivers can rely on: the events of a mapping, and the fields of each. In: a mapping, and the types of its expressions in a database.
//! Out: a value that can be compared with that of another mapping. It knows no database.

pub mod difference;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::capture::check::Types;
use crate::capture::mapping::Capture;
use crate::capture::mapping::Channel;
use crate::capture::mapping::ChannelEventType;
use crate::capture::mapping::EventType;
use crate::capture::mapping::Mapping;
use crate::capture::mapping::Text;

/// What a mapping offers to receivers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contract {
    /// What holds for all events: the payload's profile, the time zone and the tables of destinations, by key.
    pub source: BTreeMap<&'static str, String>,
    /// The events, by name. Events that an expression names are one event, called by the expression.
    pub events: BTreeMap<String, OfferedEvent>,
}

/// What one event offers. Several entries may make it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OfferedEvent {
    /// The changes that it comes from.
    pub origins: BTreeSet<String>,
    /// The fields by name, such as `data.job_number`, `context.cell`, `entity type` or `tenant`.
    pub fields: BTreeMap<String, OfferedField>,
    /// The number of entries that make it.
    entries: usize,
}

/// What one field of an event offers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OfferedField {
    /// The expressions that yield it.
    pub expressions: BTreeSet<String>,
    /// The types of these expressions, as far as they are known.
    pub types: BTreeSet<String>,
    /// Whether each entry that makes the event has the field.
    pub is_always: bool,
    entries: usize,
}

impl Contract {
    /// Returns what a mapping offers. What the database does not have, and the mapping leaves out, is not offered.
    pub fn of(mapping: &Mapping, types: &Types) -> Contract {
        let mut contract = Contract::default();
        let table = |name: &Option<_>| name.as_ref().map(ToString::to_string);
        let keys = [
            ("profile", Some(mapping.profile.name().to_owned())),
            ("time_zone", mapping.time_zone.as_ref().map(|zone| zone.sql.clone())),
            ("mqtt_publishers", table(&mapping.mqtt_publishers)),
            ("webhooks", table(&mapping.webhooks)),
        ];
        contract.source.extend(keys.into_iter().filter_map(|(key, value)| Some((key, value?))));
        for capture in mapping.captures.iter().filter(|capture| !types.leaves_out(capture, "")) {
            contract.add_capture(mapping, capture, types);
        }
        for channel in &mapping.channels {
            contract.add_channel(mapping, channel);
        }
        for event in contract.events.values_mut() {
            event.fields.values_mut().for_each(|field| field.is_always = field.entries == event.entries);
        }
        contract
    }

    fn add_capture(&mut self, mapping: &Mapping, capture: &Capture, types: &Types) {
        let name = match &capture.event {
            EventType::Literal(name) => name.clone(),
            EventType::Sql(sql) => format!("named by {}", one_line(&sql.sql)),
        };
        let event = self.events.entry(name).or_default();
        event.begin(origin(capture), &capture.entity_type);
        event.levels(mapping, &capture.context.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
        let default = if capture.is_truncate() { "every row" } else { "the primary key" };
        let id = capture.entity_id.as_ref().map_or(default.to_owned(), |id| one_line(&id.sql));
        event.add("entity id", id, None);
        if let Some(tenant) = &capture.tenant {
            event.add("tenant", one_line(&tenant.sql), None);
        }
        for (name, text) in capture.context.iter().filter(|(_, text)| !types.leaves_out(capture, &text.field)) {
            event.add(&format!("context.{name}"), one_line(&text.sql), None);
        }
        let mut data: Vec<(&str, Text)> = Vec::new();
        for column in capture.columns.iter().filter(|column| capture.data.iter().all(|(name, _)| *name != column.sql)) {
            let sql = format!("this.{}", column.sql);
            data.push((&column.sql, Text { field: format!("columns.{}", column.sql), sql, location: column.location }));
        }
        data.extend(capture.data.iter().map(|(name, text)| (name.as_str(), text.clone())));
        for (name, text) in data.iter().filter(|(_, text)| !types.leaves_out(capture, &text.field)) {
            event.add(&format!("data.{name}"), one_line(&text.sql), types.of(capture, &text.field));
        }
    }

    fn add_channel(&mut self, mapping: &Mapping, channel: &Channel) {
        let name = match &channel.event {
            ChannelEventType::Literal(name) => name.clone(),
            ChannelEventType::Path(path) => format!("named by {path} of channel {}", channel.name),
        };
        let event = self.events.entry(name).or_default();
        event.begin(format!("channel {}", channel.name), &channel.entity_type);
        event.levels(mapping, &channel.context.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
        let single = [("entity id", &channel.entity_id), ("tenant", &channel.tenant)];
        for (name, path) in single.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?))) {
            event.add(name, path.clone(), None);
        }
        channel.context.iter().for_each(|(name, path)| event.add(&format!("context.{name}"), path.clone(), None));
        channel.data.iter().for_each(|(name, path)| event.add(&format!("data.{name}"), path.clone(), None));
    }
}

impl OfferedEvent {
    fn begin(&mut self, origin: String, entity_type: &str) {
        self.origins.insert(origin);
        self.entries += 1;
        self.add("entity type", entity_type.to_owned(), None);
    }

    /// Adds the levels of the source that the entry does not give itself.
    fn levels(&mut self, mapping: &Mapping, own: &[&str]) {
        for (name, value) in mapping.levels.iter().filter(|(name, _)| !own.contains(&name.as_str())) {
            self.add(&format!("context.{name}"), format!("'{value}'"), None);
        }
    }

    fn add(&mut self, name: &str, expression: String, data_type: Option<&str>) {
        let field = self.fields.entry(name.to_owned()).or_default();
        field.entries += 1;
        field.expressions.insert(expression);
        // To a receiver they are the same.
        let same = |name: &str| {
            if ["varchar", "bpchar", "name"].contains(&name) { "text".to_owned() } else { name.to_owned() }
        };
        field.types.extend(data_type.map(same));
    }
}

fn origin(capture: &Capture) -> String {
    let operations: Vec<&str> = capture.operations.iter().map(|operation| operation.name()).collect();
    let tables: Vec<String> = capture.table.each().map(ToString::to_string).collect();
    let mut text = format!("{} of {}", operations.join(" or "), tables.join(" or "));
    if !capture.of.is_empty() {
        let columns: Vec<&str> = capture.of.iter().map(|column| column.sql.as_str()).collect();
        text.push_str(&format!(", of {}", columns.join(", ")));
    }
    if let Some(when) = &capture.when {
        text.push_str(&format!(", when {}", one_line(&when.sql)));
    }
    text
}

fn one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}
