//! One attempt at a webhook. In: an event and how its endpoint is called. Out: what the endpoint answered, and what that means. It
//! never follows a redirect, and never reads more of an answer than its bound.

use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use hyper::HeaderMap;
use hyper::Method;
use hyper::Request;
use hyper::StatusCode;
use hyper::body::Body as _;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::header::CONTENT_TYPE;
use hyper::header::HOST;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use hyper::header::RETRY_AFTER;
use hyper::header::USER_AGENT;

use crate::clock::Clock;
use crate::destination::webhook::Webhook;
use crate::event::Event;
use crate::lane::webhook::connection::Address;
use crate::lane::webhook::connection::Connection;
use crate::payload;
use crate::payload::Format;
use crate::retry;
use crate::signature;
use crate::tls;

/// An endpoint, ready to be called.
#[derive(Debug)]
pub struct Endpoint {
    address: Address,
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

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const REPLAYED: HeaderName = HeaderName::from_static("andon-replayed");
const ERYXON_SIGNATURE: HeaderName = HeaderName::from_static("x-eryxon-signature");
const ERYXON_EVENT: HeaderName = HeaderName::from_static("x-eryxon-event");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("Andon/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Endpoint {
    /// Prepares the client. The error says what is wrong with the certificates.
    pub fn new(webhook: Webhook, key: &str, clock: Clock) -> anyhow::Result<Endpoint> {
        let address = Address::new(&webhook.url, tls::client(webhook.ca_file.as_deref(), None)?)?;
        Ok(Endpoint { address, webhook, suffix: key.to_owned(), is_replay: false, clock })
    }

    /// For a replay: its receiver is told so with each delivery.
    pub fn for_replay(self) -> Endpoint {
        Endpoint { is_replay: true, ..self }
    }

    /// How the endpoint is called.
    pub fn webhook(&self) -> &Webhook {
        &self.webhook
    }

    /// Sends the event once, over a connection that was kept if there is one; `replayed`: because somebody asked for it again, which the
    /// receiver is told. A connection that can be used once more comes back.
    pub(super) async fn attempt(
        &self,
        event: &Event,
        replayed: bool,
        kept: Option<Connection>,
    ) -> (Answer, Option<Connection>) {
        let started = Instant::now();
        let (answer, kept) = match self.request(event, replayed) {
            Ok(request) => match tokio::time::timeout(self.webhook.timeout, self.exchange(kept, request)).await {
                Ok(exchanged) => exchanged,
                Err(_) => (failed(format!("no answer within {:?}", self.webhook.timeout)), None),
            },
            Err(problem) => (failed(problem), kept),
        };
        (Answer { latency: started.elapsed(), ..answer }, kept)
    }

    fn request(&self, event: &Event, replayed: bool) -> Result<Request<Full<Bytes>>, String> {
        let id = format!("{}_{}", event.event_id.simple(), self.suffix);
        let seconds = self.clock.now().as_second();
        let body = payload::webhook(event, self.webhook.format);
        // A row's name may hold what no header can.
        let header = |name: &HeaderName, text: String| {
            HeaderValue::try_from(text).map_err(|_| format!("the header {name} cannot hold what it is to say"))
        };
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(HOST, self.address.host.clone());
        headers.insert(USER_AGENT, AGENT);
        headers.insert(CONTENT_TYPE, JSON);
        if let Some(authorization) = &self.address.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        headers.insert(SIGNATURE, header(&SIGNATURE, signature::sign(&self.webhook.secret, &id, seconds, &body))?);
        headers.insert(ID, header(&ID, id)?);
        headers.insert(TIMESTAMP, seconds.into());
        if self.webhook.format == Format::Eryxon {
            let signature = signature::eryxon(&self.webhook.secret, &body);
            headers.insert(ERYXON_SIGNATURE, header(&ERYXON_SIGNATURE, signature)?);
            headers.insert(ERYXON_EVENT, header(&ERYXON_EVENT, event.kind.clone())?);
        }
        if replayed || self.is_replay {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.address.target.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }

    async fn exchange(&self, kept: Option<Connection>, request: Request<Full<Bytes>>) -> (Answer, Option<Connection>) {
        let (connection, response) = match self.address.send(kept, request).await {
            Ok(exchanged) => exchanged,
            Err(trouble) => return (failed(trouble.to_string()), None),
        };
        let (head, mut body) = response.into_parts();
        let asked = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let asked = asked.and_then(|value| retry::retry_after(value, self.clock.now()));
        let excerpt = read_bounded(&mut body).await;
        let answer = Answer {
            outcome: outcome(head.status, asked),
            code: Some(head.status.as_u16()),
            latency: Duration::ZERO,
            excerpt,
        };
        // One whose answer was not read to its end cannot tell where the next one begins.
        (answer, body.is_end_stream().then(|| connection.rests()))
    }
}

/// There was no answer.
fn failed(excerpt: String) -> Answer {
    Answer { outcome: Outcome::Retry(None), code: None, latency: Duration::ZERO, excerpt }
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
async fn read_bounded(body: &mut Incoming) -> String {
    let mut read = Vec::new();
    let reading = async {
        while !body.is_end_stream()
            && read.len() < ANSWER
            && let Some(Ok(frame)) = body.frame().await
        {
            read.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        }
    };
    // An answer that does not end is cut off, and its connection with it.
    drop(tokio::time::timeout(ANSWER_TIME, reading).await);
    let text = String::from_utf8_lossy(&read[..read.len().min(4 * EXCERPT)]);
    text.chars().filter(|c| *c != '\0').take(EXCERPT).collect()
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
