//! How far the tail is. It is a value.

use std::sync::Arc;

use crate::ranges::Ranges;

/// How far the tail is: every id at or below `position` is decided, except `undecided`.
#[derive(Debug, Clone, Default)]
pub struct Horizon {
    /// The largest id read.
    pub position: i64,
    /// The open holes.
    pub undecided: Arc<Ranges>,
    /// The sequence number that the next event will get among the recent ones.
    pub(super) next: u64,
}
