//! The packets of a broker, followed byte by byte. In: the bytes that a broker sends. Out: how many of them may be handed on: all, until
//! the broker sends a packet that nobody asked for or that is too large. It also keeps what a broker says with a CONNACK or DISCONNECT,
//! which the client library drops or cannot read. It stores no packet.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::time::Instant;

use crate::destination::echo::Echo;
use crate::lane::mqtt::last_words::LastWords;
use crate::lane::mqtt::protocol::Version;
use crate::lane::mqtt::reason_code::Packet;

/// What was heard on a connection so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    notes: Arc<Mutex<Notes>>,
    /// What the broker knows, and may not be shown of what it says.
    echo: Arc<Echo>,
}

#[derive(Debug, Default)]
struct Notes {
    is_connected: bool,
    has_spoken: bool,
    last_words: Option<LastWords>,
    fault: Option<String>,
}

/// The largest packet that a broker may send to a client that reads nothing but answers.
pub(super) const LARGEST: usize = 10 * 1024;
/// This many bytes of a CONNACK or DISCONNECT are read for its reason.
const KEPT: usize = 1024;

const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const SUBACK: u8 = 9;
const PINGRESP: u8 = 13;
const DISCONNECT: u8 = 14;

impl Heard {
    /// Hears a broker that may repeat these secrets.
    pub(super) fn new(echo: Echo) -> Heard {
        Heard { notes: Arc::default(), echo: Arc::new(echo) }
    }

    /// Returns what hides the broker's secrets.
    pub(super) fn echo(&self) -> &Arc<Echo> {
        &self.echo
    }

    /// Returns whether there is a connection on which the broker has not said anything.
    pub(super) fn is_silent(&self) -> bool {
        self.notes(|notes| notes.is_connected && !notes.has_spoken)
    }

    /// Returns the code and texts of the last CONNACK or DISCONNECT.
    pub(super) fn last_words(&self) -> Option<LastWords> {
        self.notes(|notes| notes.last_words.clone())
    }

    /// Returns why the connection was ended from our side.
    pub(super) fn fault(&self) -> Option<String> {
        self.notes(|notes| notes.fault.clone())
    }

    /// Forgets everything, for the next connection.
    pub(super) fn forget(&self) {
        self.notes(|notes| *notes = Notes::default());
    }

    fn notes<T>(&self, note: impl FnOnce(&mut Notes) -> T) -> T {
        note(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The packets of a broker, followed byte by byte.
#[derive(Debug)]
pub(super) struct Frames {
    version: Version,
    subscribes: bool,
    heard: Heard,
    since: Instant,
    has_spoken: bool,
    /// How many pings the broker has answered.
    pings: u64,
    place: Place,
    is_over: bool,
}

/// The place in a packet at which the bytes so far end.
#[derive(Debug)]
enum Place {
    Start,
    Length {
        kind: u8,
        length: usize,
        shift: u32,
    },
    Body {
        left: usize,
    },
    /// The body of an acknowledgement, whose third byte is its code.
    Puback {
        length: usize,
        left: usize,
    },
    /// The body of a packet that is read for its reason.
    Words {
        packet: Packet,
        left: usize,
        body: Vec<u8>,
    },
}

impl Frames {
    /// Follows a connection that was made just now. `subscribes` says that messages are asked for.
    pub(super) fn new(version: Version, subscribes: bool, heard: Heard) -> Frames {
        heard.notes(|notes| notes.is_connected = true);
        let since = Instant::now();
        Frames { version, subscribes, heard, since, has_spoken: false, pings: 0, place: Place::Start, is_over: false }
    }

    /// Returns why nothing more may be handed on, if that is so.
    pub(super) fn fault(&self) -> Option<String> {
        if self.is_over { self.heard.fault() } else { None }
    }

    /// Follows these bytes. Returns how many of them may be handed on, if not all.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            match &mut self.place {
                Place::Start => {
                    let kind = bytes[at] >> 4;
                    if let Err(fault) = self.expect(bytes[at]) {
                        return self.end(fault, at);
                    }
                    self.place = Place::Length { kind, length: 0, shift: 0 };
                    at += 1;
                }
                Place::Length { kind, length, shift } => {
                    let byte = bytes[at];
                    *length |= usize::from(byte & 0x7f) << *shift;
                    *shift += 7;
                    let (kind, length, is_known) = (*kind, *length, byte & 0x80 == 0);
                    if length > LARGEST || *shift > 28 {
                        return self.end(format!("the broker sent a packet of more than {LARGEST} bytes"), at);
                    }
                    at += 1;
                    if is_known {
                        self.place = self.body(kind, length);
                    }
                }
                Place::Body { left } => {
                    let part = (*left).min(bytes.len() - at);
                    (*left, at) = (*left - part, at + part);
                    if *left == 0 {
                        self.place = Place::Start;
                    }
                }
                Place::Puback { length, left } => {
                    let (done, part) = (*length - *left, (*left).min(bytes.len() - at));
                    let code = 2usize.checked_sub(done).filter(|place| *place < part).map(|place| bytes[at + place]);
                    (*left, at) = (*left - part, at + part);
                    if *left == 0 {
                        self.place = Place::Start;
                    }
                    if let Some(code) = code.filter(|code| !matches!(code, 0x00 | 0x10)) {
                        let words = LastWords::read(Packet::Puback, &[0, 0, code], &self.heard.echo);
                        self.heard.notes(|notes| notes.last_words = Some(words));
                    }
                }
                Place::Words { packet, left, body } => {
                    let part = &bytes[at..at + (*left).min(bytes.len() - at)];
                    body.extend_from_slice(&part[..part.len().min(KEPT - body.len())]);
                    (*left, at) = (*left - part.len(), at + part.len());
                    if *left == 0 || body.len() == KEPT {
                        let (words, left) = (LastWords::read(*packet, body, &self.heard.echo), *left);
                        self.heard.notes(|notes| notes.last_words = Some(words));
                        self.place = if left == 0 { Place::Start } else { Place::Body { left } };
                    }
                }
            }
        }
        None
    }

