//! Shows parked deliveries. In: what the ledger holds, and the time of the database. Out: text for people, or JSON. It never does I/O.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

use crate::cli::names::Names;
use crate::cli::text_table;
use crate::cli::time;
use crate::ledger::StateChange;
use crate::ledger::overview::Count;
use crate::ledger::overview::Delivery;
use crate::ledger::overview::Details;
use crate::ledger::overview::KnownDestination;

/// How many letters of a reason a list shows. `andon deliveries show` prints all of it.
const REASON_LETTERS: usize = 80;

/// Returns the counts, with the deliveries below them.
pub(super) fn list(now: Timestamp, counts: &[Count], rows: &[Delivery], known: &[KnownDestination]) -> String {
    if counts.is_empty() {
        return "nothing is parked\n".to_owned();
    }
    let called = Called::of(known);
    let mut lines = vec![["DESTINATION", "STATE", "COUNT", "OLDEST", "MOSTLY"].map(str::to_owned).to_vec()];
    for count in counts {
        let state = count.state.clone();
        let age = time::age(now, count.oldest);
        let destination = called.shown(&count.destination, &count.lane);
        lines.push(vec![destination, state, count.count.to_string(), age, short(&count.reason)]);
    }
    let mut text = text_table::columns(&lines);
    let heads = ["ID", "DESTINATION", "STATE", "EVENT", "ENTITY", "HAPPENED", "TRIED", "NEXT", "REASON"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    for row in rows {
        lines.push(vec![
            row.id.to_string(),
            called.shown(&row.destination, &row.lane),
            row.state.clone(),
            row.r#type.clone(),
            format!("{} {}", row.entity_type, row.entity_id),
            time::utc(row.occurred_at),
            row.attempts.to_string(),
            row.next_attempt_at.map_or_else(|| "-".to_owned(), |at| time::until(now, at)),
            short(&row.reason),
        ]);
    }
    if !rows.is_empty() {
        write!(text, "\n{}", text_table::columns(&lines)).expect("a text takes text");
    }
    let all: i64 = counts.iter().map(|count| count.count).sum();
    if rows.len() as i64 != all {
        writeln!(text, "\n{} of {all} are listed; --limit {all} lists all", rows.len()).expect("a text takes text");
    }
    text
}

/// Returns the counts and the deliveries as JSON.
pub(super) fn json(counts: &[Count], rows: &[Delivery]) -> Value {
    let counts: Vec<Value> = counts
        .iter()
        .map(|count| {
            json!({"destination": count.destination, "lane": count.lane, "state": count.state, "count": count.count,
                "oldest": count.oldest, "mostly": count.reason})
        })
        .collect();
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({"id": row.id, "destination": row.destination, "lane": row.lane, "state": row.state, "event_id": row.event_id,
                "type": row.r#type, "entity": {"type": row.entity_type, "id": row.entity_id}, "tenant": row.tenant,
                "occurred_at": row.occurred_at, "attempts": row.attempts, "next_attempt_at": row.next_attempt_at,
                "parked_at": row.parked_at, "replayed": row.replayed, "reason": row.reason})
        })
        .collect();
    json!({"counts": counts, "deliveries": rows})
}

