//! The body of a trigger function. In: the table as the database has it, and its rules. Out: PL/pgSQL that captures changes and never fails
//! the plant's statement: what cannot be captured is recorded instead. It executes nothing.

use crate::capture::mapping::Operation;
use crate::capture::mapping::TableName;
use crate::capture::sql::event;
use crate::capture::sql::event::Rule;
use crate::capture::sql::quote::identifier;
use crate::capture::sql::quote::literal;
use crate::capture::table::Table;
use crate::capture::table::TriggerLevel;
use crate::database::locks::Lock;

/// Returns the work of `andon.ring()`, inlined. Calling it would cost half as much as a small capture, most of it for setting a search path
/// that is set here already.
fn ring() -> String {
    format!(
        "        if found then
            if not pg_try_advisory_xact_lock_shared({}) and pg_notification_queue_usage() < 0.02 then
                perform pg_notify('andon', '');
            end if;
        end if;
",
        Lock::Bell
    )
}

/// How many rows of one statement are kept when they cannot be captured. A statement with more is an import, and can be captured again from
/// the rows as they are.
const KEPT: u32 = 10_000;

/// A trigger function to be generated.
pub(super) struct TriggerFunction<'a> {
    /// The source, which records of failures name.
    pub(super) source: &'a str,
    /// The table's name in the mapping.
    pub(super) name: &'a TableName,
    /// The table as the database has it.
    pub(super) table: &'a Table,
    /// The operations for which there are rules, in the order of `Operation::ALL`.
    pub(super) operations: &'a [Operation],
    /// The rules of the table.
    pub(super) rules: &'a [Rule],
    /// The ISA-95 levels of the source, by name.
    pub(super) levels: &'a [(String, String)],
}

