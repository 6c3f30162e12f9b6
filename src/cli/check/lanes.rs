//! The part of the check that looks at the lanes. In: `andon.lane_status`. Out: what is to be said of each lane, with its grade: what a lane
//! wrote about itself is no comfort where no daemon serves it. It only reads.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::Row;

use crate::cli::check::report::Grade;
use crate::destination::LaneName;

/// Something that is said of a destination.
pub(super) type Note = (Grade, String);

/// A row of the view, with ages in seconds.
#[derive(Debug, Clone, Default)]
pub(super) struct LaneStatus {
    pub(super) name: String,
    pub(super) state: String,
    since: String,
    /// For how long it has been in this state, or has delivered nothing.
    failing_for: f64,
    is_failing: bool,
    reason: String,
    pub(super) is_served: bool,
    pub(super) waiting: i64,
    is_exact: bool,
    oldest: Option<String>,
    oldest_age: f64,
    parked: i64,
    dead: i64,
    lost: i64,
    lost_at: Option<String>,
    pub(super) is_replay: bool,
}

/// A broker or an endpoint that restarts is away for some seconds. One that is away for longer is a fault.
const FORGIVEN: f64 = 60.0;
/// Where events have waited for longer although the lane runs, it is behind.
const BEHIND: f64 = 300.0;
/// How long a daemon may take to serve a lane that is new or free, before that is told, and how often it is asked.
const TAKE_OVER: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(200);

pub(super) type Lanes = HashMap<LaneName, LaneStatus>;

/// Reads the view.
pub(super) async fn read(client: &Client) -> Result<Lanes, Error> {
    const TIME: &str = "'YYYY-MM-DD HH24:MI:SS\"Z\"'";
    let age = |time: &str| format!("coalesce(extract(epoch from clock_timestamp() - {time}), 0)::float8");
    let sql = format!(
        "select lane, name, state, to_char(state_since, {TIME}), {}, failing_since is not null,
            coalesce(reason, 'no reason given'), daemon is not null, waiting, waiting_is_exact, to_char(oldest, {TIME}), {}, parked, dead, lost,
            to_char(lost_at, {TIME}), replay is not null from andon.lane_status",
        age("coalesce(failing_since, state_since)"),
        age("oldest"),
    );
    let status = |row: &Row| LaneStatus {
        name: row.get(1),
        state: row.get(2),
        since: row.get(3),
        failing_for: row.get(4),
        is_failing: row.get(5),
        reason: row.get(6),
        is_served: row.get(7),
        waiting: row.get(8),
        is_exact: row.get(9),
        oldest: row.get(10),
        oldest_age: row.get(11),
        parked: row.get(12),
        dead: row.get(13),
        lost: row.get(14),
        lost_at: row.get(15),
        is_replay: row.get(16),
    };
    Ok(client.query(&sql, &[]).await?.iter().map(|row| (LaneName(row.get(0)), status(row))).collect())
}

/// Reads the view, and again for a moment while a living daemon is about to take over one of these lanes.
pub(super) async fn settled(client: &Client, wanted: &[&LaneName], has_daemon: bool) -> Result<Lanes, Error> {
    let end = Instant::now() + TAKE_OVER;
    let mut clock = tokio::time::interval(LOOK);
    loop {
        clock.tick().await;
        let lanes = read(client).await?;
        let is_served = |lane: &&LaneName| lanes.get(*lane).is_some_and(|status| status.is_served);
        if !has_daemon || wanted.iter().all(is_served) || Instant::now() >= end {
            return Ok(lanes);
        }
    }
}

impl LaneStatus {
    /// Returns all that is to be said of it.
    pub(super) fn notes(&self) -> Vec<Note> {
        let mut notes = vec![self.state()];
        notes.extend(self.backlog());
        if self.parked > 0 {
            notes.push((
                Grade::Warning,
                format!("{} deliveries failed and {} (andon deliveries)", many(self.parked), self.fate_of_parked()),
            ));
        }
        if self.dead > 0 {
            notes.push((Grade::Warning, format!("{} deliveries are dead (andon deliveries)", many(self.dead))));
        }
        if self.lost > 0 {
            let at = self.lost_at.as_deref().unwrap_or("a time that is not known");
            notes
                .push((Grade::Warning, format!("fell too far behind and lost {} events, the last at {at}", self.lost)));
        }
        notes
    }

