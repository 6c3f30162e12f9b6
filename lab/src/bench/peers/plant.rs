//! The plant of the peers bench: machines that report, with a hundred rows in a transaction. In: how many reports, and which side's intake.
//! Out: SQL that makes the same event for each side, and the moment of the first commit. The bodies of the peers are made like those of
//! Andon, so that all carry the same bytes on the same topics.

use std::time::Instant;

use anyhow::Context as _;
use anyhow::Result;
use futures_util::future::try_join_all;
use tokio_postgres::Client;

use crate::stage::Stage;
use crate::stage::connect;

/// Rows in a transaction, except for an import.
pub(super) const PORTION: i64 = 100;

/// The plant's own table, which Andon and Node-RED both use.
pub(super) const TABLE: &str = "create table reports (
    id bigint primary key generated always as identity,
    machine int not null, cell text not null, job_number text not null, operator text not null,
    quantity int not null, scrap int not null, note text not null)";

/// The mapping, which says what Andon makes of a report.
pub(super) const MAPPING: &str = "
[source]
name = 'bench'
tenant = \"'acme'\"
[[capture]]
table = 'reports'
on = 'insert'
type = 'machine.reported'
entity_id = 'new.machine'
context = { cell = 'new.cell' }
columns = ['job_number', 'operator', 'quantity', 'scrap', 'note']";

/// Returns the SQL that makes the JSON of the row `report`, which is the body that a peer sends.
pub(super) fn body(report: &str) -> String {
    format!(
        r#"format('{{"id":"%s","type":"machine.reported","timestamp":"%s","tenant":"acme","entity":{{"type":"machine","id":"%s"}},"context":%s,"data":%s}}',
            gen_random_uuid(), to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), {report}.machine,
            jsonb_build_object('cell', {report}.cell),
            jsonb_build_object('job_number', {report}.job_number, 'operator', {report}.operator, 'quantity', {report}.quantity,
                'scrap', {report}.scrap, 'note', {report}.note))"#
    )
}

/// Returns the SQL for reports number `$1` to `$2`. Their bodies have 500 bytes or a few more.
pub(super) fn reports() -> &'static str {
    "select (n % 1000)::int as machine, 'cell_' || n % 40 as cell, 'J-' || 100000 + n % 900000 as job_number,
        'operator ' || n % 90 as operator, (n % 500)::int as quantity, (n % 7)::int as scrap, repeat('x', 209) as note
    from generate_series($1::bigint, $2::bigint) n"
}

/// Returns the SQL that puts reports into the plant's table.
pub(super) fn insert() -> String {
    format!("insert into reports (machine, cell, job_number, operator, quantity, scrap, note) {}", reports())
}

/// Makes a database with schema `andon`, the plant's table and its triggers.
pub(super) async fn attached(stage: &Stage) -> Result<String> {
    let database = stage.database().await?;
    let owner = connect(&database).await?;
    owner.batch_execute(TABLE).await?;
    stage.andon.attach(&database, MAPPING).await?;
    Ok(database)
}

/// Commits `events` reports, `portion` of them in a transaction, and returns when the first transaction was committed.
pub(super) async fn work(writers: &[Client], statement: &str, events: i64, portion: i64) -> Result<Instant> {
    let count = writers.len() as i64;
    let firsts = try_join_all((0..).zip(writers).map(async |(writer, client): (i64, &Client)| {
        let statement = client.prepare(statement).await?;
        let mut first = None;
        for start in (0..events).step_by(portion as usize).filter(|start| start / portion % count == writer) {
            let end = (start + portion).min(events);
            client.execute(&statement, &[&(start + 1), &end]).await?;
            first.get_or_insert_with(Instant::now);
        }
        anyhow::Ok(first)
    }));
    firsts.await?.into_iter().flatten().min().context("no events were asked for; give --events a number above 0")
}
