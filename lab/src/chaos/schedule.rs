//! Decides which faults happen when. In: a scenario with its seed. Out: the faults, each with its moment; the same scenario gives the same
//! faults. Two faults on the same subject never overlap, while others may.

use std::collections::HashMap;
use std::time::Duration;

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::chaos::destinations::BROKERS;
use crate::chaos::destinations::DESTINATIONS;
use crate::chaos::destinations::Destination;
use crate::chaos::destinations::Role;
use crate::chaos::fault::Breakage;
use crate::chaos::fault::Change;
use crate::chaos::fault::Fault;
use crate::chaos::fault::Link;
use crate::chaos::fault::Manner;
use crate::chaos::fault::Subject;
use crate::chaos::hostile::MALICES;
use crate::chaos::mistake::MISTAKES;
use crate::witness::Way;
use rig::proxy::Side;

/// Everything that the choice of faults depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    pub(super) duration: Duration,
    pub(super) daemons: usize,
    pub(super) kills_brokers: bool,
}

/// The kinds of faults, and how many of each are in a deck. A deck is drawn to its end before the next one is shuffled, so a run of some
/// minutes meets all kinds.
const DECK: [(Kind, usize); 21] = [
    (Kind::KillDaemon, 3),
    (Kind::StopDaemon, 2),
    (Kind::PauseDaemon, 2),
    (Kind::TerminateBackends, 1),
    (Kind::RestartPostgres, 1),
    (Kind::LoseWrites, 1),
    (Kind::Promote, 1),
    (Kind::RestartBroker, 2),
    (Kind::PauseBroker, 1),
    (Kind::KillBroker, 1),
    (Kind::DatabaseLink, 4),
    (Kind::PublisherLink, 3),
    (Kind::WebhookLink, 3),
    (Kind::Endpoint, 4),
    (Kind::OpenTransaction, 1),
    (Kind::Edit, 2),
    (Kind::Switch, 2),
    (Kind::DiskFull, 4),
    (Kind::Mistake, 6),
    (Kind::UnreadableEvent, 1),
    (Kind::Hostile, 5),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    KillDaemon,
    StopDaemon,
    PauseDaemon,
    TerminateBackends,
    RestartPostgres,
    LoseWrites,
    Promote,
    RestartBroker,
    PauseBroker,
    KillBroker,
    DatabaseLink,
    PublisherLink,
    WebhookLink,
    Endpoint,
    OpenTransaction,
    Edit,
    Switch,
    DiskFull,
    Mistake,
    UnreadableEvent,
    Hostile,
}

/// Moments that PostgreSQL can hold and an event cannot.
const UNREADABLE: [&str; 3] = ["infinity", "-infinity", "294276-12-31"];
/// How many events the open transaction has.
const BULK: u32 = 3000;
/// How long a server may need to come back after a fault.
const RECOVERY: Duration = Duration::from_secs(2);

/// Returns the faults of a run, in the order of their moments.
pub(super) fn schedule(scenario: Scenario) -> Vec<(Duration, Fault)> {
    let mut random = StdRng::seed_from_u64(scenario.seed);
    let mut chosen: Vec<(Duration, Fault)> = Vec::new();
    let mut deck: Vec<Kind> = Vec::new();
    let mut busy: HashMap<Subject, Duration> = HashMap::new();
    let mut now = Duration::from_secs(3);
    // The variants of link faults, endpoint faults, full disks and mistakes take turns.
    let first_round = random.random_range(0..100);
    let mut rounds: HashMap<Kind, usize> = HashMap::new();
    while now < scenario.duration {
        if deck.is_empty() {
            deck = DECK.iter().flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count)).collect();
            deck.retain(|kind| scenario.kills_brokers || *kind != Kind::KillBroker);
            deck.shuffle(&mut random);
        }
        let Some(kind) = deck.pop() else { break };
        let round = rounds.entry(kind).or_insert(first_round);
        *round += 1;
        let fault = fault(kind, scenario, *round, &mut random);
        let ends = now + fault.lasts();
        let is_free = busy.get(&fault.subject()).is_none_or(|until| *until <= now);
        // A fault that does not fit any more is left out, so that all faults are over at the end.
        if is_free && ends <= scenario.duration {
            busy.insert(fault.subject(), ends + RECOVERY);
            chosen.push((now, fault));
            // One fault in five comes right after the one before it.
            let pause = if random.random_ratio(1, 5) { 50..400 } else { 1000..5000 };
            now += Duration::from_millis(random.random_range(pause));
        } else {
            now += Duration::from_millis(100);
        }
    }
    chosen
}

