//! The table that README shows. In: a row for each candidate. Out: Markdown whose columns also stand below each other, and the reasons of
//! what failed.

use crate::compat::steps::Step;
use crate::compat::verdict::Cell;

/// A line of the table.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    /// What the line stood beside, with its version.
    pub(super) title: String,
    /// The version of MQTT that was spoken.
    pub(super) mqtt: &'static str,
    /// What `andon check` said.
    pub(super) check: Cell,
    /// One cell for each step; those that did not take place are absent.
    pub(super) steps: Vec<Cell>,
    /// Why the row ended before its steps did.
    pub(super) broken: Option<String>,
}

impl Row {
    /// Returns what is wrong, one sentence each.
    pub(super) fn faults(&self) -> Vec<String> {
        let titles = std::iter::once("check").chain(Step::ALL.map(Step::title));
        let cells = std::iter::once(&self.check).chain(&self.steps);
        let faults = titles.zip(cells).filter_map(|(title, cell)| Some(format!("{title}: {}", cell.fault.as_ref()?)));
        faults.chain(self.broken.clone()).map(|fault| format!("{}: {fault}", self.title)).collect()
    }

    fn cells(&self) -> Vec<String> {
        let absent = if self.broken.is_some() { "not run" } else { "" };
        let steps = (0..Step::ALL.len()).map(|at| self.steps.get(at).map_or(absent, |cell| &cell.text).to_owned());
        [self.title.clone(), self.mqtt.to_owned(), self.check.text.clone()].into_iter().chain(steps).collect()
    }
}

/// Writes the table.
pub(super) fn table(rows: &[Row]) -> String {
    let head = ["beside", "MQTT", "check"].into_iter().chain(Step::ALL.map(Step::title)).map(str::to_owned).collect();
    let mut lines: Vec<Vec<String>> = vec![head];
    lines.extend(rows.iter().map(Row::cells));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let rule = widths.iter().map(|width| "-".repeat(*width)).collect();
    lines.insert(1, rule);
    let write = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect::<Vec<_>>();
        format!("| {} |\n", cells.join(" | "))
    };
    lines.iter().map(write).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(title: &str, mqtt: &'static str, check: Cell, steps: Vec<Cell>) -> Row {
        Row { title: title.to_owned(), mqtt, check, steps, broken: None }
    }

    #[test]
    fn the_table_says_what_each_row_did() {
        let ok = || Cell::good("ok");
        let rows = [
            row("PostgreSQL 14.23", "5", ok(), vec![ok(), ok(), ok(), Cell::good("ok, kept all"), ok()]),
            row("brokerd 1.0", "3.1.1", ok(), vec![ok(), Cell::failed("the webhook: 3 missing".to_owned())]),
            row("PgBouncer 1.18.0, transaction mode", "", Cell::good("refused"), vec![]),
            Row { title: "nats".to_owned(), broken: Some("`nats-server` not found".to_owned()), ..Row::default() },
        ];

        let text = table(&rows);
        let faults: Vec<String> = rows.iter().flat_map(Row::faults).collect();

        insta::assert_snapshot!(format!("{text}\n{}", faults.join("\n")));
    }
}
