//! A destination: a row of `mqtt_publishers` or `webhooks`, read and checked. In: the row as JSON, so that a column that a table lacks, or
//! has and others do not, does no harm. Out: everything that a lane needs, or every reason why the row cannot be used. It never skips a
//! row silently, never connects, and whatever stands in a row, the reading of it does not fail.

pub mod address;
mod broker_url;
pub mod certificates;
pub mod client_id;
pub mod credentials;
mod defaults;
pub mod echo;
mod fields;
pub mod publisher;
pub mod sealed;
pub mod status_level;
pub mod webhook;

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use sha2::Digest as _;
use sha2::Sha256;

pub use crate::destination::defaults::Defaults;
use crate::destination::fields::Fields;
use crate::destination::publisher::Publisher;
use crate::destination::sealed::SealedRow;
use crate::destination::webhook::Webhook;
use crate::event::ALL_TENANTS;
use crate::event::TenantId;
use crate::legible;
use crate::payload::Format;
use crate::router::EventPattern;
use crate::router::Route;

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

    /// Returns the name of the lane of the row with this key. A key that is too long for an index of PostgreSQL is told apart by a digest.
    fn of_row(table: &str, key: &str) -> LaneName {
        if key.len() <= LONGEST_KEY {
            return LaneName(format!("{table}/{key}"));
        }
        let digest: String = Sha256::digest(key).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        LaneName(format!("{table}/{}~{digest}", key.chars().take(20).collect::<String>()))
    }

    /// Returns whether this is a lane of a row of this table.
    pub fn is_of_table(&self, table: &str) -> bool {
        self.0.strip_prefix(table).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Returns the lane of the destination that this one serves, which is itself unless it serves a replay.
    pub fn of_destination(&self) -> LaneName {
        LaneName(self.0.split(REPLAY).next().unwrap_or_default().to_owned())
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

/// A row of a destination table, as PostgreSQL gives it.
#[derive(Debug, Clone, Copy)]
pub struct TableRow<'a> {
    /// The row's key as text; empty if it has none.
    pub key: &'a str,
    /// The row as a JSON object, or why there is none.
    pub json: Result<&'a str, &'a str>,
}

/// A row that was read.
#[derive(Debug)]
pub enum Listed {
    /// It is to be served, or its state is to say why it cannot.
    Active(Box<DestinationRow>),
    /// It is switched off.
    Inactive(LaneName),
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
    /// Whether nothing is to be sent for now, although the destination keeps its place in the log.
    pub is_paused: bool,
    /// A digest that changes whenever the row changes, except for its bookkeeping.
    pub fingerprint: String,
    /// The ids of the keys that open what is sealed in the row. Some of them may be missing here.
    pub keys: BTreeSet<String>,
    /// The replay that it stands for, if it does not stand for the destination itself.
    pub replay: Option<Replay>,
    /// The destination, or every reason why the row cannot be used.
    pub usable: Result<Destination, Vec<String>>,
}

/// The longest key that stands in a lane's name as it is.
const LONGEST_KEY: usize = 200;
/// The longest name of a tenant.
const LONGEST_TENANT: usize = 512;
/// Letters that nobody sees, and that Unicode does not count among the blanks.
const INVISIBLE: [char; 7] = ['\u{200b}', '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{2060}', '\u{feff}'];
/// How many letters of a name are shown.
const NAME_LETTERS: usize = 200;
/// How many letters the reasons why a row cannot be used have together.
const REASON_LETTERS: usize = 2000;

/// Reads a row of `table`.
pub fn read(kind: DestinationKind, table: &str, profile: Format, row: TableRow<'_>, defaults: &Defaults) -> Listed {
    let key = row.key.trim();
    let sealed = OWNERS_TABLES.contains(&table).then_some(SealedRow { keys: &defaults.keys, table, row: key });
    let mut fields = Fields::new(row.json.unwrap_or("{}"), sealed);
    let lane = LaneName::of_row(table, key);
    if !fields.flag("active", true) {
        return Listed::Inactive(lane);
    }
    if key.is_empty() || key.len() > LONGEST_KEY || key.contains('\0') {
        fields.problem(format!("its column id is empty or longer than {LONGEST_KEY} bytes; give it a key of its own"));
    }
    let tenant = tenant(&mut fields, table);
    let name = fields.text("name").unwrap_or_else(|| nameless(kind, &mut fields, &lane));
    let name: String = legible::line(name).chars().take(NAME_LETTERS).collect();
    let events = events(&mut fields);
    let start_at = fields.setting("start_at", "an RFC 3339 time", |text| text.parse::<Timestamp>().ok());
    let is_paused = fields.flag_setting("paused");
    let egress = defaults.egress.of_tenant(&tenant.0);
    let target = match kind {
        DestinationKind::Mqtt => {
            publisher::read(&mut fields, profile, defaults, &egress).map(|it| Target::Mqtt(Box::new(it)))
        }
        DestinationKind::Webhook => {
            webhook::read(&mut fields, profile, defaults, &egress).map(|it| Target::Webhook(Box::new(it)))
        }
    };
    let (fingerprint, keys) = (fields.fingerprint(&defaults.keys), fields.keys().clone());
    let kind_name = match kind {
        DestinationKind::Mqtt => "mqtt publisher",
        DestinationKind::Webhook => "webhook",
    };
    // Of a row that was not read nothing else is known, and what it seems to lack may stand in it.
    let problems = match row.json {
        Ok(_) => fields.problems(),
        Err(reason) => vec![reason.to_owned()],
    };
    let usable = match target {
        Some(target) if problems.is_empty() => Ok(Destination {
            route: Route { tenant: tenant.clone(), events, lane: lane.clone() },
            name: name.clone(),
            target,
        }),
        _ => {
            let told = bounded(problems).into_iter().map(legible::line);
            Err(told.map(|problem| format!("{kind_name} `{name}`: {problem}")).collect())
        }
    };
    // Before the first event there is nothing: a time of long ago is the beginning of the log, and not one that PostgreSQL cannot hold.
    let start_at = start_at.map(|time| time.max(Timestamp::UNIX_EPOCH));
    Listed::Active(Box::new(DestinationRow {
        lane,
        tenant,
        name,
        start_at,
        is_paused,
        fingerprint,
        keys,
        replay: None,
        usable,
    }))
}

/// Returns how a destination is called that has no name: its address without what may be a secret, and the key that tells it from others there.
fn nameless(kind: DestinationKind, fields: &mut Fields<'_>, lane: &LaneName) -> String {
    let shown = match kind {
        DestinationKind::Mqtt => None,
        DestinationKind::Webhook => fields.text("url").and_then(|text| address::shown_of(&text)),
    };
    shown.map_or_else(|| lane.0.clone(), |shown| format!("{shown}#{}", lane.key()))
}

/// The tables that only the owner of schema `andon` writes. A row of another table, which tenants may write, speaks for one tenant only.
const OWNERS_TABLES: [&str; 2] = ["andon.mqtt_publishers", "andon.webhooks"];

fn tenant(fields: &mut Fields, table: &str) -> TenantId {
    let tenant = fields.verbatim("tenant_id").unwrap_or_default();
    let is_blank = |letter: char| letter.is_whitespace() || letter.is_control() || INVISIBLE.contains(&letter);
    if tenant.starts_with(is_blank) || tenant.ends_with(is_blank) {
        // Trimmed, it would be another tenant's name.
        fields.problem(format!("tenant_id {tenant:?} has a blank at an end; write it exactly as the events have it"));
    }
    if tenant.len() > LONGEST_TENANT {
        fields.problem(format!("tenant_id is longer than {LONGEST_TENANT} bytes"));
        return TenantId(String::new());
    }
    if tenant == ALL_TENANTS && !OWNERS_TABLES.contains(&table) {
        let tables = OWNERS_TABLES.join(" or ");
        fields.problem(format!(
            "tenant_id `*` means the events of all tenants, for which only a row of {tables} may ask"
        ));
    }
    TenantId(tenant)
}

/// Returns the problems whose texts fit into a state that people can read.
fn bounded(problems: Vec<String>) -> Vec<String> {
    let mut left = REASON_LETTERS;
    let mut kept = Vec::new();
    for problem in problems {
        let letters = problem.chars().count();
        if left == 0 {
            break;
        }
        kept.push(if letters > left {
            format!("{}...", problem.chars().take(left).collect::<String>())
        } else {
            problem
        });
        left = left.saturating_sub(letters);
    }
    kept
}

/// The limits of a replay, which must not delay the live lane of its destination.
const REPLAY_WINDOW: u16 = 32;
const REPLAY_CONCURRENCY: usize = 2;

impl DestinationRow {
    /// Makes the row unusable, because PostgreSQL refuses to store what it says. Returns false if this was done already.
    pub fn refuse(&mut self, error: &str) -> bool {
        let reason = format!("what its row says cannot be stored: {error}");
        self.name = self.lane.0.chars().filter(char::is_ascii).collect();
        let was_refused = self.usable.as_ref().err().is_some_and(|reasons| reasons.contains(&reason));
        self.usable = Err(vec![reason]);
        !was_refused
    }

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
                    publisher.client_id = publisher.client_id.take().map(|id| client_id::of_replay(&id, replay.id));
                }
                Target::Webhook(webhook) => webhook.concurrency = webhook.concurrency.min(REPLAY_CONCURRENCY),
            }
        }
        self.replay = Some(replay);
        self
    }
}

fn events(fields: &mut Fields) -> Vec<EventPattern> {
    let Some(texts) = fields.list("events") else { return Vec::new() };
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
mod tests;
