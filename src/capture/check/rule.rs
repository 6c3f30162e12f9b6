//! Turns an entry of the mapping into rules for the SQL generator. In: the entry and its table. Out: one rule for each operation, complete
//! and with every expression checked; where something does not fit, a finding, and a rule that must not be installed.

use tokio_postgres::Error;
use tokio_postgres::types::Type;

use crate::capture::check::checker::Checker;
use crate::capture::check::computed;
use crate::capture::check::enums;
use crate::capture::check::event_type;
use crate::capture::check::pins;
use crate::capture::mapping::Capture;
use crate::capture::mapping::EVERY;
use crate::capture::mapping::EventType;
use crate::capture::mapping::Lookup;
use crate::capture::mapping::Operation;
use crate::capture::mapping::Text;
use crate::capture::scope::Scope;
use crate::capture::sensitivity::Rows;
use crate::capture::sensitivity::Use;
use crate::capture::sql::event;
use crate::capture::sql::event::Rule;
use crate::capture::sql::fallback;
use crate::capture::sql::quote::identifier;
use crate::capture::sql::quote::literal;
use crate::capture::table::Found;
use crate::capture::table::Table;

/// Returns the rules of one entry.
pub(super) async fn rules(checker: &mut Checker<'_>, capture: &Capture, table: &Table) -> Result<Vec<Rule>, Error> {
    let began = checker.begin();
    let mut of = Vec::new();
    for column in &capture.of {
        if checker.column(capture, column, table) {
            of.push(column.sql.clone());
        }
    }
    if of.is_empty() && !capture.of.is_empty() && checker.findings.len() == began {
        // Without its columns, an optional `of` would take every update.
        let message = "no column of it is there, so that the entry is left out";
        let finding = checker.finding(&capture.entry(), "of", capture.of[0].location, message);
        checker.leave_out(capture, "", finding);
        return Ok(Vec::new());
    }
    let mut columns = Vec::new();
    for column in &capture.columns {
        if checker.column(capture, column, table) {
            columns.push(column);
        }
    }
    computed::refuse(checker, capture, table);
    if capture.entity_id.is_none() && table.key.is_empty() && !capture.is_truncate() {
        let message = format!("is missing, and {} has no primary key to take it from", capture.table);
        checker.report(&capture.entry(), "entity_id", capture.location, message);
    }
    let mut rules = Vec::new();
    for operation in &capture.operations {
        rules.push(rule(checker, capture, *operation, table, &of, &columns).await?);
    }
    Ok(if checker.ends_left_out(capture, began) { Vec::new() } else { rules })
}

async fn rule(
    checker: &mut Checker<'_>,
    capture: &Capture,
    operation: Operation,
    table: &Table,
    of: &[String],
    columns: &[&Text],
) -> Result<Rule, Error> {
    let mut scope = Scope::of(operation, table);
    if let Some(when) = &capture.when {
        checker.condition(capture, &scope, when).await?;
    }
    scope.add_this(operation, table);
    let lookups = lookups(checker, capture, &mut scope).await?;
    let event = event_type::sql(checker, capture, &scope, table).await?;
    for text in [&capture.entity_id, &capture.tenant].into_iter().flatten() {
        checker.expression(capture, &scope, text).await?;
    }
    let occurred_at = occurred_at(checker, capture, &scope).await?;
    let mut context = Vec::new();
    for (name, text) in &capture.context {
        if checker.leaves_out(capture, &scope, text).await? {
            continue;
        }
        context.push((name.clone(), checker.value(capture, &scope, text).await?));
    }
    let data = data(checker, capture, &scope, operation, columns).await?;
    let entity_id = entity_id(capture, operation, table);
    let rows = pins::rows(checker, Some(operation), table, &lookups).await?;
    let sent: Vec<&(String, String)> = context.iter().chain(&data).collect();
    let used = used(checker, capture, &scope, &entity_id, &sent).await?;
    let pins = pins::of_rule(checker, table, &lookups, &rows, &used).await?;
    let shown = |sql: &String| enums::shown(sql, &used);
    let mut rule = Rule {
        operation,
        of: of.to_vec(),
        when: capture.when.as_ref().map(|text| text.sql.clone()),
        event,
        entity_type: capture.entity_type.clone(),
        entity_id: shown(&entity_id),
        tenant: capture.tenant.as_ref().map(|text| shown(&text.sql)),
        occurred_at,
        pins,
        lookups,
        lookup_columns: Vec::new(),
        context: context.iter().map(|(name, sql)| (name.clone(), shown(sql))).collect(),
        data: data.iter().map(|(name, sql)| (name.clone(), shown(sql))).collect(),
    };
    rule.lookup_columns = lookup_columns(&rule, &rows);
    Ok(rule)
}

/// Returns the columns that a rule reads of the rows that it looks up, with the names of their types as SQL.
fn lookup_columns(rule: &Rule, rows: &Rows) -> Vec<(String, String, String)> {
    let mut read = Vec::new();
    for lookup in &rule.lookups {
        let Some((_, columns)) = rows.iter().find(|(name, _)| *name == lookup.alias) else { continue };
        let names = fallback::columns_read(rule, lookup, columns.iter().map(|(column, _)| column.as_str()));
        for (column, data_type) in columns.iter().filter(|(column, _)| names.contains(&column.as_str())) {
            let sql = format!("{}.{}", identifier(data_type.schema()), identifier(data_type.name()));
            read.push((lookup.alias.clone(), column.clone(), sql));
        }
    }
    read
}

