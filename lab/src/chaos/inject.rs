//! Does the faults. In: one of them, and the stage. Out: the stage broken, and mended when the fault is over. It never judges.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use tokio::time::sleep;

use crate::chaos::cast::DESTINATIONS;
use crate::chaos::fault::Breakage;
use crate::chaos::fault::Change;
use crate::chaos::fault::Fault;
use crate::chaos::fault::Link;
use crate::chaos::fault::Manner;
use crate::chaos::rows;
use crate::chaos::stage;
use crate::chaos::stage::Stage;
use crate::chaos::stage::blocking;
use crate::chaos::truth;
use rig::Mosquitto;
use rig::Proxy;
use rig::receiver::Answer;

/// Breaks something, and returns when it is mended.
pub(super) async fn inject(fault: &Fault, stage: &Stage) -> Result<()> {
    match *fault {
        Fault::KillDaemon { daemon, away } => end_daemon(stage, daemon, Signal::SIGKILL, away).await,
        Fault::StopDaemon { daemon, away } => end_daemon(stage, daemon, Signal::SIGTERM, away).await,
        Fault::PauseDaemon { daemon, pause } => {
            stage.daemons[daemon].signal(Signal::SIGSTOP)?;
            sleep(pause).await;
            stage.daemons[daemon].signal(Signal::SIGCONT)
        }
        Fault::TerminateBackends { daemon } => {
            let sql = format!(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'andon-{}%'",
                daemon + 1
            );
            rows::execute(&stage.database, &sql).await
        }
        Fault::RestartPostgres => {
            let postgres = Arc::clone(&stage.postgres);
            blocking(move || postgres.restart_immediate()).await
        }
        Fault::RestartBroker { broker, away } => end_broker(stage, broker, Mosquitto::stop_term, away).await,
        Fault::KillBroker { broker, away } => end_broker(stage, broker, Mosquitto::kill, away).await,
        Fault::PauseBroker { broker, pause } => {
            stage.brokers[broker].pause()?;
            sleep(pause).await;
            stage.brokers[broker].resume()
        }
        Fault::Link { link, how } => {
            let proxy = match link {
                Link::Database(daemon) => &stage.database_links[daemon],
                Link::Destination(destination) => &stage.links[destination],
            };
            break_link(proxy, how).await
        }
        Fault::Endpoint { webhook, manner, lasts } => {
            let path = format!("/{}", DESTINATIONS[webhook].label);
            stage.receiver.answer(&path, answer(manner));
            sleep(lasts).await;
            stage.receiver.answer(&path, Answer::status(200));
            Ok(())
        }
        Fault::OpenTransaction { events, lasts, commits } => {
            open_transaction(stage, events, lasts, commits).await;
            Ok(())
        }
        Fault::Change { destination, change } => {
            let database = &stage.database;
            match change {
                Change::Edit => stage.rows.edit(destination, database).await,
                Change::Deactivate(away) => {
                    stage.rows.activate(destination, false, database).await?;
                    sleep(away).await;
                    stage.rows.activate(destination, true, database).await
                }
                Change::Delete(away) => {
                    stage.rows.delete(destination, database).await?;
                    sleep(away).await;
                    stage.rows.replace(destination, database).await
                }
            }
        }
        Fault::SlowMachine => Ok(()),
        Fault::DiskFull { table, lasts } => {
            let fill = format!("insert into chaos.full_disks values ('{table}') on conflict do nothing");
            rows::execute(&stage.database, &fill).await?;
            sleep(lasts).await;
            let empty = format!("delete from chaos.full_disks where table_name = '{table}'");
            rows::execute(&stage.database, &empty).await
        }
    }
}

async fn end_daemon(stage: &Stage, daemon: usize, signal: Signal, away: Duration) -> Result<()> {
    let daemon = &stage.daemons[daemon];
    daemon.end(signal).await?;
    sleep(away).await;
    daemon.start().await
}

async fn end_broker(stage: &Stage, broker: usize, end: fn(&Mosquitto) -> Result<()>, away: Duration) -> Result<()> {
    let ended = Arc::clone(&stage.brokers[broker]);
    let started = Arc::clone(&ended);
    blocking(move || end(&ended)).await?;
    sleep(away).await;
    blocking(move || started.start_again()).await
}

async fn break_link(proxy: &Proxy, how: Breakage) -> Result<()> {
    match how {
        Breakage::Cut => proxy.cut(),
        Breakage::CutAfter(bytes) => proxy.cut_after(bytes),
        Breakage::Reset => proxy.reset(),
        Breakage::HalfOpen(gone, _) => proxy.half_open(gone),
        Breakage::Stall(_) => proxy.stall(),
        Breakage::Slow(rate, _) => proxy.slow(Some(rate)),
        Breakage::Refuse(_) => {
            proxy.refuse(true).await?;
            proxy.cut();
        }
    }
    sleep(how.lasts()).await;
    stage::heal(proxy).await
}

fn answer(manner: Manner) -> Answer {
    match manner {
        Manner::Hangs => Answer::hang(),
        Manner::Drops => Answer::drop_connection(),
        Manner::Fails => Answer::status(500),
        Manner::AsksForPatience => Answer::status(429).retry_after("1"),
        Manner::IsSlow => Answer::status(200).after(Duration::from_millis(300)),
    }
}

/// It may fail at any moment, as others do: what became of it is in the database.
async fn open_transaction(stage: &Stage, events: u32, lasts: Duration, commits: bool) {
    let worked = async {
        let client = truth::connect(&stage.database).await?;
        let mark: u64 = rand::random();
        let happen = format!(
            "begin; select count(chaos.happen('bulk' || number % 40, '{mark:016x}-' || number)) from generate_series(1, {events}) number"
        );
        client.batch_execute(&happen).await?;
        sleep(lasts).await;
        client.batch_execute(if commits { "commit" } else { "rollback" }).await?;
        anyhow::Ok(())
    };
    if let Err(error) = worked.await {
        tracing::debug!(error = format!("{error:#}"), "the open transaction failed");
    }
}
