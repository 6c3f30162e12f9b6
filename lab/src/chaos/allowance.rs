//! Says how much may come twice. In: the faults that happened, and when each destination received something. Out: for each fault and each
//! destination, how many duplicates the fault accounts for. The rule has two parts:
//!
//! - *In flight*: a fault that breaks a destination's connections, moves its lane or loses its answers repeats what was under way without
//!   an answer. That is the window of a publisher or the concurrency of a webhook, once for each time that connections can break meanwhile.
//! - *Forgotten*: a fault that makes a daemon forget (a kill, or a pause or an absent database beyond the lease) also repeats what the
//!   destinations of its lanes received between the last checkpoint and the moment it lost the lanes. The last checkpoint may be one second
//!   old, which is twice the interval of checkpoints; the lanes are lost at the end of the lease. No checkpoint is written while the
//!   database is away or its disk full, so the second counts from the start of that.
//!
//! A machine that is too busy to answer within a second is like a database that is away. An orderly stop repeats nothing, unless the
//! database is away; among several daemons it moves lanes, as a start does. A refused request repeats nothing.

use crate::chaos::destinations::DESTINATIONS;
use crate::chaos::destinations::Destination;
use crate::chaos::destinations::KEEP_ALIVE;
use crate::chaos::destinations::TIMEOUT;
use crate::chaos::fault::Breakage;
use crate::chaos::fault::Fault;
use crate::chaos::fault::Link;
use crate::witness::Way;

/// A fault, with the seconds of the run in which it began and was mended.
#[derive(Debug, Clone)]
pub(super) struct Happened {
    pub(super) fault: Fault,
    pub(super) from: f64,
    pub(super) until: f64,
    /// The destinations whose lanes were served by the daemon that it befell, or `None` if that is not known.
    pub(super) served: Option<Vec<usize>>,
}

/// Seconds of deliveries whose record may be lost with a daemon.
const UNWRITTEN: f64 = 1.0;
/// Seconds after which a daemon that has not renewed its lease has lost its lanes, and seconds between renewals.
const LEASE: f64 = 3.0;
const RENEWAL: f64 = 1.0;
/// Seconds without a renewal after which the lease may end. A daemon tries to connect after longer and longer pauses, so a database may
/// have been away for it up to twice as long as it really was.
const RISK: f64 = LEASE / 2.0;
/// Seconds until everything has arrived that a daemon sent before it ended.
const LAST_WORDS: f64 = 0.2;

/// The cost of one fault for one destination.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Cost {
    /// How many times the deliveries in flight may repeat.
    flights: u64,
    /// Whether a daemon forgets what it has delivered.
    forgets: Forgets,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum Forgets {
    #[default]
    No,
    IfDatabaseIsAway,
    Yes,
}

