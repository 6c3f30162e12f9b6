//! What an endpoint or a broker says back. In: what Andon knows of it and never shows (the path of its address, credentials), and a text that
//! it sent. Out: the text without any of it, because many servers repeat what they were asked (`Cannot POST /hooks/token`).

mod meaning;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::destination::echo::meaning::Meant;
use crate::destination::echo::meaning::literal;
use crate::destination::echo::meaning::unescaped;
use crate::destination::echo::meaning::without_begun_escape;
use crate::legible;

/// A part of a secret that is shorter would only blacken what an endpoint says.
const SHORTEST: usize = 4;
/// The same for a secret in base64 or hex, in which any text may hold a few letters.
const SHORTEST_ENCODED: usize = 8;
/// How many layers of escapes are undone: JSON in a page of HTML is two.
const LAYERS: usize = 2;

/// The secrets of one endpoint or broker. `Debug` hides them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Echo {
    /// All forms of each, in small letters and in order.
    forms: Vec<Form>,
}

/// One way in which a secret may be written.
#[derive(Clone, PartialEq, Eq)]
struct Form {
    text: Vec<u8>,
    /// The longest other form with which it begins.
    beginning: Option<usize>,
    /// It is of a secret that whoever wrote the row does not know.
    is_foreign: bool,
}

impl Echo {
    /// Takes what is never to be shown.
    pub fn of(secrets: impl IntoIterator<Item = String>) -> Echo {
        Echo::default().and(secrets)
    }

    /// Adds others.
    pub fn and(&self, secrets: impl IntoIterator<Item = String>) -> Echo {
        self.with(secrets, false)
    }

    /// Adds some that whoever wrote the row does not know, such as the password of a proxy. They are hidden where they stand as a whole: a
    /// text that breaks off tells by what is missing whether it had begun one, and its writer may try one letter after the other.
    pub fn and_foreign(&self, secrets: impl IntoIterator<Item = String>) -> Echo {
        self.with(secrets, true)
    }

    fn with(&self, secrets: impl IntoIterator<Item = String>, is_foreign: bool) -> Echo {
        let secrets = secrets.into_iter().filter(|secret| !secret.is_empty());
        let mut texts: Vec<(Vec<u8>, bool)> =
            self.forms.iter().map(|form| (form.text.clone(), form.is_foreign)).collect();
        texts.extend(secrets.flat_map(|secret| forms_of(&secret)).map(|text| (text, is_foreign)));
        // What the row says as well is not foreign.
        texts.sort_unstable();
        texts.dedup_by(|later, first| later.0 == first.0);
        let mut forms: Vec<Form> = Vec::with_capacity(texts.len());
        for (text, is_foreign) in texts {
            // Whatever it begins with is the form before it, or what that one begins with.
            let mut beginning = forms.len().checked_sub(1);
            while let Some(at) = beginning.filter(|at| !text.starts_with(&forms[*at].text)) {
                beginning = forms[at].beginning;
            }
            forms.push(Form { text, beginning, is_foreign });
        }
        Echo { forms }
    }

    /// Returns the text without the secrets, in whatever way they are written there.
    pub fn hide(&self, text: String) -> String {
        if self.forms.is_empty() {
            return text;
        }
        let mut places: Vec<(usize, usize)> = meanings(&text).iter().flat_map(|meant| self.places(meant)).collect();
        places.sort_unstable();
        let (mut shown, mut end) = (String::with_capacity(text.len()), 0);
        for (from, to) in places {
            if from >= end {
                shown.push_str(&text[end..from]);
                shown.push('…');
            }
            end = end.max(to);
        }
        shown.push_str(&text[end..]);
        shown
    }

    /// Does the same for a text whose end is missing: it may break off within a secret.
    pub fn hide_cut(&self, text: String) -> String {
        let mut text = self.hide(text);
        // A letter of several bytes may be cut as well.
        text.truncate(text.trim_end_matches('\u{fffd}').len());
        text.truncate(without_begun_escape(&text));
        let begun = meanings(&text).iter().filter_map(|meant| self.begun(meant)).min();
        text.truncate(begun.unwrap_or(text.len()));
        text
    }