/// One delivery, from its event to its last attempt.
pub(super) fn story(now: Timestamp, story: &Details) -> String {
    let delivery = &story.delivery;
    let ago = |at| format!("{} ({} ago)", time::utc(at), time::age(now, at));
    let state = match (delivery.state.as_str(), delivery.next_attempt_at) {
        ("retry", Some(at)) => format!("retry, next attempt {}", time::until(now, at)),
        (state, _) => state.to_owned(),
    };
    let mut facts = vec![
        ("delivery", delivery.id.to_string()),
        ("state", state),
        ("reason", delivery.reason.clone()),
        ("destination", format!("{} ({})", delivery.destination, delivery.lane)),
        ("event", format!("{}, {}, number {} in the log", delivery.r#type, delivery.event_id, story.event)),
        ("entity", format!("{} {}", delivery.entity_type, delivery.entity_id)),
    ];
    if !delivery.tenant.is_empty() {
        facts.push(("tenant", delivery.tenant.clone()));
    }
    facts.extend([
        ("happened", ago(delivery.occurred_at)),
        ("parked", ago(delivery.parked_at)),
        ("tried", delivery.attempts.to_string()),
    ]);
    if delivery.replayed {
        facts.push(("replayed", "by hand; its receiver is told so".to_owned()));
    }
    if story.later_parked > 0 {
        let events = if story.later_parked == 1 { "event" } else { "events" };
        facts.push(("behind it", format!("{} later {events} of the same entity", story.later_parked)));
    }
    facts.extend([("context", story.context.clone()), ("data", story.data.clone())]);
    let lines: Vec<Vec<String>> = facts.into_iter().map(|(name, fact)| vec![name.to_owned(), fact]).collect();
    let mut text = text_table::columns(&lines);
    let mut lines = vec![["AT", "ATTEMPT", "OUTCOME", "CODE", "TOOK", "ANSWER"].map(str::to_owned).to_vec()];
    for attempt in &story.attempts {
        lines.push(vec![
            time::utc(attempt.at),
            attempt.number.to_string(),
            attempt.outcome.clone(),
            attempt.code.map_or_else(|| "-".to_owned(), |code| code.to_string()),
            attempt.latency_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms")),
            attempt.excerpt.as_deref().unwrap_or_default().lines().collect::<Vec<_>>().join(" "),
        ]);
    }
    if !story.attempts.is_empty() {
        write!(text, "\n{}", text_table::columns(&lines)).expect("a text takes text");
    }
    text
}

/// Returns what became of the deliveries that were retried or discarded.
pub(super) fn handled(handled: &[StateChange], known: &[KnownDestination]) -> String {
    let called = Called::of(known);
    let mut lines = vec![["COUNT", "EVENT", "DESTINATION", "WAS", "NOW", "HAPPENED"].map(str::to_owned).to_vec()];
    for group in handled {
        let lane = group.lane.0.as_str();
        let name = called.of_lane.get(lane).map_or(lane, |it| &it.name);
        let now = match group.to.as_deref() {
            Some("retry") => "due",
            Some(_) => "waits its turn",
            None => "discarded",
        };
        let happened = match group.oldest == group.newest {
            true => time::utc(group.oldest),
            false => format!("{} to {}", time::utc(group.oldest), time::utc(group.newest)),
        };
        lines.push(vec![
            group.count.to_string(),
            group.event_type.clone(),
            called.shown(name, lane),
            group.from.clone(),
            now.to_owned(),
            happened,
        ]);
    }
    if handled.is_empty() { String::new() } else { text_table::columns(&lines) }
}

/// What the destinations are called, where two may have one name.
struct Called<'a> {
    names: Names,
    of_lane: HashMap<&'a str, &'a KnownDestination>,
}

impl<'a> Called<'a> {
    fn of(known: &'a [KnownDestination]) -> Called<'a> {
        Called {
            names: Names::of(known.iter().map(|it| it.name.as_str())),
            of_lane: known.iter().map(|it| (it.lane.as_str(), it)).collect(),
        }
    }

    fn shown(&self, name: &str, lane: &str) -> String {
        self.names.shown(name, self.of_lane.get(lane).map_or("", |it| &it.tenant), lane)
    }
}

/// Returns how many deliveries were in which state, such as `2 were dead, 6 were in retry`.
pub(super) fn sum(handled: &[StateChange]) -> String {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for group in handled {
        *counts.entry(&group.from).or_default() += group.count;
    }
    let said = counts.into_iter().map(|(state, count)| {
        let verb = if count == 1 { "was" } else { "were" };
        format!("{count} {verb} {}", in_state(state))
    });
    said.collect::<Vec<_>>().join(", ")
}

/// Returns a state as a sentence says it.
pub(super) fn in_state(state: &str) -> &str {
    if state == "retry" { "in retry" } else { state }
}

/// Returns the first line of a reason, cut to `REASON_LETTERS`.
fn short(reason: &str) -> String {
    let line = reason.lines().next().unwrap_or_default();
    match line.char_indices().nth(REASON_LETTERS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::LaneName;
    use crate::ledger::overview::PastAttempt;

    const LANE: &str = "andon.webhooks/7";

    fn at(text: &str) -> Timestamp {
        format!("2026-11-20T{text}Z").parse().unwrap()
    }

    fn delivery(id: i64, state: &str, attempts: i32, reason: &str) -> Delivery {
        Delivery {
            id,
            destination: "https://erp.example/hooks".to_owned(),
            lane: LANE.to_owned(),
            state: state.to_owned(),
            event_id: uuid::Uuid::nil(),
            r#type: "operation.completed".to_owned(),
            entity_type: "operation".to_owned(),
            entity_id: "42".to_owned(),
            tenant: "acme".to_owned(),
            occurred_at: at("01:00:00"),
            attempts,
            next_attempt_at: (state == "retry").then(|| at("03:05:00")),
            parked_at: at("01:00:05"),
            replayed: state == "retry",
            reason: reason.to_owned(),
        }
    }

    fn count(state: &str, count: i64, reason: &str) -> Count {
        Count {
            destination: "https://erp.example/hooks".to_owned(),
            lane: LANE.to_owned(),
            state: state.to_owned(),
            count,
            oldest: at("01:00:05"),
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn counts_stand_above_the_rows_and_what_is_not_listed_is_said() {
        let long = format!("answered 500: {}\nsecond line", "x".repeat(90));
        let counts = [count("dead", 2, &long), count("retry", 40, "no answer within 15s")];
        let rows = [delivery(3, "dead", 10, &long), delivery(12, "retry", 2, "no answer within 15s")];

        insta::assert_snapshot!(list(at("03:00:00"), &counts, &rows, &[]), @"
        DESTINATION                STATE  COUNT  OLDEST  MOSTLY
        https://erp.example/hooks  dead   2      1h 59m  answered 500: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
        https://erp.example/hooks  retry  40     1h 59m  no answer within 15s

        ID  DESTINATION                STATE  EVENT                ENTITY        HAPPENED              TRIED  NEXT      REASON
        3   https://erp.example/hooks  dead   operation.completed  operation 42  2026-11-20 01:00:00Z  10     -         answered 500: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
        12  https://erp.example/hooks  retry  operation.completed  operation 42  2026-11-20 01:00:00Z  2      in 5m 0s  no answer within 15s

        2 of 42 are listed; --limit 42 lists all
        ");
        assert_eq!(list(at("03:00:00"), &[], &[], &[]), "nothing is parked\n");
    }

    #[test]
    fn the_story_of_a_delivery_ends_with_what_was_tried() {
        let tried = |number, outcome: &str, code: Option<i32>, excerpt: &str| PastAttempt {
            at: at("01:00:05"),
            number,
            outcome: outcome.to_owned(),
            code,
            latency_ms: code.map(|_| 12.4),
            excerpt: Some(excerpt.to_owned()),
        };
        let mut parked = Details {
            delivery: delivery(12, "retry", 2, "no answer within 15s"),
            event: 4711,
            context: r#"{"cell": "Laser 1"}"#.to_owned(),
            data: r#"{"quantity": 1.10}"#.to_owned(),
            later_parked: 3,
            attempts: vec![tried(1, "retry", Some(500), "try\nlater"), tried(2, "retry", None, "no answer within 15s")],
        };

        insta::assert_snapshot!(story(at("03:00:00"), &parked), @r#"
        delivery     12
        state        retry, next attempt in 5m 0s
        reason       no answer within 15s
        destination  https://erp.example/hooks (andon.webhooks/7)
        event        operation.completed, 00000000-0000-0000-0000-000000000000, number 4711 in the log
        entity       operation 42
        tenant       acme
        happened     2026-11-20 01:00:00Z (2h 0m ago)
        parked       2026-11-20 01:00:05Z (1h 59m ago)
        tried        2
        replayed     by hand; its receiver is told so
        behind it    3 later events of the same entity
        context      {"cell": "Laser 1"}
        data         {"quantity": 1.10}

        AT                    ATTEMPT  OUTCOME  CODE  TOOK   ANSWER
        2026-11-20 01:00:05Z  1        retry    500   12 ms  try later
        2026-11-20 01:00:05Z  2        retry    -     -      no answer within 15s
        "#);
        parked.later_parked = 1;
        assert!(story(at("03:00:00"), &parked).contains("behind it    1 later event of the same entity\n"));
    }

    #[test]
    fn changes_are_reported_by_destination_event_and_state() {
        let done = |event_type: &str, now: Option<&str>, count: i64| StateChange {
            lane: LaneName(LANE.to_owned()),
            event_type: event_type.to_owned(),
            from: "dead".to_owned(),
            to: now.map(str::to_owned),
            count,
            oldest: at("01:00:00"),
            newest: if count > 1 { at("02:00:00") } else { at("01:00:00") },
        };
        let known = |name: &str, lane: &str, tenant: &str| KnownDestination {
            name: name.to_owned(),
            lane: lane.to_owned(),
            tenant: tenant.to_owned(),
        };
        let destinations = [known("erp", LANE, "acme")];
        let all = [
            done("job.created", Some("retry"), 12),
            done("job.updated", Some("waiting"), 1),
            done("job.closed", None, 2),
        ];

        insta::assert_snapshot!(handled(&all, &destinations), @"
        COUNT  EVENT        DESTINATION  WAS   NOW             HAPPENED
        12     job.created  erp          dead  due             2026-11-20 01:00:00Z to 2026-11-20 02:00:00Z
        1      job.updated  erp          dead  waits its turn  2026-11-20 01:00:00Z
        2      job.closed   erp          dead  discarded       2026-11-20 01:00:00Z to 2026-11-20 02:00:00Z
        ");
        let two = [known("erp", LANE, "acme"), known("erp", "andon.webhooks/8", "bolt")];
        assert!(handled(&all, &two).contains("  erp (andon.webhooks/7 of tenant acme)  dead  due "));
        let one = StateChange { from: "retry".to_owned(), ..done("job.created", Some("retry"), 1) };
        assert_eq!(sum(&[all.to_vec(), vec![one]].concat()), "15 were dead, 1 was in retry");
    }
}
