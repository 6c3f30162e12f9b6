//! One attempt at a webhook. In: an event, and a connection from the attempt before. Out: what the endpoint answered, and whether that
//! is a delivery. The status alone decides; what follows it cannot take back an answer. It never follows a redirect.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::header::HeaderValue;
use hyper::header::RETRY_AFTER;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::destination::credentials::Authorization;
use crate::destination::credentials::Grant;
use crate::destination::echo::Echo;
use crate::destination::webhook::Webhook;
use crate::event::Event;
use crate::lane::webhook::answer_body;
use crate::lane::webhook::connection::Connection;
use crate::lane::webhook::connector::Connector;
use crate::lane::webhook::request::RequestBuilder;
use crate::lane::webhook::send_error::SendError;
use crate::lane::webhook::sequence::Place;
use crate::lane::webhook::token::Tokens;
use crate::legible;
use crate::retry;
use crate::tls;
use crate::tls::Peer;

/// Calls the endpoint of one webhook.
#[derive(Debug)]
pub struct WebhookClient {
    connector: Connector,
    requests: RequestBuilder,
    /// Where the endpoint's tokens come from, if it wants such.
    tokens: Option<Tokens>,
    /// What an answer may not show, besides tokens.
    echo: Arc<Echo>,
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
    /// Nothing was sent, because this event can never be. That says nothing about the endpoint.
    Unsendable,
}

impl WebhookClient {
    /// Prepares the client; `key` is that of the webhook's row. The error says what is wrong with the certificates.
    pub fn new(webhook: Webhook, key: &str, clock: Clock) -> anyhow::Result<WebhookClient> {
        let (ca, identity) = webhook.certificates.parts();
        let connector = Connector::new(webhook.address.expose(), webhook.dialer.clone(), tls::client(ca, identity)?)?;
        let server = match &webhook.credentials.authorization {
            Some(Authorization::Granted(grant)) => {
                let (grant, tls) = (Grant::clone(grant), tls::client(ca, None)?);
                let connector = Connector::new(grant.address.expose(), grant.dialer.clone(), tls)?;
                Some((grant, connector))
            }
            _ => None,
        };
        let secrets = webhook.address.secrets().into_iter().chain(webhook.credentials.secrets());
        let echo = Echo::of(secrets).and_foreign(webhook.dialer.secrets());
        let requests = RequestBuilder::new(webhook, key, clock.clone())?;
        let echo = echo.and(requests.secret());
        let tokens = server.map(|(grant, connector)| Tokens::new(grant, connector, echo.clone()));
        Ok(WebhookClient { connector, requests, tokens, echo: Arc::new(echo), clock })
    }

    /// Marks all requests as replayed, so that the receiver of a replay can tell them from the first ones.
    pub fn for_replay(self) -> WebhookClient {
        WebhookClient { requests: self.requests.for_replay(), ..self }
    }

    /// Returns whether its requests are those of a replay.
    pub(super) fn is_replay(&self) -> bool {
        self.requests.is_replay
    }

    /// Returns the settings of the webhook's row.
    pub(super) fn webhook(&self) -> &Webhook {
        self.requests.webhook()
    }

    /// Sends the event once, over the connection that was kept if there is one. An event that an operator asked for again is marked
    /// with `is_replayed`; `place` is its place in the lane's sequence. The connection is returned if it can be used once more. A lane that stops sets `is_stopping`.
    pub(super) async fn attempt(
        &self,
        event: &Event,
        is_replayed: bool,
        place: Option<Place>,
        kept: Option<Connection>,
        is_stopping: &AtomicBool,
    ) -> (AttemptResult, Option<Connection>) {
        let started = Instant::now();
        let longest = self.webhook().timeout;
        let (mut slot, mut tokens) = (kept, Vec::new());
        let (result, kept) = match self.requests.build(event, is_replayed, place) {
            Ok(request) => match timeout(longest, self.send(&mut slot, request, &mut tokens)).await {
                Ok(Ok(response)) => self.answered(response, &tokens, slot, is_stopping).await,
                Ok(Err((status, problem))) => (broken_off(status, self.shown(&problem, &tokens).await), None),
                Err(_) => {
                    let status = match slot {
                        Some(connection) => connection.status().await,
                        None => None,
                    };
                    (broken_off(status, format!("no answer within {longest:?}")), None)
                }
            },
            Err(problem) => (AttemptResult { outcome: Outcome::Unsendable, ..unanswered(problem) }, slot),
        };
        (AttemptResult { latency: started.elapsed(), ..result }, kept)
    }

