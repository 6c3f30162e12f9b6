//! What tables a live database has. In: a connection. Out: each table with its columns, its key and the tables that it refers to. It reads
//! the system catalogue and no row of the plant.

use tokio_postgres::Client;
use tokio_postgres::Error;

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// Whether it has a primary key.
    pub has_key: bool,
    /// Where single columns of it point to.
    pub references: Vec<Reference>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as PostgreSQL writes it.
    pub kind: String,
    /// The values of its type, where that is an enumeration.
    pub values: Vec<String>,
    /// Whether it may be null.
    pub is_nullable: bool,
}

/// A foreign key of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The column.
    pub column: String,
    /// The schema and table that it points to.
    pub table: (String, String),
    /// The column there.
    pub key: String,
}

/// Reads all tables but those of PostgreSQL, of Andon and of extensions.
pub async fn take(client: &Client) -> Result<Vec<Census>, Error> {
    let tables = client
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
    let mut census = Vec::new();
    for table in tables {
        let oid: u32 = table.get(0);
        let columns = client
            .query(
                "select a.attname::text, format_type(a.atttypid, null), not a.attnotnull,
                        array(select e.enumlabel::text from pg_enum e where e.enumtypid = a.atttypid order by e.enumsortorder)
                 from pg_attribute a where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum",
                &[&oid],
            )
            .await?;
        let references = client
            .query(
                "select a.attname::text, n.nspname::text, c.relname::text, k.attname::text
                 from pg_constraint f
                 join pg_attribute a on a.attrelid = f.conrelid and a.attnum = f.conkey[1]
                 join pg_attribute k on k.attrelid = f.confrelid and k.attnum = f.confkey[1]
                 join pg_class c on c.oid = f.confrelid join pg_namespace n on n.oid = c.relnamespace
                 where f.conrelid = $1 and f.contype = 'f' and cardinality(f.conkey) = 1 order by a.attnum",
                &[&oid],
            )
            .await?;
        let column = |row: &tokio_postgres::Row| Column {
            name: row.get(0),
            kind: row.get(1),
            is_nullable: row.get(2),
            values: row.get(3),
        };
        let reference = |row: &tokio_postgres::Row| Reference {
            column: row.get(0),
            table: (row.get(1), row.get(2)),
            key: row.get(3),
        };
        census.push(Census {
            schema: table.get(1),
            name: table.get(2),
            has_key: table.get(3),
            columns: columns.iter().map(column).collect(),
            references: references.iter().map(reference).collect(),
        });
    }
    Ok(census)
}
