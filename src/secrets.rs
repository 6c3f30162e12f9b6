//! The secrets that stand in Andon's own tables. In: the rows of `andon.mqtt_publishers` and `andon.webhooks`, and the keys of the configuration.
//! Out: which secrets there are, and each sealed with the first key. A value is replaced only as long as it is the one that was read, so an
//! edit that somebody makes meanwhile stays. It never writes a secret in plain text, and never touches a system's own tables.

mod held;
mod hidden;
mod holders;
mod rotation;
mod rows;
mod sealing_all;

pub use crate::secrets::held::Held;
pub use crate::secrets::held::all;
pub use crate::secrets::holders::Lacking;
pub use crate::secrets::holders::lacking;
pub use crate::secrets::rotation::Signing;
pub use crate::secrets::rotation::rotate;
pub use crate::secrets::rotation::signing;
pub use crate::secrets::rows::FoundRow;
pub use crate::secrets::rows::Owner;
pub use crate::secrets::rows::find;
pub use crate::secrets::rows::set;
pub use crate::secrets::sealing_all::SealedAll;
pub use crate::secrets::sealing_all::seal_all;
