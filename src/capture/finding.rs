//! What is wrong with a mapping, and where. In: a place in the file and a message. Out: one line that a person can act on. It judges
//! nothing; reading and checking do.

use std::fmt;

/// A place in the mapping file, both counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Place {
    /// The place of a byte offset in `text`.
    pub fn of(text: &str, offset: usize) -> Place {
        let before = text.get(..offset).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        Place { line: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1 }
    }
}

/// One thing that must be put right before the mapping can be attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, as it was named.
    pub file: String,
    /// Where in it.
    pub place: Place,
    /// Which entry, for example `capture 3 (public.jobs, update)`.
    pub entry: String,
    /// Which key of the entry, for example `data.job_number`; empty when it is about the whole entry.
    pub field: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { file, place, entry, field, message } = self;
        write!(out, "{file}:{}:{}: ", place.line, place.column)?;
        match (entry.as_str(), field.as_str()) {
            ("", "") => write!(out, "{message}"),
            ("", only) | (only, "") => write!(out, "{only}: {message}"),
            (entry, field) => write!(out, "{entry}, {field}: {message}"),
        }
    }
}

/// Everything that is wrong, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Finding>);

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, finding) in self.0.iter().enumerate() {
            write!(out, "{}{finding}", if place == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let text = "a = 1\nü = x\n";

        assert_eq!(Place::of(text, 0), Place { line: 1, column: 1 });
        assert_eq!(Place::of(text, text.find('x').unwrap()), Place { line: 2, column: 5 });
    }
}
