//! The people and machines of the plant, each on a connection of its own straight to the database. In: a seed. Out: transactions of some
//! events each, which are committed, rolled back, or rolled back to a savepoint. A writer does not care whether its commit was confirmed.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::chaos::claimed::Claimed;
use crate::chaos::destinations;
use crate::stage::connect;

const WRITERS: u64 = 8;
/// Events per second of all writers together. The rate is low so that two cores keep up with a debug build.
const RATE: f64 = 150.0;
/// How long a writer waits before it connects again.
const AGAIN: Duration = Duration::from_millis(100);

/// Lets all writers write until `over`.
pub(super) async fn write(database: &str, seed: u64, claimed: &Claimed, over: &CancellationToken) {
    join_all((0..WRITERS).map(|number| async move {
        let mut random = StdRng::seed_from_u64(seed.wrapping_mul(WRITERS).wrapping_add(number));
        while !over.is_cancelled() {
            // Whether the database is away or its disk is full, the plant tries again.
            if let Err(error) = work(database, &mut random, claimed, over).await {
                tracing::debug!(error = format!("{error:#}"), "a writer starts again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }))
    .await;
}

async fn work(database: &str, random: &mut StdRng, claimed: &Claimed, over: &CancellationToken) -> Result<()> {
    let client = connect(database).await?;
    let names: Vec<String> = destinations::entities().into_iter().map(|entity| entity.name).collect();
    let mut next = Instant::now();
    while !over.is_cancelled() {
        let events = transaction(&client, &names, random, claimed).await?;
        next += Duration::from_secs_f64(f64::from(events) * WRITERS as f64 / RATE);
        // A writer that was held up does not catch up.
        next = next.max(Instant::now());
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = over.cancelled() => {}
        }
    }
    Ok(())
}

/// Runs one transaction and returns how many events it made, committed or not.
async fn transaction(client: &Client, names: &[String], random: &mut StdRng, claimed: &Claimed) -> Result<u32> {
    // The rows are locked in the order of their numbers, so that two writers cannot deadlock.
    let mut chosen: Vec<usize> = (0..random.random_range(1..=3)).map(|_| random.random_range(0..names.len())).collect();
    chosen.sort_unstable();
    client.batch_execute("begin").await?;
    let mut nonces = Vec::new();
    for number in chosen {
        let name = &names[number];
        if random.random_ratio(1, 8) {
            client.batch_execute("savepoint before").await?;
            happen(client, name, random).await?;
            client.batch_execute("rollback to before").await?;
        }
        for _ in 0..random.random_range(1..=2) {
            nonces.push(happen(client, name, random).await?);
        }
    }
    if random.random_ratio(1, 3) {
        tokio::time::sleep(Duration::from_millis(random.random_range(1..40))).await;
    }
    let events = u32::try_from(nonces.len())?;
    if random.random_ratio(1, 6) {
        client.batch_execute("rollback").await?;
    } else {
        claimed.add(nonces);
        client.batch_execute("commit").await?;
    }
    Ok(events)
}

/// Makes one event and returns its nonce.
async fn happen(client: &Client, name: &str, random: &mut StdRng) -> Result<String> {
    let nonce = format!("{:016x}", random.random::<u64>());
    client.batch_execute(&format!("select chaos.happen('{name}', '{nonce}')")).await?;
    Ok(nonce)
}
