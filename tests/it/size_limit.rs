//! The size limit of the log. In: bursts that overtake the partitions, and destinations that are away. Out: whether the oldest events go
//! first, no more of them than the limit asks for, and whether each lane says exactly how many it lost.

use std::time::Duration;

use andon::settings::Retention;
use serde_json::json;

use crate::support::line::Line;

/// A log of 64 MiB, which holds about a hundred thousand of the events below.
fn small_log() -> Retention {
    Retention { log_size: 64 << 20, ..Retention::default() }
}

impl Line {
    /// Emits so many events of 400 bytes and more in one statement.
    async fn burst(&self, events: i64) {
        self.run(&format!(
            "insert into andon.events (tenant, type, entity_type, entity_id, data)
            select 'acme', 'job.updated', 'job', it::text, jsonb_build_object('note', repeat(md5(it::text), 12)) from generate_series(1, {events}) it;
            select andon.ring()"
        ))
        .await;
    }

    /// Starts a gateway whose only destination is away, and waits until the log is read.
    async fn start_without_destination(&mut self) {
        self.publisher(1, json!({})).await;
        self.start();
        self.until("select count(*) = 1 from andon.lanes").await;
        self.until("select position >= coalesce(pg_sequence_last_value('andon.events_id_seq'), 0) and holes = '{}' from andon.tail")
            .await;
    }

    /// Checks that of so many events the newest are in the log, about as many as the limit allows, and that the others were counted.
    async fn assert_keeps_the_newest(&self, emitted: i64, most: i64) {
        let first = self.number("select min(id) from andon.events").await;
        let last = self.number("select max(id) from andon.events").await;
        let count = self.number("select count(*) from andon.events").await;
        assert_eq!(count, last - first + 1, "no stretch of ids is missing");
        assert_eq!(
            last,
            self.number("select pg_sequence_last_value('andon.events_id_seq')").await,
            "the newest are there"
        );
        assert!((most / 2..=most).contains(&count), "{count} of {most} events stay");
        assert_eq!(self.number("select lost from andon.lanes").await, emitted - count, "what is gone was lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_size_limit_takes_the_oldest_events_and_says_exactly_how_many_were_lost() {
    let mut line = Line::new().await;
    assert_eq!(line.number("select min(low) from andon.log_partitions()").await, 0, "a new log begins in a partition");
    line.start_without_destination().await;
    for _ in 0..17 {
        line.burst(10_000).await;
    }
    line.all_is_read().await;

    line.tidy(&small_log()).await;

    line.assert_keeps_the_newest(170_000, 130_000).await;
    line.stop().await.unwrap();
    assert_eq!(line.number("select count(*) from andon.events_default").await, 0, "it was not overtaken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_beyond_all_partitions_loses_its_oldest_events_and_no_more_than_the_limit_asks_for() {
    let mut line = Line::in_small_partitions().await;
    line.burst(170_000).await;
    let overtook = line.number("select count(*) from andon.events_default").await;
    assert!(overtook > 150_000, "{overtook}");
    line.start_without_destination().await;

    line.tidy(&small_log()).await;

    line.assert_keeps_the_newest(170_000, 130_000).await;
    line.tidy(&Retention { log_size: 0, ..Retention::default() }).await;
    line.stop().await.unwrap();
    assert_eq!(line.number("select count(*) from andon.events_default").await, 0);
    assert_eq!(line.number("select pg_relation_size('andon.events_default')").await, 0, "the room is free");
    assert_eq!(line.number("select lost from andon.lanes").await, 170_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_stretches_in_the_default_partition_the_older_one_goes_first() {
    let mut line = Line::in_small_partitions().await;
    for _ in 0..2 {
        // Each time half of the events find a partition, and the log gets new ones after that.
        line.run("select setval('andon.events_id_seq', (select max(past) - 1001 from andon.log_partitions()))").await;
        line.burst(2000).await;
        line.run("select andon.extend_log(smallest => 100)").await;
    }
    assert_eq!(line.number("select count(*) from only andon.events_default").await, 2000);
    let newest = line.number("select max(id) from andon.events").await;
    line.start_without_destination().await;

    let bytes =
        "select sum(pg_total_relation_size(part))::int8 from (select distinct tableoid as part from andon.events) it";
    let bytes = usize::try_from(line.number(bytes).await).unwrap();
    line.tidy(&Retention { log_size: bytes * 3 / 5, ..Retention::default() }).await;

    let (count, lost) =
        (line.number("select count(*) from andon.events").await, line.number("select lost from andon.lanes").await);
    assert!(lost > 1000 && lost + count == 4000, "a partition and a part of the older stretch: {lost} {count}");
    assert_eq!(line.number(&format!("select count(*) from andon.events where id > {newest} - 2000")).await, 2000);
    assert!(line.number("select count(*) from only andon.events_default").await < 2000);
    line.tidy(&Retention { log_size: bytes / 5, ..Retention::default() }).await;
    let lost = line.number("select lost from andon.lanes").await;
    assert_eq!(line.number("select count(*) from andon.events").await, 4000 - lost);
    assert_eq!(
        line.number(&format!("select count(*) from andon.events where id > {newest} - 500")).await,
        500,
        "the newest stay"
    );
    line.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_made_while_a_burst_goes_on() {
    let mut line = Line::new().await;
    line.start_without_destination().await;
    let end = line.number("select max(past) from andon.log_partitions()").await;
    line.run(&format!("select setval('andon.events_id_seq', {end} * 3 / 4)")).await;

    line.burst(10).await;

    // Housekeeping comes once a minute, which is too late for a burst.
    let made = format!("select max(past) > {end} from andon.log_partitions()");
    tokio::time::timeout(Duration::from_secs(45), line.until(&made)).await.expect("they are made at once");
    line.stop().await.unwrap();
}
