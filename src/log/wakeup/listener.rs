//! The listening connection. In: notifications on the channel `andon`. Out: one wake-up flag for each thing they can mean. It does
//! nothing else, so that its socket is always drained: a listener that does not read holds up the whole database.

use std::sync::Arc;

use futures_util::future::poll_fn;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::sync::Notify;
use tokio::sync::watch;
use tokio_postgres::AsyncMessage;
use tokio_postgres::Client;
use tokio_postgres::Connection;

/// What a notification can mean. Each keeps at most one wake-up: whoever waits looks at everything anyway.
#[derive(Debug, Default)]
pub struct Signals {
    /// A writer committed while the tail slept.
    pub bell: Notify,
    /// A destination, or a source, was changed: for the lanes.
    pub destinations: Notify,
    /// The same, for those who listen to the channels of sources.
    pub sources: Notify,
    /// Counts how often somebody may have changed parked deliveries by hand: for every lane.
    pub deliveries: watch::Sender<u64>,
}

impl Signals {
    fn deliveries_changed(&self) {
        self.deliveries.send_modify(|count| *count += 1);
    }
}

/// The payload with which a change of the destinations is told from the bell, which has none.
const DESTINATIONS: &str = "destinations";

/// That of who changes rows of `andon.deliveries`, and is no lane.
const DELIVERIES: &str = "deliveries";

/// Subscribes. Returns once the server has confirmed it; the task ends with the connection, and the bell is rung then, so that
/// nobody sleeps on.
pub(crate) async fn listen<S, T>(
    client: Client,
    mut connection: Connection<S, T>,
    signals: Arc<Signals>,
) -> Result<tokio::task::JoinHandle<()>, tokio_postgres::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let heard = Arc::clone(&signals);
    let draining = tokio::spawn(async move {
        let signals = heard;
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            match message {
                AsyncMessage::Notification(note) if note.payload() == DESTINATIONS => {
                    signals.destinations.notify_one();
                    signals.sources.notify_one();
                }
                AsyncMessage::Notification(note) if note.payload() == DELIVERIES => signals.deliveries_changed(),
                AsyncMessage::Notification(_) => signals.bell.notify_one(),
                _ => {}
            }
        }
        signals.bell.notify_one();
    });
    client.batch_execute("listen andon").await?;
    // What was notified while nobody listened. The tail and the roster look anyway.
    signals.deliveries_changed();
    // The session lasts as long as its client.
    Ok(tokio::spawn(async move {
        drop(draining.await);
        drop(client);
    }))
}
