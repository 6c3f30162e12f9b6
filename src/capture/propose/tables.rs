//! Lists the tables of a live database, for a proposal. In: a connection. Out: each table with its columns, its key and the tables that it
//! refers to. It reads the system catalogue and no row of the plant.

use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::Row;

/// A table in the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListedTable {
    /// Its schema.
    pub schema: String,
    /// Its name within the schema.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// Whether it has a primary key.
    pub has_key: bool,
    /// Its foreign keys of a single column.
    pub references: Vec<Reference>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as PostgreSQL writes it.
    pub data_type: String,
    /// The values of its type, if that is an enumeration.
    pub values: Vec<String>,
    /// Whether it may be null.
    pub is_nullable: bool,
}

/// A foreign key of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The referencing column.
    pub column: String,
    /// The schema and name of the referenced table.
    pub table: (String, String),
    /// The referenced column.
    pub key: String,
}

/// Lists all tables except those of PostgreSQL, of Andon and of extensions.
pub async fn list(client: &Client) -> Result<Vec<ListedTable>, Error> {
    let rows = client
        .query(
            "select c.oid, n.nspname::text, c.relname::text,
                    exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
             from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where c.relkind in ('r', 'p') and not c.relispartition and n.nspname !~ '^(pg_|_timescaledb)'
             and n.nspname not in ('information_schema', 'andon')
             and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
             order by 2, c.oid",
            &[],
        )
        .await?;
    let mut tables = Vec::new();
    for row in rows {
        let oid: u32 = row.get(0);
        tables.push(ListedTable {
            schema: row.get(1),
            name: row.get(2),
            has_key: row.get(3),
            columns: columns(client, oid).await?,
            references: references(client, oid).await?,
        });
    }
    Ok(tables)
}

async fn columns(client: &Client, table: u32) -> Result<Vec<Column>, Error> {
    let rows = client
        .query(
            "select a.attname::text, format_type(a.atttypid, null), not a.attnotnull,
                    array(select e.enumlabel::text from pg_enum e where e.enumtypid = a.atttypid order by e.enumsortorder)
             from pg_attribute a where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum",
            &[&table],
        )
        .await?;
    let column =
        |row: &Row| Column { name: row.get(0), data_type: row.get(1), is_nullable: row.get(2), values: row.get(3) };
    Ok(rows.iter().map(column).collect())
}

async fn references(client: &Client, table: u32) -> Result<Vec<Reference>, Error> {
    let rows = client
        .query(
            "select a.attname::text, n.nspname::text, c.relname::text, k.attname::text
             from pg_constraint f
             join pg_attribute a on a.attrelid = f.conrelid and a.attnum = f.conkey[1]
             join pg_attribute k on k.attrelid = f.confrelid and k.attnum = f.confkey[1]
             join pg_class c on c.oid = f.confrelid join pg_namespace n on n.oid = c.relnamespace
             where f.conrelid = $1 and f.contype = 'f' and cardinality(f.conkey) = 1 order by a.attnum",
            &[&table],
        )
        .await?;
    let reference = |row: &Row| Reference { column: row.get(0), table: (row.get(1), row.get(2)), key: row.get(3) };
    Ok(rows.iter().map(reference).collect())
}
