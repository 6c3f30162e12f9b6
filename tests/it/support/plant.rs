//! A plant for the tests of capture: a database with Andon's schema, the eryxon reference schema and a few rows. In: SQL. Out: the
//! events that it left in the log, as values that read well in a failed assertion.

use std::path::Path;

use andon::capture::Mapping;
use rig::Postgres;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio_postgres::Client;
use tokio_postgres::NoTls;

use crate::support::role;

pub(crate) const ERYXON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/sources/eryxon.toml");
pub(crate) const SCHEMA: &str = include_str!("../../../config/sources/eryxon.schema.sql");

/// Inserts one tenant, one cell, and one job with one part and one operation, all with ids that are easy to tell apart.
const PLANT: &str = "
    insert into tenants (id, name) values ('00000000-0000-0000-0000-00000000000a', 'acme');
    insert into cells (id, tenant_id, name)
        values ('00000000-0000-0000-0000-00000000000c', '00000000-0000-0000-0000-00000000000a', 'Laser 1');
    insert into jobs (id, tenant_id, job_number, customer, current_cell_id)
        values ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-00000000000a', 'J-1', 'Bolt & Co',
                '00000000-0000-0000-0000-00000000000c');
    insert into parts (id, tenant_id, job_id, part_number)
        values ('00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-00000000000a',
                '00000000-0000-0000-0000-000000000001', 'P-7');
    insert into operations (id, tenant_id, part_id, cell_id, operation_name)
        values ('00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-00000000000a',
                '00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-00000000000c', 'Cut');";

pub(crate) struct Plant {
    pub(crate) client: Client,
    pub(crate) url: String,
}

impl Plant {
    /// Creates a database with Andon's schema and no other tables.
    pub(crate) async fn empty() -> Plant {
        static TEMPLATE: OnceCell<String> = OnceCell::const_new();
        Plant::copy_of(&TEMPLATE, async |client| drop(andon::migrate::migrate(client).await.unwrap())).await
    }

    /// Copies a database that is made once for all tests, because copying it is faster than making it.
    async fn copy_of(template: &OnceCell<String>, make: impl AsyncFnOnce(&mut Client)) -> Plant {
        let template = template
            .get_or_init(async || {
                let url = Postgres::shared().create_database().await.unwrap();
                let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
                let connection = tokio::spawn(connection);
                make(&mut client).await;
                role::grant(&client).await;
                // PostgreSQL refuses to copy a database while someone is connected to it.
                drop(client);
                connection.await.unwrap().unwrap();
                url
            })
            .await;
        let url = Postgres::shared().copy_database(template).await.unwrap();
        Plant { client: connect(&url).await, url }
    }

    /// Creates a database with the eryxon schema and the rows of [`PLANT`]. It is not attached yet.
    pub(crate) async fn built() -> Plant {
        static TEMPLATE: OnceCell<String> = OnceCell::const_new();
        Plant::copy_of(&TEMPLATE, build).await
    }

    /// Creates the same plant and attaches it.
    pub(crate) async fn attached() -> Plant {
        static TEMPLATE: OnceCell<String> = OnceCell::const_new();
        Plant::copy_of(&TEMPLATE, async |client| {
            build(client).await;
            andon::capture::attach(client, &eryxon()).await.unwrap();
        })
        .await
    }

    /// Creates a database with these tables and attaches it with this mapping.
    pub(crate) async fn with(schema: &str, mapping: &str) -> Plant {
        let mut plant = Plant::empty().await;
        plant.run(schema).await;
        plant.attach(mapping).await;
        plant
    }

    pub(crate) async fn attach(&mut self, mapping: &str) -> andon::capture::Report {
        let mapping = Mapping::parse("test.toml", mapping).unwrap();
        let report = andon::capture::attach(&mut self.client, &mapping).await.unwrap();
        // A source may bring tables of destinations, which are granted as README.md says.
        role::grant(&connect(&self.url).await).await;
        report
    }

    pub(crate) async fn run(&self, sql: &str) {
        if let Err(error) = self.client.batch_execute(sql).await {
            panic!("{error:?}\n{sql}");
        }
    }

    /// Runs SQL and returns the types of the events it made, in the order of the log.
    pub(crate) async fn types_after(&self, sql: &str) -> Vec<String> {
        self.events_after(sql).await.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// Runs SQL and returns the events it made, in the order of the log.
    pub(crate) async fn events_after(&self, sql: &str) -> Vec<Value> {
        let before: i64 =
            self.client.query_one("select coalesce(max(id), 0) from andon.events", &[]).await.unwrap().get(0);
        self.run(sql).await;
        let events = "select to_jsonb(e) from andon.events e where id > $1 order by id";
        self.client.query(events, &[&before]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// Runs SQL that must be captured without a failure, and returns the types of its events.
    pub(crate) async fn clean_types_after(&self, sql: &str) -> Vec<String> {
        let types = self.types_after(sql).await;
        assert_eq!(self.errors().await, [], "{sql}");
        types
    }

    /// Returns the failures of capture, each as operation, key, SQL state and message.
    pub(crate) async fn errors(&self) -> Vec<(String, Option<String>, String, String)> {
        let errors = "select operation, key, sqlstate, message from andon.capture_errors order by id";
        let rows = self.client.query(errors, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
    }

    pub(crate) async fn count(&self, query: &str) -> i64 {
        self.client.query_one(query, &[]).await.unwrap().get(0)
    }
}

async fn build(client: &mut Client) {
    andon::migrate::migrate(client).await.unwrap();
    client.batch_execute(SCHEMA).await.unwrap();
    client.batch_execute(PLANT).await.unwrap();
}

pub(crate) fn eryxon() -> Mapping {
    Mapping::read(Path::new(ERYXON)).unwrap_or_else(|problems| panic!("{problems}"))
}

pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
