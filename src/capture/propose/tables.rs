//! Lists the tables of a live database, for a proposal. In: a connection. Out: each table with its columns, its key, the tables that it
//! refers to, and how much is written to it. It reads the system catalogue and statistics, and no row of the plant.

use std::collections::HashMap;

use tokio_postgres::Client;
use tokio_postgres::Error;

use crate::capture::propose::labels;

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
    /// Whether another table that is listed captures its rows, because it inherits from that one.
    pub inherits: bool,
    /// Whether the role that reads the list may attach it: it owns the table.
    pub is_owned: bool,
    /// Whether row-level security hides rows even from the owner, so that a look-up may find nothing.
    pub hides_rows: bool,
    /// How many rows were inserted, updated and deleted since the statistics began, its partitions included.
    pub writes: i64,
    /// Its foreign keys, in the order of their columns.
    pub references: Vec<Reference>,
}

/// A column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as PostgreSQL writes it; for a domain, the type behind it.
    pub data_type: String,
    /// The values that it can have, if its type is an enumeration or a constraint lists them.
    pub labels: Vec<String>,
    /// Whether it has to be compared as text: an enumeration behind a domain has no operators that PostgreSQL would find.
    pub is_compared_as_text: bool,
    /// Whether it may be null.
    pub is_nullable: bool,
    /// Whether it is computed when it is read, so that a trigger does not see it.
    pub is_virtual: bool,
}

/// A foreign key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reference {
    /// The referencing column. Of several, the one that says which row it is: the others (a tenant's, say) have the same name on both sides.
    pub column: String,
    /// The schema and name of the referenced table.
    pub table: (String, String),
    /// The column that it refers to.
    pub key: String,
    /// The further columns of the key, each with the column that it refers to.
    pub further: Vec<(String, String)>,
}

impl ListedTable {
    /// Returns the column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Returns the name as a mapping writes it.
    pub fn mapping_name(&self) -> String {
        if self.schema == "public" { self.name.clone() } else { format!("{}.{}", self.schema, self.name) }
    }
}

/// The tables that are asked about: no views, no foreign tables and no partitions (their parent stands for them), and nothing that belongs
/// to PostgreSQL, to Andon or to an extension.
const LISTED: &str = "with listed as (
    select c.oid, n.nspname::text as schema, c.relname::text as name, c.relowner, c.relforcerowsecurity
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence = 'p' and n.nspname !~ '^(pg_|_timescaledb)'
    and n.nspname not in ('information_schema', 'andon')
    and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'))
";

/// Lists all tables that a mapping could name.
pub async fn list(client: &Client) -> Result<Vec<ListedTable>, Error> {
    let mut columns = columns(client).await?;
    let mut references = references(client).await?;
    let query = format!(
        "{LISTED} select c.oid, c.schema, c.name,
                exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary),
                exists (select from pg_inherits i where i.inhrelid = c.oid),
                pg_has_role(c.relowner, 'usage'), c.relforcerowsecurity,
                (select sum(pg_stat_get_tuples_inserted(t.oid) + pg_stat_get_tuples_updated(t.oid) + pg_stat_get_tuples_deleted(t.oid))::int8
                 from (select c.oid union select relid from pg_partition_tree(c.oid)) t(oid))
         from listed c order by 2, 1"
    );
    let rows = client.query(&query, &[]).await?;
    let tables = rows.iter().map(|row| {
        let oid: u32 = row.get(0);
        ListedTable {
            schema: row.get(1),
            name: row.get(2),
            has_key: row.get(3),
            inherits: row.get(4),
            is_owned: row.get(5),
            hides_rows: row.get(6),
            writes: row.get::<_, Option<i64>>(7).unwrap_or(0),
            columns: columns.remove(&oid).unwrap_or_default(),
            references: references.remove(&oid).unwrap_or_default(),
        }
    });
    Ok(tables.collect())
}

/// Returns the columns of all tables. A domain counts as the type behind it, and its constraints as the column's own.
async fn columns(client: &Client) -> Result<HashMap<u32, Vec<Column>>, Error> {
    let query = format!(
        "{LISTED} select a.attrelid, a.attname::text, format_type(coalesce(nullif(t.typbasetype, 0), t.oid), null),
                not (a.attnotnull or t.typnotnull), a.attgenerated::text = 'v',
                array(select e.enumlabel::text from pg_enum e
                      where e.enumtypid = coalesce(nullif(t.typbasetype, 0), t.oid) order by e.enumsortorder),
                array(select pg_get_constraintdef(k.oid) from pg_constraint k
                      where k.contype = 'c' and (k.conrelid = a.attrelid and k.conkey = array[a.attnum] or k.contypid = t.oid)
                      order by k.oid),
                t.typtype = 'd' and exists (select from pg_enum e where e.enumtypid = t.typbasetype)
         from listed c join pg_attribute a on a.attrelid = c.oid join pg_type t on t.oid = a.atttypid
         where a.attnum > 0 and not a.attisdropped order by a.attrelid, a.attnum"
    );
    let mut columns: HashMap<u32, Vec<Column>> = HashMap::new();
    for row in client.query(&query, &[]).await? {
        let (enumerated, constraints): (Vec<String>, Vec<String>) = (row.get(5), row.get(6));
        let listed = || constraints.iter().map(|constraint| labels::of(constraint)).find(|labels| !labels.is_empty());
        columns.entry(row.get(0)).or_default().push(Column {
            name: row.get(1),
            data_type: row.get(2),
            is_nullable: row.get(3),
            is_virtual: row.get(4),
            is_compared_as_text: row.get(7),
            labels: if enumerated.is_empty() { listed().unwrap_or_default() } else { enumerated },
        });
    }
    Ok(columns)
}

async fn references(client: &Client) -> Result<HashMap<u32, Vec<Reference>>, Error> {
    let names = |numbers: &str, table: &str| {
        format!(
            "array(select a.attname::text from unnest(f.{numbers}) with ordinality k(number, place)
                   join pg_attribute a on a.attrelid = f.{table} and a.attnum = k.number order by k.place)"
        )
    };
    let query = format!(
        "{LISTED} select f.conrelid, {}, n.nspname::text, r.relname::text, {}
         from listed c join pg_constraint f on f.conrelid = c.oid
         join pg_class r on r.oid = f.confrelid join pg_namespace n on n.oid = r.relnamespace
         where f.contype = 'f' and not r.relispartition order by f.conrelid, f.conkey, f.oid",
        names("conkey", "conrelid"),
        names("confkey", "confrelid"),
    );
    let mut references: HashMap<u32, Vec<Reference>> = HashMap::new();
    for row in client.query(&query, &[]).await? {
        let (columns, keys): (Vec<String>, Vec<String>) = (row.get(1), row.get(4));
        let mut pairs: Vec<(String, String)> = columns.into_iter().zip(keys).collect();
        let main = pairs.iter().position(|(column, key)| column != key).unwrap_or(pairs.len().saturating_sub(1));
        if main >= pairs.len() {
            continue;
        }
        let (column, key) = pairs.remove(main);
        let reference = Reference { column, table: (row.get(2), row.get(3)), key, further: pairs };
        references.entry(row.get(0)).or_default().push(reference);
    }
    Ok(references)
}
