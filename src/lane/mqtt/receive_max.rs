//! Remembers how many publishes each broker lets be unacknowledged. In: what the CONNACKs of MQTT 5 say. Out: what the next one will probably
//! say. The client library makes its tables before it hears that, 250 bytes for each publish; most brokers allow 10 to 32 of the 256 that a
//! lane would like, and thousands of lanes share a broker. It is a guess: whoever uses it has to look at what the broker then says.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

/// The brokers that were connected to, by host and port.
#[derive(Debug, Default)]
pub(super) struct ReceiveMaxima(Mutex<Option<HashMap<(String, u16), Known>>>);

/// What one broker has said, if it has said anything. Who holds it asks.
type Known = Arc<tokio::sync::Mutex<Option<u16>>>;

/// A question to one broker, which others wait for.
#[derive(Debug)]
pub(super) struct Question {
    known: Known,
    asking: Option<OwnedMutexGuard<Option<u16>>>,
    expected: Option<u16>,
}

/// More brokers than this are not remembered; then all are forgotten.
const MOST: usize = 1024;
/// How long to wait for the lane that asks the same broker.
const PATIENCE: Duration = Duration::from_secs(1);

impl ReceiveMaxima {
    pub(super) const fn new() -> ReceiveMaxima {
        ReceiveMaxima(Mutex::new(None))
    }

    /// Prepares to ask a broker. Of many that ask one for the first time together, one does, and the others wait for a short time.
    pub(super) async fn ask(&self, host: &str, port: u16) -> Question {
        let known = self.known(host, port);
        let asking = timeout(PATIENCE, Arc::clone(&known).lock_owned()).await.ok();
        let expected = asking.as_ref().and_then(|known| **known);
        Question { known, asking: asking.filter(|_| expected.is_none()), expected }
    }

    fn known(&self, host: &str, port: u16) -> Known {
        let mut brokers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let brokers = brokers.get_or_insert_default();
        if brokers.len() >= MOST {
            brokers.clear();
        }
        Arc::clone(brokers.entry((host.to_owned(), port)).or_default())
    }
}

impl Question {
    /// Returns how many of `wanted` publishes the broker will probably allow: all, if nothing was heard of it.
    pub(super) fn expected(&self, wanted: u16) -> u16 {
        self.expected.map_or(wanted, |heard| wanted.min(heard)).max(1)
    }

    /// Takes the answer.
    pub(super) fn answered(self, receive_max: u16) {
        match self.asking {
            Some(mut asking) => *asking = Some(receive_max),
            None => {
                // Somebody else is about to write the same.
                if let Ok(mut known) = self.known.try_lock() {
                    *known = Some(receive_max);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_broker_is_expected_to_allow_what_it_allowed_before() {
        let maxima = ReceiveMaxima::default();
        let first = maxima.ask("broker", 1883).await;
        assert_eq!(first.expected(256), 256);

        first.answered(20);

        let second = maxima.ask("broker", 1883).await;
        assert_eq!((second.expected(256), second.expected(8)), (20, 8));
        assert_eq!(maxima.ask("broker", 1884).await.expected(256), 256, "another listener may allow more");
        second.answered(u16::MAX);
        assert_eq!(maxima.ask("broker", 1883).await.expected(256), 256);
    }

    #[tokio::test]
    async fn those_who_ask_together_wait_for_the_first_but_not_for_long() {
        let maxima = ReceiveMaxima::default();
        let first = maxima.ask("broker", 1883).await;
        let (second, ()) = tokio::join!(maxima.ask("broker", 1883), async { first.answered(20) });
        assert_eq!(second.expected(256), 20);

        let _silent = maxima.ask("silent", 1883).await;
        let began = tokio::time::Instant::now();
        assert_eq!(maxima.ask("silent", 1883).await.expected(256), 256);
        assert!(began.elapsed() >= PATIENCE);
    }

    #[tokio::test]
    async fn no_more_brokers_are_remembered_than_the_bound() {
        let maxima = ReceiveMaxima::default();

        for port in 0..2 * MOST as u16 {
            maxima.ask("broker", port).await.answered(1);
        }

        assert!(maxima.0.lock().unwrap().as_ref().unwrap().len() <= MOST);
    }
}