    /// Returns where secrets stand.
    fn places(&self, meant: &[Meant]) -> Vec<(usize, usize)> {
        let bytes: Vec<u8> = meant.iter().map(|it| it.byte.to_ascii_lowercase()).collect();
        let place = |at: usize| self.longest(&bytes[at..]).map(|length| (meant[at].from, meant[at + length - 1].to));
        (0..bytes.len()).filter_map(place).collect()
    }

    /// Returns the length of the longest form with which these bytes begin. A row may have thousands of forms, and the one who wrote it may also
    /// choose what is answered, so it is looked for among the forms in order.
    fn longest(&self, bytes: &[u8]) -> Option<usize> {
        let mut at = self.forms.partition_point(|form| form.text.as_slice() <= bytes).checked_sub(1)?;
        let common = common(&self.forms[at].text, bytes);
        while self.forms[at].text.len() > common {
            at = self.forms[at].beginning?;
        }
        Some(self.forms[at].text.len())
    }

    /// Returns where the beginning of a secret stands at the end.
    fn begun(&self, meant: &[Meant]) -> Option<usize> {
        let bytes: Vec<u8> = meant.iter().map(|it| it.byte.to_ascii_lowercase()).collect();
        let is_begun = |at: &usize| {
            let next = self.forms.partition_point(|form| form.text.as_slice() < &bytes[*at..]);
            let mut begun = self.forms[next..].iter().take_while(|form| form.text.starts_with(&bytes[*at..]));
            begun.any(|form| !form.is_foreign)
        };
        (0..bytes.len()).find(is_begun).map(|at| meant[at].from)
    }
}

/// Returns how many bytes two texts have in common at their beginnings.
fn common(one: &[u8], other: &[u8]) -> usize {
    const MANY: usize = 64;
    let pairs = one.chunks(MANY).zip(other.chunks(MANY));
    let same: usize = pairs.take_while(|(one, other)| one == other).map(|(same, _)| same.len()).sum();
    same + one[same..].iter().zip(&other[same..]).take_while(|(one, other)| one == other).count()
}

/// Returns what a text says as it stands, and what it means with its escapes undone.
fn meanings(text: &str) -> Vec<Vec<Meant>> {
    let layers = std::iter::successors(Some(literal(text)), |written| unescaped(written));
    layers.take(1 + LAYERS).collect()
}

/// The texts by which a server may repeat a secret, besides all ways to escape them: as it is, without the scheme or the prefix before it, as one
/// line or without what nobody sees, as in a form, without what fills up base64, in hex, and in base64, wherever it stands in what was encoded.
fn forms_of(secret: &str) -> Vec<Vec<u8>> {
    let after_scheme = secret.split_once(' ').map(|(_, rest)| rest.trim());
    let after_prefix = ["whsec_", "whsk_"].iter().find_map(|prefix| secret.strip_prefix(prefix));
    let mut forms = Vec::new();
    for text in [Some(secret), after_scheme, after_prefix].into_iter().flatten() {
        for text in [text, text.trim_end_matches('=')] {
            let legible = [legible::line(text.to_owned()), legible::text(text.to_owned())];
            forms.extend(legible.into_iter().chain([text.to_owned(), text.replace(' ', "+")]));
        }
    }
    forms.retain(|form| form.len() >= SHORTEST || form == secret);
    let mut encoded: Vec<String> = in_base64(secret.as_bytes()).collect();
    encoded.push(secret.bytes().map(|byte| format!("{byte:02x}")).collect());
    encoded.retain(|form| form.len() >= SHORTEST_ENCODED);
    forms.into_iter().chain(encoded).map(|form| form.to_ascii_lowercase().into_bytes()).collect()
}

