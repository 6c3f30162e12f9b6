//! Andon, the industrial event gateway: from a committed row in PostgreSQL to a PUBACK and a 2xx.
//!
//! ```text
//!  plant's transaction ─► trigger ─► andon.events ─► tail ─► router ─► lane(mqtt)    ─► broker ─► PUBACK ─► cursor
//!       (source)            └► bell     (log)                  └─────► lane(webhook) ─► POST   ─► 2xx    ─► cursor
//!                                                                         └─► parked (ledger): retry, waiting, dead
//! ```
//! The modules below stand in the order in which an event meets them.

pub mod event;
pub mod nearest;

pub mod migrate;
pub mod source;

pub mod rig;

pub mod demo;
