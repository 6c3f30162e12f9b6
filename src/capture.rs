//! Attaching a source: from a mapping file to triggers. In: a TOML file and a connection as the owner of the tables. Out: functions and
//! triggers that write `andon.events`, or every reason why not; and how notifications of a channel are to be read. It never reads or
//! writes the plant's rows itself.

pub mod attach;
pub mod check;
pub mod expression;
pub mod finding;
pub mod mapping;
pub mod plan;
pub mod propose;
pub(crate) mod scope;
pub mod sql;
pub mod table;
pub mod tables;

pub use attach::Report;
pub use attach::SourceError;
pub use attach::attach;
pub use attach::check;
pub use attach::describe;
pub use attach::detach;
pub use attach::plan_sql;
pub use check::Types;
pub use finding::Finding;
pub use finding::Problems;
pub use mapping::Mapping;
pub use plan::Change;
