//! The faults as values: what is done to which part of the line, and for how long. They have names for the report and words for people.
//! `inject` carries them out.

use std::fmt;
use std::time::Duration;

use rig::proxy::Side;

use crate::chaos::hostile::Malice;
use crate::chaos::mistake::Mistake;

/// One fault.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    /// SIGKILL, and a start later.
    KillDaemon { daemon: usize, away: Duration },
    /// SIGTERM, and a start later.
    StopDaemon { daemon: usize, away: Duration },
    /// SIGSTOP and SIGCONT.
    PauseDaemon { daemon: usize, pause: Duration },
    /// `pg_terminate_backend` on all connections of a daemon.
    TerminateBackends { daemon: usize },
    /// An immediate stop of PostgreSQL, without a checkpoint, and a start.
    RestartPostgres,
    /// An immediate stop of PostgreSQL after it has not waited for the disk for a while: the last commits are undone.
    LoseWrites { lasts: Duration },
    /// A standby that has lagged for a while takes the place of PostgreSQL: the last commits are undone.
    Promote { lag: Duration },
    /// SIGTERM to a broker, which keeps sessions and messages, and a start later.
    RestartBroker { broker: usize, away: Duration },
    /// SIGSTOP and SIGCONT, while the sockets stay open.
    PauseBroker { broker: usize, pause: Duration },
    /// SIGKILL to a broker, and a start later.
    KillBroker { broker: usize, away: Duration },
    /// Something happens to the connections of one link.
    Link { link: Link, how: Breakage },
    /// An endpoint misbehaves for a while. `webhook` is the number of the destination.
    Endpoint { webhook: usize, manner: Manner, lasts: Duration },
    /// A transaction with many events stays open, and then commits or rolls back.
    OpenTransaction { events: u32, lasts: Duration, commits: bool },
    /// A destination's row is changed.
    Change { destination: usize, change: Change },
    /// Statements that write this table fail for a while, as on a full disk.
    DiskFull { table: &'static str, lasts: Duration },
    /// An administrator makes a mistake, and puts it right later.
    Mistake { mistake: Mistake, lasts: Duration },
    /// The hostile endpoint or the hostile broker misbehaves.
    Hostile { malice: Malice, lasts: Duration },
    /// A row comes into the log that cannot be read as an event, because of this moment in it.
    UnreadableEvent { moment: &'static str },
    /// Everything took too long for a while. Nobody ordered this one.
    SlowMachine,
}

/// A connection that leads through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// From a daemon to PostgreSQL.
    Database(usize),
    /// From a destination's lane to its broker or endpoint.
    Destination(usize),
}

/// The way in which a link breaks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Breakage {
    Cut,
    CutAfter(u64),
    Reset,
    HalfOpen(Side, Duration),
    Stall(Duration),
    Slow(u64, Duration),
    Refuse(Duration),
}

/// How an endpoint misbehaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Manner {
    Hangs,
    Drops,
    Fails,
    AsksForPatience,
    IsSlow,
    HasASlowBody,
    NeverComesToItsAnswer,
}

/// The change that is made in a destination's row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Change {
    /// Its settings, its pattern or its URL.
    Edit,
    /// It is deactivated, and activated again later.
    Deactivate(Duration),
    /// It is deleted, and a new one takes its place later.
    Delete(Duration),
}

impl Fault {
    /// Returns the fault's name in the report.
    pub(super) fn name(&self) -> String {
        match self {
            Fault::KillDaemon { .. } => "kill daemon".to_owned(),
            Fault::StopDaemon { .. } => "stop daemon".to_owned(),
            Fault::PauseDaemon { .. } => "pause daemon".to_owned(),
            Fault::TerminateBackends { .. } => "terminate backends".to_owned(),
            Fault::RestartPostgres => "restart postgres".to_owned(),
            Fault::LoseWrites { .. } => "lose writes".to_owned(),
            Fault::Promote { .. } => "promote standby".to_owned(),
            Fault::RestartBroker { .. } => "restart broker".to_owned(),
            Fault::PauseBroker { .. } => "pause broker".to_owned(),
            Fault::KillBroker { .. } => "kill broker".to_owned(),
            Fault::Link { link, how } => {
                let link = if matches!(link, Link::Database(_)) { "database" } else { "destination" };
                format!("{link} link {}", how.name())
            }
            Fault::Endpoint { manner, .. } => format!("endpoint {}", manner.name()),
            Fault::OpenTransaction { .. } => "open transaction".to_owned(),
            Fault::Change { change: Change::Edit, .. } => "edit destination".to_owned(),
            Fault::Change { change: Change::Deactivate(_), .. } => "deactivate destination".to_owned(),
            Fault::Change { change: Change::Delete(_), .. } => "delete destination".to_owned(),
            Fault::DiskFull { table, .. } => format!("disk full for {table}"),
            Fault::Mistake { mistake, .. } => mistake.name(),
            Fault::Hostile { malice, .. } => malice.name(),
            Fault::UnreadableEvent { .. } => "unreadable event".to_owned(),
            Fault::SlowMachine => "machine too slow".to_owned(),
        }
    }

