//! The first bytes that an endpoint sends on a connection. In: the bytes as they come. Out: whether they begin a frame of HTTP/2 with which a
//! server answers what it does not understand. No answer in HTTP/1.1 looks like one: it begins with letters, which would be the length of a
//! frame that nobody may send.

/// Takes the first bytes of a connection, and no others.
#[derive(Debug, Default)]
pub(super) struct FirstBytes {
    bytes: [u8; HEAD],
    length: usize,
}

/// The head of a frame: its length, its kind, its flags and the number of its stream.
const HEAD: usize = 9;
/// The longest frame that may be sent unasked.
const LONGEST: usize = 1 << 14;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

impl FirstBytes {
    /// Reads on.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        for (place, byte) in self.bytes[self.length..].iter_mut().zip(bytes) {
            *place = *byte;
            self.length += 1;
        }
    }

    /// Returns whether they begin a frame of HTTP/2: the settings that a server sends first, or the end of the connection.
    pub(super) fn are_http2(&self) -> bool {
        let [a, b, c, kind, flags, stream @ ..] = self.bytes;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let is_frame = match kind {
            SETTINGS => length % 6 == 0 && flags & 1 == 0,
            GOAWAY => length >= 8,
            _ => false,
        };
        self.length == HEAD && is_frame && length <= LONGEST && stream == [0; 4]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn are_http2(bytes: &[u8]) -> bool {
        let mut first = FirstBytes::default();
        bytes.chunks(4).for_each(|some| first.read(some));
        first.are_http2()
    }

    #[test]
    fn settings_and_the_end_of_a_connection_are_known_by_their_head() {
        assert!(are_http2(&[0, 0, 0, 4, 0, 0, 0, 0, 0]));
        assert!(are_http2(&[0, 0, 12, 4, 0, 0, 0, 0, 0, 0, 3]));
        assert!(are_http2(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0]));
        for other in [
            &b"HTTP/1.1 200 OK\r\n"[..],
            b"",
            &[0, 0, 0, 4, 0, 0, 0, 0],
            &[0, 0, 0, 4, 1, 0, 0, 0, 0],
            &[0, 0, 5, 4, 0, 0, 0, 0, 0],
            &[0, 0, 0, 4, 0, 0, 0, 0, 1],
            &[0, 0, 4, 7, 0, 0, 0, 0, 0],
            &[1, 0, 8, 7, 0, 0, 0, 0, 0],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[21, 3, 3, 0, 2, 2, 40, 0, 0],
        ] {
            assert!(!are_http2(other), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_taken_for_a_frame(text in "[ -~\r\n]{9,40}") {
            prop_assert!(!are_http2(text.as_bytes()));
        }
    }
}
