//! A lane: what serves one destination. In: a destination, and the lane's stored cursor. Out: a task that delivers until it is asked
//! to stop. A lane has its own cursor, window, order, retries and breaker; it never waits for another lane, nor makes one wait.

pub mod breaker;
pub mod intake;
pub mod mqtt;
pub mod order;
mod pace;
pub mod progress;
mod retries;
pub mod stop;
pub mod store;
pub mod webhook;

use std::sync::Arc;

use deadpool_postgres::Pool;
use tokio::sync::watch;
use uuid::Uuid;

use crate::clock::Clock;
use crate::destination::DestinationRow;
use crate::destination::Target;
use crate::feed::Feed;
use crate::lane::intake::Intake;
use crate::lane::mqtt::MqttLane;
use crate::lane::mqtt::message::Publishing;
use crate::lane::progress::Progress;
use crate::lane::retries::Retries;
use crate::lane::stop::Stop;
use crate::lane::store::cursor_writer::CursorWriter;
use crate::lane::store::row;
use crate::lane::store::row::Acquired;
use crate::lane::store::row::Lost;
use crate::lane::store::state::State;
use crate::lane::webhook::WebhookLane;
use crate::lane::webhook::request::Endpoint;
use crate::log::reader::Reader;
use crate::topic::Equipment;

/// How a lane's task ended, if not with an error.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// Its destination gets nothing more.
    Disabled,
}

/// What all lanes share.
#[derive(Debug, Clone)]
pub struct LaneContext {
    /// For cursors, parked deliveries, and reading the log when behind.
    pub pool: Pool,
    /// Where cursors go.
    pub cursors: CursorWriter,
    /// Where events come from.
    pub feed: Arc<Feed>,
    /// Levels by cell.
    pub equipment: Arc<Equipment>,
    /// The name of this gateway.
    pub gateway: String,
    /// Which of the daemons of this database this is.
    pub daemon: Uuid,
    /// The database's.
    pub clock: Clock,
    /// Counts how often somebody changed parked deliveries by hand.
    pub changes: watch::Receiver<u64>,
}

/// A lane that is about to start.
#[derive(Debug)]
pub enum Lane {
    /// For an MQTT publisher.
    Mqtt(Box<MqttLane>),
    /// For a webhook.
    Webhook(Box<WebhookLane>),
    /// Its destination cannot be used, or wants nothing more: the cursor stays where it is.
    Idle,
}

impl Lane {
    /// Takes the lane over, from its stored cursor; none while another daemon has it.
    pub async fn open(listed: DestinationRow, context: &LaneContext) -> anyhow::Result<Option<Lane>> {
        let horizon = context.feed.horizon().borrow().clone();
        let now = (horizon.position, &*horizon.undecided);
        let Some(enlisted) = row::acquire(&context.pool, &context.cursors, &listed, now, context.daemon).await? else {
            return Ok(None);
        };
        Lane::enlisted(listed, enlisted, context).await.map(Some)
    }

    async fn enlisted(listed: DestinationRow, enlisted: Acquired, context: &LaneContext) -> anyhow::Result<Lane> {
        let lane = listed.lane.0.as_str();
        if let Some(reason) = enlisted.disabled {
            tracing::warn!(lane, reason, "stays disabled until its row is changed");
            return Ok(Lane::Idle);
        }
        let destination = match listed.usable {
            Ok(destination) => destination,
            Err(reasons) => {
                for reason in reasons {
                    tracing::error!(lane, reason, "misconfigured: its events wait in the log");
                }
                return Ok(Lane::Idle);
            }
        };
        let register = enlisted.register;
        let reader = Reader::new(context.pool.clone(), destination.route.tenant.clone());
        let feed = Arc::clone(&context.feed);
        let intake = Intake::new(feed, destination.route.clone(), reader, enlisted.position, enlisted.pending);
        let is_replay = listed.replay.is_some();
        let intake = match listed.replay {
            Some(replay) => intake.for_replay(replay.events),
            None => intake,
        };
        let name = destination.name;
        let progress = Progress::new(register.clone(), intake);
        let changes = context.changes.clone();
        let prepared = match destination.target {
            Target::Mqtt(publisher) => {
                let due = Retries::new(changes, publisher.order);
                Publishing::new(*publisher, &listed.lane, &context.gateway, Arc::clone(&context.equipment))
                    .map(|publishing| if is_replay { publishing.for_replay() } else { publishing })
                    .map(|publishing| Lane::Mqtt(Box::new(MqttLane::new(name, publishing, progress, due))))
            }
            Target::Webhook(webhook) => {
                let due = Retries::new(changes, webhook.order);
                let held = register.held().await?;
                Endpoint::new(*webhook, listed.lane.key(), context.clock.clone())
                    .map(|endpoint| if is_replay { endpoint.for_replay() } else { endpoint })
                    .map(|endpoint| Lane::Webhook(Box::new(WebhookLane::new(name, endpoint, progress, due, held))))
            }
        };
        match prepared {
            Ok(lane) => Ok(lane),
            Err(problem) => {
                let reason = format!("{problem:#}");
                tracing::error!(lane, reason, "misconfigured: its events wait in the log");
                register.report(&State::Misconfigured(reason)).await?;
                Ok(Lane::Idle)
            }
        }
    }

    /// Delivers until it is asked to stop.
    pub async fn run(self, stop: Stop) -> Result<Ended, Lost> {
        let mut idle = stop.clone();
        let ended = match self {
            Lane::Mqtt(lane) => lane.run(stop).await?,
            Lane::Webhook(lane) => lane.run(stop).await?,
            Lane::Idle => Ended::Disabled,
        };
        if ended == Ended::Disabled {
            // It stands still until its row changes. A stop that came while it was ending is not lost: it is this one's too.
            idle.asked().await;
        }
        Ok(Ended::Stopped)
    }
}
