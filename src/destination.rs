//! A destination: a row of `mqtt_publishers` or `webhooks`, read and checked. In: the row as JSON, so that a column that a table lacks, or
//! has and others do not, does no harm. Out: everything that a lane needs, or every reason why the row cannot be used. It never skips a
//! row silently, and never connects.

mod broker_url;
mod fields;
pub mod publisher;
pub mod status_level;
pub mod webhook;

use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

use crate::destination::fields::Fields;
use crate::destination::publisher::Publisher;
use crate::destination::webhook::Webhook;
use crate::event::TenantId;
use crate::payload::Format;
use crate::router::EventPattern;
use crate::router::Route;
use crate::settings::MqttSettings;
use crate::settings::WebhookSettings;

/// The name of a lane: the table and the key of its destination's row, such as `public.webhooks/42`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneName(pub String);

impl AsRef<str> for LaneName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The text between a destination's lane and a replay's number in the name of a replay's lane.
const REPLAY: &str = "~replay/";

impl LaneName {
    /// Returns the name of the lane that serves a replay to the same destination.
    pub fn of_replay(&self, id: i64) -> LaneName {
        LaneName(format!("{}{REPLAY}{id}", self.0))
    }

    /// Returns the key of the destination's row, which all of its lanes share.
    pub fn key(&self) -> &str {
        let destination = self.0.split(REPLAY).next().unwrap_or_default();
        destination.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for LaneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kind of a destination, which follows from the table that its row is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationKind {
    /// A row of `mqtt_publishers`.
    Mqtt,
    /// A row of `webhooks`.
    Webhook,
}

/// A part of the log that a destination is to receive again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The id of its row in `andon.replays`.
    pub id: i64,
    /// The lowest id in the log that belongs to it.
    pub first: i64,
    /// The highest id in the log that belongs to it.
    pub last: i64,
    /// The events to deliver, of those that the destination takes.
    pub events: Vec<EventPattern>,
}

/// Settings for rows that have none of their own.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    /// For publishers.
    pub mqtt: MqttSettings,
    /// For webhooks.
    pub webhook: WebhookSettings,
}

/// A usable destination.
#[derive(Debug)]
pub struct Destination {
    /// Its tenant, the events it takes, and its lane.
    pub route: Route<LaneName>,
    /// The name that people know it by.
    pub name: String,
    /// Where its events go.
    pub target: Target,
}

/// Where the events of a destination go.
#[derive(Debug)]
pub enum Target {
    /// To an MQTT broker.
    Mqtt(Box<Publisher>),
    /// To an HTTP endpoint.
    Webhook(Box<Webhook>),
}

/// An active row, as far as it can be read.
#[derive(Debug)]
pub struct DestinationRow {
    /// The name of the lane that serves it.
    pub lane: LaneName,
    /// The tenant that it belongs to.
    pub tenant: TenantId,
    /// The name that people know it by.
    pub name: String,
    /// The time from which a new lane reads the log, if not from now on. It applies even if the row cannot be used yet.
    pub start_at: Option<Timestamp>,
    /// A digest that changes whenever the row changes, except for its bookkeeping.
    pub fingerprint: String,
    /// The replay that it stands for, if it does not stand for the destination itself.
    pub replay: Option<Replay>,
    /// The destination, or every reason why the row cannot be used.
    pub usable: Result<Destination, Vec<String>>,
}

