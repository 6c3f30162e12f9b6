//! What a broker says when it refuses or ends a connection. In: the first bytes of a CONNACK or DISCONNECT. Out: its code, its reason and
//! the other server that it names, as a text for people. The client library drops most of this. It never shows more than a line of it,
//! because the text comes from outside, and nothing of what the broker was told in confidence.

use crate::destination::echo::Echo;
use crate::lane::mqtt::reason_code;
use crate::lane::mqtt::reason_code::Packet;
use crate::legible;

/// The longest text of a broker that is shown.
const LONGEST: usize = 200;
/// No more bytes than these are looked at: one letter beyond those that are shown, and letters have four at most.
const BYTES: usize = 4 * (LONGEST + 1);

/// The code and texts of a CONNACK or DISCONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LastWords {
    pub(super) packet: Packet,
    pub(super) code: u8,
    /// How many publishes may be unacknowledged, if a CONNACK says so.
    pub(super) receive_max: Option<u16>,
    reason: Option<String>,
    server: Option<String>,
}

impl LastWords {
    /// Reads a packet of MQTT 5 from what follows its length. The end may be missing: texts are cut then.
    pub(super) fn read(packet: Packet, body: &[u8], echo: &Echo) -> LastWords {
        let (code, properties) = match packet {
            Packet::Connack => (body.get(1), body.get(2..)),
            Packet::Puback => (body.get(2), body.get(3..)),
            Packet::Disconnect => (body.first(), body.get(1..)),
        };
        let code = code.copied().unwrap_or_default();
        let mut words = LastWords { packet, code, receive_max: None, reason: None, server: None };
        let mut rest = properties.unwrap_or_default();
        if take_varint(&mut rest).is_some() {
            words.read_properties(rest, echo);
        }
        words
    }

    fn read_properties(&mut self, mut rest: &[u8], echo: &Echo) {
        while let Some(property) = take(&mut rest, 1) {
            let size = match property[0] {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => 1,
                0x13 | 0x22 | 0x23 => 2,
                0x21 => {
                    self.receive_max = take(&mut rest, 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
                    0
                }
                0x02 | 0x11 | 0x18 | 0x27 => 4,
                0x26 => {
                    take_text(&mut rest);
                    take_text(&mut rest);
                    0
                }
                0x1c => {
                    self.server = Some(take_text(&mut rest).shown(echo));
                    0
                }
                0x1f => {
                    self.reason = Some(take_text(&mut rest).shown(echo));
                    0
                }
                0x12 | 0x15 | 0x16 | 0x1a => {
                    take_text(&mut rest);
                    0
                }
                _ => return,
            };
            if take(&mut rest, size).is_none() {
                return;
            }
        }
    }

    /// Returns what they say, for people.
    pub(super) fn text(&self) -> String {
        let done = match self.packet {
            Packet::Connack => "the broker refused the connection",
            Packet::Puback => "the broker answered",
            Packet::Disconnect => "the broker ended the connection",
        };
        let reason = self.reason.as_ref().map(|reason| format!(", it says `{reason}`")).unwrap_or_default();
        let server = self.server.as_ref().map(|server| format!(", it names the server `{server}`")).unwrap_or_default();
        let cure = match self.packet {
            Packet::Puback => "",
            Packet::Connack | Packet::Disconnect => reason_code::cure(self.code),
        };
        format!("{done}: {}{reason}{server}{cure}", reason_code::describe(self.code))
    }
}

/// Describes the code of a PUBACK and what the broker says with it.
pub(super) fn answer(code: u8, reason: Option<&str>, echo: &Echo) -> String {
    let reason = reason.map(|reason| Text { bytes: reason.as_bytes(), is_cut: false }.shown(echo));
    LastWords { packet: Packet::Puback, code, receive_max: None, reason, server: None }.text()
}

/// Makes one short line of a text in which the broker's own words may stand, such as an error of the client library.
pub(super) fn clean(text: &str, echo: &Echo) -> String {
    Text { bytes: text.as_bytes(), is_cut: false }.shown(echo)
}

/// A text of a broker.
#[derive(Default)]
struct Text<'a> {
    bytes: &'a [u8],
    /// Whether its end is missing.
    is_cut: bool,
}

impl Text<'_> {
    /// Makes one short line of it. What is to be hidden is hidden before the line is shortened.
    fn shown(self, echo: &Echo) -> String {
        let is_cut = self.is_cut || self.bytes.len() > BYTES;
        let bytes = &self.bytes[..self.bytes.len().min(BYTES)];
        let text = legible::line(String::from_utf8_lossy(bytes).into_owned());
        let text = if is_cut { echo.hide_cut(text) } else { echo.hide(text) };
        let mut line: String = text.chars().take(LONGEST).collect();
        if text.chars().nth(LONGEST).is_some() {
            line.push_str("...");
        }
        line
    }
}

fn take<'a>(rest: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(size)?;
    *rest = left;
    Some(taken)
}

/// Takes a text, or what there is of it.
fn take_text<'a>(rest: &mut &'a [u8]) -> Text<'a> {
    let Some(length) = take(rest, 2) else { return Text::default() };
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    let is_cut = length > rest.len();
    Text { bytes: take(rest, length.min(rest.len())).unwrap_or_default(), is_cut }
}

