//! The part of the check that looks at the destinations. In: those whose rows are valid. Out: whether their certificates can be used and
//! whether brokers accept the connection. Webhooks get no request, since every POST means something to its receiver. It publishes nothing
//! but the canary, when it is told to, and disconnects cleanly, so that the broker does not send a last will.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::cli::check::canary;
use crate::cli::check::connection;
use crate::cli::check::identity;
use crate::cli::check::identity::Live;
use crate::cli::check::identity::Trial;
use crate::cli::check::report::CheckReport;
use crate::config::Config;
use crate::destination::Destination;
use crate::destination::Target;
use crate::lane::mqtt::message::MessageBuilder;
use crate::lane::mqtt::protocol::ConnectOptions;
use crate::tls;

/// Checks all brokers at the same time, so that one that does not answer does not hold up the others.
pub(super) async fn check(
    client: &Client,
    destinations: Vec<Destination>,
    config: &Config,
    canary: bool,
    report: &mut CheckReport,
) {
    let (mut greetings, mut canaries) = (JoinSet::new(), JoinSet::new());
    let equipment = Arc::new(config.equipment.clone());
    identity::shared_ids(&destinations).into_iter().for_each(|problem| report.fault("broker", problem));
    let live = identity::live_lanes(client).await.unwrap_or_else(|error| {
        report.fault("broker", format!("cannot read which lanes are connected: {error}"));
        HashMap::new()
    });
    for destination in destinations {
        let (name, route) = (destination.name, destination.route);
        let publisher = match destination.target {
            Target::Webhook(webhook) => {
                match tls::client(webhook.ca_file.as_deref(), None) {
                    Ok(_) => report.ok("webhook", name),
                    Err(problem) => report.fault("webhook", format!("{name}: {problem}")),
                }
                continue;
            }
            Target::Mqtt(publisher) => publisher,
        };
        let has_rate = publisher.rate.is_some();
        let (trial, is_pinned) = (identity::trial(&publisher, live.get(&route.lane)), publisher.client_id.is_some());
        let publishing = match MessageBuilder::new(*publisher, &route.lane, &config.name, Arc::clone(&equipment)) {
            Ok(publishing) => publishing,
            Err(problem) => {
                report.fault("broker", format!("{name}: {problem:#}"));
                continue;
            }
        };
        let mut plan = publishing.connect_options().clone();
        let broker = format!("{name} at {}:{}", plan.host, plan.port);
        match trial {
            Trial::Connect(suffix) => plan.client_id.push_str(suffix),
            // Whoever asks for a canary accepts that a broker which takes the user name for the client id makes the lane connect again.
            Trial::Believe(_) if canary && !is_pinned => plan.client_id.push_str("-check"),
            Trial::Believe(live) => {
                believe(&broker, &live, canary, &plan.client_id, report);
                continue;
            }
        }
        if !canary {
            greetings.spawn(async move { (broker, greet(plan, has_rate).await) });
            continue;
        }
        match canary::topics(client, &route, &publishing).await {
            Ok(topics) => drop(canaries.spawn(async move { (broker, canary::send(&plan, topics).await) })),
            Err(problem) => report.fault("canary", format!("{broker}: {problem:#}")),
        }
    }
    let mut canaries = canaries.join_all().await;
    canaries.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (broker, outcomes) in canaries {
        match outcomes {
            Ok(outcomes) => canary::report(&broker, &outcomes, report),
            Err(reason) => report.fault("broker", format!("{broker}: {reason}")),
        }
    }
    let mut greetings = greetings.join_all().await;
    greetings.sort();
    for (broker, version) in greetings {
        match version {
            Ok(version) => report.ok("broker", format!("{broker} speaks {version}")),
            Err(reason) => report.fault("broker", format!("{broker}: {reason}")),
        }
    }
}

/// Reports what the lane itself knows of its broker, and what was not tried.
fn believe(broker: &str, live: &Live, canary: bool, client_id: &str, report: &mut CheckReport) {
    match live.is_connected {
        true => report.ok(
            "broker",
            format!("{broker}: its lane is running; not tried beside it, since the broker might end the connection of the lane"),
        ),
        false => report.fault("broker", format!("{broker}: its lane says: {}", live.reason)),
    }
    if canary {
        let why = format!(
            "the broker knows one client `{client_id}`, which its lane is; stop the daemons first, or remove settings.client_id"
        );
        report.warning("canary", format!("{broker}: not tried: {why}"));
    }
}

/// Connects and disconnects, and returns the MQTT version that the broker speaks, and what else is to be known of it.
async fn greet(plan: ConnectOptions, has_rate: bool) -> Result<String, String> {
    // No event is published, so what is subscribed here reaches nobody else.
    let (mut link, version) = connection::connect(&ConnectOptions { subscribes: true, ..plan }).await?;
    let software = if has_rate { None } else { connection::software(&mut link).await };
    link.close().await;
    Ok(match software.filter(|software| software.starts_with("mosquitto")) {
        Some(software) => format!(
            "{version} ({software}: unless its max_queued_messages is raised, it keeps 1,000 messages per subscriber, and acknowledges and\ndrops the rest; settings.rate limits how fast a backlog leaves)"
        ),
        None => version.to_owned(),
    })
}
