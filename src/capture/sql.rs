//! The SQL of a capture. `quote` quotes names and values, `event` generates the insert that writes events, `body` the trigger function
//! around it, and `trigger` the statements that create the function and its triggers.

pub(crate) mod body;
pub mod event;
pub mod quote;
pub mod trigger;