/// Returns for each fault how many duplicates it allows at each destination. `arrivals` holds, for each destination, the seconds at which
/// something arrived, in ascending order.
pub(super) fn allowances(happened: &[Happened], daemons: usize, arrivals: &[Vec<f64>]) -> Vec<Vec<u64>> {
    let absences: Vec<Absence> = happened.iter().filter_map(absence).collect();
    let parkings: Vec<Absence> = happened.iter().filter_map(absence_of_parking).chain(absences.clone()).collect();
    happened
        .iter()
        .map(|it| {
            DESTINATIONS
                .iter()
                .enumerate()
                .map(|(number, destination)| {
                    let cost = cost(it, daemons, number);
                    let in_flight = cost.flights * destination.in_flight();
                    // Only webhooks park what fails, so only they depend on writing that down.
                    let absences = if destination.way == Way::Webhook { &parkings } else { &absences };
                    let since = last_checkpoint(it, absences);
                    let is_forgotten = match cost.forgets {
                        Forgets::No => false,
                        // The daemon tried to write its cursor, and could not.
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
    // When one of several daemons comes or goes, lanes move.
    let moved = if daemons > 1 { in_flight } else { nothing };
    let is_served = it.served.as_ref().is_none_or(|served| served.contains(&number));
    let forgotten = if is_served { Cost { flights: 1, forgets: Forgets::Yes } } else { moved };
    match it.fault {
        Fault::KillDaemon { .. } => forgotten,
        Fault::StopDaemon { .. } => Cost { forgets: Forgets::IfDatabaseIsAway, ..moved },
        // The daemon that takes over repeats them once, and the paused one once more before it knows of its loss.
        Fault::PauseDaemon { .. } if lasted >= RISK => Cost { flights: 2, ..forgotten },
        Fault::PauseDaemon { .. } => in_flight,
        // The cursors go back to what was written when the writes were lost, or when the standby began to lag.
        Fault::LoseWrites { .. } | Fault::Promote { .. } => Cost { flights: 2, ..forgotten },
        Fault::SlowMachine => forgotten,
        Fault::TerminateBackends { .. }
        | Fault::RestartPostgres
        | Fault::DiskFull { table: "daemons", .. }
        | Fault::Link { link: Link::Database(_), .. } => {
            if lasted >= RISK {
                forgotten
            } else {
                nothing
            }
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
        Fault::Change { destination: concerned, .. } if concerned == number => {
            Cost { forgets: Forgets::IfDatabaseIsAway, ..in_flight }
        }
        Fault::Link { .. }
        | Fault::Change { .. }
        | Fault::Endpoint { .. }
        | Fault::OpenTransaction { .. }
        | Fault::DiskFull { .. }
        | Fault::Mistake { .. }
        | Fault::Hostile { .. }
        | Fault::UnreadableEvent { .. } => nothing,
    }
}

/// Returns how many times the deliveries in flight can be sent while their answers get lost.
fn flights(how: Breakage, lasted: f64, destination: &Destination) -> u64 {
    let rounds = |seconds: u64| (lasted / seconds as f64).ceil() as u64;
    match (how, destination.way) {
        // A new connection to a broker that does not answer carries no deliveries.
        (Breakage::Stall(_), Way::Mqtt(_)) => 1,
        (Breakage::Slow(..), Way::Mqtt(_)) => 1 + rounds(2 * KEEP_ALIVE),
        // Requests time out, and the repeated ones arrive as well.
        (Breakage::Stall(_) | Breakage::Slow(..), Way::Webhook) => 2 + rounds(TIMEOUT),
        _ => 1,
    }
}

/// A time without checkpoints.
#[derive(Debug, Clone)]
struct Absence {
    from: f64,
    until: f64,
    /// The daemon that wrote none; `None` means all daemons.
    daemon: Option<usize>,
}

fn absence(it: &Happened) -> Option<Absence> {
    let daemon = match it.fault {
        Fault::TerminateBackends { daemon } | Fault::Link { link: Link::Database(daemon), .. } => Some(daemon),
        Fault::RestartPostgres
        | Fault::LoseWrites { .. }
        | Fault::Promote { .. }
        | Fault::DiskFull { table: "lanes" | "daemons", .. }
        | Fault::SlowMachine => None,
        Fault::Mistake { mistake, .. } if mistake.table() == "lanes" => None,
        _ => return None,
    };
    Some(Absence { from: it.from, until: it.until + UNWRITTEN, daemon })
}

/// Returns the time in which deliveries cannot be parked, which is such an absence for webhooks, because a checkpoint that parks something
/// is written with it or not at all.
fn absence_of_parking(it: &Happened) -> Option<Absence> {
    let is_of_parking = match it.fault {
        Fault::DiskFull { table, .. } => table == "deliveries",
        Fault::Mistake { mistake, .. } => mistake.table() == "deliveries",
        _ => false,
    };
    is_of_parking.then_some(Absence { from: it.from, until: it.until + UNWRITTEN, daemon: None })
}

/// Returns the second of the last checkpoint that was surely written before the fault.
fn last_checkpoint(it: &Happened, absences: &[Absence]) -> f64 {
    let own = match it.fault {
        Fault::KillDaemon { daemon, .. } | Fault::StopDaemon { daemon, .. } | Fault::PauseDaemon { daemon, .. } => {
            Some(daemon)
        }
        _ => None,
    };
    // A daemon that cannot renew its lease still writes its progress until the lease ends.
    let lost = if matches!(it.fault, Fault::DiskFull { .. }) { it.from + LEASE - RENEWAL } else { it.from };
    let mut since = lost - UNWRITTEN;
    let concerns = |absence: &Absence| absence.daemon.is_none() || own.is_none() || absence.daemon == own;
    // An absence may begin before another one ends.
    while let Some(absence) = absences.iter().find(|absence| {
        concerns(absence) && absence.from <= it.until && absence.from - UNWRITTEN < since && since <= absence.until
    }) {
        since = absence.from - UNWRITTEN;
    }
    since
}

/// Returns the second at which the daemon forgets.
fn noticed(it: &Happened) -> f64 {
    match it.fault {
        Fault::KillDaemon { .. } | Fault::PauseDaemon { .. } => it.from + LAST_WORDS,
        Fault::StopDaemon { away, .. } => it.until - away.as_secs_f64() + LAST_WORDS,
        Fault::Change { .. } => it.from + UNWRITTEN,
        Fault::LoseWrites { .. } | Fault::Promote { .. } => it.until + LEASE,
        _ => it.from + LEASE,
    }
}

fn between(arrivals: &[f64], from: f64, until: f64) -> u64 {
    let place = |second: f64| arrivals.partition_point(|arrival| *arrival < second);
    (place(until) - place(from).min(place(until))) as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rig::proxy::Side;

    use super::*;

    const LASTS: Duration = Duration::from_secs(5);

    /// Makes ten arrivals a second at each destination, for a minute.
    fn arrivals() -> Vec<Vec<f64>> {
        vec![(0..600).map(|tenth| f64::from(tenth) / 10.0 + 0.05).collect(); DESTINATIONS.len()]
    }

    fn happened(fault: Fault, from: f64, until: f64) -> Happened {
        Happened { fault, from, until, served: None }
    }

    fn allowed(happened: &[Happened], daemons: usize) -> Vec<u64> {
        let allowances = allowances(happened, daemons, &arrivals());
        (0..DESTINATIONS.len()).map(|number| allowances.iter().map(|it| it[number]).sum()).collect()
    }

    fn publishers_and_webhooks(publishers: u64, webhooks: u64) -> Vec<u64> {
        let of = |it: &Destination| if it.way == Way::Webhook { webhooks } else { publishers };
        DESTINATIONS.iter().map(of).collect()
    }

    #[test]
    fn a_killed_daemon_repeats_a_second_and_what_was_in_flight_where_it_served() {
        let kill =
            Happened { served: Some(vec![0, 2]), ..happened(Fault::KillDaemon { daemon: 0, away: LASTS }, 10.0, 15.0) };

        assert_eq!(allowed(std::slice::from_ref(&kill), 1), [32 + 12, 0, 4 + 12, 0, 0, 0, 0, 0]);
        // Among several daemons, the lanes of the others may move when it comes back.
        assert_eq!(allowed(&[kill], 3), [32 + 12, 32, 4 + 12, 4, 32, 4, 32, 4]);
    }

    #[test]
    fn an_orderly_stop_repeats_nothing_unless_it_cannot_be_written_down() {
        let stop = happened(Fault::StopDaemon { daemon: 0, away: LASTS }, 10.0, 15.5);
        let away = happened(Fault::Link { link: Link::Database(0), how: Breakage::Refuse(LASTS) }, 9.0, 10.2);
        let of_another = happened(Fault::Link { link: Link::Database(1), how: Breakage::Refuse(LASTS) }, 9.0, 10.2);

        assert_eq!(allowed(std::slice::from_ref(&stop), 1), publishers_and_webhooks(0, 0));
        assert_eq!(allowed(&[stop.clone(), of_another], 1), publishers_and_webhooks(0, 0));
        // They repeat what arrived from a second before the database went away until the daemon had ended.
        assert_eq!(allowed(&[away, stop], 1), publishers_and_webhooks(27, 27));
    }

    #[test]
    fn absences_that_touch_are_one() {
        let kill = happened(Fault::KillDaemon { daemon: 0, away: LASTS }, 20.0, 25.0);
        let full = happened(Fault::DiskFull { table: "lanes", lasts: LASTS }, 15.0, 18.5);
        let before = happened(Fault::DiskFull { table: "deliveries", lasts: LASTS }, 11.0, 14.5);

        // They repeat what arrived from 10 to 20.2 where deliveries are parked, and from 14 elsewhere.
        assert_eq!(allowed(&[before, full, kill], 1), publishers_and_webhooks(32 + 62, 4 + 102));
    }

    #[test]
    fn a_short_pause_or_absence_forgets_nothing_and_one_beyond_the_lease_does() {
        let pause = |until| happened(Fault::PauseDaemon { daemon: 0, pause: LASTS }, 10.0, until);
        let stall = |until| happened(Fault::Link { link: Link::Database(0), how: Breakage::Stall(LASTS) }, 10.0, until);

        assert_eq!(allowed(&[pause(11.0)], 1), publishers_and_webhooks(32, 4));
        assert_eq!(allowed(&[pause(15.0)], 1), publishers_and_webhooks(64 + 12, 8 + 12));
        assert_eq!(allowed(&[stall(11.0)], 1), publishers_and_webhooks(0, 0));
        assert_eq!(allowed(&[stall(15.0)], 1), publishers_and_webhooks(32 + 40, 4 + 40));
    }

    #[test]
    fn a_fault_of_a_destination_concerns_nobody_else() {
        let link = |number, how| happened(Fault::Link { link: Link::Destination(number), how }, 10.0, 15.0);
        let only = |number: usize, count: u64| {
            let mut counts = vec![0; DESTINATIONS.len()];
            counts[number] = count;
            counts
        };

        assert_eq!(allowed(&[link(0, Breakage::HalfOpen(Side::Target, LASTS))], 3), only(0, 32));
        assert_eq!(allowed(&[link(0, Breakage::Slow(1000, LASTS))], 3), only(0, 3 * 32));
        // There are two rounds before the breaker opens, and then the probes.
        assert_eq!(allowed(&[link(2, Breakage::Stall(LASTS))], 3), only(2, 4 * 4));
        let restart = happened(Fault::RestartBroker { broker: 1, away: LASTS }, 10.0, 15.0);
        assert_eq!(allowed(&[restart], 3), [0, 32, 0, 0, 0, 0, 32, 0]);
    }
}
