//! The body of a trigger function that fires once for each row. In: the table as the database has it, and its rules. Out: PL/pgSQL that
//! captures the one row and never fails the plant's statement. It executes nothing.

use crate::capture::mapping::Operation;
use crate::capture::sql::body::OF_A_ROW;
use crate::capture::sql::body::TriggerFunction;
use crate::capture::sql::body::attempt;
use crate::capture::sql::body::indent;
use crate::capture::sql::body::key_text;
use crate::capture::sql::event;
use crate::capture::sql::fallback::Fallback;
use crate::capture::sql::quote::literal;

impl TriggerFunction<'_> {
    /// Captures the one row for which the trigger fires.
    pub(super) fn row_body(&self) -> String {
        let (attempts, variables) = self.without_lookups(|operation| self.fallback_of_row(operation));
        let attempts = match attempts.as_str() {
            "" => String::new(),
            _ => format!("if left(code, 2) not in ({OF_A_ROW}) then\n{}end if;\n", indent(&attempts, 1)),
        };
        let inserts = self.for_each_operation(|operation| match operation {
            Operation::Update => self.update_of_row(),
            _ => self.insert_of_row(operation),
        });
        let attempt = attempt(&inserts);
        let (old, new) = (key_text(&self.key(), "old"), key_text(&self.key(), "new"));
        let kept = self.for_each_operation(|operation| match operation {
            Operation::Insert => self.keep_row("andon.row_image(tg_relid, new), null", &new),
            Operation::Update => self.keep_update(&new),
            Operation::Delete => self.keep_row("null, andon.row_image(tg_relid, old)", &old),
            Operation::Truncate => self.keep_nothing(),
        });
        format!(
            "
#variable_conflict use_column
declare
    code   text;
    reason text;
{variables}begin
{attempt}    begin
{2}{0}    exception when transaction_rollback then
        raise;
    when others then
        raise warning 'andon: % of % not captured (% %), and that could not be recorded: %', tg_op, {1}, code, reason, sqlerrm;
    end;
    return null;
end ",
            indent(&kept, 2),
            literal(&self.name.to_string()),
            indent(&attempts, 2),
        )
    }

    /// Returns the insert of the row that can do without lookups, as an attempt.
    fn fallback_of_row(&self, operation: Operation) -> Option<String> {
        let (row, using) = match operation {
            Operation::Insert => ("(select ($1).*) as new", " using new"),
            Operation::Update => ("(select ($1).*) as new cross join (select ($2).*) as old", " using new, old"),
            Operation::Delete => ("(select ($1).*) as old", " using old"),
            Operation::Truncate => (Operation::NO_ROW, ""),
        };
        let fallback = Fallback::new(self.rules, operation, &[], self.levels, row)?;
        let attempt = fallback.attempt(&literal(self.source), &literal(&self.name.to_string()), using);
        // An update that changes the key is two events, which are made again from the rows that are kept.
        let is_paired = operation == Operation::Update && !self.table.key.is_empty();
        Some(if is_paired { format!("if {} then\n{}end if;\n", same_key(), indent(&attempt, 1)) } else { attempt })
    }

    /// Returns the insert for the one row.
    fn insert_of_row(&self, operation: Operation) -> String {
        let row = match operation {
            Operation::Insert => "(select new.*) as new",
            Operation::Update => "(select new.*) as new cross join (select old.*) as old",
            Operation::Delete => "(select old.*) as old",
            Operation::Truncate => Operation::NO_ROW,
        };
        // PostgreSQL hands over the old and the new row as a pair, so no key is needed.
        event::insert(self.rules, operation, &[], self.levels, row)
    }

    /// Returns what captures an update. One that changes the key is a delete and an insert, as it is where a whole statement is captured.
    fn update_of_row(&self) -> String {
        let has = |operation| self.rules.iter().any(|rule| rule.operation == operation);
        let mut moved = String::new();
        if has(Operation::Delete) {
            moved.push_str(&self.insert_of_row(Operation::Delete));
        }
        if has(Operation::Delete) && has(Operation::Insert) {
            moved.push_str("if found then\n    perform andon.ring();\nend if;\n");
        }
        if has(Operation::Insert) {
            moved.push_str(&self.insert_of_row(Operation::Insert));
        }
        let same = self.insert_of_row(Operation::Update);
        if self.table.key.is_empty() {
            return same;
        }
        let side = |row: &str| {
            let columns: Vec<String> = self.key().iter().map(|column| format!("{row}.{column}")).collect();
            format!("row({})::record", columns.join(", "))
        };
        let otherwise = if moved.is_empty() { String::new() } else { format!("else\n{}", indent(&moved, 1)) };
        format!("if {} *= {} then\n{}{otherwise}end if;\n", side("new"), side("old"), indent(&same, 1))
    }

    /// Returns what keeps the row of an update, or the row that is gone and the one that has come, if the key changed. The key is the one that
    /// the table has now, which may have been renamed.
    fn keep_update(&self, key: &str) -> String {
        let both = self.keep("andon.row_image(tg_relid, new), andon.row_image(tg_relid, old)");
        if self.table.key.is_empty() {
            return self.keep_or_key(&both, key);
        }
        let moved =
            self.keep("null, andon.row_image(tg_relid, old)") + &self.keep("andon.row_image(tg_relid, new), null");
        let kept = format!("if {} then\n{}else\n{}end if;\n", same_key(), indent(&both, 1), indent(&moved, 1));
        self.keep_or_key(&kept, key)
    }
}

/// Returns a condition that holds unless an update has changed the key that the table has now, which may have been renamed.
fn same_key() -> String {
    let key_of = |row: &str| format!("andon.row_key(tg_relid, andon.row_image(tg_relid, {row}))");
    format!("{} is not distinct from {}", key_of("new"), key_of("old"))
}
