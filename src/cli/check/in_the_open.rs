//! Finds credentials that go over the network in the open. In: a usable destination. Out: what to say of it, if there is anything: of the endpoint
//! or the broker, and of the server that gives an endpoint's tokens. An address of this host is no network.

use std::net::IpAddr;

use url::Host;
use url::Url;

use crate::cli::check::lanes::Note;
use crate::cli::check::report::Grade;
use crate::destination::Target;
use crate::destination::credentials::Authorization;
use crate::destination::webhook::Webhook;

pub(super) fn notes(target: &Target) -> Vec<Note> {
    let texts = match target {
        Target::Mqtt(publisher) => {
            let has_login = publisher.username.is_some() || publisher.password.is_some();
            let is_open = has_login && !publisher.tls && !is_here(&publisher.host);
            let text = "its user and password go to the broker in the open; use mqtts:// (TLS)";
            is_open.then(|| text.to_owned()).into_iter().collect()
        }
        Target::Webhook(webhook) => of_webhook(webhook),
    };
    texts.into_iter().map(|text| (Grade::Warning, text)).collect()
}

fn of_webhook(webhook: &Webhook) -> Vec<String> {
    let (url, credentials) = (webhook.address.expose(), &webhook.credentials);
    let mut shown = Vec::new();
    if !url.username().is_empty() || url.password().is_some() {
        shown.push("the user and password in its URL");
    }
    if !credentials.headers.is_empty() {
        shown.push("its headers");
    }
    shown.extend(credentials.authorization.as_ref().map(|authorization| match authorization {
        Authorization::Basic(..) => "its user and password",
        Authorization::Bearer(_) => "its token",
        Authorization::Granted(_) => "its tokens of OAuth",
    }));
    let mut texts = Vec::new();
    if is_open(url) && !shown.is_empty() {
        texts.push(format!("the endpoint gets {} in the open; use https://", shown.join(" and ")));
    }
    if let Some(Authorization::Granted(grant)) = &credentials.authorization
        && is_open(grant.address.expose())
    {
        texts.push("oauth_token_url gets its client secret in the open; use https://".to_owned());
    }
    texts
}

/// Returns whether whoever is on the way can read what is sent there.
fn is_open(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => is_here(name),
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
        None => false,
    };
    url.scheme() == "http" && !is_here
}

fn is_here(host: &str) -> bool {
    let host = host.trim_end_matches('.').trim_matches(['[', ']']);
    let is_local = host.eq_ignore_ascii_case("localhost");
    is_local || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_of_this_host_is_no_network() {
        for host in ["localhost", "LOCALHOST.", "127.0.0.1", "127.8.9.1", "::1", "[::1]", "::ffff:127.0.0.1"] {
            assert!(is_here(host), "{host}");
        }
        for host in ["broker", "localhost.example", "128.0.0.1", "::2", "10.0.0.1", ""] {
            assert!(!is_here(host), "{host}");
        }
    }
}
