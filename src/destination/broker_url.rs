//! The address of a broker, as people write it. In: a host, or a URL. Out: host, port and TLS as the standard for URLs says, or every reason
//! why the text is no such address. It repeats only what is a scheme, a host or a port, because problems are shown and logged and anything else
//! may be a password.

use std::net::Ipv6Addr;

/// The address of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BrokerUrl {
    pub(super) host: String,
    /// The port, if the text names one.
    pub(super) port: Option<u16>,
    /// Whether the scheme asks for TLS.
    pub(super) tls: bool,
}

/// Reads the text of column `broker_url`. An error holds all problems.
pub(super) fn parse(text: &str) -> Result<BrokerUrl, Vec<String>> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("mqtt", text));
    // A password may hold any of the characters that end a host, so it ends at the last `@`.
    let (has_user, rest) = rest.rsplit_once('@').map_or((false, rest), |(_, rest)| (true, rest));
    let (address, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (host, port) = host_and_port(address);
    let host = host.to_ascii_lowercase();
    let shown = shown(scheme, &host, port);
    let mut problems = Vec::new();
    let mut problem = |problem: &str| problems.push(format!("broker_url{shown}: {problem}"));
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "mqtt" | "tcp" => false,
        "mqtts" | "ssl" | "tls" => true,
        "ws" | "wss" => {
            problem(
                "cannot speak MQTT over WebSockets; use mqtt://host or mqtts://host, with the broker's port for these",
            );
            false
        }
        _ => {
            let what =
                if is_scheme(scheme) { format!("cannot speak `{scheme}`") } else { "it has no scheme".to_owned() };
            problem(&format!("{what}; use mqtt://host or mqtts://host"));
            false
        }
    };
    if has_user {
        problem(
            "a user or a password does not belong here, where messages show it; use the columns username and password",
        );
    }
    if !tail.trim_matches('/').is_empty() {
        problem("a broker has no path; remove what stands behind the host and port, topics stand in topic_pattern");
    }
    if let Err(reason) = judge_host(&host) {
        problem(reason);
    }
    let port = match port.map(read_port) {
        Some(None) => {
            let number =
                port.filter(|port| is_number(port)).map_or("its port".to_owned(), |port| format!("port {port}"));
            problem(&format!("{number} is not between 1 and 65535"));
            None
        }
        Some(port) => port,
        None => None,
    };
    if problems.is_empty() { Ok(BrokerUrl { host, port, tls }) } else { Err(problems) }
}

/// Returns what may be shown of the text, with a blank before it.
fn shown(scheme: &str, host: &str, port: Option<&str>) -> String {
    if !is_scheme(scheme) {
        return String::new();
    }
    let host = match host {
        "" => String::new(),
        _ if judge_host(host).is_err() => "…".to_owned(),
        _ if is_ipv6(host) => format!("[{host}]"),
        _ => host.to_owned(),
    };
    let port = port.map(|port| if is_number(port) { format!(":{port}") } else { ":…".to_owned() }).unwrap_or_default();
    format!(" `{scheme}://{host}{port}`")
}

fn is_scheme(text: &str) -> bool {
    text.len() <= 10 && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn is_number(port: &str) -> bool {
    (1..=8).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads the number of a port.
pub(super) fn read_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Splits a host from its port. Without brackets, an address of IPv6 is a host without a port.
fn host_and_port(address: &str) -> (&str, Option<&str>) {
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) if is_ipv6(host) => (host, port.strip_prefix(':').or((!port.is_empty()).then_some(port))),
        _ if is_ipv6(address) => (address, None),
        _ => address.rsplit_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
    };
    // The standard lets a port be empty, and then it is as if there were none.
    (host, port.filter(|port| !port.is_empty()))
}

fn is_ipv6(host: &str) -> bool {
    host.parse::<Ipv6Addr>().is_ok()
}

fn judge_host(host: &str) -> Result<(), &'static str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    match host {
        "" => Err("it names no host; use mqtt://host"),
        _ if is_ipv6(host) || host.chars().all(is_name) => Ok(()),
        _ if !host.is_ascii() => Err("the host has letters that are not ASCII; write it as it stands in DNS (xn--…)"),
        _ => Err("its host is no name and no address; use mqtt://host, and [address] for IPv6"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn good(text: &str) -> (String, Option<u16>, bool) {
        let url = parse(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
        (url.host, url.port, url.tls)
    }

    #[test]
    fn an_address_is_read_as_the_standard_says() {
        let cases = [
            ("broker", ("broker", None, false)),
            ("broker.plant:1884", ("broker.plant", Some(1884), false)),
            ("mqtt://broker", ("broker", None, false)),
            ("MQTT://Broker.Plant/", ("broker.plant", None, false)),
            ("tcp://10.0.0.1:1883", ("10.0.0.1", Some(1883), false)),
            ("mqtts://broker:8883/", ("broker", Some(8883), true)),
            ("SSL://broker", ("broker", None, true)),
            ("tls://broker:", ("broker", None, true)),
            ("mqtt://[::1]:1884", ("::1", Some(1884), false)),
            ("[fe80::1]", ("fe80::1", None, false)),
            ("2001:DB8::1", ("2001:db8::1", None, false)),
            ("mqtt://my_broker-1:65535", ("my_broker-1", Some(65535), false)),
        ];
        for (text, (host, port, tls)) in cases {
            assert_eq!(good(text), (host.to_owned(), port, tls), "{text}");
        }
    }

    #[test]
    fn every_reason_why_a_text_is_no_address_is_named_and_no_password_is() {
        let mut all = String::new();
        for text in [
            "mqtt://host:1883/path",
            "ws://host/mqtt",
            "http://host",
            "mqtt://andon:s3cret@host",
            "an:s3cret@host?x=s",
            "mqtt://an:s3cret/s3cret@s3cret?@host",
            "mqtt://",
            "mqtt://:1883",
            "mqtt://ho st",
            "mqtt://hÖst",
            "mqtt://host:0",
            "mqtt://host:+1",
            "mqtt://host:70000",
            "mqtt://[::1]x",
            "mqtt://[::g]:1883",
            "gopher://u:s3cret@ho st:x/y",
            "mqtt://user:s3cret",
            "user:s3cret@mqtt://host",
            "mqtt://host/s3cret?s3cret#s3cret",
            "mqtt://host:s3cret/",
            "mqtt://s3cret in here/",
        ] {
            all.push_str(&parse(text).unwrap_err().join("\n"));
            all.push('\n');
        }

        assert!(!all.contains("s3cret"), "{all}");
        insta::assert_snapshot!(all);
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_has_a_reason(text in "\\PC{0,40}|(mqtts?://)?[a-z0-9:@/?#\\[\\].% -]{0,30}") {
            match parse(&text) {
                Ok(url) => prop_assert!(judge_host(&url.host).is_ok()),
                Err(problems) => prop_assert!(!problems.is_empty()),
            }
        }
    }
}
