//! Tokens of OAuth 2.0 for one webhook (the client credentials grant). In: how a token is got. Out: the `authorization` header for a request.
//! A token is kept until shortly before it ends, and one request at a time asks for the next. It never shows a token, and what goes wrong here
//! is a failed attempt of this webhook and nobody else's.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use http_body_util::Limited;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::ACCEPT;
use hyper::header::AUTHORIZATION;
use hyper::header::CONTENT_TYPE;
use hyper::header::HOST;
use hyper::header::HeaderValue;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::timeout;
use url::Position;
use url::form_urlencoded;

use crate::destination::credentials::AuthMethod;
use crate::destination::credentials::Grant;
use crate::destination::echo::Echo;
use crate::lane::webhook::answer_stream::LONGEST_BODY;
use crate::lane::webhook::connector::Connector;
use crate::tls::Peer;

/// Gets and keeps the token of one webhook.
pub(super) struct Tokens {
    grant: Grant,
    connector: Connector,
    kept: Mutex<Kept>,
}

/// The token that requests show now, and what an answer may not show.
struct Kept {
    token: Option<Token>,
    echo: Arc<Echo>,
    /// What is hidden besides tokens.
    secrets: Echo,
    /// The tokens that are hidden, the newest first. An answer may still repeat one that has been replaced.
    hidden: VecDeque<String>,
}

struct Token {
    header: HeaderValue,
    /// From then on another one is asked for.
    good_until: Instant,
}

/// How long the server of tokens may take.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long a token is taken for good if nobody says how long it is, and the longest in any case.
const UNKNOWN_LIFE: Duration = Duration::from_secs(300);
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);
/// A token is renewed so long before it ends, or a fifth of its life before if that is less.
const AHEAD: Duration = Duration::from_secs(60);
/// So many tokens are hidden in what the endpoint answers.
const HIDDEN: usize = 8;
/// The longest token.
const LONGEST_TOKEN: usize = 16 << 10;
/// The names of errors that the standard lists. Another one may repeat what was sent.
const ERRORS: [&str; 9] = [
    "access_denied",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
];

impl Tokens {
    /// `connector` leads to the server of tokens. `secrets` are those that the endpoint knows besides its tokens.
    pub(super) fn new(grant: Grant, connector: Connector, secrets: Echo) -> Tokens {
        Tokens { grant, connector, kept: Mutex::new(Kept::new(secrets)) }
    }

    /// Returns the header that says who calls. `refused` is one that the endpoint did not take: it is not given out again. The error names
    /// the server of tokens.
    pub(super) async fn header(&self, refused: Option<&HeaderValue>) -> Result<HeaderValue, String> {
        let mut kept = self.kept.lock().await;
        if let Some(token) =
            kept.token.as_ref().filter(|token| token.good_until > Instant::now() && refused != Some(&token.header))
        {
            return Ok(token.header.clone());
        }
        kept.token = None;
        let asking = timeout(LONGEST_WAIT, self.ask());
        let token = asking.await.unwrap_or_else(|_| Err(format!("no answer within {LONGEST_WAIT:?}")));
        let token = token.map_err(|problem| format!("no token from {}: {problem}", self.grant.address))?;
        Ok(kept.keep(token))
    }

    /// Returns what hides the endpoint's secrets, the latest tokens among them, and those that were sent, however many came after them.
    pub(super) async fn echo(&self, sent: &[HeaderValue]) -> Arc<Echo> {
        self.kept.lock().await.hiding(sent)
    }

    async fn ask(&self) -> Result<Token, String> {
        let request = request(&self.grant).map_err(|error| format!("its address cannot be asked: {error}"))?;
        let mut connection = None;
        let response =
            self.connector.send(&mut connection, request).await.map_err(|error| error.text(Peer::TokenServer))?;
        read(response).await
    }
}

/// Makes the request for a token. Who asks stands in a header or in the body, as the row says.
fn request(grant: &Grant) -> anyhow::Result<Request<Full<Bytes>>> {
    let Grant { address, client_id, client_secret, scope, method, .. } = grant;
    let url = address.expose();
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if let Some(scope) = scope {
        form.append_pair("scope", scope);
    }
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    match method {
        AuthMethod::ClientSecretBasic => {
            let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = STANDARD.encode(format!("{}:{}", encoded(client_id), encoded(client_secret.expose())));
            let mut authorization = HeaderValue::try_from(format!("Basic {pair}"))?;
            authorization.set_sensitive(true);
            request = request.header(AUTHORIZATION, authorization);
        }
        AuthMethod::ClientSecretPost => {
            form.append_pair("client_id", client_id).append_pair("client_secret", client_secret.expose());
        }
    }
    Ok(request.body(Full::new(form.finish().into()))?)
}

