//! A lane serves one destination. In: the destination, and the lane's stored cursor. Out: a future that delivers until it is asked to stop.
//! A lane has its own cursor, window, order, retries and breaker; it never waits for another lane, nor makes one wait.

mod catch_up;
mod delivery;
pub mod file_reads;
pub mod intake;
pub mod mqtt;
pub mod progress;
mod repeats;
mod retries;
pub mod stop;
pub mod store;
mod trouble;
pub mod webhook;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::watch;
use uuid::Uuid;

use crate::clock::Clock;
use crate::destination::Destination;
use crate::destination::DestinationRow;
use crate::destination::LaneName;
use crate::destination::Replay;
use crate::destination::Target;
use crate::event::Entity;
use crate::feed::Feed;
use crate::lane::file_reads::FileReads;
use crate::lane::intake::Intake;
use crate::lane::mqtt::MqttLane;
use crate::lane::mqtt::message::MessageBuilder;
use crate::lane::progress::Progress;
use crate::lane::retries::Retries;
use crate::lane::stop::Ended;
use crate::lane::stop::Stop;
use crate::lane::store::Stores;
use crate::lane::store::enlist::Enlisted;
use crate::lane::store::error::Lost;
use crate::lane::store::error::StoreError;
use crate::lane::store::row::LaneRow;
use crate::lane::store::state::State;
use crate::lane::webhook::WebhookLane;
use crate::lane::webhook::attempt::WebhookClient;
use crate::log::reader::Reader;
use crate::router::Route;
use crate::settings::Order;
use crate::topic::Equipment;

/// The handles and settings that the lanes of a daemon share.
#[derive(Debug, Clone)]
pub struct LaneContext {
    /// The identity of this daemon among those that serve the database.
    pub daemon_id: Uuid,
    /// The name of this gateway, on its status topics.
    pub gateway_name: String,
    /// Where cursors, states and parked deliveries are written.
    pub stores: Stores,
    /// Connections for lanes that read the log themselves.
    pub log: Pool,
    /// Where live events come from.
    pub feed: Arc<Feed>,
    /// Counts how often somebody changed parked deliveries by hand.
    pub ledger_changes: watch::Receiver<u64>,
    /// The database's time.
    pub database_clock: Clock,
    /// Where files that rows name are read.
    pub files: FileReads,
    /// The levels of a topic above each cell.
    pub equipment: Arc<Equipment>,
}

/// A lane that is about to deliver.
type Running = Pin<Box<dyn Future<Output = Result<Ended, Lost>> + Send>>;

/// What a lane sends with.
enum Outlet {
    Mqtt(Box<MessageBuilder>),
    Webhook(Box<WebhookClient>),
}

/// How soon the ledger is asked again that did not answer when a lane started.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Serves a destination from its lane's cursor until it is asked to stop. A destination that is disabled, paused or misconfigured gets
/// nothing, and its cursor stays where it is: the supervisor stops the lane when the row has changed.
pub fn serve(
    listed: DestinationRow,
    enlisted: Enlisted,
    context: Arc<LaneContext>,
    mut stop: Stop,
) -> impl Future<Output = Result<Ended, Lost>> + Send {
    // What a lane needs to open is large, and given back before the lane runs, which may be for years.
    let opening = Box::pin(open(listed, enlisted, context, stop.clone()));
    async move {
        let ended = match opening.await? {
            Some(running) => running.await?,
            None => Ended::Disabled,
        };
        if ended == Ended::Disabled {
            // It does nothing until its row changes and the supervisor stops it. A stop that came while it was ending is seen here too.
            stop.asked().await;
        }
        Ok(Ended::Stopped)
    }
}

/// Makes a lane that is ready to run. There is none if nothing is to be sent to its destination.
async fn open(
    listed: DestinationRow,
    enlisted: Enlisted,
    context: Arc<LaneContext>,
    mut stop: Stop,
) -> Result<Option<Running>, Lost> {
    let Some(destination) = destination(&listed.lane, listed.usable, listed.is_paused, enlisted.disabled.as_deref())
    else {
        return Ok(None);
    };
    let row = enlisted.row.clone();
    let mut held = Vec::new();
    if enlisted.has_parked {
        held = tokio::select! {
            biased;
            _ = stop.asked() => return Ok(None),
            held = insist(&row, || row.resume_held(&destination.route)) => held?,
        };
    }
    let Destination { route, name, target } = destination;
    let order = match &target {
        Target::Mqtt(publisher) => publisher.order,
        Target::Webhook(webhook) => webhook.order,
    };
    let outlet = tokio::select! {
        biased;
        _ = stop.asked() => return Ok(None),
        outlet = outlet(&listed.lane, target, &context) => outlet,
    };
    match outlet {
        Ok(outlet) => {
            let parts = Parts { name, route, order, replay: listed.replay, enlisted, held, outlet };
            Ok(Some(prepare(parts, &context, stop)))
        }
        Err(problem) => {
            let reason = format!("{problem:#}");
            tracing::error!(lane = %listed.lane, reason, "misconfigured: its events wait in the log");
            let state = State::Misconfigured(reason);
            tokio::select! {
                biased;
                _ = stop.asked() => {}
                reported = insist(&row, || row.report(&state)) => reported?,
            }
            Ok(None)
        }
    }
}

