//! Throw-away servers and witnesses for tests, the demo and benchmarks. In: nothing but the programs of the distribution. Out: a real
//! PostgreSQL, a real mosquitto, a webhook receiver, a subscriber, a fault proxy, and the oracle that judges what arrived. Everything
//! listens on 127.0.0.1 only and is gone when its owner is, however the owner ended. It is never part of a running gateway.

pub mod postgres;
pub mod process;

pub use postgres::Postgres;
