//! Watches whether what is attached still is as it should be. In: `andon.sources`, every few minutes, and at once after a change of the schema
//! where the database tells of those. Out: the state of each source in that table, and one ERROR for each difference. Several daemons share
//! the looks, and each tells what was found.

use std::collections::HashMap;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio::time::timeout_at;

use crate::capture::watch;
use crate::capture::watch::Look;
use crate::log::wakeup::listener::Signals;

/// How old a look may be.
const AGE: Duration = Duration::from_secs(300);
/// How often the states are read, which other daemons may have written.
const READ: Duration = Duration::from_secs(30);
/// The least time between two looks, because a migration of the plant may have a thousand statements. If a look takes long, the time is a
/// multiple of that, up to the most: a database that is slow for a moment must not put the next look off for long.
const BETWEEN: Duration = Duration::from_millis(500);
const SHARE: u32 = 4;
const MOST_BETWEEN: Duration = Duration::from_secs(15);

/// Watches, forever.
pub(super) async fn run(pool: &Pool, signals: &Signals) {
    let mut told = Told::default();
    // The first look is at once: nobody knows what happened while no daemon ran.
    let mut age = Duration::ZERO;
    loop {
        let began = Instant::now();
        match look(pool, age).await {
            Ok(looks) => told.tell(&looks),
            // Where the database is away, others say so.
            Err(error) => told.tell_trouble(&format!("{error:#}")),
        }
        let ended = Instant::now();
        let next = ended + ((ended - began) * SHARE).clamp(BETWEEN, MOST_BETWEEN);
        sleep_until(next).await;
        age = match timeout_at(next + READ, signals.schema.notified()).await {
            Ok(()) => Duration::ZERO,
            Err(_) => AGE,
        };
    }
}

async fn look(pool: &Pool, age: Duration) -> anyhow::Result<Vec<(String, Look)>> {
    let mut client = pool.get().await?;
    Ok(watch::look(&mut client, age).await?)
}

/// What was told, so that nothing is told twice.
#[derive(Debug, Default)]
struct Told {
    looks: HashMap<String, Look>,
    trouble: Option<String>,
}

impl Told {
    fn tell(&mut self, looks: &[(String, Look)]) {
        self.trouble = None;
        for (source, news) in self.news(looks) {
            match news {
                Look::Attached => tracing::info!(source, "what is attached is what it should be again"),
                Look::Differs(reason) => {
                    let advice = "run `andon check`, which says for each whether to correct the mapping; then run `andon attach --source FILE`";
                    tracing::error!(
                        source,
                        reason,
                        advice,
                        "what is attached is not what it should be, so that changes may not be captured"
                    );
                }
                Look::Unknown(reason) => {
                    tracing::warn!(source, reason, "cannot find out whether what is attached is what it should be");
                }
            }
        }
    }

    /// Returns the sources of which something else is known than what was told. That all is well is news only after something else.
    fn news(&mut self, looks: &[(String, Look)]) -> Vec<(String, Look)> {
        let mut news = Vec::new();
        for (name, look) in looks {
            let known = self.looks.insert(name.clone(), look.clone()).unwrap_or(Look::Attached);
            if known != *look {
                news.push((name.clone(), look.clone()));
            }
        }
        self.looks.retain(|name, _| looks.iter().any(|(known, _)| known == name));
        news
    }

    fn tell_trouble(&mut self, error: &str) {
        if self.trouble.as_deref() != Some(error) {
            tracing::warn!(error, "cannot look whether the sources are attached as they should be; trying again");
            self.trouble = Some(error.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_once_and_again_when_it_changes_or_ends() {
        let mut told = Told::default();
        let mut news = |look: &Look| -> Vec<Look> {
            told.news(&[("mes".to_owned(), look.clone())]).into_iter().map(|(_, look)| look).collect()
        };
        let (gone, disabled) = (Look::Differs("gone".to_owned()), Look::Differs("disabled".to_owned()));

        assert_eq!(news(&Look::Attached), []);
        assert_eq!(news(&gone), std::slice::from_ref(&gone));
        assert_eq!(news(&gone), []);
        assert_eq!(news(&disabled), std::slice::from_ref(&disabled));
        assert_eq!(news(&Look::Attached), [Look::Attached]);
    }
}
