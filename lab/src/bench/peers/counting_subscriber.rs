//! A subscriber that costs little because it only counts. In: what a broker publishes below a topic. Out: how many distinct events arrived,
//! when the first and the last did, and one of them to look at. It speaks just enough MQTT 3.1.1 for that, on a thread of its own. It asks
//! for QoS 0, because what is measured is on the other side of the broker, and an event that got lost here would be missing in the count.

use std::collections::HashSet;
use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::io::BufReader;
use std::io::Read;
use std::io::Write as _;
use std::net::Shutdown;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::bail;
use anyhow::ensure;

use crate::bench::sink::Tally;

/// A payload begins with `{"id":"` and the event's id.
const HEAD: usize = 43;
/// How much later than its arrival an event may be seen.
const GATHER: Duration = Duration::from_millis(2);
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const SUBACK: u8 = 9;

/// A running subscriber. Dropping it hangs up.
pub(super) struct CountingSubscriber {
    socket: TcpStream,
    counted: Arc<Mutex<Counted>>,
}

/// Lets messages gather before it reads. The broker sends each on its own, and a reader that woke up for each would take processor time
/// from what is measured.
struct Unhurried(TcpStream);

impl Read for Unhurried {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        std::thread::sleep(GATHER);
        self.0.read(buffer)
    }
}

#[derive(Default)]
struct Counted {
    tally: Tally,
    /// Hashes of the beginnings of payloads.
    heads: HashSet<u64>,
    hashing: RandomState,
    /// The first event.
    sample: Option<String>,
}

impl CountingSubscriber {
    /// Subscribes, and blocks until the broker has confirmed it.
    pub(super) fn start(port: u16, filter: &str) -> Result<CountingSubscriber> {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).context("cannot reach the broker")?;
        let mut stream = BufReader::with_capacity(1 << 20, Unhurried(socket.try_clone()?));
        // MQTT, level 4, a clean session without keep-alive and without a client id.
        socket.write_all(&[0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 0])?;
        let length =
            u8::try_from(filter.len()).ok().filter(|length| *length < 100).context("the filter is too long")?;
        socket.write_all(&[0x82, length + 5, 0, 1, 0, length])?;
        socket.write_all(filter.as_bytes())?;
        socket.write_all(&[0])?;
        let mut body = Vec::new();
        for (expected, verdict) in [(CONNACK, 1), (SUBACK, 2)] {
            let kind = packet(&mut stream, &mut body).context("the broker hangs up")?;
            ensure!(kind == expected && body.get(verdict) == Some(&0), "the broker refuses: packet {kind}, {body:?}");
        }
        let counted = Arc::new(Mutex::new(Counted::default()));
        let counting = Arc::clone(&counted);
        std::thread::Builder::new().name("subscriber".to_owned()).spawn(move || {
            // The loop ends with the socket, and what has not arrived by then is missing in the count.
            while let Ok(kind) = packet(&mut stream, &mut body) {
                if kind == PUBLISH {
                    lock(&counting).count(&body);
                }
            }
        })?;
        Ok(CountingSubscriber { socket, counted })
    }

    /// Returns the events that arrived since `forget`.
    pub(super) fn tally(&self) -> Tally {
        lock(&self.counted).tally
    }

    /// Returns the first event since `forget`.
    pub(super) fn sample(&self) -> Option<String> {
        lock(&self.counted).sample.clone()
    }

    /// Counts from here on.
    pub(super) fn forget(&self) {
        *lock(&self.counted) = Counted::default();
    }
}

impl Drop for CountingSubscriber {
    fn drop(&mut self) {
        // An error means that the broker has hung up before.
        drop(self.socket.shutdown(Shutdown::Both));
    }
}

impl Counted {
    fn count(&mut self, body: &[u8]) {
        let now = Instant::now();
        let Some((length, rest)) = body.split_first_chunk::<2>() else { return };
        let length = usize::from(u16::from_be_bytes(*length));
        let Some((topic, payload)) = rest.split_at_checked(length) else { return };
        self.tally.all += 1;
        if self.heads.insert(self.hashing.hash_one(&payload[..payload.len().min(HEAD)])) {
            self.tally.distinct += 1;
            let first = self.tally.span.map_or(now, |(first, _)| first);
            self.tally.span = Some((first, now));
        }
        if self.sample.is_none() {
            self.sample = Some(format!("{}: {} bytes", String::from_utf8_lossy(topic), payload.len()));
        }
    }
}

fn lock(counted: &Mutex<Counted>) -> MutexGuard<'_, Counted> {
    counted.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads one packet, returns its type, and leaves its content in `body`.
fn packet(stream: &mut impl Read, body: &mut Vec<u8>) -> Result<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    let kind = byte[0] >> 4;
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        stream.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            body.resize(length, 0);
            stream.read_exact(body)?;
            return Ok(kind);
        }
    }
    bail!("a length of more than four bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_told_apart_and_events_counted_once() {
        let payload = format!(r#"{{"id":"0198c2f4-0000-7000-8000-000000000001","x":"{}"}}"#, "y".repeat(100));
        let mut stream = vec![0x20, 2, 0, 0];
        let length = 2 + 3 + payload.len();
        for _ in 0..2 {
            stream.extend([0x30, (length % 128) as u8 | 0x80, (length / 128) as u8, 0, 3]);
            stream.extend(format!("a/b{payload}").bytes());
        }
        let mut stream = stream.as_slice();
        let (mut counted, mut body) = (Counted::default(), Vec::new());

        assert_eq!((packet(&mut stream, &mut body).unwrap(), body.as_slice()), (CONNACK, [0, 0].as_slice()));
        for _ in 0..2 {
            assert_eq!(packet(&mut stream, &mut body).unwrap(), PUBLISH);
            counted.count(&body);
        }

        assert_eq!((counted.tally.all, counted.tally.distinct), (2, 1));
        assert_eq!(counted.sample.unwrap(), "a/b: 152 bytes");
        assert!(packet(&mut stream, &mut body).is_err());
    }
}
