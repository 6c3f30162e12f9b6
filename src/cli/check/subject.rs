//! A destination while it is being checked. In: what was found out about it. Out: one finding with all of that.

use crate::cli::check::lanes::Note;
use crate::cli::check::report::Finding;
use crate::destination::Destination;

/// A usable destination, and what was found out about it before its broker was asked.
pub(super) struct Subject {
    pub(super) destination: Destination,
    pub(super) notes: Vec<Note>,
}

/// Makes one finding of all that is to be said of a destination. Its grade is the worst.
pub(super) fn line(area: &'static str, notes: &[Note]) -> Finding {
    let grade = notes.iter().map(|(grade, _)| *grade).max().unwrap_or_default();
    let texts: Vec<&str> = notes.iter().map(|(_, text)| text.as_str()).collect();
    Finding::new(grade, area, texts.join("; "))
}
