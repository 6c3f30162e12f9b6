//! One attempt at a webhook. In: an event, and a connection from the attempt before. Out: what the endpoint answered, and whether that
//! is a delivery. It never follows a redirect, and never reads more of an answer than its bound.

use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use hyper::Request;
use hyper::StatusCode;
use hyper::body::Body as _;
use hyper::body::Incoming;
use hyper::header::RETRY_AFTER;

use crate::clock::Clock;
use crate::destination::webhook::Webhook;
use crate::event::Event;
use crate::lane::webhook::connection::Connection;
use crate::lane::webhook::connection::Connector;
use crate::lane::webhook::request::RequestBuilder;
use crate::retry;
use crate::tls;

/// Calls the endpoint of one webhook.
#[derive(Debug)]
pub struct WebhookClient {
    connector: Connector,
    requests: RequestBuilder,
    clock: Clock,
}

/// The result of one attempt.
#[derive(Debug)]
pub(super) struct AttemptResult {
    pub(super) outcome: Outcome,
    /// The HTTP status, if the endpoint answered.
    pub(super) status: Option<u16>,
    /// The time from the start of the attempt to its end.
    pub(super) latency: Duration,
    /// The beginning of the answer, or what went wrong.
    pub(super) excerpt: String,
}

/// The meaning of the endpoint's answer for the delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The endpoint answered with a 2xx.
    Delivered,
    /// The endpoint answered with anything else, or not at all.
    Failed {
        /// The wait that the endpoint asked for with its `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The endpoint answered with a 410: it wants no more deliveries at all.
    Gone,
}

/// An answer is read up to this many bytes and for this long, so that its connection can be used again.
const LONGEST_ANSWER: usize = 64 * 1024;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The characters of an answer that are kept for people to read.
const EXCERPT: usize = 500;

impl WebhookClient {
    /// Prepares the client; `key` is that of the webhook's row. The error says what is wrong with the certificates.
    pub fn new(webhook: Webhook, key: &str, clock: Clock) -> anyhow::Result<WebhookClient> {
        let connector = Connector::new(&webhook.url, tls::client(webhook.ca_file.as_deref(), None)?)?;
        let requests = RequestBuilder::new(webhook, key, clock.clone())?;
        Ok(WebhookClient { connector, requests, clock })
    }

    /// Marks all requests as replayed, so that the receiver of a replay can tell them from the first ones.
    pub fn for_replay(self) -> WebhookClient {
        WebhookClient { requests: self.requests.for_replay(), ..self }
    }

    /// Returns the settings of the webhook's row.
    pub(super) fn webhook(&self) -> &Webhook {
        self.requests.webhook()
    }

    /// Sends the event once, over the connection that was kept if there is one. An event that an operator asked for again is marked
    /// with `is_replayed`. The connection is returned if it can be used once more.
    pub(super) async fn attempt(
        &self,
        event: &Event,
        is_replayed: bool,
        kept: Option<Connection>,
    ) -> (AttemptResult, Option<Connection>) {
        let started = Instant::now();
        let timeout = self.webhook().timeout;
        let (result, kept) = match self.requests.build(event, is_replayed) {
            Ok(request) => match tokio::time::timeout(timeout, self.exchange(kept, request)).await {
                Ok(exchanged) => exchanged,
                Err(_) => (unanswered(format!("no answer within {timeout:?}")), None),
            },
            Err(problem) => (unanswered(problem), kept),
        };
        (AttemptResult { latency: started.elapsed(), ..result }, kept)
    }

    async fn exchange(
        &self,
        kept: Option<Connection>,
        request: Request<Full<Bytes>>,
    ) -> (AttemptResult, Option<Connection>) {
        let (connection, response) = match self.connector.send(kept, request).await {
            Ok(exchanged) => exchanged,
            Err(error) => return (unanswered(error.to_string()), None),
        };
        let (head, mut body) = response.into_parts();
        let header = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|value| retry::retry_after(value, self.clock.now()));
        let excerpt = read_bounded(&mut body).await;
        let result = AttemptResult {
            outcome: outcome(head.status, retry_after),
            status: Some(head.status.as_u16()),
            latency: Duration::ZERO,
            excerpt,
        };
        // If the answer was not read to its end, nobody knows where on the connection the next one begins.
        (result, body.is_end_stream().then(|| connection.idle()))
    }
}

impl AttemptResult {
    /// One line that says why the delivery was not made.
    pub(super) fn reason(&self) -> String {
        let line = self.excerpt.lines().next().unwrap_or_default();
        match self.status {
            Some(status) if line.is_empty() => format!("answered {status}"),
            Some(status) => format!("answered {status}: {line}"),
            None => line.to_owned(),
        }
    }
}

fn unanswered(excerpt: String) -> AttemptResult {
    AttemptResult { outcome: Outcome::Failed { retry_after: None }, status: None, latency: Duration::ZERO, excerpt }
}

fn outcome(status: StatusCode, retry_after: Option<Duration>) -> Outcome {
    match status {
        _ if status.is_success() => Outcome::Delivered,
        StatusCode::GONE => Outcome::Gone,
        _ => Outcome::Failed { retry_after },
    }
}

/// Reads the body of an answer. The status has already decided what becomes of the delivery; the body only frees the connection and
/// gives people something to read.
async fn read_bounded(body: &mut Incoming) -> String {
    let mut read = Vec::new();
    let reading = async {
        while !body.is_end_stream()
            && read.len() < LONGEST_ANSWER
            && let Some(Ok(frame)) = body.frame().await
        {
            read.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        }
    };
    // An answer that does not end is cut off, and its connection is closed.
    drop(tokio::time::timeout(ANSWER_TIMEOUT, reading).await);
    let text = String::from_utf8_lossy(&read[..read.len().min(4 * EXCERPT)]);
    text.chars().filter(|c| *c != '\0').take(EXCERPT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_2xx_is_a_delivery_and_410_ends_it() {
        let of = |status: u16| outcome(StatusCode::from_u16(status).unwrap(), None);
        let failed = Outcome::Failed { retry_after: None };

        assert!([200, 201, 202, 204].iter().all(|status| of(*status) == Outcome::Delivered));
        assert!([301, 302, 400, 401, 404, 429, 500, 503].iter().all(|status| of(*status) == failed));
        assert_eq!(of(410), Outcome::Gone);
    }
}
