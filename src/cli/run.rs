//! `andon run`. In: the configuration, and signals. Out: a gateway that serves until a signal stops it.

use std::sync::Arc;

use anyhow::Context as _;
use anyhow::bail;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::cli::failure::Failure;
use crate::config::Config;
use crate::database::Database;
use crate::destination::Defaults;
use crate::gateway;
use crate::gateway::Settings;
use crate::migrate;

pub(super) async fn run(config: Config) -> Result<(), Failure> {
    // This comes first: a signal that arrives before it would end the process at once, which is the system's default.
    let mut signals = StopSignals::listen().context("cannot listen for signals")?;
    for warning in &config.warnings {
        tracing::warn!(key = warning.key, "{}", warning.message);
    }
    let database = Database::new(&config.database).map_err(|error| Failure::Usage(error.into()))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), name = config.name, database = database.target(), "starting");
    let settings = Settings {
        database,
        name: config.name,
        grace: config.grace,
        memory: config.log_memory,
        defaults: Defaults {
            mqtt: config.mqtt,
            webhook: config.webhook,
            certificates: config.certificates,
            egress: config.egress,
            keys: config.keys,
        },
        equipment: Arc::new(config.equipment),
        retention: config.retention,
        channel_key: config.channel_key,
    };
    serve(settings, &mut signals).await?;
    tracing::info!("stopped");
    Ok(())
}

async fn serve(settings: Settings, signals: &mut StopSignals) -> anyhow::Result<()> {
    let grace = settings.grace;
    tokio::select! {
        refused = refuse(&settings.database) => refused?,
        name = signals.next() => {
            tracing::info!(signal = name, "stopping");
            return Ok(());
        }
    }
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = Box::pin(gateway::run(settings, async {
        // The sender lives longer than the gateway.
        stopped.await.unwrap_or_default();
    }));
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended,
        name = signals.next() => tracing::info!(signal = name, ?grace, "stopping; deliveries under way may finish"),
    }
    stop.send(()).unwrap_or_default();
    tokio::select! {
        ended = &mut serving => ended,
        name = signals.next() => bail!("stopped at once by a second {name}; what was not acknowledged is sent again at the next start"),
    }
}

/// Ends the process with the reason if no waiting can help, such as a pooler in the wrong mode or a schema that this version cannot work with. A
/// server that is away is waited for. A service manager that starts the process again finds the schema once `andon migrate` has been run.
async fn refuse(database: &Database) -> anyhow::Result<()> {
    match database.connect().await {
        Err(error) if error.is_final() => Err(error.into()),
        Err(_) => Ok(()),
        // A newer schema serves this version too, and a role that may not read which there is finds out what else it lacks.
        Ok(client) => match migrate::pending(&client).await {
            Ok(pending) if !pending.is_empty() => {
                bail!(
                    "{}: schema andon is older than this version, which needs {}; run `andon migrate` as the owner of the schema, and start this again",
                    database.target(),
                    pending.join(", ")
                )
            }
            Ok(_) | Err(_) => Ok(()),
        },
    }
}

/// The signals that stop the gateway.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> std::io::Result<StopSignals> {
        Ok(StopSignals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for a signal, and returns its name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
