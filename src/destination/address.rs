//! The address of an endpoint. In: the text of a row. Out: where to connect to and what to ask for. All of it but scheme, host and port may be
//! a secret (a password, a token in the path or the query), so nothing else is ever shown.

use std::fmt;

use url::Url;

use crate::percent;

/// The address of an endpoint of HTTP. `Display` and `Debug` show scheme, host and port.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

/// The parts of an address that are too short to be secrets. To hide them would only blacken what an endpoint says.
const SHORTEST_SECRET: usize = 6;

impl Address {
    /// Reads a text. The error says what is wrong, and nothing of the text but a scheme and a host.
    pub fn parse(text: &str) -> Result<Address, String> {
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Address(url)),
            Ok(url) if url.has_host() => {
                Err(format!("url `{}`: cannot speak `{}`; use https://host/path", shown(&url), url.scheme()))
            }
            Ok(_) => Err("url is not the address of an endpoint; use https://host/path".to_owned()),
            Err(_) if text.is_empty() => Err("url is empty; set it to https://host/path".to_owned()),
            Err(error) => Err(format!("url is not the address of an endpoint: {error}; use https://host/path")),
        }
    }

    /// Returns the whole address, for the one who sends a request.
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// Returns the host, as it stands in the address.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// Returns whether requests are encrypted.
    pub fn has_tls(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Returns what of the address may be a secret, as it was written and as it is meant.
    pub fn secrets(&self) -> Vec<String> {
        let Address(url) = self;
        let mut parts = vec![url.path().to_owned()];
        parts.extend(url.path_segments().into_iter().flatten().map(str::to_owned));
        parts.extend([url.query(), url.password(), url.fragment()].into_iter().flatten().map(str::to_owned));
        parts.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
        let meant: Vec<String> = parts.iter().map(|part| percent::decoded(part)).collect();
        parts.extend(meant);
        parts.retain(|part| part.len() >= SHORTEST_SECRET);
        parts
    }
}

/// Returns what may be shown of a text that should be an address, if it is one.
pub(super) fn shown_of(text: &str) -> Option<String> {
    Url::parse(text).ok().filter(Url::has_host).map(|url| shown(&url))
}

fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scheme_host_and_port_are_shown() {
        let address =
            Address::parse("https://us%20er:hunter2@erp.example:8443/hooks/t0ken-of-path?key=t0ken#fragm3nt").unwrap();

        assert_eq!(format!("{address} {address:?}"), "https://erp.example:8443 Address(https://erp.example:8443)");
        assert_eq!((address.host(), address.port(), address.has_tls()), ("erp.example", 8443, true));
        assert_eq!(Address::parse("http://[::1]/").unwrap().to_string(), "http://[::1]");
    }

    #[test]
    fn what_is_wrong_is_told_without_what_may_be_a_secret() {
        let texts = [
            "",
            "erp.example/hooks/s3cret",
            "ftp://user:s3cret@erp/s3cret?s3cret",
            "s3cret:abc",
            "https://",
            "https://u:s3cret@ho st/",
            "https://u:s3cret@host:s3cret/",
            "https:///s3cret",
            "mailto:s3cret@example",
        ];

        let problems: Vec<String> = texts.into_iter().filter_map(|text| Address::parse(text).err()).collect();

        assert!(!problems.join("\n").contains("s3cret@") && problems.len() >= 8, "{problems:?}");
        insta::assert_snapshot!(problems.join("\n"));
    }

    #[test]
    fn its_secrets_are_the_parts_that_a_token_may_be() {
        let address = Address::parse("https://user:p%2Bssw0rd@erp.example/hooks/tok%65n1/v1?key=t%20ken2&a=b").unwrap();

        let secrets = address.secrets();

        for part in ["/hooks/tok%65n1/v1", "/hooks/token1/v1", "token1", "t ken2", "p+ssw0rd", "key=t%20ken2&a=b"] {
            assert!(secrets.iter().any(|secret| secret == part), "{part}: {secrets:?}");
        }
        assert!(!secrets.iter().any(|secret| ["hooks", "v1", "b", ""].contains(&secret.as_str())), "{secrets:?}");
    }
}
