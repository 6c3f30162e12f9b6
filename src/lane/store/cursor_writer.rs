//! Writes the cursors of all lanes of a daemon. In: from each lane, a few times a second, how far it is. Out: one statement for all cursors
//! that arrive at once, so that a thousand busy lanes are not two thousand commits a second for the plant's database. It never waits for a
//! locked row: the other lanes' cursors would wait with it.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::lane::store::cursor_update;
use crate::lane::store::cursor_update::CursorUpdate;
use crate::lane::store::cursor_update::Written;
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

/// Cursors per statement. Their rows stay locked until it is committed, and nothing else of these lanes can be written meanwhile.
const MOST: usize = 256;
/// A write that takes longer is followed by a pause as long as it took: a database that is slow to write, as under a transaction that has
/// been open for hours, is not to be kept busy with cursors.
const SLOW: Duration = Duration::from_millis(100);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl CursorWriter {
    /// Returns the writer and its work, which ends with the last of the lanes. Whoever runs the work has to tell when it ends earlier,
    /// because no lane can go on without it.
    pub fn new(pool: Pool) -> (CursorWriter, impl Future<Output = ()> + Send + 'static) {
        let (sender, mut requests) = mpsc::channel(MOST);
        let work = async move {
            let mut batch = Vec::new();
            // What arrives during a write goes with the next one: no cursor waits in order to be joined by others.
            while requests.recv_many(&mut batch, MOST).await > 0 {
                let began = Instant::now();
                write_batch(&pool, &mut batch).await;
                let took = began.elapsed();
                if took > SLOW {
                    sleep(took.min(LONGEST_PAUSE)).await;
                }
            }
        };
        (CursorWriter(sender), work)
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
    for (place, Request { answer, .. }) in batch.drain(..).enumerate() {
        // A lane that has ended does not wait for its answer.
        drop(answer.send(result.clone().map(|written| written[place])));
    }
}

async fn write(pool: &Pool, updates: &[&CursorUpdate]) -> Result<Vec<Written>, DatabaseError> {
    let client = pool.get().await.map_err(DatabaseError::Connection)?;
    cursor_update::write(&client, updates).await.map_err(DatabaseError::Statement)
}