    fn body(&self, kind: u8, length: usize) -> Place {
        let packet = match kind {
            CONNACK => Some(Packet::Connack),
            DISCONNECT => Some(Packet::Disconnect),
            _ => None,
        };
        match packet {
            None if kind == PUBACK && length > 2 && self.version == Version::V5 => {
                Place::Puback { length, left: length }
            }
            Some(packet) if length > 0 && self.version == Version::V5 => {
                Place::Words { packet, left: length, body: Vec::new() }
            }
            _ if length > 0 => Place::Body { left: length },
            _ => Place::Start,
        }
    }

    /// Judges the next packet by its first byte. The library judges the first packet, which must be a CONNACK, unless what comes is no MQTT.
    fn expect(&mut self, first: u8) -> Result<(), String> {
        let is_first = !std::mem::replace(&mut self.has_spoken, true);
        if is_first {
            self.heard.notes(|notes| notes.has_spoken = true);
            stranger(first).map_or(Ok(()), |other| Err(other.to_owned()))?;
        }
        match first >> 4 {
            PUBACK => Ok(()),
            // The lane pings at most once a second.
            PINGRESP => {
                self.pings += 1;
                let is_asked_for = self.pings <= self.since.elapsed().as_secs() + 2;
                if is_asked_for { Ok(()) } else { Err("the broker answers pings that were not sent".to_owned()) }
            }
            DISCONNECT if self.version == Version::V5 => Ok(()),
            SUBACK | PUBLISH if self.subscribes => Ok(()),
            _ if is_first => Ok(()),
            PUBLISH => Err("the broker sent a message that nobody subscribed to".to_owned()),
            kind => Err(format!("the broker sent a packet of type {kind} that nobody asked for")),
        }
    }

    fn end(&mut self, fault: String, at: usize) -> Option<usize> {
        self.is_over = true;
        self.heard.notes(|notes| notes.fault = Some(fault));
        Some(at)
    }
}

/// Returns what to do about a server that answers with this byte, which no packet of MQTT begins with: an alert of TLS or `HTTP/`.
fn stranger(first: u8) -> Option<&'static str> {
    match first {
        0x15 | 0x16 => {
            Some("the server speaks TLS on this port; write mqtts:// before its name, or use its port without TLS")
        }
        b'H' => Some(
            "the server speaks HTTP on this port, as for web pages or for MQTT over WebSockets; use its port for MQTT itself, mostly 1883, and 8883 with TLS",
        ),
        _ => None,
    }
}
