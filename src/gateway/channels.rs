//! The channels of the attached sources. In: notifications, as long as somebody listens. Out: events in the log, written as
//! `andon.emit()` does, or a line in `andon.capture_errors`. A channel has no memory: what is notified while nobody listens, or is still
//! on its way through here when the process dies, is lost. One session of a database listens at a time.

use std::time::Duration;

use anyhow::Context as _;
use anyhow::bail;
use deadpool_postgres::Pool;
use futures_util::future::poll_fn;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_postgres::AsyncMessage;
use tokio_postgres::Client;

use crate::capture::Mapping;
use crate::capture::mapping::Channel;
use crate::capture::notification::Notified;
use crate::capture::notification::Unreadable;
use crate::database::Database;
use crate::database::Link;
use crate::log::wakeup::listener::Signals;
use crate::log::wakeup::lock;

/// How soon a lost connection, or a refused write, is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Notifications that wait to be written; each has at most 8,000 bytes. Beyond it PostgreSQL keeps them for us.
const WAITING: usize = 1000;

type Note = (String, String);

/// Listens for ever, through lost connections and changes of the sources.
pub(super) async fn carry(database: &Database, pool: &Pool, signals: &Signals) {
    let mut trouble = String::new();
    loop {
        if let Err(error) = carry_once(database, pool, signals).await {
            let now = format!("{error:#}");
            if now != trouble {
                tracing::error!(error = now, "cannot hear the channels; what is notified meanwhile is lost");
                trouble = now;
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// A channel, and what it is read by.
struct Heard {
    source: String,
    levels: Vec<(String, String)>,
    channel: Channel,
}

/// Listens until there is nothing more to listen to.
async fn carry_once(database: &Database, pool: &Pool, signals: &Signals) -> anyhow::Result<()> {
    let mut channels = attached(pool).await?;
    if channels.is_empty() {
        signals.sources.notified().await;
        return Ok(());
    }
    let (client, connection) = database.connect_apart().await?;
    let (heard, mut notes) = mpsc::channel(WAITING);
    // The task ends with this set, and the session with its client.
    let mut draining = JoinSet::new();
    draining.spawn(drain(connection, heard));
    lock::await_channels(&client).await.context("waiting for another listener to end")?;
    listen(&client, &channels, &[], &mut notes).await?;
    tracing::info!(channels = channels.len(), "listening to the channels of the sources");
    loop {
        tokio::select! {
            note = notes.recv() => match note {
                Some(note) => write(pool, &channels, note).await,
                None => bail!("the connection that listens to the channels ended"),
            },
            () = signals.sources.notified() => {
                let before = std::mem::replace(&mut channels, attached(pool).await?);
                for note in listen(&client, &channels, &before, &mut notes).await? {
                    write(pool, &channels, note).await;
                }
                if channels.is_empty() {
                    return Ok(());
                }
            }
        }
    }
}

/// Reads the socket; nothing here may wait for anything but the next in line.
async fn drain(mut connection: Link, heard: mpsc::Sender<Note>) {
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notification(note) = message
            && heard.send((note.channel().to_owned(), note.payload().to_owned())).await.is_err()
        {
            return;
        }
    }
}

async fn attached(pool: &Pool) -> anyhow::Result<Vec<Heard>> {
    let rows = pool.get().await?.query("select name, mapping from andon.sources order by name", &[]).await?;
    let mut channels = Vec::new();
    for row in rows {
        let source: String = row.get(0);
        // One that an older version attached may not be readable any more; `andon check` says why, and its triggers go on.
        let Ok(mapping) = Mapping::parse(&source, row.get(1)) else {
            tracing::warn!(
                source,
                "cannot read the attached mapping; its channels are not heard until it is attached again"
            );
            continue;
        };
        let heard = |channel| Heard { source: source.clone(), levels: mapping.levels.clone(), channel };
        channels.extend(mapping.channels.iter().cloned().map(heard));
    }
    Ok(channels)
}

/// Subscribes to what is wanted and leaves what is not. What is heard meanwhile comes back: unread, it would keep the answers away.
async fn listen(
    client: &Client,
    wanted: &[Heard],
    before: &[Heard],
    notes: &mut mpsc::Receiver<Note>,
) -> anyhow::Result<Vec<Note>> {
    let is_gone = |old: &&Heard| wanted.iter().all(|new| new.channel.name != old.channel.name);
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
            Some(note) = notes.recv() => early.push(note),
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Writes a notification into the log of each source that has the channel; tries until it stands there, or among the failures.
async fn write(pool: &Pool, channels: &[Heard], (name, payload): Note) {
    for heard in channels.iter().filter(|heard| heard.channel.name == name) {
        let mut outcome = heard.channel.read(&payload, &heard.levels).map_err(|reason| match reason {
            Unreadable::NotJson(_) => ("22032".to_owned(), reason.to_string()),
            Unreadable::Missing(..) | Unreadable::NoName(_) => ("22023".to_owned(), reason.to_string()),
        });
        loop {
            let written = match &outcome {
                Ok(event) => emit(pool, &heard.channel, event).await,
                Err((code, reason)) => record(pool, heard, code, reason).await,
            };
            let Err(error) = written else { break };
            let refusal = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::as_db_error);
            match (refusal, &outcome) {
                // The event's own fault, such as a character that PostgreSQL cannot store.
                (Some(refusal), Ok(_)) if refusal.code().code().starts_with("22") => {
                    outcome = Err((refusal.code().code().to_owned(), refusal.message().to_owned()));
                }
                (Some(refusal), Err(_)) => {
                    let error = refusal.message();
                    tracing::error!(error, channel = name, "cannot record that a notification is no event");
                    break;
                }
                _ => {
                    let error = format!("{error:#}");
                    tracing::warn!(error, channel = name, "cannot write a notification yet; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

async fn emit(pool: &Pool, channel: &Channel, event: &Notified) -> anyhow::Result<()> {
    let Notified { kind, tenant, entity_id, context, data } = event;
    let (context, data) = (Value::from(context.clone()), Value::from(data.clone()));
    let client = pool.get().await?;
    let statement = client.prepare_cached("select andon.emit($1, $2, $3, $4, $5, $6)").await?;
    client.execute(&statement, &[kind, &data, tenant, &channel.entity_type, entity_id, &context]).await?;
    Ok(())
}

async fn record(pool: &Pool, heard: &Heard, code: &str, reason: &str) -> anyhow::Result<()> {
    tracing::warn!(source = heard.source, channel = heard.channel.name, reason, "a notification is no event");
    let failed = "select andon.capture_failed($1, $2, 'notify', null, $3, $4)";
    pool.get().await?.execute(failed, &[&heard.source, &heard.channel.name, &code, &reason]).await?;
    Ok(())
}
