//! The SQL of a capture. `quote` quotes names and values, `event` generates the insert that writes events, `body` and `row_body` the trigger
//! function around it, `fallback` the insert that does without a lookup that fails, `settings` what the function pins, and `trigger` the
//! statements that create the function and its triggers.

pub(crate) mod body;
pub mod event;
pub mod fallback;
pub mod quote;
mod row_body;
pub mod settings;
pub mod trigger;