/// Reads a row of `table`, and ignores it if it is not active.
pub fn read(
    kind: DestinationKind,
    table: &str,
    profile: Format,
    row: &Value,
    defaults: &Defaults,
) -> Option<DestinationRow> {
    let mut fields = Fields::new(row);
    if !fields.flag("active", true) {
        return None;
    }
    let lane = LaneName(format!("{table}/{}", fields.text("id").unwrap_or_default()));
    let tenant = TenantId(fields.text("tenant_id").unwrap_or_default());
    let name = fields.text("name").or_else(|| fields.text("url")).unwrap_or_else(|| lane.0.clone());
    let events = events(&mut fields);
    let start_at = fields.setting("start_at", "an RFC 3339 time", |text| text.parse::<Timestamp>().ok());
    let target = match kind {
        DestinationKind::Mqtt => {
            publisher::read(&mut fields, profile, &defaults.mqtt).map(|it| Target::Mqtt(Box::new(it)))
        }
        DestinationKind::Webhook => {
            webhook::read(&mut fields, profile, &defaults.webhook).map(|it| Target::Webhook(Box::new(it)))
        }
    };
    let fingerprint = fields.fingerprint();
    let kind_name = match kind {
        DestinationKind::Mqtt => "mqtt publisher",
        DestinationKind::Webhook => "webhook",
    };
    let problems = fields.problems();
    let usable = match target {
        Some(target) if problems.is_empty() => Ok(Destination {
            route: Route { tenant: tenant.clone(), events, lane: lane.clone() },
            name: name.clone(),
            target,
        }),
        _ => Err(problems.into_iter().map(|problem| format!("{kind_name} `{name}`: {problem}")).collect()),
    };
    Some(DestinationRow { lane, tenant, name, start_at, fingerprint, replay: None, usable })
}

/// The limits of a replay, which must not delay the live lane of its destination.
const REPLAY_WINDOW: u16 = 32;
const REPLAY_CONCURRENCY: usize = 2;

impl DestinationRow {
    /// Turns it into the row of a second lane, which delivers a part of the log again.
    pub fn for_replay(mut self, replay: Replay) -> DestinationRow {
        self.lane = self.lane.of_replay(replay.id);
        self.name = format!("{} (replay {})", self.name, replay.id);
        self.start_at = None;
        if let Ok(destination) = &mut self.usable {
            destination.route.lane = self.lane.clone();
            destination.name.clone_from(&self.name);
            match &mut destination.target {
                Target::Mqtt(publisher) => {
                    publisher.window = publisher.window.min(REPLAY_WINDOW);
                    publisher.status_level = format!("{}-replay-{}", publisher.status_level, replay.id);
                    // Of two connections with the same client id, a broker ends the older one.
                    publisher.client_id = publisher.client_id.take().map(|id| format!("{id}-replay-{}", replay.id));
                }
                Target::Webhook(webhook) => webhook.concurrency = webhook.concurrency.min(REPLAY_CONCURRENCY),
            }
        }
        self.replay = Some(replay);
        self
    }
}

