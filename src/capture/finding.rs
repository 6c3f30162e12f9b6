//! Says what is wrong with a mapping, and where. In: a location in the file and a message. Out: one line that a person can act on. It
//! judges nothing: reading and checking do.

use std::fmt;

/// A location in the mapping file; line and column are counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Location {
    /// The first character of the file, for findings about the file as a whole.
    pub const START: Location = Location { line: 1, column: 1 };

    /// Returns the location of a byte offset in `text`.
    pub fn of(text: &str, offset: usize) -> Location {
        let before = text.get(..offset).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        Location { line: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1 }
    }
}

/// One thing that must be put right before the mapping can be attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, by the name it was given.
    pub file: String,
    /// Where in the file.
    pub location: Location,
    /// The entry, for example `capture 3 (public.jobs, update)`; empty if the finding is about the whole file.
    pub entry: String,
    /// The key of the entry, for example `data.job_number`; empty if the finding is about the whole entry.
    pub field: String,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { file, location, entry, field, message } = self;
        write!(out, "{file}:{}:{}: ", location.line, location.column)?;
        match (entry.as_str(), field.as_str()) {
            ("", "") => write!(out, "{message}"),
            ("", only) | (only, "") => write!(out, "{only}: {message}"),
            (entry, field) => write!(out, "{entry}, {field}: {message}"),
        }
    }
}

/// Everything that is wrong with a mapping, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Finding>);

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.0.iter().enumerate() {
            write!(out, "{}{finding}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Location;

    #[test]
    fn a_location_counts_lines_and_characters_from_one() {
        let text = "a = 1\nü = x\n";

        assert_eq!(Location::of(text, 0), Location { line: 1, column: 1 });
        assert_eq!(Location::of(text, text.find('x').unwrap()), Location { line: 2, column: 5 });
    }
}
