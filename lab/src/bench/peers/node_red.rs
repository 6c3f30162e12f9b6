//! Node-RED next to Andon, from a table to MQTT at QoS 1. In: servers and options. Out: the figures of bursts, and how many of the events
//! arrived that were committed while the consumer was down. Node-RED listens to notifications that carry the whole event, as is usual.

use anyhow::Result;
use serde_json::Value;
use serde_json::json;

use crate::bench::comparison::Comparison;
use crate::bench::peers::bursts::bursts;
use crate::bench::peers::consumer::Program;
use crate::bench::peers::contest::ArrivalCounter;
use crate::bench::peers::contest::Side;
use crate::bench::peers::counting_subscriber::CountingSubscriber;
use crate::bench::peers::options::PeersBench;
use crate::bench::peers::plant;
use crate::packages::Packages;
use crate::stage;
use crate::stage::Stage;
use crate::stage::blocking;
use crate::stage::connect;
use rig::MosquittoOptions;

const TIDY: &str = "truncate reports";

/// Lets both take turns, adds their figures, and returns facts about the run.
pub(super) async fn compare(
    options: &PeersBench,
    packages: &Packages,
    stage: &Stage,
    comparison: &mut Comparison,
) -> Result<Value> {
    let broker = stage::broker(MosquittoOptions::default()).await?;
    let port = broker.port();
    let counter = ArrivalCounter::Broker(blocking(move || CountingSubscriber::start(port, "plant/#")).await?);
    let side = async |program, database| Side::new(program, database, options.writers, plant::insert(), TIDY).await;
    let mut peer = side(Program::NodeRed { broker: port }, notifying(stage).await?).await?;
    let mut andon = side(Program::Andon(stage.andon.clone()), publishing(stage, port).await?).await?;

    peer.start(packages).await?;
    andon.start(packages).await?;
    bursts("Node-RED", [&peer, &andon], &counter, &stage.postgres, options, comparison).await?;
    let mut facts = json!({"committed_while_down": options.events});
    for (side, variant) in [(&mut peer, "node_red"), (&mut andon, "andon")] {
        facts["delivered_of_them"][variant] = side.remembers(&counter, packages, options.events).await?.into();
        facts["payload"][variant] = counter.sample().into();
    }
    Ok(facts)
}

/// Makes a database whose trigger sends each row in a notification.
async fn notifying(stage: &Stage) -> Result<String> {
    let database = stage.postgres.create_database().await?;
    let statements = format!(
        "{};
        create function tell() returns trigger language plpgsql as $$
        begin
            perform pg_notify('reports', {});
            return null;
        end $$;
        create trigger tell after insert on reports for each row execute function tell()",
        plant::TABLE,
        plant::body("new")
    );
    connect(&database).await?.batch_execute(&statements).await?;
    Ok(database)
}

/// Makes a database that Andon is attached to, with one publisher.
async fn publishing(stage: &Stage, broker: u16) -> Result<String> {
    let database = plant::attached(stage).await?;
    connect(&database)
        .await?
        .execute(
            "insert into andon.mqtt_publishers (tenant_id, name, broker_url, port, topic_pattern, events)
            values ('acme', 'plant', '127.0.0.1', $1, 'plant/{cell}/{entity_id}/{event}', '{*}')",
            &[&i32::from(broker)],
        )
        .await?;
    Ok(database)
}
