//! The plant of the live bench: sessions that insert rows at set times, each row in a transaction of its own. In: a rate. Out: how many
//! rows were committed. A writer that is late catches up and skips nothing. A timer has a resolution of a millisecond, so several rows may
//! be due at once; no writer spins to be more exact, because the processors are needed elsewhere.

use std::time::Duration;

use anyhow::Context as _;
use anyhow::Result;
use futures_util::future::try_join_all;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio_postgres::Client;
use tokio_postgres::Statement;

use crate::stage::connect;

/// Connected sessions, which share a thread while they write.
pub(super) struct Writers {
    /// It is there until the drop.
    runtime: Option<Runtime>,
    sessions: Vec<(Client, Statement)>,
}

const NOTE: usize = 200;

impl Writers {
    pub(super) async fn connect(database: String, size: usize) -> Result<Writers> {
        let connecting = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let sessions = runtime.block_on(try_join_all((0..size).map(async |_| {
                let client = connect(&database).await?;
                let insert = client.prepare("insert into jobs (note) values ($1)").await?;
                anyhow::Ok((client, insert))
            })))?;
            Ok(Writers { runtime: Some(runtime), sessions })
        });
        connecting.await.context("the writers' start was given up")?
    }

    /// Writes with `count` of the sessions for the time of a spell, and blocks meanwhile. Returns how many rows were committed.
    pub(super) fn write(&mut self, rate: u32, count: usize, spell: Duration) -> Result<u64> {
        let (step, note) = (Duration::from_secs(1) / rate, "x".repeat(NOTE));
        let sessions = self.sessions.iter().take(count);
        let runtime = self.runtime.as_ref().context("the writers are gone")?;
        let counts = runtime.block_on(async {
            let begun = Instant::now();
            try_join_all((0..).zip(sessions).map(async |(first, (client, insert))| {
                let (mut number, mut committed) = (first, 0);
                while step * number < spell && begun.elapsed() < spell {
                    sleep_until(begun + step * number).await;
                    client.execute(insert, &[&note]).await?;
                    committed += 1;
                    number += count as u32;
                }
                anyhow::Ok(committed)
            }))
            .await
        })?;
        Ok(counts.into_iter().sum())
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        // A runtime that waited here would block the tasks among which it is dropped.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
