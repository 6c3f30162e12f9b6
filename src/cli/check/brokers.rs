//! The part of the check that looks at the destinations. In: those whose rows are valid. Out: whether their certificates can be used and
//! whether brokers accept the connection. Webhooks get no request, since every POST means something to its receiver. It publishes nothing
//! but the canary, when it is told to, and disconnects cleanly, so that the broker does not send a last will.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::cli::check::canary;
use crate::cli::check::connection;
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
    for destination in destinations {
        let name = destination.name;
        match destination.target {
            Target::Webhook(webhook) => match tls::client(webhook.ca_file.as_deref(), None) {
                Ok(_) => report.ok("webhook", name),
                Err(problem) => report.fault("webhook", format!("{name}: {problem}")),
            },
            Target::Mqtt(publisher) => {
                let route = &destination.route;
                match MessageBuilder::new(*publisher, &route.lane, &config.name, Arc::clone(&equipment)) {
                    Ok(publishing) => {
                        let plan = connection::check_plan(publishing.connect_options());
                        let broker = format!("{name} at {}:{}", plan.host, plan.port);
                        let topics = match canary {
                            true => canary::topics(client, route, &publishing).await,
                            false => Ok(Vec::new()),
                        };
                        match topics {
                            Ok(topics) if canary => {
                                canaries.spawn(async move { (broker, canary::send(&plan, topics).await) });
                            }
                            Ok(_) => {
                                greetings.spawn(async move { (broker, greet(&plan).await) });
                            }
                            Err(problem) => report.fault("canary", format!("{broker}: {problem:#}")),
                        }
                    }
                    Err(problem) => report.fault("broker", format!("{name}: {problem:#}")),
                }
            }
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

/// Connects and disconnects, and returns the MQTT version that the broker speaks.
async fn greet(plan: &ConnectOptions) -> Result<&'static str, String> {
    let (link, version) = connection::connect(plan).await?;
    link.close().await;
    Ok(version)
}
