//! The one integration binary. In: a real PostgreSQL, a real mosquitto, a real HTTP receiver, all throw-away (`rig`). Out: whether
//! the promises hold. A server that cannot be started fails the test and names its package; no test is ever skipped for want of one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall panic, in its helping functions too")]

mod allocations;
mod architecture;
mod attach;
mod bad_input;
mod by_hand;
mod canary;
mod capture;
mod channels;
mod command;
mod deliveries;
mod disabled;
mod horizon;
mod isolation;
mod large_statements;
mod migrate;
mod mqtt;
mod promises;
mod replay;
mod replicas;
mod retention;
mod sources;
mod support;
mod survival;
mod tail;
mod webhook;