    /// Returns what to do about its state, where the reason does not say it.
    pub(super) fn cure(&self) -> Option<&'static str> {
        (self.is_served && self.state == "disabled")
            .then_some("mend that, and change its row so that it is tried again")
    }

    /// Returns what becomes of deliveries that failed.
    fn fate_of_parked(&self) -> &'static str {
        match self.state.as_str() {
            "removed" => "are tried only if its destination comes back",
            "running" | "retrying" | "open" if self.is_served => "are tried again",
            _ => "are tried again once it delivers",
        }
    }

    fn state(&self) -> Note {
        let LaneStatus { state, since, reason, .. } = self;
        match state.as_str() {
            "removed" => (Grade::Ok, "its destination is gone or not active".to_owned()),
            _ if !self.is_served => (Grade::Fault, format!("no daemon serves it (its last state was {state})")),
            "running" if self.is_failing && self.failing_for >= FORGIVEN => {
                (Grade::Fault, format!("has taken nothing for {:.0} s", self.failing_for))
            }
            "running" => (Grade::Ok, "running".to_owned()),
            "paused" => (Grade::Warning, format!("is paused since {since}: {reason}")),
            "retrying" if reason.starts_with("cannot write its progress") => {
                (Grade::Fault, format!("takes no more events: it {reason} (since {since})"))
            }
            "retrying" if self.failing_for < FORGIVEN && !reason.starts_with("it failed by a fault of Andon") => {
                (Grade::Warning, format!("is retrying since {since}: {reason}"))
            }
            _ => (Grade::Fault, format!("is {state} since {since}: {reason}")),
        }
    }

    fn backlog(&self) -> Option<Note> {
        if self.waiting == 0 {
            return None;
        }
        let about = if self.is_exact { "" } else { "about " };
        let oldest = self.oldest.as_ref().map_or(String::new(), |oldest| format!(", the oldest since {oldest}"));
        let grade = if self.oldest_age >= BEHIND { Grade::Warning } else { Grade::Ok };
        Some((grade, format!("{about}{} events wait{oldest}", self.waiting)))
    }

    /// Returns whether there is anything to say of a lane whose destination is not listed.
    pub(super) fn is_of_interest(&self) -> bool {
        self.state != "removed" || self.parked + self.dead + self.lost > 0
    }
}

/// The view counts no further.
fn many(count: i64) -> String {
    if count < 10_000 { count.to_string() } else { "10,000 or more".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grade(state: &str, failing_for: f64, is_served: bool) -> Grade {
        let status = LaneStatus { state: state.to_owned(), failing_for, is_served, ..LaneStatus::default() };
        status.notes().iter().map(|(grade, _)| *grade).max().unwrap()
    }

    #[test]
    fn a_lane_that_delivers_nothing_is_a_fault_whatever_it_said_last() {
        assert_eq!(grade("running", 0.0, true), Grade::Ok);
        assert_eq!(grade("running", 0.0, false), Grade::Fault);
        for state in ["open", "disabled", "misconfigured"] {
            assert_eq!(grade(state, 0.0, true), Grade::Fault, "{state}");
        }
        assert_eq!((grade("retrying", 59.0, true), grade("retrying", 61.0, true)), (Grade::Warning, Grade::Fault));
        assert_eq!((grade("paused", 0.0, true), grade("removed", 0.0, false)), (Grade::Warning, Grade::Ok));
    }

    #[test]
    fn a_lane_that_is_disabled_is_cured_by_a_change_of_its_row() {
        let cure = |state: &str, is_served: bool| {
            LaneStatus { state: state.to_owned(), is_served, ..LaneStatus::default() }.cure()
        };

        assert!(cure("disabled", true).unwrap().contains("change its row"));
        assert_eq!((cure("running", true), cure("disabled", false)), (None, None));
    }

    #[test]
    fn what_failed_is_tried_again_only_where_somebody_does_so() {
        let said = |state: &str, is_served: bool| {
            let status = LaneStatus { state: state.to_owned(), is_served, parked: 2, ..LaneStatus::default() };
            status.notes().remove(1).1
        };

        assert_eq!(said("open", true), "2 deliveries failed and are tried again (andon deliveries)");
        assert!(said("disabled", true).contains("are tried again once it delivers"));
        assert!(said("running", false).contains("are tried again once it delivers"));
        assert!(said("removed", false).contains("are tried only if its destination comes back"));
    }

    #[test]
    fn what_waits_is_counted_with_the_time_of_the_oldest() {
        let mut status =
            LaneStatus { waiting: 12, is_exact: true, oldest: Some("noon".into()), ..LaneStatus::default() };
        assert_eq!(status.backlog(), Some((Grade::Ok, "12 events wait, the oldest since noon".to_owned())));
        status.oldest_age = 600.0;
        status.is_exact = false;
        assert_eq!(status.backlog(), Some((Grade::Warning, "about 12 events wait, the oldest since noon".to_owned())));
    }
}
