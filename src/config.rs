//! The configuration. In: a TOML file and environment variables. Out: the settings of every part, or everything that is wrong at once,
//! each problem with its key. It never connects, and never shows a secret.

mod environment;
mod key_files;
mod layers;
mod problem;
mod unreadable;

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::layers::Layers;
use crate::database;
use crate::egress::Egress;
use crate::retry::Schedule;
use crate::sealing::Keys;
use crate::secret::Secret;
use crate::settings::MqttSettings;
use crate::settings::Order;
use crate::settings::Retention;
use crate::settings::WebhookSettings;
use crate::topic::Equipment;
use crate::topic::Levels;

pub use crate::config::environment::Environment;
pub use crate::config::environment::environment;
pub use crate::config::problem::ConfigError;
pub use crate::config::problem::Problem;

/// The commented reference file, which holds all defaults.
pub const REFERENCE: &str = include_str!("../config/andon.toml");

/// Where the configuration is looked for if no other path is given.
pub const DEFAULT_PATH: &str = "config/andon.toml";

/// Everything that can be set, after checking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The database that Andon is attached to.
    pub database: database::Settings,
    /// The name of this instance, for status topics and logs.
    pub name: String,
    /// How long deliveries under way may take to finish after the signal to stop.
    pub grace: Duration,
    /// How many bytes of memory recent events may take.
    pub log_memory: usize,
    /// What destinations may reach.
    pub egress: Egress,
    /// Defaults for MQTT publishers.
    pub mqtt: MqttSettings,
    /// Defaults for webhooks.
    pub webhook: WebhookSettings,
    /// The directory of the certificates and keys that the rows of destinations may name.
    pub certificates: Option<PathBuf>,
    /// What seals and opens the secrets of Andon's own tables.
    pub keys: Keys,
    /// With what the notifications of signed channels are signed.
    pub channel_key: Option<Secret>,
    /// How much of the past the database keeps.
    pub retention: Retention,
    /// The ISA-95 levels of each cell.
    pub equipment: Equipment,
    /// What can be used, but should not stay so.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Reads `file`, if there is one, and the environment, which overrides it. `database_url` comes from the command line and overrides
    /// both.
    pub fn load(
        file: Option<&Path>,
        environment: Environment,
        database_url: Option<&str>,
    ) -> Result<Config, ConfigError> {
        let (config, problems) = Config::inspect(file, environment, database_url)?;
        if problems.is_empty() { Ok(config) } else { Err(ConfigError::Problems { path: origin(file), problems }) }
    }

    /// Does the same as `load`, but returns the problems instead of failing. A value with a problem has its default.
    pub fn inspect(
        file: Option<&Path>,
        environment: Environment,
        database_url: Option<&str>,
    ) -> Result<(Config, Vec<Problem>), ConfigError> {
        let text = match file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?,
            None => String::new(),
        };
        Config::read(&text, file, environment, database_url)
    }

    fn read(
        text: &str,
        file: Option<&Path>,
        environment: Environment,
        url: Option<&str>,
    ) -> Result<(Config, Vec<Problem>), ConfigError> {
        let table = text.parse().map_err(|error| ConfigError::syntax(origin(file), text, &error))?;
        let mut layers = Layers::new(table, file.and_then(Path::parent), environment);
        let config = Config::compose(&mut layers, url);
        Ok((config, layers.finish()))
    }

    fn compose(layers: &mut Layers, url: Option<&str>) -> Config {
        let database = database(layers, url);
        Config {
            egress: egress(layers).guard(database::endpoints(&database.url)),
            database,
            name: name(layers),
            grace: layers.duration("gateway", "grace", Duration::from_secs(10), Duration::ZERO..=HOUR),
            log_memory: layers.size("log", "memory", 32 << 20, 1 << 20..=usize::MAX),
            mqtt: mqtt(layers),
            webhook: webhook(layers),
            certificates: layers.directory("certificates", "directory"),
            keys: key_files::read(layers),
            channel_key: channel_key(layers),
            retention: retention(layers),
            equipment: equipment(layers),
            warnings: std::mem::take(&mut layers.warnings),
        }
    }
}

