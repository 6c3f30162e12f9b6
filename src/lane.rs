//! A lane serves one destination. In: the destination, and the lane's stored cursor. Out: a task that delivers until it is asked to stop.
//! A lane has its own cursor, window, order, retries and breaker; it never waits for another lane, nor makes one wait.

mod catch_up;
mod delivery;
pub mod intake;
pub mod mqtt;
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
use crate::lane::mqtt::message::MessageBuilder;
use crate::lane::progress::Progress;
use crate::lane::retries::Retries;
use crate::lane::stop::Ended;
use crate::lane::stop::Stop;
use crate::lane::store::acquire;
use crate::lane::store::acquire::Acquired;
use crate::lane::store::cursor_writer::CursorWriter;
use crate::lane::store::error::Lost;
use crate::lane::store::error::StoreError;
use crate::lane::store::row::LaneRow;
use crate::lane::store::state::State;
use crate::lane::webhook::WebhookLane;
use crate::lane::webhook::attempt::WebhookClient;
use crate::log::reader::Reader;
use crate::topic::Equipment;

/// The handles and settings that the lanes of a daemon share.
#[derive(Debug, Clone)]
pub struct LaneContext {
    /// The identity of this daemon among those that serve the database.
    pub daemon_id: Uuid,
    /// The name of this gateway, on its status topics.
    pub gateway_name: String,
    /// Connections for checkpoints, for parked deliveries, and for lanes that read the log themselves.
    pub pool: Pool,
    /// Writes the cursors of all lanes together.
    pub cursor_writer: CursorWriter,
    /// Where live events come from.
    pub feed: Arc<Feed>,
    /// Counts how often somebody changed parked deliveries by hand.
    pub ledger_changes: watch::Receiver<u64>,
    /// The database's time.
    pub database_clock: Clock,
    /// The levels of a topic above each cell.
    pub equipment: Arc<Equipment>,
}

/// A lane that is about to start.
#[derive(Debug)]
pub enum Lane {
    /// The lane of an MQTT publisher.
    Mqtt(Box<MqttLane>),
    /// The lane of a webhook.
    Webhook(Box<WebhookLane>),
    /// A lane that delivers nothing, because its destination is disabled or misconfigured. Its cursor stays where it is.
    Idle,
}

impl Lane {
    /// Takes the lane over from its stored cursor, unless another daemon has it. Returns the right to write its row as well.
    pub async fn open(listed: DestinationRow, context: &LaneContext) -> Result<Option<(Lane, LaneRow)>, StoreError> {
        let tail = context.feed.horizon().borrow().clone();
        let acquired =
            acquire::acquire(&context.pool, &context.cursor_writer, &listed, &tail, context.daemon_id).await?;
        let Some(acquired) = acquired else { return Ok(None) };
        let row = acquired.row.clone();
        Ok(Some((Lane::prepare(listed, acquired, context).await?, row)))
    }

    async fn prepare(listed: DestinationRow, acquired: Acquired, context: &LaneContext) -> Result<Lane, StoreError> {
        let lane = listed.lane.0.as_str();
        if let Some(reason) = acquired.disabled {
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
        let row = acquired.row;
        let reader = Reader::new(context.pool.clone(), destination.route.tenant.clone());
        let feed = Arc::clone(&context.feed);
        let intake = Intake::new(feed, destination.route.clone(), reader, acquired.position, acquired.pending);
        let is_replay = listed.replay.is_some();
        let intake = match listed.replay {
            Some(replay) => intake.for_replay(replay.events),
            None => intake,
        };
        let name = destination.name;
        let progress = Progress::new(row.clone(), intake);
        let changes = context.ledger_changes.clone();
        let prepared = match destination.target {
            Target::Mqtt(publisher) => {
                let retries = Retries::new(changes, publisher.order);
                MessageBuilder::new(*publisher, &listed.lane, &context.gateway_name, Arc::clone(&context.equipment))
                    .map(|publishing| if is_replay { publishing.for_replay() } else { publishing })
                    .map(|publishing| Lane::Mqtt(Box::new(MqttLane::new(name, publishing, progress, retries))))
            }
            Target::Webhook(webhook) => {
                let retries = Retries::new(changes, webhook.order);
                let held = row.resume_held().await?;
                WebhookClient::new(*webhook, listed.lane.key(), context.database_clock.clone())
                    .map(|client| if is_replay { client.for_replay() } else { client })
                    .map(|client| Lane::Webhook(Box::new(WebhookLane::new(name, client, progress, retries, held))))
            }
        };
        match prepared {
            Ok(lane) => Ok(lane),
            Err(problem) => {
                let reason = format!("{problem:#}");
                tracing::error!(lane, reason, "misconfigured: its events wait in the log");
                row.report(&State::Misconfigured(reason)).await?;
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
            // It does nothing until its row changes and the supervisor stops it. A stop that came while it was ending is seen here too.
            idle.asked().await;
        }
        Ok(Ended::Stopped)
    }
}
