//! A mapping against the live database. In: the mapping and a transaction. Out: what is wrong with it, all at once, and the rungs that
//! can be installed. It changes nothing: expressions are prepared and never run.

use std::collections::HashMap;

use tokio_postgres::Error;
use tokio_postgres::Transaction;
use tokio_postgres::error::DbError;
use tokio_postgres::types::Type;

use crate::capture::finding::Finding;
use crate::capture::mapping::Capture;
use crate::capture::mapping::EventType;
use crate::capture::mapping::Mapping;
use crate::capture::mapping::Operation;
use crate::capture::mapping::TableName;
use crate::capture::mapping::Text;
use crate::capture::scope::Scope;
use crate::capture::sql::event;
use crate::capture::sql::event::Rung;
use crate::capture::sql::quote::identifier;
use crate::capture::sql::quote::literal;
use crate::capture::table;
use crate::capture::table::Found;
use crate::capture::table::Table;
use crate::nearest::nearest;

/// What a mapping comes to in this database.
#[derive(Debug)]
pub struct Survey {
    /// What must be put right first.
    pub findings: Vec<Finding>,
    /// The tables, in the order of the file, each with the rungs of its entries.
    pub tables: Vec<(TableName, Table, Vec<Rung>)>,
    /// What the expressions of the payloads and contexts are.
    pub types: Types,
}

/// The types of a mapping's expressions, by entry and field.
#[derive(Debug, Default)]
pub struct Types(HashMap<(usize, String), String>);

impl Types {
    /// The type of a field such as `data.job_number`, if the database knows one.
    pub fn of(&self, capture: &Capture, field: &str) -> Option<&str> {
        self.0.get(&(capture.number, field.to_owned())).map(String::as_str)
    }

    fn note(&mut self, capture: &Capture, field: &str, kind: &Type) {
        let name = kind.name();
        let name = name.strip_prefix('_').map_or(name.to_owned(), |element| format!("{element}[]"));
        self.0.insert((capture.number, field.to_owned()), name);
    }
}

/// Looks at every table, column and expression of the mapping. The transaction's search path is left as the triggers will have it.
pub async fn survey(transaction: &Transaction<'_>, mapping: &Mapping) -> Result<Survey, Error> {
    transaction.batch_execute("set local search_path = pg_catalog, pg_temp; savepoint andon_check").await?;
    let mut check = Check {
        transaction,
        mapping,
        findings: Vec::new(),
        types: Types::default(),
        tables: HashMap::new(),
        prepared: HashMap::new(),
    };
    check.time_zone().await?;
    check.destinations().await?;
    let mut tables: Vec<(TableName, Table, Vec<Rung>)> = Vec::new();
    for capture in &mapping.captures {
        let table = match check.find(&capture.table).await? {
            Found::Table(table) => table,
            Found::Not(reason) => {
                check.add_at(
                    capture,
                    &Text { field: "table".to_owned(), sql: String::new(), place: capture.table.place },
                    reason,
                );
                continue;
            }
        };
        let rungs = check.rungs(capture, &table).await?;
        match tables.iter_mut().find(|(_, known, _)| known.sql == table.sql) {
            Some((_, _, all)) => all.extend(rungs),
            None => tables.push((capture.table.clone(), table, rungs)),
        }
    }
    let mut findings = check.findings;
    findings.sort_by_key(|finding| finding.place);
    findings.dedup_by(|next, last| next.place == last.place && next.message == last.message);
    Ok(Survey { findings, tables, types: check.types })
}

struct Check<'c> {
    transaction: &'c Transaction<'c>,
    mapping: &'c Mapping,
    findings: Vec<Finding>,
    types: Types,
    tables: HashMap<String, Found>,
    prepared: HashMap<String, Result<Type, DbError>>,
}

