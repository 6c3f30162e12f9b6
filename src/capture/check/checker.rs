//! Checks single names and expressions of a mapping against the live database. In: tables, columns and SQL, with their locations. Out: the
//! type of each expression, and a finding wherever there is none. An expression is prepared and never run.

use std::collections::HashMap;

use tokio_postgres::Error;
use tokio_postgres::Transaction;
use tokio_postgres::error::DbError;
use tokio_postgres::types::Kind;
use tokio_postgres::types::Type;

use crate::capture::finding::Finding;
use crate::capture::finding::Location;
use crate::capture::mapping::Capture;
use crate::capture::mapping::Mapping;
use crate::capture::mapping::TableName;
use crate::capture::mapping::Text;
use crate::capture::scope::Scope;
use crate::capture::sql::quote::literal;
use crate::capture::table;
use crate::capture::table::Found;
use crate::capture::table::Table;
use crate::nearest::nearest;

/// The types of a mapping's expressions, by entry and field.
#[derive(Debug, Default)]
pub struct Types(HashMap<(usize, String), String>);

impl Types {
    /// Returns the type of a field such as `data.job_number`, if the database knows one.
    pub fn of(&self, capture: &Capture, field: &str) -> Option<&str> {
        self.0.get(&(capture.number, field.to_owned())).map(String::as_str)
    }

    fn insert(&mut self, capture: &Capture, field: &str, data_type: &Type) {
        self.0.insert((capture.number, field.to_owned()), name_of(data_type));
    }
}

/// Asks the database about one thing after another, and collects the findings.
pub(super) struct Checker<'c> {
    pub(super) findings: Vec<Finding>,
    pub(super) types: Types,
    transaction: &'c Transaction<'c>,
    mapping: &'c Mapping,
    /// The tables found so far, by qualified name.
    tables: HashMap<String, Found>,
    /// The outcome of each query prepared so far: entries share many expressions.
    prepared: HashMap<String, Result<Type, DbError>>,
}

