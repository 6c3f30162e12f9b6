//! One connection of the check to a broker. In: a publisher's connection settings. Out: a link, and the MQTT version that the broker
//! speaks, or the broker's reason to refuse.

use std::time::Duration;

use tokio::time::timeout;

use crate::lane::mqtt::dial::Dialer;
use crate::lane::mqtt::link::Link;
use crate::lane::mqtt::protocol::ConnectOptions;
use crate::lane::mqtt::protocol::Incoming;
use crate::lane::mqtt::protocol::Version;
use crate::legible;

/// Connects as a lane would, and returns which version of MQTT the broker speaks.
pub(super) async fn connect(plan: &ConnectOptions) -> Result<(Link, &'static str), String> {
    let (link, version) = Dialer::default().connect(plan).await?;
    let version = match version {
        Version::V5 => "MQTT 5",
        Version::V4 => "MQTT 3.1.1",
    };
    Ok((link, version))
}

/// Returns what the broker calls itself, if it says so where mosquitto does.
pub(super) async fn software(link: &mut Link) -> Option<String> {
    if !link.subscribe("$SYS/broker/version") {
        return None;
    }
    let answer = async {
        while let Some(incoming) = link.incoming().await {
            match incoming {
                Incoming::Subscribed(true) => {}
                Incoming::Subscribed(false) => return None,
                Incoming::Message(name) => {
                    let name = String::from_utf8_lossy(&name);
                    return Some(legible::line(name.into_owned()).chars().take(LONGEST_NAME).collect());
                }
            }
        }
        None
    };
    timeout(ANSWER_TIMEOUT, answer).await.ok().flatten()
}

/// How long the broker may take to say what it is. One that does not is none the worse for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How much of a broker's name is shown.
const LONGEST_NAME: usize = 60;
