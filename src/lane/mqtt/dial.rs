//! Connects by the version of MQTT that the broker speaks. In: options. Out: a connection, in MQTT 5 if the broker has it and in 3.1.1
//! otherwise, or the reason why there is none. It never mistakes a broker that went down while it was asked for a broker without MQTT 5:
//! in 3.1.1 a broker cannot say that it refuses a message.

use crate::lane::mqtt::link::Link;
use crate::lane::mqtt::protocol::Cause;
use crate::lane::mqtt::protocol::ConnectOptions;
use crate::lane::mqtt::protocol::Version;

/// Connects to one broker, and remembers how the last attempt went.
#[derive(Debug, Default)]
pub(super) struct Dialer {
    /// The broker met MQTT 5 with silence and then accepted 3.1.1. Once, this may be a restart in between; twice, it is the broker's way.
    met_silence: bool,
}

impl Dialer {
    /// Connects, or returns the reason why that failed.
    pub(super) async fn connect(&mut self, options: &ConnectOptions) -> Result<Link, String> {
        loop {
            let refusal = match Link::connect(options, Version::V5).await {
                Ok(link) => {
                    self.met_silence = false;
                    return Ok(link);
                }
                Err(refusal) => refusal,
            };
            if refusal.cause == Cause::Other {
                self.met_silence = false;
                return Err(refusal.reason);
            }
            let link = match Link::connect(options, Version::V4).await {
                Ok(link) => link,
                Err(refusal) => {
                    self.met_silence = false;
                    return Err(refusal.reason);
                }
            };
            if refusal.cause == Cause::Version || self.met_silence {
                tracing::info!(host = options.host, reason = refusal.reason, "no MQTT 5 here; speaking 3.1.1");
                return Ok(link);
            }
            self.met_silence = true;
            link.close().await;
        }
    }
}