/// Returns the letters of base64 that depend on nothing but these bytes, for each place in a group of three at which they may begin.
fn in_base64(bytes: &[u8]) -> impl Iterator<Item = String> {
    [(0, 0), (1, 2), (2, 3)].into_iter().flat_map(move |(before, first)| {
        let padded = [&[0; 2][..before], bytes].concat();
        let last = padded.len() * 8 / 6;
        [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)]
            .map(|text| text.get(first..last).unwrap_or_default().to_owned())
    })
}

impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Echo({} forms of secrets)", self.forms.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_repeated_is_hidden_and_the_rest_stays() {
        let echo = Echo::of(["t0ken".to_owned(), "/hooks/t0ken".to_owned(), String::new()]);

        assert_eq!(echo.hide("Cannot POST /hooks/t0ken: t0ken unknown".to_owned()), "Cannot POST …: … unknown");
        assert_eq!(echo.hide("all well".to_owned()), "all well");
        let nested = Echo::of(["abcd".to_owned(), "abcde".to_owned(), "abcdef".to_owned()]);
        assert_eq!(nested.hide("abcdeg abcdx abcdef".to_owned()), "…g …x …");
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
    fn nobody_finds_out_letter_by_letter_what_is_not_his() {
        let echo = Echo::of(["s3cret".to_owned()]).and_foreign(["Zk9!proxy".to_owned(), "s3cret".to_owned()]);
        let cut = |text: &str| echo.hide_cut(text.to_owned());

        for guess in ["Z", "Zk", "Zk9!", "Zk9!prox", "5a6b39", "WmsJ"] {
            assert_eq!(cut(&format!("try {guess}")), format!("try {guess}"), "as after a wrong guess");
        }
        assert_eq!(cut("Zk9!proxy and s3c"), "… and ");
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
        let odd = "k+y/<&>'s ä";
        for said in [
            "K+Y/<&>'S ä",
            "k%2by%2F%3c%26%3E's+%c3%a4",
            "k%2By/<&>'s%20ä",
            r"k\u002by\/\u003c\u0026\u003e's \u00e4",
            "k+y/&lt;&amp;&gt;&#39;s &#xE4;",
            r"k+y/<&>\'s \xc3\xa4",
            r"k\u002by\/&lt;&amp;&gt;&#39;s \\u00e4",
            "6b2b792f3c263e277320c3a4",
        ] {
            assert_eq!(hidden(odd, &format!("({said})")), "(…)", "{said}");
        }
    }

    /// Hides as an eye would: each form at each place.
    fn hidden_slowly(echo: &Echo, text: &str) -> Vec<bool> {
        let mut hidden = vec![false; text.len()];
        for meant in meanings(text) {
            let bytes: Vec<u8> = meant.iter().map(|it| it.byte.to_ascii_lowercase()).collect();
            for form in &echo.forms {
                for at in (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&form.text)) {
                    hidden[meant[at].from..meant[at + form.text.len() - 1].to].fill(true);
                }
            }
        }
        hidden
    }

    proptest! {
        #[test]
        fn each_form_is_hidden_at_each_place(
            secrets in proptest::collection::vec("[ab]{4,9}|[abc]{4,6}", 1..12), text in "([abcA]|%61|&amp;){0,60}"
        ) {
            let echo = Echo::of(secrets);
            let hidden = hidden_slowly(&echo, &text);

            let mut expected = String::new();
            for (at, letter) in text.char_indices() {
                match hidden[at] {
                    false => expected.push(letter),
                    true if at == 0 || !hidden[at - 1] => expected.push('…'),
                    true => {}
                }
            }
            // Two that touch may be shown as two.
            let mut shown = echo.hide(text);
            while shown.contains("……") {
                shown = shown.replace("……", "…");
            }
            prop_assert_eq!(shown, expected);
        }
    }

    #[test]
    fn a_secret_is_hidden_wherever_it_stands_in_base64() {
        let echo = Echo::of(["s3cret-säge-42".to_owned()]);
        for user in ["", "a", "an", "and"] {
            for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let said = engine.encode(format!("{user}:s3cret-säge-42:x"));

                let shown = echo.hide(said.clone());

                assert!(shown.contains('…') && shown.chars().count() < 12, "{said}: {shown}");
            }
        }
    }
}
