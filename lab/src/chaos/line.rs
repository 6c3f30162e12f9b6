//! The line that chaos breaks: real servers, daemons, a proxy on each way between them. In: how many daemons. Out: everything prepared, and
//! healed on demand. It breaks nothing itself.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::bail;
use futures_util::future::try_join_all;
use rig::Daemon;
use rig::DaemonOptions;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Postgres;
use rig::Proxy;
use rig::Receiver;
use rig::Subscriber;
use rig::Tap;
use rig::process::State;
use rig::tap::TapOptions;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_postgres::Client;

use crate::andon::Andon;
use crate::chaos::claimed::Claimed;
use crate::chaos::committed;
use crate::chaos::destination_rows;
use crate::chaos::destination_rows::Rows;
use crate::chaos::destinations;
use crate::chaos::destinations::DESTINATIONS;
use crate::chaos::hostile::Hostile;
use crate::chaos::mistake::MISTAKES;
use crate::chaos::mistake::ROLE;
use crate::chaos::narrator::Narrator;
use crate::stage;
use crate::stage::Stage;
use crate::stage::connect;
use crate::witness::Way;
use crate::witness::Witness;

/// The fields end in this order: the daemons first, then what they talk to.
pub(super) struct Line {
    pub(super) daemons: Vec<Daemon>,
    pub(super) rows: Rows,
    subscribers: Vec<Subscriber>,
    pub(super) receiver: Receiver,
    pub(super) hostile: Hostile,
    /// One in front of each broker, where brokers are killed.
    taps: Vec<Tap>,
    /// From each daemon to PostgreSQL.
    pub(super) database_links: Vec<Proxy>,
    /// From the daemons to the broker or endpoint of each destination.
    pub(super) links: Vec<Proxy>,
    pub(super) brokers: Vec<Arc<Mosquitto>>,
    /// In front of the server that is the primary. All connections lead through it.
    pub(super) entrance: Proxy,
    /// The server that is the primary. A fault that ends it keeps this lock.
    pub(super) primary: Mutex<Arc<Postgres>>,
    pub(super) database: String,
    pub(super) claimed: Claimed,
}

/// A supervisor's pause before it starts a daemon again.
const SUPERVISOR_PAUSE: Duration = Duration::from_millis(500);
const LOG: &str = "info,andon=debug,tokio_postgres=warn,deadpool=error";

impl Line {
    /// Prepares everything and starts all but the daemons. A broker that will be killed has a tap for a witness, and no subscriber.
    pub(super) async fn prepare(andon: &Andon, daemons: usize, kills_brokers: bool) -> Result<Line> {
        let Stage { andon, postgres } = Stage::start(andon, Postgres::start).await?;
        let entrance = Proxy::start(postgres.port()).await?;
        let direct = postgres.create_database().await?;
        let database = direct.replace(&format!(":{}/", postgres.port()), &format!(":{}/", entrance.port()));
        let client = connect(&database).await?;
        assert_commits_are_durable(&client).await?;
        andon.migrate(&database).await?;
        let grants = andon.grants(ROLE).await?;
        client.batch_execute(&grants).await.context("cannot make the gateway's role")?;
        committed::prepare(&client).await?;
        let options = MosquittoOptions { persistence: true, ..MosquittoOptions::default() };
        let brokers = try_join_all((0..destinations::BROKERS).map(|_| stage::broker(options.clone()))).await?;
        let ports = || brokers.iter().map(Mosquitto::port);
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
        let hostile = Hostile::start(&client).await?;
        let database_links = try_join_all((0..daemons).map(|_| Proxy::start(entrance.port()))).await?;
        let daemons = (0..)
            .zip(&database_links)
            .map(|(number, link)| {
                let direct = format!("postgres@127.0.0.1:{}/", entrance.port());
                daemon(&andon, number, &database.replace(&direct, &format!("{ROLE}@127.0.0.1:{}/", link.port())))
            })
            .collect::<Result<_>>()?;
        let brokers = brokers.into_iter().map(Arc::new).collect();
        let (primary, claimed) = (Mutex::new(postgres), Claimed::default());
        Ok(Line {
            daemons,
            rows,
            subscribers,
            receiver,
            hostile,
            taps,
            database_links,
            links,
            brokers,
            entrance,
            primary,
            database,
            claimed,
        })
    }

    /// Makes a witness of everything that arrives.
    pub(super) fn witness(&self) -> Witness {
        Witness::new(&self.subscribers, &self.receiver).with_taps(&self.taps)
    }

    /// Starts a daemon again whenever it ends although no fault has ended it, for as long as it is polled.
    pub(super) async fn supervise(&self, daemon: usize, start: Instant, narrator: Narrator) -> Result<()> {
        let note = |state| {
            if let State::Ended(status) = state {
                let what = format!("{} ended by itself with status {status}; starting it again", name(daemon));
                narrator.note(start, &what);
            }
            Ok(())
        };
        self.daemons[daemon].supervise(SUPERVISOR_PAUSE, note).await
    }

    /// Repairs what faults may have left, so that everything runs and every link is open.
    pub(super) async fn heal(&self) -> Result<()> {
        for proxy in self.database_links.iter().chain(&self.links) {
            heal(proxy).await?;
        }
        // A crash or a promotion may have undone what put a mistake right.
        for right in MISTAKES.iter().filter(|it| !it.is_held()).map(|it| it.statements().1) {
            destination_rows::execute(&self.database, &right).await?;
        }
        destination_rows::execute(&self.database, "delete from chaos.full_disks").await?;
        for daemon in &self.daemons {
            daemon.resume()?;
            daemon.start().await?;
        }
        Ok(())
    }
}

/// Returns the name of a daemon, which it has in `andon.daemons` too.
pub(super) fn name(daemon: usize) -> String {
    format!("gateway-{}", daemon + 1)
}

fn daemon(andon: &Andon, number: usize, url: &str) -> Result<Daemon> {
    // The memory is small so that lanes that are behind read the log.
    let configuration = format!("[gateway]\nname = \"{}\"\ngrace = \"3s\"\n[log]\nmemory = \"1MiB\"\n", name(number));
    let url = format!("{url}?application_name=andon-{}&sslmode=disable", number + 1);
    andon.daemon(&url, DaemonOptions { configuration, environment: vec![("ANDON_LOG".into(), LOG.into())] })
}

/// Lets everything pass again, and resets half-open connections.
pub(super) async fn heal(proxy: &Proxy) -> Result<()> {
    proxy.resume();
    proxy.slow(None);
    proxy.release();
    proxy.refuse(false).await
}

/// Asserts that a confirmed commit outlives a crash of the server. Otherwise the judge would expect events that the crash has undone.
async fn assert_commits_are_durable(client: &Client) -> Result<()> {
    for setting in ["synchronous_commit", "full_page_writes"] {
        let value: String = client.query_one(&format!("show {setting}"), &[]).await?.get(0);
        if value != "on" {
            bail!("{setting} is {value} in the throw-away PostgreSQL: a crash could lose what was committed");
        }
    }
    Ok(())
}
