//! A row of `mqtt_publishers`. In: its columns and settings. Out: how to reach the broker, and how to make topics and payloads.

use std::time::Duration;

use crate::destination::broker_url;
use crate::destination::broker_url::BrokerUrl;
use crate::destination::certificates;
use crate::destination::certificates::Certificates;
use crate::destination::client_id;
use crate::destination::defaults::Defaults;
use crate::destination::fields::Fields;
use crate::destination::status_level;
use crate::egress;
use crate::egress::Dialer;
use crate::egress::Egress;
use crate::payload::Format;
use crate::quantity;
use crate::secret::Secret;
use crate::settings::Order;
use crate::topic::Levels;
use crate::topic::Missing;
use crate::topic::Naming;
use crate::topic::Pattern;

/// An MQTT publisher.
#[derive(Debug)]
pub struct Publisher {
    /// The level of its status topic that names it.
    pub status_level: String,
    /// Host name or address of the broker.
    pub host: String,
    /// Port of the broker.
    pub port: u16,
    /// Connects to the broker, if that may be reached.
    pub dialer: Dialer,
    /// Whether to use TLS.
    pub tls: bool,
    /// The protocol that its TLS names (ALPN), for a broker that shares its port with others.
    pub alpn: Option<String>,
    /// What its TLS trusts and shows.
    pub certificates: Certificates,
    /// User name at the broker.
    pub username: Option<String>,
    /// Password at the broker.
    pub password: Option<Secret>,
    /// Client id, for a broker that ties rights to it; by default Andon makes one up.
    pub client_id: Option<String>,
    /// The compiled `topic_pattern`.
    pub topic: Pattern,
    /// How values are written in topics.
    pub naming: Naming,
    /// What happens to a placeholder without a value; by default the naming decides.
    pub missing: Option<Missing>,
    /// The levels of events that do not know their own: `default_enterprise`, `default_site`, `default_area`.
    pub levels: Levels,
    /// The shape of the payload.
    pub format: Format,
    /// How many publishes may be unacknowledged at a time.
    pub window: u16,
    /// The keep-alive time of the MQTT connection.
    pub keep_alive: Duration,
    /// The largest payload that is published, in bytes.
    pub max_payload: usize,
    /// Which events keep their order.
    pub order: Order,
    /// The most events per second, if the row limits them.
    pub rate: Option<u32>,
    /// The only version of MQTT to speak, if the row names one.
    pub version: Option<MqttVersion>,
}

/// A version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 5
    V5,
    /// MQTT 3.1.1
    V4,
}

impl Publisher {
    /// Returns its broker, written in one way in whatever way the row writes it.
    pub fn broker(&self) -> String {
        format!("{}:{}", egress::canonical(&self.host), self.port)
    }
}

impl MqttVersion {
    /// The texts that [`MqttVersion::parse`] knows, for error messages.
    const CHOICES: &str = "one of 5, 3.1.1";

    fn parse(text: &str) -> Option<MqttVersion> {
        Some(match text {
            "5" | "5.0" => MqttVersion::V5,
            "3.1.1" => MqttVersion::V4,
            _ => return None,
        })
    }
}