impl Kept {
    fn new(secrets: Echo) -> Kept {
        Kept { token: None, echo: Arc::new(secrets.clone()), secrets, hidden: VecDeque::new() }
    }

    fn hiding(&self, sent: &[HeaderValue]) -> Arc<Echo> {
        let older: Vec<String> = sent.iter().map(text).filter(|token| !self.hidden.contains(token)).collect();
        if older.is_empty() { Arc::clone(&self.echo) } else { Arc::new(self.echo.and(older)) }
    }

    fn keep(&mut self, token: Token) -> HeaderValue {
        let shown = text(&token.header);
        if self.hidden.front().is_none_or(|last| *last != shown) {
            self.hidden.push_front(shown);
            self.hidden.truncate(HIDDEN);
            self.echo = Arc::new(self.secrets.and(self.hidden.iter().cloned()));
        }
        self.token.insert(token).header.clone()
    }
}

/// Returns the token in a header, which may hold any bytes.
fn text(header: &HeaderValue) -> String {
    let header = String::from_utf8_lossy(header.as_bytes());
    header.split_once(' ').map_or(header.as_ref(), |(_, token)| token).to_owned()
}

async fn read(response: Response<Incoming>) -> Result<Token, String> {
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST_BODY).collect().await;
    let body = body
        .map_err(|_| format!("it answered {status}, with a body that is broken or larger than {LONGEST_BODY} bytes"))?
        .to_bytes();
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    token(status, &answer)
}

