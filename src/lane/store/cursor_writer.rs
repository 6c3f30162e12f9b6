//! CursorWriter on their way into the database. In: from each lane, a few times a second, how far it is. Out: one statement for all that come
//! at once, so that a thousand busy lanes are not two thousand commits a second for the plant's database. It never waits for a lane's row
//! that somebody else holds: the others' cursors must not wait for it.

use std::collections::BTreeSet;

use deadpool_postgres::Pool;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::destination::LaneName;
use crate::lane::store::row;

/// How far a lane is.
#[derive(Debug, Clone)]
pub(super) struct CursorUpdate {
    pub(super) lane: LaneName,
    pub(super) epoch: i64,
    pub(super) position: i64,
    /// An int8multirange.
    pub(super) pending: String,
    /// Events delivered since the last one.
    pub(super) delivered: i64,
}

/// The way in, for all lanes of a daemon.
#[derive(Debug, Clone)]
pub struct CursorWriter(mpsc::Sender<Request>);

#[derive(Debug)]
struct Request {
    update: CursorUpdate,
    answer: oneshot::Sender<Result<bool, String>>,
}

/// In one statement: its rows stay locked until it is committed, and nothing else of these lanes can be written meanwhile.
const MOST: usize = 256;

impl CursorWriter {
    /// Writes until the last of the lanes is gone.
    pub fn start(pool: Pool) -> CursorWriter {
        let (sender, mut requests) = mpsc::channel(MOST);
        tokio::spawn(async move {
            let mut batch = Vec::new();
            // What comes while one is written goes with the next: nobody waits for company.
            while requests.recv_many(&mut batch, MOST).await > 0 {
                write(&pool, &mut batch).await;
            }
        });
        CursorWriter(sender)
    }

    /// Writes one. False: its row is held by somebody, or belongs to another daemon; nothing was written.
    pub(super) async fn write(&self, update: CursorUpdate) -> anyhow::Result<bool> {
        let (answer, written) = oneshot::channel();
        self.0.send(Request { update, answer }).await?;
        written.await?.map_err(anyhow::Error::msg)
    }
}

async fn write(pool: &Pool, batch: &mut Vec<Request>) {
    let updates: Vec<&CursorUpdate> = batch.iter().map(|request| &request.update).collect();
    let written = store(pool, &updates).await.map_err(|error| format!("{error:#}"));
    for Request { update, answer } in batch.drain(..) {
        // A lane that has ended asks no more.
        drop(answer.send(written.as_ref().map(|lanes| lanes.contains(&update.lane)).map_err(String::clone)));
    }
}

async fn store(pool: &Pool, updates: &[&CursorUpdate]) -> anyhow::Result<BTreeSet<LaneName>> {
    let client = pool.get().await?;
    row::store(&client, updates, "skip locked").await
}
