//! Writes the cursors of all lanes of a daemon. In: from each lane, a few times a second, how far it is. Out: one statement for all cursors
//! that arrive at once, so that a thousand busy lanes are not two thousand commits a second for the plant's database. It never waits for a
//! locked row: the other lanes' cursors would wait with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use deadpool_postgres::Pool;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::destination::LaneName;
use crate::lane::store::cursor_update;
use crate::lane::store::cursor_update::CursorUpdate;
use crate::lane::store::cursor_update::LockedRows;
use crate::lane::store::error::DatabaseError;
use crate::lane::store::error::StoreError;

/// Where lanes hand in their cursors.
#[derive(Debug, Clone)]
pub struct CursorWriter(mpsc::Sender<Request>);

#[derive(Debug)]
struct Request {
    update: CursorUpdate,
    answer: oneshot::Sender<Result<Written, Arc<DatabaseError>>>,
}

/// The outcome of writing a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// So many writes of the row were made so far.
    Yes(i64),
    /// Either another transaction holds the row's lock, or the lane does not own the row any more.
    No,
}

/// Cursors per statement. Their rows stay locked until it is committed, and nothing else of these lanes can be written meanwhile.
const MOST: usize = 256;

impl CursorWriter {
    /// Starts the task that writes. It ends with the last of the lanes.
    pub fn start(pool: Pool) -> CursorWriter {
        let (sender, mut requests) = mpsc::channel(MOST);
        tokio::spawn(async move {
            let mut batch = Vec::new();
            // What arrives during a write goes with the next one: no cursor waits in order to be joined by others.
            while requests.recv_many(&mut batch, MOST).await > 0 {
                write_batch(&pool, &mut batch).await;
            }
        });
        CursorWriter(sender)
    }

    /// Writes one cursor.
    pub(super) async fn write(&self, update: CursorUpdate) -> Result<Written, StoreError> {
        let (answer, written) = oneshot::channel();
        self.0.send(Request { update, answer }).await.map_err(|_| DatabaseError::CursorWriter)?;
        Ok(written.await.map_err(|_| DatabaseError::CursorWriter)??)
    }
}

async fn write_batch(pool: &Pool, batch: &mut Vec<Request>) {
    let updates: Vec<&CursorUpdate> = batch.iter().map(|request| &request.update).collect();
    let result = write(pool, &updates).await.map_err(Arc::new);
    for Request { update, answer } in batch.drain(..) {
        let answered = match &result {
            Ok(written) => {
                answer.send(Ok(written.get(&update.lane).map_or(Written::No, |writes| Written::Yes(*writes))))
            }
            Err(error) => answer.send(Err(Arc::clone(error))),
        };
        // A lane that has ended does not wait for its answer.
        drop(answered);
    }
}

async fn write(pool: &Pool, updates: &[&CursorUpdate]) -> Result<BTreeMap<LaneName, i64>, DatabaseError> {
    let client = pool.get().await.map_err(DatabaseError::Connection)?;
    cursor_update::write(&client, updates, LockedRows::Skip).await.map_err(DatabaseError::Statement)
}
