//! Andon, the industrial event gateway: from a committed row in PostgreSQL to a PUBACK and a 2xx.
//!
//! ```text
//!  plant's transaction ─► trigger ─► andon.events ─► tail ─► router ─► lane(mqtt)    ─► broker ─► PUBACK ─► cursor
//!       (source)            └► bell     (log)                  └─────► lane(webhook) ─► POST   ─► 2xx    ─► cursor
//!                                                                         └─► parked (ledger): retry, waiting, dead
//! ```
//! The modules below stand in the order in which an event meets them.

pub mod database;
pub mod destination;
pub mod event;
pub mod feed;
pub mod gateway;
pub mod lane;
pub mod ledger;
pub mod log;
pub mod nearest;
pub mod payload;
pub mod quantity;
pub mod ranges;
pub mod retry;
pub mod router;
pub mod secret;
pub mod settings;
pub mod signature;
pub mod tls;

pub mod topic;
pub mod nearest;

pub mod migrate;
pub mod source;

pub mod rig;
