//! The connections that a daemon shares between its tasks, apart by what they are for: a lane that waits for one kind holds up nobody who
//! needs another. They are opened when they are needed.

use deadpool_postgres::Pool;

use crate::database::Database;
use crate::database::DatabaseError;

/// Connections to the source.
#[derive(Debug, Clone)]
pub(super) struct Pools {
    /// For the cursors of all lanes.
    pub(super) cursors: Pool,
    /// For the states of lanes and their parked deliveries.
    pub(super) ledger: Pool,
    /// For lanes that read the log themselves.
    pub(super) log: Pool,
    /// For the supervisor, retention, and the channels of sources.
    pub(super) house: Pool,
}

const CURSORS: usize = 1;
const LEDGER: usize = 3;
const LOG: usize = 2;
const HOUSE: usize = 2;
/// How many connections all pools have, at most.
pub(super) const MOST_CONNECTIONS: i32 = (CURSORS + LEDGER + LOG + HOUSE) as i32;

impl Pools {
    /// Prepares the pools without connecting.
    pub(super) fn new(database: &Database) -> Result<Pools, DatabaseError> {
        Ok(Pools {
            cursors: database.pool(CURSORS)?,
            ledger: database.pool(LEDGER)?,
            log: database.pool(LOG)?,
            house: database.pool(HOUSE)?,
        })
    }

    /// Closes the connections that nobody uses at the moment: one on which the database no longer answers would be handed to the next task.
    pub(super) fn close_idle(&self) {
        for pool in [&self.cursors, &self.ledger, &self.log, &self.house] {
            pool.retain(|_, _| false);
        }
    }
}
