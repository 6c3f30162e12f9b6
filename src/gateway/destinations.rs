//! Reads the destinations. In: the destinations' tables, Andon's own and those of the attached sources, and the replays that run. Out:
//! every active row, read and checked, and once more for each replay of it. It never writes, and it never skips a row that cannot be used.

use anyhow::Context as _;
use serde_json::Value;
use tokio_postgres::GenericClient;
use tokio_postgres::types::Json;

use crate::destination;
use crate::destination::Defaults;
use crate::destination::DestinationKind;
use crate::destination::DestinationRow;
use crate::destination::LaneName;
use crate::destination::Replay;
use crate::gateway::status_levels;
use crate::ledger::replays;
use crate::payload::Format;

/// Lists all lanes that should exist: one for each destination, and one for each replay.
pub(super) async fn lanes(client: &impl GenericClient, defaults: &Defaults) -> anyhow::Result<Vec<DestinationRow>> {
    let replays = replays::running(client).await.context("cannot read the replays")?;
    read(client, defaults, &replays).await
}

/// Reads all rows of all destination tables.
pub async fn list(client: &impl GenericClient, defaults: &Defaults) -> anyhow::Result<Vec<DestinationRow>> {
    read(client, defaults, &[]).await
}

async fn read(
    client: &impl GenericClient,
    defaults: &Defaults,
    replays: &[(LaneName, Replay)],
) -> anyhow::Result<Vec<DestinationRow>> {
    let tables = client
        .query(
            "select 'mqtt', 'andon.mqtt_publishers', 'andon' union all select 'webhook', 'andon.webhooks', 'andon'
            union all select 'mqtt', mqtt_publishers, profile from andon.sources where mqtt_publishers is not null
            union all select 'webhook', webhooks, profile from andon.sources where webhooks is not null",
            &[],
        )
        .await?;
    let mut listed = Vec::new();
    for table in tables {
        let (kind, name, profile): (&str, &str, &str) = (table.get(0), table.get(1), table.get(2));
        let kind = if kind == "mqtt" { DestinationKind::Mqtt } else { DestinationKind::Webhook };
        let profile = Format::parse(profile).with_context(|| format!("andon.sources: unknown profile `{profile}`"))?;
        // PostgreSQL itself quotes the name, so that it is safe to use in SQL text.
        let known: Option<String> = client.query_one("select to_regclass($1)::text", &[&name]).await?.get(0);
        let known = known.with_context(|| format!("destination table {name} is gone; attach the source again"))?;
        let rows = client
            .query(&format!("select to_jsonb(destination) from {known} destination"), &[])
            .await
            .with_context(|| format!("cannot read the destinations in {name}"))?;
        for row in rows {
            let Json(row): Json<Value> = row.get(0);
            let read = || destination::read(kind, name, profile, &row, defaults);
            let Some(live) = read() else { continue };
            for (_, replay) in replays.iter().filter(|(lane, _)| *lane == live.lane) {
                listed.extend(read().map(|listed| listed.for_replay(replay.clone())));
            }
            listed.push(live);
        }
    }
    status_levels::set_apart(&mut listed);
    Ok(listed)
}
