//! The small line of the compatibility run. In: servers. Out: a database with one publisher and one webhook, a daemon that is prepared, and
//! witnesses at each place: the receiver, a tap that sees what the broker acknowledges, and a subscriber behind the broker.

use anyhow::Result;
use rig::Daemon;
use rig::DaemonOptions;
use rig::Receiver;
use rig::SubscriberV4;
use rig::Tap;
use rig::subscriber::SubscriberOptions;
use rig::tap::Seen;
use rig::tap::TapOptions;

use crate::compat::candidate::Servers;
use crate::stage::connect;

/// The fields end in this order: the daemon first, then what it talks to.
pub(super) struct Line {
    pub(super) daemon: Daemon,
    pub(super) subscriber: SubscriberV4,
    pub(super) tap: Tap,
    pub(super) receiver: Receiver,
    /// The database as the plant reaches it.
    pub(super) direct: String,
    /// The database as Andon reaches it.
    pub(super) url: String,
    pub(super) servers: Servers,
}

const PLANT: &str = include_str!("../../compat/plant.sql");
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

impl Line {
    pub(super) async fn prepare(servers: Servers) -> Result<Line> {
        let direct = servers.stage.database().await?;
        let url = servers.pooler.as_ref().map_or_else(|| direct.clone(), |pooler| pooler.url(&direct));
        let receiver = Receiver::start().await?;
        receiver.expect_signature("/parts", SECRET);
        let tap = Tap::start(servers.broker.port, TapOptions::default()).await?;
        let filter = "line/#".to_owned();
        let credentials = servers.broker.credentials.clone();
        let (username, password) = credentials.clone().unzip();
        let options = SubscriberOptions { port: servers.broker.port, filter, credentials };
        let subscriber = SubscriberV4::start(options).await?;
        let client = connect(&direct).await?;
        client.batch_execute(PLANT).await?;
        client
            .execute(
                "insert into andon.mqtt_publishers (tenant_id, name, broker_url, port, username, password, topic_pattern, events)
                values ('acme', 'line', '127.0.0.1', $1, $2, $3, 'line/{entity_id}/{event}', '{*}')",
                &[&i32::from(tap.port()), &username, &password],
            )
            .await?;
        client
            .execute(
                "insert into andon.webhooks (tenant_id, url, secret_key, events) values ('acme', $1, $2, '{*}')",
                &[&receiver.url("/parts"), &SECRET],
            )
            .await?;
        let configuration = "[gateway]\nname = \"compat\"\n".to_owned();
        let daemon = servers.stage.andon.daemon(&url, DaemonOptions { configuration, environment: vec![] })?;
        Ok(Line { daemon, subscriber, tap, receiver, direct, url, servers })
    }

    /// Returns the version of MQTT that Andon speaks with the broker.
    pub(super) fn mqtt(&self) -> &'static str {
        let level = self.tap.seen().snapshot().iter().rev().find_map(|seen| match **seen {
            Seen::Connect(level) => Some(level),
            _ => None,
        });
        match level {
            Some(5) => "5",
            Some(4) => "3.1.1",
            _ => "",
        }
    }
}
