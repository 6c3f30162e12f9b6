//! One connection of the check to a broker. In: a publisher's connection settings. Out: a link, and the MQTT version that the broker
//! speaks, or the broker's reason to refuse.

use crate::lane::mqtt::dial::Dialer;
use crate::lane::mqtt::link::Link;
use crate::lane::mqtt::protocol::ConnectOptions;
use crate::lane::mqtt::protocol::Version;

/// Returns the publisher's settings with a client id of the check's own. With the daemon's id, the broker would disconnect the daemon.
pub(super) fn check_plan(plan: &ConnectOptions) -> ConnectOptions {
    let mut plan = plan.clone();
    plan.client_id.push_str("-check");
    plan
}

/// Connects as a lane would, and returns which version of MQTT the broker speaks.
pub(super) async fn connect(plan: &ConnectOptions) -> Result<(Link, &'static str), String> {
    let (link, version) = Dialer::default().connect(plan).await?;
    let version = match version {
        Version::V5 => "MQTT 5",
        Version::V4 => "MQTT 3.1.1",
    };
    Ok((link, version))
}
