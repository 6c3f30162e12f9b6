//! A connection to a broker, in the version of MQTT that the broker speaks. In: topics and payloads. Out: for each publish the broker's
//! own acknowledgement, or that there was none. A link lives for one connection: what must survive a connection is in the log, so nothing
//! of a dead one is worth keeping.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::Either;
use uuid::Uuid;

use crate::lane::mqtt::driver::Driver;
use crate::lane::mqtt::frames::Heard;
use crate::lane::mqtt::protocol::Ack;
use crate::lane::mqtt::protocol::CONNECT_TIME;
use crate::lane::mqtt::protocol::Cause;
use crate::lane::mqtt::protocol::ConnectOptions;
use crate::lane::mqtt::protocol::Ending;
use crate::lane::mqtt::protocol::Incoming;
use crate::lane::mqtt::protocol::Limits;
use crate::lane::mqtt::protocol::Refusal;
use crate::lane::mqtt::protocol::Version;
use crate::lane::mqtt::v4;
use crate::lane::mqtt::v5;
use crate::topic::Topic;

/// One connection to a broker. It ends when it is dropped.
#[derive(Debug)]
pub struct Link {
    driver: Driver,
    client: Client,
    limits: Limits,
}

#[derive(Debug)]
enum Client {
    V5(v5::Client),
    V4(v4::Client),
}

/// What to look at where a server says nothing to who does not speak TLS.
const IN_THE_OPEN: &str = "; it has said nothing: if this is its port for TLS, write mqtts:// before its name";

impl Link {
    /// Connects, and returns when the broker has answered.
    pub async fn connect(options: &ConnectOptions, version: Version) -> Result<Link, Refusal> {
        let heard = Heard::new(options.echo());
        let connecting = async {
            match version {
                Version::V5 => v5::connect(options, &heard).await.map(|(client, limits, driver)| Link {
                    driver,
                    client: Client::V5(client),
                    limits,
                }),
                Version::V4 => v4::connect(options, &heard).await.map(|(client, limits, driver)| Link {
                    driver,
                    client: Client::V4(client),
                    limits,
                }),
            }
        };
        let connected = tokio::time::timeout(CONNECT_TIME, connecting).await.unwrap_or_else(|_| {
            let reason = format!("no answer within {CONNECT_TIME:?}");
            // The library waits for the rest of a CONNACK of 3.1.1, which is shorter.
            let cause = match (heard.is_silent(), heard.last_words()) {
                (true, _) => Cause::Silence,
                (false, Some(_)) if version == Version::V5 => Cause::Version,
                _ => Cause::Other,
            };
            Err(Refusal { reason, cause })
        });
        connected.map_err(|mut refusal| {
            // A server that waits for TLS often closes such a connection without a word.
            if heard.is_silent() && options.tls.is_none() {
                refusal.reason += IN_THE_OPEN;
            }
            refusal
        })
    }

    /// Returns what the broker allows.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Publishes at QoS 1. `replayed` says that somebody asked for the event again, which 3.1.1 cannot tell a subscriber. There is no
    /// acknowledgement to wait for when the connection has ended; nothing was sent then.
    pub fn publish(
        &self,
        topic: &Topic,
        payload: Bytes,
        event_id: Uuid,
        replayed: bool,
    ) -> Option<impl Future<Output = Ack> + use<>> {
        match &self.client {
            Client::V5(client) => {
                client.publish(topic.as_str(), payload, Some((event_id, replayed)), false).map(Either::Left)
            }
            Client::V4(client) => client.publish(topic.as_str(), payload, false).map(Either::Right),
        }
    }

    /// Publishes on the status topic, retained if the broker can. There is no acknowledgement to wait for when the connection has ended.
    pub fn announce(&self, topic: &str, payload: Bytes) -> Option<impl Future<Output = Ack> + use<>> {
        match &self.client {
            Client::V5(client) => client.publish(topic, payload, None, self.limits.retains).map(Either::Left),
            Client::V4(client) => client.publish(topic, payload, self.limits.retains).map(Either::Right),
        }
    }

    /// Asks for the messages of a topic, and returns whether the connection still takes the request.
    pub fn subscribe(&self, topic: &str) -> bool {
        match &self.client {
            Client::V5(client) => client.subscribe(topic),
            Client::V4(client) => client.subscribe(topic),
        }
    }

    /// Waits for what comes in for a subscription. There is nothing more once the connection has ended.
    pub async fn incoming(&mut self) -> Option<Incoming> {
        self.driver.incoming().await
    }

    /// Waits for the end of the connection, and returns the reason.
    pub(super) async fn ended(&mut self) -> Ending {
        self.driver.ended().await
    }

    /// Says goodbye, so that the broker does not publish the last will.
    pub async fn close(mut self) {
        match &self.client {
            Client::V5(client) => client.disconnect(),
            Client::V4(client) => client.disconnect(),
        }
        // A broker may fail to close its side; the lane does not wait longer for that.
        drop(tokio::time::timeout(Duration::from_secs(1), self.ended()).await);
    }
}
