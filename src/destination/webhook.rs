//! A row of `webhooks`. In: its columns and settings. Out: where to POST, how to sign, and when to try again.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::destination::fields::Fields;
use crate::payload::Format;
use crate::quantity;
use crate::retry::Schedule;
use crate::settings::Order;
use crate::settings::WebhookSettings;
use crate::signature::WebhookSecret;

/// A webhook.
#[derive(Debug)]
pub struct Webhook {
    /// The URL to POST to.
    pub url: Url,
    /// The secret that signs each request.
    pub secret: WebhookSecret,
    /// The shape of the body; `eryxon` adds that system's headers.
    pub format: Format,
    /// How many requests may be open at a time.
    pub concurrency: usize,
    /// How long one attempt may take, including the response.
    pub timeout: Duration,
    /// When a failed delivery is tried again.
    pub retry: Schedule,
    /// Which events wait for a failed delivery.
    pub order: Order,
    /// CA certificates (PEM) to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

pub(super) fn read(fields: &mut Fields, profile: Format, settings: &WebhookSettings) -> Option<Webhook> {
    let url = url(fields);
    let secret = WebhookSecret::parse(&fields.text("secret_key").unwrap_or_default());
    if let Err(problem) = &secret {
        fields.problem(problem.to_string());
    }
    let format = fields.setting("format", "one of andon, eryxon", Format::parse).unwrap_or(profile);
    let concurrency = fields.setting("concurrency", "a number from 1 to 256", |text| {
        text.parse().ok().filter(|number| (1..=256).contains(number))
    });
    let timeout = fields.setting("timeout", "a duration such as 15s", |text| quantity::duration(text).ok());
    let waits = fields.list_setting("retry");
    let retry = waits.and_then(|waits| match Schedule::parse(&waits) {
        Ok(schedule) => Some(schedule),
        Err(problem) => {
            fields.problem(format!("settings.retry: {problem}"));
            None
        }
    });
    let order = fields.setting("order", Order::CHOICES, Order::parse);
    let ca_file = fields.setting("ca_file", "a path", |text| Some(PathBuf::from(text)));
    Some(Webhook {
        url: url?,
        secret: secret.ok()?,
        format,
        concurrency: concurrency.unwrap_or(settings.concurrency),
        timeout: timeout.unwrap_or(settings.timeout),
        retry: retry.unwrap_or_else(|| settings.retry.clone()),
        order: order.unwrap_or(settings.order),
        ca_file: ca_file.or_else(|| settings.ca_file.clone()),
    })
}

fn url(fields: &mut Fields) -> Option<Url> {
    let text = fields.text("url").unwrap_or_default();
    let problem = match Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => return Some(url),
        Ok(url) => format!("url `{text}`: cannot speak `{}`; use https://host/path", url.scheme()),
        Err(error) => format!("url `{text}`: {error}; use https://host/path"),
    };
    fields.problem(problem);
    None
}
