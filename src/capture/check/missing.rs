//! The tables of a mapping that the database does not have. In: each of them, wherever it is named. Out: one finding for each, or a single
//! one if most are missing, because then the database is probably another one.

use std::collections::HashSet;

use crate::capture::finding::Finding;
use crate::capture::finding::Location;

/// With fewer tables, the names say more than a count.
const FEW: usize = 3;

/// The tables that are not there, in the order in which the mapping names them.
#[derive(Debug, Default)]
pub(super) struct MissingTables(Vec<(String, usize, Finding)>);

impl MissingTables {
    /// Adds a place that names a missing table.
    pub(super) fn add(&mut self, table: &str, finding: Finding) {
        match self.0.iter_mut().find(|(known, ..)| known == table) {
            Some((_, count, _)) => *count += 1,
            None => self.0.push((table.to_owned(), 1, finding)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the findings. `named` are all tables that the mapping names, and `database` says where the check looked for them.
    pub(super) fn findings(self, named: &HashSet<String>, database: &str, file: &str) -> Vec<Finding> {
        let count = self.0.len();
        if count > FEW && 2 * count > named.len() {
            let names: Vec<&str> = self.0.iter().take(FEW).map(|(name, ..)| name.as_str()).collect();
            let message = format!(
                "{count} of {} tables are missing ({}, …); is this the right database? (connected to {database})",
                named.len(),
                names.join(", ")
            );
            let (file, entry, field) = (file.to_owned(), String::new(), String::new());
            return vec![Finding { file, location: Location::START, entry, field, message }];
        }
        let several = |count: usize| if count > 1 { format!(" ({count} entries name it)") } else { String::new() };
        let finding = |(_, count, finding): (String, usize, Finding)| Finding {
            message: format!("{}{}", finding.message, several(count)),
            ..finding
        };
        self.0.into_iter().map(finding).collect()
    }
}
