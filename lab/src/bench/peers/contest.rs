//! A contest of two consumers that do the same work. In: their databases, their intakes, and a counter of what arrives. Out: the figures of
//! bursts and backlogs: events per second from the first commit to the last receipt, and processor time. It fails when an event is missing.

use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::ensure;
use futures_util::future::try_join_all;
use tokio_postgres::Client;

use crate::bench::peers::consumer::Consumer;
use crate::bench::peers::consumer::Program;
use crate::bench::peers::counting_subscriber::CountingSubscriber;
use crate::bench::peers::plant;
use crate::bench::sink::Sink;
use crate::bench::sink::Tally;
use crate::bench::usage;
use crate::packages::Packages;
use crate::stage::connect;
use rig::Postgres;

/// How long anything may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long nothing must arrive before a consumer counts as at rest.
const REST: Duration = Duration::from_millis(400);
const LOOK: Duration = Duration::from_millis(2);

/// Counts what arrives, at the broker or at the endpoint.
pub(super) enum ArrivalCounter {
    Broker(CountingSubscriber),
    Endpoint(Sink),
}

/// One side of the contest: a consumer, its database, and the writers who give it work.
pub(super) struct Side {
    program: Program,
    database: String,
    consumer: Option<Consumer>,
    writers: Vec<Client>,
    /// The statement that puts events number `$1` to `$2` into its intake.
    intake: String,
    /// The statement that runs after each burst, so that no burst slows the next one down.
    tidy: &'static str,
}

/// The figures of a burst.
#[derive(Debug, Clone, Copy)]
pub(super) struct Burst {
    /// Events per second.
    pub(super) rate: f64,
    /// Processor time of the consumer, in microseconds per event.
    pub(super) work: f64,
    /// Processor time of PostgreSQL.
    pub(super) database_work: f64,
    /// Processor time of all processes together: these, the broker, and the bench itself, which commits and receives.
    pub(super) all_work: f64,
}

/// The figures of emptying a backlog.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drain {
    /// From the consumer's start to the first receipt, in seconds.
    pub(super) start: f64,
    /// Events per second after the first fifth.
    pub(super) rate: f64,
    /// Processor time of the consumer for the same events, in microseconds per event.
    pub(super) work: f64,
}

impl ArrivalCounter {
    /// Describes the first event since the last burst began, if the counter looks at events.
    pub(super) fn sample(&self) -> Option<String> {
        match self {
            ArrivalCounter::Broker(subscriber) => subscriber.sample(),
            ArrivalCounter::Endpoint(_) => None,
        }
    }

    fn tally(&self) -> Tally {
        match self {
            ArrivalCounter::Broker(subscriber) => subscriber.tally(),
            ArrivalCounter::Endpoint(sink) => sink.tally(),
        }
    }

    fn forget(&self) {
        match self {
            ArrivalCounter::Broker(subscriber) => subscriber.forget(),
            ArrivalCounter::Endpoint(sink) => sink.forget(),
        }
    }

    async fn reached(&self, events: u64, consumer: &Consumer) -> Result<Tally> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let tally = self.tally();
            if tally.distinct >= events {
                return Ok(tally);
            }
            let arrived = tally.distinct;
            ensure!(Instant::now() < deadline, "{arrived} of {events} events arrived:\n{}", consumer.log_tail());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until nothing arrives any more, and returns how many events arrived since `forget`.
    async fn rested(&self) -> u64 {
        loop {
            let before = self.tally().all;
            tokio::time::sleep(REST).await;
            if self.tally().all == before {
                return self.tally().distinct;
            }
        }
    }
}

impl Side {
    /// Connects the writers. The intake must exist already.
    pub(super) async fn new(
        program: Program,
        database: String,
        writers: usize,
        intake: String,
        tidy: &'static str,
    ) -> Result<Side> {
        let writers = try_join_all((0..writers).map(|_| connect(&database))).await?;
        Ok(Side { program, database, consumer: None, writers, intake, tidy })
    }

    /// Starts its consumer.
    pub(super) async fn start(&mut self, packages: &Packages) -> Result<()> {
        self.consumer = Some(self.program.start(packages, &self.database).await?);
        Ok(())
    }

