//! The stage: real servers, a proxy on each way, the daemons, the witnesses. In: how many daemons. Out: everything running, and healed on
//! demand. It breaks nothing by itself.

use std::sync::Arc;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use futures_util::future::try_join_all;
use nix::sys::signal::Signal;
use tokio_postgres::Client;

use crate::andon::Andon;
use crate::chaos::cast;
use crate::chaos::cast::DESTINATIONS;
use crate::chaos::cast::Way;
use crate::chaos::daemon::Daemon;
use crate::chaos::rows::Rows;
use crate::chaos::truth;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Postgres;
use rig::Proxy;
use rig::Receiver;
use rig::Subscriber;
use rig::Tap;
use rig::tap::TapOptions;

/// The fields end in this order: the daemons first, then what they talk to.
pub(super) struct Stage {
    pub(super) daemons: Vec<Daemon>,
    pub(super) rows: Rows,
    pub(super) subscribers: Vec<Subscriber>,
    pub(super) receiver: Receiver,
    /// In front of each broker, where brokers are killed.
    pub(super) taps: Vec<Tap>,
    /// From each daemon to PostgreSQL.
    pub(super) database_links: Vec<Proxy>,
    /// From the daemons to the broker or endpoint of each destination.
    pub(super) links: Vec<Proxy>,
    pub(super) brokers: Vec<Arc<Mosquitto>>,
    pub(super) postgres: Arc<Postgres>,
    pub(super) database: String,
}

impl Stage {
    /// Starts everything but the daemons. A broker that is going to be killed is listened to by a tap, and not by a subscriber.
    pub(super) async fn set(andon: &Andon, daemons: usize, kills_brokers: bool) -> Result<Stage> {
        let postgres = Arc::new(blocking(Postgres::start).await?);
        let database = postgres.create_database().await?;
        let client = truth::connect(&database).await?;
        keeps_what_it_confirms(&client).await?;
        andon.migrate(&database).await?;
        truth::prepare(&client).await?;
        let options = MosquittoOptions { persistence: true, ..MosquittoOptions::default() };
        let brokers = try_join_all((0..cast::BROKERS).map(|_| {
            let options = options.clone();
            blocking(move || Mosquitto::start(&options).map(Arc::new))
        }))
        .await?;
        let ports = || brokers.iter().map(|broker| broker.port());
        let (mut subscribers, mut taps) = (Vec::new(), Vec::new());
        if kills_brokers {
            taps = try_join_all(ports().map(|port| Tap::start(port, TapOptions::default()))).await?;
        } else {
            subscribers = try_join_all(ports().map(Subscriber::start)).await?;
        }
        let entrances: Vec<u16> = if kills_brokers { taps.iter().map(Tap::port).collect() } else { ports().collect() };
        let receiver = Receiver::start().await?;
        let links = try_join_all(DESTINATIONS.iter().map(|destination| match destination.way {
            Way::Mqtt(broker) => Proxy::start(entrances[broker]),
            Way::Webhook => Proxy::start(receiver.port()),
        }))
        .await?;
        let rows = Rows::insert(&client, &links.iter().map(Proxy::port).collect::<Vec<_>>()).await?;
        let database_links = try_join_all((0..daemons).map(|_| Proxy::start(postgres.port()))).await?;
        let daemons = (1..)
            .zip(&database_links)
            .map(|(number, link)| {
                let behind = format!(":{}/", postgres.port());
                Daemon::prepare(andon, number, &database.replace(&behind, &format!(":{}/", link.port())))
            })
            .collect::<Result<_>>()?;
        Ok(Stage { daemons, rows, subscribers, taps, receiver, database_links, links, brokers, postgres, database })
    }

    /// Ends what faults may have left: everything runs, and every way is open.
    pub(super) async fn heal(&self) -> Result<()> {
        for proxy in self.database_links.iter().chain(&self.links) {
            heal(proxy).await?;
        }
        for daemon in &self.daemons {
            daemon.signal(Signal::SIGCONT)?;
            daemon.start().await?;
        }
        Ok(())
    }
}

/// Lets everything pass again. What hangs half open is reset.
pub(super) async fn heal(proxy: &Proxy) -> Result<()> {
    proxy.resume();
    proxy.slow(None);
    proxy.release();
    proxy.refuse(false).await
}

/// A commit that was confirmed must outlive a crash of the server, or the judge would hold the gateway to what never was.
async fn keeps_what_it_confirms(client: &Client) -> Result<()> {
    for setting in ["synchronous_commit", "full_page_writes"] {
        let value: String = client.query_one(&format!("show {setting}"), &[]).await?.get(0);
        if value != "on" {
            bail!("{setting} is {value} in the throw-away PostgreSQL: a crash could lose what was committed");
        }
    }
    Ok(())
}

pub(super) async fn blocking<T: Send + 'static>(act: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(act).await.context("a server's start was given up")?
}
