//! The body of an answer. In: the body as it comes. Out: its beginning, for people to read, and whether it came whole, so that the
//! connection can be used again. The status has already decided what becomes of the delivery: a body that is slow, endless or broken only
//! costs its connection. It never reads more than its bounds in bytes and time.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::destination::echo::Echo;
use crate::lane::webhook::answer_stream::LONGEST_BODY;
use crate::legible;

/// A body as far as it was read.
#[derive(Debug)]
pub(super) struct AnswerBody {
    /// Its beginning.
    pub(super) excerpt: String,
    /// Whether it was read to its end.
    pub(super) is_whole: bool,
}

/// Waiting for a body is looked at again after this time: a lane that stops waits no longer than this.
pub(super) const LOOK: Duration = Duration::from_millis(50);
/// How often that is done.
const LOOKS: usize = 20;
/// The characters that are kept.
const EXCERPT: usize = 500;
/// No more bytes than these are looked at: letters have four at most.
const BYTES: usize = 4 * EXCERPT;

/// Reads a body up to its bounds, and no longer than a moment if the lane is stopping.
pub(super) async fn read(mut body: Incoming, echo: &Echo, is_stopping: &AtomicBool) -> AnswerBody {
    let (mut read, mut excerpt) = (0, Vec::new());
    let mut is_whole = false;
    for _ in 0..LOOKS {
        let reading = async {
            while read < LONGEST_BODY {
                // Only the end after the last frame is the end: more chunks may follow any other.
                let Some(frame) = body.frame().await else { return true };
                let Ok(frame) = frame else { return false };
                let data = frame.data_ref().map_or(&[][..], |data| data);
                read += data.len();
                excerpt.extend_from_slice(&data[..data.len().min(BYTES - excerpt.len())]);
            }
            false
        };
        if let Ok(ended) = timeout(LOOK, reading).await {
            is_whole = ended;
            break;
        }
        if is_stopping.load(Ordering::Relaxed) {
            break;
        }
    }
    let is_cut = !is_whole || read > excerpt.len();
    AnswerBody { excerpt: legible(&excerpt, is_cut, echo), is_whole }
}

/// Returns text that a terminal shows as it is, without what the endpoint was told in confidence. `is_cut` says that more was to come.
pub(super) fn legible(bytes: &[u8], is_cut: bool, echo: &Echo) -> String {
    let is_cut = is_cut || bytes.len() > BYTES;
    let bytes = &bytes[..bytes.len().min(BYTES)];
    // In this order: what is taken out may have stood in the middle of a secret.
    let text = legible::text(String::from_utf8_lossy(bytes).into_owned());
    let text = if is_cut { echo.hide_cut(text) } else { echo.hide(text) };
    text.chars().take(EXCERPT).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn an_excerpt_holds_nothing_that_a_terminal_would_obey() {
        let legible = |bytes: &[u8]| legible(bytes, false, &Echo::default());

        assert_eq!(legible(b"no\x1b[2J such\0 hook\r\n\tat all \xff"), "no[2J such hook\n\tat all \u{fffd}");
        assert_eq!(legible(&[b'a'; BYTES]).len(), EXCERPT);
        assert_eq!(legible(&[&[0x1b; BYTES][..], b"not looked at"].concat()), "");
    }

    #[test]
    fn an_excerpt_that_ends_within_a_secret_shows_no_part_of_it() {
        let echo = Echo::of(["0123456789abcdef".repeat(4)]);
        let repeated = "0123456789abcdef".repeat(4).repeat(40);

        let excerpt = legible(&repeated.as_bytes()[..BYTES], true, &echo);

        assert_eq!(excerpt, "…");
    }

    /// Prints how long it takes, with `--nocapture`.
    #[test]
    fn what_the_writer_of_a_row_chooses_for_its_endpoint_to_say_takes_little_time() {
        let tokens = (0..64).map(|number| format!("{number:064}")).collect::<Vec<_>>();
        let segments = (0..2_000).map(|number| format!("{number:07}")).collect::<Vec<_>>();
        let above = (0..64).map(|number| "a".repeat(2_000 - 30 * number) + "b").collect::<Vec<_>>();
        let below = (0..64).map(|number| "a".repeat(2_000 - 30 * number) + "!").collect::<Vec<_>>();
        let started = Instant::now();
        for (name, secrets) in [("tokens", tokens), ("segments", segments), ("above", above), ("below", below)] {
            let echo = Echo::of(secrets);
            for said in ["a", "0", "%61", "&#97;", "\\u0061"] {
                let said = said.repeat(LONGEST_BODY / said.len());
                let started = Instant::now();
                let shown = legible(said.as_bytes(), true, &echo).len();
                println!("{name}, {}: {:?}, {shown} bytes", &said[..6], started.elapsed());
            }
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }
}
