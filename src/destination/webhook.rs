//! A row of `webhooks`. In: its columns and settings. Out: where to POST, how to sign, and when to try again.

use std::time::Duration;

use jiff::Timestamp;

use crate::destination::address::Address;
use crate::destination::certificates;
use crate::destination::certificates::Certificates;
use crate::destination::credentials;
use crate::destination::credentials::Credentials;
use crate::destination::defaults::Defaults;
use crate::destination::fields::Fields;
use crate::egress::Dialer;
use crate::egress::Egress;
use crate::payload::Format;
use crate::quantity;
use crate::retry::Schedule;
use crate::secret::Secret;
use crate::settings::Order;
use crate::signature::WebhookSecret;

/// A webhook.
#[derive(Debug)]
pub struct Webhook {
    /// Where to POST to.
    pub address: Address,
    /// Connects to the address's host, if that may be reached.
    pub dialer: Dialer,
    /// The secret that signs each request.
    pub secret: WebhookSecret,
    /// The shape of the body; `eryxon` adds that system's headers.
    pub format: Format,
    /// How many requests may be open at a time.
    pub concurrency: usize,
    /// How long an attempt may take until the head of its answer is there.
    pub timeout: Duration,
    /// The largest body that is sent, in bytes.
    pub max_payload: usize,
    /// When a failed delivery is tried again.
    pub retry: Schedule,
    /// Which events wait for a failed delivery.
    pub order: Order,
    /// What its TLS trusts and shows.
    pub certificates: Certificates,
    /// What its requests show.
    pub credentials: Credentials,
}

const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);

/// Reads the row. What it asks for beyond a ceiling of the configuration is a problem, and not silently made less.
pub(super) fn read(fields: &mut Fields, profile: Format, defaults: &Defaults, egress: &Egress) -> Option<Webhook> {
    let settings = &defaults.webhook;
    let address = address(fields, egress);
    // A blank at an end may belong to it.
    let secret = WebhookSecret::parse(&fields.verbatim("secret_key").unwrap_or_default());
    if let Err(problem) = &secret
        && !fields.is_shut("secret_key")
    {
        fields.problem(problem.to_string());
    }
    let secret = secret.ok().and_then(|secret| with_previous(fields, secret));
    let format = fields.setting("format", "one of andon, eryxon", Format::parse).unwrap_or(profile);
    let most = settings.concurrency.max(settings.max_concurrency);
    let wanted = format!("a number from 1 to {most} (webhook.max_concurrency)");
    let concurrency =
        fields.setting("concurrency", &wanted, |text| text.parse().ok().filter(|number| (1..=most).contains(number)));
    let longest = settings.timeout.max(settings.max_timeout);
    let wanted = format!("a duration from 1ms to {longest:?} (webhook.max_timeout)");
    let timeout = fields.setting("timeout", &wanted, |text| {
        quantity::duration(text).ok().filter(|timeout| (SHORTEST_TIMEOUT..=longest).contains(timeout))
    });
    let wanted = format!("a size from 1 to {} bytes (webhook.max_payload)", settings.max_payload);
    let max_payload = fields.setting("max_payload", &wanted, |text| {
        quantity::bytes(text).ok().filter(|size| (1..=settings.max_payload).contains(size))
    });
    let waits = fields.list_setting("retry");
    let retry = waits.and_then(|waits| match Schedule::parse(&waits) {
        Ok(schedule) => Some(schedule),
        Err(problem) => {
            fields.problem(format!("settings.retry: {problem}"));
            None
        }
    });
    let order = fields.setting("order", Order::CHOICES, Order::parse);
    let certificates = certificates::read(fields, defaults.certificates.as_deref(), settings.ca_file.as_deref());
    let mut credentials = credentials::read(fields, address.as_ref(), egress);
    if secret.is_some() {
        let columns = ["secret_key", "previous_secret_key"];
        credentials.signing =
            columns.into_iter().filter_map(|column| fields.verbatim(column)).map(Secret::new).collect();
    }
    Some(Webhook {
        address: address?,
        dialer: egress.dialer(),
        secret: secret?,
        format,
        concurrency: concurrency.unwrap_or(settings.concurrency),
        timeout: timeout.unwrap_or(settings.timeout),
        max_payload: max_payload.unwrap_or(settings.max_payload),
        retry: retry.unwrap_or_else(|| settings.retry.clone()),
        order: order.unwrap_or(settings.order),
        certificates,
        credentials,
    })
}

