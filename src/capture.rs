//! Capture: from a mapping file to triggers that write `andon.events`. `mapping` is read from its file, `check` compares it with the live
//! database, `sql` generates the functions and triggers, `plan` compares them with those that are installed, and `attach` runs the plan in
//! one transaction. `contract` says what a mapping offers to receivers. `notification` reads what the plant sends over a NOTIFY channel, and
//! `propose` writes a first mapping. `failures` are the changes that the triggers could not capture. Capture never
//! reads or writes the plant's rows itself; only the triggers do.

pub mod attach;
pub mod check;
pub mod contract;
pub mod error;
pub mod event_name;
pub mod expression;
pub mod failures;
pub mod finding;
pub mod mapping;
pub mod notification;
pub mod plan;
pub mod propose;
pub mod recover;
pub(crate) mod scope;
pub(crate) mod sensitivity;
pub mod sql;
pub mod table;
pub mod watch;

pub use attach::Inspection;
pub use attach::Report;
pub use attach::Trust;
pub use attach::attach;
pub use attach::attach_with;
pub use attach::check;
pub use attach::detach;
pub use attach::detach_sql;
pub use attach::inspect;
pub use attach::plan_sql;
pub use attach::refuse_superuser;
pub use attach::strangers;
pub use check::Types;
pub use contract::Contract;
pub use error::SourceError;
pub use finding::Finding;
pub use finding::Problems;
pub use mapping::Mapping;
pub use plan::Change;
