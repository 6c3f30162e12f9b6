//! The simulated shift: workers who change the plant's rows, each on a connection of its own. In: a plant and a rate. Out: transactions,
//! committed or rolled back, and the account of those that were committed. It knows nothing of what becomes of them.

mod work;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use futures_util::future::try_join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::demo::plant;
use crate::demo::plant::Plant;
use crate::demo::truth::Truth;

pub(super) use work::Worker;

const WORKERS: u32 = 6;

/// Puts the workers in their places. Before the source is attached, so that what they find there is no event.
pub(super) async fn hire(plant: &Arc<Plant>, database: &str) -> Result<Vec<Worker>> {
    let mut client = plant::connect(database).await?;
    let transaction = client.transaction().await?;
    let mut workers = Vec::new();
    for number in 0..WORKERS {
        let hired = Worker::hire(number, Arc::clone(plant), &transaction).await;
        workers.push(hired.context("cannot fill the plant")?);
    }
    transaction.commit().await.context("cannot fill the plant")?;
    Ok(workers)
}

/// Lets the workers work, at so many events per second together, until `over`. Each transaction is finished: its fate is known.
pub(super) async fn work(
    workers: Vec<Worker>,
    database: &str,
    rate: f64,
    truth: &Truth,
    over: &CancellationToken,
) -> Result<()> {
    let pause = workers.len() as f64 / rate;
    let all = workers.into_iter().map(|worker| work_alone(worker, database, pause, truth, over));
    try_join_all(all).await.context("the shift cannot go on")?;
    Ok(())
}

async fn work_alone(
    mut worker: Worker,
    database: &str,
    pause: f64,
    truth: &Truth,
    over: &CancellationToken,
) -> Result<()> {
    let mut client = plant::connect(database).await?;
    // Spread over the first pause, so that they do not work in step.
    let mut next = Instant::now() + Duration::from_secs_f64(pause * f64::from(worker.number()) / f64::from(WORKERS));
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = over.cancelled() => return Ok(()),
        }
        let transaction = client.transaction().await?;
        let done = worker.do_something(&transaction).await?;
        if done.is_given_up {
            transaction.rollback().await?;
        } else {
            truth.announce(&done.happenings);
            transaction.commit().await?;
            truth.confirm(&done.happenings);
        }
        next += Duration::from_secs_f64(pause * done.happenings.len() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::DemoOptions;
    use crate::demo::report::Narrator;
    use crate::demo::witness;
    use crate::migrate;
    use crate::rig::Postgres;
    use crate::rig::Receiver;
    use crate::rig::oracle;
    use crate::source::Mapping;
    use crate::source::attach;

    #[tokio::test]
    async fn what_the_shift_commits_is_what_the_log_holds() {
        let database = Postgres::shared().create_database().await.unwrap();
        let receiver = Receiver::start().await.unwrap();
        let plant = Arc::new(plant::build(&database, 1883, &receiver).await.unwrap());
        let workers = hire(&plant, &database).await.unwrap();
        let mut client = plant::connect(&database).await.unwrap();
        migrate::migrate(&mut client).await.unwrap();
        attach::attach(&mut client, &Mapping::parse("eryxon.toml", plant::MAPPING).unwrap()).await.unwrap();
        let truth = Truth::new(Narrator::new(&DemoOptions { duration: None, rate: 2000.0, json: true }));
        let over = CancellationToken::new();

        let (worked, ()) = tokio::join!(work(workers, &database, 2000.0, &truth, &over), async {
            while truth.count() < 1000 {
                tokio::task::yield_now().await;
            }
            over.cancel();
        });
        worked.unwrap();

        let logged = "select json_build_object('event', type, 'data', data)::text from andon.events order by id";
        let rows = client.query(logged, &[]).await.unwrap();
        let seen: Vec<witness::Seen> = rows
            .iter()
            .filter_map(|row| witness::read(row.get::<_, &str>(0).as_bytes(), |key| truth.knows(key)))
            .collect();
        let verdict = oracle::judge(&truth.committed(), seen.iter().map(|seen| (seen.entity.0.as_str(), seen.counter)));
        assert_eq!(rows.len() as u64, truth.count());
        assert!(verdict.is_clean() && verdict.duplicates == 0, "{verdict:?}");
    }
}