    /// Returns how long the fault lasts. The broken part may need longer to come back.
    pub(super) fn lasts(&self) -> Duration {
        match *self {
            Fault::KillDaemon { away, .. }
            | Fault::StopDaemon { away, .. }
            | Fault::RestartBroker { away, .. }
            | Fault::KillBroker { away, .. } => away,
            Fault::PauseDaemon { pause, .. } | Fault::PauseBroker { pause, .. } => pause,
            Fault::Endpoint { lasts, .. }
            | Fault::OpenTransaction { lasts, .. }
            | Fault::DiskFull { lasts, .. }
            | Fault::Mistake { lasts, .. }
            | Fault::Hostile { lasts, .. }
            | Fault::LoseWrites { lasts }
            | Fault::Promote { lag: lasts } => lasts,
            Fault::Link { how, .. } => how.lasts(),
            Fault::Change { change: Change::Deactivate(away) | Change::Delete(away), .. } => away,
            Fault::TerminateBackends { .. }
            | Fault::RestartPostgres
            | Fault::Change { change: Change::Edit, .. }
            | Fault::UnreadableEvent { .. }
            | Fault::SlowMachine => Duration::ZERO,
        }
    }

    /// Returns the daemon that it befalls, if it befalls a single one.
    pub(super) fn daemon(&self) -> Option<usize> {
        match *self {
            Fault::KillDaemon { daemon, .. }
            | Fault::StopDaemon { daemon, .. }
            | Fault::PauseDaemon { daemon, .. }
            | Fault::TerminateBackends { daemon }
            | Fault::Link { link: Link::Database(daemon), .. } => Some(daemon),
            _ => None,
        }
    }

    /// Says whether commits may be undone that were confirmed.
    pub(super) fn undoes_commits(&self) -> bool {
        matches!(self, Fault::LoseWrites { .. } | Fault::Promote { .. })
    }

    /// Returns the subject that the fault works on. Two faults on the same subject do not overlap.
    pub(super) fn subject(&self) -> Subject {
        match *self {
            Fault::KillDaemon { daemon, .. } | Fault::StopDaemon { daemon, .. } | Fault::PauseDaemon { daemon, .. } => {
                Subject::Daemon(daemon)
            }
            Fault::TerminateBackends { .. }
            | Fault::RestartPostgres
            | Fault::LoseWrites { .. }
            | Fault::Promote { .. } => Subject::Postgres,
            Fault::RestartBroker { broker, .. }
            | Fault::PauseBroker { broker, .. }
            | Fault::KillBroker { broker, .. } => Subject::Broker(broker),
            Fault::Link { link: Link::Database(daemon), .. } => Subject::Database(daemon),
            Fault::Link { link: Link::Destination(destination), .. } => Subject::Destination(destination),
            Fault::Endpoint { webhook, .. } => Subject::Endpoint(webhook),
            Fault::OpenTransaction { .. } => Subject::OpenTransaction,
            Fault::Change { destination, .. } => Subject::Row(destination),
            Fault::DiskFull { table, .. } => Subject::Table(table),
            Fault::Mistake { mistake, .. } => Subject::Table(mistake.table()),
            Fault::Hostile { .. } => Subject::Hostile,
            Fault::UnreadableEvent { .. } => Subject::Log,
            Fault::SlowMachine => Subject::Machine,
        }
    }
}

/// The thing that a fault works on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Daemon(usize),
    Postgres,
    Broker(usize),
    Database(usize),
    Destination(usize),
    Endpoint(usize),
    OpenTransaction,
    Row(usize),
    Table(&'static str),
    Hostile,
    Log,
    Machine,
}

impl Breakage {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Breakage::Cut => "cut",
            Breakage::CutAfter(_) => "cut within a message",
            Breakage::Reset => "reset",
            Breakage::HalfOpen(..) => "half open",
            Breakage::Stall(_) => "stall",
            Breakage::Slow(..) => "slow",
            Breakage::Refuse(_) => "refuse",
        }
    }

    pub(super) fn lasts(&self) -> Duration {
        match *self {
            Breakage::Cut | Breakage::Reset => Duration::ZERO,
            // It lasts until the bytes have passed, which takes about a second.
            Breakage::CutAfter(_) => Duration::from_secs(1),
            Breakage::HalfOpen(_, lasts)
            | Breakage::Stall(lasts)
            | Breakage::Slow(_, lasts)
            | Breakage::Refuse(lasts) => lasts,
        }
    }
}

impl Manner {
    fn name(self) -> &'static str {
        match self {
            Manner::Hangs => "hangs",
            Manner::Drops => "resets",
            Manner::Fails => "answers 500",
            Manner::AsksForPatience => "answers 429",
            Manner::IsSlow => "is slow",
            Manner::HasASlowBody => "has a slow body",
            Manner::NeverComesToItsAnswer => "answers 103 without end",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        match self {
            Fault::KillDaemon { daemon, .. }
            | Fault::StopDaemon { daemon, .. }
            | Fault::PauseDaemon { daemon, .. }
            | Fault::TerminateBackends { daemon }
            | Fault::Link { link: Link::Database(daemon), .. } => write!(f, " (gateway-{})", daemon + 1)?,
            Fault::RestartBroker { broker, .. }
            | Fault::PauseBroker { broker, .. }
            | Fault::KillBroker { broker, .. } => write!(f, " (broker {})", broker + 1)?,
            Fault::Link { link: Link::Destination(number), .. }
            | Fault::Endpoint { webhook: number, .. }
            | Fault::Change { destination: number, .. } => write!(f, " (destination {})", number + 1)?,
            Fault::OpenTransaction { events, commits, .. } => {
                write!(f, " ({events} events, then {})", if *commits { "commit" } else { "rollback" })?;
            }
            Fault::UnreadableEvent { moment } => write!(f, " ({moment})")?,
            Fault::RestartPostgres
            | Fault::LoseWrites { .. }
            | Fault::Promote { .. }
            | Fault::DiskFull { .. }
            | Fault::Mistake { .. }
            | Fault::Hostile { .. }
            | Fault::SlowMachine => {}
        }
        if self.lasts() > Duration::ZERO {
            write!(f, ", {:.1} s", self.lasts().as_secs_f64())?;
        }
        Ok(())
    }
}
