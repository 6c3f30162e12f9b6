//! The options of the peers bench.

use std::path::PathBuf;

/// How much to measure.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::bench) struct PeersBench {
    /// Rounds; the median of each figure counts
    #[arg(long, default_value_t = 5)]
    pub(super) rounds: usize,

    /// Events of a burst, and of a backlog
    #[arg(long, default_value_t = 20_000)]
    pub(super) events: i64,

    /// Sessions that commit them
    #[arg(long, default_value_t = 1)]
    pub(super) writers: usize,

    /// Requests at a time, of graphile-worker and of Andon
    #[arg(long, default_value_t = 64)]
    pub(super) concurrency: usize,

    /// Where npm installs the peers; they stay there
    #[arg(long, default_value = "target/bench-peers", value_name = "DIRECTORY")]
    pub(super) packages: PathBuf,
}
