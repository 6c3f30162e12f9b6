//! The part of the check that meets the destinations. In: those whose rows are sound. Out: whether certificates can be used and brokers
//! take us in; webhooks get no request, since every POST means something to its receiver. It publishes nothing but the canary, when it is
//! asked to, and leaves with a goodbye, so that no last will is sent.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::cli::check::canary;
use crate::cli::check::findings::Findings;
use crate::config::Config;
use crate::destination::Destination;
use crate::destination::Target;
use crate::lane::mqtt::link::Link;
use crate::lane::mqtt::message::MessageBuilder;
use crate::lane::mqtt::protocol::Cause;
use crate::lane::mqtt::protocol::ConnectOptions;
use crate::lane::mqtt::protocol::Version;
use crate::tls;

/// Asks all brokers at the same time: one that does not answer shall not keep the others waiting.
pub(super) async fn check(
    client: &Client,
    destinations: Vec<Destination>,
    config: &Config,
    canary: bool,
    findings: &mut Findings,
) {
    let (mut asked, mut flown) = (JoinSet::new(), JoinSet::new());
    let equipment = Arc::new(config.equipment.clone());
    for destination in destinations {
        let name = destination.name;
        match destination.target {
            Target::Webhook(webhook) => match tls::client(webhook.ca_file.as_deref(), None) {
                Ok(_) => findings.good("webhook", name),
                Err(problem) => findings.fault("webhook", format!("{name}: {problem}")),
            },
            Target::Mqtt(publisher) => {
                let route = &destination.route;
                match MessageBuilder::new(*publisher, &route.lane, &config.name, Arc::clone(&equipment)) {
                    Ok(publishing) => {
                        let plan = visitor(publishing.connect_options());
                        let broker = format!("{name} at {}:{}", plan.host, plan.port);
                        let topics = match canary {
                            true => canary::topics(client, route, &publishing).await,
                            false => Ok(Vec::new()),
                        };
                        match topics {
                            Ok(topics) if canary => {
                                flown.spawn(async move { (broker, canary::fly(&plan, topics).await) });
                            }
                            Ok(_) => {
                                asked.spawn(async move { (broker, greet(&plan).await) });
                            }
                            Err(problem) => findings.fault("canary", format!("{broker}: {problem:#}")),
                        }
                    }
                    Err(problem) => findings.fault("broker", format!("{name}: {problem:#}")),
                }
            }
        }
    }
    let mut fates = flown.join_all().await;
    fates.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (broker, fate) in fates {
        match fate {
            Ok(topics) => canary::report(&broker, &topics, findings),
            Err(reason) => findings.fault("broker", format!("{broker}: {reason}")),
        }
    }
    let mut answers = asked.join_all().await;
    answers.sort();
    for (broker, answer) in answers {
        match answer {
            Ok(version) => findings.good("broker", format!("{broker} speaks {version}")),
            Err(reason) => findings.fault("broker", format!("{broker}: {reason}")),
        }
    }
}

/// Under the daemon's own client id the broker would throw the daemon out.
fn visitor(plan: &ConnectOptions) -> ConnectOptions {
    let mut plan = plan.clone();
    plan.client_id.push_str("-check");
    plan
}

async fn greet(plan: &ConnectOptions) -> Result<&'static str, String> {
    let (link, version) = connect(plan).await?;
    link.close().await;
    Ok(version)
}

/// Connects by the version that the broker speaks.
pub(super) async fn connect(plan: &ConnectOptions) -> Result<(Link, &'static str), String> {
    let (link, version) = match Link::connect(plan, Version::V5).await {
        Err(refusal) if refusal.cause != Cause::Other => (Link::connect(plan, Version::V4).await, "MQTT 3.1.1"),
        outcome => (outcome, "MQTT 5"),
    };
    link.map(|link| (link, version)).map_err(|refusal| refusal.reason)
}
