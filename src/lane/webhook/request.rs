//! One attempt at a webhook. In: an event and how its endpoint is called. Out: what the endpoint answered, and what that means. It
//! never follows a redirect, and never reads more of an answer than its bound.

use std::time::Duration;
use std::time::Instant;

use reqwest::Client;
use reqwest::Response;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;

use crate::clock::Clock;
use crate::destination::webhook::Webhook;
use crate::event::Event;
use crate::payload;
use crate::payload::Format;
use crate::retry;
use crate::signature;
use crate::tls;

/// An endpoint, ready to be called.
#[derive(Debug)]
pub struct Endpoint {
    client: Client,
    webhook: Webhook,
    /// Makes the id of a delivery differ from that of the same event to another endpoint, so that a receiver of both keeps both.
    suffix: String,
    /// Whether all of this is delivered again.
    is_replay: bool,
    clock: Clock,
}

/// What came of an attempt.
#[derive(Debug)]
pub struct Answer {
    /// What it means.
    pub outcome: Outcome,
    /// The status, where there was one.
    pub code: Option<u16>,
    /// From the start of the attempt to its end.
    pub latency: Duration,
    /// The beginning of the answer, or what went wrong.
    pub excerpt: String,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A 2xx.
    Delivered,
    /// Anything else; with the time for which the endpoint asked.
    Retry(Option<Duration>),
    /// 410: the endpoint wants nothing more.
    Gone,
}

/// How much of an answer is read, so that the connection can be used again; and how long that may take.
const ANSWER: usize = 64 * 1024;
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// How much of it is kept.
const EXCERPT: usize = 500;

impl Endpoint {
    /// Prepares the client. The error says what is wrong with the certificates.
    pub fn new(webhook: Webhook, key: &str, clock: Clock) -> anyhow::Result<Endpoint> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls::client(webhook.ca_file.as_deref(), None)?)
            .redirect(Policy::none())
            .no_proxy()
            .timeout(webhook.timeout)
            .pool_max_idle_per_host(webhook.concurrency)
            .user_agent(concat!("Andon/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Endpoint { client, webhook, suffix: key.to_owned(), is_replay: false, clock })
    }

    /// For a replay: its receiver is told so with each delivery.
    pub fn again(self) -> Endpoint {
        Endpoint { is_replay: true, ..self }
    }

    /// How the endpoint is called.
    pub fn webhook(&self) -> &Webhook {
        &self.webhook
    }

    /// Sends the event once; `replayed`: because somebody asked for it again, which the receiver is told.
    pub async fn attempt(&self, event: &Event, replayed: bool) -> Answer {
        let started = Instant::now();
        let id = format!("{}_{}", event.event_id.simple(), self.suffix);
        let seconds = self.clock.now().as_second();
        let body = payload::webhook(event, self.webhook.format);
        let mut request = self
            .client
            .post(self.webhook.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-signature", signature::sign(&self.webhook.secret, &id, seconds, &body))
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds);
        if self.webhook.format == Format::Eryxon {
            request = request
                .header("X-Eryxon-Signature", signature::eryxon(&self.webhook.secret, &body))
                .header("X-Eryxon-Event", &event.kind);
        }
        if replayed || self.is_replay {
            request = request.header("andon-replayed", "true");
        }
        match request.body(body).send().await {
            Ok(response) => {
                let code = response.status();
                let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                let asked = asked.and_then(|value| retry::retry_after(value, self.clock.now()));
                let outcome = outcome(code, asked);
                let excerpt = read_bounded(response).await;
                Answer { outcome, code: Some(code.as_u16()), latency: started.elapsed(), excerpt }
            }
            Err(error) => {
                let excerpt = describe(&error, self.webhook.timeout);
                Answer { outcome: Outcome::Retry(None), code: None, latency: started.elapsed(), excerpt }
            }
        }
    }
}

impl Answer {
    /// One line that says why the delivery was not made.
    pub fn reason(&self) -> String {
        let line = self.excerpt.lines().next().unwrap_or_default();
        match self.code {
            Some(code) if line.is_empty() => format!("answered {code}"),
            Some(code) => format!("answered {code}: {line}"),
            None => line.to_owned(),
        }
    }
}

fn outcome(code: StatusCode, asked: Option<Duration>) -> Outcome {
    match code {
        _ if code.is_success() => Outcome::Delivered,
        StatusCode::GONE => Outcome::Gone,
        _ => Outcome::Retry(asked),
    }
}

/// The status has decided already; the rest is courtesy to the connection, and something to show.
async fn read_bounded(mut response: Response) -> String {
    let mut read = Vec::new();
    let reading = async {
        while read.len() < ANSWER
            && let Ok(Some(chunk)) = response.chunk().await
        {
            read.extend_from_slice(&chunk);
        }
    };
    // An answer that does not end is cut off, and its connection with it.
    drop(tokio::time::timeout(ANSWER_TIME, reading).await);
    let text = String::from_utf8_lossy(&read[..read.len().min(4 * EXCERPT)]);
    text.chars().filter(|c| *c != '\0').take(EXCERPT).collect()
}

/// The innermost cause is what helps: the outer ones say that a request failed. The URL stays out: it may hold a token.
fn describe(error: &reqwest::Error, timeout: Duration) -> String {
    if error.is_timeout() {
        return format!("no answer within {timeout:?}");
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let what = if error.is_connect() { "cannot connect" } else { "the request failed" };
    format!("{what}: {cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_2xx_is_a_delivery_and_410_ends_it() {
        let of = |code: u16| outcome(StatusCode::from_u16(code).unwrap(), None);

        assert!([200, 201, 202, 204].iter().all(|code| of(*code) == Outcome::Delivered));
        assert!([301, 302, 400, 401, 404, 429, 500, 503].iter().all(|code| of(*code) == Outcome::Retry(None)));
        assert_eq!(of(410), Outcome::Gone);
    }
}
