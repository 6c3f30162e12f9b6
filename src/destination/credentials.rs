//! What a webhook shows to its endpoint besides the signature. In: the columns of a row. Out: headers that stay the same, and one of three ways
//! to say who calls. Every value is a secret: it is sent, and never shown.

use crate::destination::address::Address;
use crate::destination::fields::Fields;
use crate::egress::Dialer;
use crate::egress::Egress;
use crate::secret::Secret;

/// The credentials of a webhook.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Headers of each request, by their names in small letters.
    pub headers: Vec<(String, Secret)>,
    /// What signs, as the row has it. It is never sent, but some endpoints know it and name it in their answers.
    pub signing: Vec<Secret>,
    /// The header `authorization`, if the address holds none.
    pub authorization: Option<Authorization>,
}

/// Who calls.
#[derive(Debug, Clone)]
pub enum Authorization {
    /// A user and a password.
    Basic(String, Secret),
    /// A token that stays the same.
    Bearer(Secret),
    /// A token that another server gives for a time.
    Granted(Box<Grant>),
}

/// How a token is got: the client credentials grant of OAuth 2.0.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Who gives it.
    pub address: Address,
    /// Connects there, if that may be reached.
    pub dialer: Dialer,
    /// As whom to ask.
    pub client_id: String,
    /// What proves it.
    pub client_secret: Secret,
    /// What the token is to be good for.
    pub scope: Option<String>,
    /// Where the request shows client id and secret.
    pub method: AuthMethod,
}

/// Where the request for a token shows as whom it asks: the names of the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// In the header `authorization`.
    ClientSecretBasic,
    /// In the body.
    ClientSecretPost,
}

impl AuthMethod {
    /// The texts that [`AuthMethod::parse`] knows, for error messages.
    const CHOICES: &str = "one of client_secret_basic, client_secret_post";

    fn parse(text: &str) -> Option<AuthMethod> {
        Some(match text {
            "client_secret_basic" => AuthMethod::ClientSecretBasic,
            "client_secret_post" => AuthMethod::ClientSecretPost,
            _ => return None,
        })
    }
}

/// The most headers of a row, and the most bytes of a name and of a value.
const MOST_HEADERS: usize = 20;
const LONGEST_NAME: usize = 100;
const LONGEST_VALUE: usize = 4096;

/// Headers that say what a request is, and not who sends it. Those that begin with a word of the second list belong to Andon or to proxies.
const RESERVED: [&str; 12] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-eryxon-event",
];
const RESERVED_WORDS: [&str; 4] = ["andon-", "proxy-", "webhook-", "x-eryxon-"];

impl Credentials {
    /// Returns all of them that may not come back in what an endpoint says.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets: Vec<String> = self.headers.iter().map(|(_, value)| value.expose().to_owned()).collect();
        secrets.extend(self.signing.iter().flat_map(|text| text.expose().split_whitespace()).map(str::to_owned));
        secrets.extend(self.signing.iter().map(|text| text.expose().to_owned()));
        match &self.authorization {
            None => {}
            Some(Authorization::Basic(_, secret) | Authorization::Bearer(secret)) => {
                secrets.push(secret.expose().to_owned());
            }
            Some(Authorization::Granted(grant)) => {
                secrets.push(grant.client_secret.expose().to_owned());
                secrets.extend(grant.address.secrets());
            }
        }
        // A value as short as `1` would blacken what an endpoint says, and is no secret.
        secrets.retain(|secret| secret.len() >= 4);
        secrets
    }
}

/// Reads the columns. `address` may hold a user of its own.
pub(super) fn read(fields: &mut Fields, address: Option<&Address>, egress: &Egress) -> Credentials {
    let headers = headers(fields);
    let basic = basic(fields);
    let bearer = fields.verbatim("token").map(Secret::new);
    let grant = grant(fields, egress);
    let in_address =
        address.is_some_and(|address| !address.expose().username().is_empty() || address.expose().password().is_some());
    let in_headers = headers.iter().any(|(name, _)| name == "authorization");
    let named = [
        (in_address, "a user in url"),
        (in_headers, "Authorization in headers"),
        (basic.is_some(), "username and password"),
        (bearer.is_some(), "token"),
        (grant.is_some(), "oauth_token_url"),
    ];
    let given: Vec<&str> = named.into_iter().filter(|(is_given, _)| *is_given).map(|(_, name)| name).collect();
    if given.len() > 1 {
        fields.problem(format!(
            "a request says once who sends it, and the row has {}; keep one of them",
            given.join(" and ")
        ));
    }
    let bearer = bearer.filter(|token| is_sendable(fields, "token", token));
    let basic = basic.map(|(user, password)| Authorization::Basic(user, password));
    let grant = grant.map(|grant| Authorization::Granted(Box::new(grant)));
    Credentials { headers, signing: Vec::new(), authorization: basic.or(bearer.map(Authorization::Bearer)).or(grant) }
}

