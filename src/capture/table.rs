//! What the live database says about a table. In: a name. Out: its columns, its key, and how its changes can be captured, or the nearest
//! name that does exist. It only reads the system catalogue.

use tokio_postgres::Error;
use tokio_postgres::Transaction;

use crate::capture::mapping::TableName;
use crate::capture::sql::quote::identifier;
use crate::nearest::nearest;

/// A table as it is.
#[derive(Debug, Clone)]
pub struct Table {
    /// Qualified, for SQL.
    pub sql: String,
    /// Its columns, in order.
    pub columns: Vec<String>,
    /// The columns of its primary key; empty when it has none.
    pub key: Vec<String>,
    /// How its changes are captured.
    pub firing: Firing,
}

/// How triggers fire on a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firing {
    /// Once for a statement, with all its rows.
    Statement,
    /// Once for each row, on the table and on those that inherit from it.
    Row {
        /// Why a statement's rows would not do.
        reason: &'static str,
        /// The tables that need the trigger, for SQL.
        targets: Vec<String>,
    },
}

/// What a name turned out to be.
#[derive(Debug, Clone)]
pub enum Found {
    /// A table that can be captured.
    Table(Table),
    /// Something else, or nothing; the reason is for a finding.
    Not(String),
}

/// Looks a table up.
pub async fn find(transaction: &Transaction<'_>, name: &TableName) -> Result<Found, Error> {
    let row = transaction
        .query_opt(
            "select c.oid, c.relkind::text, c.relispartition,
                    exists (select from pg_inherits i where i.inhrelid = c.oid),
                    exists (select from pg_inherits i where i.inhparent = c.oid)
             from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where n.nspname = $1 and c.relname = $2",
            &[&name.schema, &name.table],
        )
        .await?;
    let Some(row) = row else { return Ok(Found::Not(missing(transaction, name).await?)) };
    let (oid, kind): (u32, String) = (row.get(0), row.get(1));
    let (is_partition, inherits, has_children): (bool, bool, bool) = (row.get(2), row.get(3), row.get(4));
    let columns = names(
        transaction,
        "select attname::text from pg_attribute where attrelid = $1 and attnum > 0 and not attisdropped order by attnum",
        oid,
    )
    .await?;
    let key = names(
        transaction,
        "select a.attname::text from pg_index i
         cross join lateral unnest(i.indkey::int2[]) with ordinality k(attnum, place)
         join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
         where i.indrelid = $1 and i.indisprimary order by k.place",
        oid,
    )
    .await?;
    let reason = match kind.as_str() {
        "r" if is_partition => Some("a partition"),
        "r" if inherits => Some("inherits"),
        "r" if is_hypertable(transaction, name).await? => Some("a hypertable"),
        "r" if has_children => Some("has children"),
        "r" if key.is_empty() => Some("no primary key"),
        "r" => None,
        "p" => Some("partitioned"),
        "f" => Some("a foreign table"),
        "v" | "m" => return Ok(Found::Not(format!("{name} is a view; name the table behind it"))),
        _ => return Ok(Found::Not(format!("{name} is not a table"))),
    };
    let firing = match reason {
        None => Firing::Statement,
        Some(reason @ ("has children" | "inherits")) => {
            Firing::Row { reason, targets: family(transaction, oid).await? }
        }
        // PostgreSQL and TimescaleDB carry a row trigger on to partitions and chunks, present and future ones.
        Some(reason) => Firing::Row { reason, targets: vec![name.sql()] },
    };
    Ok(Found::Table(Table { sql: name.sql(), columns, key, firing }))
}

/// The table and all that inherit from it: a row trigger fires only where the row is stored.
async fn family(transaction: &Transaction<'_>, oid: u32) -> Result<Vec<String>, Error> {
    let rows = transaction
        .query(
            "with recursive family(oid) as (
                 select $1::oid union select i.inhrelid from pg_inherits i join family f on f.oid = i.inhparent
             )
             select n.nspname::text, c.relname::text from family f
             join pg_class c on c.oid = f.oid join pg_namespace n on n.oid = c.relnamespace order by f.oid",
            &[&oid],
        )
        .await?;
    Ok(rows.iter().map(|row| format!("{}.{}", identifier(row.get(0)), identifier(row.get(1)))).collect())
}

async fn is_hypertable(transaction: &Transaction<'_>, name: &TableName) -> Result<bool, Error> {
    let view = "select to_regclass('timescaledb_information.hypertables') is not null";
    if !transaction.query_one(view, &[]).await?.get::<_, bool>(0) {
        return Ok(false);
    }
    let known = "select from timescaledb_information.hypertables where hypertable_schema = $1 and hypertable_name = $2";
    Ok(transaction.query_opt(known, &[&name.schema, &name.table]).await?.is_some())
}

async fn missing(transaction: &Transaction<'_>, name: &TableName) -> Result<String, Error> {
    let rows = transaction
        .query(
            "select n.nspname::text, c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where c.relkind in ('r', 'p', 'f') and not c.relispartition
             and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'andon') order by 1, 2",
            &[],
        )
        .await?;
    let all: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    if let Some((schema, table)) = all.iter().find(|(_, table)| *table == name.table) {
        return Ok(format!("table {name} does not exist; there is {schema}.{table}"));
    }
    let in_schema = all.iter().filter(|(schema, _)| *schema == name.schema).map(|(_, table)| table.as_str());
    Ok(match nearest(&name.table, in_schema) {
        Some(table) => format!("table {name} does not exist; the nearest is {}.{table}", name.schema),
        None => format!("table {name} does not exist"),
    })
}

async fn names(transaction: &Transaction<'_>, query: &str, oid: u32) -> Result<Vec<String>, Error> {
    Ok(transaction.query(query, &[&oid]).await?.iter().map(|row| row.get(0)).collect())
}
