//! What happens on the line, step by step. In: a line, and a step. Out: what its witnesses saw of it. The events of each step have
//! entities of their own, so that it is judged alone.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use rig::oracle;
use rig::oracle::Verdict;
use rig::record::Record;
use serde::Deserialize;

use crate::compat::line::Line;
use crate::compat::plant;
use crate::compat::plant::PER_TRANSACTION;
use crate::compat::verdict::Seen;
use crate::stage::blocking;

/// What is done to the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Live,
    Backlog,
    KillAndon,
    KillBroker,
    KillPostgres,
}

/// How long a witness waits for the next event. It is generous because Andon waits between its attempts, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// Transactions that come while nothing else happens.
const LIVE: u32 = 20;
/// Transactions that wait in the log.
const BACKLOG: u32 = 200;
/// Transactions that come while something is killed and starts again.
const AROUND_A_KILL: u32 = 60;
const PAUSE: Duration = Duration::from_millis(50);

impl Step {
    pub(super) const ALL: [Step; 5] =
        [Step::Live, Step::Backlog, Step::KillAndon, Step::KillBroker, Step::KillPostgres];

    /// Returns the head of its column.
    pub(super) fn title(self) -> &'static str {
        match self {
            Step::Live => "live",
            Step::Backlog => "backlog",
            Step::KillAndon => "kill -9 andon",
            Step::KillBroker => "kill -9 broker",
            Step::KillPostgres => "kill -9 PostgreSQL",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Step::Live => "live",
            Step::Backlog => "backlog",
            Step::KillAndon => "kill_andon",
            Step::KillBroker => "kill_broker",
            Step::KillPostgres => "kill_postgres",
        }
    }

    /// Takes the step, and returns when everything has arrived, or has not for a long time.
    pub(super) async fn take(self, line: &Line) -> Result<Seen> {
        let name = self.name();
        match self {
            Step::Live => plant::work(&line.direct, name, LIVE, PAUSE).await?,
            Step::Backlog => {
                line.daemon.stop().await?;
                plant::work(&line.direct, name, BACKLOG, Duration::ZERO).await?;
                start(line).await?;
            }
            Step::KillAndon => {
                meanwhile(line, name, async || {
                    line.daemon.kill().await?;
                    start(line).await
                })
                .await?;
            }
            Step::KillBroker => return kill_broker(line, name).await,
            Step::KillPostgres => {
                let postgres = &line.servers.stage.postgres;
                meanwhile(line, name, async || {
                    let postgres = std::sync::Arc::clone(postgres);
                    blocking(move || postgres.restart_killed()).await
                })
                .await?;
            }
        }
        let committed = plant::committed(&line.direct, name).await?;
        let seen = Seen {
            webhook: at_webhook(line, &committed).await,
            acknowledged: at_tap(line, &committed).await,
            passed_on: at_subscriber(line, &committed).await,
            around_the_kill: None,
        };
        line.daemon.running()?;
        Ok(seen)
    }
}

/// Kills the broker and judges what was under way. What it is to pass on without an excuse comes after its subscriber is back.
async fn kill_broker(line: &Line, name: &str) -> Result<Seen> {
    meanwhile(line, name, async || {
        let confirmations = line.subscriber.confirmations();
        line.servers.broker.restart_killed().await?;
        line.subscriber.wait_confirmed(confirmations + 1).await
    })
    .await?;
    let committed = plant::committed(&line.direct, name).await?;
    let (webhook, acknowledged) = (at_webhook(line, &committed).await, at_tap(line, &committed).await);
    let after = "after_broker";
    plant::work(&line.direct, after, LIVE, PAUSE).await?;
    let passed_on = at_subscriber(line, &plant::committed(&line.direct, after).await?).await;
    // A broker that had kept them passes them on before what came after them.
    let kept = judge(line.subscriber.messages(), &committed, |message| read(&message.payload));
    line.daemon.running()?;
    Ok(Seen { webhook, acknowledged, passed_on, around_the_kill: Some(kept) })
}

/// Lets the plant work, and does something when the first events of the step have arrived.
async fn meanwhile(line: &Line, name: &str, act: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    let breaking = async {
        let is_of_step = |body: &Bytes| read(body).is_some_and(|(entity, _)| entity.starts_with(name));
        let first = PER_TRANSACTION as usize;
        line.receiver.acceptances().wait_for_matching(PATIENCE, first, |request| is_of_step(&request.body)).await?;
        act().await
    };
    let working = plant::work(&line.direct, name, AROUND_A_KILL, PAUSE);
    tokio::try_join!(breaking, working)?;
    Ok(())
}

async fn start(line: &Line) -> Result<()> {
    line.daemon.start().await?;
    line.daemon.ready().await
}

async fn at_webhook(line: &Line, committed: &BTreeMap<String, u64>) -> Verdict {
    arrive(line.receiver.acceptances(), committed, |request| read(&request.body)).await
}

async fn at_tap(line: &Line, committed: &BTreeMap<String, u64>) -> Verdict {
    let acknowledged = |seen: &rig::tap::Seen| match seen {
        rig::tap::Seen::Acknowledged { payload, .. } => read(payload),
        _ => None,
    };
    arrive(line.tap.seen(), committed, acknowledged).await
}

async fn at_subscriber(line: &Line, committed: &BTreeMap<String, u64>) -> Verdict {
    arrive(line.subscriber.messages(), committed, |message| read(&message.payload)).await
}

/// Waits until all that was committed has arrived, and judges what has.
async fn arrive<T>(
    record: &Record<T>,
    committed: &BTreeMap<String, u64>,
    read: impl Fn(&T) -> Option<(String, u64)>,
) -> Verdict {
    let (all, mut distinct) = (committed.values().sum::<u64>(), HashSet::new());
    let is_last = |entry: &T| {
        distinct.extend(read(entry).filter(|(entity, _)| committed.contains_key(entity)));
        distinct.len() as u64 == all
    };
    // What does not come is judged as missing.
    drop(record.wait_for(PATIENCE, is_last).await);
    judge(record, committed, read)
}

/// Judges what has arrived of a step so far.
fn judge<T>(
    record: &Record<T>,
    committed: &BTreeMap<String, u64>,
    read: impl Fn(&T) -> Option<(String, u64)>,
) -> Verdict {
    let arrived: Vec<(String, u64)> = record.snapshot().iter().filter_map(|entry| read(entry)).collect();
    let own = arrived.iter().filter(|(entity, _)| committed.contains_key(entity));
    oracle::judge(committed, own.map(|(entity, counter)| (entity.as_str(), *counter)))
}

/// Returns entity and counter of an event. The gateway's own status is no event.
fn read(payload: &[u8]) -> Option<(String, u64)> {
    #[derive(Deserialize)]
    struct Event {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        entity: String,
        counter: u64,
    }
    let Event { data } = serde_json::from_slice(payload).ok()?;
    Some((data.entity, data.counter))
}
