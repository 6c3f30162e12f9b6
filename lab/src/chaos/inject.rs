//! Carries out faults. In: a fault and the line. Out: the line is broken, and mended when the fault is over. It judges nothing.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use tokio::time::sleep;

use crate::chaos::destination_rows;
use crate::chaos::destinations::DESTINATIONS;
use crate::chaos::fault::Breakage;
use crate::chaos::fault::Change;
use crate::chaos::fault::Fault;
use crate::chaos::fault::Link;
use crate::chaos::fault::Manner;
use crate::chaos::line;
use crate::chaos::line::Line;
use crate::chaos::mistake::MISTAKES;
use crate::chaos::mistake::Mistake;
use crate::stage::blocking;
use crate::stage::connect;
use rig::Mosquitto;
use rig::Postgres;
use rig::Proxy;
use rig::receiver::Answer;

/// Breaks something, and returns when it is mended.
pub(super) async fn inject(fault: &Fault, line: &Line) -> Result<()> {
    match *fault {
        Fault::KillDaemon { daemon, away } => end_daemon(line, daemon, Signal::SIGKILL, away).await,
        Fault::StopDaemon { daemon, away } => end_daemon(line, daemon, Signal::SIGTERM, away).await,
        Fault::PauseDaemon { daemon, pause } => {
            line.daemons[daemon].pause()?;
            sleep(pause).await;
            line.daemons[daemon].resume()
        }
        Fault::TerminateBackends { daemon } => {
            let sql = format!(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'andon-{}%'",
                daemon + 1
            );
            destination_rows::execute(&line.database, &sql).await
        }
        Fault::RestartPostgres => {
            let primary = line.primary.lock().await;
            restart(&primary).await
        }
        Fault::LoseWrites { lasts } => lose_writes(line, lasts).await,
        Fault::Promote { lag } => promote(line, lag).await,
        Fault::RestartBroker { broker, away } => end_broker(line, broker, Mosquitto::stop_term, away).await,
        Fault::KillBroker { broker, away } => end_broker(line, broker, Mosquitto::kill, away).await,
        Fault::PauseBroker { broker, pause } => {
            line.brokers[broker].pause()?;
            sleep(pause).await;
            line.brokers[broker].resume()
        }
        Fault::Link { link, how } => {
            let proxy = match link {
                Link::Database(daemon) => &line.database_links[daemon],
                Link::Destination(destination) => &line.links[destination],
            };
            break_link(proxy, how).await
        }
        Fault::Endpoint { webhook, manner, lasts } => {
            let path = format!("/{}", DESTINATIONS[webhook].label);
            line.receiver.answer(&path, answer(manner));
            sleep(lasts).await;
            line.receiver.answer(&path, Answer::status(200));
            Ok(())
        }
        Fault::OpenTransaction { events, lasts, commits } => {
            open_transaction(line, events, lasts, commits).await;
            Ok(())
        }
        Fault::Change { destination, change } => {
            let database = &line.database;
            match change {
                Change::Edit => line.rows.edit(destination, database).await,
                Change::Deactivate(away) => {
                    line.rows.activate(destination, false, database).await?;
                    sleep(away).await;
                    line.rows.activate(destination, true, database).await
                }
                Change::Delete(away) => {
                    line.rows.delete(destination, database).await?;
                    sleep(away).await;
                    line.rows.replace(destination, database).await
                }
            }
        }
        Fault::Mistake { mistake, lasts } => make(mistake, lasts, line).await,
        Fault::Hostile { malice, lasts } => {
            line.hostile.set(Some(malice));
            sleep(lasts).await;
            line.hostile.set(None);
            Ok(())
        }
        Fault::UnreadableEvent { moment } => {
            let insert = format!(
                "insert into andon.events (tenant, type, entity_type, entity_id, occurred_at)
                 values ('acme', 'job.updated', 'job', 'e0', '{moment}')"
            );
            destination_rows::execute(&line.database, &insert).await
        }
        Fault::SlowMachine => Ok(()),
        Fault::DiskFull { table, lasts } => {
            let fill = format!("insert into chaos.full_disks values ('{table}') on conflict do nothing");
            destination_rows::execute(&line.database, &fill).await?;
            sleep(lasts).await;
            let empty = format!("delete from chaos.full_disks where table_name = '{table}'");
            destination_rows::execute(&line.database, &empty).await
        }
    }
}

async fn end_daemon(line: &Line, daemon: usize, signal: Signal, away: Duration) -> Result<()> {
    let daemon = &line.daemons[daemon];
    daemon.end(signal).await?;
    sleep(away).await;
    daemon.start().await.map(drop)
}

