//! What a check found. In: subjects, and what there is to say of each. Out: a table for people, in the order of the findings.

use std::fmt;
use std::fmt::Display;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Nothing is lost, but somebody should look.
    Warning,
    /// It does not work like this.
    Fault,
}

#[derive(Debug, Default)]
pub(super) struct Findings(Vec<(Verdict, &'static str, String)>);

impl Findings {
    pub(super) fn good(&mut self, subject: &'static str, text: impl Display) {
        self.0.push((Verdict::Good, subject, text.to_string()));
    }

    pub(super) fn warning(&mut self, subject: &'static str, text: impl Display) {
        self.0.push((Verdict::Warning, subject, text.to_string()));
    }

    pub(super) fn fault(&mut self, subject: &'static str, text: impl Display) {
        self.0.push((Verdict::Fault, subject, text.to_string()));
    }

    pub(super) fn has_fault(&self) -> bool {
        self.0.iter().any(|(verdict, ..)| *verdict == Verdict::Fault)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (verdict, subject, text) in &self.0 {
            let verdict = match verdict {
                Verdict::Good => "ok",
                Verdict::Warning => "warning",
                Verdict::Fault => "FAULT",
            };
            // What has several lines stays in its column.
            let text = text.replace('\n', &format!("\n{:24}", ""));
            writeln!(formatter, "{verdict:<8}{subject:<15} {text}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_stand_in_columns_and_a_warning_is_no_fault() {
        let mut findings = Findings::default();
        findings.good("database", "andon@db:5432/mes, PostgreSQL 15.18");
        findings.warning("lane", "public.webhooks/1 is open:\nno answer");

        assert!(!findings.has_fault());
        insta::assert_snapshot!(findings, @"
        ok      database        andon@db:5432/mes, PostgreSQL 15.18
        warning lane            public.webhooks/1 is open:
                                no answer
        ");
    }
}
