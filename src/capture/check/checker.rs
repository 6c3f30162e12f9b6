//! Checks single names and expressions of a mapping against the live database. In: tables, columns and SQL, with their locations. Out: the
//! type of each expression, and a finding wherever there is none. An expression is prepared and never run.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Error;
use tokio_postgres::Transaction;
use tokio_postgres::error::DbError;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use crate::capture::check::defaults;
use crate::capture::check::labels;
use crate::capture::check::missing::MissingTables;
use crate::capture::check::types::Types;
use crate::capture::check::zoneless::holds_timestamp;
use crate::capture::check::zoneless::name_of;
use crate::capture::finding::Finding;
use crate::capture::finding::Location;
use crate::capture::mapping::Capture;
use crate::capture::mapping::Lookup;
use crate::capture::mapping::Mapping;
use crate::capture::mapping::TableName;
use crate::capture::mapping::Text;
use crate::capture::propose;
use crate::capture::scope::Scope;
use crate::capture::sql::quote::literal;
use crate::capture::sql::settings::Pins;
use crate::capture::sql::settings::Setting;
use crate::capture::table;
use crate::capture::table::Found;
use crate::capture::table::Table;
use crate::nearest::nearest;

/// Asks the database about one thing after another, and collects the findings.
pub(super) struct Checker<'c> {
    pub(super) findings: Vec<Finding>,
    pub(super) types: Types,
    /// What the mapping can do without and the database does not have.
    pub(super) left_out: Vec<Finding>,
    /// The tables that are not there.
    pub(super) missing: MissingTables,
    /// The first thing that is not there and that the entry at hand names.
    lacking: Option<Finding>,
    transaction: &'c Transaction<'c>,
    mapping: &'c Mapping,
    /// The tables found so far, by qualified name.
    tables: HashMap<String, Found>,
    /// The outcome of each query prepared so far: entries share many expressions.
    prepared: HashMap<String, Result<Type, DbError>>,
    /// The columns with their types of the tables asked for so far, by their names as SQL.
    columns: HashMap<String, Arc<Vec<(String, Type)>>>,
    /// The values that expressions are checked with, and functions pin.
    pub(super) values: BTreeMap<Setting, String>,
    /// The schemas whose operators count for the table at hand.
    pub(super) schemas: BTreeSet<String>,
}

