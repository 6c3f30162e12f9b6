//! Connects in the way that the broker can: in MQTT 5 if it has it and in 3.1.1 otherwise, and with a retained last will if it keeps
//! retained messages. In: options. Out: a connection, or the reason why there is none. It never mistakes a broker that went down while it
//! was asked for a broker without MQTT 5: in 3.1.1 a broker cannot say that it refuses a message.

use std::time::Duration;

use tokio::time::Instant;

use crate::lane::mqtt::link::Link;
use crate::lane::mqtt::protocol::CONNECT_TIME;
use crate::lane::mqtt::protocol::Cause;
use crate::lane::mqtt::protocol::ConnectOptions;
use crate::lane::mqtt::protocol::Refusal;
use crate::lane::mqtt::protocol::Version;

/// Connects to one broker, and remembers how the last attempts went.
#[derive(Debug, Default)]
pub struct Dialer {
    /// The broker met MQTT 5 with silence and then accepted 3.1.1. Once, this may be a restart in between; twice, it is the broker's way.
    met_silence: bool,
    /// Until then MQTT 5 is not tried, because the broker lets the time run out at it.
    avoids_v5_until: Option<Instant>,
    /// The broker keeps no retained messages.
    no_retained: bool,
    /// The last attempt in 3.1.1 was closed without a word.
    was_closed: bool,
    /// The log was told that the broker does not know MQTT 5.
    is_told: bool,
}

/// How long a broker that lets MQTT 5 time out is taken at its word.
const ASK_AGAIN: Duration = Duration::from_secs(3600);

impl Dialer {
    /// Connects, or returns the reason why that failed.
    pub async fn connect(&mut self, options: &ConnectOptions) -> Result<(Link, Version), String> {
        if let Some(version) = options.version {
            return self.attempt(options, version).await.map(|link| (link, version)).map_err(|refusal| refusal.reason);
        }
        loop {
            if self.avoids_v5_until.is_some_and(|until| Instant::now() < until) {
                match self.attempt(options, Version::V4).await {
                    Ok(link) => return Ok((link, Version::V4)),
                    Err(refusal) => {
                        *self = Dialer { no_retained: self.no_retained, is_told: self.is_told, ..Dialer::default() };
                        return Err(refusal.reason);
                    }
                }
            }
            let asked = Instant::now();
            let refusal = match self.attempt(options, Version::V5).await {
                Ok(link) => {
                    self.met_silence = false;
                    return Ok((link, Version::V5));
                }
                Err(refusal) => refusal,
            };
            let was_slow = asked.elapsed() >= CONNECT_TIME;
            if !matches!(refusal.cause, Cause::Version | Cause::Silence | Cause::Forbidden) {
                self.met_silence = false;
                return Err(refusal.reason);
            }
            let link = match self.attempt(options, Version::V4).await {
                Ok(link) => link,
                Err(other) => {
                    self.met_silence = false;
                    // Where the broker knows MQTT 5, that is where it is to be mended.
                    return Err(if refusal.cause == Cause::Forbidden { refusal.reason } else { other.reason });
                }
            };
            if refusal.cause != Cause::Silence || self.met_silence {
                if !std::mem::replace(&mut self.is_told, true) {
                    tracing::info!(host = options.host, reason = refusal.reason, "no MQTT 5 here; speaking 3.1.1");
                }
                self.avoids_v5_until = was_slow.then(|| Instant::now() + ASK_AGAIN);
                return Ok((link, Version::V4));
            }
            self.met_silence = true;
            link.close().await;
        }
    }

    /// Notes that the broker ended a connection because of a retained message.
    pub(super) fn keeps_no_retained_messages(&mut self) {
        self.no_retained = true;
    }

    /// Connects in one version, and once more without a retained last will if the broker refuses that.
    async fn attempt(&mut self, options: &ConnectOptions, version: Version) -> Result<Link, Refusal> {
        let plain = || ConnectOptions { retains: false, ..options.clone() };
        if self.no_retained {
            return Link::connect(&plain(), version).await;
        }
        let asked = Instant::now();
        let refusal = match Link::connect(options, version).await {
            Ok(link) => {
                self.was_closed = false;
                return Ok(link);
            }
            Err(refusal) => refusal,
        };
        if refusal.cause == Cause::NoRetained {
            let link = Link::connect(&plain(), version).await?;
            tracing::info!(host = options.host, "the broker keeps no retained messages; the status is not retained");
            self.no_retained = true;
            return Ok(link);
        }
        // A broker of 3.1.1 has no word for this, and closes the connection. Once, this may be a restart.
        let is_closed = version == Version::V4 && refusal.cause == Cause::Silence && asked.elapsed() < CONNECT_TIME;
        if is_closed && std::mem::replace(&mut self.was_closed, is_closed) {
            return Link::connect(&plain(), version).await.map_err(|_| refusal);
        }
        Err(refusal)
    }
}