/// Returns the expressions of a rule, what becomes of each, and its type, if that is known.
async fn used(
    checker: &mut Checker<'_>,
    capture: &Capture,
    scope: &Scope,
    entity_id: &str,
    sent: &[&(String, String)],
) -> Result<Vec<(String, Use, Option<Type>)>, Error> {
    let mut used = Vec::new();
    let values = [&capture.when, &capture.occurred_at].into_iter().flatten();
    for text in values.chain(capture.lookups.iter().map(|lookup| &lookup.on)) {
        used.push((text.sql.clone(), Use::Value, None));
    }
    let event = if let EventType::Sql(text) = &capture.event { Some(text.sql.as_str()) } else { None };
    let texts = capture.tenant.iter().map(|text| text.sql.as_str()).chain(event).chain([entity_id]);
    let texts: Vec<(&str, Use)> = texts.map(|sql| (sql, Use::Text)).collect();
    let sent = sent.iter().map(|(_, sql)| (sql.as_str(), Use::Json));
    for (sql, it) in texts.into_iter().chain(sent) {
        let text = Text { field: String::new(), sql: sql.to_owned(), location: capture.location };
        used.push((text.sql.clone(), it, checker.type_of(scope, &text).await?));
    }
    Ok(used)
}

/// Adds the looked-up rows to the scope, one after the other: a later lookup may read an earlier one.
async fn lookups(checker: &mut Checker<'_>, capture: &Capture, scope: &mut Scope) -> Result<Vec<Lookup>, Error> {
    let mut lookups = Vec::new();
    for lookup in &capture.lookups {
        let table = match checker.table(&lookup.table).await? {
            Found::Table(table) => table,
            Found::Missing(reason) if lookup.is_optional => {
                let finding = checker.finding(&capture.entry(), &lookup.on.field, lookup.table.location, reason);
                checker.left_out.push(finding);
                scope.left_out.push(lookup.alias.clone());
                continue;
            }
            Found::Missing(reason) => {
                let finding = checker.finding(&capture.entry(), &lookup.on.field, lookup.table.location, reason);
                checker.lack_table(capture, &lookup.table, finding);
                scope.broken.push(lookup.alias.clone());
                continue;
            }
            Found::NoTable(reason) => {
                checker.report(&capture.entry(), &lookup.on.field, lookup.table.location, reason);
                scope.broken.push(lookup.alias.clone());
                continue;
            }
        };
        let with_row = scope.with_row(&lookup.alias, &table);
        if checker.leaves_out_lookup(capture, &with_row, lookup).await? {
            scope.left_out.push(lookup.alias.clone());
            continue;
        }
        if checker.condition(capture, &with_row, &lookup.on).await? {
            scope.add_lookup(&lookup.alias, &table, &event::join_whole(lookup));
            lookups.push(lookup.clone());
        } else {
            scope.broken.push(lookup.alias.clone());
        }
    }
    Ok(lookups)
}

/// Returns the entry's expression, or the primary key. Several columns are joined by slashes, and a slash within one of them is written as
/// in a JSON pointer (RFC 6901), because `('a/b', 'c')` and `('a', 'b/c')` are two entities.
fn entity_id(capture: &Capture, operation: Operation, table: &Table) -> String {
    let row = operation.row();
    let key: Vec<String> = table.key.iter().map(|column| format!("{row}.{}", identifier(column))).collect();
    match (&capture.entity_id, key.as_slice()) {
        (Some(text), _) => text.sql.clone(),
        (None, _) if operation == Operation::Truncate => literal(EVERY),
        (None, [only]) => only.clone(),
        (None, several) => {
            let parts: Vec<String> =
                several.iter().map(|part| format!("replace(replace({part}::text, '~', '~0'), '/', '~1')")).collect();
            format!("concat_ws('/', {})", parts.join(", "))
        }
    }
}

async fn occurred_at(checker: &mut Checker<'_>, capture: &Capture, scope: &Scope) -> Result<Option<String>, Error> {
    let Some(text) = &capture.occurred_at else { return Ok(None) };
    let sql = checker.value(capture, scope, text).await?;
    if let Some(data_type) = checker.expression(capture, scope, text).await?
        && ![Type::TIMESTAMPTZ, Type::TIMESTAMP, Type::DATE].contains(&data_type)
    {
        let message = format!("is of type {}; a timestamp is needed", data_type.name());
        checker.report(&capture.entry(), &text.field, text.location, message);
    }
    Ok(Some(sql))
}

/// Returns the payload: `columns` under their own names, and `data`, which wins where both name the same field.
async fn data(
    checker: &mut Checker<'_>,
    capture: &Capture,
    scope: &Scope,
    operation: Operation,
    columns: &[&Text],
) -> Result<Vec<(String, String)>, Error> {
    let mut data = Vec::new();
    for column in columns.iter().filter(|column| capture.data.iter().all(|(name, _)| *name != column.sql)) {
        let sql = format!("{}.{}", operation.row(), identifier(&column.sql));
        let text = Text { field: format!("columns.{}", column.sql), sql, location: column.location };
        data.push((column.sql.clone(), checker.value(capture, scope, &text).await?));
    }
    for (name, text) in &capture.data {
        if checker.leaves_out(capture, scope, text).await? {
            continue;
        }
        data.push((name.clone(), checker.value(capture, scope, text).await?));
    }
    Ok(data)
}
