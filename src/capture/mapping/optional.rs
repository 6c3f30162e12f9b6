//! What an entry can do without: versions of a system differ in their tables and columns. In: the key `optional` of the file. Out: whether
//! an entry, or one of its fields, is left out where the database does not have what it names.

use std::collections::HashSet;

use toml::de::DeValue;

use crate::capture::mapping::Capture;
use crate::capture::mapping::Optional;
use crate::capture::mapping::Text;
use crate::capture::mapping::section::Findings;
use crate::capture::mapping::section::Section;
use crate::nearest::nearest;

/// Reads `optional = true`, or `optional = ["data.shift"]`.
pub(super) fn read(findings: &mut Findings<'_>, section: &Section<'_>) -> Optional {
    match section.get("optional").map(|value| value.get_ref()) {
        Some(DeValue::Array(_)) => Optional { entry: false, fields: section.texts(findings, "optional") },
        _ => Optional { entry: section.flag(findings, "optional"), fields: Vec::new() },
    }
}

/// Adds what all entries of the table can do without.
pub(super) fn inherit(mut own: Optional, table: &Optional) -> Optional {
    own.entry |= table.entry;
    let more: Vec<Text> = table.fields.iter().filter(|field| !own.covers(&field.sql)).cloned().collect();
    own.fields.extend(more);
    own
}

/// Reports names in `optional` that are fields of no entry of the table.
pub(super) fn report_unknown(findings: &mut Findings<'_>, captures: &[Capture]) {
    for capture in captures {
        for name in &capture.optional.fields {
            // A table's list holds for all its entries, and each of them has only some of the fields.
            let users = captures.iter().filter(|other| other.optional.fields.contains(name));
            let fields: HashSet<String> = users.flat_map(fields).collect();
            if fields.contains(&name.sql) {
                continue;
            }
            let mut known: Vec<&str> = fields.iter().map(String::as_str).collect();
            known.sort_unstable();
            let proposal = match nearest(&name.sql, known.iter().copied()) {
                Some(found) => format!("; the nearest is {found}"),
                None => "; write it as data.NAME, context.NAME, columns.NAME or of.NAME".to_owned(),
            };
            findings.add(
                name.location,
                &capture.entry(),
                "optional",
                format!("there is no field {}{proposal}", name.sql),
            );
        }
    }
}

fn fields(capture: &Capture) -> Vec<String> {
    let listed =
        |list: &str, texts: &[Text]| texts.iter().map(|text| format!("{list}.{}", text.sql)).collect::<Vec<_>>();
    let named = capture.context.iter().chain(&capture.data).map(|(_, text)| text.field.clone());
    listed("of", &capture.of).into_iter().chain(listed("columns", &capture.columns)).chain(named).collect()
}

#[cfg(test)]
mod tests {
    use crate::capture::mapping::Mapping;

    fn read(table: &str, entry: &str) -> Result<Mapping, String> {
        let text = format!(
            "[source]\nname = 'plant'\n[table.jobs]\n{table}\ncolumns = ['lot']\n[[capture]]\ntable = 'jobs'\non = 'insert'\n\
             type = 'job.created'\n{entry}\ndata = {{ shift = 'new.shift' }}"
        );
        Mapping::parse("plant.toml", &text).map_err(|problems| problems.to_string())
    }

    #[test]
    fn what_a_table_can_do_without_its_entries_can_as_well() {
        let mapping = read("optional = ['columns.lot']", "optional = ['data.shift']").unwrap();

        let optional = &mapping.captures[0].optional;
        assert!(optional.covers("columns.lot") && optional.covers("data.shift") && !optional.entry);
        assert!(read("optional = true", "").unwrap().captures[0].optional.entry);
    }

    #[test]
    fn a_field_that_no_entry_has_is_refused_with_the_nearest() {
        let said = read("", "optional = ['data.shif', 'lot']").unwrap_err();
        assert!(said.contains("there is no field data.shif; the nearest is data.shift"), "{said}");
        assert!(said.contains("there is no field lot; the nearest is columns.lot"), "{said}");

        let said = read("", "optional = 'yes'").unwrap_err();
        assert!(said.contains("is a string; write true or false"), "{said}");
    }
}