fn origin(file: Option<&Path>) -> PathBuf {
    file.map_or_else(|| PathBuf::from("environment"), Path::to_owned)
}

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);
/// Ten years, which is longer than anybody needs and within what PostgreSQL can calculate.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Chooses the URL of the database. One that is meant for Andon beats one that is meant for any program: first the command line, then
/// ANDON_…, then the file, and last DATABASE_URL.
fn database(layers: &mut Layers, url: Option<&str>) -> database::Settings {
    let set = layers.secret("database", "url");
    let fallback = || layers.variable("DATABASE_URL").map(Secret::new);
    let url = url.map(|url| Secret::new(url.to_owned())).or(set).or_else(fallback);
    if let Some(url) = &url
        && let Err(problem) = database::check_url(url)
    {
        layers.problem("database.url", problem.to_string());
    }
    if url.is_none() && !layers.has_problem("database", "url") {
        let message =
            "is not set; set it, url_file, ANDON_DATABASE_URL or DATABASE_URL, such as postgres://user@host:5432/name";
        layers.problem("database.url", message.to_owned());
    }
    let url = url.unwrap_or_else(|| Secret::new(String::new()));
    database::Settings { url, ca_file: layers.file("database", "ca_file") }
}

fn name(layers: &mut Layers) -> String {
    let name = layers.text("gateway", "name").unwrap_or_else(host_name);
    // The name is a level of the status topics.
    if name.chars().any(|c| matches!(c, '/' | '+' | '#') || c.is_control()) || name.starts_with('$') {
        layers.problem(
            "gateway.name",
            format!("`{name}` cannot be a level of a topic; leave out `/`, `+`, `#` and a leading `$`"),
        );
    }
    name
}

fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "andon".to_owned())
}

fn egress(layers: &mut Layers) -> Egress {
    let allowed = layers.parsed_list("egress", "allow", Egress::default(), |items| Egress::default().allow(items));
    let denied = |items: &[String]| allowed.clone().deny(items);
    let listed = layers.parsed_list("egress", "deny", allowed.clone(), denied);
    let Some(proxy) = layers.secret("egress", "proxy") else { return listed };
    listed.clone().through(proxy.expose()).unwrap_or_else(|problem| {
        layers.problem("egress.proxy", problem);
        listed
    })
}

fn mqtt(layers: &mut Layers) -> MqttSettings {
    let default = MqttSettings::default();
    MqttSettings {
        window: layers.number("mqtt", "window", default.window, 1..=1000),
        keep_alive: layers.duration("mqtt", "keep_alive", default.keep_alive, SECOND..=HOUR),
        // The largest packet that MQTT allows.
        max_payload: layers.size("mqtt", "max_payload", default.max_payload, 1..=268_435_455),
        order: layers.choice("mqtt", "order", default.order, Order::CHOICES, Order::parse),
        ca_file: layers.file("mqtt", "ca_file"),
    }
}

fn webhook(layers: &mut Layers) -> WebhookSettings {
    let default = WebhookSettings::default();
    WebhookSettings {
        concurrency: layers.number("webhook", "concurrency", default.concurrency, 1..=256),
        max_concurrency: layers.number("webhook", "max_concurrency", default.max_concurrency, 1..=256),
        timeout: layers.duration("webhook", "timeout", default.timeout, SECOND..=HOUR),
        max_timeout: layers.duration("webhook", "max_timeout", default.max_timeout, SECOND..=HOUR),
        max_payload: layers.size("webhook", "max_payload", default.max_payload, 1..=1 << 30),
        retry: layers.parsed_list("webhook", "retry", default.retry, Schedule::parse),
        order: layers.choice("webhook", "order", default.order, Order::CHOICES, Order::parse),
        ca_file: layers.file("webhook", "ca_file"),
    }
}

/// The shortest key that nobody guesses.
const SHORTEST_KEY: usize = 16;

fn channel_key(layers: &mut Layers) -> Option<Secret> {
    let key = layers.secret("channels", "key")?;
    if key.expose().len() < SHORTEST_KEY {
        let message = format!("has fewer than {SHORTEST_KEY} characters and could be guessed; use 32 random ones");
        layers.problem("channels.key", message);
    }
    Some(key)
}

fn retention(layers: &mut Layers) -> Retention {
    let default = Retention::default();
    Retention {
        log_age: layers.duration("retention", "log_age", default.log_age, HOUR..=LONGEST),
        // With less, the partitions of the log would be too small to be worth their cost.
        log_size: layers.size("retention", "log_size", default.log_size, 64 << 20..=usize::MAX),
        attempts_age: layers.duration("retention", "attempts_age", default.attempts_age, HOUR..=LONGEST),
    }
}

fn equipment(layers: &mut Layers) -> Equipment {
    let mut cells = Equipment::default();
    for cell in layers.names_within("equipment") {
        let section = format!("equipment.{cell}");
        let mut level = |name| layers.text(&section, name);
        let levels = Levels {
            enterprise: level("enterprise"),
            site: level("site"),
            area: level("area"),
            line: level("line"),
            cell: None,
        };
        cells.0.insert(cell, levels);
    }
    cells
}

#[cfg(test)]
mod tests;
