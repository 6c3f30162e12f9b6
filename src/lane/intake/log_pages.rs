//! Reads the log for a lane, one page ahead. In: the ids that the lane has not read. Out: page after page of events, each of which knows
//! the ids that the lane's cursor keeps pending with it.

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::feed::Taken;
use crate::log::reader::Page;
use crate::log::reader::Reader;
use crate::ranges::Ranges;

/// Pages of the log.
#[derive(Debug)]
pub(super) struct LogPages {
    /// The reader, unless a read is in progress.
    reader: Option<Reader>,
    /// The page that is being read. Reading goes on while the lane does other things, so that a page is there once the one before it has
    /// been sent.
    reading: Option<JoinHandle<(Reader, Option<Page>)>>,
}

/// How long to wait before the log is read again when the database did not answer.
const TRY_AGAIN: Duration = Duration::from_secs(1);

impl LogPages {
    pub(super) fn new(reader: Reader) -> LogPages {
        LogPages { reader: Some(reader), reading: None }
    }

    /// Reads the first page of `unread` and takes its ids out of there. Returns `None` when the database did not answer. Dropping the
    /// future loses nothing.
    pub(super) async fn next(&mut self, unread: &mut Ranges) -> Option<Vec<Taken>> {
        self.start_reading(unread);
        let reading = self.reading.as_mut().expect("a page is being read since the line before");
        let (reader, page) = reading.await.expect("reading the log does not panic");
        self.reader = Some(reader);
        self.reading = None;
        let page = page?;
        *unread = std::mem::take(unread).without(&page.covered);
        if !unread.is_empty() {
            self.start_reading(unread);
        }
        Some(with_pending(page))
    }

    /// Starts to read a page, unless one is being read.
    fn start_reading(&mut self, unread: &Ranges) {
        if let Some(reader) = self.reader.take() {
            self.reading = Some(tokio::spawn(read(reader, unread.clone())));
        }
    }
}

/// Reads a page, or returns `None` when the database does not answer.
async fn read(mut reader: Reader, unread: Ranges) -> (Reader, Option<Page>) {
    match reader.page(&unread).await {
        Ok(page) => (reader, Some(page)),
        Err(error) => {
            // The tail reports that the database is away; here it is enough to try again.
            tracing::debug!(error = format!("{error:#}"), "cannot read the log");
            tokio::time::sleep(TRY_AGAIN).await;
            (reader, None)
        }
    }
}

/// Gives each event of a page the ids that stay pending with it: those between the event before it and itself, as far as the page covers
/// them.
fn with_pending(page: Page) -> Vec<Taken> {
    let mut ranges = page.covered.iter().peekable();
    let mut last = i64::MIN;
    let mut taken = Vec::with_capacity(page.events.len());
    for event in page.events {
        while ranges.peek().is_some_and(|(_, high)| *high < event.id) {
            ranges.next();
        }
        let low = ranges.peek().map_or(event.id, |(low, _)| *low);
        let from = low.max(last.saturating_add(1));
        last = event.id;
        taken.push(Taken { event, from });
    }
    taken
}
