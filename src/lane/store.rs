//! What a lane keeps in the database: its row in `andon.lanes`, with the cursor and the state, and how they are written.

pub mod cursor;
pub mod cursor_writer;
pub mod fallen_behind;
pub mod row;
pub mod state;
