//! Shows replays. In: their progress, and the time of the database. Out: text for people. It never does I/O.

use jiff::Timestamp;

use crate::cli::text_table;
use crate::cli::time;
use crate::ledger::replays::ReplayRequest;
use crate::ledger::replays::ReplayStatus;

/// Returns the line for a replay that was just started.
pub(super) fn asked(id: i64, wanted: &ReplayRequest) -> String {
    let (count, since, until) = (wanted.total, time::utc(wanted.since), time::utc(wanted.until));
    format!("replay {id}: {count} events from {since} to {until}; Ctrl-C leaves it running")
}

/// Returns why nothing is asked for: the destination's lane stands still.
pub(super) fn standstill(destination: &str, state: &str, reason: &str) -> String {
    format!(
        "`{destination}` is {state} ({reason}); mend that, change its row so that it is tried again, and repeat this"
    )
}

/// Returns what is to be done for a replay that stands still after it was asked for.
pub(super) fn stuck(id: i64) -> String {
    format!(
        "replay {id} stands still until the row of its destination is changed, and goes on then; `andon replay --cancel {id}` ends it"
    )
}

/// Returns the line that shows the progress of one replay.
pub(super) fn progress(standing: &ReplayStatus) -> String {
    let ReplayStatus { id, destination, delivered, total, .. } = standing;
    let mut text = match standing.state.as_str() {
        "running" => format!("replay {id}: {delivered} of {total} delivered"),
        state => format!("replay {id} is {state}: {delivered} of {total} delivered"),
    };
    if standing.dead > 0 {
        let dead = standing.dead;
        text += &format!(", {dead} dead; see `andon deliveries --destination '{destination}' --state dead`");
    }
    if standing.lost > 0 {
        text += &format!(", {} gone from the log before their turn", standing.lost);
    }
    if let Some(trouble) = &standing.trouble {
        text += &format!(" ({trouble})");
    }
    text
}

/// Returns the table of all replays.
pub(super) fn list(now: Timestamp, standings: &[ReplayStatus]) -> String {
    if standings.is_empty() {
        return "there was no replay yet\n".to_owned();
    }
    let heads = ["ID", "DESTINATION", "STATE", "DELIVERED", "DEAD", "LOST", "SINCE", "UNTIL", "EVENTS", "ASKED", ""];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    for standing in standings {
        lines.push(vec![
            standing.id.to_string(),
            standing.destination.clone(),
            standing.state.clone(),
            format!("{} of {}", standing.delivered, standing.total),
            standing.dead.to_string(),
            standing.lost.to_string(),
            time::utc(standing.since),
            time::utc(standing.until),
            standing.events.join(","),
            format!("{} ago", time::age(now, standing.asked_at)),
            standing.trouble.clone().unwrap_or_default(),
        ]);
    }
    text_table::columns(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-20T{text}Z").parse().unwrap()
    }

    fn standing(id: i64, state: &str, delivered: i64) -> ReplayStatus {
        ReplayStatus {
            id,
            destination: "erp".to_owned(),
            since: at("01:00:00"),
            until: at("02:00:00"),
            events: vec!["operation.*".to_owned()],
            total: 120,
            state: state.to_owned(),
            delivered,
            dead: 0,
            lost: 0,
            asked_at: at("03:00:00"),
            ended_at: None,
            trouble: None,
            is_stuck: false,
        }
    }

    #[test]
    fn progress_says_what_is_missing_and_why() {
        let stuck = ReplayStatus { trouble: Some("open: answered 503: busy".to_owned()), ..standing(7, "running", 20) };
        let over = ReplayStatus { dead: 3, lost: 2, ..standing(7, "done", 115) };

        insta::assert_snapshot!([stuck, over].map(|it| progress(&it)).join("\n"), @"
        replay 7: 20 of 120 delivered (open: answered 503: busy)
        replay 7 is done: 115 of 120 delivered, 3 dead; see `andon deliveries --destination 'erp' --state dead`, 2 gone from the log before their turn
        ");
    }

    #[test]
    fn the_list_has_a_line_for_each() {
        let standings = [standing(8, "running", 20), standing(7, "done", 120)];

        insta::assert_snapshot!(list(at("03:01:05"), &standings), @"
        ID  DESTINATION  STATE    DELIVERED   DEAD  LOST  SINCE                 UNTIL                 EVENTS       ASKED
        8   erp          running  20 of 120   0     0     2026-11-20 01:00:00Z  2026-11-20 02:00:00Z  operation.*  1m 5s ago
        7   erp          done     120 of 120  0     0     2026-11-20 01:00:00Z  2026-11-20 02:00:00Z  operation.*  1m 5s ago
        ");
        assert_eq!(list(at("03:01:05"), &[]), "there was no replay yet\n");
    }
}
