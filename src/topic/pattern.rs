//! Compiles topic patterns such as `{enterprise}/{site}/{area}/{cell}/{event}`. In: the text in a publisher's row. Out: its levels, ready
//! to be filled in, or everything that is wrong with it, each problem with its column. It never sees an event.

use std::fmt;

use thiserror::Error;

use crate::nearest::nearest;
use crate::topic::context::ContextField;

/// The longest topic, in bytes: MQTT writes its length into two bytes.
pub const MAX_TOPIC_BYTES: usize = 65_535;

/// A pattern that was compiled without faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    levels: Vec<Vec<Piece>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    Placeholder { name: Name, default: Option<String> },
}

/// The value that a placeholder stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    Level(Level),
    /// A field of the event's context that is not a level.
    Context(ContextField),
    Event,
    Tenant,
    EntityType,
    EntityId,
    /// A path into the payload.
    Data(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Enterprise,
    Site,
    Area,
    Line,
    Cell,
}

impl Level {
    /// Returns the fields of an event's context that hold it: first its own name, then the one that ISA-95 has for it.
    pub(super) fn names(self) -> &'static [ContextField] {
        match self {
            Level::Enterprise => &[ContextField::Enterprise],
            Level::Site => &[ContextField::Site],
            Level::Area => &[ContextField::Area],
            Level::Line => &[ContextField::Line, ContextField::WorkCenter],
            Level::Cell => &[ContextField::Cell, ContextField::WorkUnit],
        }
    }
}

static NAMES: [(&str, Name); 15] = [
    ("enterprise", Name::Level(Level::Enterprise)),
    ("site", Name::Level(Level::Site)),
    ("area", Name::Level(Level::Area)),
    ("line", Name::Level(Level::Line)),
    ("cell", Name::Level(Level::Cell)),
    ("work_center", Name::Level(Level::Line)),
    ("work_unit", Name::Level(Level::Cell)),
    ("operation", Name::Context(ContextField::Operation)),
    ("event", Name::Event),
    ("tenant_id", Name::Tenant),
    ("job_number", Name::Context(ContextField::JobNumber)),
    ("part_number", Name::Context(ContextField::PartNumber)),
    ("entity_type", Name::EntityType),
    ("entity_id", Name::EntityId),
    ("data.path", Name::Data(String::new())),
];

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Data(path) => write!(formatter, "data.{path}"),
            named => {
                let known = NAMES.iter().find(|(_, name)| name == named);
                formatter.write_str(known.map_or("", |(text, _)| text))
            }
        }
    }
}

/// One fault of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("column {column}: {fault}")]
pub struct PatternProblem {
    /// The character that is wrong, counted from one.
    pub column: usize,
    /// The fault at that column.
    pub fault: PatternFault,
}

/// A fault that a pattern can have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the message of each says what it is")]
pub enum PatternFault {
    #[error("the pattern is empty; write one such as `{{enterprise}}/{{site}}/{{area}}/{{cell}}/{{event}}`")]
    Empty,
    #[error("unknown placeholder `{{{name}}}`; {hint}")]
    Unknown { name: String, hint: String },
    #[error("`{{` is never closed; add `}}`")]
    Unclosed,
    #[error("`}}` closes nothing; remove it")]
    Stray,
    #[error("`{{}}` names nothing; write a placeholder such as `{{cell}}`")]
    Nameless,
    #[error("the default of `{{{0}}}` is empty; write one after the `|` or remove the `|`")]
    NoDefault(String),
    #[error("`{0}` is a wildcard, and one cannot publish to a wildcard; remove it")]
    Wildcard(char),
    #[error("`/` within a default would add a level; remove it")]
    SlashInDefault,
    #[error("control character {code:#06x} is not allowed in a topic; remove it", code = u32::from(*.0))]
    Control(char),
    #[error("leading `$` is reserved for the broker, and subscribers of `#` would not see it; remove it")]
    Dollar,
    #[error("leading `/` makes an empty level; remove it")]
    LeadingSlash,
    #[error("trailing `/` makes an empty level; remove it")]
    TrailingSlash,
    #[error("`//` makes an empty level; remove one")]
    EmptyLevel,
    #[error("the literal text is longer than the 65535 bytes of a topic from here on; shorten it")]
    TooLong,
}

