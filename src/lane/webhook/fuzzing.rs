//! The door for the fuzz target `http_head`. In: bytes in place of an endpoint's answer. Out: what a delivery would make of them. It exists in
//! builds of `cargo fuzz` and of the unit tests only.

use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::io::duplex;

use crate::destination::echo::Echo;
use crate::lane::webhook::answer_body;
use crate::lane::webhook::connection::Connection;

/// Returns the status that is understood of an answer.
pub async fn status_of(answer: &[u8]) -> Option<u16> {
    let (near, mut far) = duplex(answer.len() + (1 << 16));
    let mut connection = Connection::over(TokioIo::new(near)).await.ok()?;
    let request = Request::post("/").body(Full::new(Bytes::from_static(b"{}"))).ok()?;
    far.write_all(answer).await.ok()?;
    far.shutdown().await.ok()?;
    match connection.send(request).await {
        Ok(response) => {
            let status = response.status().as_u16();
            let body = answer_body::read(response.into_body(), &Echo::default(), &AtomicBool::new(true)).await;
            assert!(body.excerpt.chars().count() <= 500);
            Some(status)
        }
        Err(_) => connection.status().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_status_is_understood_whatever_stands_around_it() {
        assert_eq!(status_of(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 \r\n\r\n").await, Some(204));
        assert_eq!(status_of(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n").await, Some(200));
        assert_eq!(status_of(b"SSH-2.0-OpenSSH_9.2\r\n").await, None);
    }
}
