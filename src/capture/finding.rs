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
}

/// A text, and where its lines begin, so that the location of each value costs nothing even in a file of 40,000 lines.
#[derive(Debug)]
pub struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    /// Finds the lines of a text.
    pub fn of(text: &'t str) -> Lines<'t> {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Lines { text, starts }
    }

    /// Returns the location of a byte offset; that of the end, if it is none of the text.
    pub fn location(&self, offset: usize) -> Location {
        let offset = if self.text.is_char_boundary(offset) { offset } else { self.text.len() };
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        Location { line, column: self.text[start..offset].chars().count() + 1 }
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
    use super::Lines;
    use super::Location;

    #[test]
    fn a_location_counts_lines_and_characters_from_one() {
        let text = "a = 1\nü = x\n";

        let lines = Lines::of(text);
        assert_eq!(lines.location(0), Location { line: 1, column: 1 });
        assert_eq!(lines.location(text.find('x').unwrap()), Location { line: 2, column: 5 });
        assert_eq!(lines.location(text.len()), Location { line: 3, column: 1 });
        assert_eq!(lines.location(99), lines.location(text.len()));
    }
}
