//! The SQL of one table's capture. In: the table as it is and its rungs. Out: one function and its triggers, as text that a DBA can read
//! and run. It executes nothing.

use sha2::Digest;
use sha2::Sha256;

use crate::capture::mapping::Operation;
use crate::capture::mapping::TableName;
use crate::capture::sql::event;
use crate::capture::sql::event::Rung;
use crate::capture::sql::quote::identifier;
use crate::capture::sql::quote::literal;
use crate::capture::table::Firing;
use crate::capture::table::Table;
use crate::database::locks::Lock;

/// PostgreSQL cuts longer names.
const LONGEST_NAME: usize = 63;

/// What `andon.ring()` does, in place. A call of it would be half the price of a small capture, most of it for setting a search path
/// that is set here already.
fn ring() -> String {
    format!(
        "        if found then
            if not pg_try_advisory_xact_lock_shared({}) then
                perform pg_notify('andon', '');
            end if;
        end if;
",
        Lock::Bell
    )
}

/// What is to be installed for one table.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The table, for people.
    pub table: String,
    /// The function, for SQL.
    pub function: String,
    /// The function's body, to compare with what is installed.
    pub body: String,
    /// The function's comment: whose it is, and a fingerprint of all of it.
    pub comment: String,
    /// Whether the triggers fire for each row.
    pub is_row: bool,
    /// `create or replace function …`, and what belongs to it.
    pub create_function: String,
    /// The triggers.
    pub triggers: Vec<Trigger>,
}

/// One trigger.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// Its name, as the catalogue has it.
    pub name: String,
    /// The table it sits on, for SQL.
    pub table: String,
    /// `create or replace trigger …`
    pub create: String,
}

/// Generates the function and the triggers of one table.
pub fn generate(
    source: &str,
    name: &TableName,
    table: &Table,
    rungs: &[Rung],
    levels: &[(String, String)],
) -> Installation {
    let function = format!("andon.{}", identifier(&function_name(source, name)));
    let operations: Vec<Operation> =
        Operation::ALL.into_iter().filter(|operation| rungs.iter().any(|rung| rung.operation == *operation)).collect();
    let body = match &table.firing {
        Firing::Statement => statement_body(source, name, table, &operations, rungs, levels),
        Firing::Row { .. } => row_body(source, name, table, &operations, rungs, levels),
    };
    // Pinned: the search path, so that nobody can slip in a function or a table of their own; the zone, so that the same row gives
    // the same event whoever changes it; no JIT, because a session keeps the plan of its first statement, and after a large one each
    // single row would be compiled for. Revoked: with it, the owner of any table could write events in another's name.
    let definition = format!(
        "create or replace function {function}() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' set jit = off as $andon${body}$andon$;
revoke all on function {function}() from public;
"
    );
    let comment = format!("{}{name} [{}]", mark(source), digest(&definition));
    let create_function = format!("{definition}comment on function {function}() is {};\n", literal(&comment));
    let targets = match &table.firing {
        Firing::Statement => vec![table.sql.clone()],
        Firing::Row { targets, .. } => targets.clone(),
    };
    let mut triggers = Vec::new();
    for operation in operations {
        let trigger = format!("andon_{source}_{}", operation.name());
        let firing = match (&table.firing, operation) {
            (Firing::Row { .. }, _) => "for each row",
            (_, Operation::Insert) => "referencing new table as new_rows for each statement",
            (_, Operation::Update) => "referencing old table as old_rows new table as new_rows for each statement",
            (_, Operation::Delete) => "referencing old table as old_rows for each statement",
        };
        for target in &targets {
            let create = format!(
                "create or replace trigger {} after {} on {target}\n    {firing} execute function {function}();\n",
                identifier(&trigger),
                operation.name()
            );
            triggers.push(Trigger { name: trigger.clone(), table: target.clone(), create });
        }
    }
    let is_row = table.firing != Firing::Statement;
    Installation { table: name.to_string(), function, body, comment, is_row, create_function, triggers }
}

