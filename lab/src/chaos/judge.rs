//! The judgement. In: what was committed, what arrived, and which faults there were. Out: figures summed over the destinations, and for
//! each destination what is wrong with which entities and counters, and when. It looks at no clock and no server.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;

use serde::Serialize;

use crate::chaos::allowance;
use crate::chaos::allowance::Happened;
use crate::chaos::committed::Committed;
use crate::chaos::destinations;
use crate::chaos::destinations::DESTINATIONS;
use crate::chaos::destinations::Role;
use crate::chaos::received::Receipt;
use crate::chaos::received::Receipts;
use rig::oracle;
use rig::oracle::Verdict;

/// The figures at the end.
#[derive(Debug, Serialize)]
pub(super) struct Judgement {
    pub(super) committed: u64,
    pub(super) missing: u64,
    pub(super) out_of_order: u64,
    pub(super) phantom: u64,
    pub(super) duplicates: u64,
    pub(super) duplicates_allowed: u64,
    /// Duplicates that no earlier fault allows.
    pub(super) duplicates_unexplained: u64,
    pub(super) faults: BTreeMap<String, u64>,
    pub(super) seed: u64,
    pub(super) replicas: usize,
    #[serde(skip)]
    pub(super) destinations: Vec<Figures>,
    /// The faults that caused duplicates or allow some, with the largest first.
    #[serde(skip)]
    pub(super) sources: Vec<Source>,
    /// The faults that were found, in words.
    #[serde(skip)]
    pub(super) complaints: Vec<String>,
}

/// The figures of one destination.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) label: String,
    pub(super) verdict: Verdict,
    pub(super) duplicates_allowed: u64,
}

/// The duplicates that one fault accounts for.
#[derive(Debug)]
pub(super) struct Source {
    /// The fault and its second, in words.
    pub(super) fault: String,
    pub(super) duplicates: u64,
    pub(super) allowed: u64,
}

/// The evidence that the judge needs.
pub(super) struct Evidence<'a> {
    pub(super) seed: u64,
    pub(super) replicas: usize,
    pub(super) committed: &'a Committed,
    pub(super) received: &'a HashMap<String, Receipts>,
    pub(super) happened: &'a [Happened],
    /// The start of the run, in seconds since 1970.
    pub(super) started: f64,
}

/// Seconds after the end of a fault in which its duplicates may come. A lane that was away connects again after longer and longer pauses.
const EXPLAINS: f64 = 60.0;
/// How many cases of a kind are reported.
const TOLD: usize = 12;

impl Judgement {
    pub(super) fn is_clean(&self) -> bool {
        self.missing == 0
            && self.out_of_order == 0
            && self.phantom == 0
            && self.duplicates <= self.duplicates_allowed
            && self.duplicates_unexplained == 0
            && self.complaints.is_empty()
    }
}

pub(super) fn judge(evidence: &Evidence) -> Judgement {
    let mut complaints = Vec::new();
    let mut destinations = Vec::new();
    let mut arrivals = vec![Vec::new(); DESTINATIONS.len()];
    let mut repeats = vec![Vec::new(); DESTINATIONS.len()];
    let mut labels: Vec<&String> = evidence.received.keys().collect();
    labels.sort();
    for label in labels {
        let receipts: Vec<&Receipt> = evidence.received[label].all.iter().filter(|it| !it.is_redelivered).collect();
        let Some(number) = destinations::destination_of(label) else {
            complaints.push(format!("{} messages at `{label}`, which is no destination", receipts.len()));
            continue;
        };
        arrivals[number].extend(receipts.iter().map(|receipt| receipt.at));
        repeats[number].extend(repeated(&receipts));
        destinations.push((label.clone(), number, verdict(evidence, label, number, &receipts, &mut complaints)));
    }
    for (number, destination) in DESTINATIONS.iter().enumerate().filter(|(_, it)| it.role != Role::Volatile) {
        if !evidence.received.contains_key(destination.label) {
            let verdict = verdict(evidence, destination.label, number, &[], &mut complaints);
            destinations.push((destination.label.to_owned(), number, verdict));
        }
    }
    arrivals.iter_mut().chain(&mut repeats).for_each(|seconds| seconds.sort_by(f64::total_cmp));
    let allowances = allowance::allowances(evidence.happened, evidence.replicas, &arrivals);
    let allowed: Vec<u64> =
        (0..DESTINATIONS.len()).map(|number| allowances.iter().map(|it| it[number]).sum()).collect();
    let sum = |figure: fn(&Verdict) -> u64| destinations.iter().map(|(_, _, verdict)| figure(verdict)).sum();
    let (sources, unexplained) = sources(evidence.happened, &allowances, &repeats);
    complaints.extend(unexplained.iter().take(TOLD).map(|(number, second)| {
        format!("{}: a repeat at {second:.2} s that no fault before it allows", DESTINATIONS[*number].label)
    }));
    let mut faults: BTreeMap<String, u64> = BTreeMap::new();
    for it in evidence.happened {
        *faults.entry(it.fault.name()).or_default() += 1;
    }
    Judgement {
        seed: evidence.seed,
        replicas: evidence.replicas,
        committed: evidence.committed.count(),
        missing: sum(|verdict| verdict.missing),
        out_of_order: sum(|verdict| verdict.out_of_order),
        phantom: sum(|verdict| verdict.phantom),
        duplicates: sum(|verdict| verdict.duplicates),
        duplicates_allowed: allowed.iter().sum(),
        duplicates_unexplained: unexplained.len() as u64,
        faults,
        sources,
        destinations: destinations
            .into_iter()
            .map(|(label, number, verdict)| Figures { label, verdict, duplicates_allowed: allowed[number] })
            .collect(),
        complaints,
    }
}