    /// Waits until events come through.
    pub(super) async fn takes_up(&self, counter: &ArrivalCounter) -> Result<()> {
        let consumer = self.consumer()?;
        let deadline = Instant::now() + PATIENCE;
        counter.forget();
        while counter.tally().all == 0 {
            ensure!(Instant::now() < deadline, "nothing comes through:\n{}", consumer.log_tail());
            // A consumer that does not listen yet has lost this event, so the next look comes with another one.
            plant::work(&self.writers[..1], &self.intake, 1, 1).await?;
            tokio::time::sleep(REST).await;
            consumer.worked().context("while it started")?;
        }
        counter.rested().await;
        Ok(())
    }

    /// Commits events while the consumer runs, `portion` of them in a transaction.
    pub(super) async fn burst(
        &self,
        counter: &ArrivalCounter,
        postgres: &Postgres,
        events: i64,
        portion: i64,
    ) -> Result<Burst> {
        let consumer = self.consumer()?;
        let database = postgres.pid().context("PostgreSQL has ended")?;
        counter.forget();
        let everything = std::process::id().cast_signed();
        let before = [consumer.worked()?, usage::processor(database)?, usage::processor(everything)?];
        let begun = plant::work(&self.writers, &self.intake, events, portion).await?;
        let tally = counter.reached(events.unsigned_abs(), consumer).await?;
        let (_, last) = tally.span.context("nothing arrived")?;
        // The records that the consumer writes after the last event belong to the burst.
        counter.rested().await;
        let after = [consumer.worked()?, usage::processor(database)?, usage::processor(everything)?];
        let per_event = |which: usize| (after[which] - before[which]) * 1e6 / events as f64;
        let burst = Burst {
            rate: events as f64 / last.saturating_duration_since(begun).as_secs_f64(),
            work: per_event(0),
            database_work: per_event(1),
            all_work: per_event(2),
        };
        self.tidy().await?;
        Ok(burst)
    }

    /// Commits events while there is no consumer, and starts it.
    async fn pile_up(&mut self, counter: &ArrivalCounter, packages: &Packages, events: i64) -> Result<Instant> {
        self.consumer = None;
        plant::work(&self.writers, &self.intake, events, plant::PORTION).await?;
        counter.forget();
        let started = Instant::now();
        self.start(packages).await?;
        Ok(started)
    }

    /// Returns how many of the events arrive that were committed while there was no consumer.
    pub(super) async fn remembers(
        &mut self,
        counter: &ArrivalCounter,
        packages: &Packages,
        events: i64,
    ) -> Result<i64> {
        self.pile_up(counter, packages, events).await?;
        let consumer = self.consumer()?;
        let deadline = Instant::now() + PATIENCE;
        let mut probes = 0;
        // A consumer that remembers nothing shows that it runs by a new event.
        while counter.tally().all == 0 {
            ensure!(Instant::now() < deadline, "nothing comes through:\n{}", consumer.log_tail());
            plant::work(&self.writers[..1], &self.intake, 1, 1).await?;
            probes += 1;
            tokio::time::sleep(REST).await;
            consumer.worked().context("while it started")?;
        }
        let arrived = counter.rested().await.cast_signed();
        self.tidy().await?;
        Ok((arrived - probes).max(0))
    }

    /// Commits events while there is no consumer, and starts one that takes them. A process is slow at first, so the first fifth does not
    /// count.
    pub(super) async fn drain(&mut self, counter: &ArrivalCounter, packages: &Packages, events: i64) -> Result<Drain> {
        let started = self.pile_up(counter, packages, events).await?;
        let consumer = self.consumer()?;
        let events = events.unsigned_abs();
        let early = counter.reached(events / 5, consumer).await?;
        let worked = consumer.worked()?;
        let (first, from) = early.span.context("nothing arrived")?;
        let all = counter.reached(events, consumer).await?;
        let worked = consumer.worked()? - worked;
        let (_, last) = all.span.context("nothing arrived")?;
        let counted = (events - early.distinct) as f64;
        counter.rested().await;
        self.tidy().await?;
        Ok(Drain {
            start: first.saturating_duration_since(started).as_secs_f64(),
            rate: counted / last.saturating_duration_since(from).as_secs_f64(),
            work: worked * 1e6 / counted,
        })
    }

    async fn tidy(&self) -> Result<()> {
        for statement in self.tidy.split(';') {
            self.writers[0].execute(statement, &[]).await.with_context(|| format!("cannot {statement}"))?;
        }
        Ok(())
    }

    fn consumer(&self) -> Result<&Consumer> {
        self.consumer.as_ref().context("the consumer was not started")
    }
}
