//! How much may come twice. In: the faults that happened, and when each destination received what. Out: for each fault and destination, how
//! many duplicates it accounts for. The rule, in two parts:
//!
//! - *In flight*: a fault that breaks a destination's connections, moves its lane or loses its answers repeats what was under way without
//!   an answer: the window of a publisher, the concurrency of a webhook; once for each time that connections can break meanwhile.
//! - *Forgotten*: a fault that makes a daemon forget (a kill; a pause or an absent database beyond the lease) repeats beside that what each
//!   destination received since the last checkpoint: in the second before, twice the interval of checkpoints. While the database was away
//!   or its disk full there were no checkpoints, so then the second before that began counts.
//!
//! An orderly stop or an edit repeats nothing but what was in flight, unless the database was away. A refused request repeats nothing.

use crate::chaos::cast::DESTINATIONS;
use crate::chaos::cast::Destination;
use crate::chaos::cast::KEEP_ALIVE;
use crate::chaos::cast::TIMEOUT;
use crate::chaos::cast::Way;
use crate::chaos::fault::Breakage;
use crate::chaos::fault::Change;
use crate::chaos::fault::Fault;
use crate::chaos::fault::Link;

/// A fault, with the seconds of the run in which it began and was mended.
#[derive(Debug, Clone)]
pub(super) struct Happened {
    pub(super) fault: Fault,
    pub(super) from: f64,
    pub(super) until: f64,
}

/// Seconds of deliveries that may be lost with a daemon.
const UNWRITTEN: f64 = 1.0;
/// Seconds until a daemon is taken to have lost its lanes.
const LEASE: f64 = 3.0;
/// Seconds until a killed daemon's last words have arrived.
const LAST_WORDS: f64 = 0.2;

/// What a fault costs one destination.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Cost {
    /// How often what is in flight may repeat.
    flights: u64,
    /// Whether a daemon forgets: always, or if the database is away meanwhile.
    forgets: Forgets,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum Forgets {
    #[default]
    No,
    IfDatabaseIsAway,
    Yes,
}

/// For each fault, what it allows each destination; `arrivals` are the seconds at which each destination received something, ascending.
pub(super) fn allowances(happened: &[Happened], daemons: usize, arrivals: &[Vec<f64>]) -> Vec<Vec<u64>> {
    let absences: Vec<Absence> = happened.iter().filter_map(absence).collect();
    happened
        .iter()
        .map(|it| {
            DESTINATIONS
                .iter()
                .enumerate()
                .map(|(number, destination)| {
                    let cost = cost(it, daemons, number);
                    let in_flight = cost.flights * destination.in_flight();
                    let since = last_checkpoint(it, &absences);
                    let is_forgotten = match cost.forgets {
                        Forgets::No => false,
                        Forgets::IfDatabaseIsAway => since < it.from - UNWRITTEN,
                        Forgets::Yes => true,
                    };
                    let forgotten = if is_forgotten { between(&arrivals[number], since, noticed(it)) } else { 0 };
                    in_flight + forgotten
                })
                .collect()
        })
        .collect()
}

