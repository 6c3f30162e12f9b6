//! Waiting for what a bench has sent. In: how long, and a look at what has arrived. Out: what has arrived, or an error that says what is
//! lacking.

use std::time::Duration;

use anyhow::Result;
use anyhow::bail;
use tokio::time::Instant;

/// Looks now and then until something has arrived. If that takes too long, the error says what has arrived by then.
pub(super) async fn arrival<T>(within: Duration, mut look: impl FnMut() -> Result<T, String>) -> Result<T> {
    let deadline = Instant::now() + within;
    let mut clock = tokio::time::interval(Duration::from_millis(20));
    loop {
        clock.tick().await;
        match look() {
            Ok(arrived) => return Ok(arrived),
            Err(lacking) if Instant::now() > deadline => bail!("after {within:?} only {lacking} had arrived"),
            Err(_) => {}
        }
    }
}
