//! The demo's plant: a small workshop in the schema of an eryxon system. In: an empty database, a broker's port, a receiver. Out: the
//! schema, a tenant, its cells, one publisher and one webhook. It knows the schema, and nothing of the gateway.

use anyhow::Context;
use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio_postgres::Client;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::rig::Receiver;

/// The source that the demo attaches.
pub(super) const MAPPING: &str = include_str!("../../config/sources/eryxon.toml");
const SCHEMA: &str = include_str!("../../config/sources/eryxon.schema.sql");
const WEBHOOK_PATH: &str = "/andon";
const CELLS: [&str; 5] = ["Laser 1", "Press Brake 2", "Weld Cell 3", "Paint Shop", "Assembly 5"];

/// What the shift works with.
pub(super) struct Plant {
    pub(super) tenant: Uuid,
    pub(super) cells: Vec<Cell>,
    pub(super) webhook_url: String,
}

/// A work center.
pub(super) struct Cell {
    pub(super) id: Uuid,
    pub(super) name: &'static str,
}

/// Loads the schema and the rows that are there before the shift begins.
pub(super) async fn build(database: &str, broker: u16, receiver: &Receiver) -> Result<Plant> {
    let client = connect(database).await?;
    client.batch_execute(SCHEMA).await.context("cannot load the plant's schema")?;
    let secret = format!("whsec_{}", STANDARD.encode(rand::random::<[u8; 24]>()));
    receiver.expect_signature(WEBHOOK_PATH, &secret);
    let tenant = Uuid::new_v4();
    let webhook_url = receiver.url(WEBHOOK_PATH);
    client
        .execute(
            "insert into public.tenants (id, name, company_name) values ($1, 'Acme', 'Acme Metalworks')",
            &[&tenant],
        )
        .await
        .context("cannot add the tenant")?;
    let mut cells = Vec::new();
    for (place, name) in (1_i32..).zip(CELLS) {
        let cell = Cell { id: Uuid::new_v4(), name };
        client
            .execute(
                "insert into public.cells (id, tenant_id, name, sequence, active) values ($1, $2, $3, $4, true)",
                &[&cell.id, &tenant, &cell.name, &place],
            )
            .await
            .with_context(|| format!("cannot add the cell {name}"))?;
        cells.push(cell);
    }
    client
        .execute(
            "insert into public.mqtt_publishers (id, tenant_id, name, broker_url, port, use_tls, topic_pattern, events, active,
                                                 default_enterprise, default_site, default_area)
             values ($1, $2, 'plant broker', '127.0.0.1', $3, false, '{enterprise}/{site}/{area}/{cell}/{event}', '{*}', true,
                     'acme', 'chicago', 'fabrication')",
            &[&Uuid::new_v4(), &tenant, &i32::from(broker)],
        )
        .await
        .context("cannot add the publisher")?;
    client
        .execute(
            "insert into public.webhooks (id, tenant_id, url, secret_key, events, active) values ($1, $2, $3, $4, '{*}', true)",
            &[&Uuid::new_v4(), &tenant, &webhook_url, &secret],
        )
        .await
        .context("cannot add the webhook")?;
    Ok(Plant { tenant, cells, webhook_url })
}

/// How many events the log holds.
pub(super) async fn captured(database: &str) -> Result<i64> {
    let client = connect(database).await?;
    Ok(client.query_one("select count(*) from andon.events", &[]).await.context("cannot count the log")?.get(0))
}

/// A connection whose failure shows at its next use.
pub(super) async fn connect(database: &str) -> Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(database, NoTls).await.context("cannot reach the plant's database")?;
    tokio::spawn(connection);
    Ok(client)
}
