//! Where the events of one statement cannot come in the order of cause and consequence. In: the captured tables, with what the plant has on
//! them. Out: a warning for each trigger or rule that acts before Andon's triggers do. It decides only.

use crate::capture::check::CheckedTable;
use crate::capture::mapping::Operation;
use crate::capture::sql::trigger::trigger_name;
use crate::capture::table::PlantTrigger;
use crate::capture::table::Timing;

/// Returns the warnings of a source.
pub(super) fn warnings(source: &str, tables: &[CheckedTable]) -> Vec<String> {
    let mut warnings = Vec::new();
    for captured in tables {
        for trigger in &captured.table.plant_triggers {
            warnings.extend(warning(source, captured, trigger, tables));
        }
    }
    warnings
}

fn warning(source: &str, captured: &CheckedTable, plant: &PlantTrigger, tables: &[CheckedTable]) -> Option<String> {
    let (name, table) = (&plant.name, &captured.name);
    let is_shared = |operation: Operation| {
        plant.operations.contains(&operation) && captured.rules.iter().any(|rule| rule.operation == operation)
    };
    let written = || tables.iter().find(|other| writes_to(&plant.action, &other.name.schema, &other.name.table));
    let cure = "where receivers need the cause first, let it be an AFTER trigger";
    match plant.timing {
        Timing::AfterRow | Timing::AfterStatement => {
            let own = |operation: Operation| trigger_name(source, &captured.table, operation);
            let first = Operation::ALL.into_iter().filter(|it| is_shared(*it)).map(own).find(|own| name < own)?;
            Some(format!(
                "trigger `{name}` on {table} fires before `{first}`, because its name sorts first: what it does comes before its cause; \
                 rename it"
            ))
        }
        Timing::Before => {
            let other = &written()?.name;
            Some(format!(
                "trigger `{name}` on {table} writes to {other} before the row itself is changed, so that the event of {other} comes before that \
                 of {table}; {cure}"
            ))
        }
        Timing::Rule if plant.operations != [Operation::Insert] => {
            let other = &written()?.name;
            Some(format!(
                "rule `{name}` on {table} writes to {other} before the row itself is changed, so that the event of {other} comes before that \
                 of {table}; {cure}"
            ))
        }
        _ => None,
    }
}

/// Returns whether a function or a rule seems to write to a table. Functions that it calls are not seen.
fn writes_to(action: &str, schema: &str, table: &str) -> bool {
    let action = action.to_lowercase();
    let is_end = |letter: char| letter.is_whitespace() || "();,'".contains(letter);
    let words: Vec<&str> = action.split(is_end).filter(|word| !word.is_empty()).collect();
    let full = format!("{schema}.{table}").to_lowercase();
    (0..words.len()).any(|at| {
        let mut rest = words[at..].iter().copied();
        let is_write = match rest.next() {
            Some("insert" | "merge") => rest.next() == Some("into"),
            Some("delete") => rest.next() == Some("from"),
            Some("update" | "truncate") => true,
            _ => false,
        };
        let mut rest = rest.skip_while(|word| ["only", "table"].contains(word));
        let name = rest.next().unwrap_or_default().replace('"', "");
        is_write && (name == full || name == table.to_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::writes_to;

    #[test]
    fn what_a_function_writes_to_is_found_in_its_text() {
        let writes = |action: &str| writes_to(action, "mes", "Jobs");

        assert!(writes("begin insert into \"Jobs\"(id) values (1); end"));
        assert!(writes("update only mes.\"Jobs\" set open = open - 1") && writes("execute 'delete from jobs'"));
        assert!(writes("ON UPDATE TO mes.parts DO UPDATE mes.jobs SET parts = 1"));
        assert!(!writes(
            "select 1 from jobs for update of jobs; insert into jobs_log values (1); update jobsx set a = 1"
        ));
        assert!(!writes("insert into other.jobs values (1)") && !writes("new.updated_at := now(); return new;"));
    }
}
