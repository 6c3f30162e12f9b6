//! Listens to the NOTIFY channels of the attached sources. In: notifications. Out: events in the log, written by `andon.emit_notified()`, or a
//! count in `andon.capture_errors`. A channel has no memory: a notification that is sent while no daemon listens, or that has not reached the
//! log when the process dies, is lost. One session per database listens at a time, so that no event is written twice.

use std::time::Duration;

use anyhow::Context as _;
use deadpool_postgres::Pool;
use futures_util::future::poll_fn;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_postgres::AsyncMessage;
use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::types::Json;
use tokio_postgres::types::ToSql;
use tokio_util::task::AbortOnDropHandle;

use crate::capture::Mapping;
use crate::capture::mapping::Channel;
use crate::capture::notification::Notified;
use crate::capture::notification::Unreadable;
use crate::database::Database;
use crate::database::PostgresConnection;
use crate::database::reconnect::Reconnect;
use crate::database::turns;
use crate::gateway::assignment::DaemonId;
use crate::gateway::channel_failures::ChannelFailures;
use crate::legible;
use crate::log::wakeup::listener;
use crate::log::wakeup::listener::Signals;
use crate::secret::Secret;
use crate::signature::NotificationKey;

/// How soon a failed write is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often it is looked whether another daemon still listens.
const TURN: Duration = Duration::from_secs(1);
/// How long the pauses get, at most, between attempts to listen.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How many notifications may wait to be written; each has at most 8,000 bytes. PostgreSQL queues the ones beyond that.
const WAITING: usize = 1000;

/// The channel and the payload of a notification.
type Notification = (String, String);

/// Listens forever, through lost connections and changes of the sources.
pub(super) async fn run(database: &Database, pool: &Pool, key: Option<&Secret>, signals: &Signals, daemon: DaemonId) {
    let mut reconnect = Reconnect::new(LONGEST_PAUSE);
    let mut failures = ChannelFailures::default();
    let key = key.map(|key| NotificationKey::new(key.expose()));
    loop {
        if let Err(error) =
            listen_once(database, pool, key.as_ref(), &mut failures, signals, daemon, &mut reconnect).await
        {
            let error = format!("{error:#}");
            let failure = reconnect.failed(Instant::now(), &error);
            if failure.is_news {
                tracing::error!(
                    error,
                    "cannot listen to the channels; notifications that are sent until it can are lost"
                );
            }
            // Another daemon may be able to do what this one cannot.
            drop(leave(pool, daemon).await);
            tokio::time::sleep(failure.pause).await;
        }
    }
}

async fn leave(pool: &Pool, daemon: DaemonId) -> anyhow::Result<()> {
    Ok(turns::leave_channels(&**pool.get().await?, &daemon).await?)
}

/// Waits until no other daemon listens.
async fn our_turn(pool: &Pool, daemon: DaemonId) -> anyhow::Result<()> {
    while !turns::listen_to_channels(&**pool.get().await?, &daemon).await.context("waiting for the turn to listen")? {
        tokio::time::sleep(TURN).await;
    }
    Ok(())
}

/// A channel of a source, and how its notifications become events.
struct SourceChannel {
    source: String,
    levels: Vec<(String, String)>,
    channel: Channel,
}

/// Listens until no source has a channel any more.
async fn listen_once(
    database: &Database,
    pool: &Pool,
    key: Option<&NotificationKey>,
    failures: &mut ChannelFailures,
    signals: &Signals,
    daemon: DaemonId,
    reconnect: &mut Reconnect,
) -> anyhow::Result<()> {
    let mut channels = attached_channels(pool).await?;
    if channels.is_empty() {
        signals.sources.notified().await;
        return Ok(());
    }
    our_turn(pool, daemon).await?;
    let (client, connection) = database.connect_apart().await?;
    let (sender, mut notifications) = mpsc::channel(WAITING);
    // The task ends when this handle is dropped, and the session with it.
    let draining = AbortOnDropHandle::new(tokio::spawn(drain(connection, sender)));
    listen(&client, &channels, &[], &mut notifications).await?;
    reconnect.opened(Instant::now());
    tracing::info!(channels = channels.len(), "listening to the channels of the sources");
    loop {
        tokio::select! {
            notification = notifications.recv() => match notification {
                Some(notification) => write(pool, key, &channels, failures, notification).await,
                None => return Err(listener::ended(draining.await).context("lost the session that listens to the channels")),
            },
            () = failures.due() => failures.write(pool).await,
            () = signals.sources.notified() => {
                let before = std::mem::replace(&mut channels, attached_channels(pool).await?);
                for notification in listen(&client, &channels, &before, &mut notifications).await? {
                    write(pool, key, &channels, failures, notification).await;
                }
                if channels.is_empty() {
                    return Ok(());
                }
            }
        }
    }
}