fn take_varint(rest: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for shift in [0, 7, 14, 21] {
        let byte = take(rest, 1)?[0];
        number |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text_property(id: u8, text: &[u8]) -> Vec<u8> {
        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
        [&[id][..], &length, text].concat()
    }

    #[test]
    fn the_reason_and_the_other_server_are_shown() {
        let properties = [text_property(0x1f, b"come back\nlater"), text_property(0x1c, b"other:1883")].concat();
        let body = [&[0x9c, u8::try_from(properties.len()).unwrap()][..], &properties].concat();

        let words = LastWords::read(Packet::Disconnect, &body, &Echo::default());

        let expected = "the broker ended the connection: use another server (0x9c), it says `come back later`, \
            it names the server `other:1883`";
        assert_eq!(words.text(), expected);
    }

    #[test]
    fn the_properties_before_the_reason_are_skipped() {
        let properties = [
            vec![0x21, 0, 10],
            vec![0x25, 1],
            [&[0x26][..], &[0, 1, b'k', 0, 1, b'v']].concat(),
            text_property(0x1f, b"maintenance"),
        ]
        .concat();
        let body = [&[0, 0x88, u8::try_from(properties.len()).unwrap()][..], &properties].concat();

        let words = LastWords::read(Packet::Connack, &body, &Echo::default());

        let expected = "the broker refused the connection: server unavailable (0x88), it says `maintenance`";
        assert_eq!(words.text(), expected);
    }

    #[test]
    fn a_broker_that_takes_no_message_of_qos_1_is_told_to_take_them() {
        let said =
            "QoS not supported (0x9b); Andon publishes at QoS 1, which alone is acknowledged: let the broker take it";
        for (packet, body) in [(Packet::Connack, &[0, 0x9b, 0][..]), (Packet::Disconnect, &[0x9b][..])] {
            let text = LastWords::read(packet, body, &Echo::default()).text();
            assert!(text.ends_with(said), "{text}");
        }
    }

    #[test]
    fn how_many_publishes_may_be_unacknowledged_is_heard() {
        let heard = |body: &[u8]| LastWords::read(Packet::Connack, body, &Echo::default()).receive_max;

        assert_eq!(heard(&[0, 0, 5, 0x25, 1, 0x21, 0, 0]), Some(0));
        assert_eq!(heard(&[0, 0, 3, 0x21, 1, 2]), Some(258));
        assert_eq!((heard(&[0, 0, 3, 0x21, 1]), heard(&[0, 0, 0])), (None, None));
    }

    #[test]
    fn a_code_alone_is_enough() {
        assert_eq!(
            LastWords::read(Packet::Disconnect, &[0x95], &Echo::default()).text(),
            "the broker ended the connection: packet too large (0x95)"
        );
        assert_eq!(LastWords::read(Packet::Disconnect, &[], &Echo::default()).code, 0);
        assert_eq!(
            answer(0x97, Some("not today"), &Echo::default()),
            "the broker answered: quota exceeded (0x97), it says `not today`"
        );
    }

    #[test]
    fn a_long_or_cut_reason_is_one_short_line() {
        let long = text_property(0x1f, "\u{1b}[31m\u{202e}é".repeat(1_000).as_bytes());
        let body = [&[0x97, 0xff, 0x7f][..], &long[..1_000]].concat();

        let text = LastWords::read(Packet::Disconnect, &body, &Echo::default()).text();

        assert!(text.chars().count() < 300 && text.ends_with("...`"), "{text}");
        assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text}");
    }

    #[test]
    fn what_a_broker_was_told_in_confidence_is_hidden_before_a_text_is_cut() {
        let echo = Echo::of(["s3cr\tet-password".to_owned()]);
        let long = format!("{} s3cr\tet-password is wrong", "x".repeat(LONGEST - 8));
        let properties = [text_property(0x1f, long.as_bytes()), text_property(0x1c, b"s3cr et-password:1883")].concat();
        let body = [&[0x87, 0xff, 0x7f][..], &properties].concat();

        let whole = LastWords::read(Packet::Disconnect, &body, &echo).text();
        // Each end of what is kept of a packet.
        let cut = (3..body.len()).map(|end| LastWords::read(Packet::Disconnect, &body[..end], &echo).text());

        assert!(whole.contains("x … is wr...`, it names the server `…:1883`"), "{whole}");
        assert!(cut.chain([whole]).all(|text| !text.contains("s3")));
        let said = answer(0x87, Some("user andon, password s3cr\tet-password"), &echo);
        assert_eq!(said, "the broker answered: not authorized (0x87), it says `user andon, password …`");
        assert_eq!(clean(&format!("{}not looked at", "\u{1b}".repeat(BYTES)), &echo), "");
        assert_eq!(clean("Broken(\"s3cr\\tet-password\")", &echo), "Broken(\"…\")");
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_broker_do_harm(body in prop::collection::vec(any::<u8>(), 0..300)) {
            for packet in [Packet::Connack, Packet::Puback, Packet::Disconnect] {
                let text = LastWords::read(packet, &body, &Echo::default()).text();
                prop_assert!(text.chars().count() < 600);
                prop_assert!(!text.chars().any(char::is_control));
            }
        }
    }
}
