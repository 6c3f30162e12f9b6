//! The plant of the live bench: sessions that each insert a row in a transaction of its own, at set times. In: a rate. Out: how many were
//! committed. Who is late makes up for it and skips nothing. A timer has a resolution of a millisecond, so that several may be due at once; nobody
//! spins to be more exact than that, because the processors are needed elsewhere.

use std::time::Duration;

use anyhow::Context as _;
use anyhow::Result;
use futures_util::future::try_join_all;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio_postgres::Client;
use tokio_postgres::Statement;

use crate::bench::connect;

/// Connected writers, who share a thread while they write.
pub(super) struct Crowd {
    /// There until the drop.
    runtime: Option<Runtime>,
    writers: Vec<(Client, Statement)>,
}

const NOTE: usize = 200;

impl Crowd {
    pub(super) async fn connect(database: String, size: usize) -> Result<Crowd> {
        let connecting = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let writers = runtime.block_on(try_join_all((0..size).map(async |_| {
                let client = connect(&database).await?;
                let insert = client.prepare("insert into jobs (note) values ($1)").await?;
                anyhow::Ok((client, insert))
            })))?;
            Ok(Crowd { runtime: Some(runtime), writers })
        });
        connecting.await.context("the writers' start was given up")?
    }

    /// Blocks for the time of a spell. Returns how many rows were committed.
    pub(super) fn write(&mut self, rate: u32, writers: usize, spell: Duration) -> Result<u64> {
        let (step, note) = (Duration::from_secs(1) / rate, "x".repeat(NOTE));
        let crowd = self.writers.iter().take(writers);
        let runtime = self.runtime.as_ref().context("the writers are gone")?;
        let counts = runtime.block_on(async {
            let begun = Instant::now();
            try_join_all((0..).zip(crowd).map(async |(first, (client, insert))| {
                let (mut number, mut count) = (first, 0);
                while step * number < spell && begun.elapsed() < spell {
                    sleep_until(begun + step * number).await;
                    client.execute(insert, &[&note]).await?;
                    count += 1;
                    number += writers as u32;
                }
                anyhow::Ok(count)
            }))
            .await
        })?;
        Ok(counts.into_iter().sum())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // Where it is dropped, among other tasks, nothing may wait for it.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