/// Returns the destination if events are to be sent to it now, and otherwise logs why not.
fn destination(
    lane: &LaneName,
    usable: Result<Destination, Vec<String>>,
    is_paused: bool,
    disabled: Option<&str>,
) -> Option<Destination> {
    if let Some(reason) = disabled {
        tracing::warn!(%lane, reason, "stays disabled until its row is changed");
        return None;
    }
    match usable {
        Ok(_) if is_paused => {
            tracing::info!(%lane, "paused: its events wait in the log");
            None
        }
        Ok(destination) => Some(destination),
        Err(reasons) => {
            for reason in reasons {
                tracing::error!(%lane, reason, "misconfigured: its events wait in the log");
            }
            None
        }
    }
}

/// Reads or writes the lane's part of the database, again and again until the database does it.
async fn insist<T, Work>(row: &LaneRow, work: impl Fn() -> Work) -> Result<T, Lost>
where
    Work: Future<Output = Result<T, StoreError>>,
{
    let mut is_told = false;
    loop {
        match work().await {
            Ok(done) => return Ok(done),
            Err(StoreError::Lost(lost)) => return Err(lost),
            Err(StoreError::Database(error)) => {
                if !std::mem::replace(&mut is_told, true) {
                    let error = format!("{:#}", anyhow::Error::new(error));
                    tracing::warn!(lane = %row.lane(), error, "the lane cannot start yet; trying again");
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    }
}

/// Prepares what a lane sends with. Its row may name files, which are read aside: where a disk does not answer, only those wait who need it.
async fn outlet(lane: &LaneName, target: Target, context: &LaneContext) -> anyhow::Result<Outlet> {
    let names_files = match &target {
        Target::Mqtt(publisher) => publisher.certificates.name_files(),
        Target::Webhook(webhook) => webhook.certificates.name_files(),
    };
    let make = {
        let (lane, gateway, clock) = (lane.clone(), context.gateway_name.clone(), context.database_clock.clone());
        let equipment = Arc::clone(&context.equipment);
        move || match target {
            Target::Mqtt(publisher) => {
                MessageBuilder::new(*publisher, &lane, &gateway, equipment).map(|it| Outlet::Mqtt(Box::new(it)))
            }
            Target::Webhook(webhook) => {
                WebhookClient::new(*webhook, lane.key(), clock).map(|it| Outlet::Webhook(Box::new(it)))
            }
        }
    };
    if names_files { context.files.wait_for(make).await.flatten() } else { make() }
}

/// All that makes a lane.
struct Parts {
    name: String,
    route: Route<LaneName>,
    order: Order,
    replay: Option<Replay>,
    enlisted: Enlisted,
    held: Vec<Entity>,
    outlet: Outlet,
}

fn prepare(parts: Parts, context: &LaneContext, stop: Stop) -> Running {
    let Parts { name, route, order, replay, enlisted, held, outlet } = parts;
    let Enlisted { row, position, pending, open, has_parked, is_failing, .. } = enlisted;
    let reader = Reader::new(context.log.clone(), route.tenant.clone());
    let intake = Intake::new(Arc::clone(&context.feed), route.clone(), reader, position, pending);
    let is_replay = replay.is_some();
    let intake = match replay {
        Some(replay) => intake.for_replay(replay.events),
        None => intake,
    };
    let progress = Progress::new(row, intake, open, is_failing);
    let memory = Arc::clone(context.feed.memory());
    let retries = Retries::new(route, context.ledger_changes.clone(), order, memory, has_parked);
    match outlet {
        Outlet::Mqtt(messages) => {
            let messages = if is_replay { messages.for_replay() } else { *messages };
            Box::pin(MqttLane::new(name, messages, progress, retries).run(stop))
        }
        Outlet::Webhook(client) => {
            let client = if is_replay { client.for_replay() } else { *client };
            Box::pin(WebhookLane::new(name, client, progress, retries, held).run(stop))
        }
    }
}