/// How the comments of a source's functions begin; `detach` knows them by it.
pub fn mark(source: &str) -> String {
    format!("andon source {source}: captures ")
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn function_name(source: &str, name: &TableName) -> String {
    let plain = format!("capture_{source}_{}", name.table);
    if name.schema == "public" && plain.len() <= LONGEST_NAME {
        return plain;
    }
    // Schema and table could meet in the same words as another pair does, and a cut name certainly could.
    let digest = digest(&name.to_string());
    let mut long = format!("capture_{source}_{}_{}", name.schema, name.table);
    while long.len() > LONGEST_NAME - digest.len() - 1 {
        long.pop();
    }
    format!("{long}_{digest}")
}

fn statement_body(
    source: &str,
    name: &TableName,
    table: &Table,
    operations: &[Operation],
    rungs: &[Rung],
    levels: &[(String, String)],
) -> String {
    let key: Vec<String> = table.key.iter().map(|column| identifier(column)).collect();
    let pairs: Vec<String> = key.iter().map(|column| format!("new.{column} = old.{column}")).collect();
    // A full join is hashed or merged, never nested: rows times rows would take hours for a large statement.
    let paired = format!("new_rows as new full join old_rows as old on {}", pairs.join(" and "));
    let rows = |operation| match operation {
        Operation::Insert => "new_rows as new".to_owned(),
        Operation::Update => paired.clone(),
        Operation::Delete => "old_rows as old".to_owned(),
    };
    // The type is named in a statement and not in the declarations: should the table be renamed, a statement fails, and is caught; a
    // declaration would make the plant's statement fail.
    let row_type = &table.sql;
    let set = branches(operations, |operation| event::insert(rungs, operation, &table.key, levels, &rows(operation)));
    let singles = branches(operations, |operation| {
        let changed = match operation {
            Operation::Insert => format!("select new::{row_type} as new from new_rows as new"),
            Operation::Update => format!("select new::{row_type} as new, old::{row_type} as old from {paired}"),
            Operation::Delete => format!("select old::{row_type} as old from old_rows as old"),
        };
        let one = match operation {
            Operation::Insert => "(select (pair.new).*) as new",
            Operation::Update => "(select (pair.new).*) as new cross join (select (pair.old).*) as old",
            Operation::Delete => "(select (pair.old).*) as old",
        };
        let single = indent(&event::insert(rungs, operation, &table.key, levels, one), 2);
        format!(
            "for pair in {changed} loop
    begin
{single}        captured := captured or found;
    exception when others then
        get stacked diagnostics code = returned_sqlstate, reason = message_text;
        failures := failures + 1;
        if failures <= 100 then
            perform andon.capture_failed({}, {}, lower(tg_op), {}, code, reason);
        end if;
    end;
end loop;
",
            literal(source),
            literal(&name.to_string()),
            key_text(&key, if operation == Operation::Delete { "(pair.old)" } else { "(pair.new)" })
        )
    });
    let (source, table_name) = (literal(source), literal(&name.to_string()));
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
    exception when others then
        -- A cancel (statement_timeout, Ctrl-C) is not among the others: it ends the plant's statement here as it would anywhere in it,
        -- and neither row nor event is kept.
        get stacked diagnostics code = returned_sqlstate, reason = message_text;
    end;
    begin
        if left(code, 2) not in ('22', '23', 'P0') then
            -- Not the fault of one row: a column that is gone, a full disk. Each row would fail alike.
            perform andon.capture_failed({source}, {table_name}, lower(tg_op), null, code, reason);
            return null;
        end if;
        -- The fault of some rows: the others are captured one by one.
{}        if failures > 100 then
            perform andon.capture_failed({source}, {table_name}, lower(tg_op), null, code,
                format('%s more rows of the same statement failed; the last: %s', failures - 100, reason));
        end if;
        if captured then
            perform andon.ring();
        end if;
    exception when others then
        begin
            perform andon.capture_failed({source}, {table_name}, lower(tg_op), null, code, reason);
        exception when others then
            raise warning 'andon: % of % not captured (% %), and that could not be recorded: %', tg_op, {table_name}, code, reason, sqlerrm;
        end;
    end;
    return null;
end ",
        indent(&set, 2),
        indent(&singles, 2)
    )
}

fn row_body(
    source: &str,
    name: &TableName,
    table: &Table,
    operations: &[Operation],
    rungs: &[Rung],
    levels: &[(String, String)],
) -> String {
    let inserts = branches(operations, |operation| {
        let row = match operation {
            Operation::Insert => "(select new.*) as new",
            Operation::Update => "(select new.*) as new cross join (select old.*) as old",
            Operation::Delete => "(select old.*) as old",
        };
        // Old and new come paired, so no key is needed for it.
        event::insert(rungs, operation, &[], levels, row)
    });
    let key: Vec<String> = table.key.iter().map(|column| identifier(column)).collect();
    let ring = ring();
    format!(
        "
#variable_conflict use_column
declare
    code   text;
    reason text;
begin
    begin
{4}{ring}        return null;
    exception when others then
        -- A cancel (statement_timeout, Ctrl-C) is not among the others: it ends the plant's statement here as it would anywhere in it,
        -- and neither row nor event is kept.
        get stacked diagnostics code = returned_sqlstate, reason = message_text;
    end;
    begin
        perform andon.capture_failed({0}, {1}, lower(tg_op), case tg_op when 'DELETE' then {2} else {3} end, code, reason);
    exception when others then
        raise warning 'andon: % of % not captured (% %), and that could not be recorded: %', tg_op, {1}, code, reason, sqlerrm;
    end;
    return null;
end ",
        literal(source),
        literal(&name.to_string()),
        key_text(&key, "old"),
        key_text(&key, "new"),
        indent(&inserts, 2),
    )
}