/// Adds the secret that the row had before, as long as it signs too.
fn with_previous(fields: &mut Fields, secret: WebhookSecret) -> Option<WebhookSecret> {
    let Some(text) = fields.verbatim("previous_secret_key") else { return Some(secret) };
    let until = fields.text("previous_secret_until").unwrap_or_default();
    let Ok(until) = until.parse::<Timestamp>() else {
        fields.problem("previous_secret_until is not a time; set it to when the secret before is to end".to_owned());
        return None;
    };
    match WebhookSecret::parse(&text) {
        Ok(previous) => Some(secret.after(previous, until.as_second())),
        Err(problem) => {
            fields.problem(format!("previous_{problem}"));
            None
        }
    }
}

fn address(fields: &mut Fields, egress: &Egress) -> Option<Address> {
    if fields.is_shut("url") {
        return None;
    }
    let address = Address::parse(&fields.text("url").unwrap_or_default());
    let judged = address.and_then(|address| match egress.judge(address.host(), address.port()) {
        Ok(()) => Ok(address),
        Err(refused) => Err(format!("url: {refused}")),
    });
    judged.map_err(|problem| fields.problem(problem)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serde_json::json;

    use crate::settings::WebhookSettings;

    use super::*;

    fn of(settings: &Value, webhook: &WebhookSettings) -> (Option<Webhook>, String) {
        let row = json!({"url": "https://erp.example", "secret_key": "secret", "settings": settings});
        let row = row.to_string();
        let mut fields = Fields::new(&row, None);
        let defaults = Defaults { webhook: webhook.clone(), ..Defaults::default() };
        let webhook = read(&mut fields, Format::Andon, &defaults, &defaults.egress);
        (webhook, fields.problems().join("\n"))
    }

    #[test]
    fn a_row_may_ask_for_what_the_ceilings_allow() {
        let defaults = WebhookSettings { max_payload: 4096, ..WebhookSettings::default() };
        let asked = json!({"concurrency": 64, "timeout": "1m", "max_payload": "4KiB", "retry": ["30d"]});

        let (webhook, problems) = of(&asked, &defaults);

        assert_eq!(problems, "");
        let webhook = webhook.unwrap();
        assert_eq!((webhook.concurrency, webhook.timeout, webhook.max_payload), (64, Duration::from_secs(60), 4096));
    }

    #[test]
    fn what_a_row_asks_for_beyond_a_ceiling_is_named() {
        let asked =
            json!({"concurrency": 65, "timeout": "2000h", "max_payload": "2MiB", "retry": ["290000000000000ms"]});

        insta::assert_snapshot!(of(&asked, &WebhookSettings::default()).1, @r"
        settings.concurrency: `65` is not a number from 1 to 64 (webhook.max_concurrency)
        settings.timeout: `2000h` is not a duration from 1ms to 60s (webhook.max_timeout)
        settings.max_payload: `2MiB` is not a size from 1 to 1048576 bytes (webhook.max_payload)
        settings.retry: `290000000000000ms` is longer than 30 days; write a shorter wait
        ");
        insta::assert_snapshot!(of(&json!({"timeout": "0s", "max_payload": 0}), &WebhookSettings::default()).1, @r"
        settings.timeout: `0s` is not a duration from 1ms to 60s (webhook.max_timeout)
        settings.max_payload: `0` is not a size from 1 to 1048576 bytes (webhook.max_payload)
        ");
    }

    #[test]
    fn a_default_above_its_ceiling_is_a_ceiling_itself() {
        let (concurrency, timeout) = (100, Duration::from_secs(300));
        let defaults = WebhookSettings { concurrency, timeout, ..WebhookSettings::default() };

        assert_eq!(of(&json!({"concurrency": 100, "timeout": "5m"}), &defaults).1, "");
        assert_ne!(of(&json!({"concurrency": 101}), &defaults).1, "");
    }
}
