//! The people of the shift, each on a connection of their own, who do one cycle after the other. In: the steps and a rate. Out:
//! transactions, committed or rolled back, and the events that each of them left in the log. It does not look at what becomes of the
//! events.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use futures_util::future::try_join_all;
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::Statement;
use tokio_postgres::error::SqlState;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::demo::committed::Committed;
use crate::stage::connect;
use rig::reference::shift::Shift;
use rig::reference::shift::Step;

/// Returns how many work at the same time: few at a rate that a person can follow, so that their stories can be told apart.
fn workers(rate: f64) -> u32 {
    (rate / 10.0).clamp(2.0, 6.0) as u32
}

/// Lets people work until `over`, at `rate` events per second together. Each transaction is brought to its end, so its fate is known.
pub(super) async fn work(
    shift: &Shift,
    database: &str,
    rate: f64,
    committed: &Committed,
    over: &CancellationToken,
) -> Result<()> {
    let cycles = AtomicU64::new(0);
    let all = (0..workers(rate)).map(async |number| {
        let mut worker = Worker::hire(database).await?;
        let pause = f64::from(workers(rate)) / rate;
        // They start spread over the first pause, so that they do not work in step.
        let mut next = Instant::now() + Duration::from_secs_f64(f64::from(number) / rate);
        loop {
            let cycle = cycles.fetch_add(1, Ordering::Relaxed) + 1;
            for step in &shift.steps {
                tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = over.cancelled() => return Ok(()),
                }
                let events = worker.do_step(step, cycle, committed).await;
                let events = events.with_context(|| format!("cannot do `{}`", step.what(cycle)))?;
                next += Duration::from_secs_f64(pause * events as f64);
            }
        }
    });
    try_join_all(all).await.map(drop)
}

struct Worker {
    client: Client,
    /// Selects the events of the open transaction, which have higher ids than the last one that this worker saw.
    made: Statement,
    last: i64,
}

impl Worker {
    async fn hire(database: &str) -> Result<Worker> {
        let client = connect(database).await?;
        let made = "select id, event_id from andon.events where id > $1 and xact = pg_current_xact_id_if_assigned()";
        let made = client.prepare(made).await.context("cannot read the log")?;
        Ok(Worker { client, made, last: 0 })
    }

    /// Does a step and returns how many events it caused. The victim of a deadlock tries again, as people's programs do.
    async fn do_step(&mut self, step: &Step, cycle: u64, committed: &Committed) -> Result<usize> {
        loop {
            match self.try_step(step, cycle, committed).await {
                Err(error) if is_deadlock(&error) => self.client.batch_execute("rollback").await?,
                outcome => return outcome,
            }
        }
    }

    async fn try_step(&mut self, step: &Step, cycle: u64, committed: &Committed) -> Result<usize> {
        // A step may work under a role that can see nothing of the log.
        self.client.batch_execute(&format!("begin;\n{}\n;reset role", step.sql(cycle))).await?;
        if step.is_given_up {
            self.client.batch_execute("rollback").await?;
            committed.given_up(&step.what(cycle));
            return Ok(0);
        }
        let mut events: Vec<Uuid> = Vec::new();
        for row in self.client.query(&self.made, &[&self.last]).await? {
            self.last = self.last.max(row.get(0));
            events.push(row.get(1));
        }
        committed.announce(&events);
        self.client.batch_execute("commit").await?;
        committed.confirm(events.len() as u64, &step.what(cycle));
        Ok(events.len())
    }
}

fn is_deadlock(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<tokio_postgres::Error>().and_then(|error| error.code());
    code == Some(&SqlState::T_R_DEADLOCK_DETECTED)
}
