//! The signed POST of one event. In: an event, and the row of its webhook. Out: a request, ready to be sent. It never sends anything.

use std::fmt;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::HeaderMap;
use hyper::Method;
use hyper::Request;
use hyper::Uri;
use hyper::header::AUTHORIZATION;
use hyper::header::CONTENT_TYPE;
use hyper::header::HOST;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use hyper::header::InvalidHeaderValue;
use hyper::header::USER_AGENT;
use url::Position;
use url::Url;

use crate::clock::Clock;
use crate::destination::credentials::Authorization;
use crate::destination::credentials::Credentials;
use crate::destination::webhook::Webhook;
use crate::event::Event;
use crate::lane::webhook::sequence::Place;
use crate::payload;
use crate::payload::Format;
use crate::percent;
use crate::secret::Secret;
use crate::signature;

/// Builds the requests to one webhook.
#[derive(Debug)]
pub(super) struct RequestBuilder {
    webhook: Webhook,
    /// The path and query, which stand in the first line of a request.
    target: Target,
    host: HeaderValue,
    /// The `authorization` header, if the row says who calls.
    authorization: Option<HeaderValue>,
    /// The headers that the row adds.
    added: Vec<(HeaderName, HeaderValue)>,
    /// Makes the id of a delivery differ from that of the same event to another endpoint, so that a receiver of both keeps both.
    id_suffix: String,
    pub(super) is_replay: bool,
    clock: Clock,
}

