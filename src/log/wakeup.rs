//! How the tail learns that there is something to read, without polling and without making writers wait.

pub mod listener;
pub mod lock;
pub(crate) mod writers;
