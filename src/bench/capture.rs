//! `andon bench capture`: what capture costs the plant. In: how many rounds, how long. Out: commits per second of small transactions and
//! rows per second of large statements on three tables that differ only in their triggers: none, those of a mapping, and one that sends
//! a NOTIFY for each row. It measures triggers, and starts no gateway.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use futures_util::future::poll_fn;
use futures_util::future::try_join_all;
use serde_json::json;
use tokio_postgres::Client;
use tokio_postgres::NoTls;

use crate::bench::Report;
use crate::bench::comparison::Comparison;
use crate::bench::connect;
use crate::migrate;
use crate::rig::Postgres;
use crate::source::Mapping;
use crate::source::attach;

/// How much is measured.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct CaptureBench {
    /// Rounds; the median of each figure counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// How long each crowd of writers works in each round, in milliseconds
    #[arg(long, default_value_t = 1000)]
    spell: u64,

    /// Rows of a large statement
    #[arg(long, default_value_t = 20_000)]
    rows: i64,
}

const VARIANTS: [&str; 3] = ["plain", "captured", "naive"];
const WRITERS: [i64; 3] = [1, 8, 32];

const MAPPING: &str = "
[source]
name = 'bench'
tenant = 'this.tenant'
[[capture]]
table = 'captured'
on = 'update'
of = ['status']
type = 'job.changed'
lookup = [{ alias = 'cell', table = 'cells', on = 'cell.id = this.cell' }]
context = { cell = 'cell.name' }
columns = ['id', 'number', 'status', 'quantity']
data = { old_status = 'old.status' }";

pub(super) async fn capture(options: CaptureBench) -> Result<Report> {
    let postgres =
        tokio::task::spawn_blocking(Postgres::start_durable).await.context("the server's start was given up")??;
    let url = postgres.create_database().await?;
    let owner = prepare(&url, options.rows).await?;
    let _listening = listener(&url).await?;
    let mut crowds: Vec<Vec<Client>> = Vec::new();
    for writers in WRITERS {
        crowds.push(try_join_all((0..writers).map(|_| connect(&url))).await?);
    }
    let mut figures = Comparison::new(&VARIANTS);
    for round in 0..=options.rounds {
        for crowd in &crowds {
            let what = format!("commits/s, writers: {}", crowd.len());
            for variant in VARIANTS {
                figures.note(&what, variant, commits(crowd, variant, Duration::from_millis(options.spell)).await?);
            }
        }
        let what = format!("rows/s, {} rows in a statement", options.rows);
        for variant in VARIANTS {
            figures.note(&what, variant, bulk(&owner, variant, options.rows).await?);
        }
        if round == 0 {
            // Caches and plans are cold in the first round.
            figures.forget();
        }
        // What the round left behind shall not slow the next one down.
        owner.batch_execute("truncate andon.events").await?;
        owner.batch_execute("vacuum plain, captured, naive").await?;
    }
    drop(crowds);
    postgres.stop()?;
    Ok(Report { bench: "capture", comparison: figures, facts: json!({"rounds": options.rounds}) })
}

async fn prepare(url: &str, rows: i64) -> Result<Client> {
    let mut owner = connect(url).await?;
    migrate::migrate(&mut owner).await?;
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
    for variant in VARIANTS {
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
    attach::attach(&mut owner, &Mapping::parse("bench.toml", MAPPING)?).await?;
    Ok(owner)
}

/// Somebody listens, or NOTIFY would cost less than it does.
async fn listener(url: &str) -> Result<Client> {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move { while let Some(Ok(_)) = poll_fn(|context| connection.poll_message(context)).await {} });
    client.batch_execute("listen naive; listen andon").await?;
    Ok(client)
}

/// Commits per second: each writer changes rows of its own, one in a transaction.
async fn commits(crowd: &[Client], variant: &str, spell: Duration) -> Result<f64> {
    let (count, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let change = format!(
        "update {variant} set status = case status when 'waiting' then 'running' else 'waiting' end, quantity = quantity + 1 where id = $1"
    );
    let begun = Instant::now();
    let working = try_join_all((0..).zip(crowd).map(async |(writer, client): (i32, &Client)| {
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

/// Rows per second of one statement that changes them all.
async fn bulk(owner: &Client, variant: &str, rows: i64) -> Result<f64> {
    let begun = Instant::now();
    owner.batch_execute(&format!("update {variant} set status = status || 'x' where id < {rows}")).await?;
    let took = begun.elapsed().as_secs_f64();
    owner
        .batch_execute(&format!(
            "alter table {variant} disable trigger user;
             update {variant} set status = 'waiting';
             alter table {variant} enable trigger user"
        ))
        .await?;
    Ok(rows as f64 / took)
}
