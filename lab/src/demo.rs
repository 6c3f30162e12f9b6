//! The demonstration: a simulated plant on real, throw-away servers, and a judgement of what arrives. In: which system, how long, how
//! fast. Out: a line for each thing that happens, or one line of JSON, and an exit status that says whether anything was lost or out of
//! order. It runs the gateway as a child process, as a user would, and takes no figure from it.

mod committed;
mod narrator;
mod received;
mod report;
mod work;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use futures_util::future::try_join_all;
use rig::Daemon;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Postgres;
use rig::Receiver;
use rig::Subscriber;
use rig::process::State;
use rig::reference::System;
use rig::reference::plant;
use rig::reference::plant::Outlet;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio_util::sync::CancellationToken;

use crate::andon::Andon;
use crate::demo::committed::Committed;
use crate::demo::committed::Log;
use crate::demo::narrator::Narrator;
use crate::demo::received::Received;
use crate::duration;
use crate::stage;
use crate::stage::Stage;
use crate::witness::Witness;

/// How many times the gateway may end in a row without a signal.
const FAULTS_IN_A_ROW: u32 = 3;
/// How long to wait at the end for the next of the events that are still on their way.
const ARRIVAL: Duration = Duration::from_secs(60);

/// Options of `andon-lab demo`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DemoOptions {
    /// System to show: its name, or its mapping, with NAME.schema.sql and NAME.shift.sql next to it
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

impl DemoOptions {
    fn narrator(&self) -> Narrator {
        Narrator::new(self.json, self.rate)
    }
}

/// Runs the demonstration until its time is over or a signal ends it.
pub(crate) async fn run(options: DemoOptions, andon: &Andon) -> Result<ExitCode> {
    let stop = stop_at_signal()?;
    let ended_early = async {
        stop.cancelled().await;
        Ok(ExitCode::SUCCESS)
    };
    // While the servers start, a signal ends everything at once: there is nothing to judge yet.
    let demo = tokio::select! {
        demo = Demo::prepare(&options, andon) => demo?,
        code = ended_early => return code,
    };
    demo.play(&options, &stop).await
}

/// The role that the gateway has, as README.md advises.
const ROLE: &str = "andon_run";

/// Everything that runs during the demonstration. The fields end in this order: the gateway first, then what it talks to.
struct Demo {
    gateway: Daemon,
    subscribers: Vec<Subscriber>,
    receiver: Receiver,
    _brokers: Vec<Mosquitto>,
    stage: Stage,
    database: String,
    outlets: Vec<Outlet>,
}

impl Demo {
    async fn prepare(options: &DemoOptions, andon: &Andon) -> Result<Demo> {
        let narrator = options.narrator();
        let system = &options.source;
        narrator.say("starting a throw-away PostgreSQL");
        let stage = Stage::start(andon, Postgres::start).await?;
        let database = stage.database().await?;
        narrator.say(&format!("attaching the database of {}", system.name));
        plant::build(&database, system).await?;
        andon.attach(&database, &system.mapping).await?;
        let tenants = plant::tenants(&stage.postgres, &database, &system.shift).await?;
        narrator.say("starting a throw-away mosquitto for each tenant");
        let receiver = Receiver::start().await?;
        let options = MosquittoOptions { persistence: true, ..MosquittoOptions::default() };
        let brokers = try_join_all(tenants.iter().map(|_| stage::broker(options.clone()))).await?;
        let subscribers = try_join_all(brokers.iter().map(|broker| Subscriber::start(broker.port()))).await?;
        let outlet = |((number, tenant), broker): ((u32, String), &Mosquitto)| {
            let path = if tenants.len() == 1 { "/andon".to_owned() } else { format!("/andon/{number}") };
            Outlet { tenant, broker: broker.port(), path }
        };
        let outlets: Vec<Outlet> = (1..).zip(tenants.clone()).zip(&brokers).map(outlet).collect();
        plant::direct(&database, system, &outlets, &receiver).await?;
        stage::connect(&database).await?.batch_execute(&andon.grants(ROLE).await?).await.context("cannot grant")?;
        let gateway = andon.start(&database.replace("//postgres@", &format!("//{ROLE}@"))).await?;
        eprintln!("gateway: pid {}", gateway.running()?);
        tokio::select! {
            ready = gateway.ready() => ready?,
            failed = keep_running(&gateway) => failed?,
        }
        narrator.say("the gateway runs");
        for Outlet { tenant, broker, path } in &outlets {
            let whose = if tenant.is_empty() { "destinations".to_owned() } else { format!("tenant {tenant}") };
            narrator.say(&format!("{whose}: broker 127.0.0.1:{broker}, webhook {}", receiver.url(path)));
        }
        Ok(Demo { gateway, subscribers, receiver, _brokers: brokers, stage, database, outlets })
    }

    async fn play(self, options: &DemoOptions, stop: &CancellationToken) -> Result<ExitCode> {
        let committed = Arc::new(Committed::new(options.narrator()));
        let received = Received::new(Arc::clone(&committed), options.narrator());
        let witness = Witness::new(&self.subscribers, &self.receiver);
        let work_over = stop.child_token();
        let working = work::work(&options.source.shift, &self.database, options.rate, &committed, &work_over);
        let playing = async {
            let (worked, ()) = tokio::join!(working, async {
                match options.duration {
                    Some(duration) => drop(tokio::time::timeout(duration, work_over.cancelled()).await),
                    None => work_over.cancelled().await,
                }
                work_over.cancel();
            });
            worked?;
            options.narrator().say("the shift is over; waiting for what is still on its way");
            // An event that does not come is judged below, as missing.
            received.all_arrived(ARRIVAL).await;
            anyhow::Ok(())
        };
        tokio::select! {
            played = playing => played?,
            failed = keep_running(&self.gateway) => failed?,
            () = received.watch(&self.outlets, witness, &self.receiver) => unreachable!("a witness never ends"),
        }
        let report = report::Report::new(&Log::read(&self.database).await?, &committed, &received);
        let is_clean = report.print(options.json)?;
        drop(self.gateway);
        self.stage.stop()?;
        Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Starts the gateway again whenever it ends. A visitor may kill it as often as they like, but several faults of its own in a row end
/// the demonstration.
async fn keep_running(gateway: &Daemon) -> Result<()> {
    let mut faults = 0;
    let saw = |state| {
        match state {
            State::Ended(status) => {
                faults = if status > 128 { 0 } else { faults + 1 };
                if faults == FAULTS_IN_A_ROW {
                    bail!("the gateway ended {faults} times in a row:\n{}", gateway.log_tail());
                }
                eprintln!("gateway: {}; starting it again", how(status));
            }
            State::Running(pid) => eprintln!("gateway: pid {pid}"),
            State::New => {}
        }
        Ok(())
    };
    gateway.supervise(Duration::ZERO, saw).await
}

fn how(status: i32) -> String {
    if status > 128 { format!("killed by signal {}", status - 128) } else { format!("ended with status {status}") }
}

/// Returns a token that the first SIGINT or SIGTERM cancels. A second signal ends the process, and the rig's servers with it.
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
