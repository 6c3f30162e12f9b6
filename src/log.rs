//! The log is `andon.events`, which a daemon reads once for all of its lanes. In: committed rows. Out: batches of events, in an order that
//! keeps each entity's. It never decides which lanes get an event.

mod event_row;
pub mod follower;
pub mod partitions;
pub mod reader;
pub mod recent;
mod set_aside;
pub mod tail;
pub mod time_range;
pub mod wakeup;