impl Pattern {
    /// Compiles a pattern, or returns everything that is wrong with it, from left to right.
    pub fn compile(text: &str) -> Result<Pattern, Vec<PatternProblem>> {
        let mut reader = Reader { chars: text.chars().collect(), ..Reader::default() };
        reader.read();
        if reader.problems.is_empty() {
            Ok(Pattern { text: text.to_owned(), levels: reader.levels })
        } else {
            Err(reader.problems)
        }
    }

    /// Returns the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn levels(&self) -> &[Vec<Piece>] {
        &self.levels
    }
}

#[derive(Default)]
struct Reader {
    chars: Vec<char>,
    levels: Vec<Vec<Piece>>,
    level: Vec<Piece>,
    literal: String,
    literal_bytes: usize,
    problems: Vec<PatternProblem>,
}

impl Reader {
    fn read(&mut self) {
        if self.chars.is_empty() {
            return self.report(0, PatternFault::Empty);
        }
        let mut at = 0;
        while let Some(&c) = self.chars.get(at) {
            match c {
                '/' => {
                    self.slash(at);
                    self.end_level();
                }
                '{' => {
                    at = self.placeholder(at);
                    continue;
                }
                '}' => self.report(at, PatternFault::Stray),
                '$' if at == 0 => self.report(at, PatternFault::Dollar),
                _ => self.literal(at, c),
            }
            at += 1;
        }
        self.end_level();
    }

    fn slash(&mut self, at: usize) {
        self.count(at);
        if at == 0 {
            self.report(at, PatternFault::LeadingSlash);
        } else if self.chars[at - 1] == '/' {
            self.report(at, PatternFault::EmptyLevel);
        } else if at + 1 == self.chars.len() {
            self.report(at, PatternFault::TrailingSlash);
        }
    }

    fn literal(&mut self, at: usize, c: char) {
        match c {
            '+' | '#' => self.report(at, PatternFault::Wildcard(c)),
            c if c.is_control() => self.report(at, PatternFault::Control(c)),
            c => {
                self.count(at);
                self.literal.push(c);
            }
        }
    }

    /// Counts a character of literal text, and reports the one with which the text becomes too long.
    fn count(&mut self, at: usize) {
        let before = self.literal_bytes;
        self.literal_bytes += self.chars[at].len_utf8();
        if before <= MAX_TOPIC_BYTES && self.literal_bytes > MAX_TOPIC_BYTES {
            self.report(at, PatternFault::TooLong);
        }
    }

    /// Reads the placeholder that begins with the `{` at `open`, and returns the index to continue from.
    fn placeholder(&mut self, open: usize) -> usize {
        let rest = &self.chars[open + 1..];
        let end = rest.iter().position(|c| matches!(c, '{' | '}')).map_or(self.chars.len(), |length| open + 1 + length);
        if self.chars.get(end) != Some(&'}') {
            // Reading continues after it, so that the faults of the rest are found as well.
            self.report(open, PatternFault::Unclosed);
            return self.chars[open..].iter().position(|c| *c == '/').map_or(end, |length| end.min(open + length));
        }
        let bar = self.chars[open..end].iter().position(|c| *c == '|').map(|length| open + length);
        let text: String = self.chars[open + 1..bar.unwrap_or(end)].iter().collect();
        let default: Option<String> = bar.map(|bar| self.chars[bar + 1..end].iter().collect());
        if let Some(bar) = bar {
            self.check_default(open, &text, bar + 1, end);
        }
        match Reader::name(&text) {
            Ok(name) => {
                self.end_literal();
                self.level.push(Piece::Placeholder { name, default });
            }
            Err(fault) => self.report(open, fault),
        }
        end + 1
    }

    fn name(text: &str) -> Result<Name, PatternFault> {
        if text.is_empty() {
            return Err(PatternFault::Nameless);
        }
        if let Some(path) = text.strip_prefix("data.")
            && path.split('.').all(|step| !step.is_empty())
        {
            return Ok(Name::Data(path.to_owned()));
        }
        if let Some((_, name)) = NAMES.iter().find(|(known, _)| *known == text) {
            return Ok(name.clone());
        }
        let names = NAMES.iter().map(|(name, _)| *name);
        let hint = match nearest(text, names.clone()) {
            Some(name) => format!("did you mean `{{{name}}}`?"),
            None => format!("known are {}", names.collect::<Vec<_>>().join(", ")),
        };
        Err(PatternFault::Unknown { name: text.to_owned(), hint })
    }

