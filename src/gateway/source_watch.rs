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
use crate::capture::watch::SourceState;
use crate::log::wakeup::listener::Signals;

/// How old a look may be.
const AGE: Duration = Duration::from_secs(300);
/// How often the states are read, which other daemons may have written.
const READ: Duration = Duration::from_secs(30);
/// The least time between two looks, because a migration of the plant may have a thousand statements. If a look takes long, the time is a
/// multiple of that.
const BETWEEN: Duration = Duration::from_millis(500);
const SHARE: u32 = 10;

/// Watches, forever.
pub(super) async fn run(pool: &Pool, signals: &Signals) {
    let mut told = Told::default();
    // The first look is at once: nobody knows what happened while no daemon ran.
    let mut age = Duration::ZERO;
    loop {
        let began = Instant::now();
        match look(pool, age).await {
            Ok(states) => told.tell(&states),
            // Where the database is away, others say so.
            Err(error) => told.tell_trouble(&format!("{error:#}")),
        }
        let ended = Instant::now();
        let next = ended + ((ended - began) * SHARE).max(BETWEEN);
        sleep_until(next).await;
        age = match timeout_at(next + READ, signals.schema.notified()).await {
            Ok(()) => Duration::ZERO,
            Err(_) => AGE,
        };
    }
}

async fn look(pool: &Pool, age: Duration) -> anyhow::Result<Vec<SourceState>> {
    let mut client = pool.get().await?;
    Ok(watch::look(&mut client, age).await?)
}

/// What was told, so that nothing is told twice.
#[derive(Debug, Default)]
struct Told {
    differences: HashMap<String, String>,
    trouble: Option<String>,
}

impl Told {
    fn tell(&mut self, states: &[SourceState]) {
        self.trouble = None;
        for (source, news) in self.news(states) {
            match news {
                Some(reason) => {
                    let advice = "run `andon attach --source FILE`";
                    tracing::error!(
                        source,
                        reason,
                        advice,
                        "what is attached is not what it should be, so that changes may not be captured"
                    );
                }
                None => tracing::info!(source, "what is attached is what it should be again"),
            }
        }
    }

    /// Returns the sources of which something else is known than what was told.
    fn news(&mut self, states: &[SourceState]) -> Vec<(String, Option<String>)> {
        let mut news = Vec::new();
        for SourceState { name, difference } in states {
            let known = match difference {
                Some(difference) => self.differences.insert(name.clone(), difference.clone()),
                None => self.differences.remove(name),
            };
            if known != *difference {
                news.push((name.clone(), difference.clone()));
            }
        }
        self.differences.retain(|name, _| states.iter().any(|state| state.name == *name));
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
        let mut news = |difference: Option<&str>| -> Vec<Option<String>> {
            let difference = difference.map(str::to_owned);
            let states = [SourceState { name: "mes".to_owned(), difference }];
            told.news(&states).into_iter().map(|(_, news)| news).collect()
        };

        assert_eq!(news(None), []);
        assert_eq!(news(Some("gone")), [Some("gone".to_owned())]);
        assert_eq!(news(Some("gone")), []);
        assert_eq!(news(Some("disabled")), [Some("disabled".to_owned())]);
        assert_eq!(news(None), [None]);
    }
}
