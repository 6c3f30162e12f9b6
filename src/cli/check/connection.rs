//! One connection of the check to a broker. In: a publisher's connection settings. Out: a link, and the MQTT version that the broker
//! speaks, or the broker's reason to refuse.

use crate::lane::mqtt::link::Link;
use crate::lane::mqtt::protocol::Cause;
use crate::lane::mqtt::protocol::ConnectOptions;
use crate::lane::mqtt::protocol::Version;

/// Returns the publisher's settings with a client id of the check's own. With the daemon's id, the broker would disconnect the daemon.
pub(super) fn check_plan(plan: &ConnectOptions) -> ConnectOptions {
    let mut plan = plan.clone();
    plan.client_id.push_str("-check");
    plan
}

/// Connects with MQTT 5, or with MQTT 3.1.1 when the broker does not speak 5.
pub(super) async fn connect(plan: &ConnectOptions) -> Result<(Link, &'static str), String> {
    let (link, version) = match Link::connect(plan, Version::V5).await {
        Err(refusal) if refusal.cause != Cause::Other => (Link::connect(plan, Version::V4).await, "MQTT 3.1.1"),
        outcome => (outcome, "MQTT 5"),
    };
    link.map(|link| (link, version)).map_err(|refusal| refusal.reason)
}
