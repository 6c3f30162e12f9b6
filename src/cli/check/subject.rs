//! A destination while it is being checked. In: what was found out about it. Out: one finding with all of that.

use crate::cli::check::lanes::Note;
use crate::cli::check::report::Finding;
use crate::destination::Destination;

/// A usable destination, and what was found out about it before its broker was asked.
pub(super) struct Subject {
    pub(super) destination: Destination,
    /// Its name, with what tells it from others of that name.
    pub(super) shown: String,
    pub(super) notes: Vec<Note>,
    /// What to do about the state of its lane, where the notes do not say it.
    pub(super) cure: Option<&'static str>,
}

/// Makes one finding of all that is to be said of a destination. Its grade is the worst.
pub(super) fn line(area: &'static str, notes: &[Note]) -> Finding {
    let grade = notes.iter().map(|(grade, _)| *grade).max().unwrap_or_default();
    let ends_another = |text: &str| notes.iter().any(|(_, other)| other.ends_with(&format!(": {text}")));
    // What the lane says and what the check finds are often the same reason.
    let texts: Vec<&str> = notes.iter().map(|(_, text)| text.as_str()).filter(|text| !ends_another(text)).collect();
    Finding::new(grade, area, texts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::report::CheckReport;
    use crate::cli::check::report::Grade;

    #[test]
    fn a_reason_that_the_lane_gives_and_the_check_finds_stands_there_once() {
        let mut report = CheckReport::default();
        let notes = [
            (Grade::Warning, "is retrying since noon: TLS: UnknownIssuer".to_owned()),
            (Grade::Ok, "3 events wait".to_owned()),
            (Grade::Fault, "TLS: UnknownIssuer".to_owned()),
        ];

        report.add(line("broker", &notes));

        let text = report.to_string();
        assert!(text.starts_with("FAULT") && text.matches("UnknownIssuer").count() == 1, "{text}");
        assert!(text.ends_with("is retrying since noon: TLS: UnknownIssuer; 3 events wait\n"), "{text}");
    }
}
