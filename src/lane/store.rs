//! Reads and writes what a lane keeps in the database: its row in `andon.lanes`, with the cursor and the state. This folder is the only
//! writer of that table.

pub mod acquire;
pub mod cursor;
mod cursor_update;
pub mod cursor_writer;
pub mod error;
pub mod fallen_behind;
pub mod lanes;
pub mod row;
pub mod state;