/// Lets the oracle judge a destination, and adds what is wrong to the complaints.
fn verdict(
    evidence: &Evidence,
    label: &str,
    number: usize,
    receipts: &[&Receipt],
    complaints: &mut Vec<String>,
) -> Verdict {
    let destination = &DESTINATIONS[number];
    let expected = evidence.committed.expected(destination);
    let is_known = |it: &Receipt| {
        expected.contains_key(&it.entity)
            && evidence.committed.fact(&it.entity, it.counter).is_some_and(|fact| fact.nonce == it.nonce)
    };
    // A receipt that matches no committed event is a phantom, whatever it claims to be.
    let places = receipts.iter().map(|it| if is_known(it) { (it.entity.as_str(), it.counter) } else { ("", 0) });
    let mut verdict = oracle::judge(&expected, places);
    if destination.role == Role::Volatile {
        verdict.missing = 0;
    }
    let mut highest: HashMap<&str, (u64, f64)> = HashMap::new();
    let mut seen: HashSet<(&str, u64)> = HashSet::new();
    let mut told = 0;
    for it in receipts {
        let (entity, counter, at) = (it.entity.as_str(), it.counter, it.at);
        let before = highest.get(entity).copied();
        let what = match before {
            _ if !is_known(it) => format!("phantom: nonce {} was never committed", it.nonce),
            Some((above, since)) if above > counter && seen.insert((entity, counter)) => {
                format!("out of order: counter {above} came before it, at {since:.2} s")
            }
            _ => {
                seen.insert((entity, counter));
                highest
                    .insert(entity, before.map_or((counter, at), |it| if it.0 > counter { it } else { (counter, at) }));
                continue;
            }
        };
        told += 1;
        if told <= TOLD {
            complaints.push(format!("{label}: {entity} {counter}, received at {at:.2} s: {what}"));
        }
    }
    if verdict.missing > 0 {
        let absent = expected.iter().flat_map(|(entity, last)| (1..=*last).map(move |counter| (entity, counter)));
        for (entity, counter) in
            absent.filter(|(entity, counter)| !seen.contains(&(entity.as_str(), *counter))).take(TOLD)
        {
            let written = evidence.committed.fact(entity, counter).map_or_else(String::new, |fact| {
                format!("; written at {:.2} s, event {}", fact.at - evidence.started, fact.event_id)
            });
            complaints.push(format!("{label}: {entity} {counter} is missing{written}"));
        }
    }
    verdict
}

/// Returns the seconds at which something came again.
fn repeated(receipts: &[&Receipt]) -> Vec<f64> {
    let mut seen = HashSet::new();
    receipts.iter().filter(|it| !seen.insert((&it.entity, it.counter))).map(|it| it.at).collect()
}

/// Attributes each duplicate to the last fault before it that still allows one, because the lanes of a killed daemon move some seconds
/// later, and something else may have happened meanwhile. Returns the faults, and destination and second of duplicates that none allows.
fn sources(happened: &[Happened], allowances: &[Vec<u64>], repeats: &[Vec<f64>]) -> (Vec<Source>, Vec<(usize, f64)>) {
    let mut sources: Vec<Source> = happened
        .iter()
        .zip(allowances)
        .map(|(it, allowed)| Source {
            fault: format!("{} at {:.1} s", it.fault, it.from),
            duplicates: 0,
            allowed: allowed.iter().sum(),
        })
        .collect();
    let mut unexplained = Vec::new();
    for (number, seconds) in repeats.iter().enumerate() {
        let mut left: Vec<u64> = allowances.iter().map(|allowed| allowed[number]).collect();
        for second in seconds {
            let explains = |it: &Happened| it.from <= *second && *second <= it.until + EXPLAINS;
            let cause = (0..happened.len())
                .filter(|place| left[*place] > 0 && explains(&happened[*place]))
                .max_by(|one, other| happened[*one].from.total_cmp(&happened[*other].from));
            match cause {
                Some(place) => {
                    left[place] -= 1;
                    sources[place].duplicates += 1;
                }
                None => unexplained.push((number, *second)),
            }
        }
    }
    sources.retain(|source| source.duplicates + source.allowed > 0);
    sources.sort_by_key(|source| std::cmp::Reverse((source.duplicates, source.allowed)));
    (sources, unexplained)
}

#[cfg(test)]
mod tests;
