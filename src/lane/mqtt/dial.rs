//! Which version of MQTT a broker speaks. In: a plan. Out: a connection, MQTT 5 where the broker has it, 3.1.1 otherwise, or the reason
//! why there is none. It never takes a broker that went down while it was asked for one that has no MQTT 5: an old version cannot say
//! that it refuses a message.

use crate::lane::mqtt::link::Cause;
use crate::lane::mqtt::link::Link;
use crate::lane::mqtt::link::Plan;
use crate::lane::mqtt::link::Version;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Dial {
    /// MQTT 5 met silence, then 3.1.1 was welcome: once may be a restart in between, and twice is the broker's habit.
    met_silence: bool,
}

impl Dial {
    /// Connects.
    pub(super) async fn connect(&mut self, plan: &Plan) -> Result<Link, String> {
        loop {
            let refusal = match Link::connect(plan, Version::V5).await {
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
            let link = match Link::connect(plan, Version::V4).await {
                Ok(link) => link,
                Err(refusal) => {
                    self.met_silence = false;
                    return Err(refusal.reason);
                }
            };
            if refusal.cause == Cause::Version || self.met_silence {
                tracing::info!(host = plan.host, reason = refusal.reason, "no MQTT 5 here; speaking 3.1.1");
                return Ok(link);
            }
            self.met_silence = true;
            link.close().await;
        }
    }
}
