//! The part of the check that looks at the destinations. In: those whose rows are valid. Out: whether their certificates can be used and
//! whether brokers accept the connection. Webhooks get no request, since every POST means something to its receiver. It publishes nothing
//! but the canary, when it is told to, and disconnects cleanly, so that the broker does not send a last will.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::timeout_at;
use tokio_postgres::Client;

use crate::cli::check::canary;
use crate::cli::check::connection;
use crate::cli::check::identity;
use crate::cli::check::identity::Live;
use crate::cli::check::identity::Trial;
use crate::cli::check::in_the_open;
use crate::cli::check::lanes::Note;
use crate::cli::check::report::CheckReport;
use crate::cli::check::report::Finding;
use crate::cli::check::report::Grade;
use crate::cli::check::subject::Subject;
use crate::cli::check::subject::line;
use crate::config::Config;
use crate::destination::Destination;
use crate::destination::Target;
use crate::destination::client_id;
use crate::destination::webhook::Webhook;
use crate::lane::mqtt::message::MessageBuilder;
use crate::lane::mqtt::protocol::ConnectOptions;
use crate::tls;

/// How the names, lanes and addresses of the publishers stand in the report, with what was found out about each.
struct Heading {
    name: String,
    lane: String,
    shown: String,
    notes: Vec<Note>,
    cure: Option<&'static str>,
}

impl Heading {
    fn finding(&self, area: &'static str) -> Finding {
        let finding = line(area, &self.notes).of(&self.name).of_lane(&self.lane).shown_as(&self.shown);
        match self.cure {
            Some(cure) => finding.cure(cure),
            None => finding,
        }
    }
}

/// Checks all brokers at the same time, so that one that does not answer does not hold up the others. Without a canary it ends at the
/// deadline.
pub(super) async fn check(
    client: &Client,
    subjects: Vec<Subject>,
    config: &Config,
    canary: bool,
    deadline: Instant,
    report: &mut CheckReport,
) {
    let (mut greetings, mut canaries, mut endpoints) = (JoinSet::new(), JoinSet::new(), Vec::new());
    let equipment = Arc::new(config.equipment.clone());
    let live = identity::live_lanes(client).await.unwrap_or_else(|error| {
        report.fault("broker", format!("cannot read which lanes are connected: {error}"));
        HashMap::new()
    });
    for Subject { destination, shown, mut notes, cure } in subjects {
        let Destination { name, route, target } = destination;
        let lane = route.lane.0.clone();
        notes.extend(in_the_open::notes(&target));
        let publisher = match target {
            Target::Webhook(webhook) => {
                endpoints.push(endpoint(Heading { name, lane, shown, notes, cure }, webhook, deadline));
                continue;
            }
            Target::Mqtt(publisher) => publisher,
        };
        let has_rate = publisher.rate.is_some();
        let (trial, is_pinned) = (identity::trial(&publisher, live.get(&route.lane)), publisher.client_id.is_some());
        let (gateway, equipment, of) = (config.name.clone(), Arc::clone(&equipment), route.lane.clone());
        let made = aside(deadline, move || MessageBuilder::new(*publisher, &of, &gateway, equipment)).await;
        let publishing = match made {
            Ok(publishing) => publishing,
            Err(problem) => {
                notes.push((Grade::Fault, problem));
                report.add(Heading { name, lane, shown, notes, cure }.finding("broker"));
                continue;
            }
        };
        let mut plan = publishing.connect_options().clone();
        let shown = format!("{shown} at {}:{}", plan.host, plan.port);
        let mut heading = Heading { name, lane, shown, notes, cure };
        match trial {
            Trial::Connect(suffix) => plan.client_id.push_str(suffix),
            // Whoever asks for a canary accepts that a broker which takes the user name for the client id makes the lane connect again.
            Trial::Believe(_) if canary && !is_pinned => plan.client_id.push_str(client_id::OF_CHECK),
            Trial::Believe(live) => {
                believe(&mut heading, &live);
                report.add(heading.finding("broker"));
                if canary {
                    let why = "not tried: the broker knows one client";
                    let message = format!("{why} `{}`, which its lane is", plan.client_id);
                    let finding =
                        Finding::new(Grade::Warning, "canary", message).of(&heading.name).of_lane(&heading.lane);
                    report.add(
                        finding.shown_as(&heading.shown).cure("stop the daemons first, or remove settings.client_id"),
                    );
                }
                continue;
            }
        }
        if !canary {
            greetings.spawn(async move {
                let greeted = timeout_at(deadline, greet(plan, has_rate)).await;
                let note = match greeted {
                    Ok(Ok(version)) => (Grade::Ok, format!("speaks {version}")),
                    Ok(Err(reason)) => (Grade::Fault, reason),
                    Err(_) => (Grade::Fault, "the broker did not answer in time; give more with --timeout".to_owned()),
                };
                heading.notes.push(note);
                heading
            });
            continue;
        }
        match canary::topics(client, &route, &publishing).await {
            Ok(topics) => drop(canaries.spawn(async move { (heading, canary::send(&plan, topics).await) })),
            Err(problem) => {
                report.add(Finding::fault("canary", format!("{problem:#}")).of(&heading.name).shown_as(&heading.shown));
            }
        }
    }
    for heading in join_all(endpoints).await {
        report.add(heading.finding("webhook"));
    }
    let mut canaries = canaries.join_all().await;
    canaries.sort_by(|(one, _), (other, _)| one.shown.cmp(&other.shown));
    for (mut heading, outcomes) in canaries {
        match outcomes {
            Ok(outcomes) => canary::report(&heading.shown, &outcomes, report),
            Err(reason) => heading.notes.push((Grade::Fault, reason)),
        }
        if heading.notes.iter().any(|(grade, _)| *grade > Grade::Ok) {
            report.add(heading.finding("broker"));
        }
    }
    let mut greetings = greetings.join_all().await;
    greetings.sort_by(|one, other| one.shown.cmp(&other.shown));
    greetings.iter().for_each(|heading| report.add(heading.finding("broker")));
}

