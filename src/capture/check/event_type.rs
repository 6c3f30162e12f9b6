//! Checks the type of an entry's events. In: the entry and its table. Out: the type as SQL; and where it is an expression over a column whose
//! values are known, the names that there will be, or a finding that lists those that are none.

use std::collections::HashMap;

use tokio_postgres::Error;
use tokio_postgres::types::Kind;
use tokio_postgres::types::Type;

use crate::capture::check::checker::Checker;
use crate::capture::check::enums;
use crate::capture::event_name;
use crate::capture::event_name::Part;
use crate::capture::mapping::Capture;
use crate::capture::mapping::EventType;
use crate::capture::scope::Scope;
use crate::capture::sql::quote::literal;
use crate::capture::table::Table;

/// Returns the type as SQL.
pub(super) async fn sql(
    checker: &mut Checker<'_>,
    capture: &Capture,
    scope: &Scope,
    table: &Table,
) -> Result<String, Error> {
    let text = match &capture.event {
        EventType::Literal(name) => return Ok(literal(name)),
        EventType::Sql(text) => text,
    };
    let data_type = checker.expression(capture, scope, text).await?;
    let is_known = data_type.is_some();
    let parts = event_name::parts(&text.sql);
    if is_known && !parts.contains(&Part::Other) {
        let mut values: HashMap<String, Vec<String>> = HashMap::new();
        for (column, data_type) in checker.columns(table).await?.iter() {
            values.extend(labels(data_type).map(|labels| (column.clone(), labels)));
        }
        for (column, listed) in checker.values_of_constraints(table).await? {
            values.entry(column).or_insert(listed);
        }
        if let Some(names) = event_name::names(&parts, |column| values.get(column).cloned()) {
            if let Some(message) = event_name::objection(&names) {
                checker.report(&capture.entry(), &text.field, text.location, message);
            }
            checker.types.name(capture, names.iter().filter_map(|name| event_name::event_type(name)).collect());
        }
    }
    let shown = data_type.map_or_else(|| text.sql.clone(), |it| enums::labels(&text.sql, &it));
    Ok(format!("andon.event_type(({shown})::text)"))
}

/// Returns the values of an enumeration.
fn labels(data_type: &Type) -> Option<Vec<String>> {
    match data_type.kind() {
        Kind::Enum(labels) => Some(labels.clone()),
        Kind::Domain(inner) => labels(inner),
        _ => None,
    }
}
