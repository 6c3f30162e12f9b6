//! The destinations of the isolation bench: 100 webhooks and 20 publishers, of which three in ten can turn bad. In: when they turn bad, and
//! when they come back. Out: rows for the gateway, and servers for them. Of each ten, one becomes a black hole, which takes everything and
//! never answers, one refuses connections, and one is slow. The others are never touched.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use serde_json::json;
use tokio_postgres::Client;

use crate::stage;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Proxy;
use rig::Receiver;
use rig::Subscriber;
use rig::receiver::Answer;

pub(super) const WEBHOOKS: usize = 100;
pub(super) const PUBLISHERS: usize = 20;
pub(super) const ALL: usize = WEBHOOKS + PUBLISHERS;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// How long a slow endpoint takes to answer, and how many bytes a second a slow link carries, which is less than the default rate needs.
const SLOW_ANSWER: Duration = Duration::from_secs(1);
const SLOW_LINK: u64 = 2_000;

/// The destinations that an event is for; see [`Destinations::insert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Audience {
    All,
    Live,
    Bad,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Live,
    BlackHoled,
    Refusing,
    Slow,
}

/// The servers behind the destinations.
pub(super) struct Destinations {
    pub(super) receiver: Receiver,
    pub(super) subscriber: Subscriber,
    refusing_receiver: Proxy,
    black_hole: Proxy,
    refusing_broker: Proxy,
    slow_link: Proxy,
    broker: Mosquitto,
}

impl Destinations {
    pub(super) async fn start() -> Result<Destinations> {
        let broker = stage::broker(MosquittoOptions::default()).await?;
        let receiver = Receiver::start().await?;
        Ok(Destinations {
            subscriber: Subscriber::start(broker.port()).await?,
            refusing_receiver: Proxy::start(receiver.port()).await?,
            black_hole: Proxy::start(broker.port()).await?,
            refusing_broker: Proxy::start(broker.port()).await?,
            slow_link: Proxy::start(broker.port()).await?,
            receiver,
            broker,
        })
    }

    /// Adds the rows. Destinations that may turn bad get events that the others do not get, and the other way round.
    pub(super) async fn insert(&self, client: &Client) -> Result<()> {
        for number in 0..WEBHOOKS {
            let port = match manner(number) {
                Manner::Refusing => self.refusing_receiver.port(),
                _ => self.receiver.port(),
            };
            let url = format!("http://127.0.0.1:{port}{}", path(number));
            client
                .execute(
                    "insert into andon.webhooks (tenant_id, url, secret_key, events, settings) values ('acme', $1, $2, $3, $4)",
                    &[&url, &SECRET, &events(number), &settings(number)],
                )
                .await?;
        }
        for number in WEBHOOKS..ALL {
            let port = match manner(number) {
                Manner::Live => self.broker.port(),
                Manner::BlackHoled => self.black_hole.port(),
                Manner::Refusing => self.refusing_broker.port(),
                Manner::Slow => self.slow_link.port(),
            };
            client
                .execute(
                    "insert into andon.mqtt_publishers (tenant_id, name, broker_url, port, topic_pattern, events, settings)
                    values ('acme', 'plant', '127.0.0.1', $1, $2, $3, $4)",
                    &[&i32::from(port), &format!("{number}/{{entity_id}}/{{event}}"), &events(number), &settings(number)],
                )
                .await?;
        }
        Ok(())
    }

    /// Makes the bad destinations fail, each in its own manner.
    pub(super) async fn fail(&self) -> Result<()> {
        for number in 0..WEBHOOKS {
            match manner(number) {
                Manner::BlackHoled => self.receiver.answer(&path(number), Answer::hang()),
                Manner::Slow => self.receiver.answer(&path(number), Answer::status(200).after(SLOW_ANSWER)),
                Manner::Live | Manner::Refusing => {}
            }
        }
        for refusing in [&self.refusing_receiver, &self.refusing_broker] {
            refusing.refuse(true).await?;
            refusing.cut();
        }
        self.black_hole.stall();
        self.slow_link.slow(Some(SLOW_LINK));
        Ok(())
    }

    /// Makes all destinations work again.
    pub(super) async fn heal(&self) -> Result<()> {
        for number in (0..WEBHOOKS).filter(|number| manner(*number) != Manner::Live) {
            self.receiver.answer(&path(number), Answer::status(200));
        }
        for refusing in [&self.refusing_receiver, &self.refusing_broker] {
            refusing.refuse(false).await?;
        }
        self.black_hole.resume();
        self.slow_link.slow(None);
        Ok(())
    }
}

/// Returns whether a destination is never touched.
pub(super) fn is_live(number: usize) -> bool {
    manner(number) == Manner::Live
}

/// Returns the destination of a request.
pub(super) fn of_path(path: &str) -> Option<usize> {
    path.strip_prefix('/')?.parse().ok()
}

/// Returns the destination of a message.
pub(super) fn of_topic(topic: &str) -> Option<usize> {
    topic.split('/').next()?.parse().ok()
}

fn manner(number: usize) -> Manner {
    match number % 10 {
        1 => Manner::BlackHoled,
        2 => Manner::Refusing,
        3 => Manner::Slow,
        _ => Manner::Live,
    }
}

fn path(number: usize) -> String {
    format!("/{number}")
}

fn events(number: usize) -> Vec<&'static str> {
    if is_live(number) { vec!["to_all.*", "to_live.*"] } else { vec!["to_all.*", "to_bad.*"] }
}

/// Returns settings with short times, so that a lane finds out that its destination is bad before this part of the round is over.
fn settings(number: usize) -> Value {
    match manner(number) {
        Manner::BlackHoled if number < WEBHOOKS => json!({"timeout": "2s"}),
        Manner::BlackHoled => json!({"keep_alive": "2s"}),
        Manner::Live | Manner::Refusing | Manner::Slow => json!({}),
    }
}
