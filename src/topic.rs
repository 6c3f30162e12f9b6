//! Topics: where on a broker an event belongs. In: a compiled pattern, an event, the equipment map and the publisher's defaults. Out: a
//! topic that every broker takes, or the reason why there is none. It never does I/O, and no value can add a level or a wildcard.

mod context;
pub mod naming;
pub mod pattern;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use thiserror::Error;

use crate::event::Event;

pub use naming::Naming;
pub use pattern::MAX_TOPIC_BYTES;
pub use pattern::Pattern;
pub use pattern::PatternProblem;

use context::Context;
use pattern::Level;
use pattern::Name;
use pattern::Piece;

/// What a topic may be longer than its pattern before its memory has to grow.
const ROOM: usize = 64;
/// Stands where a level has no value, so that the depth of a topic stays the same.
const PLACEHOLDER: &str = "_";

/// A topic that can be published to: 1 to 65,535 bytes, no wildcard, no empty level, no NUL, no `$` at its start.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic(String);

impl Topic {
    /// Checks a topic that was put together elsewhere.
    pub fn parse(text: String) -> Result<Topic, TopicProblem> {
        if text.is_empty() {
            return Err(TopicProblem::Empty);
        }
        if text.len() > MAX_TOPIC_BYTES {
            return Err(TopicProblem::TooLong { bytes: text.len(), longest: None });
        }
        let is_forbidden = |c: char| matches!(c, '+' | '#' | '\0');
        if text.starts_with('$') || text.contains(is_forbidden) || text.split('/').any(str::is_empty) {
            return Err(TopicProblem::Malformed);
        }
        Ok(Topic(text))
    }

    /// The text of the topic.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why an event has no topic.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TopicProblem {
    /// Longer than MQTT can say.
    #[error(
        "topic would be {bytes} bytes long and MQTT allows 65535{}; shorten the value or leave it out of the pattern",
        longest_of(longest)
    )]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The placeholder with the longest value, and the bytes of that.
        longest: Option<(String, usize)>,
    },
    /// No value, and the publisher wants none made up.
    #[error(
        "event has no value for `{{{0}}}` and missing is `reject`; supply it, give it a default, or choose another policy"
    )]
    Missing(String),
    /// Every level was dropped.
    #[error("topic is empty, for every level of the pattern is missing; add a literal level or a default")]
    Empty,
    /// Not made by a pattern, and not a topic.
    #[error("topic has a wildcard, an empty level, a NUL or a leading `$`; remove it")]
    Malformed,
}

fn longest_of(longest: &Option<(String, usize)>) -> String {
    longest.as_ref().map_or(String::new(), |(name, bytes)| format!(" (`{{{name}}}` alone has {bytes})"))
}

/// What becomes of a placeholder without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// `_` takes its place: every topic of a pattern has the same depth.
    #[default]
    Placeholder,
    /// It is left out, and with it the level when nothing else stands there.
    Drop,
    /// The event has no topic.
    Reject,
}

impl Missing {
    /// Reads the name that a setting gives it: `placeholder`, `drop` or `reject`.
    pub fn parse(text: &str) -> Option<Missing> {
        match text {
            "placeholder" => Some(Missing::Placeholder),
            "drop" => Some(Missing::Drop),
            "reject" => Some(Missing::Reject),
            _ => None,
        }
    }
}

/// The levels of ISA-95, from broad to narrow, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Levels {
    /// The company.
    pub enterprise: Option<String>,
    /// The plant.
    pub site: Option<String>,
    /// The part of the plant.
    pub area: Option<String>,
    /// The production line: the work center of a discrete plant.
    pub line: Option<String>,
    /// The work cell: the work unit of a discrete plant.
    pub cell: Option<String>,
}

impl Levels {
    fn get(&self, level: Level) -> Option<&str> {
        let value = match level {
            Level::Enterprise => &self.enterprise,
            Level::Site => &self.site,
            Level::Area => &self.area,
            Level::Line => &self.line,
            Level::Cell => &self.cell,
        };
        value.as_deref().filter(|text| !text.is_empty())
    }
}

/// Where each cell stands, for databases that do not know it: the name of a cell, as events carry it, to its levels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Equipment(pub HashMap<String, Levels>);

