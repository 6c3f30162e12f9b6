//! The log: `andon.events`, read once for everybody. In: committed rows. Out: batches of events, in an order that keeps each entity's.
//! It never decides who gets an event.

pub mod bell;
mod crowd;
pub mod follow;
pub mod holes;
pub mod listener;
pub mod partitions;
pub mod reader;
pub mod ring;
mod row;
pub mod snapshot;
pub mod span;
pub mod tail;
mod window;