impl Check<'_> {
    async fn rungs(&mut self, capture: &Capture, table: &Table) -> Result<Vec<Rung>, Error> {
        for column in &capture.of {
            self.column(capture, column, table);
        }
        let mut columns = Vec::new();
        for column in &capture.columns {
            if self.column(capture, column, table) {
                columns.push(column);
            }
        }
        if capture.entity_id.is_none() && table.key.is_empty() {
            let text = Text { field: "entity_id".to_owned(), sql: String::new(), place: capture.place };
            self.add_at(
                capture,
                &text,
                format!("is missing, and {} has no primary key to take it from", capture.table),
            );
        }
        let mut rungs = Vec::new();
        for operation in &capture.operations {
            rungs.push(self.rung(capture, *operation, table, &columns).await?);
        }
        Ok(rungs)
    }

    async fn rung(
        &mut self,
        capture: &Capture,
        operation: Operation,
        table: &Table,
        columns: &[&Text],
    ) -> Result<Rung, Error> {
        let mut scope = Scope::of(operation, table);
        if let Some(when) = &capture.when {
            self.truth(capture, &scope, when).await?;
        }
        scope.add_this(operation, table);
        let mut lookups = Vec::new();
        for lookup in &capture.lookups {
            let found = match self.find(&lookup.table).await? {
                Found::Table(found) => found,
                Found::Not(reason) => {
                    let place = lookup.table.place;
                    self.add_at(capture, &Text { field: lookup.on.field.clone(), sql: String::new(), place }, reason);
                    scope.broken.push(lookup.alias.clone());
                    continue;
                }
            };
            let inner = scope.with_row(&lookup.alias, &found);
            if self.truth(capture, &inner, &lookup.on).await? {
                scope.add_lookup(&lookup.alias, &found, &event::join(lookup));
                lookups.push(lookup.clone());
            } else {
                scope.broken.push(lookup.alias.clone());
            }
        }
        let row = operation.row();
        let event = match &capture.event {
            EventType::Literal(name) => literal(name),
            EventType::Sql(text) => {
                self.expression(capture, &scope, text).await?;
                format!("({})", text.sql)
            }
        };
        for text in [&capture.entity_id, &capture.tenant].into_iter().flatten() {
            self.expression(capture, &scope, text).await?;
        }
        let key: Vec<String> = table.key.iter().map(|column| format!("{row}.{}", identifier(column))).collect();
        let entity_id = match (&capture.entity_id, key.as_slice()) {
            (Some(text), _) => text.sql.clone(),
            (None, [only]) => only.clone(),
            (None, several) => format!("concat_ws('/', {})", several.join(", ")),
        };
        let mut occurred_at = None;
        if let Some(text) = &capture.occurred_at {
            occurred_at = Some(self.value(capture, &scope, text).await?);
            let kind = self.expression(capture, &scope, text).await?;
            if kind.as_ref().is_some_and(|kind| ![Type::TIMESTAMPTZ, Type::TIMESTAMP, Type::DATE].contains(kind)) {
                let kind = kind.map_or(String::new(), |kind| kind.name().to_owned());
                self.add_at(capture, text, format!("is of type {kind}; a timestamp is needed"));
            }
        }
        let mut context = Vec::new();
        for (name, text) in &capture.context {
            context.push((name.clone(), self.value(capture, &scope, text).await?));
        }
        let mut data = Vec::new();
        for column in columns.iter().filter(|column| capture.data.iter().all(|(name, _)| *name != column.sql)) {
            let (field, sql) = (format!("columns.{}", column.sql), format!("{row}.{}", identifier(&column.sql)));
            let text = Text { field, sql, place: column.place };
            data.push((column.sql.clone(), self.value(capture, &scope, &text).await?));
        }
        for (name, text) in &capture.data {
            data.push((name.clone(), self.value(capture, &scope, text).await?));
        }
        Ok(Rung {
            operation,
            of: capture.of.iter().map(|column| column.sql.clone()).collect(),
            when: capture.when.as_ref().map(|text| text.sql.clone()),
            event,
            entity_type: capture.entity_type.clone(),
            entity_id,
            tenant: capture.tenant.as_ref().map(|text| text.sql.clone()),
            occurred_at,
            lookups,
            context,
            data,
        })
    }

    /// An expression for JSON. A timestamp without a zone means nothing to a receiver elsewhere, so it gets the source's.
    async fn value(&mut self, capture: &Capture, scope: &Scope, text: &Text) -> Result<String, Error> {
        let kind = self.expression(capture, scope, text).await?;
        if let Some(kind) = &kind {
            self.types.note(capture, &text.field, kind);
        }
        if kind != Some(Type::TIMESTAMP) {
            return Ok(text.sql.clone());
        }
        match &self.mapping.time_zone {
            Some(zone) => Ok(format!("({}) at time zone {}", text.sql, literal(&zone.sql))),
            None => {
                let message =
                    "is a timestamp without a zone; say which one it is in: [source] time_zone = \"Europe/Berlin\"";
                self.add_at(capture, text, message.to_owned());
                Ok(text.sql.clone())
            }
        }
    }

    async fn truth(&mut self, capture: &Capture, scope: &Scope, text: &Text) -> Result<bool, Error> {
        match self.expression(capture, scope, text).await? {
            Some(Type::BOOL) => Ok(true),
            Some(other) => {
                self.add_at(capture, text, format!("is of type {}; a condition is needed", other.name()));
                Ok(false)
            }
            None => Ok(false),
        }
    }

    /// The type of an expression; a finding, where it has none. Silent about what follows from an earlier finding.
    async fn expression(&mut self, capture: &Capture, scope: &Scope, text: &Text) -> Result<Option<Type>, Error> {
        if scope.rests_on_broken(&text.sql) {
            return Ok(None);
        }
        let query = format!("select (\n{}\n) from {}", text.sql, scope.from);
        if !self.prepared.contains_key(&query) {
            let outcome = self.prepare(&query).await?;
            self.prepared.insert(query.clone(), outcome);
        }
        match self.prepared.get(&query) {
            Some(Ok(kind)) => Ok(Some(kind.clone())),
            Some(Err(error)) => {
                let message = scope.explain(error);
                self.add_at(capture, text, message);
                Ok(None)
            }
            None => Ok(None),
        }
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

    async fn find(&mut self, name: &TableName) -> Result<Found, Error> {
        if let Some(found) = self.tables.get(&name.to_string()) {
            return Ok(found.clone());
        }
        let found = table::find(self.transaction, name).await?;
        self.tables.insert(name.to_string(), found.clone());
        Ok(found)
    }

    fn column(&mut self, capture: &Capture, column: &Text, table: &Table) -> bool {
        if table.columns.contains(&column.sql) {
            return true;
        }
        let proposal = nearest(&column.sql, table.columns.iter().map(String::as_str))
            .map_or(String::new(), |name| format!("; the nearest is {name}"));
        let message = format!("column {} of {} does not exist{proposal}", column.sql, capture.table);
        self.add_at(capture, column, message);
        false
    }

    async fn destinations(&mut self) -> Result<(), Error> {
        let mapping = self.mapping;
        let tables = [
            (
                "mqtt_publishers",
                &mapping.mqtt_publishers,
                ["id", "broker_url", "topic_pattern", "events", "active"].as_slice(),
            ),
            ("webhooks", &mapping.webhooks, ["id", "url", "events", "active"].as_slice()),
        ];
        for (field, name, columns) in tables {
            let Some(name) = name else { continue };
            let message = match self.find(name).await? {
                Found::Not(reason) => reason,
                Found::Table(table) => {
                    match columns.iter().find(|column| table.columns.iter().all(|known| known != *column)) {
                        Some(column) => format!("table {name} has no column {column}, which a destination needs"),
                        None => continue,
                    }
                }
            };
            self.add("source", &Text { field: field.to_owned(), sql: String::new(), place: name.place }, message);
        }
        Ok(())
    }

    async fn time_zone(&mut self) -> Result<(), Error> {
        let Some(zone) = &self.mapping.time_zone else { return Ok(()) };
        let query = format!("select now() at time zone {}", literal(&zone.sql));
        if let Err(error) = self.transaction.simple_query(&query).await {
            if error.as_db_error().is_none() {
                return Err(error);
            }
            self.transaction.batch_execute("rollback to savepoint andon_check").await?;
            self.add("source", zone, format!("time zone {} is unknown; take a name such as Europe/Berlin", zone.sql));
        }
        Ok(())
    }

    fn add_at(&mut self, capture: &Capture, text: &Text, message: String) {
        self.add(&capture.entry(), text, message);
    }

    fn add(&mut self, entry: &str, text: &Text, message: String) {
        self.findings.push(Finding {
            file: self.mapping.file.clone(),
            place: text.place,
            entry: entry.to_owned(),
            field: text.field.clone(),
            message,
        });
    }
}
