//! The SQL that capture is made of: names and values quoted, the insert that writes an event, the triggers around it.

pub mod event;
pub mod quote;
pub mod trigger;
