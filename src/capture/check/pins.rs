//! What the function of a table has to pin. In: the entries of the table, the types of its columns, and what the expressions yield. Out: the
//! settings that can change an event, and the schemas of the operators that its expressions need. It finds no faults.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Error;
use tokio_postgres::types::Type;

use crate::capture::check::checker::Checker;
use crate::capture::mapping::Capture;
use crate::capture::mapping::EventType;
use crate::capture::mapping::Lookup;
use crate::capture::mapping::Operation;
use crate::capture::mapping::Text;
use crate::capture::sensitivity;
use crate::capture::sensitivity::Rows;
use crate::capture::sensitivity::Use;
use crate::capture::sql::settings::Pins;
use crate::capture::sql::settings::Setting;
use crate::capture::table::Found;
use crate::capture::table::Table;

/// Returns the rows that the expressions of an entry can read.
pub(super) async fn rows(
    checker: &mut Checker<'_>,
    operation: Option<Operation>,
    table: &Table,
    lookups: &[Lookup],
) -> Result<Rows, Error> {
    let columns = checker.columns(table).await?;
    let names: &[&str] = match operation {
        Some(Operation::Insert) => &["new", "this"],
        Some(Operation::Delete) => &["old", "this"],
        Some(Operation::Truncate) => &[],
        Some(Operation::Update) | None => &["new", "old", "this"],
    };
    let mut rows: Rows = names.iter().map(|name| ((*name).to_owned(), Arc::clone(&columns))).collect();
    for lookup in lookups {
        if let Found::Table(table) = checker.table(&lookup.table).await? {
            rows.push((lookup.alias.clone(), checker.columns(&table).await?));
        }
    }
    Ok(rows)
}

/// Returns the schemas whose operators the entries of each table need, by the table's name as SQL. A column that is only sent needs none.
pub(super) async fn operator_schemas(
    checker: &mut Checker<'_>,
    captures: &[Capture],
) -> Result<HashMap<String, BTreeSet<String>>, Error> {
    let mut schemas: HashMap<String, BTreeSet<String>> = HashMap::new();
    for capture in captures {
        let Found::Table(table) = checker.table(&capture.table).await? else { continue };
        let rows = rows(checker, None, &table, &capture.lookups).await?;
        let of_table = schemas.entry(table.sql.clone()).or_default();
        // The rows before and after an update are paired by their keys.
        let is_key = |column: &String| table.key.contains(column);
        let key = rows[0].1.iter().filter(|(column, _)| is_key(column)).map(|(_, data_type)| data_type);
        let computed = expressions(capture).into_iter().filter(|sql| !sensitivity::is_plain(sql));
        let read = computed.flat_map(|sql| sensitivity::columns(sql, &rows));
        of_table.extend(key.chain(read).flat_map(sensitivity::schemas));
    }
    Ok(schemas)
}

fn expressions(capture: &Capture) -> Vec<&str> {
    let event = if let EventType::Sql(text) = &capture.event { Some(text) } else { None };
    let single = [&capture.when, &capture.entity_id, &capture.tenant, &capture.occurred_at].into_iter().flatten();
    let named = capture.context.iter().chain(&capture.data).map(|(_, text)| text);
    let on = capture.lookups.iter().map(|lookup| &lookup.on);
    single.chain(event).chain(named).chain(on).map(|text: &Text| text.sql.as_str()).collect()
}

/// Returns what a rule makes its function pin. `used` are its expressions with their types, as far as they are known.
pub(super) async fn of_rule(
    checker: &mut Checker<'_>,
    table: &Table,
    lookups: &[Lookup],
    rows: &Rows,
    used: &[(String, Use, Option<Type>)],
) -> Result<Pins, Error> {
    let mut hides_rows = false;
    for lookup in lookups {
        if let Found::Table(looked_up) = checker.table(&lookup.table).await? {
            hides_rows |= checker.hides_rows(table, &looked_up).await?;
        }
    }
    let settings =
        used.iter().flat_map(|(sql, used, result)| sensitivity::of_expression(sql, rows, *used, result.as_ref()));
    let settings = settings
        .chain(hides_rows.then_some(Setting::RowSecurity))
        .filter_map(|setting| Some((setting, checker.values.get(&setting)?.clone())))
        .collect();
    Ok(Pins { settings, schemas: checker.schemas.clone() })
}