/// Reads an answer. Of one that refuses, only the name of the error is shown, which the standard lists: the rest may repeat what was sent.
fn token(status: StatusCode, answer: &Value) -> Result<Token, String> {
    let status = status.as_u16();
    if status != 200 {
        let name = answer["error"].as_str().filter(|name| ERRORS.contains(name));
        let advice = match (status, name.unwrap_or_default()) {
            (_, "invalid_scope") => "; see oauth_scope",
            (_, "unauthorized_client" | "unsupported_grant_type") => "; allow the client credentials grant there",
            (401 | 403, _) | (_, "invalid_client" | "access_denied") => "; see oauth_client_id and oauth_client_secret",
            (300..=399 | 404 | 405, _) => "; see whether oauth_token_url is where tokens are given",
            _ => "",
        };
        let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
        return Err(format!("it answered {status}{name}{advice}"));
    }
    let kind = answer["token_type"].as_str().unwrap_or("bearer");
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err("it gives tokens of another type than bearer; have it give those".to_owned());
    }
    let text = answer["access_token"].as_str().filter(|text| !text.is_empty());
    let text = text.ok_or(
        "it answered 200 without an access_token in JSON; see whether oauth_token_url is where tokens are given",
    )?;
    if text.len() > LONGEST_TOKEN {
        let advice = "ask for less (oauth_scope), or have the server give shorter ones";
        return Err(format!(
            "its token is longer than {LONGEST_TOKEN} bytes, which endpoints take in no header; {advice}"
        ));
    }
    let mut header = HeaderValue::try_from(format!("Bearer {text}"))
        .map_err(|_| "its token has characters that no header can; have it give another kind")?;
    header.set_sensitive(true);
    // Some servers write the number as a text.
    let seconds = answer["expires_in"].as_u64().or_else(|| answer["expires_in"].as_str()?.parse().ok());
    let life = seconds.map_or(UNKNOWN_LIFE, Duration::from_secs).min(LONGEST_LIFE);
    Ok(Token { header, good_until: Instant::now() + life - AHEAD.min(life / 5) })
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.grant.address)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::destination::address::Address;
    use crate::egress::Egress;
    use crate::secret::Secret;

    #[test]
    fn a_token_is_good_until_shortly_before_its_end() {
        let life = |answer: Value| {
            token(StatusCode::OK, &answer).unwrap().good_until.duration_since(Instant::now()).as_secs_f64().round()
        };

        assert!((life(json!({"access_token": "t", "expires_in": 3600})) - 3540.0).abs() < 1.5);
        assert!((life(json!({"access_token": "t", "expires_in": "100", "token_type": "Bearer"})) - 80.0).abs() < 1.5);
        assert!((life(json!({"access_token": "t"})) - 240.0).abs() < 1.5);
        assert!(life(json!({"access_token": "t", "expires_in": u64::MAX})) < 86_401.0);
        assert!(life(json!({"access_token": "t", "expires_in": 0})) < 0.5);
    }

    #[test]
    fn a_token_that_was_replaced_stays_hidden_for_a_while() {
        let mut kept = Kept::new(Echo::of(["cl13nt".to_owned()]));
        for number in 100..=100 + HIDDEN {
            kept.keep(token(StatusCode::OK, &json!({"access_token": format!("t0ken-{number}")})).unwrap());
        }

        let said: String = (100..=100 + HIDDEN).map(|number| format!("t0ken-{number} ")).collect();
        let shown = kept.echo.hide(format!("{said}cl13nt"));

        assert_eq!(shown, format!("t0ken-100 {}…", "… ".repeat(HIDDEN)));
    }

    #[test]
    fn a_token_that_was_sent_is_hidden_however_many_came_after_it_and_whatever_its_letters_are() {
        let mut kept = Kept::new(Echo::default());
        let mut got = |text: String| kept.keep(token(StatusCode::OK, &json!({"access_token": text})).unwrap());

        let sent = got("tökén".to_owned());
        (0..100).for_each(|number| drop(got(format!("t0ken-{number:03}"))));

        assert_eq!(kept.hiding(&[]).hide("tökén t0ken-099".to_owned()), "tökén …");
        assert_eq!(kept.hiding(&[sent]).hide("Bearer tökén t0ken-099".to_owned()), "Bearer … …");
    }

    #[test]
    fn an_answer_without_a_token_says_so_and_shows_nothing_else() {
        let problem = |status, answer| token(StatusCode::from_u16(status).unwrap(), &answer).err().unwrap();

        let answers = [
            (401, json!({"error": "invalid_client", "error_description": "s3cret"})),
            (400, json!({"error": "invalid_scope", "error_description": "s3cret"})),
            (400, json!({"error": "unsupported_grant_type"})),
            (400, json!({"error": "\u{1b}[2J"})),
            (400, json!({"error": "a_secret_in_small_letters"})),
            (200, json!({"token": "s3cret"})),
            (200, json!({"access_token": "s3cret\n"})),
            (200, json!({"access_token": "s3cret", "token_type": "mac"})),
            (302, Value::Null),
        ];
        let problems = answers.map(|(status, answer)| problem(status, answer)).join("\n");
        assert!(!problems.contains("s3cret"), "{problems}");
        insta::assert_snapshot!(problems, @r"
        it answered 401 (invalid_client); see oauth_client_id and oauth_client_secret
        it answered 400 (invalid_scope); see oauth_scope
        it answered 400 (unsupported_grant_type); allow the client credentials grant there
        it answered 400
        it answered 400
        it answered 200 without an access_token in JSON; see whether oauth_token_url is where tokens are given
        its token has characters that no header can; have it give another kind
        it gives tokens of another type than bearer; have it give those
        it answered 302; see whether oauth_token_url is where tokens are given
        ");
        let long = problem(200, json!({"access_token": "s3cret".repeat(3_000)}));
        assert!(long.starts_with("its token is longer than 16384 bytes") && !long.contains("s3cret"), "{long}");
    }

    #[tokio::test]
    async fn who_asks_stands_in_the_header_or_in_the_body() {
        let of = |method| Grant {
            address: Address::parse("https://login.example/token?tenant=1").unwrap(),
            dialer: Egress::default().dialer(),
            client_id: "and on".to_owned(),
            client_secret: Secret::new("s3cr&t".to_owned()),
            scope: None,
            method,
        };
        let asked = async |method| {
            let request = request(&of(method)).unwrap();
            let header = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
            (header, request.into_body().collect().await.unwrap().to_bytes())
        };

        let (header, body) = asked(AuthMethod::ClientSecretBasic).await;
        assert_eq!(header.unwrap(), format!("Basic {}", STANDARD.encode("and+on:s3cr%26t")));
        assert_eq!(body, "grant_type=client_credentials");
        let (header, body) = asked(AuthMethod::ClientSecretPost).await;
        assert_eq!(header, None);
        assert_eq!(body, "grant_type=client_credentials&client_id=and+on&client_secret=s3cr%26t");
    }
}
