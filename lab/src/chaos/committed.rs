//! Records what was committed. In: a database. Out: tables in which each event of the run is written next to the log, and at the end their
//! content. Only the database is asked, because a writer that lost its connection does not know whether its commit succeeded.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;

use anyhow::Context;
use anyhow::Result;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::chaos::destinations;
use crate::chaos::destinations::Destination;
use crate::chaos::destinations::Entity;

const TABLES: &str = include_str!("committed.sql");

/// An event that was committed.
#[derive(Debug, Clone)]
pub(super) struct Fact {
    pub(super) nonce: String,
    pub(super) event_id: Uuid,
    /// When it was written, in seconds since 1970.
    pub(super) at: f64,
}

/// Everything that was committed, by entity and counter.
#[derive(Debug)]
pub(super) struct Committed {
    facts: HashMap<String, BTreeMap<u64, Fact>>,
    entities: Vec<Entity>,
}

/// Makes the tables and fills in the entities.
pub(super) async fn prepare(client: &Client) -> Result<()> {
    client.batch_execute(TABLES).await.context("cannot make the run's own tables")?;
    for Entity { name, tenant, kind } in destinations::entities().into_iter().chain(destinations::bulk_entities()) {
        client
            .execute("insert into chaos.entities (entity, tenant, kind) values ($1, $2, $3)", &[&name, &tenant, &kind])
            .await?;
    }
    Ok(())
}

impl Committed {
    pub(super) async fn read(client: &Client) -> Result<Committed> {
        let statement = "select entity, counter, nonce, event_id, extract(epoch from at)::float8 from chaos.committed";
        let mut facts: HashMap<String, BTreeMap<u64, Fact>> = HashMap::new();
        for row in client.query(statement, &[]).await.context("cannot read what was committed")? {
            let fact = Fact { nonce: row.get(2), event_id: row.get(3), at: row.get(4) };
            let counter = u64::try_from(row.get::<_, i64>(1)).context("a counter below 0")?;
            facts.entry(row.get(0)).or_default().insert(counter, fact);
        }
        Ok(Committed::new(facts))
    }

    pub(super) fn new(facts: HashMap<String, BTreeMap<u64, Fact>>) -> Committed {
        Committed {
            facts,
            entities: destinations::entities().into_iter().chain(destinations::bulk_entities()).collect(),
        }
    }

    /// Returns how many events were committed.
    pub(super) fn count(&self) -> u64 {
        self.facts.values().map(|facts| facts.len() as u64).sum()
    }

    /// Returns the nonces of all of them.
    pub(super) fn nonces(&self) -> HashSet<&str> {
        self.facts.values().flat_map(BTreeMap::values).map(|fact| fact.nonce.as_str()).collect()
    }

    /// Returns the highest counter of each entity that a destination wants.
    pub(super) fn expected(&self, destination: &Destination) -> BTreeMap<String, u64> {
        self.entities
            .iter()
            .filter(|entity| destination.wants(entity.tenant, entity.kind))
            .filter_map(|entity| Some((entity.name.clone(), *self.facts.get(&entity.name)?.keys().last()?)))
            .collect()
    }

    pub(super) fn fact(&self, entity: &str, counter: u64) -> Option<&Fact> {
        self.facts.get(entity)?.get(&counter)
    }
}
