//! The plant of a reference system: its database, and the destinations of its events. In: a database, a system, the ports of brokers, a
//! receiver. Out: the schema with its rows, the tenants that the events of the shift belong to, a publisher and a webhook for each tenant.

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::json;
use tokio_postgres::Client;
use tokio_postgres::NoTls;

use crate::postgres::Postgres;
use crate::receiver::Receiver;
use crate::reference::shift::Shift;
use crate::reference::system::System;

/// The `default_enterprise` of the publishers, one for each tenant in turn.
const ENTERPRISES: [&str; 4] = ["acme", "globex", "initech", "umbrella"];

/// Loads the schema and the rows that are there before the shift begins.
pub async fn build(database: &str, system: &System) -> Result<()> {
    let client = connect(database).await?;
    let run = async |what: &str, sql: &str| {
        client.batch_execute(sql).await.with_context(|| format!("cannot load the {what} of {}", system.name))
    };
    run("schema", &system.schema).await?;
    run("plant", &system.shift.plant).await
}

/// Finds the tenants of the shift's events by running one cycle in a copy of the database, which must have the source attached.
pub async fn tenants(postgres: &Postgres, database: &str, shift: &Shift) -> Result<Vec<String>> {
    let copy = postgres.copy_database(database).await?;
    let client = connect(&copy).await?;
    for step in &shift.steps {
        let end = if step.is_given_up { "rollback" } else { "commit" };
        let ran = client.batch_execute(&format!("begin;\n{}\n;{end}", step.sql(1))).await;
        ran.with_context(|| format!("cannot do `{}`", step.what(1)))?;
    }
    if let Some(reason) = capture_error(&client).await? {
        bail!("a step of the shift could not be captured: {reason}");
    }
    let rows = client.query("select distinct tenant from andon.events order by 1", &[]).await?;
    if rows.is_empty() {
        bail!("the shift causes no event; does the mapping fit it?");
    }
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The destinations of one tenant.
#[derive(Debug)]
pub struct Outlet {
    /// The tenant.
    pub tenant: String,
    /// The broker's port on 127.0.0.1.
    pub broker: u16,
    /// The webhook's path at the receiver.
    pub path: String,
}

/// Adds a publisher and a webhook for each tenant, to the source's own tables if it has them and to those of Andon otherwise.
pub async fn direct(database: &str, system: &System, outlets: &[Outlet], receiver: &Receiver) -> Result<()> {
    let client = connect(database).await?;
    let publishers = system.mqtt_publishers.as_deref().unwrap_or("andon.mqtt_publishers");
    let webhooks = system.webhooks.as_deref().unwrap_or("andon.webhooks");
    for (outlet, enterprise) in outlets.iter().zip(ENTERPRISES.iter().cycle()) {
        let publisher = json!({
            "tenant_id": outlet.tenant, "name": "plant broker", "broker_url": "127.0.0.1", "port": outlet.broker,
            "use_tls": false, "topic_pattern": "{enterprise}/{site}/{area}/{cell}/{event}", "events": ["*"], "active": true,
            "default_enterprise": enterprise, "default_site": "chicago", "default_area": "fabrication",
        });
        insert(&client, publishers, &publisher).await.context("cannot add the publisher")?;
        let secret = format!("whsec_{}", STANDARD.encode(rand::random::<[u8; 24]>()));
        receiver.expect_signature(&outlet.path, &secret);
        let webhook = json!({
            "tenant_id": outlet.tenant, "url": receiver.url(&outlet.path), "secret_key": secret, "events": ["*"], "active": true,
        });
        insert(&client, webhooks, &webhook).await.context("cannot add the webhook")?;
    }
    Ok(())
}

/// Inserts a row. Each column takes the type that the table has for it, because the types differ from one system to the next.
async fn insert(client: &Client, table: &str, row: &Value) -> Result<()> {
    let columns = row.as_object().context("a row is an object")?.keys().cloned().collect::<Vec<_>>().join(", ");
    client
        .execute(
            &format!("insert into {table} ({columns}) select {columns} from jsonb_populate_record(null::{table}, $1)"),
            &[row],
        )
        .await?;
    Ok(())
}

/// Returns why a change could not be captured, if there is such a change.
pub async fn capture_error(client: &Client) -> Result<Option<String>> {
    let first =
        "select format('%s of %s: %s', operation, table_name, message) from andon.capture_errors order by id limit 1";
    Ok(client.query_opt(first, &[]).await.context("cannot read andon.capture_errors")?.map(|row| row.get(0)))
}

/// Creates a connection whose failure shows at its next use.
pub async fn connect(database: &str) -> Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(database, NoTls).await.context("cannot reach the plant's database")?;
    tokio::spawn(connection);
    Ok(client)
}