    /// Checks a default. It is copied into the topic as it was written, so the rules of literal text apply to it.
    fn check_default(&mut self, open: usize, name: &str, from: usize, end: usize) {
        if from == end {
            self.report(from - 1, PatternFault::NoDefault(format!("{name}|")));
        }
        for at in from..end {
            match self.chars[at] {
                '/' => self.report(at, PatternFault::SlashInDefault),
                '$' if open == 0 && at == from => self.report(at, PatternFault::Dollar),
                c @ ('+' | '#') => self.report(at, PatternFault::Wildcard(c)),
                c if c.is_control() => self.report(at, PatternFault::Control(c)),
                _ => {}
            }
        }
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            self.level.push(Piece::Literal(std::mem::take(&mut self.literal)));
        }
    }

    fn end_level(&mut self) {
        self.end_literal();
        self.levels.push(std::mem::take(&mut self.level));
    }

    fn report(&mut self, index: usize, fault: PatternFault) {
        self.problems.push(PatternProblem { column: index + 1, fault });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn problems(text: &str) -> String {
        let problems = Pattern::compile(text).err().unwrap_or_default();
        problems.iter().map(PatternProblem::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn all_faults_are_reported_at_once_with_their_columns() {
        insta::assert_snapshot!(problems("/plant/{cel}//{}/a+b/#/{event|}/}x\u{7}/{site|a/b}/{temperature}/{data.}/{cell"), @r"
        column 1: leading `/` makes an empty level; remove it
        column 8: unknown placeholder `{cel}`; did you mean `{cell}`?
        column 14: `//` makes an empty level; remove one
        column 15: `{}` names nothing; write a placeholder such as `{cell}`
        column 19: `+` is a wildcard, and one cannot publish to a wildcard; remove it
        column 22: `#` is a wildcard, and one cannot publish to a wildcard; remove it
        column 30: the default of `{event|}` is empty; write one after the `|` or remove the `|`
        column 33: `}` closes nothing; remove it
        column 35: control character 0x0007 is not allowed in a topic; remove it
        column 44: `/` within a default would add a level; remove it
        column 48: unknown placeholder `{temperature}`; known are enterprise, site, area, line, cell, work_center, work_unit, operation, event, tenant_id, job_number, part_number, entity_type, entity_id, data.path
        column 62: unknown placeholder `{data.}`; did you mean `{data.path}`?
        column 70: `{` is never closed; add `}`
        ");
    }

    #[test]
    fn each_fault_points_at_its_column() {
        for (text, expected) in [
            ("", "column 1: the pattern is empty"),
            ("{site}/{area}/{cel}", "column 15: unknown placeholder `{cel}`; did you mean `{cell}`?"),
            ("ä/{Cell}", "column 3: unknown placeholder `{Cell}`; did you mean `{cell}`?"),
            ("a/", "column 2: trailing `/`"),
            ("/", "column 1: leading `/`"),
            ("$SYS/a", "column 1: leading `$`"),
            ("{site|$a}/b", "column 7: leading `$`"),
            ("a/{b{cell}", "column 3: `{` is never closed"),
            ("a\0", "column 2: control character 0x0000"),
        ] {
            assert!(problems(text).starts_with(expected), "{text}: {}", problems(text));
        }
        assert!(problems(&format!("a/{}", "x".repeat(65_534))).starts_with("column 65536: the literal text is longer"));
    }

    #[test]
    fn literals_and_placeholders_may_share_a_level() {
        let pattern = Pattern::compile("uns.v1/{work_center|none}-{data.order.0.no}").unwrap();

        let expected = vec![
            vec![Piece::Literal("uns.v1".to_owned())],
            vec![
                Piece::Placeholder { name: Name::Level(Level::Line), default: Some("none".to_owned()) },
                Piece::Literal("-".to_owned()),
                Piece::Placeholder { name: Name::Data("order.0.no".to_owned()), default: None },
            ],
        ];
        assert_eq!(pattern.levels(), expected);
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_or_refused_within_its_columns(text in "[{}/|$+#a-c.\u{0}\\PC]{0,40}") {
            match Pattern::compile(&text) {
                Ok(pattern) => prop_assert!(pattern.levels().iter().all(|level| !level.is_empty())),
                Err(problems) => {
                    prop_assert!(!problems.is_empty());
                    let columns = 1..=text.chars().count().max(1);
                    prop_assert!(problems.iter().all(|problem| columns.contains(&problem.column)));
                }
            }
        }
    }
}
