//! Andon, the industrial event gateway: from a committed row in PostgreSQL to a PUBACK and a 2xx.
//!
//! ```text
//!  plant's transaction ─► trigger ─► andon.events ─► tail ─► router ─► lane(mqtt)    ─► broker ─► PUBACK ─► cursor
//!       (source)            └► bell     (log)                  └─────► lane(webhook) ─► POST   ─► 2xx    ─► cursor
//!                                                                         └─► parked (ledger): retry, waiting, dead
//! ```
//! The modules below are listed so that each imports only those that stand above it.

// Values, without I/O.
pub mod event;
pub mod clock;
pub mod secret;
pub mod sealing;
pub mod pem;
pub mod ranges;
pub mod quantity;
pub mod nearest;
pub mod percent;
pub mod legible;
pub mod retry;
pub mod settings;
pub mod signature;
pub mod topic;
pub mod payload;

// Capture, from the plant's transaction into the log.
pub mod tls;
pub mod database;
pub mod migrate;
pub mod capture;

// The way out, for whatever connects to a destination.
pub mod egress;

// Delivery, from the log to the destinations.
pub mod log;
pub mod router;
pub mod destination;
pub mod secrets;
pub mod feed;
pub mod ledger;
pub mod lane;
pub mod gateway;

// Edges, which read what people write and write what they read.
pub mod config;
pub mod telemetry;
pub mod cli;