pub(super) fn read(fields: &mut Fields, profile: Format, defaults: &Defaults, egress: &Egress) -> Option<Publisher> {
    let settings = &defaults.mqtt;
    let address = address(fields).filter(|(host, port, _)| match egress.judge(host, *port) {
        Ok(()) => true,
        Err(refused) => {
            fields.problem(format!("broker_url: {refused}"));
            false
        }
    });
    let topic = topic(fields);
    let (naming, format) = match profile {
        Format::Andon => (Naming::Ascii, Format::Andon),
        Format::Eryxon => (Naming::Eryxon, Format::Eryxon),
    };
    let levels = Levels {
        enterprise: fields.text("default_enterprise"),
        site: fields.text("default_site"),
        area: fields.text("default_area"),
        line: None,
        cell: None,
    };
    // A blank at an end may belong to them.
    let username = fields.verbatim("username");
    let password = fields.verbatim("password").map(Secret::new);
    let naming = fields.setting("naming", "one of ascii, verbatim, eryxon", Naming::parse).unwrap_or(naming);
    let missing = fields.setting("missing", "one of placeholder, drop, reject", Missing::parse);
    let format = fields.setting("format", "one of andon, eryxon", Format::parse).unwrap_or(format);
    let window = fields.setting("window", "a number from 1 to 1000", |text| {
        text.parse().ok().filter(|window| (1..=1000).contains(window))
    });
    let keep_alive = fields.setting("keep_alive", "a duration such as 15s", |text| quantity::duration(text).ok());
    let max_payload = fields.setting("max_payload", "a size such as 1MiB", |text| quantity::bytes(text).ok());
    let order = fields.setting("order", Order::CHOICES, Order::parse);
    let rate = fields.setting("rate", "a number of events per second from 1 to 100000", |text| {
        text.parse().ok().filter(|rate| (1..=100_000).contains(rate))
    });
    let client_id = fields
        .setting("client_id", "a string that is not empty", |text| Some(text.to_owned()).filter(|id| !id.is_empty()));
    if let Some((id, problem)) = client_id.as_ref().and_then(|id| Some((id, client_id::refusal(id)?))) {
        fields.problem(format!("settings.client_id `{id}`: {problem}"));
    }
    let version = fields.setting("version", MqttVersion::CHOICES, MqttVersion::parse);
    let alpn = fields.setting("alpn", "the name of a protocol, such as mqtt or x-amzn-mqtt-ca", |text| {
        Some(text.to_owned())
            .filter(|name| (1..=255).contains(&name.len()) && name.bytes().all(|it| it.is_ascii_graphic()))
    });
    let certificates = certificates::read(fields, defaults.certificates.as_deref(), settings.ca_file.as_deref());
    let (host, port, tls) = address?;
    if alpn.is_some() && !tls {
        fields.problem("settings.alpn is set, and only TLS can name a protocol; use mqtts:// or remove it".to_owned());
    }
    Some(Publisher {
        status_level: status_level::clean(&fields.text("name").unwrap_or_default()),
        host,
        port,
        dialer: egress.dialer(),
        tls,
        alpn,
        certificates,
        username,
        password,
        client_id,
        topic: topic?,
        naming,
        missing,
        levels,
        format,
        window: window.unwrap_or(settings.window),
        keep_alive: keep_alive.unwrap_or(settings.keep_alive),
        max_payload: max_payload.unwrap_or(settings.max_payload),
        order: order.unwrap_or(settings.order),
        rate,
        version,
    })
}

/// Reads host, port and TLS. A port in `broker_url` wins over the column `port`.
fn address(fields: &mut Fields) -> Option<(String, u16, bool)> {
    let Some(text) = fields.text("broker_url") else {
        fields.problem("broker_url is empty; set it to the broker's host, or to mqtt://host".to_owned());
        return None;
    };
    let column = fields.text("port").map(|port| broker_url::read_port(&port).ok_or(port));
    let url = broker_url::parse(&text);
    let in_url = url.as_ref().ok().and_then(|url| url.port);
    if let Err(problems) = &url {
        problems.iter().for_each(|problem| fields.problem(problem.clone()));
    }
    if let Some(Err(port)) = &column
        && in_url.is_none()
    {
        fields.problem(format!("port {port} is not between 1 and 65535"));
    }
    let BrokerUrl { host, tls, .. } = url.ok()?;
    let tls = tls || fields.flag("use_tls", false);
    let default_port = if tls { 8883 } else { 1883 };
    let port = in_url.map_or_else(|| column.unwrap_or(Ok(default_port)).ok(), Some)?;
    Some((host, port, tls))
}

fn topic(fields: &mut Fields) -> Option<Pattern> {
    let text = fields.text("topic_pattern").unwrap_or_else(|| "{enterprise}/{site}/{area}/{cell}/{event}".to_owned());
    match Pattern::compile(&text) {
        Ok(pattern) => Some(pattern),
        Err(problems) => {
            for problem in problems {
                fields.problem(format!("topic_pattern `{text}`, {problem}"));
            }
            None
        }
    }
}
