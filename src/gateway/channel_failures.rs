//! Notifications that are no events. In: each with its cause. Out: a count for each channel and cause, in one row of `andon.capture_errors` and,
//! once a minute at most, in the log. Whoever may connect to the database can send them by the thousand, and gets no row and no line for each.

use std::collections::BTreeMap;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::time::Instant;

/// How soon a count is written.
const WRITE: Duration = Duration::from_secs(1);
/// How often the log tells of a cause that goes on.
const TELL: Duration = Duration::from_secs(60);

/// A source, its channel, and the SQL state of what is wrong.
type Cause = (String, String, String);

/// The failures since the daemon listens.
#[derive(Debug, Default)]
pub(super) struct ChannelFailures {
    counts: BTreeMap<Cause, Count>,
    /// When what is not written yet has to be.
    due: Option<Instant>,
}

#[derive(Debug, Default)]
struct Count {
    /// What was wrong with the first of those that are not written yet.
    reason: String,
    unwritten: i64,
    untold: u64,
    told: Option<Instant>,
}

impl ChannelFailures {
    /// Counts a notification.
    pub(super) fn add(&mut self, source: &str, channel: &str, code: &str, reason: &str) {
        let now = Instant::now();
        let cause = (source.to_owned(), channel.to_owned(), code.to_owned());
        let count = self.counts.entry(cause).or_default();
        if count.unwritten == 0 {
            reason.clone_into(&mut count.reason);
        }
        count.unwritten += 1;
        count.untold += 1;
        if count.told.is_none_or(|told| now.duration_since(told) >= TELL) {
            tracing::warn!(source, channel, notifications = count.untold, reason, "a notification is no event");
            count.untold = 0;
            count.told = Some(now);
        }
        self.due.get_or_insert(now + WRITE);
    }

    /// Waits until something has to be written: forever, if there is nothing.
    pub(super) async fn due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Writes what has been counted. What cannot be written now stays counted.
    pub(super) async fn write(&mut self, pool: &Pool) {
        self.due = None;
        let sql = "select andon.notifications_failed($1, $2, $3, $4, $5)";
        for ((source, channel, code), count) in self.counts.iter_mut().filter(|(_, count)| count.unwritten > 0) {
            let written = async {
                pool.get().await?.execute(sql, &[source, channel, code, &count.reason, &count.unwritten]).await?;
                anyhow::Ok(())
            };
            match written.await {
                Ok(()) => count.unwritten = 0,
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::debug!(error, channel, "cannot record yet that notifications are no events");
                    self.due = Some(Instant::now() + WRITE);
                }
            }
        }
    }
}
