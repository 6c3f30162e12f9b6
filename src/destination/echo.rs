//! What an endpoint or a broker says back. In: what Andon knows of it and never shows (the path of its address, credentials), and a text that
//! it sent. Out: the text without any of it, because many servers repeat what they were asked (`Cannot POST /hooks/token`).

use std::fmt;

use url::form_urlencoded::byte_serialize;

use crate::legible;

/// A part of a secret that is shorter would only blacken what an endpoint says.
const SHORTEST: usize = 4;

/// The secrets of one endpoint or broker. `Debug` hides them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Echo {
    /// The longest come first, so that a secret which holds another one goes as a whole.
    secrets: Vec<String>,
}

impl Echo {
    /// Takes what is never to be shown.
    pub fn of(secrets: impl IntoIterator<Item = String>) -> Echo {
        let secrets = secrets.into_iter().filter(|secret| !secret.is_empty());
        let mut secrets: Vec<String> = secrets.flat_map(|secret| forms(&secret)).collect();
        secrets.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        secrets.dedup();
        Echo { secrets }
    }

    /// Adds others.
    pub fn and(&self, secrets: impl IntoIterator<Item = String>) -> Echo {
        Echo::of(self.secrets.iter().cloned().chain(secrets))
    }

    /// Returns the text without the secrets.
    pub fn hide(&self, mut text: String) -> String {
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "…");
            }
        }
        text
    }

    /// Does the same for a text whose end is missing: it may break off within a secret.
    pub fn hide_cut(&self, text: String) -> String {
        let mut text = self.hide(text);
        // A letter of several bytes may be cut as well.
        text.truncate(text.trim_end_matches('\u{fffd}').len());
        let begun = |secret: &String| {
            let ends = secret.char_indices().map(|(end, _)| end).skip(1);
            ends.filter(|end| text.ends_with(&secret[..*end])).max().unwrap_or_default()
        };
        let begun = self.secrets.iter().map(begun).max().unwrap_or_default();
        text.truncate(text.len() - begun);
        text
    }
}

/// The texts in which a server may repeat a secret: as it stands, without the scheme or the prefix before it, as one line or without what nobody
/// sees, in JSON, in a form, and without what fills up base64.
fn forms(secret: &str) -> Vec<String> {
    let after_scheme = secret.split_once(' ').map(|(_, rest)| rest.trim());
    let after_prefix = ["whsec_", "whsk_"].iter().find_map(|prefix| secret.strip_prefix(prefix));
    let mut forms = Vec::new();
    for text in [Some(secret), after_scheme, after_prefix].into_iter().flatten() {
        let unfilled = text.trim_end_matches('=');
        for text in [text, unfilled] {
            let json = serde_json::to_string(text).unwrap_or_default();
            let json = json.trim_start_matches('"').strip_suffix('"').unwrap_or_default();
            forms.extend([text.to_owned(), json.to_owned(), in_ascii(json), byte_serialize(text.as_bytes()).collect()]);
            forms.extend([legible::line(text.to_owned()), legible::text(text.to_owned())]);
        }
    }
    forms.retain(|form| form.len() >= SHORTEST || form == secret);
    forms
}

/// Returns the text of a JSON string as servers write it that send nothing but ASCII.
fn in_ascii(json: &str) -> String {
    let mut units = [0; 2];
    let escaped = json.chars().map(|letter| match letter.is_ascii() {
        true => letter.to_string(),
        false => letter.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    });
    escaped.collect()
}

impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Echo({} secrets)", self.secrets.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_is_hidden_and_the_rest_stays() {
        let echo = Echo::of(["t0ken".to_owned(), "/hooks/t0ken".to_owned(), String::new()]);

        assert_eq!(echo.hide("Cannot POST /hooks/t0ken: t0ken unknown".to_owned()), "Cannot POST …: … unknown");
        assert_eq!(echo.hide("all well".to_owned()), "all well");
        assert!(format!("{echo:?}").starts_with("Echo("));
    }

    #[test]
    fn a_text_that_breaks_off_within_a_secret_shows_no_part_of_it() {
        let echo = Echo::of(["s3cret-säge".to_owned()]);
        let cut = |text: &str| echo.hide_cut(text.to_owned());

        for end in ["", "s", "s3cret", "s3cret-s\u{fffd}", "s3cret-säg", "s3cret-s\\u00e"] {
            assert_eq!(cut(&format!("password {end}")), "password ", "{end}");
        }
        assert_eq!(cut("s3cret-säge is not s3cret, says s3"), "… is not s3cret, says ");
        assert_eq!(echo.hide("not s3cret".to_owned()), "not s3cret");
    }

    #[test]
    fn a_secret_is_hidden_however_a_server_writes_it() {
        let hidden = |secret: &str, said: &str| Echo::of([secret.to_owned()]).hide(said.to_owned());

        assert_eq!(hidden("Splunk XYZ123", "invalid token XYZ123"), "invalid token …");
        assert_eq!(hidden("whsec_MfKQ9r8GKYqrTwjU", "expected MfKQ9r8GKYqrTwjU"), "expected …");
        assert_eq!(hidden("p\"säge", r#"{"got":"p\"säge"}"#), r#"{"got":"…"}"#);
        assert_eq!(hidden("p\"säge", r#"{"got":"p\"s\u00e4ge"}"#), r#"{"got":"…"}"#);
        assert_eq!(hidden("a b+c/d==", "code=a+b%2Bc%2Fd%3D%3D&x=1"), "code=…&x=1");
        assert_eq!(hidden("dXNlcjpwYXNz==", "basic dXNlcjpwYXNz"), "basic …");
        assert_eq!(hidden("a\tb\u{200b}c-d", "not a bc-d"), "not …");
        assert_eq!(hidden("x y", "x y, and why"), "…, and why");
    }
}