fn cost(it: &Happened, daemons: usize, number: usize) -> Cost {
    let destination = &DESTINATIONS[number];
    let lasted = it.until - it.from;
    let nothing = Cost::default();
    let in_flight = Cost { flights: 1, ..nothing };
    let forgotten = Cost { flights: 1, forgets: Forgets::Yes };
    let orderly = Cost { flights: 1, forgets: Forgets::IfDatabaseIsAway };
    match it.fault {
        Fault::KillDaemon { .. } => forgotten,
        // One gateway among several takes and gives lanes when it comes and goes.
        Fault::StopDaemon { .. } if daemons > 1 => orderly,
        Fault::StopDaemon { .. } => Cost { flights: 0, ..orderly },
        Fault::PauseDaemon { .. } if lasted >= LEASE => Cost { flights: 2, ..forgotten },
        Fault::PauseDaemon { .. } => in_flight,
        Fault::TerminateBackends { .. }
        | Fault::RestartPostgres
        | Fault::DiskFull { table: "lanes", .. }
        | Fault::Link { link: Link::Database(_), .. } => {
            // A connection is tried again after ever longer pauses, so it may be back as late as twice the time.
            if 2.0 * lasted >= LEASE { forgotten } else { nothing }
        }
        Fault::RestartBroker { broker, .. } | Fault::PauseBroker { broker, .. } | Fault::KillBroker { broker, .. } => {
            if destination.way == Way::Mqtt(broker) {
                in_flight
            } else {
                nothing
            }
        }
        Fault::Link { link: Link::Destination(concerned), how } if concerned == number => {
            Cost { flights: flights(how, lasted, destination), ..nothing }
        }
        Fault::Change { destination: concerned, change } if concerned == number => match change {
            Change::Edit | Change::Deactivate(_) | Change::Delete(_) => orderly,
        },
        Fault::Link { .. }
        | Fault::Change { .. }
        | Fault::Endpoint { .. }
        | Fault::OpenTransaction { .. }
        | Fault::DiskFull { .. } => nothing,
    }
}

/// How often what is under way can be sent without its answer being heard.
fn flights(how: Breakage, lasted: f64, destination: &Destination) -> u64 {
    let rounds = |seconds: u64| (lasted / seconds as f64).ceil() as u64;
    match (how, destination.way) {
        // A broker that says nothing gets nothing more on a new connection.
        (Breakage::Stall(_), Way::Mqtt(_)) => 1,
        (Breakage::Slow(..), Way::Mqtt(_)) => 1 + rounds(2 * KEEP_ALIVE),
        // Requests run out of time, and what is sent again meanwhile arrives as well.
        (Breakage::Stall(_) | Breakage::Slow(..), Way::Webhook) => 2 + rounds(TIMEOUT),
        _ => 1,
    }
}

/// A time without checkpoints.
struct Absence {
    from: f64,
    until: f64,
    /// Of whom; all where there is none.
    daemon: Option<usize>,
}

fn absence(it: &Happened) -> Option<Absence> {
    let daemon = match it.fault {
        Fault::TerminateBackends { daemon } | Fault::Link { link: Link::Database(daemon), .. } => Some(daemon),
        Fault::RestartPostgres | Fault::DiskFull { table: "lanes" | "deliveries", .. } => None,
        _ => return None,
    };
    // Connections are tried again after ever longer pauses; then the next checkpoint has to come.
    Some(Absence { from: it.from, until: it.until + (it.until - it.from) + UNWRITTEN, daemon })
}

/// The second since which nothing may have been written down when the fault began.
fn last_checkpoint(it: &Happened, absences: &[Absence]) -> f64 {
    let own = match it.fault {
        Fault::KillDaemon { daemon, .. } | Fault::StopDaemon { daemon, .. } | Fault::PauseDaemon { daemon, .. } => {
            Some(daemon)
        }
        _ => None,
    };
    let mut since = it.from - UNWRITTEN;
    let concerns = |absence: &Absence| absence.daemon.is_none() || own.is_none() || absence.daemon == own;
    // An absence may have begun while another was not over.
    while let Some(absence) = absences.iter().find(|absence| {
        concerns(absence) && absence.from <= it.until && absence.from - UNWRITTEN < since && since <= absence.until
    }) {
        since = absence.from - UNWRITTEN;
    }
    since
}

/// The second at which whoever forgets does so.
fn noticed(it: &Happened) -> f64 {
    match it.fault {
        Fault::KillDaemon { .. } | Fault::PauseDaemon { .. } => it.from + LAST_WORDS,
        Fault::StopDaemon { .. } | Fault::Change { .. } => it.from + LEASE,
        _ => it.until.min(it.from + LEASE),
    }
}

fn between(arrivals: &[f64], from: f64, until: f64) -> u64 {
    let place = |second: f64| arrivals.partition_point(|arrival| *arrival < second);
    (place(until) - place(from).min(place(until))) as u64
}
