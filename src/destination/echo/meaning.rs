//! What a text means once its escapes are undone. In: a text as a server wrote it, in JSON, HTML, a form, an address or a literal of a program. Out:
//! the bytes that it stands for, each with its place in the text. A text may be escaped in several ways at once, so each way of writing a byte is
//! undone wherever it occurs.

/// A byte that a text stands for, and where the text has it: from the first place up to the second, which is not in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meant {
    pub(super) byte: u8,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// The names of letters in HTML that servers use to escape others.
const ENTITIES: [(&str, u32); 5] = [("amp", 0x26), ("lt", 0x3c), ("gt", 0x3e), ("quot", 0x22), ("apos", 0x27)];
/// The longest name or number of a letter in HTML, such as `#x10ffff`.
const LONGEST_ENTITY: usize = 8;

/// Returns the bytes of a text as they stand there.
pub(super) fn literal(text: &str) -> Vec<Meant> {
    text.bytes().enumerate().map(|(at, byte)| Meant { byte, from: at, to: at + 1 }).collect()
}

/// Undoes one layer of escapes. Returns nothing if there is none.
pub(super) fn unescaped(written: &[Meant]) -> Option<Vec<Meant>> {
    let bytes: Vec<u8> = written.iter().map(|it| it.byte).collect();
    let (mut meant, mut at, mut is_escaped) = (Vec::with_capacity(bytes.len()), 0, false);
    while at < bytes.len() {
        let Some((found, length)) = escape(&bytes[at..]) else {
            meant.push(written[at]);
            at += 1;
            continue;
        };
        let (from, to) = (written[at].from, written[at + length - 1].to);
        meant.extend(found.into_iter().map(|byte| Meant { byte, from, to }));
        at += length;
        is_escaped = true;
    }
    is_escaped.then_some(meant)
}

/// Returns how long a text is without an escape at its end that is not complete.
pub(super) fn without_begun_escape(text: &str) -> usize {
    let is_begun = |tail: &str| match tail.as_bytes() {
        [b'%', digits @ ..] => digits.len() < 2 && digits.iter().all(u8::is_ascii_hexdigit),
        [b'\\'] => true,
        [b'\\', b'u', digits @ ..] => digits.len() < 4 && digits.iter().all(u8::is_ascii_hexdigit),
        [b'\\', b'x', digits @ ..] => digits.len() < 2 && digits.iter().all(u8::is_ascii_hexdigit),
        [b'&', name @ ..] => {
            name.len() <= LONGEST_ENTITY && name.iter().all(|byte| *byte == b'#' || byte.is_ascii_alphanumeric())
        }
        _ => false,
    };
    let starts = text.char_indices().rev().take(LONGEST_ENTITY + 1).map(|(at, _)| at);
    starts.filter(|at| is_begun(&text[*at..])).min().unwrap_or(text.len())
}

/// Returns what the escape at the beginning of these bytes stands for, and how long it is.
fn escape(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    match bytes {
        [b'%', high, low, ..] => Some((vec![byte(&[*high, *low])?], 3)),
        [b'\\', b'x', high, low, ..] => Some((vec![byte(&[*high, *low])?], 4)),
        [b'\\', b'u', rest @ ..] => {
            let first = number(rest.get(..4)?, 16)?;
            let second =
                rest.get(4..10).filter(|next| next.starts_with(b"\\u")).and_then(|next| number(&next[2..], 16));
            match (first, second) {
                (0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) => {
                    Some((utf8(0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00))?, 12))
                }
                _ => Some((utf8(first)?, 6)),
            }
        }
        [b'\\', b'n', ..] => Some((vec![b'\n'], 2)),
        [b'\\', b't', ..] => Some((vec![b'\t'], 2)),
        [b'\\', b'r', ..] => Some((vec![b'\r'], 2)),
        [b'\\', letter @ (b'/' | b'\\' | b'"' | b'\''), ..] => Some((vec![*letter], 2)),
        [b'&', rest @ ..] => {
            let length = rest.iter().take(LONGEST_ENTITY + 1).position(|byte| *byte == b';')?;
            let name = std::str::from_utf8(&rest[..length]).ok()?;
            let letter = match name.strip_prefix('#') {
                None => ENTITIES.iter().find(|(known, _)| *known == name)?.1,
                Some(digits) => match digits.strip_prefix(['x', 'X']) {
                    Some(digits) => number(digits.as_bytes(), 16)?,
                    None => number(digits.as_bytes(), 10)?,
                },
            };
            Some((utf8(letter)?, length + 2))
        }
        _ => None,
    }
}

fn byte(digits: &[u8]) -> Option<u8> {
    number(digits, 16).and_then(|number| u8::try_from(number).ok())
}

fn number(digits: &[u8], base: u32) -> Option<u32> {
    // The library would take a sign.
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|it| it.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, base).ok()
}

fn utf8(letter: u32) -> Option<Vec<u8>> {
    char::from_u32(letter).map(|letter| letter.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn meaning(text: &str) -> Option<String> {
        let bytes = unescaped(&literal(text))?.into_iter().map(|it| it.byte).collect();
        String::from_utf8(bytes).ok()
    }

    #[test]
    fn each_way_of_writing_a_letter_means_the_letter() {
        for (written, meant) in [
            ("a%2fb%C3%a4", "a/bä"),
            (r"a\/b\u002b\u00E4\ud83c\udfed", "a/b+ä🏭"),
            (r"p\xc3\xa4ss\'", "päss'"),
            ("&lt;a&amp;b&#39;&#x2F;&#xe4;", "<a&b'/ä"),
        ] {
            assert_eq!(meaning(written).as_deref(), Some(meant), "{written}");
        }
        for plain in ["100 % & more", r"\d \u12 \ud800", "&nothing; &#;", "%+1"] {
            assert_eq!(meaning(plain), None, "{plain}");
        }
    }

    #[test]
    fn an_escape_that_breaks_off_is_left_out() {
        for (text, left) in [("a%2", 1), ("a\\u00e", 1), ("a\\", 1), ("a&#x2", 1), ("a & b", 5), ("ä", 2), ("a%2f", 4)]
        {
            assert_eq!(without_begun_escape(text), left, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_the_places_are_those_of_the_text(text in r#"[a-c%2f\\ux&;#ä"'/]{0,40}"#) {
            for meant in [Some(literal(&text)), unescaped(&literal(&text))].into_iter().flatten() {
                prop_assert!(meant.is_sorted_by(|one, next| one.from <= next.from && one.to <= next.to));
                prop_assert!(meant.iter().all(|it| it.from < it.to && it.to <= text.len()));
            }
            prop_assert!(text.is_char_boundary(without_begun_escape(&text)));
        }
    }
}
