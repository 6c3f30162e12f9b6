//! The rows of `andon.sources`: what is attached, by whom, and whether it still is as it should be. In: a mapping, or what a look has found.
//! Out: SQL that writes a row. It is the only writer of that table.

use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::Transaction;

use crate::capture::error::SourceError;
use crate::capture::mapping::Mapping;
use crate::capture::mapping::TableName;
use crate::capture::sql::quote::literal;

/// Returns the statement that records a source as attached. It writes only if something differs, so that attaching again wakes no daemon.
pub(super) fn attached(mapping: &Mapping, trusts_owners: bool) -> String {
    let optional = |table: &Option<TableName>| {
        table.as_ref().map_or("null".to_owned(), |table| literal(&table.to_string()).trim_start().to_owned())
    };
    let columns = "profile, mapping, mqtt_publishers, webhooks, watch_ddl, attached_by, trusts_owners, state, reason";
    let of = |row: &str| columns.split(", ").map(|column| format!("{row}.{column}")).collect::<Vec<_>>().join(", ");
    format!(
        "insert into andon.sources (name, {columns}, attached_at, checked_at)
values ({}, {}, {}, {}, {}, {}, current_user, {trusts_owners}, 'attached', null, now(), now())
on conflict (name) do update
set ({columns}, attached_at, checked_at) = ({}, excluded.attached_at, excluded.checked_at)
where ({}) is distinct from ({});
",
        literal(&mapping.name),
        literal(mapping.profile.name()),
        literal(&mapping.text),
        optional(&mapping.mqtt_publishers),
        optional(&mapping.webhooks),
        mapping.watch_ddl,
        of("excluded"),
        of("sources"),
        of("excluded"),
    )
}

/// Returns the statement that forgets a source.
pub(super) fn detached(name: &str) -> String {
    format!("delete from andon.sources where name = {};\n", literal(name))
}

/// Returns the role that has attached a source without trust in other owners. An older version has recorded none.
pub(crate) async fn distrustful(transaction: &Transaction<'_>, name: &str) -> Result<Option<String>, SourceError> {
    let sql = "select attached_by from andon.sources s join pg_roles r on r.rolname = s.attached_by
        where name = $1 and not trusts_owners";
    let row = transaction.query_opt(sql, &[&name]).await;
    let row = row.map_err(|error| SourceError::database("read who has attached the source", error))?;
    Ok(row.map(|row| row.get(0)))
}

/// Notes what a look at a source has found: nothing, or how it differs from what was attached. Daemons are not woken by it.
pub(crate) async fn note_look(client: &Client, name: &str, difference: Option<&str>) -> Result<(), Error> {
    let state = if difference.is_some() { "differs" } else { "attached" };
    let sql = "update andon.sources set state = $2, reason = $3, checked_at = now() where name = $1";
    client.execute(sql, &[&name, &state, &difference]).await.map(drop)
}
