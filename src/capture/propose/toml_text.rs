//! Writes strings as a person writes them in TOML. In: text. Out: the same text in the quotes that need the fewest escapes.

/// Returns a string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |letter: char| !letter.is_control();
    if !text.contains(['"', '\\']) && text.chars().all(is_plain) {
        return format!("\"{text}\"");
    }
    if !text.contains('\'') && text.chars().all(is_plain) {
        return format!("'{text}'");
    }
    if !text.contains('\\') && !text.ends_with('"') && !text.contains("\"\"\"") && text.chars().all(is_plain) {
        return format!("\"\"\"{text}\"\"\"");
    }
    let mut escaped = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => escaped.extend(['\\', letter]),
            letter if letter.is_control() => escaped.push_str(&format!("\\u{:04X}", u32::from(letter))),
            letter => escaped.push(letter),
        }
    }
    escaped.push('"');
    escaped
}

/// Returns text as a comment may hold it: names and values of a database have line ends and other control characters, which end a comment or
/// are no TOML.
pub(super) fn in_comment(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// The widest that a line may be.
const WIDTH: usize = 125;

/// Returns a list of strings, on several lines if they do not fit on one.
pub(super) fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    let line = format!("[{}]", items.join(", "));
    if line.chars().count() <= WIDTH {
        return line;
    }
    let (mut text, mut line) = ("[\n".to_owned(), "   ".to_owned());
    for item in items {
        if line.chars().count() + item.chars().count() + 2 > WIDTH {
            text.push_str(&format!("{line}\n"));
            line = "   ".to_owned();
        }
        line.push_str(&format!(" {item},"));
    }
    format!("{text}{line}\n]")
}

/// Returns `{ key = "value", … }`.
pub(super) fn inline_table(pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{} = {}", key_text(key), quoted(value))).collect();
    format!("{{ {} }}", pairs.join(", "))
}

/// Returns a key, in quotes unless it is bare.
pub(super) fn key_text(key: &str) -> String {
    let is_bare =
        !key.is_empty() && key.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-');
    if is_bare { key.to_owned() } else { quoted(key) }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn every_string_comes_back_as_it_was() {
        for text in [
            "this.id",
            "this.\"companyId\"",
            "new.\"a\" = 'b'",
            "'it' is \"it\"",
            "back\\slash",
            "a\u{1}\"'b",
            "\"\"\"'",
        ] {
            let line = format!("a = {}", quoted(text));
            let read: toml::Table = toml::from_str(&line).unwrap();

            assert_eq!(read["a"].as_str(), Some(text), "{line}");
        }
    }
}
