//! `andon-lab bench capture`: what capture costs the plant. In: how many rounds, how long. Out: commits per second of small transactions and
//! rows per second of large statements, on tables that differ only in their triggers. One table has none, one a careful hand-written
//! trigger that fills a log of the same shape and notifies nobody, one the triggers of a mapping without their bell, one the same as they
//! are, and one a trigger that sends a NOTIFY for each row. A large statement is also compared with the same statement followed by an
//! `insert … select` of the same events. It measures triggers, and starts no gateway.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::Result;
use futures_util::future::poll_fn;
use futures_util::future::try_join_all;
use serde_json::json;
use tokio_postgres::Client;
use tokio_postgres::NoTls;

use crate::andon::Andon;
use crate::bench::comparison::Comparison;
use crate::bench::comparison::Goal;
use crate::bench::comparison::Report;
use crate::stage::Stage;
use crate::stage::connect;
use rig::Postgres;

/// How much to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct CaptureBench {
    /// Rounds; the median of each figure counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// How long each group of writers works in each round, in milliseconds
    #[arg(long, default_value_t = 1000)]
    spell: u64,

    /// Rows of a large statement
    #[arg(long, default_value_t = 20_000)]
    rows: i64,
}

const VARIANTS: [&str; 6] = ["plain", "outbox", "silent", "captured", "insert", "naive"];
/// The variants that have a table of their own.
const TABLES: [&str; 5] = ["plain", "outbox", "silent", "captured", "naive"];
const CROWDED: &str = "commits/s, writers: 32";
const INSERT_ALONE: &str = "rows/s, the insert alone";
const WRITERS: [i64; 3] = [1, 8, 32];

const SOURCE: &str = "
[source]
name = 'bench'
tenant = 'this.tenant'";
/// The rest of an entry, which follows the name of its table.
const CAPTURE: &str = "
on = 'update'
of = ['status']
type = 'job.changed'
lookup = [{ alias = 'cell', table = 'cells', on = 'cell.id = this.cell' }]
context = { cell = 'cell.name' }
columns = ['id', 'number', 'status', 'quantity']
data = { old_status = 'old.status' }";

pub(super) async fn capture(options: CaptureBench, andon: &Andon) -> Result<Report> {
    let stage = Stage::start(andon, Postgres::start_durable).await?;
    let url = stage.database().await?;
    let owner = prepare(andon, &url, options.rows).await?;
    let _listening = listener(&url).await?;
    let mut groups: Vec<Vec<Client>> = Vec::new();
    for writers in WRITERS {
        groups.push(try_join_all((0..writers).map(|_| connect(&url))).await?);
    }
    let bulk_rows = format!("rows/s, {} rows in a statement", options.rows);
    let mut figures = Comparison::new(&VARIANTS);
    figures.goal_against(CROWDED, "captured", "silent", Goal::AtLeast(0.95));
    figures.goal_against(CROWDED, "captured", "outbox", Goal::AtLeast(0.95));
    figures.goal(CROWDED, "captured", Goal::AtLeast(0.75));
    figures.goal_against(&bulk_rows, "captured", "insert", Goal::AtLeast(0.8));
    for round in 0..=options.rounds {
        for writers in &groups {
            let what = format!("commits/s, writers: {}", writers.len());
            for table in TABLES {
                figures.note(&what, table, commits(writers, table, Duration::from_millis(options.spell)).await?);
            }
        }
        for table in TABLES {
            figures.note(&bulk_rows, table, bulk(&owner, table, options.rows, "").await?.0);
        }
        let (with_statement, alone) = bulk(&owner, "plain", options.rows, INSERT).await?;
        figures.note(&bulk_rows, "insert", with_statement);
        figures.note(INSERT_ALONE, "insert", alone);
        if round == 0 {
            // Caches and plans are cold in the first round.
            figures.forget();
        }
        // The rows and events of this round must not slow the next one down.
        owner.batch_execute("truncate andon.events, by_hand").await?;
        owner.batch_execute(&format!("vacuum {}", TABLES.join(", "))).await?;
        owner.batch_execute("checkpoint").await?;
    }
    drop(groups);
    stage.stop()?;
    Ok(Report { bench: "capture", comparison: figures, facts: json!({"rounds": options.rounds, "server": "durable"}) })
}

/// Puts the events of a large statement into the log, as an application would do it itself.
const INSERT: &str = "
insert into by_hand (tenant, type, entity_type, entity_id, context, data)
select this.tenant::text, 'job.changed', 'job', this.id::text, jsonb_build_object('cell', cell.name),
    jsonb_build_object('id', this.id, 'number', this.number, 'status', this.status, 'quantity', this.quantity, 'old_status', left(this.status, -1))
from plain as this left join cells as cell on cell.id = this.cell";

