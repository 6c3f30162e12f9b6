//! The SQL of a capture. `quote` quotes names and values, `event` generates the insert that writes events, `body` and `row_body` the trigger
//! function around it, and `trigger` the statements that create the function and its triggers.

pub(crate) mod body;
pub mod event;
pub mod quote;
mod row_body;
pub mod trigger;
