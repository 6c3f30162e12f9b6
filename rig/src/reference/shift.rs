//! A shift: what people do in a plant, as SQL. In: the text of a `*.shift.sql` file. Out: the rows that exist before the shift begins, and
//! the steps of any cycle. It runs nothing.
//!
//! ```sql
//! -- plant
//! insert into stations …;                  -- once, before the source is attached
//! -- > Order 7-:n is taken in             -- a step: one transaction; :n is the number of the cycle
//! insert into jobs …;
//! -- x Order 7-:n is completed by mistake -- the same, rolled back
//! update jobs …;
//! ```

use anyhow::Result;
use anyhow::bail;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shift {
    /// SQL for the rows that the shift finds.
    pub plant: String,
    /// One pass over them is a cycle.
    pub steps: Vec<Step>,
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Whether it is rolled back, so that nobody may ever hear of it.
    pub is_given_up: bool,
    what: String,
    sql: String,
}

impl Shift {
    /// Reads the file.
    pub fn parse(text: &str) -> Result<Shift> {
        let mut shift = Shift { plant: String::new(), steps: Vec::new() };
        let mut has_plant = false;
        for (number, line) in (1..).zip(text.lines()) {
            let begun = [("-- > ", false), ("-- x ", true)]
                .into_iter()
                .find_map(|(mark, is_given_up)| Some((line.strip_prefix(mark)?, is_given_up)));
            if let Some((what, is_given_up)) = begun {
                shift.steps.push(Step { is_given_up, what: what.trim().to_owned(), sql: String::new() });
            } else if line.starts_with("-- plant") {
                if !shift.steps.is_empty() {
                    bail!("line {number}: `-- plant` comes before the first step; move it up");
                }
                has_plant = true;
            } else {
                let section = match shift.steps.last_mut() {
                    Some(step) => &mut step.sql,
                    None if has_plant => &mut shift.plant,
                    None if line.trim().is_empty() || line.starts_with("--") => continue,
                    None => bail!("line {number}: SQL before the line `-- plant`; write that line above it"),
                };
                section.push_str(line);
                section.push('\n');
            }
        }
        if shift.steps.is_empty() {
            bail!("there is no step; begin one with the line `-- > what a person sees`");
        }
        Ok(shift)
    }
}

impl Step {
    /// Returns a description for people.
    pub fn what(&self, cycle: u64) -> String {
        numbered(&self.what, cycle)
    }

    /// Returns the statements, without `begin` and `commit`.
    pub fn sql(&self, cycle: u64) -> String {
        numbered(&self.sql, cycle)
    }
}

/// Replaces `:n` by the number of the cycle, but leaves `::numeric` and `:name` alone.
fn numbered(text: &str, cycle: u64) -> String {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(":n") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        made.push_str(before);
        if before.ends_with(':') || after.starts_with(is_word) {
            made.push_str(":n");
        } else {
            made.push_str(&cycle.to_string());
        }
        rest = after;
    }
    made + rest
}

#[cfg(test)]
mod tests {
    use super::Shift;
    use super::numbered;

    #[test]
    fn a_file_is_a_plant_and_its_steps() {
        let shift =
            Shift::parse("-- The shift.\n\n-- plant\ninsert 1;\n-- > Order :n\ninsert :n;\n-- a note\n-- x Oops\nx;\n")
                .unwrap();

        assert_eq!(shift.plant, "insert 1;\n");
        assert_eq!((shift.steps[0].what(7), shift.steps[0].is_given_up), ("Order 7".to_owned(), false));
        assert_eq!(shift.steps[0].sql(7), "insert 7;\n-- a note\n");
        assert_eq!((shift.steps[1].what(7), shift.steps[1].is_given_up), ("Oops".to_owned(), true));
    }

    #[test]
    fn only_a_lone_n_is_the_number_of_the_cycle() {
        assert_eq!(numbered("'J-:n' :n::numeric x::name :now", 12), "'J-12' 12::numeric x::name :now");
    }

    #[test]
    fn a_file_out_of_order_says_what_to_do() {
        let said = |text| Shift::parse(text).unwrap_err().to_string();

        assert!(said("select 1;").contains("line 1: SQL before"));
        assert!(said("-- plant\n").contains("no step"));
        assert!(said("-- > a\n-- plant\n").contains("line 2"));
    }
}
