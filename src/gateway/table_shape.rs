//! How the rows of a table of destinations are asked for. In: the name of a table, and what the catalogue says of its columns. Out: SQL that
//! costs little for each row, however large the row is, and that reads the rows of each tenant before the large ones of another. Whoever may
//! write rows of one tenant must not be able to keep Andon from reading those of the others.

use tokio_postgres::GenericClient;

use crate::gateway::table_error;

/// The most bytes of a row, and of its text in JSON.
const LARGEST: i64 = 64 << 10;

/// What a statement about the table is made of.
#[derive(Debug)]
pub(super) struct TableShape {
    /// The table's name, quoted.
    name: String,
    key: &'static str,
    tenant: &'static str,
    /// The bytes of a row, for which no value is expanded: of texts as they are, and of everything else as it is stored.
    stored: String,
    /// The bytes of a row as it is.
    whole: String,
}

impl TableShape {
    /// Looks the table up.
    pub(super) async fn look_up(client: &impl GenericClient, table: &str) -> anyhow::Result<TableShape> {
        // PostgreSQL itself quotes the names, so that they are safe to use in SQL text. It knows how long a text is that it has compressed,
        // and of an array or of JSON it knows that only once it is expanded, which is much cheaper than to make a text of it.
        let columns =
            "select attname, atttypid in ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'bytea'::regtype)
                from pg_attribute where attrelid = oid and attnum > 0 and not attisdropped and attlen = -1";
        let sql = format!(
            "select oid::regclass::text,
                exists (select from pg_attribute where attrelid = oid and attname = 'id' and not attisdropped),
                exists (select from pg_attribute where attrelid = oid and attname = 'tenant_id' and not attisdropped),
                coalesce((select string_agg(format(case when is_text then 'coalesce(octet_length(it.%1$I), 0)::int8'
                    else 'coalesce(pg_column_size(it.%1$I), 0)::int8' end, name), ' + ') from ({columns}) it (name, is_text)), '0::int8'),
                coalesce((select string_agg(format(case when is_text then 'coalesce(octet_length(it.%1$I), 0)::int8'
                    else 'pg_column_size(row(it.%1$I))::int8' end, name), ' + ') from ({columns}) it (name, is_text)), '0::int8')
            from (select to_regclass($1)) it (oid) where oid is not null"
        );
        let Some(found) = client.query_opt(&sql, &[&table]).await? else { return Err(table_error::Gone.into()) };
        Ok(TableShape {
            name: found.get(0),
            key: if found.get(1) { "coalesce(left(it.id::text, 1000), '')" } else { "''" },
            tenant: if found.get(2) { "coalesce(left(it.tenant_id::text, 1000), '')" } else { "''" },
            stored: found.get(3),
            whole: found.get(4),
        })
    }

    /// Returns the query for the key of each row and its text, which is null if it is too large. Each tenant has as many bytes read as
    /// the others, until it has no more rows.
    pub(super) fn rows(&self) -> String {
        let TableShape { name, key, tenant, stored, whole } = self;
        // Not `to_jsonb`, which would parse a column of type json and fail for all rows where one of them holds what jsonb cannot.
        format!(
            "select key, case when octet_length(text) <= {LARGEST} then text end from (
                select {key}, case when {stored} > {LARGEST} then null when {whole} > {LARGEST} then null else row_to_json(it)::text end
                from (
                    select * from {name} it
                    order by sum({stored}) over (partition by {tenant} order by {stored} rows unbounded preceding)
                ) it offset 0
            ) made (key, text)"
        )
    }

    /// Returns the query for the tenant whose rows are the largest together.
    pub(super) fn largest_tenant(&self) -> String {
        let TableShape { name, tenant, stored, .. } = self;
        format!("select left({tenant}, 100) from {name} it group by {tenant} order by sum({stored}) desc limit 1")
    }
}