/// `if … elsif …` over the operation; a single one needs none.
fn branches(operations: &[Operation], body: impl Fn(Operation) -> String) -> String {
    if let [only] = operations {
        return body(*only);
    }
    let mut sql = String::new();
    for (place, operation) in operations.iter().enumerate() {
        let word = if place == 0 { "if" } else { "elsif" };
        sql.push_str(&format!(
            "{word} tg_op = '{}' then\n{}",
            operation.name().to_uppercase(),
            indent(&body(*operation), 1)
        ));
    }
    sql + "end if;\n"
}

fn key_text(key: &[String], row: &str) -> String {
    let columns: Vec<String> = key.iter().map(|column| format!("{row}.{column}")).collect();
    if columns.is_empty() { "null".to_owned() } else { format!("concat_ws('/', {})", columns.join(", ")) }
}

fn indent(sql: &str, levels: usize) -> String {
    sql.lines()
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{}{line}\n", "    ".repeat(levels)) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::function_name;
    use super::generate;
    use crate::capture::finding::Place;
    use crate::capture::mapping::Lookup;
    use crate::capture::mapping::Operation;
    use crate::capture::mapping::TableName;
    use crate::capture::mapping::Text;
    use crate::capture::sql::event::Rung;
    use crate::capture::table::Firing;
    use crate::capture::table::Table;

    const PLACE: Place = Place { line: 1, column: 1 };

    fn rung(operation: Operation, event: &str) -> Rung {
        let on = Text { field: String::new(), sql: "cell.id = this.cell_id".to_owned(), place: PLACE };
        Rung {
            operation,
            of: vec![],
            when: None,
            event: format!("'{event}'"),
            entity_type: "job".to_owned(),
            entity_id: format!("{}.id", operation.row()),
            tenant: Some("this.tenant_id".to_owned()),
            occurred_at: None,
            lookups: vec![Lookup { alias: "cell".to_owned(), table: TableName::new("cells", PLACE), on }],
            context: vec![("cell".to_owned(), "cell.name".to_owned())],
            data: vec![("status".to_owned(), format!("{}.status", operation.row()))],
        }
    }

    fn sql(firing: Firing) -> String {
        let name = TableName::new("jobs", PLACE);
        let columns = ["id", "tenant_id", "cell_id", "status"].map(str::to_owned).to_vec();
        let table = Table { sql: name.sql(), columns, key: vec!["id".to_owned()], firing };
        let mut started = rung(Operation::Update, "job.started");
        started.of = vec!["status".to_owned()];
        started.when = Some("new.status = 'in_progress'".to_owned());
        let rungs = [rung(Operation::Insert, "job.created"), started, rung(Operation::Update, "job.updated")];
        let installation = generate("mes", &name, &table, &rungs, &[("site".to_owned(), "main".to_owned())]);
        let triggers: String = installation.triggers.iter().map(|trigger| trigger.create.as_str()).collect();
        installation.create_function + &triggers
    }

    #[test]
    fn a_table_is_captured_statement_by_statement() {
        insta::assert_snapshot!(sql(Firing::Statement));
    }

    #[test]
    fn a_partitioned_table_is_captured_row_by_row() {
        insta::assert_snapshot!(sql(Firing::Row { reason: "partitioned", targets: vec!["public.jobs".to_owned()] }));
    }

    #[test]
    fn function_names_stay_apart_and_within_the_limit() {
        let name = |table: &str| function_name("mes", &TableName::new(table, PLACE));

        assert_eq!(name("jobs"), "capture_mes_jobs");
        assert_ne!(name("a.b_c"), name("a_b.c"));
        assert!(name(&"long".repeat(20)).len() <= 63);
        assert_ne!(name(&"long".repeat(20)), name(&"long".repeat(21)));
    }
}
