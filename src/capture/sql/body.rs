//! The body of a trigger function. In: the table as the database has it, and its rules. Out: PL/pgSQL that captures changes and never fails
//! the plant's statement: what cannot be captured is recorded instead. It executes nothing.

use std::collections::HashSet;

use crate::capture::mapping::Operation;
use crate::capture::mapping::TableName;
use crate::capture::sql::event;
use crate::capture::sql::event::Rule;
use crate::capture::sql::fallback::Fallback;
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

/// The classes of errors that are the fault of one row.
pub(super) const OF_A_ROW: &str = "'22', '23', '54', 'P0', 'XX'";

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
            event::insert(self.rules, operation, &self.table.key, self.levels, &self.all_rows(operation))
        });
        let row_by_row = self.for_each_operation(|operation| self.row_by_row(operation));
        let (mut kept_rows, variables) = self.without_lookups(|operation| self.fallback(operation));
        kept_rows.push_str(&self.for_each_operation(|operation| self.keep_rows(operation)));
        let (source, table_name) = (literal(self.source), literal(&self.name.to_string()));
        let attempt = attempt(&all_rows);
        format!(
            "
#variable_conflict use_column
declare
    code     text;
    reason   text;
    pair     record;
    captured boolean := false;
    failures bigint := 0;
{variables}begin
{attempt}    begin
        if left(code, 2) not in ({OF_A_ROW}) then
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
            indent(&kept_rows, 3),
            indent(&row_by_row, 2)
        )
    }

    /// Returns all rows of a statement.
    fn all_rows(&self, operation: Operation) -> String {
        match operation {
            Operation::Insert => "new_rows as new".to_owned(),
            Operation::Update => self.paired_rows(),
            Operation::Delete => "old_rows as old".to_owned(),
            Operation::Truncate => Operation::NO_ROW.to_owned(),
        }
    }

    /// Returns the insert of all rows that can do without lookups, as an attempt.
    fn fallback(&self, operation: Operation) -> Option<String> {
        let rows = self.all_rows(operation);
        let fallback = Fallback::new(self.rules, operation, &self.table.key, self.levels, &rows)?;
        Some(fallback.attempt(&literal(self.source), &literal(&self.name.to_string()), ""))
    }

    /// Returns the attempts of all operations, and the variables that they need; nothing where no operation has one.
    pub(super) fn without_lookups(&self, attempt: impl Fn(Operation) -> Option<String>) -> (String, &'static str) {
        if self.operations.iter().all(|operation| attempt(*operation).is_none()) {
            return (String::new(), "");
        }
        let attempts = self.for_each_operation(|operation| attempt(operation).unwrap_or_else(|| "null;\n".to_owned()));
        (attempts, "    failing  integer[];\n    said     text;\n    made     bigint;\n")
    }

    /// Returns the rows before and after an update, paired by key. A full join is hashed or merged, never nested: rows times rows would
    /// take hours for a large statement.
    fn paired_rows(&self) -> String {
        paired("new_rows", "old_rows", &self.table.key)
    }

    /// Returns the loop that captures the rows of a statement one by one, and records those that fail.
    fn row_by_row(&self, operation: Operation) -> String {
        let (new, old) = (self.typed_row("new"), self.typed_row("old"));
        let changed = match operation {
            Operation::Insert => format!("select {new} from new_rows as new"),
            Operation::Update => format!("select {new}, {old} from {}", self.paired_rows()),
            Operation::Delete => format!("select {old} from old_rows as old"),
            Operation::Truncate => return self.keep_nothing(),
        };
        let one = match operation {
            Operation::Insert => "(select (pair.new).*) as new",
            Operation::Update => "(select (pair.new).*) as new cross join (select (pair.old).*) as old",
            Operation::Delete | Operation::Truncate => "(select (pair.old).*) as old",
        };
        // A side that has no partner is a row of nulls, and no row.
        let image = |side: &str| match self.key().first() {
            Some(key) => {
                format!("case when (pair.{side}).{key} is not null then andon.row_image(tg_relid, pair.{side}) end")
            }
            None => format!("andon.row_image(tg_relid, pair.{side})"),
        };
        let (images, row) = match operation {
            Operation::Insert => ("andon.row_image(tg_relid, pair.new), null".to_owned(), "(pair.new)"),
            Operation::Update => (format!("{}, {}", image("new"), image("old")), "(pair.new)"),
            Operation::Delete | Operation::Truncate => {
                ("null, andon.row_image(tg_relid, pair.old)".to_owned(), "(pair.old)")
            }
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
            indent(&self.keep_row(&images, &key_text(&self.key(), row)), 3)
        )
    }

    /// Returns a row of the statement, as one value of the table's type. The type is named in a statement and not in the declarations. If the
    /// table is renamed, a statement fails, and that is caught; a declaration would make the plant's statement fail.
    fn typed_row(&self, row: &str) -> String {
        let Table { sql, columns, computed, .. } = self.table;
        if computed.is_empty() {
            // It is written `new.*`, because `new` alone would be a column of that name, if the table has one.
            return format!("{row}.*::{sql} as {row}");
        }
        // PostgreSQL refuses to read a column that is computed when it is read.
        let is_computed = |column: &String| computed.iter().any(|(name, _)| name == column);
        let value = |column: &String| {
            if is_computed(column) { "null".to_owned() } else { format!("{row}.{}", identifier(column)) }
        };
        let values: Vec<String> = columns.iter().map(value).collect();
        format!("row({})::{sql} as {row}", values.join(", "))
    }

    /// Returns what keeps all rows of a statement, each with its images. Old and new rows are paired by the key that the table has now, which
    /// may have been renamed.
    fn keep_rows(&self, operation: Operation) -> String {
        let (images, counted) = match operation {
            Operation::Insert => {
                ("select andon.row_image(tg_relid, new.*) as new_row, null::jsonb as old_row from new_rows as new", "new_rows")
            }
            Operation::Update => (
                "select andon.row_image(tg_relid, new.*) as new_row, andon.row_image(tg_relid, old.*) as old_row from new_rows as new
    full join old_rows as old on andon.row_key(tg_relid, andon.row_image(tg_relid, new.*)) = andon.row_key(tg_relid, andon.row_image(tg_relid, old.*))",
                "new_rows",
            ),
            Operation::Delete => {
                ("select null::jsonb as new_row, andon.row_image(tg_relid, old.*) as old_row from old_rows as old", "old_rows")
            }
            Operation::Truncate => return self.keep_nothing(),
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
    pub(super) fn keep_row(&self, images: &str, key: &str) -> String {
        self.keep_or_key(&self.keep(images), key)
    }

    pub(super) fn keep(&self, images: &str) -> String {
        let (source, table) = (literal(self.source), literal(&self.name.to_string()));
        let columns = self.kept_columns();
        format!(
            "perform andon.capture_failed({source}, {table}, lower(tg_op), tg_relid, {columns}, code, reason, {images});\n"
        )
    }

    /// Returns statements that keep rows, and what keeps the key alone if they fail.
    pub(super) fn keep_or_key(&self, kept: &str, key: &str) -> String {
        let (source, table) = (literal(self.source), literal(&self.name.to_string()));
        format!(
            "begin
{}exception when transaction_rollback then
    raise;
when others then
    perform andon.capture_failed({source}, {table}, lower(tg_op), {key}, code, reason);
end;
",
            indent(kept, 1)
        )
    }

    /// Returns what records a truncate that could not be captured. There is no row to keep.
    pub(super) fn keep_nothing(&self) -> String {
        let (source, table) = (literal(self.source), literal(&self.name.to_string()));
        format!("perform andon.capture_failed({source}, {table}, lower(tg_op), null, code, reason);\n")
    }

    /// Returns the columns that the mapping names, as SQL: of a row that is kept, they and its key leave the table, and nothing else.
    fn kept_columns(&self) -> String {
        let read: HashSet<String> = self.rules.iter().flat_map(Rule::columns_read).collect();
        let columns = self.table.columns.iter().filter(|column| read.contains(*column));
        let columns: Vec<String> = columns.map(|column| literal(column).trim_start().to_owned()).collect();
        format!("array[{}]::text[]", columns.join(", "))
    }

    /// Returns the columns of the primary key, as SQL.
    pub(super) fn key(&self) -> Vec<String> {
        self.table.key.iter().map(|column| identifier(column)).collect()
    }

    /// `if … elsif …` over the operations; a single operation needs no condition.
    pub(super) fn for_each_operation(&self, body: impl Fn(Operation) -> String) -> String {
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

/// Returns the attempt to capture by these inserts, after which the function is done, or knows what went wrong.
pub(super) fn attempt(inserts: &str) -> String {
    let (inserts, ring) = (indent(inserts, 2), ring());
    format!(
        "    begin
{inserts}{ring}        return null;
    exception when transaction_rollback then
        -- A serialization failure or a deadlock. The application answers it by running its transaction again, which captures the event.
        raise;
    when others then
        -- A cancel (statement_timeout, Ctrl-C) is not among the others: it ends the plant's statement here as it would anywhere in it,
        -- and neither row nor event is kept.
        get stacked diagnostics code = returned_sqlstate, reason = message_text;
    end;
"
    )
}

/// Returns a `from` item that pairs the rows of two tables by the key.
pub(crate) fn paired(new: &str, old: &str, key: &[String]) -> String {
    let pairs: Vec<String> =
        key.iter().map(|column| identifier(column)).map(|it| format!("new.{it} = old.{it}")).collect();
    format!("{new} as new full join {old} as old on {}", pairs.join(" and "))
}

/// Returns the key of a row as text, for the record of a failure, written like the id of an entity.
pub(super) fn key_text(key: &[String], row: &str) -> String {
    match key {
        [] => "null".to_owned(),
        [only] => format!("concat_ws('/', {row}.{only})"),
        several => {
            let part = |column: &String| format!("replace(replace({row}.{column}::text, '~', '~0'), '/', '~1')");
            format!("concat_ws('/', {})", several.iter().map(part).collect::<Vec<_>>().join(", "))
        }
    }
}

pub(super) fn indent(sql: &str, levels: usize) -> String {
    sql.lines()
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{}{line}\n", "    ".repeat(levels)) })
        .collect()
}
