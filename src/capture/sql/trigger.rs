//! The SQL that captures one table. In: the table as the database has it, and its rules. Out: a trigger function and its triggers, as text
//! that a DBA can read and run. It executes nothing.

use sha2::Digest;
use sha2::Sha256;

use crate::capture::mapping::Operation;
use crate::capture::mapping::TableName;
use crate::capture::sql::body::TriggerFunction;
use crate::capture::sql::event;
use crate::capture::sql::event::Rule;
use crate::capture::sql::quote::dollar_quote;
use crate::capture::sql::quote::identifier;
use crate::capture::sql::quote::literal;
use crate::capture::table::PlantTrigger;
use crate::capture::table::Table;
use crate::capture::table::TriggerLevel;

/// PostgreSQL cuts longer names.
const LONGEST_NAME: usize = 63;

/// The function and the triggers that capture one table.
#[derive(Debug, Clone)]
pub struct GeneratedCapture {
    /// The table, for people.
    pub table: String,
    /// The function, as SQL.
    pub function: String,
    /// The function's body, to compare with the installed one.
    pub body: String,
    /// The function's comment: the source it belongs to, and a fingerprint of its definition.
    pub comment: String,
    /// Whether the triggers fire once for each row.
    pub is_row_level: bool,
    /// The trigger of the plant's own that Andon's have to come before.
    pub before: Option<String>,
    /// The statements that create the function, revoke the right to call it, and set its comment.
    pub create_function: String,
    /// The triggers.
    pub triggers: Vec<GeneratedTrigger>,
}

/// A trigger that runs the function.
#[derive(Debug, Clone)]
pub struct GeneratedTrigger {
    /// Its name, as the catalogue has it.
    pub name: String,
    /// The table that has the trigger, as SQL.
    pub table: String,
    /// The statement that creates it.
    pub create: String,
}

/// Generates the function and the triggers that capture one table.
pub fn generate(
    source: &str,
    name: &TableName,
    table: &Table,
    rules: &[Rule],
    levels: &[(String, String)],
) -> GeneratedCapture {
    let function = function(source, name);
    let operations: Vec<Operation> =
        Operation::ALL.into_iter().filter(|operation| rules.iter().any(|rule| rule.operation == *operation)).collect();
    let body = TriggerFunction { source, name, table, operations: &operations, rules, levels }.body();
    let clauses = event::pins(rules).clauses();
    let quote = dollar_quote(&body);
    // The right to call the function is revoked because with it, the owner of any table could write events in the name of another.
    let definition = format!(
        "create or replace function {function}() returns trigger
language plpgsql security definer {clauses} as {quote}{body}{quote};
revoke all on function {function}() from public;
"
    );
    let comment = format!("{}{name} [{}]", comment_prefix(source), digest(&definition));
    let create_function = format!("{definition}comment on function {function}() is {};\n", literal(&comment));
    let triggers = triggers(source, table, &function, &operations);
    let is_row_level = table.level != TriggerLevel::Statement;
    let before = table
        .plant_triggers
        .iter()
        .find(|it| it.is_after_row())
        .or_else(|| table.plant_triggers.iter().find(|it| it.is_after()));
    let before = before.map(|trigger| trigger.name.clone());
    GeneratedCapture {
        table: name.to_string(),
        function,
        body,
        comment,
        is_row_level,
        before,
        create_function,
        triggers,
    }
}

/// Returns the name of the trigger for an operation. PostgreSQL fires the triggers of a row, and those of a statement, in the order of their
/// names, and `!` sorts before every letter: the event of a change comes before what the plant's own triggers do about it.
pub fn trigger_name(source: &str, table: &Table, operation: Operation) -> String {
    let is_alone = table.level == TriggerLevel::Statement && !table.plant_triggers.iter().any(PlantTrigger::is_after);
    let first = if is_alone && operation != Operation::Truncate { "" } else { "!" };
    format!("{first}andon_{source}_{}", operation.name())
}

fn triggers(source: &str, table: &Table, function: &str, operations: &[Operation]) -> Vec<GeneratedTrigger> {
    let targets = match &table.level {
        TriggerLevel::Statement => std::slice::from_ref(&table.sql),
        TriggerLevel::Row { targets } => targets,
    };
    let mut triggers = Vec::new();
    for operation in operations {
        let name = trigger_name(source, table, *operation);
        let level = match (&table.level, operation) {
            (_, Operation::Truncate) => "for each statement",
            (TriggerLevel::Row { .. }, _) => "for each row",
            (_, Operation::Insert) => "referencing new table as new_rows for each statement",
            (_, Operation::Update) => "referencing old table as old_rows new table as new_rows for each statement",
            (_, Operation::Delete) => "referencing old table as old_rows for each statement",
        };
        // To empty a table empties those that inherit from it, and is one event.
        let targets = if *operation == Operation::Truncate { std::slice::from_ref(&table.sql) } else { targets };
        for target in targets {
            let create = format!(
                "create or replace trigger {} after {} on {target}\n    {level} execute function {function}();\n",
                identifier(&name),
                operation.name()
            );
            triggers.push(GeneratedTrigger { name: name.clone(), table: target.clone(), create });
        }
    }
    triggers
}