fn events(fields: &mut Fields) -> Vec<EventPattern> {
    let texts = fields.list("events");
    if texts.is_empty() {
        fields.problem("events is empty; name event types such as `job.created` or `job.*`, or `*` for all".to_owned());
    }
    let mut patterns = Vec::new();
    for text in texts {
        match EventPattern::parse(&text) {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => fields.problem(error.to_string()),
        }
    }
    patterns
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(kind: DestinationKind, row: &Value) -> Vec<String> {
        read(kind, "andon.x", Format::Andon, row, &Defaults::default()).unwrap().usable.unwrap_err()
    }

    #[test]
    fn every_problem_of_a_webhook_is_reported_at_once() {
        let row = json!({"id": 1, "tenant_id": 7, "url": "ftp://erp", "secret_key": "", "events": ["job.#"],
            "settings": {"timeout": "soon", "timout": "5s", "order": "fifo"}});

        insta::assert_snapshot!(problems(DestinationKind::Webhook, &row).join("\n"), @r"
        webhook `ftp://erp`: event pattern `job.#` is none of `job.created`, `job.*` and `*`
        webhook `ftp://erp`: url `ftp://erp`: cannot speak `ftp`; use https://host/path
        webhook `ftp://erp`: secret_key is empty; set one or deactivate the webhook
        webhook `ftp://erp`: settings.timeout: `soon` is not a duration from 1ms to 60s (webhook.max_timeout)
        webhook `ftp://erp`: settings.order: `fifo` is not one of entity, strict, none
        webhook `ftp://erp`: settings.timout is unknown; did you mean `timeout`?
        ");
    }

    #[test]
    fn the_lane_of_a_replay_has_a_name_of_its_own_and_leaves_most_of_the_capacity_to_the_live_lane() {
        let row = json!({"id": "a1", "name": "plant", "broker_url": "mqtt://broker", "topic_pattern": "{event}", "events": ["*"],
            "settings": {"client_id": "gw", "window": 256}});
        let replay = Replay { id: 7, first: 1, last: 9, events: Vec::new() };

        let listed = read(DestinationKind::Mqtt, "andon.x", Format::Andon, &row, &Defaults::default())
            .unwrap()
            .for_replay(replay);

        assert_eq!((listed.lane.0.as_str(), listed.lane.key()), ("andon.x/a1~replay/7", "a1"));
        assert_eq!(listed.name, "plant (replay 7)");
        let Target::Mqtt(publisher) = listed.usable.unwrap().target else { panic!("a publisher") };
        assert_eq!((publisher.window, publisher.client_id.as_deref()), (32, Some("gw-replay-7")));
    }

    #[test]
    fn every_problem_of_a_publisher_is_reported_at_once() {
        let row = json!({"id": 1, "name": "plant", "broker_url": "http://broker", "port": 70000,
            "topic_pattern": "{site}/#/{cel}", "events": null, "settings": {"naming": "ASCII", "window": 0, "order": "fifo"}});

        insta::assert_snapshot!(problems(DestinationKind::Mqtt, &row).join("\n"), @r"
        mqtt publisher `plant`: events is empty; name event types such as `job.created` or `job.*`, or `*` for all
        mqtt publisher `plant`: broker_url `http://broker`: cannot speak `http`; use mqtt://host or mqtts://host
        mqtt publisher `plant`: port 70000 is not between 1 and 65535
        mqtt publisher `plant`: topic_pattern `{site}/#/{cel}`, column 8: `#` is a wildcard, and one cannot publish to a wildcard; remove it
        mqtt publisher `plant`: topic_pattern `{site}/#/{cel}`, column 10: unknown placeholder `{cel}`; did you mean `{cell}`?
        mqtt publisher `plant`: settings.naming: `ASCII` is not one of ascii, verbatim, eryxon
        mqtt publisher `plant`: settings.window: `0` is not a number from 1 to 1000
        mqtt publisher `plant`: settings.order: `fifo` is not one of entity, strict, none
        ");
    }

    #[test]
    fn a_row_of_the_seed_is_read_and_its_bookkeeping_changes_nothing() {
        let mut row = json!({"id": "a1", "tenant_id": "t1", "name": "plant", "broker_url": "mqtts://broker.plant", "port": 8883,
            "username": "u", "password": "p", "use_tls": false, "topic_pattern": "{site}/{event}", "events": ["*"],
            "active": true, "default_site": "chicago", "last_connected_at": null, "created_by": null});
        let listed =
            read(DestinationKind::Mqtt, "public.mqtt_publishers", Format::Eryxon, &row, &Defaults::default()).unwrap();
        row["last_connected_at"] = json!("2026-11-20T10:00:00Z");
        let later =
            read(DestinationKind::Mqtt, "public.mqtt_publishers", Format::Eryxon, &row, &Defaults::default()).unwrap();
        row["port"] = json!(8884);
        let changed =
            read(DestinationKind::Mqtt, "public.mqtt_publishers", Format::Eryxon, &row, &Defaults::default()).unwrap();

        let Target::Mqtt(publisher) = listed.usable.unwrap().target else { panic!("a publisher") };
        assert!(publisher.tls, "mqtts:// asks for TLS");
        assert_eq!((publisher.host.as_str(), publisher.port), ("broker.plant", 8883));
        assert_eq!(listed.lane.to_string(), "public.mqtt_publishers/a1");
        assert_eq!(listed.fingerprint, later.fingerprint);
        assert_ne!(listed.fingerprint, changed.fingerprint);
        row["active"] = json!(false);
        assert!(read(DestinationKind::Mqtt, "t", Format::Eryxon, &row, &Defaults::default()).is_none());
    }
}
