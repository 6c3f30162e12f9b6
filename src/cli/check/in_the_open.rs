//! Finds credentials that go over the network in the open. In: a usable destination. Out: what to say of it, if there is anything. An address of
//! this host is no network.

use std::net::IpAddr;

use url::Host;

use crate::cli::check::lanes::Note;
use crate::cli::check::report::Grade;
use crate::destination::Target;

pub(super) fn note(target: &Target) -> Option<Note> {
    let text = match target {
        Target::Mqtt(publisher) => {
            let has_login = publisher.username.is_some() || publisher.password.is_some();
            (has_login && !publisher.tls && !is_here(&publisher.host))
                .then_some("its user and password go to the broker in the open; use mqtts:// (TLS)")
        }
        Target::Webhook(webhook) => {
            let url = webhook.address.expose();
            let has_login = !url.username().is_empty() || url.password().is_some();
            let is_here = match url.host() {
                Some(Host::Domain(name)) => is_here(name),
                Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
                Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
                None => false,
            };
            (has_login && url.scheme() == "http" && !is_here)
                .then_some("the user and password in its URL go to the endpoint in the open; use https://")
        }
    };
    text.map(|text| (Grade::Warning, text.to_owned()))
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
