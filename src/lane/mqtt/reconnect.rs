//! Decides when to connect to a broker again. A lane of MQTT has no breaker: a broker is either there or it is not, so the lane pauses
//! between its connections, and its events wait in the log.

use std::time::Duration;

use backon::BackoffBuilder as _;
use backon::ExponentialBackoff;
use backon::ExponentialBuilder;

/// The longest pause between two connections.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The pauses between connections. They are random to a degree, so that not all lanes connect at once to a broker that is back.
pub(super) fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .build()
}
