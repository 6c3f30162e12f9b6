//! Describes one table of the live database. In: a name. Out: the columns and the key of the table, and at which level its triggers have to
//! fire; or why the name is of no use, with the nearest name that does exist. It only reads the system catalogue.

mod plant_trigger;

use tokio_postgres::Error;
use tokio_postgres::Transaction;

use crate::capture::mapping::TableName;
use crate::capture::sql::quote::identifier;
use crate::nearest::nearest;

pub use plant_trigger::PlantTrigger;
pub use plant_trigger::Timing;

/// A table as the database has it.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its qualified name, as SQL.
    pub sql: String,
    /// Its columns, in order.
    pub columns: Vec<String>,
    /// The columns of its primary key; empty when it has none.
    pub key: Vec<String>,
    /// The columns that are computed when they are read, so that no trigger sees their value: each with its expression.
    pub computed: Vec<(String, String)>,
    /// The level of its triggers.
    pub level: TriggerLevel,
    /// The triggers and rules that the plant has on it.
    pub plant_triggers: Vec<PlantTrigger>,
}

/// How often the triggers of a table fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TriggerLevel {
    /// Once for each statement, with all its rows.
    Statement,
    /// Once for each row.
    Row {
        /// The tables that need the trigger, as SQL: the table itself, and tables that inherit from it.
        targets: Vec<String>,
    },
}

/// The object that the database has under a name.
#[derive(Debug, Clone)]
pub enum Found {
    /// A table that can be captured.
    Table(Table),
    /// Nothing; the message of a finding, with the nearest name that exists.
    Missing(String),
    /// Something that cannot be captured; the reason is the message of a finding.
    NoTable(String),
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
    let Some(row) = row else { return Ok(Found::Missing(missing(transaction, name).await?)) };
    let (oid, relkind): (u32, String) = (row.get(0), row.get(1));
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
         where i.indrelid = $1 and i.indisprimary and k.place <= i.indnkeyatts order by k.place",
        oid,
    )
    .await?;
    let computed = transaction
        .query(
            "select a.attname::text, pg_get_expr(d.adbin, d.adrelid) from pg_attribute a
             join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
             where a.attrelid = $1 and a.attgenerated = 'v' order by a.attnum",
            &[&oid],
        )
        .await?;
    let computed = computed.iter().map(|row| (row.get(0), row.get(1))).collect();
    let plant_triggers = plant_trigger::find(transaction, oid).await?;
    // PostgreSQL and TimescaleDB pass a row trigger on to partitions and chunks, present and future ones.
    let row_level = || TriggerLevel::Row { targets: vec![name.sql()] };
    let level = match relkind.as_str() {
        // A statement trigger fires only on the table that the statement names. It would miss changes that reach this table through a
        // parent, or another table of the family through this one; and hypertables and foreign tables do not hand it the rows.
        "r" if is_partition => row_level(),
        "r" if inherits => TriggerLevel::Row { targets: family(transaction, oid).await? },
        "r" if is_hypertable(transaction, name).await? => row_level(),
        "r" if has_children => TriggerLevel::Row { targets: family(transaction, oid).await? },
        // Without a key the rows before and after an update cannot be paired.
        "r" if key.is_empty() => row_level(),
        // What the plant's triggers do about a row has events of its own. A trigger that fires first for each row has the event of the
        // row before them; one for the statement would fire after all of the row triggers.
        "r" if plant_triggers.iter().any(PlantTrigger::is_after_row) => row_level(),
        "r" => TriggerLevel::Statement,
        "p" | "f" => row_level(),
        "v" | "m" => return Ok(Found::NoTable(format!("{name} is a view; name the table behind it"))),
        _ => return Ok(Found::NoTable(format!("{name} is not a table"))),
    };
    Ok(Found::Table(Table { sql: name.sql(), columns, key, computed, level, plant_triggers }))
}

/// Returns the table and all tables that inherit from it, as SQL: a row trigger fires only on the table that stores the row.
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

/// Returns why there is no such table, and which name may be meant.
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
    let names: Vec<String> = name.each().map(ToString::to_string).collect();
    let lacking = match names.as_slice() {
        [only] => format!("table {only} does not exist"),
        several => format!("none of the tables {} exists", several.join(", ")),
    };
    for name in name.each() {
        if let Some((schema, table)) = all.iter().find(|(_, table)| *table == name.table) {
            return Ok(format!("{lacking}; there is {schema}.{table}"));
        }
    }
    for name in name.each() {
        let in_schema = all.iter().filter(|(schema, _)| *schema == name.schema).map(|(_, table)| table.as_str());
        if let Some(table) = nearest(&name.table, in_schema) {
            return Ok(format!("{lacking}; the nearest is {}.{table}", name.schema));
        }
    }
    Ok(lacking)
}

async fn names(transaction: &Transaction<'_>, query: &str, oid: u32) -> Result<Vec<String>, Error> {
    Ok(transaction.query(query, &[&oid]).await?.iter().map(|row| row.get(0)).collect())
}