fn basic(fields: &mut Fields) -> Option<(String, Secret)> {
    let (user, password) = (fields.verbatim("username"), fields.verbatim("password"));
    if user.as_ref().is_some_and(|user| user.contains(':') || user.contains(char::is_control)) {
        fields.problem("username holds a colon or a control character, which no request can say".to_owned());
    }
    if user.is_none() && password.is_some() {
        fields.problem("password is set without a username; set both, or use the column token".to_owned());
    }
    user.map(|user| (user, Secret::new(password.unwrap_or_default())))
}

fn grant(fields: &mut Fields, egress: &Egress) -> Option<Grant> {
    let (url, client_id) = (fields.text("oauth_token_url"), fields.verbatim("oauth_client_id"));
    let (client_secret, scope) = (fields.verbatim("oauth_client_secret"), fields.text("oauth_scope"));
    let method = fields.setting("oauth_auth_method", AuthMethod::CHOICES, AuthMethod::parse);
    let shut = ["oauth_token_url", "oauth_client_secret"].into_iter().any(|column| fields.is_shut(column));
    if url.is_none() && client_id.is_none() && client_secret.is_none() || shut {
        return None;
    }
    let (Some(url), Some(client_id), Some(client_secret)) = (url, client_id, client_secret) else {
        fields.problem(
            "oauth_token_url, oauth_client_id and oauth_client_secret go together; set all three or none".to_owned(),
        );
        return None;
    };
    let address = Address::parse(&url).and_then(|address| match egress.judge(address.host(), address.port()) {
        Ok(()) => Ok(address),
        Err(refused) => Err(format!("url: {refused}")),
    });
    let address = address.map_err(|problem| fields.problem(format!("oauth_token_{problem}"))).ok()?;
    let (client_secret, method) = (Secret::new(client_secret), method.unwrap_or(AuthMethod::ClientSecretBasic));
    Some(Grant { address, dialer: egress.dialer(), client_id, client_secret, scope, method })
}

fn headers(fields: &mut Fields) -> Vec<(String, Secret)> {
    let Some(pairs) = fields.secret_object("headers") else { return Vec::new() };
    if pairs.len() > MOST_HEADERS {
        fields.problem(format!("headers has more than {MOST_HEADERS} names"));
        return Vec::new();
    }
    let mut headers: Vec<(String, Secret)> = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let name = name.to_ascii_lowercase();
        if let Some(problem) = name_problem(&name, &headers) {
            fields.problem(problem);
        } else if is_sendable(fields, &format!("headers.{name}"), &value) {
            headers.push((name, value));
        }
    }
    headers
}

fn name_problem(name: &str, others: &[(String, Secret)]) -> Option<String> {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_letter) {
        // Somebody may have mixed up the name and the value.
        return Some(format!(
            "headers: a name is empty, longer than {LONGEST_NAME} letters, or holds what no header's name can"
        ));
    }
    if RESERVED.contains(&name) || RESERVED_WORDS.iter().any(|word| name.starts_with(word)) {
        return Some(format!("headers: `{name}` is Andon's own to set; remove it"));
    }
    others.iter().any(|(other, _)| other == name).then(|| format!("headers: `{name}` is there twice; keep one of them"))
}

