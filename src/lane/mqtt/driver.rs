//! The task that drives a connection. In: a loop over what the client library reports, one for each version of MQTT. Out: what comes in
//! for a subscription, and why the connection ended. The task ends when its driver is dropped.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::lane::mqtt::protocol::Ending;
use crate::lane::mqtt::protocol::Incoming;

/// Owns the task that drives a connection.
#[derive(Debug)]
pub(super) struct Driver {
    /// Returns why the connection ended.
    task: JoinHandle<Ending>,
    incoming: mpsc::Receiver<Incoming>,
}

/// Takes what comes in while a connection is driven.
#[derive(Debug)]
pub(super) struct Inbox(mpsc::Sender<Incoming>);

/// How many packets may wait to be read. Only the check subscribes, to a topic that nobody else uses.
const WAITING: usize = 64;

impl Driver {
    /// Starts the task; `drive` runs until the connection ends, and returns the reason.
    pub(super) fn spawn<F>(drive: impl FnOnce(Inbox) -> F) -> Driver
    where
        F: Future<Output = Ending> + Send + 'static,
    {
        let (sender, incoming) = mpsc::channel(WAITING);
        Driver { task: tokio::spawn(drive(Inbox(sender))), incoming }
    }

    /// Waits for what comes in next. There is nothing more once the connection has ended.
    pub(super) async fn incoming(&mut self) -> Option<Incoming> {
        self.incoming.recv().await
    }

    /// Waits for the end of the connection, and returns the reason.
    pub(super) async fn ended(&mut self) -> Ending {
        match (&mut self.task).await {
            Ok(ending) => ending,
            Err(error) => Ending::unclear(format!("the client failed: {error}")),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inbox {
    /// Hands on what has come in. Returns false if too much waits already: then the connection is to end.
    #[must_use]
    pub(super) fn put(&self, incoming: Incoming) -> bool {
        // The receiver may be gone already, while the driver is being dropped.
        !matches!(self.0.try_send(incoming), Err(mpsc::error::TrySendError::Full(_)))
    }
}
