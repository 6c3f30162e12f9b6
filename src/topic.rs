//! Topics: where on a broker an event belongs. In: a compiled pattern, an event, the equipment map and the publisher's defaults. Out: a
//! topic that every broker accepts, or the reason why there is none. It never does I/O, and no value can add a level or a wildcard.
//! `pattern` compiles patterns, `expand` fills them in, and `naming` decides how values are written.

mod context;
mod expand;
mod levels;
pub mod naming;
pub mod pattern;

use std::fmt;

use thiserror::Error;

pub use levels::Equipment;
pub use levels::Levels;
pub use naming::Naming;
pub use pattern::MAX_TOPIC_BYTES;
pub use pattern::Pattern;
pub use pattern::PatternProblem;

/// A topic that can be published to: 1 to 65,535 bytes, no wildcard, no empty level, no NUL, no `$` at its start.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic(String);

impl Topic {
    /// Checks a topic that was not made by a pattern.
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

    /// Returns the text of the topic.
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
    /// The topic is longer than MQTT allows.
    #[error(
        "topic would be {bytes} bytes long and MQTT allows 65535{}; shorten the value or leave it out of the pattern",
        longest_of(longest)
    )]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The placeholder with the longest value, and the length of that value in bytes.
        longest: Option<(String, usize)>,
    },
    /// A placeholder has no value, and the publisher does not accept a substitute.
    #[error(
        "event has no value for `{{{0}}}` and missing is `reject`; supply it, give it a default, or choose another policy"
    )]
    Missing(String),
    /// Every level of the pattern was dropped.
    #[error("topic is empty, because every level of the pattern is missing; add a literal level or a default")]
    Empty,
    /// The text is not a topic.
    #[error("topic has a wildcard, an empty level, a NUL or a leading `$`; remove it")]
    Malformed,
}

fn longest_of(longest: &Option<(String, usize)>) -> String {
    longest.as_ref().map_or(String::new(), |(name, bytes)| format!(" (`{{{name}}}` alone has {bytes})"))
}

/// The policy for a placeholder without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// `_` takes its place, so that all topics of a pattern have the same depth.
    #[default]
    Placeholder,
    /// It is left out, and so is its level if the level contains nothing else.
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

#[cfg(test)]
mod tests;