async fn restart(postgres: &Arc<Postgres>) -> Result<()> {
    let postgres = Arc::clone(postgres);
    blocking(move || postgres.restart_immediate()).await
}

/// Lets the server confirm commits before they are on the disk, and crashes it. It writes them itself only every ten seconds meanwhile.
async fn lose_writes(line: &Line, lasts: Duration) -> Result<()> {
    let primary = line.primary.lock().await;
    for setting in ["synchronous_commit to off", "wal_writer_delay to '10s'"] {
        destination_rows::execute(&line.database, &format!("alter system set {setting}")).await?;
    }
    destination_rows::execute(&line.database, "select pg_reload_conf()").await?;
    sleep(lasts).await;
    restart(&primary).await?;
    destination_rows::execute(&line.database, "alter system reset all").await?;
    destination_rows::execute(&line.database, "select pg_reload_conf()").await?;
    put_right(line).await
}

/// Copies the primary, lets the copy fall behind, crashes the primary, and puts the copy in its place.
async fn promote(line: &Line, lag: Duration) -> Result<()> {
    let mut primary = line.primary.lock().await;
    let copied = Arc::clone(&primary);
    let standby = Arc::new(blocking(move || copied.start_standby()).await?);
    standby.stop_following(&primary).await?;
    sleep(lag).await;
    let ended = Arc::clone(&primary);
    blocking(move || ended.crash()).await?;
    standby.promote().await?;
    line.entrance.redirect(standby.port());
    line.entrance.cut();
    *primary = standby;
    // The standby was told to follow nobody, and its copy would tell that to standbys of its own.
    destination_rows::execute(&line.database, "alter system reset all").await?;
    put_right(line).await
}

async fn end_broker(line: &Line, broker: usize, end: fn(&Mosquitto) -> Result<()>, away: Duration) -> Result<()> {
    let ended = Arc::clone(&line.brokers[broker]);
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
    line::heal(proxy).await
}

/// Makes a mistake and puts it right. A lock may be lost with its connection before its time.
async fn make(mistake: Mistake, lasts: Duration, line: &Line) -> Result<()> {
    let (wrong, right) = mistake.statements();
    if mistake.is_held() {
        let held = async {
            let client = connect(&line.database).await?;
            client.batch_execute(&wrong).await?;
            sleep(lasts).await;
            client.batch_execute(&right).await?;
            anyhow::Ok(())
        };
        if let Err(error) = held.await {
            tracing::debug!(error = format!("{error:#}"), "the lock was lost");
        }
        return Ok(());
    }
    destination_rows::execute(&line.database, &wrong).await?;
    sleep(lasts).await;
    destination_rows::execute(&line.database, &right).await
}

/// Puts all mistakes right again and empties all disks, because the database may have lost that somebody did.
async fn put_right(line: &Line) -> Result<()> {
    for mistake in MISTAKES.into_iter().filter(|mistake| !mistake.is_held()) {
        destination_rows::execute(&line.database, &mistake.statements().1).await?;
    }
    destination_rows::execute(&line.database, "delete from chaos.full_disks").await
}

fn answer(manner: Manner) -> Answer {
    match manner {
        Manner::Hangs => Answer::hang(),
        Manner::Drops => Answer::drop_connection(),
        Manner::Fails => Answer::status(500),
        Manner::AsksForPatience => Answer::status(429).retry_after("1"),
        Manner::IsSlow => Answer::status(200).after(Duration::from_millis(300)),
        Manner::HasASlowBody => Answer::slow_body(200, Duration::from_millis(700)),
        Manner::NeverComesToItsAnswer => Answer::endless_interim(),
    }
}

/// Keeps a transaction with many events open. It may fail at any moment, like that of any writer; the database knows how it ended.
async fn open_transaction(line: &Line, events: u32, lasts: Duration, commits: bool) {
    let worked = async {
        let client = connect(&line.database).await?;
        let mark: u64 = rand::random();
        client.batch_execute("begin").await?;
        // They come two by two, so that what others commit meanwhile makes holes of them.
        let mut clock = tokio::time::interval(lasts / events);
        for number in (1..=events).step_by(2) {
            clock.tick().await;
            let happen = format!(
                "select count(chaos.happen('bulk' || number % 40, '{mark:016x}-' || number)) from generate_series({number}, {number} + 1) number"
            );
            client.batch_execute(&happen).await?;
        }
        sleep(lasts / 2).await;
        client.batch_execute(if commits { "commit" } else { "rollback" }).await?;
        anyhow::Ok(())
    };
    if let Err(error) = worked.await {
        tracing::debug!(error = format!("{error:#}"), "the open transaction failed");
    }
}