/// A careful hand-written trigger. The plant's sessions have no rights on its log, so it runs with the owner's rights, and therefore needs
/// a search path of its own.
const BY_HAND: &str = "
create table by_hand (like andon.events including all) partition by range (id);
create table by_hand_first partition of by_hand for values from (0) to (1000000000);
create table by_hand_default partition of by_hand default;
create function write_by_hand() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into public.by_hand (tenant, type, entity_type, entity_id, context, data)
    select after.tenant::text, 'job.changed', 'job', after.id::text, jsonb_build_object('cell', cell.name),
        jsonb_build_object('id', after.id, 'number', after.number, 'status', after.status, 'quantity', after.quantity,
            'old_status', before.status)
    from new_rows as after join old_rows as before on after.id = before.id left join public.cells as cell on cell.id = after.cell
    where after.status <> before.status;
    return null;
end $$;
create trigger write_by_hand after update on outbox referencing old table as old_rows new table as new_rows
    for each statement execute function write_by_hand();";

/// Makes partitions, which the gateway would keep ready. Without them all events would go to the default partition, where each statement
/// has to check that no other partition should hold them.
const AHEAD: &str = "
select setval(pg_get_serial_sequence('andon.events', 'id'), (select max(past) - 1 from andon.log_partitions()));
select andon.extend_log(smallest => 1000000);";

/// Removes the bell from a function that `andon attach` has made.
const SILENCE: &str = "
do $$
declare
    loud   text := pg_get_functiondef('andon.capture_bench_silent'::regproc);
    silent text := replace(loud, 'if found then', 'if false then');
begin
    assert silent <> loud, 'the bell is not where it was';
    execute silent;
end $$";

async fn prepare(andon: &Andon, url: &str, rows: i64) -> Result<Client> {
    let owner = connect(url).await?;
    owner
        .batch_execute(
            "create table cells (id int primary key, name text not null);
             insert into cells select n, 'Cell ' || n from generate_series(0, 9) n;
             create function tell() returns trigger language plpgsql as $$
             begin
                 perform pg_notify('naive', jsonb_build_object('event', 'job.changed', 'id', new.id, 'number', new.number,
                     'status', new.status, 'old_status', old.status, 'quantity', new.quantity,
                     'cell', (select name from cells where id = new.cell))::text);
                 return null;
             end $$",
        )
        .await?;
    for variant in TABLES {
        owner
            .batch_execute(&format!(
                "create table {variant} (id int primary key, tenant int not null default 1, cell int not null, number text not null,
                                         status text not null default 'waiting', quantity int not null default 0)
                     with (fillfactor = 50);
                 insert into {variant} (id, cell, number) select n, n % 10, 'J-' || n from generate_series(0, {rows} - 1) n"
            ))
            .await?;
    }
    let trigger = "create trigger tell after update of status on naive for each row execute function tell()";
    owner.batch_execute(trigger).await?;
    owner.batch_execute(BY_HAND).await?;
    owner.batch_execute(AHEAD).await?;
    let captures = ["captured", "silent"].map(|table| format!("\n[[capture]]\ntable = '{table}'{CAPTURE}"));
    andon.attach(url, &format!("{SOURCE}{}", captures.concat())).await?;
    owner.batch_execute(SILENCE).await?;
    Ok(owner)
}

/// Makes a session that listens, because NOTIFY costs less when nobody does.
async fn listener(url: &str) -> Result<Client> {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move { while let Some(Ok(_)) = poll_fn(|context| connection.poll_message(context)).await {} });
    client.batch_execute("listen naive; listen andon").await?;
    Ok(client)
}

/// Returns the commits per second when each writer changes rows of its own, one in a transaction.
async fn commits(writers: &[Client], variant: &str, spell: Duration) -> Result<f64> {
    let (count, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let change = format!(
        "update {variant} set status = case status when 'waiting' then 'running' else 'waiting' end, quantity = quantity + 1 where id = $1"
    );
    let begun = Instant::now();
    let working = try_join_all((0..).zip(writers).map(async |(writer, client): (i32, &Client)| {
        let change = client.prepare(&change).await?;
        let mut turn = 0;
        while !is_over.load(Ordering::Relaxed) {
            client.execute(&change, &[&(writer * 100 + turn % 100)]).await?;
            count.fetch_add(1, Ordering::Relaxed);
            turn += 1;
        }
        anyhow::Ok(())
    }));
    let clock = async {
        tokio::time::sleep(spell).await;
        is_over.store(true, Ordering::Relaxed);
    };
    let (worked, ()) = tokio::join!(working, clock);
    worked?;
    Ok(count.into_inner() as f64 / begun.elapsed().as_secs_f64())
}

/// Returns the rows per second of one statement that changes all rows together with what follows it in the same transaction, and of the
/// part that follows alone.
async fn bulk(owner: &Client, variant: &str, rows: i64, then: &str) -> Result<(f64, f64)> {
    let begun = Instant::now();
    owner.batch_execute(&format!("begin; update {variant} set status = status || 'x' where id < {rows}")).await?;
    let half = Instant::now();
    owner.batch_execute(&format!("{then}; commit")).await?;
    let (took, alone) = (begun.elapsed().as_secs_f64(), half.elapsed().as_secs_f64());
    owner
        .batch_execute(&format!(
            "alter table {variant} disable trigger user;
             update {variant} set status = 'waiting';
             alter table {variant} enable trigger user"
        ))
        .await?;
    Ok((rows as f64 / took, rows as f64 / alone))
}