    /// Sends a request with a token, if the endpoint wants one. A token that is not taken is replaced once. The connection is not in `slot`
    /// while a token is fetched, because it would tell of an older answer. The headers with the tokens that were sent are in `sent`. An error may
    /// have a status, if the rest of the answer could not be read.
    async fn send(
        &self,
        slot: &mut Option<Connection>,
        mut request: Request<Full<Bytes>>,
        sent: &mut Vec<HeaderValue>,
    ) -> Result<Response<Incoming>, (Option<u16>, String)> {
        let told = |error: SendError| (error.status(), error.text(Peer::Endpoint));
        let no_token = |problem| (None, problem);
        let Some(tokens) = &self.tokens else { return self.connector.send(slot, request).await.map_err(told) };
        let (kept, mut again) = (slot.take(), request.clone());
        let header = tokens.header(None).await.map_err(no_token)?;
        *slot = kept;
        sent.push(header.clone());
        request.headers_mut().insert(AUTHORIZATION, header.clone());
        let response = self.connector.send(slot, request).await.map_err(told)?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        *slot = None;
        let header = tokens.header(Some(&header)).await.map_err(no_token)?;
        sent.push(header.clone());
        again.headers_mut().insert(AUTHORIZATION, header);
        self.connector.send(slot, again).await.map_err(told)
    }

    async fn answered(
        &self,
        response: Response<Incoming>,
        tokens: &[HeaderValue],
        connection: Option<Connection>,
        is_stopping: &AtomicBool,
    ) -> (AttemptResult, Option<Connection>) {
        let (head, body) = response.into_parts();
        let header = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|value| retry::retry_after(value, self.clock.now()));
        let answer = answer_body::read(body, &*self.echo(tokens).await, is_stopping).await;
        let status = head.status.as_u16();
        let outcome = outcome(status, retry_after);
        let result = AttemptResult { outcome, status: Some(status), latency: Duration::ZERO, excerpt: answer.excerpt };
        // If the answer was not read to its end, nobody knows where on the connection the next one begins.
        (result, connection.filter(|_| answer.is_whole).map(Connection::idle))
    }
}

impl WebhookClient {
    /// Returns what hides what the endpoint was told in confidence, by these tokens among others.
    async fn echo(&self, sent: &[HeaderValue]) -> Arc<Echo> {
        match &self.tokens {
            Some(tokens) => tokens.echo(sent).await,
            None => Arc::clone(&self.echo),
        }
    }

    /// Returns a problem as people may see it. An endpoint that ends a connection of HTTP/2 may say why, in its own words.
    async fn shown(&self, problem: &str, tokens: &[HeaderValue]) -> String {
        answer_body::legible(problem.as_bytes(), false, &*self.echo(tokens).await)
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

/// Judges an answer that did not come whole by what could be understood of it.
fn broken_off(status: Option<u16>, problem: String) -> AttemptResult {
    match status {
        Some(status) => AttemptResult { outcome: outcome(status, None), status: Some(status), ..unanswered(problem) },
        None => unanswered(problem),
    }
}

fn unanswered(problem: String) -> AttemptResult {
    let excerpt = legible::line(problem);
    AttemptResult { outcome: Outcome::Failed { retry_after: None }, status: None, latency: Duration::ZERO, excerpt }
}

fn outcome(status: u16, retry_after: Option<Duration>) -> Outcome {
    match status {
        200..300 => Outcome::Delivered,
        410 => Outcome::Gone,
        _ => Outcome::Failed { retry_after },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_2xx_is_a_delivery_and_410_ends_it() {
        let of = |status| outcome(status, None);
        let failed = Outcome::Failed { retry_after: None };

        assert!([200, 201, 202, 204].iter().all(|status| of(*status) == Outcome::Delivered));
        assert!([301, 302, 400, 401, 404, 429, 500, 503].iter().all(|status| of(*status) == failed));
        assert_eq!(of(410), Outcome::Gone);
    }
}
