//! The log: `andon.events`, read once for everybody. In: committed rows. Out: batches of events, in an order that keeps each entity's.
//! It never decides who gets an event.

pub mod follower;
pub mod partitions;
pub mod reader;
pub mod recent;
mod event_row;
pub mod tail;
pub mod time_range;
pub mod wakeup;
