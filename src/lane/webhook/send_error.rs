//! Why a request has no answer. In: what the library or the system says, and what was understood of the answer. Out: one line that says what failed and
//! what to do. It shows nothing of the request or the URL, which may hold a token, and none of the bytes that were answered.

use std::error::Error;
use std::io;

use crate::tls;
use crate::tls::Peer;

/// Why there is no response.
#[derive(Debug)]
pub(super) enum SendError {
    /// The name could not be resolved, or TCP or TLS could not connect.
    Connect(Box<dyn Error + Send + Sync>),
    /// The connection ended before the response, or what came was not HTTP.
    Request(Broken),
}

/// A connection over which no answer came, or none that could be read.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) error: hyper::Error,
    /// The status of the answer, if that much could be understood.
    pub(super) status: Option<u16>,
    /// HTTP/1.1 was answered in HTTP/2, so nobody has understood the request.
    pub(super) hears_http2: bool,
}

impl SendError {
    /// Returns the status, if that much of the answer could be understood.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            SendError::Connect(_) => None,
            SendError::Request(broken) => broken.status,
        }
    }

    /// Says what failed at this peer. Only the innermost cause helps people: the outer ones merely say that a request failed.
    pub(super) fn text(&self, peer: Peer) -> String {
        let (what, error): (_, &(dyn Error + 'static)) = match self {
            SendError::Connect(error) => ("cannot connect", error.as_ref()),
            SendError::Request(broken) => ("the request failed", &broken.error),
        };
        if let Some(explained) = tls::explain(error, peer) {
            return format!("{what}: {explained}");
        }
        let mut cause = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        match self {
            SendError::Connect(_) => format!("{what}: {cause}{}", advice_on_way(cause)),
            SendError::Request(broken)
                if broken.error.is_parse() && broken.status.is_some() && !is_too_large(broken) =>
            {
                format!(
                    "only the status of the answer could be read ({cause}): its first line or a header holds what HTTP does not allow, such as a control character; the endpoint has to leave it out"
                )
            }
            SendError::Request(broken) if is_cut_off(broken, cause) => {
                let when = if broken.status.is_none() { "without an answer" } else { "within its answer" };
                format!("{what}: the endpoint closed the connection {when}; see what it logs")
            }
            SendError::Request(broken) => format!("{what}: {cause}{}", advice_on_answer(broken)),
        }
    }
}

fn advice_on_way(cause: &(dyn Error + 'static)) -> &'static str {
    match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => "; see whether it runs and host and port are right",
        Some(io::ErrorKind::UnexpectedEof) => {
            "; the endpoint closed the connection, so see whether it speaks TLS there, and what it logs"
        }
        Some(io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            "; see whether a firewall or a route is in the way"
        }
        _ => "",
    }
}

fn advice_on_answer(broken: &Broken) -> &'static str {
    let error = &broken.error;
    if is_too_large(broken) {
        return "; Andon reads 100 headers and 32 KiB of them";
    }
    if error.is_parse() {
        return ", so the answer is none of HTTP; see whether scheme, host and port are those of the endpoint";
    }
    ""
}

/// The library of TLS has words of its own for a connection that ends without a farewell, and a link to its manual.
fn is_cut_off(broken: &Broken, cause: &(dyn Error + 'static)) -> bool {
    let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
    broken.error.is_incomplete_message() || kind == Some(io::ErrorKind::UnexpectedEof)
}

/// The library has a question for this, but only in a server.
fn is_too_large(broken: &Broken) -> bool {
    broken.error.to_string() == "message head is too large"
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::Request;
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncReadExt as _;
    use tokio::io::AsyncWriteExt as _;
    use tokio::io::duplex;

    use super::*;
    use crate::lane::webhook::connection::Connection;
    use crate::lane::webhook::connection::broken;

    /// Returns what is told of an endpoint that answers with these bytes and closes the connection.
    async fn told(answer: &str) -> String {
        let (near, mut far) = duplex(1 << 18);
        let mut slot = Some(Connection::over(TokioIo::new(near)).await.unwrap());
        let answering = async {
            far.read_u8().await.unwrap();
            far.write_all(answer.as_bytes()).await.unwrap();
            far.shutdown().await.unwrap();
        };
        let request = Request::new(Full::new(Bytes::new()));
        let (sent, ()) = tokio::join!(slot.as_mut().unwrap().send(request), answering);
        SendError::Request(broken(&mut slot, sent.unwrap_err()).await).text(Peer::Endpoint)
    }

    #[tokio::test]
    async fn an_answer_that_cannot_be_read_says_what_is_wrong_and_shows_nothing_of_itself() {
        let many = "s3cret: x\r\n".repeat(101);
        let texts = [
            "SSH-2.0-OpenSSH_s3cret\r\n",
            "HTTP/1.1 s3cret\r\n\r\n",
            "\u{15}\u{3}\u{1}",
            "HTTP/1.1 503 s3cret\u{1b}[2J\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: s3cret\r\n\r\n",
            "HTTP/2 200 s3cret\r\n\r\n",
            &format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
            "",
            "HTTP/1.1 200 OK\r\ns3cret",
        ];

        let mut all = Vec::new();
        for text in texts {
            all.push(told(text).await);
        }

        let all = all.join("\n");
        assert!(!all.contains("s3cret"), "{all}");
        insta::assert_snapshot!(all, @r"
        the request failed: invalid HTTP version parsed, so the answer is none of HTTP; see whether scheme, host and port are those of the endpoint
        the request failed: invalid HTTP status-code parsed, so the answer is none of HTTP; see whether scheme, host and port are those of the endpoint
        the request failed: invalid HTTP version parsed, so the answer is none of HTTP; see whether scheme, host and port are those of the endpoint
        only the status of the answer could be read (invalid HTTP status-code parsed): its first line or a header holds what HTTP does not allow, such as a control character; the endpoint has to leave it out
        only the status of the answer could be read (invalid content-length parsed): its first line or a header holds what HTTP does not allow, such as a control character; the endpoint has to leave it out
        only the status of the answer could be read (invalid HTTP version parsed): its first line or a header holds what HTTP does not allow, such as a control character; the endpoint has to leave it out
        the request failed: message head is too large; Andon reads 100 headers and 32 KiB of them
        the request failed: the endpoint closed the connection without an answer; see what it logs
        the request failed: the endpoint closed the connection within its answer; see what it logs
        ");
    }

    #[test]
    fn a_way_that_is_barred_says_where_to_look() {
        let told = |kind: io::ErrorKind| SendError::Connect(io::Error::from(kind).into()).text(Peer::Endpoint);

        assert_eq!(
            told(io::ErrorKind::ConnectionRefused),
            "cannot connect: connection refused; see whether it runs and host and port are right"
        );
        assert_eq!(
            told(io::ErrorKind::HostUnreachable),
            "cannot connect: host unreachable; see whether a firewall or a route is in the way"
        );
        assert!(told(io::ErrorKind::UnexpectedEof).ends_with("see whether it speaks TLS there, and what it logs"));
    }
}
