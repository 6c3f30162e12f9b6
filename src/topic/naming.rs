//! Writes values as levels of a topic. In: any text from the database. Out: the same text, without anything that MQTT forbids or that would
//! add a level. If nothing is left of a value, `expand` decides what happens.

use deunicode::deunicode_char;

/// How values are written in a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Naming {
    /// In lower-case Latin letters, digits, `_`, `.` and `-`, which every tool on the plant floor can read.
    #[default]
    Ascii,
    /// Unchanged, except for what MQTT forbids.
    Verbatim,
    /// As Eryxon Flow has always written them, for existing subscribers.
    Eryxon,
}

impl Naming {
    /// Reads the name that a setting gives it: `ascii`, `verbatim` or `eryxon`.
    pub fn parse(text: &str) -> Option<Naming> {
        match text {
            "ascii" => Some(Naming::Ascii),
            "verbatim" => Some(Naming::Verbatim),
            "eryxon" => Some(Naming::Eryxon),
            _ => None,
        }
    }

    /// Appends the value of a placeholder.
    pub(super) fn write(self, value: &str, topic: &mut String) {
        match self {
            Naming::Ascii => ascii(value, topic),
            Naming::Verbatim => verbatim(value, topic),
            Naming::Eryxon => eryxon(value, topic),
        }
    }

    /// Appends one part of an event's type, which `eryxon` leaves as it is.
    pub(super) fn write_event(self, part: &str, topic: &mut String) {
        match self {
            Naming::Ascii => ascii(part, topic),
            Naming::Verbatim | Naming::Eryxon => verbatim(part, topic),
        }
    }

    /// Appends a tenant, which `eryxon` leaves as it is.
    pub(super) fn write_tenant(self, tenant: &str, topic: &mut String) {
        self.write_event(tenant, topic);
    }
}

fn ascii(value: &str, topic: &mut String) {
    let mut rest = value.trim();
    loop {
        let kept = rest.bytes().position(|byte| !KEPT[usize::from(byte)]).unwrap_or(rest.len());
        let start = topic.len();
        topic.push_str(&rest[..kept]);
        topic[start..].make_ascii_lowercase();
        let mut chars = rest[kept..].chars();
        match chars.next() {
            None => return,
            Some(c) if c.is_ascii() => topic.push('_'),
            // This is how German writes umlauts in plain ASCII, which the transliteration table does not know.
            Some('ä' | 'Ä') => topic.push_str("ae"),
            Some('ö' | 'Ö') => topic.push_str("oe"),
            Some('ü' | 'Ü') => topic.push_str("ue"),
            Some(c) => transliterated(c, topic),
        }
        rest = chars.as_str();
    }
}

/// The bytes that are kept, in lower case.
const KEPT: [bool; 256] = {
    let mut kept = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        kept[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        byte += 1;
    }
    kept
};

fn transliterated(c: char, topic: &mut String) {
    // Combining marks and other characters without a sound of their own vanish. A character that the table does not know becomes `_`.
    let Some(latin) = deunicode_char(c) else {
        topic.push('_');
        return;
    };
    for letter in latin.trim_end().chars() {
        match letter.to_ascii_lowercase() {
            kept @ ('a'..='z' | '0'..='9' | '_' | '.' | '-') => topic.push(kept),
            _ => topic.push('_'),
        }
    }
}

fn verbatim(value: &str, topic: &mut String) {
    for (index, part) in value.split(is_forbidden).enumerate() {
        if index > 0 {
            topic.push('_');
        }
        topic.push_str(part);
    }
}

/// Returns whether a topic may not contain the character: wildcards and the level separator, and control characters and non-characters, for
/// which a receiver may close the connection.
fn is_forbidden(c: char) -> bool {
    matches!(c, '/' | '+' | '#' | '\u{fdd0}'..='\u{fdef}') || c.is_control() || u32::from(c) & 0xfffe == 0xfffe
}

