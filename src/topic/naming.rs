//! How a value becomes part of a topic. In: any text of the database. Out: the same, without anything that MQTT forbids or that would
//! add a level. It never decides what happens to a value of which nothing is left.

use deunicode::deunicode_char;

/// What values look like in a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Naming {
    /// Lower case, in Latin letters, digits, `_`, `.` and `-`: what every tool on the plant floor reads.
    #[default]
    Ascii,
    /// As it stands, but for what MQTT forbids.
    Verbatim,
    /// As an eryxon system has always written it, for subscribers that exist.
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

    /// Appends one part of an event's name; eryxon leaves it as it is.
    pub(super) fn write_event(self, part: &str, topic: &mut String) {
        match self {
            Naming::Ascii => ascii(part, topic),
            Naming::Verbatim | Naming::Eryxon => verbatim(part, topic),
        }
    }

    /// Appends a tenant; eryxon leaves it as it is.
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
            // The German way to write them without dots, which the table does not know.
            Some('ä' | 'Ä') => topic.push_str("ae"),
            Some('ö' | 'Ö') => topic.push_str("oe"),
            Some('ü' | 'Ü') => topic.push_str("ue"),
            Some(c) => transliterated(c, topic),
        }
        rest = chars.as_str();
    }
}

/// The bytes that stand in a topic as they are, or in lower case.
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
    // Marks on letters and other characters without a sound of their own vanish; what the table does not know is kept as a place.
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
    for (place, part) in value.split(is_forbidden).enumerate() {
        if place > 0 {
            topic.push('_');
        }
        topic.push_str(part);
    }
}

/// Wildcards, the level separator, and what a receiver may close the connection for: control characters and non-characters.
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
            // In words, the last sigma differs; neither of the two is kept.
            false => c.to_lowercase().for_each(&mut add),
        }
    }
}

/// White space as JavaScript's regular expressions know it, which differs from Unicode's in two characters.
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

    /// As they were written first: character by character.
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
