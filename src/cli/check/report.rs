//! The report of a check. In: findings, each with its grade. Out: lines for people or one JSON document for machines, and the exit status. A
//! fault is what Andon cannot work with, or what goes to nobody; a warning is what somebody should look at although nothing is lost by it.

use std::fmt;
use std::fmt::Display;

use serde_json::Value;
use serde_json::json;

/// How bad a finding is. A fault makes the exit status 1; a warning does so only with `--strict`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Grade {
    #[default]
    Ok,
    /// Nothing is lost, but somebody should look at it.
    Warning,
    /// Andon cannot work like this, or an event goes to nobody.
    Fault,
}

impl Grade {
    /// Returns its name. People read a fault in capitals.
    fn name(self) -> &'static str {
        match self {
            Grade::Ok => "ok",
            Grade::Warning => "warning",
            Grade::Fault => "fault",
        }
    }
}

/// One line of the report. The names of the fields are those of the JSON document, which scripts read: they stay as they are.
#[derive(Debug, Clone, Default)]
pub(super) struct Finding {
    pub(super) grade: Grade,
    /// The part of the check, such as `daemon`, `capture`, `webhook`.
    area: &'static str,
    /// What it is about, by its own name: a table, a destination, a source. Some findings are about the whole area.
    name: Option<String>,
    /// The lane, if it is about a destination.
    lane: Option<String>,
    message: String,
    /// What to do, where that is not part of the message.
    cure: Option<String>,
    /// The name with what people want to see beside it.
    shown: Option<String>,
}

impl Finding {
    pub(super) fn new(grade: Grade, area: &'static str, message: impl Display) -> Finding {
        Finding { grade, area, message: message.to_string(), ..Finding::default() }
    }

    pub(super) fn fault(area: &'static str, message: impl Display) -> Finding {
        Finding::new(Grade::Fault, area, message)
    }

    pub(super) fn of(self, name: impl Display) -> Finding {
        Finding { name: Some(name.to_string()), ..self }
    }

    pub(super) fn of_lane(self, lane: impl Display) -> Finding {
        Finding { lane: Some(lane.to_string()), ..self }
    }

    pub(super) fn shown_as(self, shown: impl Display) -> Finding {
        Finding { shown: Some(shown.to_string()), ..self }
    }

    /// Says that the message itself names what it is about.
    pub(super) fn shown_as_message(self) -> Finding {
        Finding { shown: Some(String::new()), ..self }
    }

    pub(super) fn cure(self, cure: impl Display) -> Finding {
        Finding { cure: Some(cure.to_string()), ..self }
    }

    fn json(&self) -> Value {
        json!({"grade": self.grade.name(), "area": self.area, "name": self.name, "lane": self.lane, "message": self.message,
            "cure": self.cure})
    }
}

#[derive(Debug, Default)]
pub(super) struct CheckReport(Vec<Finding>);

impl CheckReport {
    pub(super) fn ok(&mut self, area: &'static str, text: impl Display) {
        self.add(Finding::new(Grade::Ok, area, text));
    }

    pub(super) fn warning(&mut self, area: &'static str, text: impl Display) {
        self.add(Finding::new(Grade::Warning, area, text));
    }

    pub(super) fn fault(&mut self, area: &'static str, text: impl Display) {
        self.add(Finding::fault(area, text));
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// Adds what another part of the check has found at the same time.
    pub(super) fn append(&mut self, mut other: CheckReport) {
        self.0.append(&mut other.0);
    }

    /// Returns the worst grade of all findings.
    pub(super) fn grade(&self) -> Grade {
        self.0.iter().map(|finding| finding.grade).max().unwrap_or_default()
    }

    pub(super) fn json(&self) -> String {
        let findings: Vec<Value> = self.0.iter().map(Finding::json).collect();
        format!("{:#}", json!({"status": self.grade().name(), "findings": findings}))
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { grade, area, name, message, cure, shown, .. } in &self.0 {
            let grade = if *grade == Grade::Fault { "FAULT" } else { grade.name() };
            let name = shown.as_ref().or(name.as_ref()).filter(|name| !name.is_empty());
            let name = name.map_or(String::new(), |name| format!("{name}: "));
            let cure = cure.as_ref().map_or(String::new(), |cure| format!("; {cure}"));
            let text = format!("{name}{message}{cure}");
            // The further lines of a text are indented to its column.
            let text = text.replace('\n', &format!("\n{:24}", ""));
            writeln!(formatter, "{grade:<8}{area:<15} {text}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> CheckReport {
        let mut report = CheckReport::default();
        report.ok("database", "andon@db:5432/mes, PostgreSQL 15.18");
        report.add(
            Finding::new(Grade::Warning, "webhook", "is paused since noon:\n12 events wait")
                .of("erp")
                .of_lane("andon.webhooks/1")
                .cure("set settings.paused to false"),
        );
        report
    }

    #[test]
    fn findings_stand_in_columns_and_a_warning_is_no_fault() {
        assert_eq!(report().grade(), Grade::Warning);
        insta::assert_snapshot!(report(), @"
        ok      database        andon@db:5432/mes, PostgreSQL 15.18
        warning webhook         erp: is paused since noon:
                                12 events wait; set settings.paused to false
        ");
    }

    #[test]
    fn a_machine_reads_the_same_findings_with_names_that_stay() {
        insta::assert_snapshot!(report().json(), @r#"
        {
          "findings": [
            {
              "area": "database",
              "cure": null,
              "grade": "ok",
              "lane": null,
              "message": "andon@db:5432/mes, PostgreSQL 15.18",
              "name": null
            },
            {
              "area": "webhook",
              "cure": "set settings.paused to false",
              "grade": "warning",
              "lane": "andon.webhooks/1",
              "message": "is paused since noon:\n12 events wait",
              "name": "erp"
            }
          ],
          "status": "warning"
        }
        "#);
    }
}
