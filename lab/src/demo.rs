//! The demonstration: a simulated plant on real, throw-away servers, and witnesses that judge what arrives. In: which system, how long,
//! how fast. Out: a line for each thing that happens, or one line of JSON, and an exit status that says whether anything was lost or out
//! of order. It uses the gateway as a user would, as a child process, and takes no figure from it.

mod gateway;
mod report;
mod truth;
mod witness;
mod work;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use futures_util::future::try_join_all;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio_util::sync::CancellationToken;

use crate::andon::Andon;
use crate::demo::gateway::Gateway;
use crate::demo::report::Narrator;
use crate::demo::truth::Log;
use crate::demo::truth::Truth;
use crate::demo::witness::Witness;
use crate::duration;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Postgres;
use rig::Receiver;
use rig::Subscriber;
use rig::reference::System;
use rig::reference::plant;
use rig::reference::plant::Outlet;

/// How long to wait at the end for the next of what is still on its way.
const ARRIVAL: Duration = Duration::from_secs(60);

/// Options of `andon-lab demo`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DemoOptions {
    /// System to show: its name, or its mapping, with NAME.schema.sql and NAME.shift.sql beside it
    #[arg(long, default_value = "eryxon", value_name = "NAME or FILE", value_parser = system)]
    source: System,

    /// How long the shift works, such as `10s` or `2m`; until Ctrl-C if not given
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    duration: Option<Duration>,

    /// Events per second
    #[arg(long, default_value_t = 5.0, value_parser = rate)]
    rate: f64,

    /// Print one line of JSON at the end, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

/// Runs the demonstration until its time is over or a signal ends it.
pub(crate) async fn run(options: DemoOptions, andon: &Andon) -> Result<ExitCode> {
    let stop = stop_at_signal()?;
    let ended_early = async {
        stop.cancelled().await;
        Ok(ExitCode::SUCCESS)
    };
    // While the servers start, a signal ends everything at once: there is nothing to judge yet.
    let stage = tokio::select! {
        stage = Stage::set(&options, andon) => stage?,
        code = ended_early => return code,
    };
    stage.play(&options, &stop).await
}

/// The servers and witnesses, ready. The fields end in this order: the gateway first, then what it talks to.
struct Stage {
    gateway: Gateway,
    subscribers: Vec<Subscriber>,
    receiver: Receiver,
    _brokers: Vec<Mosquitto>,
    postgres: Postgres,
    database: String,
    outlets: Vec<Outlet>,
}

impl Stage {
    async fn set(options: &DemoOptions, andon: &Andon) -> Result<Stage> {
        let narrator = Narrator::new(options);
        let system = &options.source;
        narrator.say("starting a throw-away PostgreSQL");
        let postgres = blocking(Postgres::start).await?;
        let database = postgres.create_database().await?;
        narrator.say(&format!("attaching the database of {}", system.name));
        plant::build(&database, system).await?;
        let mut gateway = Gateway::prepare(&database, system, andon).await?;
        let tenants = plant::tenants(&postgres, &database, &system.shift).await?;
        narrator.say("starting a throw-away mosquitto for each tenant");
        let receiver = Receiver::start().await?;
        let brokers = try_join_all(tenants.iter().map(|_| {
            blocking(|| Mosquitto::start(&MosquittoOptions { persistence: true, ..MosquittoOptions::default() }))
        }))
        .await?;
        let subscribers = try_join_all(brokers.iter().map(|broker| Subscriber::start(broker.port()))).await?;
        let outlet = |((number, tenant), broker): ((u32, String), &Mosquitto)| {
            let path = if tenants.len() == 1 { "/andon".to_owned() } else { format!("/andon/{number}") };
            Outlet { tenant, broker: broker.port(), path }
        };
        let outlets: Vec<Outlet> = (1..).zip(tenants.clone()).zip(&brokers).map(outlet).collect();
        plant::direct(&database, system, &outlets, &receiver).await?;
        gateway.start().await?;
        narrator.say("the gateway runs");
        for Outlet { tenant, broker, path } in &outlets {
            let whose = if tenant.is_empty() { "destinations".to_owned() } else { format!("tenant {tenant}") };
            narrator.say(&format!("{whose}: broker 127.0.0.1:{broker}, webhook {}", receiver.url(path)));
        }
        Ok(Stage { gateway, subscribers, receiver, _brokers: brokers, postgres, database, outlets })
    }

    async fn play(mut self, options: &DemoOptions, stop: &CancellationToken) -> Result<ExitCode> {
        let truth = Arc::new(Truth::new(Narrator::new(options)));
        let witness = Witness::new(Arc::clone(&truth), Narrator::new(options));
        let watching = witness.watch(&self.outlets, &self.subscribers, &self.receiver);
        let work_over = stop.child_token();
        let working = work::work(&options.source.shift, &self.database, options.rate, &truth, &work_over);
        let playing = async {
            let (worked, ()) = tokio::join!(working, async {
                match options.duration {
                    Some(duration) => drop(tokio::time::timeout(duration, work_over.cancelled()).await),
                    None => work_over.cancelled().await,
                }
                work_over.cancel();
            });
            worked?;
            Narrator::new(options).say("the shift is over; waiting for what is still on its way");
            // What does not come is judged below, as missing.
            witness.all_arrived(ARRIVAL).await;
            anyhow::Ok(())
        };
        tokio::select! {
            played = playing => played?,
            failed = self.gateway.keep_running() => match failed? {},
            () = watching => unreachable!("a witness watches for ever"),
        }
        let report = report::Report::new(&Log::read(&self.database).await?, &truth, &witness);
        let is_clean = report.print(options.json)?;
        drop(self.gateway);
        self.postgres.stop()?;
        Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A token that the first SIGINT or SIGTERM cancels. A second one ends the process; the rig's servers end with it.
fn stop_at_signal() -> Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if cancelled.is_cancelled() {
                std::process::exit(130);
            }
            cancelled.cancel();
        }
    });
    Ok(stop)
}

async fn blocking<T: Send + 'static>(start: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(start).await.context("a server's start was given up")?
}

fn system(name: &str) -> Result<System, String> {
    System::find(name).map_err(|error| format!("{error:#}"))
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 100_000.0 => Ok(rate),
        _ => Err(format!("`{text}` is not a rate; write events per second, more than 0 and at most 100000")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        demo: DemoOptions,
    }

    #[test]
    fn the_options_are_read() {
        let demo = Command::try_parse_from(["demo", "--for", "1m30s", "--rate", "200", "--json"]).unwrap().demo;

        assert_eq!(demo.duration, Some(Duration::from_secs(90)));
        assert!(demo.json && (demo.rate - 200.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_nonsense_option_says_what_to_write() {
        let duration = Command::try_parse_from(["demo", "--for", "soon"]).err().unwrap().to_string();
        let rate = Command::try_parse_from(["demo", "--rate", "0"]).err().unwrap().to_string();
        let system = Command::try_parse_from(["demo", "--source", "erixon"]).err().unwrap().to_string();

        assert!(duration.contains("`soon` is not a duration"), "{duration}");
        assert!(rate.contains("more than 0"), "{rate}");
        assert!(system.contains("did you mean `eryxon`?"), "{system}");
    }
}
