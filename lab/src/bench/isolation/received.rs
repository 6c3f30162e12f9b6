//! Keeps what the destinations of the isolation bench received. In: the events as they are committed, and what the witness saw. Out:
//! latencies of those destinations that are never touched, whether everything has arrived, and the oracle's verdict on each destination. It
//! asks the witness only when asked to, so that it takes no time from the measurement.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use anyhow::bail;
use uuid::Uuid;

use crate::bench::isolation::destinations;
use crate::bench::isolation::destinations::ALL;
use crate::bench::isolation::destinations::Audience;
use crate::bench::isolation::destinations::Destinations;
use crate::witness::Way;
use crate::witness::Witness;
use rig::oracle;
use rig::oracle::Verdict;

/// The events that were committed, and those of them that arrived.
pub(super) struct Received {
    witness: Witness,
    made: HashMap<Uuid, Made>,
    /// The last counter of each entity.
    committed: BTreeMap<Audience, BTreeMap<String, u64>>,
    receipts: Vec<Receipts>,
    /// For first receipts at destinations that are never touched: when the event was committed, and its latency.
    latencies: Vec<(Instant, Duration)>,
}

struct Made {
    entity: String,
    counter: u64,
    /// When the server confirmed the commit, or `None` if the latency does not matter.
    at: Option<Instant>,
}

#[derive(Default, Clone)]
struct Receipts {
    all: Vec<Uuid>,
    distinct: HashSet<Uuid>,
}

impl Received {
    pub(super) fn new(destinations: &Destinations) -> Received {
        Received {
            witness: Witness::new(std::slice::from_ref(&destinations.subscriber), &destinations.receiver),
            made: HashMap::new(),
            committed: BTreeMap::new(),
            receipts: vec![Receipts::default(); ALL],
            latencies: Vec::new(),
        }
    }

    /// Returns the next counter of an entity.
    pub(super) fn next_counter(&self, audience: Audience, entity: &str) -> u64 {
        self.committed.get(&audience).and_then(|entities| entities.get(entity)).copied().unwrap_or(0) + 1
    }

    /// Registers a committed event.
    pub(super) fn commits(&mut self, audience: Audience, entity: &str, counter: u64, event: Uuid, at: Option<Instant>) {
        self.committed.entry(audience).or_default().insert(entity.to_owned(), counter);
        self.made.insert(event, Made { entity: entity.to_owned(), counter, at });
    }

    /// Records what arrived since the last call.
    pub(super) fn read(&mut self) -> Result<()> {
        for arrival in self.witness.take() {
            let destination = match arrival.way {
                Way::Mqtt(_) => destinations::of_topic(&arrival.address),
                Way::Webhook => destinations::of_path(&arrival.address),
            };
            self.saw(destination, arrival.event, arrival.at)?;
        }
        Ok(())
    }

    /// Returns whether every destination has received everything that was committed for it.
    pub(super) fn all_arrived(&self) -> bool {
        (0..ALL).all(|number| self.has_arrived(number))
    }

    /// Returns whether those that are never touched have received everything.
    pub(super) fn live_arrived(&self) -> bool {
        (0..ALL).filter(|number| destinations::is_live(*number)).all(|number| self.has_arrived(number))
    }

    /// Returns the destinations that still lack something, for messages.
    pub(super) fn lacking(&self) -> Vec<usize> {
        (0..ALL).filter(|number| !self.has_arrived(*number)).collect()
    }

    /// Returns the latencies since the last call: for first receipts at destinations that are never touched, when the event was committed,
    /// and how long it took.
    pub(super) fn take_latencies(&mut self) -> Vec<(Instant, Duration)> {
        std::mem::take(&mut self.latencies)
    }

    /// Returns the sum of the verdicts on all destinations.
    pub(super) fn judge(&self) -> Verdict {
        let mut sum = Verdict::default();
        for (number, receipts) in self.receipts.iter().enumerate() {
            let expected = self.expected(number);
            let verdict = oracle::judge(
                &expected,
                receipts.all.iter().map(|id| {
                    let made = &self.made[id];
                    (made.entity.as_str(), made.counter)
                }),
            );
            sum.expected += verdict.expected;
            sum.delivered += verdict.delivered;
            sum.missing += verdict.missing;
            sum.duplicates += verdict.duplicates;
            sum.out_of_order += verdict.out_of_order;
            sum.phantom += verdict.phantom;
        }
        sum
    }

    fn saw(&mut self, destination: Option<usize>, id: Option<Uuid>, at: Instant) -> Result<()> {
        let (Some(number), Some(id)) = (destination.filter(|number| *number < ALL), id) else {
            bail!("something arrived that is no event of this bench");
        };
        let Some(made) = self.made.get(&id) else { bail!("event {id} arrived and was never committed") };
        let receipts = &mut self.receipts[number];
        receipts.all.push(id);
        if receipts.distinct.insert(id)
            && destinations::is_live(number)
            && let Some(committed) = made.at
        {
            self.latencies.push((committed, at.saturating_duration_since(committed)));
        }
        Ok(())
    }

    fn has_arrived(&self, number: usize) -> bool {
        self.receipts[number].distinct.len() as u64 >= self.expected(number).values().sum()
    }

    fn expected(&self, number: usize) -> BTreeMap<String, u64> {
        let other = if destinations::is_live(number) { Audience::Live } else { Audience::Bad };
        let of = |audience| self.committed.get(&audience).cloned().unwrap_or_default();
        of(Audience::All).into_iter().chain(of(other)).collect()
    }
}
