//! Iterates over the fields of an object or the elements of an array. In: a text that is known to be JSON. Out: slices of it. It looks only
//! for where each value ends; in a text that is not JSON it ends early.

use std::borrow::Cow;

/// Yields the text of each value, with its name if it has one.
pub(super) struct Items<'a> {
    /// The text from the first item that has not been yielded.
    rest: &'a str,
    are_named: bool,
}

impl<'a> Items<'a> {
    /// Returns the items of a text that starts with `{` or `[`.
    pub(super) fn of(json: &'a str) -> Items<'a> {
        Items { rest: json.get(1..).unwrap_or_default(), are_named: json.starts_with('{') }
    }

    /// Takes the text before this index.
    fn take(&mut self, end: usize) -> Option<&'a str> {
        let (taken, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Some(taken)
    }

    fn skip(&mut self, mark: u8) {
        let skipped = self.rest.bytes().take_while(|byte| is_space(*byte) || *byte == mark).count();
        self.rest = &self.rest[skipped..];
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = (Cow<'a, str>, &'a str);

    fn next(&mut self) -> Option<(Cow<'a, str>, &'a str)> {
        self.skip(b',');
        let name = if self.are_named { unquoted(self.take(string(self.rest)?)?)? } else { Cow::Borrowed("") };
        self.skip(b':');
        let value = self.take(value(self.rest)?)?;
        Some((name, value))
    }
}

/// Returns the end of the value that the text starts with.
fn value(text: &str) -> Option<usize> {
    match text.as_bytes().first()? {
        b'"' => string(text),
        b'{' | b'[' => nested(text),
        b'}' | b']' => None,
        _ => text.bytes().position(|byte| matches!(byte, b',' | b'}' | b']') || is_space(byte)),
    }
}

/// Returns the content of a string in quotes, borrowed unless there is an escape in it.
pub(super) fn unquoted(string: &str) -> Option<Cow<'_, str>> {
    match mark(string.as_bytes(), 1)? {
        quote if quote + 1 == string.len() => Some(Cow::Borrowed(&string[1..quote])),
        _ => serde_json::from_str(string).ok().map(Cow::Owned),
    }
}

/// Returns the end of the string that the text starts with: after the first quote that is not escaped.
fn string(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = bytes.starts_with(b"\"").then_some(1)?;
    loop {
        at = mark(bytes, at)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Returns the index of the next quote or backslash. It looks at eight bytes in one step, since most of a text is strings.
fn mark(bytes: &[u8], mut from: usize) -> Option<usize> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // Sets the highest bit of each byte that is the one looked for; above the first such byte, it may set others as well.
    let is = |word: u64, byte: u8| {
        let zeros = word ^ (EACH * u64::from(byte));
        zeros.wrapping_sub(EACH) & !zeros & (EACH << 7)
    };
    while let Some(eight) = bytes.get(from..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*eight);
        let marks = is(word, b'"') | is(word, b'\\');
        if marks != 0 {
            return Some(from + marks.trailing_zeros() as usize / 8);
        }
        from += 8;
    }
    let rest = bytes.get(from..)?.iter().position(|byte| matches!(byte, b'"' | b'\\'));
    rest.map(|offset| from + offset)
}

/// Returns the end of the object or array that the text starts with.
fn nested(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        match text.as_bytes().get(at)? {
            b'"' => at += string(&text[at..])?,
            open_or_close => {
                at += 1;
                match open_or_close {
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => continue,
                }
                if depth == 0 {
                    return Some(at);
                }
            }
        }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
