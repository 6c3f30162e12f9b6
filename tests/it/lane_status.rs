//! `andon.lane_status` counts what waits for each lane. In: a log and lanes that no daemon serves, whose positions, holes, tenants and patterns
//! are made up. Out: the same counts as those of somebody who looks at each event, and a bound on what the view reads.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use crate::support::plant::Plant;

/// A lane, and what it has not done: everything beyond its position, and the ids that are pending below.
#[derive(Debug, Clone)]
struct Made {
    tenant: &'static str,
    patterns: Option<&'static [&'static str]>,
    position: i64,
    pending: &'static [(i64, i64)],
    /// Holes that it shares with other lanes: 40 to 59; of these it has done 45 to 49.
    shares_holes: bool,
    is_replay: bool,
    state: &'static str,
}

const LANE: Made = Made {
    tenant: "acme",
    patterns: Some(&["*"]),
    position: 0,
    pending: &[],
    shares_holes: false,
    is_replay: false,
    state: "running",
};

impl Made {
    fn waits_for(&self, id: i64) -> bool {
        let within = |ranges: &[(i64, i64)]| ranges.iter().any(|(low, past)| (*low..*past).contains(&id));
        let is_shared = self.shares_holes && (40..60).contains(&id) && !(45..50).contains(&id) && id <= self.position;
        let is_beyond = !self.is_replay && id > self.position;
        self.state != "removed" && (is_beyond || is_shared || within(self.pending))
    }

    fn wants(&self, tenant: &str, event: &str) -> bool {
        let takes = |pattern: &&str| match pattern.strip_suffix('*') {
            Some(stem) => event.starts_with(stem),
            None => *pattern == event,
        };
        (self.tenant == "*" || self.tenant == tenant) && self.patterns.is_none_or(|list| list.iter().any(takes))
    }

    async fn write(&self, client: &Client, lane: &str) {
        let pending = self.pending.iter().map(|(low, past)| format!("[{low},{past})")).collect::<Vec<_>>().join(",");
        let holes = if self.shares_holes { "(select id from andon.shared_holes)" } else { "null" };
        let patterns = self.patterns.map(<[&str]>::to_vec);
        let (filled, replay) = (if self.shares_holes { "[45,50)" } else { "" }, self.is_replay.then_some(1_i64));
        client
            .execute(
                &format!(
                    "insert into andon.lanes (lane, tenant, name, position, pending, shared_holes, filled, patterns, replay, state)
                     values ($1, $2, $1, $3, '{{{pending}}}', {holes}, '{{{filled}}}', $4, $5, $6)"
                ),
                &[&lane, &self.tenant, &self.position, &patterns, &replay, &self.state],
            )
            .await
            .unwrap();
    }
}

/// Fills the log with so many events of two tenants and four types, captured a second apart. Returns tenant, type and time by id.
async fn fill(plant: &Plant, count: i64) -> BTreeMap<i64, (String, String, String)> {
    plant
        .run(&format!(
            "insert into andon.events (tenant, type, entity_type, entity_id, captured_at)
             select case n % 3 when 0 then 'bolt' else 'acme' end, (array['job.made', 'job.done', 'jobs.made', 'part.made'])[n % 4 + 1],
                 'x', n::text, '2026-01-01 00:00Z'::timestamptz + n * interval '1 second'
             from generate_series(1, {count}) n"
        ))
        .await;
    let rows = plant.client.query("select id, tenant, type, captured_at::text from andon.events", &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2), row.get(3)))).collect()
}

