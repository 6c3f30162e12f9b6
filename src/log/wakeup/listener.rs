//! The listening connection. In: notifications on the channel `andon`. Out: one signal for each thing they can mean. It does nothing else,
//! so that its socket is always drained: a listener that does not read lets the server's queue of notifications fill up for everybody.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::poll_fn;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::sync::Notify;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio_postgres::AsyncMessage;
use tokio_postgres::Client;
use tokio_postgres::Connection;
use tokio_postgres::Error;
use tokio_util::task::AbortOnDropHandle;

/// One signal for each meaning of a notification. A signal remembers at most one notification, since whoever waits for it looks at
/// everything anyway.
#[derive(Debug, Default)]
pub struct Signals {
    /// A writer committed while the tail slept.
    pub bell: Notify,
    /// A destination or a source was changed. The supervisor of the lanes waits for this.
    pub destinations: Notify,
    /// The sources may have changed, for the task that listens to their channels.
    pub sources: Notify,
    /// The sources may not be attached any more as they should be. The task that watches them waits for this.
    pub schema: Notify,
    /// Counts how often something other than a lane may have changed parked deliveries. Every lane waits for this.
    pub deliveries: watch::Sender<u64>,
}

impl Signals {
    /// For a time in which nobody is notified.
    pub(crate) fn everything_may_have_changed(&self) {
        self.bell.notify_one();
        self.destinations.notify_one();
        self.sources.notify_one();
        self.schema.notify_one();
        self.deliveries_changed();
    }

    fn deliveries_changed(&self) {
        self.deliveries.send_modify(|count| *count += 1);
    }
}

/// The payload of `andon.notify_destinations()`. The bell has none.
const DESTINATIONS: &str = "destinations";

/// The payload of the event triggers that `watch_ddl` asks for.
const SCHEMA: &str = "schema";

/// The payload of `andon.notify_deliveries()`, sent when something other than a lane changes `andon.deliveries`.
const DELIVERIES: &str = "deliveries";

/// The least time between two changes of the ledger that lanes are told of.
const BETWEEN: Duration = Duration::from_secs(2);

/// Subscribes, and returns once the server has confirmed it. The task ends with the connection, whose error it returns; it sets the bell's
/// signal then, so that the tail does not sleep on. The connection ends with the task.
pub(crate) async fn listen<S, T>(
    client: Client,
    mut connection: Connection<S, T>,
    signals: Arc<Signals>,
) -> Result<AbortOnDropHandle<Option<Error>>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let heard = Arc::clone(&signals);
    let draining = AbortOnDropHandle::new(tokio::spawn(async move {
        let signals = heard;
        // Of a flood of notes, lanes hear one in a while: each makes them read the ledger anew, and give up what they have just read.
        let (mut is_told, mut next) = (true, Instant::now());
        let error = loop {
            let message = tokio::select! {
                message = poll_fn(|context| connection.poll_message(context)) => message,
                () = sleep_until(next), if !is_told => {
                    signals.deliveries_changed();
                    (is_told, next) = (true, Instant::now() + BETWEEN);
                    continue;
                }
            };
            match message {
                Some(Ok(AsyncMessage::Notification(note))) => match note.payload() {
                    DESTINATIONS => {
                        signals.destinations.notify_one();
                        signals.sources.notify_one();
                    }
                    SCHEMA => signals.schema.notify_one(),
                    DELIVERIES => is_told = false,
                    _ => signals.bell.notify_one(),
                },
                Some(Ok(_)) => {}
                Some(Err(error)) => break Some(error),
                None => break None,
            }
        };
        signals.bell.notify_one();
        error
    }));
    client.batch_execute("listen andon").await?;
    // Something may have been notified while nobody listened. The tail and the supervisor look anyway.
    signals.deliveries_changed();
    // The session lasts as long as its client.
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        let error = draining.await.unwrap_or_default();
        drop(client);
        error
    })))
}

/// Says why the listening connection ended.
pub(crate) fn ended(outcome: Result<Option<Error>, JoinError>) -> anyhow::Error {
    let ended = "the listening connection ended";
    match outcome {
        Ok(Some(error)) => anyhow::Error::new(error).context(ended),
        Ok(None) => anyhow::anyhow!(ended),
        Err(error) => anyhow::Error::new(error).context(ended),
    }
}