/// Returns the beginning of the comments of a source's functions, by which attaching and detaching find them.
pub fn comment_prefix(source: &str) -> String {
    format!("andon source {source}: captures ")
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the function that captures a table, as SQL.
pub(crate) fn function(source: &str, name: &TableName) -> String {
    format!("andon.{}", identifier(&function_name(source, name)))
}

fn function_name(source: &str, name: &TableName) -> String {
    let plain = format!("capture_{source}_{}", name.table);
    if name.schema == "public" && plain.len() <= LONGEST_NAME {
        return plain;
    }
    // Another schema and table could be joined to the same words, and a name that is cut certainly could equal another one.
    let digest = digest(&name.to_string());
    let mut long = format!("capture_{source}_{}_{}", name.schema, name.table);
    while long.len() > LONGEST_NAME - digest.len() - 1 {
        long.pop();
    }
    format!("{long}_{digest}")
}

#[cfg(test)]
mod tests {
    use super::function_name;
    use super::generate;
    use crate::capture::finding::Location;
    use crate::capture::mapping::Lookup;
    use crate::capture::mapping::Operation;
    use crate::capture::mapping::TableName;
    use crate::capture::mapping::Text;
    use crate::capture::sql::event::Rule;
    use crate::capture::sql::settings::Pins;
    use crate::capture::table::Table;
    use crate::capture::table::TriggerLevel;

    fn rule(operation: Operation, event: &str) -> Rule {
        let on = Text { field: String::new(), sql: "cell.id = this.cell_id".to_owned(), location: Location::START };
        Rule {
            operation,
            of: vec![],
            when: None,
            event: format!("'{event}'"),
            entity_type: "job".to_owned(),
            entity_id: format!("{}.id", operation.row()),
            tenant: Some("this.tenant_id".to_owned()),
            occurred_at: None,
            lookups: vec![Lookup {
                alias: "cell".to_owned(),
                table: TableName::new("cells", Location::START),
                on,
                is_optional: false,
            }],
            lookup_columns: vec![("cell".to_owned(), "name".to_owned(), "pg_catalog.text".to_owned())],
            pins: Pins::default(),
            context: vec![("cell".to_owned(), "cell.name".to_owned())],
            data: vec![("status".to_owned(), format!("{}.status", operation.row()))],
        }
    }

    fn sql(level: TriggerLevel) -> String {
        sql_of(level, &[])
    }

    fn sql_of(level: TriggerLevel, computed: &[(&str, &str)]) -> String {
        let computed = computed.iter().map(|(name, sql)| ((*name).to_owned(), (*sql).to_owned())).collect();
        let name = TableName::new("jobs", Location::START);
        let columns = ["id", "tenant_id", "cell_id", "status"].map(str::to_owned).to_vec();
        let plant_triggers = Vec::new();
        let table = Table { sql: name.sql(), columns, key: vec!["id".to_owned()], computed, level, plant_triggers };
        let mut started = rule(Operation::Update, "job.started");
        started.of = vec!["status".to_owned()];
        started.when = Some("new.status = 'in_progress'".to_owned());
        let rules = [rule(Operation::Insert, "job.created"), started, rule(Operation::Update, "job.updated")];
        let installation = generate("mes", &name, &table, &rules, &[("site".to_owned(), "main".to_owned())]);
        let triggers: String = installation.triggers.iter().map(|trigger| trigger.create.as_str()).collect();
        installation.create_function + &triggers
    }

    #[test]
    fn a_table_is_captured_statement_by_statement() {
        insta::assert_snapshot!(sql(TriggerLevel::Statement));
    }

    #[test]
    fn a_partitioned_table_is_captured_row_by_row() {
        insta::assert_snapshot!(sql(TriggerLevel::Row { targets: vec!["public.jobs".to_owned()] }));
    }

    #[test]
    fn a_column_that_is_computed_when_it_is_read_is_never_read_of_a_changed_row() {
        let sql = sql_of(TriggerLevel::Statement, &[("cell_id", "(id + 1)")]);

        assert!(sql.contains("select row(new.id, new.tenant_id, null, new.status)::public.jobs as new from"), "{sql}");
        assert!(!sql.contains("new.*::") && !sql.contains("old.*::"), "{sql}");
    }

    #[test]
    fn function_names_stay_apart_and_within_the_limit() {
        let name = |table: &str| function_name("mes", &TableName::new(table, Location::START));

        assert_eq!(name("jobs"), "capture_mes_jobs");
        assert_ne!(name("a.b_c"), name("a_b.c"));
        assert!(name(&"long".repeat(20)).len() <= 63);
        assert_ne!(name(&"long".repeat(20)), name(&"long".repeat(21)));
    }
}