/// Returns whether a header can hold the value. Its text is a secret, so the problem does not quote it.
fn is_sendable(fields: &mut Fields, what: &str, value: &Secret) -> bool {
    let text = value.expose();
    let is_good = !text.is_empty() && text.len() <= LONGEST_VALUE && !text.contains(char::is_control);
    if !is_good {
        fields.problem(format!(
            "{what} is empty, longer than {LONGEST_VALUE} bytes, or holds a line break or another control character"
        ));
    }
    is_good
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serde_json::json;

    use super::*;

    fn of(row: &Value) -> (Credentials, Vec<String>) {
        let row = row.to_string();
        let mut fields = Fields::new(&row, None);
        let address = fields.text("url").map(|url| Address::parse(&url).unwrap());
        let credentials = read(&mut fields, address.as_ref(), &Egress::default());
        (credentials, fields.problems())
    }

    #[test]
    fn headers_may_be_an_object_or_its_text() {
        for headers in
            [json!({"X-Api-Key": "k3y", "X-Plant": "säge"}), json!(r#"{"X-Api-Key": "k3y", "X-Plant": "säge"}"#)]
        {
            let (credentials, problems) = of(&json!({"headers": headers}));

            let names: Vec<(&str, &str)> =
                credentials.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
            assert_eq!((names, problems.len()), (vec![("x-api-key", "k3y"), ("x-plant", "säge")], 0));
        }
    }

    #[test]
    fn one_of_the_ways_to_say_who_calls_is_enough() {
        let oauth = json!({"oauth_token_url": "https://login.example/token", "oauth_client_id": "andon", "oauth_client_secret": "s3cret"});

        assert!(matches!(of(&json!({"username": "u", "password": " p "})).0.authorization,
            Some(Authorization::Basic(user, password)) if user == "u" && password.expose() == " p "));
        assert!(matches!(of(&json!({"token": "t0ken"})).0.authorization, Some(Authorization::Bearer(_))));
        assert!(matches!(of(&oauth).0.authorization, Some(Authorization::Granted(_))));
        assert!(of(&json!({})).0.authorization.is_none());
    }

    #[test]
    fn what_cannot_be_sent_is_named_and_no_value_is_shown() {
        let many: serde_json::Map<String, Value> =
            (0..21).map(|number| (format!("x-{number}"), json!("s3cret"))).collect();
        let rows = [
            json!({"headers": {"Host": "s3cret"}}),
            json!({"headers": {"Transfer-Encoding": "s3cret", "Content-Length": "0", "Webhook-Id": "s3cret", "proxy-authorization": "s3cret"}}),
            json!({"headers": {"x-a": "s3cret\r\nx-b: s3cret"}}),
            json!({"headers": {"x s3cret": "y"}}),
            json!({"headers": {"x-a": ["s3cret"]}}),
            json!({"headers": ["s3cret"]}),
            json!({"headers": "s3cret"}),
            json!({"headers": {"X-A": "s3cret", "x-a": "s3cret"}}),
            json!({"headers": {"x-a": ""}}),
            json!({"headers": {"x-a": "s3cret".repeat(1000)}}),
            json!({"headers": many}),
            json!({"token": "s3cret\n"}),
            json!({"token": "s3cret", "username": "u"}),
            json!({"url": "https://u:s3cret@erp.example", "headers": {"Authorization": "s3cret"}}),
            json!({"username": "u:s3cret"}),
            json!({"password": "s3cret"}),
            json!({"oauth_client_secret": "s3cret"}),
            json!({"oauth_token_url": "ftp://u:s3cret@login.example/s3cret", "oauth_client_id": "a", "oauth_client_secret": "s3cret"}),
            json!({"oauth_token_url": "http://127.0.0.1/s3cret", "oauth_client_id": "a", "oauth_client_secret": "s3cret"}),
        ];

        let problems: Vec<String> = rows.iter().map(|row| of(row).1.join("\n")).collect();

        assert!(problems.iter().all(|problem| !problem.is_empty() && !problem.contains("s3cret")), "{problems:#?}");
        insta::assert_snapshot!(problems.join("\n"));
    }

    #[test]
    fn nothing_of_them_is_shown() {
        let row = json!({"headers": {"x-a": "s3cret"}, "oauth_token_url": "https://login.example/s3cret", "oauth_client_id": "a", "oauth_client_secret": "s3cret"});

        let (credentials, _) = of(&row);

        assert!(!format!("{credentials:?}").contains("s3cret"), "{credentials:?}");
        assert!(credentials.secrets().contains(&"s3cret".to_owned()));
    }
}
