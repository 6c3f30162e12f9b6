//! The packets of MQTT, as far as the witnesses need them. In: bytes. Out: whole packets and what they say. It is written by hand, so that
//! it can also read and write what no client library would.

use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;

pub(crate) const CONNECT: u8 = 1;
pub(crate) const CONNACK: u8 = 2;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const PINGREQ: u8 = 12;
pub(crate) const PINGRESP: u8 = 13;
pub(crate) const DISCONNECT: u8 = 14;

/// Takes one packet off the front: its first byte, what follows its length, and all of it. Returns `None` while it is not complete.
pub(crate) fn split(buffer: &mut BytesMut) -> Option<(u8, Bytes, Bytes)> {
    let (length, digits) = varint(buffer.get(1..)?)?;
    let header = 1 + digits;
    if buffer.len() < header + length {
        return None;
    }
    let packet = buffer.split_to(header + length).freeze();
    Some((packet[0], packet.slice(header..), packet))
}

/// Reads a number of variable length, and returns how many bytes it took.
pub(crate) fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut number = 0;
    for (digit, byte) in bytes.iter().take(4).enumerate() {
        number |= usize::from(byte & 0x7f) << (7 * digit);
        if byte & 0x80 == 0 {
            return Some((number, digit + 1));
        }
    }
    None
}

/// Returns packet id, topic and payload of a PUBLISH. The id is 0 for QoS 0.
pub(crate) fn publish(kind: u8, mut body: Bytes, level: u8) -> (u16, String, Bytes) {
    let length = usize::from(body.get_u16());
    let topic = String::from_utf8_lossy(&body.split_to(length)).into_owned();
    let id = if kind & 0b110 == 0 { 0 } else { body.get_u16() };
    if level == 5 {
        let (properties, digits) = varint(&body).unwrap_or_default();
        body.advance(digits + properties);
    }
    (id, topic, body)
}