impl Pattern {
    /// The topic of an event. `missing` none means the naming's own rule: `eryxon` has one, the others keep the depth.
    pub fn expand(
        &self,
        event: &Event,
        naming: Naming,
        missing: Option<Missing>,
        equipment: &Equipment,
        defaults: &Levels,
    ) -> Result<Topic, TopicProblem> {
        let values = Values { event, context: Context::of(event), naming, missing, equipment, defaults };
        // Placeholders are about as long as what takes their place.
        let mut topic = String::with_capacity(self.as_str().len() + ROOM);
        let mut longest: Option<(&Name, usize)> = None;
        for level in self.levels() {
            let before = topic.len();
            if before > 0 {
                topic.push('/');
            }
            let start = topic.len();
            for piece in level {
                match piece {
                    Piece::Literal(text) => topic.push_str(text),
                    Piece::Placeholder { name, default } => {
                        let from = topic.len();
                        values.write(name, default.as_deref(), &mut topic)?;
                        let bytes = topic.len() - from;
                        if longest.is_none_or(|(_, most)| bytes > most) {
                            longest = Some((name, bytes));
                        }
                    }
                }
            }
            if topic.len() == start {
                topic.truncate(before);
            }
        }
        if topic.starts_with('$') {
            topic.replace_range(..1, PLACEHOLDER);
        }
        match topic.len() {
            0 => Err(TopicProblem::Empty),
            1..=MAX_TOPIC_BYTES => Ok(Topic(topic)),
            bytes => {
                let longest = longest.map(|(name, bytes)| (name.to_string(), bytes));
                Err(TopicProblem::TooLong { bytes, longest })
            }
        }
    }
}

/// Where the values of one event's topic come from.
struct Values<'a> {
    event: &'a Event,
    context: Context<'a>,
    naming: Naming,
    missing: Option<Missing>,
    equipment: &'a Equipment,
    defaults: &'a Levels,
}

impl<'a> Values<'a> {
    fn write(&self, name: &Name, default: Option<&str>, topic: &mut String) -> Result<(), TopicProblem> {
        if let Name::Event = name {
            return self.write_event(topic);
        }
        let start = topic.len();
        match (self.value(name), default) {
            (Some(value), _) if matches!(name, Name::Tenant) => self.naming.write_tenant(&value, topic),
            (Some(value), _) => self.naming.write(&value, topic),
            (None, Some(default)) => topic.push_str(default),
            (None, None) => {
                if let Some(text) = self.own_default(name) {
                    topic.push_str(text);
                }
            }
        }
        // A value of which the naming leaves nothing is as good as none.
        if topic.len() == start { self.write_missing(name, topic) } else { Ok(()) }
    }

    /// `operation.completed` is two levels. In eryxon naming only the first dot divides.
    fn write_event(&self, topic: &mut String) -> Result<(), TopicProblem> {
        let parts = if self.naming == Naming::Eryxon { 2 } else { usize::MAX };
        let mut is_first = true;
        for part in self.event.kind.splitn(parts, '.') {
            let before = topic.len();
            if !is_first {
                topic.push('/');
            }
            let start = topic.len();
            self.naming.write_event(part, topic);
            if topic.len() == start {
                self.write_missing(&Name::Event, topic)?;
            }
            if topic.len() == start {
                topic.truncate(before);
            } else {
                is_first = false;
            }
        }
        Ok(())
    }

    fn write_missing(&self, name: &Name, topic: &mut String) -> Result<(), TopicProblem> {
        match self.missing {
            Some(Missing::Reject) => return Err(TopicProblem::Missing(name.to_string())),
            Some(Missing::Drop) => {}
            None if self.naming == Naming::Eryxon => {}
            Some(Missing::Placeholder) | None => topic.push_str(PLACEHOLDER),
        }
        Ok(())
    }

    fn value(&self, name: &Name) -> Option<Cow<'a, str>> {
        let present = |text: &'a str| Some(Cow::Borrowed(text)).filter(|text| !text.is_empty());
        match name {
            Name::Level(level) => self.level(*level),
            Name::Context(known) => self.context.get(*known),
            Name::Event => present(&self.event.kind),
            Name::Tenant => present(&self.event.tenant.0),
            Name::EntityType => present(&self.event.entity.kind),
            Name::EntityId => present(&self.event.entity.id),
            Name::Data(path) => self.event.data.at(path)?.text(),
        }
    }

    /// The event knows best, then the map of the plant, then the publisher.
    fn level(&self, level: Level) -> Option<Cow<'a, str>> {
        self.of_event(level)
            .or_else(|| self.of_equipment(level).map(Cow::Borrowed))
            .or_else(|| self.defaults.get(level).map(Cow::Borrowed))
    }

    fn of_event(&self, level: Level) -> Option<Cow<'a, str>> {
        level.names().iter().find_map(|known| self.context.get(*known))
    }

    fn of_equipment(&self, level: Level) -> Option<&'a str> {
        // Most plants have no map, and then there is nothing to look the cell up for.
        if self.equipment.0.is_empty() {
            return None;
        }
        self.equipment.0.get(self.of_event(Level::Cell)?.as_ref())?.get(level)
    }

    /// What eryxon puts where neither the event nor the publisher's row has anything.
    fn own_default(&self, name: &Name) -> Option<&'static str> {
        match name {
            _ if self.naming != Naming::Eryxon || self.missing.is_some() => None,
            Name::Level(Level::Enterprise) => Some("eryxon"),
            Name::Level(Level::Site) => Some("main"),
            Name::Level(Level::Area) => Some("production"),
            Name::Level(Level::Cell) => Some("default"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
