//! A request as it was received. In: its bytes, as a receiver or a proxy writes them down. Out: its headers by name, and its body.

use std::collections::BTreeMap;

use crate::signature::Request;

/// The headers, in small letters, and the body.
pub(super) struct ReceivedRequest<'a> {
    headers: BTreeMap<String, String>,
    body: &'a [u8],
}

impl<'a> ReceivedRequest<'a> {
    /// Takes the bytes apart at the first empty line. What is no header before it, such as `POST / HTTP/1.1`, is left out.
    pub(super) fn parse(bytes: &'a [u8]) -> ReceivedRequest<'a> {
        let (mut rest, mut headers) = (bytes, BTreeMap::new());
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            rest = &rest[end + 1..];
            if line.is_empty() {
                break;
            }
            let line = String::from_utf8_lossy(line);
            if let Some((name, value)) = line.split_once(':') {
                headers.insert(name.trim().to_lowercase(), value.trim().to_owned());
            }
        }
        ReceivedRequest { headers, body: rest }
    }

    /// Returns what the signature is about.
    pub(super) fn signed(&self) -> Request<'_> {
        let header = |name: &str| self.headers.get(name).map(String::as_str);
        Request {
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp"),
            signature: header("webhook-signature"),
            sequence: header("webhook-sequence").map(|sequence| (sequence, header("webhook-sequence-signature"))),
            body: self.body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_what_follows_the_first_empty_line_byte_by_byte() {
        let bytes =
            b"POST /hook HTTP/1.1\r\nHost: erp\r\nWebhook-Id:  a_1 \r\nwebhook-timestamp: 7\r\n\r\n{\"a\":\n\n1}\n";

        let request = ReceivedRequest::parse(bytes);

        let signed = request.signed();
        assert_eq!((signed.id, signed.timestamp, signed.signature), (Some("a_1"), Some("7"), None));
        assert_eq!(signed.body, b"{\"a\":\n\n1}\n");
    }
}
