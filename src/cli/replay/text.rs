//! How replays are shown. In: how far they are, and the time. Out: text for people. It never asks anybody.

use jiff::Timestamp;

use crate::cli::table;
use crate::ledger::replays::ReplayRequest;
use crate::ledger::replays::ReplayStatus;

/// What was asked for.
pub(super) fn asked(id: i64, request: &ReplayRequest) -> String {
    let (count, since, until) = (request.total, table::time(request.since), table::time(request.until));
    format!("replay {id}: {count} events from {since} to {until}; Ctrl-C leaves it running")
}

/// How far one is.
pub(super) fn progress(status: &ReplayStatus) -> String {
    let ReplayStatus { id, destination, delivered, total, .. } = status;
    let mut text = match status.state.as_str() {
        "running" => format!("replay {id}: {delivered} of {total} delivered"),
        state => format!("replay {id} is {state}: {delivered} of {total} delivered"),
    };
    if status.dead > 0 {
        let dead = status.dead;
        text += &format!(", {dead} dead; see `andon deliveries --destination '{destination}' --state dead`");
    }
    if status.lost > 0 {
        text += &format!(", {} gone from the log before their turn", status.lost);
    }
    if let Some(trouble) = &status.trouble {
        text += &format!(" ({trouble})");
    }
    text
}

/// All of them.
pub(super) fn list(now: Timestamp, statuses: &[ReplayStatus]) -> String {
    if statuses.is_empty() {
        return "there was no replay yet\n".to_owned();
    }
    let heads = ["ID", "DESTINATION", "STATE", "DELIVERED", "DEAD", "LOST", "SINCE", "UNTIL", "EVENTS", "ASKED", ""];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    for it in statuses {
        lines.push(vec![
            it.id.to_string(),
            it.destination.clone(),
            it.state.clone(),
            format!("{} of {}", it.delivered, it.total),
            it.dead.to_string(),
            it.lost.to_string(),
            table::time(it.since),
            table::time(it.until),
            it.events.join(","),
            format!("{} ago", table::age(now, it.asked_at)),
            it.trouble.clone().unwrap_or_default(),
        ]);
    }
    table::columns(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-20T{text}Z").parse().unwrap()
    }

    fn status(id: i64, state: &str, delivered: i64) -> ReplayStatus {
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
        }
    }

    #[test]
    fn progress_says_what_is_missing_and_why() {
        let stuck = ReplayStatus { trouble: Some("open: answered 503: busy".to_owned()), ..status(7, "running", 20) };
        let over = ReplayStatus { dead: 3, lost: 2, ..status(7, "done", 115) };

        insta::assert_snapshot!([stuck, over].map(|it| progress(&it)).join("\n"), @"
        replay 7: 20 of 120 delivered (open: answered 503: busy)
        replay 7 is done: 115 of 120 delivered, 3 dead; see `andon deliveries --destination 'erp' --state dead`, 2 gone from the log before their turn
        ");
    }

    #[test]
    fn the_list_has_a_line_for_each() {
        let statuses = [status(8, "running", 20), status(7, "done", 120)];

        insta::assert_snapshot!(list(at("03:01:05"), &statuses), @"
        ID  DESTINATION  STATE    DELIVERED   DEAD  LOST  SINCE                 UNTIL                 EVENTS       ASKED
        8   erp          running  20 of 120   0     0     2026-11-20 01:00:00Z  2026-11-20 02:00:00Z  operation.*  1m 5s ago
        7   erp          done     120 of 120  0     0     2026-11-20 01:00:00Z  2026-11-20 02:00:00Z  operation.*  1m 5s ago
        ");
        assert_eq!(list(at("03:01:05"), &[]), "there was no replay yet\n");
    }
}
