//! Finds the status of an answer in its bytes. In: the bytes as they come. Out: the status, as soon as its line is there. It needs nothing
//! but that line, so that an answer whose headers nobody can read is understood all the same.

/// Reads an answer as far as its status, and skips the interim answers (1xx) before it.
#[derive(Debug, Default)]
pub(super) struct StatusReader {
    /// The beginning of the line that is being read.
    line: [u8; LINE],
    /// The length of that line so far, of which `line` holds no more than it can.
    length: usize,
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    /// The line that is being read is a status line.
    #[default]
    StatusLine,
    /// It is a header of an interim answer.
    InterimHeader,
    /// The status line was read. If it could not be understood, there is no status.
    End(Option<u16>),
}

/// A status stands within this many bytes of its line.
const LINE: usize = 32;

impl StatusReader {
    /// Reads on.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match (self.at, byte) {
                (At::End(_), _) => return,
                (_, b'\n') => self.end_line(),
                (_, byte) => {
                    if let Some(place) = self.line.get_mut(self.length) {
                        *place = *byte;
                    }
                    self.length += 1;
                }
            }
        }
    }

    /// Returns the status, if it could be understood.
    pub(super) fn status(&self) -> Option<u16> {
        match self.at {
            At::End(status) => status,
            // Whatever was to follow it, a status has three digits.
            At::StatusLine => status_of(self.line()).filter(|status| !is_interim(*status)),
            At::InterimHeader => None,
        }
    }

    fn line(&self) -> &[u8] {
        &self.line[..self.length.min(LINE)]
    }

    fn end_line(&mut self) {
        let is_blank = self.line().trim_ascii().is_empty();
        self.at = match (self.at, is_blank) {
            // Some answers begin with the end of the line before.
            (At::StatusLine, true) | (At::InterimHeader, true) => At::StatusLine,
            (At::StatusLine, false) => match status_of(self.line()) {
                Some(status) if is_interim(status) => At::InterimHeader,
                status => At::End(status),
            },
            (at, _) => at,
        };
        self.length = 0;
    }
}

/// Returns whether another answer follows the one with this status. After a 101 comes another protocol.
fn is_interim(status: u16) -> bool {
    (100..200).contains(&status) && status != 101
}

fn status_of(line: &[u8]) -> Option<u16> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let protocol = words.next()?;
    let is_http = protocol.len() > 5 && protocol[..5].eq_ignore_ascii_case(b"HTTP/");
    let (digits, rest) = words.next()?.split_at_checked(3)?;
    let is_status = digits.iter().all(u8::is_ascii_digit) && !rest.first().is_some_and(u8::is_ascii_digit);
    let status = str::from_utf8(digits).ok()?.parse().ok()?;
    (is_http && is_status && status >= 100).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status(answer: &[u8]) -> Option<u16> {
        let mut reader = StatusReader::default();
        reader.read(answer);
        reader.status()
    }

    #[test]
    fn the_status_is_understood_whatever_follows_it() {
        for answer in [
            "HTTP/1.1 200 OK\r\nbroken \u{1}: header\r\n",
            "HTTP/1.1 200\r\n",
            "HTTP/1.1 200\n",
            "HTTP/1.1 200",
            "HTTP/1.1  200  OK",
            "HTTP/1.0 200 Fine\r\n",
            "HTTP/2 200\r\n",
            "http/1.1 200 ok\r\n",
            "\r\n\r\nHTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200OK\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\nlink: x\n\nHTTP/1.1 200 OK\r\n",
        ] {
            assert_eq!(status(answer.as_bytes()), Some(200), "{answer:?}");
        }
        assert_eq!(status(format!("HTTP/1.1 204 {}", "x".repeat(100_000)).as_bytes()), Some(204));
        assert_eq!(status(b"HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\n"), Some(101));
        assert_eq!(status(b"HTTP/1.1 503 Busy\r\n\r\nHTTP/1.1 200 OK\r\n"), Some(503), "the first one counts");
    }

    #[test]
    fn what_is_no_status_is_none() {
        for answer in [
            "",
            "HTTP/1.1 20",
            "HTTP/1.1 2000 OK\r\n",
            "HTTP/1.1 2OO OK\r\n",
            "HTTP/1.1200 OK\r\n",
            "HTTP/1.1 -20\r\n",
            "HTTP/1.1 099 OK\r\n",
            "SSH-2.0 200 OK\r\n",
            "200 OK\r\n",
            "HTTP/ 200 OK\r\n",
            "<html>HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 100 Continue\r\n",
            "HTTP/1.1 103 Early Hints\r\nlink: HTTP/1.1 200 OK\r\n",
            "garbage\r\nHTTP/1.1 200 OK\r\n",
        ] {
            assert_eq!(status(answer.as_bytes()), None, "{answer:?}");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_are_cut(
            answer in "(HTTP/1\\.1 1[0-9]{2} x\r?\n(a: b\r?\n){0,2}\r?\n){0,2}(HTTP|http|X)/1\\.[01] [0-9]{3}( ok)?\r?\n.{0,9}", cut in 0usize..40
        ) {
            let mut reader = StatusReader::default();
            for bytes in answer.as_bytes().chunks(cut + 1) {
                reader.read(bytes);
            }
            prop_assert_eq!(reader.status(), status(answer.as_bytes()));
        }

        #[test]
        fn no_bytes_make_it_panic(answer in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = status(&answer);
        }
    }
}
