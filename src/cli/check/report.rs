//! The report of a check. In: a subject and a text for each finding. Out: lines for people, in the order in which they were found.

use std::fmt;
use std::fmt::Display;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    Ok,
    /// Nothing is lost, but somebody should look at it.
    Warning,
    /// Andon cannot work like this.
    Fault,
}

#[derive(Debug, Default)]
pub(super) struct CheckReport(Vec<(Severity, &'static str, String)>);

impl CheckReport {
    pub(super) fn ok(&mut self, subject: &'static str, text: impl Display) {
        self.0.push((Severity::Ok, subject, text.to_string()));
    }

    pub(super) fn warning(&mut self, subject: &'static str, text: impl Display) {
        self.0.push((Severity::Warning, subject, text.to_string()));
    }

    pub(super) fn fault(&mut self, subject: &'static str, text: impl Display) {
        self.0.push((Severity::Fault, subject, text.to_string()));
    }

    pub(super) fn has_fault(&self) -> bool {
        self.0.iter().any(|(severity, ..)| *severity == Severity::Fault)
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (severity, subject, text) in &self.0 {
            let severity = match severity {
                Severity::Ok => "ok",
                Severity::Warning => "warning",
                Severity::Fault => "FAULT",
            };
            // The further lines of a text are indented to its column.
            let text = text.replace('\n', &format!("\n{:24}", ""));
            writeln!(formatter, "{severity:<8}{subject:<15} {text}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_stand_in_columns_and_a_warning_is_no_fault() {
        let mut report = CheckReport::default();
        report.ok("database", "andon@db:5432/mes, PostgreSQL 15.18");
        report.warning("lane", "public.webhooks/1 is open:\nno answer");

        assert!(!report.has_fault());
        insta::assert_snapshot!(report, @"
        ok      database        andon@db:5432/mes, PostgreSQL 15.18
        warning lane            public.webhooks/1 is open:
                                no answer
        ");
    }
}
