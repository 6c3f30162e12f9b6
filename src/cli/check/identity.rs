//! The client ids of publishers, as the check sees them. In: the publishers, and which of their lanes a daemon serves. Out: whether the check
//! may connect, and as whom. A broker ends the older of two connections with the same client id, so the check never uses one that a lane is
//! connected with.

use std::collections::HashMap;

use tokio_postgres::Client;

use crate::destination::LaneName;
use crate::destination::client_id;
use crate::destination::publisher::Publisher;

/// The state of a lane that a daemon serves, and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) is_connected: bool,
    pub(super) reason: String,
}

/// How the check finds out whether a broker takes a publisher.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trial {
    /// It connects, with this added to the client id.
    Connect(&'static str),
    /// It believes the lane, because a connection of its own might end that of the lane.
    Believe(Live),
}

/// Reads which lanes a daemon serves that connect to their destinations.
pub(super) async fn live_lanes(client: &Client) -> Result<HashMap<LaneName, Live>, tokio_postgres::Error> {
    let sql = "select lane, state = 'running', coalesce(reason, 'no reason given') from andon.lanes
        where state in ('running', 'retrying') and andon.is_served(daemon)";
    let rows = client.query(sql, &[]).await?;
    let live = |row: &tokio_postgres::Row| Live { is_connected: row.get(1), reason: row.get(2) };
    Ok(rows.iter().map(|row| (LaneName(row.get(0)), live(row))).collect())
}

/// Decides how to try a publisher. A broker may be told to take the user name for the client id, which nobody can see from outside.
pub(super) fn trial(publisher: &Publisher, live: Option<&Live>) -> Trial {
    let is_pinned = publisher.client_id.is_some();
    match live {
        Some(live) if is_pinned || publisher.username.is_some() => Trial::Believe(live.clone()),
        None if is_pinned => Trial::Connect(""),
        _ => Trial::Connect(client_id::OF_CHECK),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::destination::Defaults;
    use crate::destination::Destination;
    use crate::destination::DestinationKind;
    use crate::destination::Listed;
    use crate::destination::TableRow;
    use crate::destination::Target;
    use crate::destination::read;
    use crate::payload::Format;

    fn destination(name: &str, broker: &str, username: Option<&str>, client_id: Option<&str>) -> Destination {
        let settings = client_id.map(|id| json!({"client_id": id}));
        let row = json!({"id": name, "name": name, "broker_url": broker, "username": username, "events": ["*"],
            "settings": settings})
        .to_string();
        let row = TableRow { key: name, json: Ok(&row) };
        match read(DestinationKind::Mqtt, "t", Format::Andon, row, &Defaults::default()) {
            Listed::Active(row) => row.usable.unwrap(),
            Listed::Inactive(lane) => panic!("{lane} is active"),
        }
    }

    fn tried(username: Option<&str>, client_id: Option<&str>, live: Option<&Live>) -> Trial {
        let Target::Mqtt(publisher) = destination("plant", "b", username, client_id).target else {
            panic!("a publisher")
        };
        trial(&publisher, live)
    }

    #[test]
    fn the_check_never_connects_as_a_client_that_a_lane_may_be() {
        let live = Live { is_connected: true, reason: String::new() };
        let believed = || Trial::Believe(live.clone());

        assert_eq!(tried(None, Some("plc"), Some(&live)), believed());
        assert_eq!(tried(Some("user"), None, Some(&live)), believed(), "the broker may take the user name for the id");
        assert_eq!(tried(None, None, Some(&live)), Trial::Connect("-check"));
        assert_eq!(
            tried(None, Some("plc"), None),
            Trial::Connect(""),
            "nobody else uses the id, and the broker may know only this one"
        );
        assert_eq!(tried(Some("user"), None, None), Trial::Connect("-check"));
    }
}
