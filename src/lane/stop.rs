//! Tells a lane that it is asked to stop, with a time in which it may finish what it has in hand, and says how it has ended.

use std::time::Duration;

use tokio::sync::watch;

/// The supervisor's end: it asks the lane to stop.
#[derive(Debug)]
pub struct Stopper(watch::Sender<Option<Request>>);

/// The lane's end.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<Option<Request>>);

#[derive(Debug, Clone, Copy)]
struct Request {
    grace: Duration,
    /// The destination is gone, so nobody else will serve it.
    is_for_good: bool,
}

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
        self.0.send_replace(Some(Request { grace, is_for_good: false }));
    }

    /// Asks for the same because the destination is gone.
    pub fn stop_for_good(&self, grace: Duration) {
        self.0.send_replace(Some(Request { grace, is_for_good: true }));
    }
}

impl Stop {
    /// Waits to be asked. A stopper that is gone asks for a stop at once.
    pub async fn asked(&mut self) -> Duration {
        match self.0.wait_for(Option::is_some).await {
            Ok(request) => request.map(|request| request.grace).unwrap_or_default(),
            Err(_) => Duration::ZERO,
        }
    }

    /// Returns whether it was asked to stop because the destination is gone.
    pub fn is_for_good(&self) -> bool {
        self.0.borrow().is_some_and(|request| request.is_for_good)
    }
}