/// Returns `waiting`, `waiting_is_exact` and `oldest` of a lane.
async fn seen(client: &Client, lane: &str) -> (i64, bool, Option<String>) {
    let sql = "select waiting, waiting_is_exact, oldest::text from andon.lane_status where lane = $1";
    let row = client.query_one(sql, &[&lane]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

#[tokio::test]
async fn what_waits_for_a_lane_is_counted_as_by_somebody_who_looks_at_each_event() {
    let plant = Plant::empty().await;
    let log = fill(&plant, 200).await;
    plant
        .run("insert into andon.shared_holes (id, daemon, holes) values (gen_random_uuid(), gen_random_uuid(), '{[40,60)}')")
        .await;
    let lanes = [
        LANE,
        Made { position: 200, ..LANE },
        Made { position: 199, ..LANE },
        Made { position: 100, ..LANE },
        Made { position: 100, tenant: "bolt", ..LANE },
        Made { position: 100, tenant: "*", ..LANE },
        Made { position: 100, tenant: "nobody", ..LANE },
        Made { position: 100, patterns: None, ..LANE },
        Made { position: 100, patterns: Some(&[]), ..LANE },
        Made { position: 100, patterns: Some(&["job.*"]), ..LANE },
        Made { position: 100, patterns: Some(&["job.made", "part.made"]), ..LANE },
        Made { position: 100, patterns: Some(&["job.made", "job.*"]), ..LANE },
        Made { position: 100, pending: &[(7, 8), (20, 31), (99, 101)], ..LANE },
        Made { position: 200, pending: &[(1, 2)], tenant: "*", ..LANE },
        Made { position: 120, shares_holes: true, ..LANE },
        Made { position: 55, shares_holes: true, tenant: "*", pending: &[(3, 9)], ..LANE },
        Made { position: 200, pending: &[(10, 40)], is_replay: true, ..LANE },
        Made { position: 0, pending: &[(10, 40)], is_replay: true, ..LANE },
        Made { position: 100, pending: &[(10, 40)], state: "removed", ..LANE },
        Made { position: 100, state: "disabled", ..LANE },
    ];
    for (number, lane) in lanes.iter().enumerate() {
        lane.write(&plant.client, &format!("andon.webhooks/{number}")).await;
    }

    for (number, lane) in lanes.iter().enumerate() {
        let waiting: Vec<&String> = log
            .iter()
            .filter(|(id, (tenant, event, _))| lane.waits_for(**id) && lane.wants(tenant, event))
            .map(|(_, (.., at))| at)
            .collect();
        let expected = (i64::try_from(waiting.len()).unwrap(), true, waiting.first().map(|at| (*at).clone()));

        assert_eq!(seen(&plant.client, &format!("andon.webhooks/{number}")).await, expected, "{lane:?}");
    }
}

#[tokio::test]
async fn beyond_a_bound_what_waits_is_estimated_and_says_so() {
    let plant = Plant::empty().await;
    fill(&plant, 30_000).await;
    Made { tenant: "*", ..LANE }.write(&plant.client, "andon.webhooks/all").await;
    Made { tenant: "bolt", patterns: Some(&["part.made"]), ..LANE }.write(&plant.client, "andon.webhooks/few").await;
    Made { tenant: "*", position: 25_000, ..LANE }.write(&plant.client, "andon.webhooks/near").await;
    let first = |text: &str| Some(format!("2026-01-01 00:00:{text}+00"));

    assert_eq!(seen(&plant.client, "andon.webhooks/all").await, (30_000, false, first("01")));
    let (few, is_exact, oldest) = seen(&plant.client, "andon.webhooks/few").await;
    assert!((2490..=2510).contains(&few) && !is_exact && oldest == first("03"), "{few} {oldest:?}");
    assert_eq!(seen(&plant.client, "andon.webhooks/near").await.0, 5000);

    // The log has dropped the events that the lanes were at.
    plant.run("delete from andon.events where id <= 20000").await;
    let (waiting, ..) = seen(&plant.client, "andon.webhooks/all").await;
    assert_eq!(waiting, 10_000, "what is gone does not wait");
}

#[tokio::test]
async fn parked_and_dead_deliveries_are_counted_apart_and_for_their_own_lane() {
    let plant = Plant::empty().await;
    fill(&plant, 10).await;
    for lane in ["a", "b"] {
        Made { position: 10, ..LANE }.write(&plant.client, &format!("andon.webhooks/{lane}")).await;
    }
    plant
        .run(
            "insert into andon.deliveries (lane, event, event_id, tenant, type, entity_type, entity_id, occurred_at, context, data, state, attempts, reason, next_attempt_at)
             select 'andon.webhooks/' || lane, n, gen_random_uuid(), 'acme', 'job.made', 'x', n::text, now(), '{}', '{}', state, 1, 'x',
                 case state when 'retry' then now() end
             from (values ('a', 'retry', 3), ('a', 'waiting', 2), ('a', 'dead', 4), ('b', 'dead', 1)) it (lane, state, count),
                 generate_series(1, count) n",
        )
        .await;

    let sql =
        "select string_agg(concat_ws(' ', lane, parked, dead, waiting), ', ' order by lane) from andon.lane_status";
    let found: String = plant.client.query_one(sql, &[]).await.unwrap().get(0);

    assert_eq!(found, "andon.webhooks/a 5 4 0, andon.webhooks/b 0 1 0");
}
