//! A request as it was received. In: its bytes, as a receiver or a proxy writes them down. Out: its headers by name, and its body.

use std::collections::BTreeMap;

use crate::signature::Mismatch;
use crate::signature::Request;

/// The headers that a signature is about or that hold one.
const SIGNED: [&str; 5] =
    ["webhook-id", "webhook-timestamp", "webhook-signature", "webhook-sequence", "webhook-sequence-signature"];

/// The headers, in small letters, and the body.
pub(super) struct ReceivedRequest<'a> {
    headers: BTreeMap<String, Vec<String>>,
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
                let values: &mut Vec<String> = headers.entry(name.trim().to_lowercase()).or_default();
                values.push(value.trim().to_owned());
            }
        }
        ReceivedRequest { headers, body: rest }
    }

    /// Returns what the signature is about. It is refused if one of its headers comes twice: servers do not agree on which of them counts.
    pub(super) fn signed(&self) -> Result<Request<'_>, Mismatch> {
        let values = |name: &str| self.headers.get(name).map_or(&[][..], Vec::as_slice);
        if let Some(name) = SIGNED.into_iter().find(|name| values(name).len() > 1) {
            return Err(Mismatch::Repeated(name));
        }
        let header = |name: &str| values(name).first().map(String::as_str);
        let signed = header("webhook-sequence-signature");
        Ok(Request {
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp"),
            signature: header("webhook-signature"),
            // A signature without a sequence is that of one which somebody took out.
            sequence: header("webhook-sequence").or(signed.map(|_| "")).map(|sequence| (sequence, signed)),
            body: self.body,
        })
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

        let signed = request.signed().unwrap();
        assert_eq!((signed.id, signed.timestamp, signed.signature), (Some("a_1"), Some("7"), None));
        assert_eq!(signed.body, b"{\"a\":\n\n1}\n");
    }

    #[test]
    fn a_header_of_the_signature_that_comes_twice_is_refused_and_another_is_not() {
        let twice = |name: &str| format!("host: a\nHost: b\n{name}: 1\n{}: 2\n\n", name.to_uppercase());

        for name in SIGNED {
            let text = twice(name);
            let refused = ReceivedRequest::parse(text.as_bytes()).signed().unwrap_err();
            assert_eq!(refused, Mismatch::Repeated(name));
        }
        assert!(ReceivedRequest::parse(twice("x-request-id").as_bytes()).signed().is_ok());
    }

    #[test]
    fn half_of_a_sequence_is_none() {
        let of = |head: &str| {
            ReceivedRequest::parse(format!("{head}\n\n").as_bytes())
                .signed()
                .unwrap()
                .sequence
                .map(|(sequence, signed)| (sequence.to_owned(), signed.map(str::to_owned)))
        };

        assert_eq!(of("webhook-sequence-signature: v1,x"), Some((String::new(), Some("v1,x".to_owned()))));
        assert_eq!(of("webhook-sequence: 1.2.1"), Some(("1.2.1".to_owned(), None)));
        assert_eq!(of("webhook-id: 1"), None);
    }
}
