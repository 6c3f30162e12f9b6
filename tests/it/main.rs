//! The integration tests of Andon, in one binary. In: a real PostgreSQL, a real mosquitto and a real HTTP receiver, which `rig` starts and
//! throws away. Out: whether the promises hold. If a server cannot be started, the test fails and names the missing package; it is never
//! skipped.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic, in its helper functions too")]

mod advice;
mod allocations;
mod architecture;
mod attach;
mod bad_input;
mod by_hand;
mod canary;
mod capture;
mod channels;
mod check;
mod closed_pipes;
mod command;
mod conflicts;
mod database;
mod deliveries;
mod destinations;
mod disabled;
mod egress;
mod emitters;
mod failed_captures;
mod failover;
mod grants;
mod horizon;
mod hostile_names;
mod isolation;
mod lane_status;
mod large_statements;
mod ledger;
mod memory;
mod migrate;
mod mqtt;
mod odd_events;
mod promises;
mod replay;
mod replicas;
mod retention;
mod secrets;
mod shared_holes;
mod shown;
mod size_limit;
mod sources;
mod stuck_replays;
mod support;
mod survival;
mod tail;
mod tenants;
mod tls;
mod webhook;
