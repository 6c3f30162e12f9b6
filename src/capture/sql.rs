//! The SQL of a capture. `quote` quotes names and values, `event` generates the insert that writes events, `body` the trigger function
//! around it, `fallback` the insert that does without a lookup that fails, `settings` what the function pins, and `trigger` the statements that create the function and its triggers.

pub(crate) mod body;
pub mod event;
pub mod fallback;
pub mod quote;
pub mod settings;
pub mod trigger;
