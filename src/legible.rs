//! Text from outside, as a terminal may show it. In: what an endpoint, a broker, a row, a notification or PostgreSQL says. Out: the same
//! without the characters that nobody sees and a terminal obeys: controls, changes of the direction of writing, letters without width.
//! Whatever is from outside passes here where it enters, and once more where it leaves for a screen or a log.

/// Returns one line: breaks and tabs become blanks.
pub fn line(text: String) -> String {
    if !text.contains(is_hidden) {
        return text;
    }
    let seen = |letter| match letter {
        '\n' | '\t' => Some(' '),
        _ => (!is_hidden(letter)).then_some(letter),
    };
    text.chars().filter_map(seen).collect()
}

/// Returns the text with its lines and tabs.
pub fn text(text: String) -> String {
    if !text.contains(|letter| is_hidden(letter) && !is_layout(letter)) {
        return text;
    }
    text.chars().filter(|letter| is_layout(*letter) || !is_hidden(*letter)).collect()
}

/// Returns a document in JSON that says the same, with the characters escaped.
pub fn json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_layout(letter) || !is_hidden(letter) {
            escaped.push(letter);
            continue;
        }
        let mut units = [0; 2];
        for unit in letter.encode_utf16(&mut units) {
            escaped.push_str(&format!("\\u{unit:04x}"));
        }
    }
    escaped
}

/// Returns whether a letter cannot be seen, although a terminal or an eye goes by it.
pub fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn is_layout(letter: char) -> bool {
    matches!(letter, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_left_out_and_lines_stay_lines() {
        let hostile = "ok\u{1b}[2J\u{9b}1m\u{7f}\r\n\t\u{202e}live\u{200d}\u{feff}\0\u{e0041} Säge 🏭";

        assert_eq!(line(hostile.to_owned()), "ok[2J1m  live Säge 🏭");
        assert_eq!(text(hostile.to_owned()), "ok[2J1m\n\tlive Säge 🏭");
    }

    #[test]
    fn a_document_says_the_same_and_shows_all() {
        let value = serde_json::json!({"a": "x\u{202e}\u{1b}\u{e0041}\u{85}"});

        let shown = json(&format!("{value:#}\n"));

        assert!(!shown.contains(|letter| is_hidden(letter) && letter != '\n'), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left_and_nothing_else_is_touched(given in any::<String>()) {
            prop_assert!(!line(given.clone()).contains(is_hidden));
            prop_assert!(!text(given.clone()).contains(|letter| is_hidden(letter) && !is_layout(letter)));
            let seen = |text: &str| text.chars().filter(|letter| !is_hidden(*letter) && *letter != ' ').collect::<String>();
            prop_assert_eq!(seen(&line(given.clone())), seen(&given));
        }
    }
}
