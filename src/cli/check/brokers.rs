//! The part of the check that meets the destinations. In: those whose rows are sound. Out: whether certificates can be used and brokers
//! take us in; webhooks get no request, since every POST means something to its receiver. It publishes nothing, and leaves with a
//! goodbye, so that no last will is sent.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::cli::check::findings::Findings;
use crate::config::Config;
use crate::destination::Destination;
use crate::destination::Target;
use crate::lane::mqtt::link::Cause;
use crate::lane::mqtt::link::Link;
use crate::lane::mqtt::link::Plan;
use crate::lane::mqtt::link::Version;
use crate::lane::mqtt::prepare::Publishing;
use crate::tls;
use crate::topic::Equipment;

/// Asks all brokers at the same time: one that does not answer shall not keep the others waiting.
pub(super) async fn check(destinations: Vec<Destination>, config: &Config, findings: &mut Findings) {
    let mut asked = JoinSet::new();
    for destination in destinations {
        let name = destination.name;
        match destination.target {
            Target::Webhook(webhook) => match tls::client(webhook.ca_file.as_deref(), None) {
                Ok(_) => findings.good("webhook", name),
                Err(problem) => findings.fault("webhook", format!("{name}: {problem}")),
            },
            Target::Mqtt(publisher) => {
                let publishing =
                    Publishing::new(*publisher, &destination.route.lane, &config.name, Arc::new(Equipment::default()));
                match publishing {
                    Ok(publishing) => {
                        let plan = visitor(publishing.plan());
                        asked.spawn(
                            async move { (format!("{name} at {}:{}", plan.host, plan.port), greet(&plan).await) },
                        );
                    }
                    Err(problem) => findings.fault("broker", format!("{name}: {problem:#}")),
                }
            }
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
fn visitor(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    plan.client_id.push_str("-check");
    plan
}

async fn greet(plan: &Plan) -> Result<&'static str, String> {
    let (link, version) = match Link::connect(plan, Version::V5).await {
        Err(refusal) if refusal.cause != Cause::Other => (Link::connect(plan, Version::V4).await, "MQTT 3.1.1"),
        outcome => (outcome, "MQTT 5"),
    };
    match link {
        Ok(link) => {
            link.close().await;
            Ok(version)
        }
        Err(refusal) => Err(refusal.reason),
    }
}