/// Keeps the socket drained. It waits for nothing but room in the queue, because an unread socket would hold up the server.
async fn drain(mut connection: PostgresConnection, sender: mpsc::Sender<Notification>) -> Option<Error> {
    loop {
        match poll_fn(|context| connection.poll_message(context)).await? {
            Ok(AsyncMessage::Notification(heard)) => {
                sender.send((heard.channel().to_owned(), heard.payload().to_owned())).await.ok()?;
            }
            Ok(_) => {}
            Err(error) => return Some(error),
        }
    }
}

async fn attached_channels(pool: &Pool) -> anyhow::Result<Vec<SourceChannel>> {
    let rows = pool.get().await?.query("select name, mapping from andon.sources order by name", &[]).await?;
    let mut channels = Vec::new();
    for row in rows {
        let source: String = row.get(0);
        // A mapping that an older version attached may no longer be readable. `andon check` says why; its triggers still work.
        let Ok(mapping) = Mapping::parse(&source, row.get(1)) else {
            tracing::warn!(
                source,
                "cannot read the attached mapping; no notification of its channels becomes an event until it is attached again"
            );
            continue;
        };
        let of_source = |channel| SourceChannel { source: source.clone(), levels: mapping.levels.clone(), channel };
        channels.extend(mapping.channels.iter().cloned().map(of_source));
    }
    Ok(channels)
}

/// Listens to the wanted channels and stops listening to the others. Returns the notifications that arrive meanwhile: they have to be read,
/// because the server's answer comes after them on the same socket.
async fn listen(
    client: &Client,
    wanted: &[SourceChannel],
    before: &[SourceChannel],
    notifications: &mut mpsc::Receiver<Notification>,
) -> anyhow::Result<Vec<Notification>> {
    let is_gone = |old: &&SourceChannel| wanted.iter().all(|new| new.channel.name != old.channel.name);
    let gone = before.iter().filter(is_gone).map(|old| format!("unlisten {}; ", quoted(&old.channel.name)));
    let sql: String = wanted.iter().map(|new| format!("listen {}; ", quoted(&new.channel.name))).chain(gone).collect();
    let mut early = Vec::new();
    let listening = client.batch_execute(&sql);
    tokio::pin!(listening);
    loop {
        tokio::select! {
            done = &mut listening => {
                done.context("listening to the channels")?;
                return Ok(early);
            }
            Some(notification) = notifications.recv() => early.push(notification),
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Writes a notification into the log, once for each source that has the channel. It retries until the event is stored; what is no event is
/// counted.
async fn write(
    pool: &Pool,
    key: Option<&NotificationKey>,
    channels: &[SourceChannel],
    failures: &mut ChannelFailures,
    (name, payload): Notification,
) {
    for source_channel in channels.iter().filter(|it| it.channel.name == name) {
        let mut fail = |code: &str, reason: &str| {
            failures.add(&source_channel.source, &name, code, &legible::line(reason.to_owned()));
        };
        let payload = match authentic(source_channel, key, &payload) {
            Ok(payload) => payload,
            Err(reason) => {
                fail("28000", reason);
                continue;
            }
        };
        let event = match source_channel.channel.read(payload, &source_channel.levels) {
            Ok(event) => event,
            Err(reason) => {
                let code = if matches!(reason, Unreadable::NotJson(_)) { "22032" } else { "22023" };
                fail(code, &reason.to_string());
                continue;
            }
        };
        while let Err(error) = emit(pool, source_channel, &event).await {
            let refusal = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::as_db_error);
            // The event itself cannot be stored, for example because of a character that PostgreSQL does not accept, or because it is nested
            // too deep.
            if let Some(refusal) = refusal
                && ["22", "23", "54"].contains(&&refusal.code().code()[..2])
            {
                fail(refusal.code().code(), refusal.message());
                break;
            }
            let error = format!("{error:#}");
            tracing::warn!(error, channel = name, "cannot write a notification yet; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Returns the JSON of a payload, which a channel may want to be signed.
fn authentic<'p>(
    SourceChannel { channel, .. }: &SourceChannel,
    key: Option<&NotificationKey>,
    payload: &'p str,
) -> Result<&'p str, &'static str> {
    match key {
        _ if !channel.is_signed => Ok(payload),
        None => Err("the channel is signed, and the configuration of andon run has no channels.key_file"),
        Some(key) => {
            key.open(&channel.name, payload).ok_or("the payload is not signed with the key of channels.key_file")
        }
    }
}

async fn emit(
    pool: &Pool,
    SourceChannel { source, channel, .. }: &SourceChannel,
    event: &Notified,
) -> anyhow::Result<()> {
    let Notified { event_type, tenant, entity_id, context, data } = event;
    let client = pool.get().await?;
    let statement = client.prepare_cached("select andon.emit_notified($1, $2, $3, $4, $5, $6, $7, $8)").await?;
    let (data, context) = (Json(data), Json(context));
    let parameters: [&(dyn ToSql + Sync); 8] =
        [source, &channel.name, event_type, &data, tenant, &channel.entity_type, entity_id, &context];
    client.query_one(&statement, &parameters).await?;
    Ok(())
}
