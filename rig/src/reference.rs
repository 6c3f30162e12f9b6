//! The reference systems: five databases of different plants that Andon is tried on. In: the files of `config/sources`, or those of
//! somebody else. Out: a schema, a shift that works in it, and destinations for what the shift causes. It knows these files and the
//! tables of Andon that anybody may write, and none of Andon's code.

pub mod plant;
pub mod shift;
pub mod system;

pub use system::System;