impl TriggerFunction<'_> {
    /// Returns the body of the function.
    pub(super) fn body(&self) -> String {
        match self.table.level {
            TriggerLevel::Statement => self.statement_body(),
            TriggerLevel::Row { .. } => self.row_body(),
        }
    }

    /// Captures all rows of a statement at once, and one by one only if that fails because of a row.
    fn statement_body(&self) -> String {
        let all_rows = self.for_each_operation(|operation| {
            let rows = match operation {
                Operation::Insert => "new_rows as new".to_owned(),
                Operation::Update => self.paired_rows(),
                Operation::Delete => "old_rows as old".to_owned(),
            };
            event::insert(self.rules, operation, &self.table.key, self.levels, &rows)
        });
        let row_by_row = self.for_each_operation(|operation| self.row_by_row(operation));
        let kept_rows = self.for_each_operation(|operation| self.keep_rows(operation));
        let (source, table_name) = (literal(self.source), literal(&self.name.to_string()));
        let ring = ring();
        format!(
            "
#variable_conflict use_column
declare
    code     text;
    reason   text;
    pair     record;
    captured boolean := false;
    failures bigint := 0;
begin
    begin
{}{ring}        return null;
    exception when transaction_rollback then
        -- A serialization failure or a deadlock. The application answers it by running its transaction again, which captures the event.
        raise;
    when others then
        -- A cancel (statement_timeout, Ctrl-C) is not among the others: it ends the plant's statement here as it would anywhere in it,
        -- and neither row nor event is kept.
        get stacked diagnostics code = returned_sqlstate, reason = message_text;
    end;
    begin
        if left(code, 2) not in ('22', '23', '54', 'P0', 'XX') then
            -- Not the fault of one row: a column that is gone, a full disk. Each row would fail alike, and is kept to be captured later.
{}            return null;
        end if;
        -- The fault of some rows: the others are captured one by one.
{}        if failures > {KEPT} then
            perform andon.capture_failed({source}, {table_name}, lower(tg_op), null, code,
                format('%s more rows of the same statement failed; the last: %s', failures - {KEPT}, reason));
        end if;
        if captured then
            perform andon.ring();
        end if;
    exception when transaction_rollback then
        raise;
    when others then
        begin
            perform andon.capture_failed({source}, {table_name}, lower(tg_op), null, code, reason);
        exception when transaction_rollback then
            raise;
        when others then
            raise warning 'andon: % of % not captured (% %), and that could not be recorded: %', tg_op, {table_name}, code, reason, sqlerrm;
        end;
    end;
    return null;
end ",
            indent(&all_rows, 2),
            indent(&kept_rows, 3),
            indent(&row_by_row, 2)
        )
    }

    /// Returns the rows before and after an update, paired by key. A full join is hashed or merged, never nested: rows times rows would
    /// take hours for a large statement.
    fn paired_rows(&self) -> String {
        let pairs: Vec<String> = self.key().iter().map(|column| format!("new.{column} = old.{column}")).collect();
        format!("new_rows as new full join old_rows as old on {}", pairs.join(" and "))
    }

    /// Returns the loop that captures the rows of a statement one by one, and records those that fail.
    fn row_by_row(&self, operation: Operation) -> String {
        // The row type is named in a statement and not in the declarations. If the table is renamed, a statement fails, and that is
        // caught; a declaration would make the plant's statement fail.
        let row_type = &self.table.sql;
        let changed = match operation {
            Operation::Insert => format!("select new::{row_type} as new from new_rows as new"),
            Operation::Update => {
                format!("select new::{row_type} as new, old::{row_type} as old from {}", self.paired_rows())
            }
            Operation::Delete => format!("select old::{row_type} as old from old_rows as old"),
        };
        let one = match operation {
            Operation::Insert => "(select (pair.new).*) as new",
            Operation::Update => "(select (pair.new).*) as new cross join (select (pair.old).*) as old",
            Operation::Delete => "(select (pair.old).*) as old",
        };
        let (images, row) = match operation {
            Operation::Insert => ("andon.row_image(tg_relid, pair.new), null", "(pair.new)"),
            Operation::Update => {
                ("andon.row_image(tg_relid, pair.new), andon.row_image(tg_relid, pair.old)", "(pair.new)")
            }
            Operation::Delete => ("null, andon.row_image(tg_relid, pair.old)", "(pair.old)"),
        };
        let single = indent(&event::insert(self.rules, operation, &self.table.key, self.levels, one), 2);
        format!(
            "for pair in {changed} loop
    begin
{single}        captured := captured or found;
    exception when transaction_rollback then
        raise;
    when others then
        get stacked diagnostics code = returned_sqlstate, reason = message_text;
        failures := failures + 1;
        if failures <= {KEPT} then
{}        end if;
    end;
end loop;
",
            indent(&self.keep_row(images, &key_text(&self.key(), row)), 3)
        )
    }

    /// Returns what keeps all rows of a statement, each with its images. Old and new rows are paired by the key that the table has now, which
    /// may have been renamed.
    fn keep_rows(&self, operation: Operation) -> String {
        let (images, counted) = match operation {
            Operation::Insert => {
                ("select andon.row_image(tg_relid, new) as new_row, null::jsonb as old_row from new_rows as new", "new_rows")
            }
            Operation::Update => (
                "select andon.row_image(tg_relid, new) as new_row, andon.row_image(tg_relid, old) as old_row from new_rows as new
    full join old_rows as old on andon.row_key(tg_relid, andon.row_image(tg_relid, new)) = andon.row_key(tg_relid, andon.row_image(tg_relid, old))",
                "new_rows",
            ),
            Operation::Delete => {
                ("select null::jsonb as new_row, andon.row_image(tg_relid, old) as old_row from old_rows as old", "old_rows")
            }
        };
        let (source, table) = (literal(self.source), literal(&self.name.to_string()));
        format!(
            "perform andon.capture_failed({source}, {table}, lower(tg_op), tg_relid, {}, code, reason, kept.new_row, kept.old_row)
from ({images} limit {KEPT}) as kept;
select count(*) - {KEPT} into failures from {counted};
if failures > 0 then
    perform andon.capture_failed({source}, {table}, lower(tg_op), null, code,
        format('%s more rows of the same statement failed alike: %s', failures, reason));
end if;
",
            self.kept_columns()
        )
    }

    /// Returns what keeps one row with its images, or with its key alone where a value of it cannot stand in an image.
    fn keep_row(&self, images: &str, key: &str) -> String {
        let (source, table) = (literal(self.source), literal(&self.name.to_string()));
        format!(
            "begin
    perform andon.capture_failed({source}, {table}, lower(tg_op), tg_relid, {}, code, reason, {images});
exception when transaction_rollback then
    raise;
when others then
    perform andon.capture_failed({source}, {table}, lower(tg_op), {key}, code, reason);
end;
",
            self.kept_columns()
        )
    }

    /// Returns the columns that the mapping names, as SQL: of a row that is kept, they and its key leave the table, and nothing else.
    fn kept_columns(&self) -> String {
        let is_named = |column: &&String| self.rules.iter().any(|rule| rule.reads(column));
        let columns: Vec<String> =
            self.table.columns.iter().filter(is_named).map(|column| literal(column).trim_start().to_owned()).collect();
        format!("array[{}]::text[]", columns.join(", "))
    }

    /// Captures the one row for which the trigger fires.
    fn row_body(&self) -> String {
        let inserts = self.for_each_operation(|operation| {
            let row = match operation {
                Operation::Insert => "(select new.*) as new",
                Operation::Update => "(select new.*) as new cross join (select old.*) as old",
                Operation::Delete => "(select old.*) as old",
            };
            // PostgreSQL hands over the old and the new row as a pair, so no key is needed.
            event::insert(self.rules, operation, &[], self.levels, row)
        });
        let ring = ring();
        let (old, new) = (key_text(&self.key(), "old"), key_text(&self.key(), "new"));
        let key = format!("case tg_op when 'DELETE' then {old} else {new} end");
        let kept = self.keep_row("andon.row_image(tg_relid, new), andon.row_image(tg_relid, old)", &key);
        format!(
            "
#variable_conflict use_column
declare
    code   text;
    reason text;
begin
    begin
{2}{ring}        return null;
    exception when transaction_rollback then
        -- A serialization failure or a deadlock. The application answers it by running its transaction again, which captures the event.
        raise;
    when others then
        -- A cancel (statement_timeout, Ctrl-C) is not among the others: it ends the plant's statement here as it would anywhere in it,
        -- and neither row nor event is kept.
        get stacked diagnostics code = returned_sqlstate, reason = message_text;
    end;
    begin
{0}    exception when transaction_rollback then
        raise;
    when others then
        raise warning 'andon: % of % not captured (% %), and that could not be recorded: %', tg_op, {1}, code, reason, sqlerrm;
    end;
    return null;
end ",
            indent(&kept, 2),
            literal(&self.name.to_string()),
            indent(&inserts, 2),
        )
    }

    /// Returns the columns of the primary key, as SQL.
    fn key(&self) -> Vec<String> {
        self.table.key.iter().map(|column| identifier(column)).collect()
    }

    /// `if … elsif …` over the operations; a single operation needs no condition.
    fn for_each_operation(&self, body: impl Fn(Operation) -> String) -> String {
        if let [only] = self.operations {
            return body(*only);
        }
        let mut sql = String::new();
        for (index, operation) in self.operations.iter().enumerate() {
            let word = if index == 0 { "if" } else { "elsif" };
            sql.push_str(&format!(
                "{word} tg_op = '{}' then\n{}",
                operation.name().to_uppercase(),
                indent(&body(*operation), 1)
            ));
        }
        sql + "end if;\n"
    }
}

/// Returns the key of a row as text, for the record of a failure, written like the id of an entity.
fn key_text(key: &[String], row: &str) -> String {
    match key {
        [] => "null".to_owned(),
        [only] => format!("concat_ws('/', {row}.{only})"),
        several => {
            let part = |column: &String| format!("replace(replace({row}.{column}::text, '~', '~0'), '/', '~1')");
            format!("concat_ws('/', {})", several.iter().map(part).collect::<Vec<_>>().join(", "))
        }
    }
}

fn indent(sql: &str, levels: usize) -> String {
    sql.lines()
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{}{line}\n", "    ".repeat(levels)) })
        .collect()
}