/// A path and query. `Debug` hides them, because they may hold a token.
struct Target(Uri);

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Target(…)")
    }
}

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const SEQUENCE: HeaderName = HeaderName::from_static("webhook-sequence");
const SEQUENCE_SIGNATURE: HeaderName = HeaderName::from_static("webhook-sequence-signature");
const REPLAYED: HeaderName = HeaderName::from_static("andon-replayed");
const ERYXON_SIGNATURE: HeaderName = HeaderName::from_static("x-eryxon-signature");
const ERYXON_EVENT: HeaderName = HeaderName::from_static("x-eryxon-event");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("Andon/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl RequestBuilder {
    /// Takes the URL apart; `key` is that of the webhook's row.
    pub(super) fn new(webhook: Webhook, key: &str, clock: Clock) -> anyhow::Result<RequestBuilder> {
        let url = webhook.address.expose();
        // It stands in a header of each request.
        HeaderValue::try_from(key).context("the key of the row holds characters that no header can")?;
        Ok(RequestBuilder {
            target: Target(url[Position::BeforePath..Position::AfterQuery].parse()?),
            host: url[Position::BeforeHost..Position::AfterPort].parse()?,
            authorization: authorization(url, webhook.credentials.authorization.as_ref())?,
            added: added(&webhook.credentials).context("a header of the row cannot be sent")?,
            id_suffix: key.to_owned(),
            is_replay: false,
            clock,
            webhook,
        })
    }

    /// Marks all requests as replayed.
    pub(super) fn for_replay(self) -> RequestBuilder {
        RequestBuilder { is_replay: true, ..self }
    }

    pub(super) fn webhook(&self) -> &Webhook {
        &self.webhook
    }

    /// Returns what no answer may repeat of the headers that it makes.
    pub(super) fn secret(&self) -> Option<String> {
        let text = self.authorization.as_ref()?.to_str().ok()?;
        text.split_once(' ').map(|(_, secret)| secret.to_owned())
    }

    /// Builds and signs the POST of an event. The error says why the event can never be sent: it is too large, or a header cannot hold what
    /// it would have to say.
    pub(super) fn build(
        &self,
        event: &Event,
        is_replayed: bool,
        place: Option<Place>,
    ) -> Result<Request<Full<Bytes>>, String> {
        let id = format!("{}_{}", event.event_id.simple(), self.id_suffix);
        let seconds = self.clock.now().as_second();
        let body = self.body(event)?;
        // The type of an event may hold characters that no header can.
        let header = |name: &HeaderName, text: String| {
            HeaderValue::try_from(text).map_err(|_| format!("the header {name} cannot hold what it is to say"))
        };
        let mut headers = HeaderMap::with_capacity(16 + self.added.len());
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, AGENT);
        headers.insert(CONTENT_TYPE, JSON);
        for (name, value) in &self.added {
            headers.insert(name, value.clone());
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        headers.insert(SIGNATURE, header(&SIGNATURE, signature::sign(&self.webhook.secret, &id, seconds, &body))?);
        if let Some(sequence) = place.map(Place::text) {
            let signature = signature::sign_sequence(&self.webhook.secret, &id, seconds, &sequence);
            headers.insert(SEQUENCE_SIGNATURE, header(&SEQUENCE_SIGNATURE, signature)?);
            headers.insert(SEQUENCE, header(&SEQUENCE, sequence)?);
        }
        headers.insert(ID, header(&ID, id)?);
        headers.insert(TIMESTAMP, seconds.into());
        if self.webhook.format == Format::Eryxon {
            let signature = signature::eryxon(&self.webhook.secret, &body);
            headers.insert(ERYXON_SIGNATURE, header(&ERYXON_SIGNATURE, signature)?);
            headers.insert(ERYXON_EVENT, header(&ERYXON_EVENT, event.event_type.clone())?);
        }
        if is_replayed || self.is_replay {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.0.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn body(&self, event: &Event) -> Result<Bytes, String> {
        let (format, most) = (self.webhook.format, self.webhook.max_payload);
        let too_large =
            |bytes: String| format!("the payload has {bytes} bytes, and max_payload is {most}; send less or raise it");
        // What is too large is not even made.
        let least = payload::least_bytes(event, format);
        if least > most {
            return Err(too_large(format!("at least {least}")));
        }
        let body = payload::webhook(event, format);
        if body.len() > most { Err(too_large(body.len().to_string())) } else { Ok(body) }
    }
}

fn authorization(url: &Url, from_row: Option<&Authorization>) -> Result<Option<HeaderValue>, InvalidHeaderValue> {
    let in_url = !url.username().is_empty() || url.password().is_some();
    let text = match from_row {
        _ if in_url => basic(&percent::decoded(url.username()), &percent::decoded(url.password().unwrap_or_default())),
        Some(Authorization::Basic(user, password)) => basic(user, password.expose()),
        Some(Authorization::Bearer(token)) => format!("Bearer {}", token.expose()),
        Some(Authorization::Granted(_)) | None => return Ok(None),
    };
    sensitive(text).map(Some)
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn added(credentials: &Credentials) -> anyhow::Result<Vec<(HeaderName, HeaderValue)>> {
    let header = |(name, value): &(String, Secret)| Ok((name.parse()?, sensitive(value.expose().to_owned())?));
    credentials.headers.iter().map(header).collect()
}

fn sensitive(text: String) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut header = HeaderValue::try_from(text)?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::certificates::Certificates;
    use crate::retry::Schedule;
    use crate::settings::Order;
    use crate::signature::WebhookSecret;

    fn requests_to(url: &str) -> RequestBuilder {
        let webhook = Webhook {
            address: crate::destination::address::Address::parse(url).unwrap(),
            dialer: crate::egress::Egress::default().dialer(),
            secret: WebhookSecret::parse("secret").unwrap(),
            format: Format::default(),
            concurrency: 1,
            timeout: std::time::Duration::from_secs(1),
            max_payload: 1024,
            retry: Schedule::default(),
            order: Order::default(),
            certificates: Certificates::default(),
            credentials: Credentials::default(),
        };
        RequestBuilder::new(webhook, "1", Clock::default()).unwrap()
    }

    #[test]
    fn a_row_whose_key_no_header_can_hold_has_no_requests() {
        let webhook = requests_to("http://erp.example").webhook;

        let problem = RequestBuilder::new(webhook, "a\nb", Clock::default()).unwrap_err();

        assert_eq!(problem.to_string(), "the key of the row holds characters that no header can");
    }

    #[test]
    fn a_url_is_taken_apart_as_http_wants_it() {
        let requests = requests_to("https://us%20er:p%2Bw+d@erp.example:8443/hooks/a?token=1#part");

        assert_eq!(requests.target.0, "/hooks/a?token=1");
        assert!(!format!("{requests:?}").contains("token"), "{requests:?}");
        assert_eq!(requests.host, "erp.example:8443");
        let header = requests.authorization.unwrap();
        let pair = STANDARD.decode(header.to_str().unwrap().trim_start_matches("Basic ")).unwrap();
        assert_eq!(pair, b"us er:p+w+d");
        let plain = requests_to("http://127.0.0.1");
        assert_eq!((plain.target.0, plain.authorization), ("/".parse().unwrap(), None));
    }
}
