//! Reads the log for a lane, one page ahead. In: the ids that the lane has not read, and how much it may take. Out: page after page of
//! events. It never reads ahead where memory is scarce.

use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use crate::feed::Taken;
use crate::lane::intake::room::Room;
use crate::log::reader::Page;
use crate::log::reader::Reader;
use crate::ranges::Ranges;

/// Pages of the log.
#[derive(Debug)]
pub(super) struct LogPages {
    reader: Reader,
    /// The page that is being read. Reading goes on while the lane does other things, so that a page is there once the one before it has
    /// been sent.
    reading: Option<AbortOnDropHandle<(Reader, Option<Page>)>>,
}

/// How long to wait before the log is read again when the database did not answer.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Where there is less room than this, a page ahead would cost more than it is good for.
const LEAST_AHEAD: usize = 8 << 10;

impl LogPages {
    pub(super) fn new(reader: Reader) -> LogPages {
        LogPages { reader, reading: None }
    }

    /// Reads the first page of `unread` and takes its ids out of there. Returns `None` when the database did not answer. Dropping the
    /// future loses nothing.
    pub(super) async fn next(&mut self, unread: &mut Ranges, room: &mut Room) -> Option<Page> {
        let reading = self.reading.get_or_insert_with(|| start(&self.reader, unread, room.reserve_page()));
        let (reader, page) = reading.await.expect("reading the log neither panics nor is aborted");
        (self.reader, self.reading) = (reader, None);
        let page = page?;
        *unread = std::mem::take(unread).without(&page.covered);
        Some(page)
    }

    /// Starts to read the next page, if there is room for it.
    pub(super) fn read_ahead(&mut self, unread: &Ranges, room: &mut Room) {
        match room.reserve_page() {
            enough if enough >= LEAST_AHEAD => self.reading = Some(start(&self.reader, unread, enough)),
            _ => room.take(0),
        }
    }

    /// Returns whether a page has been read that nobody has asked for yet.
    pub(super) fn has_read_ahead(&self) -> bool {
        self.reading.as_ref().is_some_and(|reading| reading.is_finished())
    }

    /// Forgets the page that is being read.
    pub(super) fn forget(&mut self) {
        self.reading = None;
    }
}

fn start(reader: &Reader, unread: &Ranges, room: usize) -> AbortOnDropHandle<(Reader, Option<Page>)> {
    AbortOnDropHandle::new(tokio::spawn(read(reader.clone(), unread.clone(), room)))
}

/// Reads a page, or returns `None` when the database does not answer.
async fn read(mut reader: Reader, unread: Ranges, room: usize) -> (Reader, Option<Page>) {
    match reader.page(&unread, room).await {
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
pub(super) fn with_pending(page: Page) -> Vec<Taken> {
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
