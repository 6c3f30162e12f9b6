//! Says which tables a proposal leaves out. In: tables, each with the reason. Out: comments, the tables of one reason together.

use std::fmt::Write;

use crate::capture::propose::tables::ListedTable;
use crate::capture::propose::toml_text::in_comment;

/// The widest that a line of names may be.
const WIDTH: usize = 130;

/// The tables that are left out, by reason, in the order in which they were found.
#[derive(Default)]
pub(super) struct LeftOut(Vec<(&'static str, Vec<String>)>);

impl LeftOut {
    pub(super) fn add(&mut self, reason: &'static str, table: &ListedTable) {
        let name = in_comment(&table.mapping_name());
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(name),
            None => self.0.push((reason, vec![name])),
        }
    }

    /// Returns the comments; nothing if nothing is left out.
    pub(super) fn text(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let mut text =
            "\n# Left out, as are views, foreign tables and partitions; --table NAME proposes what can be captured:\n"
                .to_owned();
        for (reason, names) in &self.0 {
            writeln!(text, "# - {} because {reason}:", count(names.len())).expect("a String takes everything");
            let mut line = "#  ".to_owned();
            for (index, name) in names.iter().enumerate() {
                let name = format!(" {name}{}", if index + 1 == names.len() { "" } else { "," });
                if line.chars().count() + name.chars().count() > WIDTH {
                    writeln!(text, "{line}").expect("a String takes everything");
                    line = "#  ".to_owned();
                }
                line.push_str(&name);
            }
            writeln!(text, "{line}").expect("a String takes everything");
        }
        text
    }
}

fn count(number: usize) -> String {
    if number == 1 { "1 table".to_owned() } else { format!("{number} tables") }
}
