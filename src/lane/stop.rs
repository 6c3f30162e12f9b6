//! Tells a lane that it is asked to stop, with a time in which it may finish what it has in hand, and says how it has ended.

use std::time::Duration;

use tokio::sync::watch;

/// The supervisor's end: it asks the lane to stop.
#[derive(Debug)]
pub struct Stopper(watch::Sender<Option<Duration>>);

/// The lane's end.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<Option<Duration>>);

/// Why a lane has ended without an error.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to stop.
    Stopped,
    /// Its destination is disabled.
    Disabled,
}

/// Makes both ends.
pub fn channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(None);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Asks the lane to stop, and gives it this time to finish.
    pub fn stop(&self, grace: Duration) {
        self.0.send_replace(Some(grace));
    }
}

impl Stop {
    /// Waits to be asked. A stopper that is gone asks for a stop at once.
    pub async fn asked(&mut self) -> Duration {
        match self.0.wait_for(Option::is_some).await {
            Ok(grace) => grace.unwrap_or_default(),
            Err(_) => Duration::ZERO,
        }
    }
}
