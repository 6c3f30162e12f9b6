//! The rows of `andon.sources`: what is attached, by whom, and whether it still is as it should be. In: a mapping, or what a look has found.
//! Out: SQL that writes a row. It is the only writer of that table.

use serde_json::Value;
use serde_json::json;
use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::Row;
use tokio_postgres::Transaction;

use crate::capture::error::SourceError;
use crate::capture::mapping::Channel;
use crate::capture::mapping::ChannelEventType;
use crate::capture::mapping::Mapping;
use crate::capture::mapping::TableName;
use crate::capture::sql::quote::literal;

/// Returns the statement that records a source as attached. It writes only if something differs, so that attaching again wakes no daemon.
pub(super) fn attached(mapping: &Mapping, belongs_to: Option<&str>, trusts_owners: bool) -> String {
    let belongs_to = belongs_to.map_or("current_user".to_owned(), literal);
    let optional = |table: &Option<TableName>| {
        table.as_ref().map_or("null".to_owned(), |table| literal(&table.to_string()).trim_start().to_owned())
    };
    let columns = "profile, mapping, mqtt_publishers, webhooks, channels, channel_events, watch_ddl, attached_by, trusts_owners, state, reason";
    let of = |row: &str| columns.split(", ").map(|column| format!("{row}.{column}")).collect::<Vec<_>>().join(", ");
    format!(
        "insert into andon.sources (name, {columns}, attached_at, checked_at)
values ({}, {}, {}, {}, {}, {}, {}, {}, {belongs_to}, {trusts_owners}, 'attached', null, now(), now())
on conflict (name) do update
set ({columns}, attached_at, checked_at) = ({}, excluded.attached_at, excluded.checked_at)
where ({}) is distinct from ({});
",
        literal(&mapping.name),
        literal(mapping.profile.name()),
        literal(&mapping.text),
        optional(&mapping.mqtt_publishers),
        optional(&mapping.webhooks),
        channels(mapping),
        channel_events(mapping),
        mapping.watch_ddl,
        of("excluded"),
        of("sources"),
        of("excluded"),
    )
}

/// The channels that `andon run` may turn into events of this source.
fn channels(mapping: &Mapping) -> String {
    let names: Vec<String> = mapping.channels.iter().map(|channel| literal(&channel.name)).collect();
    format!("array[{}]::text[]", names.join(", "))
}

/// What the notifications of each channel become, as far as the mapping says it and not the notification.
fn channel_events(mapping: &Mapping) -> String {
    let of = |channel: &Channel| {
        let mut event = json!({"entity_type": channel.entity_type});
        if let ChannelEventType::Literal(name) = &channel.event {
            event["type"] = json!(name);
        }
        if channel.tenant.is_none() {
            event["tenant"] = json!(channel.own_tenant.as_deref().unwrap_or_default());
        }
        (channel.name.clone(), event)
    };
    literal(&Value::Object(mapping.channels.iter().map(of).collect()).to_string())
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

/// What a look at a source has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It is attached as it should be.
    Attached,
    /// It is not; how it differs.
    Differs(String),
    /// It could not be compared; why.
    Unknown(String),
}

/// Notes what a look at a source has found. Daemons are not woken by it.
pub(crate) async fn note_look(client: &Client, name: &str, look: &Look) -> Result<(), Error> {
    let (state, reason) = match look {
        Look::Attached => ("attached", None),
        Look::Differs(reason) => ("differs", Some(reason)),
        Look::Unknown(reason) => ("unknown", Some(reason)),
    };
    let sql = "update andon.sources set state = $2, reason = $3, checked_at = now() where name = $1";
    client.execute(sql, &[&name, &state, &reason]).await.map(drop)
}

/// Returns the sources, each with what was found last. One that nobody has looked at yet is left out.
pub(crate) async fn looks(client: &Client) -> Result<Vec<(String, Look)>, Error> {
    let sql = "select name, state, coalesce(reason, '') from andon.sources where state <> 'unknown' or reason is not null order by name";
    let looks = client.query(sql, &[]).await?;
    let look = |row: &Row| match row.get(1) {
        "attached" => Look::Attached,
        "differs" => Look::Differs(row.get(2)),
        _ => Look::Unknown(row.get(2)),
    };
    Ok(looks.iter().map(|row| (row.get(0), look(row))).collect())
}
