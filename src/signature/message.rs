//! What is signed beside a body. In: what a request says. Out: bytes that are no message of Standard Webhooks, whatever the request says.

use sha2::Digest as _;
use sha2::Sha256;

/// Returns what is signed of a sequence: a prefix, and the digest in hex of id, timestamp and sequence, each on a line of its own. It holds no dot,
/// which stands twice in every message of Standard Webhooks.
pub(super) fn of_sequence(id: &str, timestamp_seconds: i64, sequence: &str) -> Vec<u8> {
    let mut message = b"webhook-sequence:".to_vec();
    let digest = Sha256::digest(format!("{id}\n{timestamp_seconds}\n{sequence}"));
    digest.iter().for_each(|byte| message.extend(hex(*byte)));
    message
}

/// Returns the two digits of a byte.
pub(super) fn hex(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 0xf].map(|digit| b"0123456789abcdef"[usize::from(digit)])
}
