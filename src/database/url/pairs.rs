//! The two ways to write the address of a PostgreSQL database. In: `postgres://user:password@host/name?key=value`, or `host=… user=…`. Out:
//! its parts as keys and values, in order, by the names that libpq gives them. It knows no key but those of the parts of a URL.

/// A key and its value, which is text except perhaps for a password.
pub(super) type Pair = (String, Vec<u8>);

/// Reads either way to write an address. Returns nothing if the text is neither.
pub(super) fn read(text: &str) -> Option<Vec<Pair>> {
    // JDBC and SQLAlchemy write the name of a driver into the scheme.
    let text = text.strip_prefix("jdbc:").unwrap_or(text);
    match text.split_once("://") {
        Some((scheme, rest)) if is_word(scheme) => {
            let scheme = scheme.split('+').next().unwrap_or_default();
            ["postgres", "postgresql"].iter().any(|known| scheme.eq_ignore_ascii_case(known)).then(|| of_url(rest))?
        }
        _ => of_keywords(text),
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '+' || c == '_')
}

fn of_url(rest: &str) -> Option<Vec<Pair>> {
    let mut pairs = Vec::new();
    let (credentials, rest) = split_credentials(rest);
    if let Some(credentials) = credentials {
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        pairs.push(("user".to_owned(), decoded(user)));
        pairs.push(("password".to_owned(), decoded(password)));
    }
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, name) = before.split_once('/').unwrap_or((before, ""));
    // An `@` that is left is a piece of a password, and no message may show it.
    if hosts.contains('@') {
        return None;
    }
    let mut names = Vec::new();
    let mut ports = Vec::new();
    for host in hosts.split(',') {
        let (name, port) = split_port(host)?;
        names.push(name);
        ports.push(port);
    }
    pairs.push(("host".to_owned(), decoded(&names.join(","))));
    if ports.iter().any(|port| !port.is_empty()) {
        pairs.push(("port".to_owned(), decoded(&ports.join(","))));
    }
    pairs.push(("dbname".to_owned(), decoded(name)));
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        pairs.push((String::from_utf8(decoded(key)).ok()?, decoded(value)));
    }
    Some(pairs)
}

/// Splits off what stands before the `@`. A password that is not percent-encoded may hold a slash: then what stands before the slash does
/// not read like hosts.
fn split_credentials(rest: &str) -> (Option<&str>, &str) {
    let hosts = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
    let is_host = |host: &str| split_port(host).is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    if !hosts.contains('@') && hosts.split(',').all(is_host) {
        return (None, rest);
    }
    rest.split_once('@').map_or((None, rest), |(credentials, rest)| (Some(credentials), rest))
}

/// Splits `host:port`; an IPv6 address stands in brackets.
fn split_port(host: &str) -> Option<(&str, &str)> {
    if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        return if port.is_empty() { Some((address, "")) } else { Some((address, port.strip_prefix(':')?)) };
    }
    Some(host.split_once(':').unwrap_or((host, "")))
}

/// Decodes `%41`. A per cent sign that begins no such pair stays as it is.
fn decoded(text: &str) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.extend(u8::try_from(high * 16 + low));
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// Reads `key=value`, `key = 'a value'` and backslashes as libpq does.
fn of_keywords(text: &str) -> Option<Vec<Pair>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let key = key.trim_end();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return None;
        }
        let (value, after) = keyword_value(after.trim_start())?;
        pairs.push((key.to_owned(), value.into_bytes()));
        rest = after.trim_start();
    }
    Some(pairs)
}

/// Returns the value that the text begins with, and what follows it.
fn keyword_value(text: &str) -> Option<(String, &str)> {
    let quoted = text.strip_prefix('\'');
    let text = quoted.unwrap_or(text);
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            '\'' if quoted.is_some() => return Some((value, &text[at + 1..])),
            c if c.is_whitespace() && quoted.is_none() => return Some((value, &text[at..])),
            c => value.push(c),
        }
    }
    // A quote that is not closed is no value.
    if quoted.is_some() { None } else { Some((value, "")) }
}
