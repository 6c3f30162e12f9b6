//! Reads and writes what a lane keeps in the database: its row in `andon.lanes`, with the cursor and the state. This folder is the only
//! writer of that table. Nothing in it waits for a row that somebody else has locked: the connections are shared, and other lanes would
//! wait for them.

pub mod cursor;
mod cursor_update;
pub mod cursor_writer;
pub mod enlist;
pub mod error;
pub mod fallen_behind;
pub mod lanes;
pub mod row;
pub mod shared_holes;
pub mod state;

use deadpool_postgres::Pool;

use crate::lane::store::cursor_writer::CursorWriter;
use crate::lane::store::shared_holes::SharedHoles;

/// The ways by which lanes reach the database.
#[derive(Debug, Clone)]
pub struct Stores {
    /// Writes the cursors of all lanes together, over connections of its own.
    pub cursors: CursorWriter,
    /// The open holes of the log, which their rows share.
    pub holes: SharedHoles,
    /// Connections for states and parked deliveries.
    pub ledger: Pool,
}
