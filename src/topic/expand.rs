//! Makes the topic of an event from a pattern. In: a compiled pattern, an event, and what the publisher and the equipment map know. Out:
//! the topic, or the reason why there is none. Every value passes through the naming, so none can add a level or a wildcard.

use std::borrow::Cow;

use crate::event::Event;
use crate::topic::Missing;
use crate::topic::Topic;
use crate::topic::TopicProblem;
use crate::topic::context::Context;
use crate::topic::levels::Equipment;
use crate::topic::levels::Levels;
use crate::topic::naming::Naming;
use crate::topic::pattern::Level;
use crate::topic::pattern::MAX_TOPIC_BYTES;
use crate::topic::pattern::Name;
use crate::topic::pattern::Pattern;
use crate::topic::pattern::Piece;

/// How much longer than its pattern a topic can become before its memory has to grow, in bytes.
const ROOM: usize = 64;
/// Takes the place of a level without a value, so that all topics of a pattern have the same depth.
const PLACEHOLDER: &str = "_";

impl Pattern {
    /// Returns the topic of an event. Without `missing`, the naming decides what happens to a placeholder without a value: `eryxon` has a
    /// rule of its own, and the others keep the depth.
    pub fn expand(
        &self,
        event: &Event,
        naming: Naming,
        missing: Option<Missing>,
        equipment: &Equipment,
        defaults: &Levels,
    ) -> Result<Topic, TopicProblem> {
        let values = Values { event, context: Context::of(event), naming, missing, equipment, defaults };
        // Placeholders are about as long as the values that take their place.
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

/// The sources of the values in one event's topic.
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
        // A value of which the naming leaves nothing counts as missing.
        if topic.len() == start { self.write_missing(name, topic) } else { Ok(()) }
    }

    /// Writes the event's type: `operation.completed` is two levels. In `eryxon` naming, only the first dot separates levels.
    fn write_event(&self, topic: &mut String) -> Result<(), TopicProblem> {
        let parts = if self.naming == Naming::Eryxon { 2 } else { usize::MAX };
        let mut is_first = true;
        for part in self.event.event_type.splitn(parts, '.') {
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
            Name::Context(field) => self.context.get(*field),
            Name::Event => present(&self.event.event_type),
            Name::Tenant => present(&self.event.tenant.0),
            Name::EntityType => present(&self.event.entity.entity_type),
            Name::EntityId => present(&self.event.entity.id),
            Name::Data(path) => self.event.data.at(path)?.text(),
        }
    }

    /// Returns the value of a level. The event itself comes first, then the equipment map, then the defaults of the publisher.
    fn level(&self, level: Level) -> Option<Cow<'a, str>> {
        self.of_event(level)
            .or_else(|| self.of_equipment(level).map(Cow::Borrowed))
            .or_else(|| self.defaults.get(level).map(Cow::Borrowed))
    }

    fn of_event(&self, level: Level) -> Option<Cow<'a, str>> {
        level.names().iter().find_map(|field| self.context.get(*field))
    }

    fn of_equipment(&self, level: Level) -> Option<&'a str> {
        // Most plants have no equipment map, so there is no need to look up the cell of the event.
        if self.equipment.0.is_empty() {
            return None;
        }
        self.equipment.0.get(self.of_event(Level::Cell)?.as_ref())?.get(level)
    }

    /// Returns the values that `eryxon` naming uses if neither the event nor the publisher has one.
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