impl<'c> Checker<'c> {
    /// Sets the search path of the transaction to that of the triggers, and leaves it so, and the settings that a trigger may pin to what it
    /// would pin.
    pub(super) async fn start(transaction: &'c Transaction<'c>, mapping: &'c Mapping) -> Result<Checker<'c>, Error> {
        let values = defaults::values(transaction).await?;
        let pinned = Pins { settings: values.clone(), ..Pins::default() };
        transaction.batch_execute(&format!("{}savepoint andon_check", pinned.statements())).await?;
        Ok(Checker {
            findings: Vec::new(),
            types: Types::default(),
            left_out: Vec::new(),
            missing: MissingTables::default(),
            lacking: None,
            transaction,
            mapping,
            tables: HashMap::new(),
            prepared: HashMap::new(),
            columns: HashMap::new(),
            values,
            schemas: BTreeSet::new(),
        })
    }

    /// Looks a table up, once for the whole mapping.
    pub(super) async fn table(&mut self, name: &TableName) -> Result<Found, Error> {
        // Of several names, all are named where none of them exists.
        let names: Vec<String> = name.each().map(TableName::to_string).collect();
        let names = names.join("\n");
        if let Some(found) = self.tables.get(&names) {
            return Ok(found.clone());
        }
        let found = table::find(self.transaction, name).await?;
        self.tables.insert(names, found.clone());
        Ok(found)
    }

    /// Returns the columns of a table with their types.
    pub(super) async fn columns(&mut self, table: &Table) -> Result<Arc<Vec<(String, Type)>>, Error> {
        if let Some(columns) = self.columns.get(&table.sql) {
            return Ok(Arc::clone(columns));
        }
        let statement = self.transaction.prepare(&format!("select * from {}", table.sql)).await?;
        let columns = statement.columns().iter().map(|column| (column.name().to_owned(), column.type_().clone()));
        let columns = Arc::new(columns.collect::<Vec<_>>());
        self.columns.insert(table.sql.clone(), Arc::clone(&columns));
        Ok(columns)
    }

    /// Returns whether a policy can hide rows of a looked-up table from a function on this table: it is forced upon the owner, or the owner is
    /// another. A session may have asked for an error instead.
    pub(super) async fn hides_rows(&self, table: &Table, looked_up: &Table) -> Result<bool, Error> {
        let sql = "select l.relrowsecurity and (l.relforcerowsecurity or l.relowner <> c.relowner) from pg_class c, pg_class l
            where c.oid = to_regclass($1) and l.oid = to_regclass($2)";
        let row = self.transaction.query_opt(sql, &[&table.sql, &looked_up.sql]).await?;
        Ok(row.is_some_and(|row| row.get(0)))
    }

    /// Returns the values that check constraints list, by column.
    pub(super) async fn values_of_constraints(&self, table: &Table) -> Result<Vec<(String, Vec<String>)>, Error> {
        let sql = "select a.attname::text, pg_get_constraintdef(c.oid) from pg_constraint c
            join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
            where c.conrelid = to_regclass($1) and c.contype = 'c' and cardinality(c.conkey) = 1 order by c.conname";
        let rows = self.transaction.query(sql, &[&table.sql]).await?;
        let listed = rows.iter().map(|row| (row.get(0), propose::labels::of(row.get(1))));
        Ok(listed.filter(|(_, values): &(String, Vec<String>)| !values.is_empty()).collect())
    }

    /// Lets the operators in these schemas count, as in the function that is to be made.
    pub(super) async fn use_operators_in(&mut self, schemas: &BTreeSet<String>) -> Result<(), Error> {
        if self.schemas != *schemas {
            self.schemas = schemas.clone();
            let path = Pins { schemas: schemas.clone(), ..Pins::default() }.statements();
            // What is set after a savepoint is forgotten when an expression fails.
            let again = format!("{path}release savepoint andon_check; savepoint andon_check");
            self.transaction.batch_execute(&again).await?;
        }
        Ok(())
    }

    /// Returns the type of an expression that was checked, if it has one.
    pub(super) async fn type_of(&mut self, scope: &Scope, text: &Text) -> Result<Option<Type>, Error> {
        Ok(self.prepared(scope, text).await?.ok())
    }

    /// Returns the first of the names that a table has, or the first of all if there is no such table.
    pub(super) async fn resolved(&mut self, name: &TableName) -> Result<TableName, Error> {
        for candidate in name.each() {
            if !matches!(self.table(candidate).await?, Found::Missing(_)) {
                return Ok(TableName { others: Vec::new(), ..candidate.clone() });
            }
        }
        Ok(name.clone())
    }

    /// Checks that the table has the column.
    pub(super) fn column(&mut self, capture: &Capture, column: &Text, table: &Table) -> bool {
        if table.columns.contains(&column.sql) {
            return true;
        }
        let name = column.sql.trim_matches('"');
        let proposal = match nearest(name, table.columns.iter().map(String::as_str)) {
            Some(found) if found == name => format!("; write {name} without quotes"),
            Some(found) => format!("; the nearest is {found}"),
            None => String::new(),
        };
        let message = format!("column {} of {} does not exist{proposal}", column.sql, capture.table);
        let finding = self.finding(&capture.entry(), &column.field, column.location, message);
        let field = format!("{}.{}", column.field, column.sql);
        if capture.optional.covers(&field) {
            self.leave_out(capture, &field, finding);
        } else {
            self.lack(finding);
        }
        false
    }

    /// Returns whether a field is left out: the entry can do without it, and what it names is not there or is left out itself.
    pub(super) async fn leaves_out(&mut self, capture: &Capture, scope: &Scope, text: &Text) -> Result<bool, Error> {
        let message = match scope.left_out_row(&text.sql) {
            Some(alias) => format!("reads `{alias}`, which is left out"),
            None if !capture.optional.covers(&text.field) || scope.rests_on_broken(&text.sql) => return Ok(false),
            None => match self.prepared(scope, text).await? {
                Err(error) if is_missing(&error) => scope.explain(&error),
                _ => return Ok(false),
            },
        };
        let finding = self.finding(&capture.entry(), &text.field, text.location, message);
        self.leave_out(capture, &text.field, finding);
        Ok(true)
    }

    /// Returns whether a look-up is left out because a column of its condition is not there.
    pub(super) async fn leaves_out_lookup(
        &mut self,
        capture: &Capture,
        scope: &Scope,
        lookup: &Lookup,
    ) -> Result<bool, Error> {
        if !lookup.is_optional || scope.rests_on_broken(&lookup.on.sql) {
            return Ok(false);
        }
        match self.prepared(scope, &lookup.on).await? {
            Err(error) if is_missing(&error) => {
                let finding =
                    self.finding(&capture.entry(), &lookup.on.field, lookup.on.location, scope.explain(&error));
                self.left_out.push(finding);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Begins an entry, and returns how many findings there were before it.
    pub(super) fn begin(&mut self) -> usize {
        self.lacking = None;
        self.findings.len()
    }

    /// Returns whether the entry that began with so many findings is left out: it may be, and something that it names is not there.
    pub(super) fn ends_left_out(&mut self, capture: &Capture, began: usize) -> bool {
        let Some(lacking) = self.lacking.take().filter(|_| capture.optional.entry) else { return false };
        self.findings.truncate(began);
        self.leave_out(capture, "", lacking);
        true
    }

    /// Leaves out a field, or the whole entry if the field is empty; the finding says why.
    pub(super) fn leave_out(&mut self, capture: &Capture, field: &str, finding: Finding) {
        self.types.leave_out(capture, field);
        self.left_out.push(finding);
    }

    /// Reports a table that is not there. An entry that can do without it is left out, and the table is not missing.
    pub(super) fn lack_table(&mut self, capture: &Capture, name: &TableName, finding: Finding) {
        if capture.optional.entry {
            self.lacking.get_or_insert(finding);
        } else {
            self.missing.add(&name.to_string(), finding);
        }
    }

    /// Reports something that is not there.
    pub(super) fn lack(&mut self, finding: Finding) {
        self.lacking.get_or_insert_with(|| finding.clone());
        self.findings.push(finding);
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
        if let Some(alias) = scope.left_out_row(&text.sql) {
            let message = format!("reads `{alias}`, which is left out");
            let finding = self.finding(&capture.entry(), &text.field, text.location, message);
            self.lack(finding);
            return Ok(None);
        }
        match self.prepared(scope, text).await? {
            Ok(data_type) => Ok(Some(data_type)),
            Err(error) => {
                let labels = labels::explain(self.transaction, &error).await?;
                let message = labels.unwrap_or_else(|| scope.explain(&error));
                let finding = self.finding(&capture.entry(), &text.field, text.location, message);
                if is_missing(&error) {
                    self.lack(finding);
                } else {
                    self.findings.push(finding);
                }
                Ok(None)
            }
        }
    }

    /// Returns the type of an expression, or what PostgreSQL objects to.
    async fn prepared(&mut self, scope: &Scope, text: &Text) -> Result<Result<Type, DbError>, Error> {
        let query = format!("select (\n{}\n) from {}", text.sql, scope.from);
        if let Some(outcome) = self.prepared.get(&query) {
            return Ok(outcome.clone());
        }
        let outcome = self.prepare(&query).await?;
        self.prepared.insert(query, outcome.clone());
        Ok(outcome)
    }

    /// Checks that PostgreSQL knows the time zone of the source, by asking for the time there.
    pub(super) async fn time_zone(&mut self) -> Result<(), Error> {
        let Some(zone) = &self.mapping.time_zone else { return Ok(()) };
        let query = format!("select now() at time zone {}", literal(&zone.sql));
        if let Err(error) = self.transaction.simple_query(&query).await {
            if !error.as_db_error().is_some_and(is_about_the_mapping) {
                return Err(error);
            }
            self.transaction.batch_execute("rollback to savepoint andon_check").await?;
            let message = format!("time zone {} is unknown; use a name such as Europe/Berlin", zone.sql);
            self.report("source", &zone.field, zone.location, message);
        }
        Ok(())
    }

    pub(super) fn report(&mut self, entry: &str, field: &str, location: Location, message: impl Into<String>) {
        let finding = self.finding(entry, field, location, message);
        self.findings.push(finding);
    }

    /// Returns a finding about the mapping, without reporting it.
    pub(super) fn finding(&self, entry: &str, field: &str, location: Location, message: impl Into<String>) -> Finding {
        Finding {
            file: self.mapping.file.clone(),
            location,
            entry: entry.to_owned(),
            field: field.to_owned(),
            message: message.into(),
        }
    }

    async fn prepare(&self, query: &str) -> Result<Result<Type, DbError>, Error> {
        match self.transaction.prepare(query).await {
            Ok(statement) => Ok(Ok(statement.columns().first().map_or(Type::UNKNOWN, |column| column.type_().clone()))),
            Err(error) => {
                let Some(reason) = error.as_db_error().filter(|it| is_about_the_mapping(it)).cloned() else {
                    return Err(error);
                };
                self.transaction.batch_execute("rollback to savepoint andon_check").await?;
                Ok(Err(reason))
            }
        }
    }
}

/// Returns whether an error says something about the mapping. A lock, a time limit or a server that stops says nothing: the same expression may
/// be right.
fn is_about_the_mapping(error: &DbError) -> bool {
    !["08", "25", "40", "53", "55", "57", "58", "XX"].iter().any(|class| error.code().code().starts_with(class))
}

/// Returns whether the expression is wrong only because something that it names is not in the database: a column, a table or a value of an
/// enumeration. A row that no look-up finds is none of them.
fn is_missing(error: &DbError) -> bool {
    match error.code() {
        code if *code == SqlState::UNDEFINED_COLUMN => true,
        code if *code == SqlState::UNDEFINED_TABLE => !error.message().starts_with("missing FROM-clause"),
        _ => labels::enumeration(error).is_some(),
    }
}