fn fault(kind: Kind, scenario: Scenario, round: usize, random: &mut StdRng) -> Fault {
    let daemon = random.random_range(0..scenario.daemons);
    let broker = random.random_range(0..BROKERS);
    let away = milliseconds(random, 0, 3000);
    let lasts = milliseconds(random, 1000, 8000);
    let commits = random.random_bool(0.5);
    let [publisher, webhook] = [true, false].map(|is_mqtt| {
        // Volatile destinations are left out, because a late message on their link could arrive after newer ones once they are switched on
        // again, and that would look like a fault of order.
        pick(random, |it| matches!(it.way, Way::Mqtt(_)) == is_mqtt && it.role != Role::Volatile)
    });
    let edited = pick(random, |it| it.role != Role::Steady);
    let volatile = pick(random, |it| it.role == Role::Volatile);
    let breakage = breakage(round, random);
    match kind {
        Kind::KillDaemon => Fault::KillDaemon { daemon, away },
        Kind::StopDaemon => Fault::StopDaemon { daemon, away },
        Kind::PauseDaemon => Fault::PauseDaemon { daemon, pause: milliseconds(random, 500, 8000) },
        Kind::TerminateBackends => Fault::TerminateBackends { daemon },
        Kind::RestartPostgres => Fault::RestartPostgres,
        Kind::LoseWrites => Fault::LoseWrites { lasts },
        Kind::Promote => Fault::Promote { lag: lasts / 2 },
        Kind::RestartBroker => Fault::RestartBroker { broker, away },
        Kind::PauseBroker => Fault::PauseBroker { broker, pause: lasts },
        Kind::KillBroker => Fault::KillBroker { broker, away },
        Kind::DatabaseLink => Fault::Link { link: Link::Database(daemon), how: breakage },
        Kind::PublisherLink => Fault::Link { link: Link::Destination(publisher), how: breakage },
        Kind::WebhookLink => Fault::Link { link: Link::Destination(webhook), how: breakage },
        Kind::Endpoint => {
            let manners = [
                Manner::Hangs,
                Manner::Drops,
                Manner::Fails,
                Manner::AsksForPatience,
                Manner::IsSlow,
                Manner::HasASlowBody,
                Manner::NeverComesToItsAnswer,
            ];
            Fault::Endpoint { webhook, manner: manners[round % manners.len()], lasts }
        }
        Kind::OpenTransaction => {
            let lasts = Duration::from_secs(60).min(scenario.duration / 3);
            Fault::OpenTransaction { events: BULK, lasts, commits }
        }
        Kind::Edit => Fault::Change { destination: edited, change: Change::Edit },
        Kind::Switch => {
            let change = if commits { Change::Deactivate(away) } else { Change::Delete(away) };
            Fault::Change { destination: volatile, change }
        }
        Kind::DiskFull => {
            let tables = ["lanes", "deliveries", "events", "daemons"];
            Fault::DiskFull { table: tables[round % tables.len()], lasts: lasts / 2 }
        }
        Kind::Mistake => Fault::Mistake { mistake: MISTAKES[round % MISTAKES.len()], lasts },
        Kind::Hostile => Fault::Hostile { malice: MALICES[round % MALICES.len()], lasts },
        Kind::UnreadableEvent => Fault::UnreadableEvent { moment: UNREADABLE[round % UNREADABLE.len()] },
    }
}

fn breakage(round: usize, random: &mut StdRng) -> Breakage {
    let lasts = milliseconds(random, 1000, 8000);
    let gone = if random.random_bool(0.5) { Side::Target } else { Side::Client };
    match round % 7 {
        0 => Breakage::Cut,
        1 => Breakage::CutAfter(random.random_range(1..2000)),
        2 => Breakage::Reset,
        3 => Breakage::HalfOpen(gone, lasts),
        4 => Breakage::Stall(lasts),
        5 => Breakage::Slow(random.random_range(2_000..20_000), lasts),
        _ => Breakage::Refuse(lasts),
    }
}

fn pick(random: &mut StdRng, is_wanted: impl Fn(&Destination) -> bool) -> usize {
    let candidates: Vec<usize> = (0..DESTINATIONS.len()).filter(|number| is_wanted(&DESTINATIONS[*number])).collect();
    candidates[random.random_range(0..candidates.len())]
}

fn milliseconds(random: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(random.random_range(from..to))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn scenario(seed: u64, seconds: u64) -> Scenario {
        Scenario { seed, duration: Duration::from_secs(seconds), daemons: 3, kills_brokers: false }
    }

    #[test]
    fn a_seed_gives_the_same_faults_again_and_another_gives_others() {
        assert_eq!(schedule(scenario(7, 120)), schedule(scenario(7, 120)));
        assert_ne!(schedule(scenario(7, 120)), schedule(scenario(8, 120)));
    }

    #[test]
    fn a_run_of_ten_minutes_meets_every_kind_of_fault() {
        let names = |kills_brokers| -> BTreeSet<String> {
            let scenario = Scenario { kills_brokers, ..scenario(1, 600) };
            schedule(scenario).iter().map(|(_, fault)| fault.name()).collect()
        };
        let breakages = ["cut", "cut within a message", "reset", "half open", "stall", "slow", "refuse"];

        for link in ["database", "destination"] {
            for how in breakages {
                assert!(names(false).contains(&format!("{link} link {how}")), "{link} {how}");
            }
        }
        // 14 of links, 7 of endpoints, 3 of rows, 4 of disks, 16 mistakes, 11 malices, and 11 others.
        assert_eq!(names(false).len(), 66, "{:?}", names(false));
        assert!(names(true).contains("kill broker"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]
        #[test]
        fn faults_come_every_few_seconds_end_in_time_and_leave_each_other_the_same_subject(seed: u64, seconds in 30_u64..300) {
            let faults = schedule(scenario(seed, seconds));

            prop_assert!(faults.len() as u64 >= seconds / 8, "{} faults", faults.len());
            for (place, (at, fault)) in faults.iter().enumerate() {
                prop_assert!(*at + fault.lasts() <= Duration::from_secs(seconds));
                for (later, other) in &faults[place + 1..] {
                    prop_assert!(later >= at);
                    prop_assert!(other.subject() != fault.subject() || *later >= *at + fault.lasts());
                }
            }
        }
    }
}
