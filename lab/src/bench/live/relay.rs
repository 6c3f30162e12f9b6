//! The baseline of the live bench: the payload inside NOTIFY, and a bare publish. In: notifications of a database. Out: publishes at QoS 1
//! with the client library of the gateway, driven in the same way. It has a thread of its own and nothing else to do. It keeps nothing,
//! and loses what is notified while it is away.

use std::future::poll_fn;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::Result;
use rumqttc_v5::AsyncClient;
use rumqttc_v5::MqttOptions;
use rumqttc_v5::PublishOptions;
use tokio::sync::oneshot;
use tokio_postgres::AsyncMessage;
use tokio_postgres::NoTls;

/// A running relay. Dropping it ends it.
pub(super) struct Relay(#[expect(dead_code, reason = "its end is the relay's")] oneshot::Sender<()>);

/// The batch and the window of the gateway's own lanes, so that both do the same.
const BATCH: usize = 64;
const WINDOW: u16 = 256;
const PATIENCE: Duration = Duration::from_secs(20);

impl Relay {
    /// Starts it, and returns when it listens.
    pub(super) fn start(database: String, broker: u16) -> Result<Relay> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (lifeline, over) = oneshot::channel();
        let (says_ready, ready) = std::sync::mpsc::channel();
        std::thread::Builder::new().name("relay".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = over => {}
                    // What it failed to carry is missing in the count.
                    ended = carry(&database, broker, says_ready) => drop(ended),
                }
            });
        })?;
        ready.recv_timeout(PATIENCE).context("the baseline does not listen")?;
        Ok(Relay(lifeline))
    }
}

async fn carry(database: &str, broker: u16, says_ready: std::sync::mpsc::Sender<()>) -> Result<()> {
    let mut options = MqttOptions::new("relay", ("127.0.0.1", broker));
    let mut network = options.network_options();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    options.set_max_request_batch(BATCH).set_read_batch_size(BATCH);
    options.set_outgoing_inflight_upper_limit(WINDOW + 8);
    let (publisher, mut events) = AsyncClient::builder(options).unbounded().build();
    tokio::spawn(async move { while events.poll().await.is_ok() {} });
    let (client, mut connection) = tokio_postgres::connect(database, NoTls).await?;
    let listening = async {
        client.batch_execute("listen live").await?;
        says_ready.send(()).context("nobody waits for the baseline")?;
        std::future::pending::<Result<()>>().await
    };
    let carrying = async {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(note) = message? {
                let options = PublishOptions::at_least_once();
                publisher.try_publish("live/job", note.payload().as_bytes().to_vec(), options)?;
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = listening => ended,
        ended = carrying => ended,
    }
}