fn eryxon(value: &str, topic: &mut String) {
    let mut is_in_space = false;
    let mut add = |c: char| {
        let is_space = is_script_space(c);
        match c {
            'a'..='z' | '0'..='9' | '_' | '-' => topic.push(c),
            _ if is_space && !is_in_space => topic.push('_'),
            _ => {}
        }
        is_in_space = is_space;
    };
    for c in value.chars() {
        match c.is_ascii() {
            true => add(c.to_ascii_lowercase()),
            // Lower-casing a whole word would give another sigma at its end, but neither of the two is kept.
            false => c.to_lowercase().for_each(&mut add),
        }
    }
}

/// Returns whether JavaScript's regular expressions count the character as white space. Unicode differs in two characters.
fn is_script_space(c: char) -> bool {
    c == '\u{feff}' || (c.is_whitespace() && c != '\u{85}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(naming: Naming, value: &str) -> String {
        let mut text = String::new();
        naming.write(value, &mut text);
        text
    }

    #[test]
    fn ascii_is_readable_everywhere() {
        for (value, expected) in [
            ("Säge 2", "saege_2"),
            ("ÜBERGRÖẞE", "uebergroesse"),
            ("Straße", "strasse"),
            ("café crème", "cafe_creme"),
            ("Cafe\u{301}", "cafe"),
            ("P/N 42-A+#", "p_n_42-a__"),
            (" Łódź v1.2 ", "lodz_v1.2"),
            ("切割", "qiege"),
            ("Станок", "stanok"),
            ("a\0b\u{1}", "a_b_"),
            ("$SYS", "_sys"),
        ] {
            assert_eq!(named(Naming::Ascii, value), expected, "{value}");
        }
    }

    #[test]
    fn names_of_other_scripts_stay_apart() {
        assert_ne!(named(Naming::Ascii, "切割"), named(Naming::Ascii, "折弯"));
    }

    #[test]
    fn verbatim_replaces_only_what_mqtt_forbids() {
        assert_eq!(named(Naming::Verbatim, " Säge/2 +#\0\u{7f}\u{fffe}切 "), " Säge_2 _____切 ");
    }

    #[test]
    fn eryxon_is_kept_as_it_is() {
        for (value, expected) in [
            ("Laser  Cutting", "laser_cutting"),
            ("Säge", "sge"),
            ("Müller", "mller"),
            ("P/N 42-A", "pn_42-a"),
            ("切割", ""),
            ("\u{212a}elvin", "kelvin"),
            (" a\u{feff}\tb ", "_a_b_"),
            ("a\u{85}b", "ab"),
            ("a . b", "a__b"),
        ] {
            assert_eq!(named(Naming::Eryxon, value), expected, "{value}");
        }
    }

    /// The first implementation, which goes character by character.
    fn model(naming: Naming, value: &str) -> String {
        let mut topic = String::new();
        match naming {
            Naming::Ascii => {
                for c in value.trim().chars() {
                    match c {
                        'a'..='z' | '0'..='9' | '_' | '.' | '-' => topic.push(c),
                        'A'..='Z' => topic.push(c.to_ascii_lowercase()),
                        _ if c.is_ascii() => topic.push('_'),
                        'ä' | 'Ä' => topic.push_str("ae"),
                        'ö' | 'Ö' => topic.push_str("oe"),
                        'ü' | 'Ü' => topic.push_str("ue"),
                        _ => transliterated(c, &mut topic),
                    }
                }
            }
            Naming::Verbatim => topic.extend(value.chars().map(|c| if is_forbidden(c) { '_' } else { c })),
            Naming::Eryxon => {
                let mut is_in_space = false;
                for c in value.to_lowercase().chars() {
                    let is_space = is_script_space(c);
                    match c {
                        'a'..='z' | '0'..='9' | '_' | '-' => topic.push(c),
                        _ if is_space && !is_in_space => topic.push('_'),
                        _ => {}
                    }
                    is_in_space = is_space;
                }
            }
        }
        topic
    }

    proptest! {
        #[test]
        fn runs_of_characters_are_written_as_each_alone(value in "[a-cA-C0 ./+#_\\-äÜßΣσİK\\u{feff}\\u{85}\\u{a0}\\PC]{0,24}") {
            for naming in [Naming::Ascii, Naming::Verbatim, Naming::Eryxon] {
                prop_assert_eq!(named(naming, &value), model(naming, &value));
            }
        }
    }
}