/// Looks whether an endpoint may be reached, without connecting to it, and whether its certificates can be used.
async fn endpoint(mut heading: Heading, webhook: Box<Webhook>, deadline: Instant) -> Heading {
    let looking = webhook.dialer.addresses(webhook.address.host(), webhook.address.port());
    // A name that is not found now may be found later, and the lane says so. What is refused is refused each time.
    let refused = match timeout_at(deadline, looking).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => Some(error.to_string()),
        _ => None,
    };
    let made = aside(deadline, move || {
        let (ca, identity) = webhook.certificates.parts();
        tls::client(ca, identity)
    });
    let made = made.await;
    let problems = refused.into_iter().chain(made.err());
    heading.notes.extend(problems.map(|problem| (Grade::Fault, problem)));
    if heading.notes.is_empty() {
        heading.notes.push((Grade::Ok, "fit to be called".to_owned()));
    }
    heading
}

/// Does what may read files aside: a disk that does not answer holds up nothing else.
async fn aside<T: Send + 'static, E: Into<anyhow::Error> + Send + 'static>(
    deadline: Instant,
    make: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, String> {
    match timeout_at(deadline, tokio::task::spawn_blocking(make)).await {
        Ok(Ok(made)) => made.map_err(|error| format!("{:#}", error.into())),
        Ok(Err(error)) => Err(format!("its files cannot be read: {error}")),
        Err(_) => Err("its files cannot be read in time".to_owned()),
    }
}

/// Notes what the lane itself knows of its broker, and what was not tried.
fn believe(heading: &mut Heading, live: &Live) {
    heading.notes.push(match live.is_connected {
        true => (
            Grade::Ok,
            "its lane is running; not tried beside it, since the broker might end the connection of the lane"
                .to_owned(),
        ),
        // Where the state of the lane says so already, it stands there once.
        false if heading.notes.iter().any(|(_, text)| text.ends_with(&live.reason)) => {
            (Grade::Fault, live.reason.clone())
        }
        false => (Grade::Fault, format!("its lane says: {}", live.reason)),
    });
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