impl<'c> Checker<'c> {
    /// Sets the search path of the transaction to that of the triggers, and leaves it so.
    pub(super) async fn start(transaction: &'c Transaction<'c>, mapping: &'c Mapping) -> Result<Checker<'c>, Error> {
        transaction.batch_execute("set local search_path = pg_catalog, pg_temp; savepoint andon_check").await?;
        Ok(Checker {
            findings: Vec::new(),
            types: Types::default(),
            transaction,
            mapping,
            tables: HashMap::new(),
            prepared: HashMap::new(),
        })
    }

    /// Looks a table up, once for the whole mapping.
    pub(super) async fn table(&mut self, name: &TableName) -> Result<Found, Error> {
        if let Some(found) = self.tables.get(&name.to_string()) {
            return Ok(found.clone());
        }
        let found = table::find(self.transaction, name).await?;
        self.tables.insert(name.to_string(), found.clone());
        Ok(found)
    }

    /// Checks that the table has the column.
    pub(super) fn column(&mut self, capture: &Capture, column: &Text, table: &Table) -> bool {
        if table.columns.contains(&column.sql) {
            return true;
        }
        let proposal = nearest(&column.sql, table.columns.iter().map(String::as_str))
            .map_or(String::new(), |name| format!("; the nearest is {name}"));
        let message = format!("column {} of {} does not exist{proposal}", column.sql, capture.table);
        self.report(&capture.entry(), &column.field, column.location, message);
        false
    }

    /// Checks that the expression is true or false, as a condition has to be.
    pub(super) async fn condition(&mut self, capture: &Capture, scope: &Scope, text: &Text) -> Result<bool, Error> {
        match self.expression(capture, scope, text).await? {
            Some(Type::BOOL) => Ok(true),
            Some(other) => {
                let message = format!("is of type {}; a condition is needed", other.name());
                self.report(&capture.entry(), &text.field, text.location, message);
                Ok(false)
            }
            None => Ok(false),
        }
    }

    /// Returns an expression for JSON, as SQL. A timestamp without a zone would mean nothing to a receiver elsewhere, so it gets the
    /// source's.
    pub(super) async fn value(&mut self, capture: &Capture, scope: &Scope, text: &Text) -> Result<String, Error> {
        let data_type = self.expression(capture, scope, text).await?;
        if let Some(data_type) = &data_type {
            self.types.insert(capture, &text.field, data_type);
        }
        if data_type != Some(Type::TIMESTAMP) {
            if let Some(data_type) = data_type.filter(holds_timestamp) {
                let message = format!(
                    "is of type {}, which holds timestamps without a zone, and only a plain one gets the zone of the source; \
                     send what is in it, each `at time zone 'Europe/Berlin'`",
                    name_of(&data_type)
                );
                self.report(&capture.entry(), &text.field, text.location, message);
            }
            return Ok(text.sql.clone());
        }
        match &self.mapping.time_zone {
            Some(zone) => Ok(format!("({}) at time zone {}", text.sql, literal(&zone.sql))),
            None => {
                let message =
                    "is a timestamp without a zone; say which one it is in: [source] time_zone = \"Europe/Berlin\"";
                self.report(&capture.entry(), &text.field, text.location, message);
                Ok(text.sql.clone())
            }
        }
    }

    /// Returns the type of an expression. If it has none, that is a finding, unless it only follows from an earlier one.
    pub(super) async fn expression(
        &mut self,
        capture: &Capture,
        scope: &Scope,
        text: &Text,
    ) -> Result<Option<Type>, Error> {
        if scope.rests_on_broken(&text.sql) {
            return Ok(None);
        }
        let query = format!("select (\n{}\n) from {}", text.sql, scope.from);
        if !self.prepared.contains_key(&query) {
            let outcome = self.prepare(&query).await?;
            self.prepared.insert(query.clone(), outcome);
        }
        match self.prepared.get(&query) {
            Some(Ok(data_type)) => Ok(Some(data_type.clone())),
            Some(Err(error)) => {
                let message = scope.explain(error);
                self.report(&capture.entry(), &text.field, text.location, message);
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Checks that PostgreSQL knows the time zone of the source, by asking for the time there.
    pub(super) async fn time_zone(&mut self) -> Result<(), Error> {
        let Some(zone) = &self.mapping.time_zone else { return Ok(()) };
        let query = format!("select now() at time zone {}", literal(&zone.sql));
        if let Err(error) = self.transaction.simple_query(&query).await {
            if error.as_db_error().is_none() {
                return Err(error);
            }
            self.transaction.batch_execute("rollback to savepoint andon_check").await?;
            let message = format!("time zone {} is unknown; use a name such as Europe/Berlin", zone.sql);
            self.report("source", &zone.field, zone.location, message);
        }
        Ok(())
    }

    pub(super) fn report(&mut self, entry: &str, field: &str, location: Location, message: impl Into<String>) {
        self.findings.push(Finding {
            file: self.mapping.file.clone(),
            location,
            entry: entry.to_owned(),
            field: field.to_owned(),
            message: message.into(),
        });
    }

    async fn prepare(&self, query: &str) -> Result<Result<Type, DbError>, Error> {
        match self.transaction.prepare(query).await {
            Ok(statement) => Ok(Ok(statement.columns().first().map_or(Type::UNKNOWN, |column| column.type_().clone()))),
            Err(error) => {
                let Some(reason) = error.as_db_error().cloned() else { return Err(error) };
                self.transaction.batch_execute("rollback to savepoint andon_check").await?;
                Ok(Err(reason))
            }
        }
    }
}

/// Returns the name of a type, for people.
fn name_of(data_type: &Type) -> String {
    let name = data_type.name();
    name.strip_prefix('_').map_or(name.to_owned(), |element| format!("{element}[]"))
}

/// Returns whether values of the type hold timestamps without a zone, however deep.
fn holds_timestamp(data_type: &Type) -> bool {
    match data_type.kind() {
        Kind::Array(inner) | Kind::Range(inner) | Kind::Multirange(inner) | Kind::Domain(inner) => {
            holds_timestamp(inner)
        }
        Kind::Composite(fields) => fields.iter().any(|field| holds_timestamp(field.type_())),
        _ => *data_type == Type::TIMESTAMP,
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::types::Type;

    use super::holds_timestamp;

    #[test]
    fn timestamps_without_a_zone_are_found_within_other_types() {
        for holds in [Type::TIMESTAMP, Type::TIMESTAMP_ARRAY, Type::TS_RANGE, Type::TSMULTI_RANGE, Type::TS_RANGE_ARRAY]
        {
            assert!(holds_timestamp(&holds), "{holds}");
        }
        for holds_none in [Type::TIMESTAMPTZ, Type::TIMESTAMPTZ_ARRAY, Type::TSTZ_RANGE, Type::DATE_RANGE, Type::TEXT] {
            assert!(!holds_timestamp(&holds_none), "{holds_none}");
        }
    }
}
