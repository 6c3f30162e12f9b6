//! The broker's end of a connection, read along. In: the bytes that a broker sends. Out: the same bytes for the client library, until the
//! broker sends a packet that nobody asked for or that is too large: then the connection ends, before the library stores any of it. It never
//! changes a byte.

use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;

use crate::lane::mqtt::frames::Frames;
use crate::lane::mqtt::frames::Heard;
use crate::lane::mqtt::protocol::Version;

/// A socket that is read along.
#[derive(Debug)]
pub(super) struct Wire<S> {
    socket: S,
    frames: Frames,
}

impl<S> Wire<S> {
    /// Reads along on a socket that has just connected. `subscribes` says that messages are asked for.
    pub(super) fn new(socket: S, version: Version, subscribes: bool, heard: Heard) -> Wire<S> {
        Wire { socket, frames: Frames::new(version, subscribes, heard) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(fault) = self.frames.fault() {
            return Poll::Ready(Err(io::Error::other(fault)));
        }
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        // What came before a fault is still handled: an acknowledgement counts whatever follows it.
        if let Some(good) = self.frames.follow(&buffer.filled()[before..]) {
            buffer.set_filled(before + good);
        }
        match self.frames.fault().filter(|_| buffer.filled().len() == before) {
            Some(fault) => Poll::Ready(Err(io::Error::other(fault))),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    const CONNECTED: &[u8] = &[0x20, 3, 0, 0, 0];

    /// Reads a broker's bytes in parts of this size, and returns what was handed on, and what was heard.
    async fn read(parts: &[u8], size: usize, subscribes: bool) -> (Vec<u8>, Heard) {
        let heard = Heard::default();
        let (broker, client) = tokio::io::duplex(1 << 16);
        let mut wire = Wire::new(client, Version::V5, subscribes, heard.clone());
        let (_, mut writes) = tokio::io::split(broker);
        tokio::io::AsyncWriteExt::write_all(&mut writes, parts).await.unwrap();
        drop(tokio::io::AsyncWriteExt::shutdown(&mut writes).await);
        let mut all = Vec::new();
        let mut part = vec![0; size];
        while let Ok(count @ 1..) = wire.read(&mut part).await {
            all.extend_from_slice(&part[..count]);
        }
        (all, heard)
    }

    #[tokio::test]
    async fn acknowledgements_before_an_unasked_message_are_handed_on_and_nothing_after() {
        let good = [CONNECTED, &[0x40, 2, 0, 1]].concat();
        let bytes = [&good[..], &[0x30, 5, 0, 1, b't', b'x', b'y'], &[0x40, 2, 0, 2]].concat();
        for size in [1, 3, 64] {
            let (all, heard) = read(&bytes, size, false).await;

            assert_eq!(all, good);
            assert_eq!(heard.fault().as_deref(), Some("the broker sent a message that nobody subscribed to"));
        }
    }

    #[tokio::test]
    async fn a_message_that_was_asked_for_is_handed_on() {
        let bytes = [CONNECTED, &[0x90, 4, 0, 1, 0, 1], &[0x30, 5, 0, 1, b't', b'x', b'y']].concat();

        let (all, heard) = read(&bytes, 7, true).await;

        assert_eq!((all, heard.fault()), (bytes, None));
    }

    #[tokio::test]
    async fn packets_that_nobody_asked_for_end_the_connection() {
        for kind in [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 15, 0] {
            let bytes = [CONNECTED, &[kind << 4, 2, 0, 1]].concat();

            let (all, heard) = read(&bytes, 64, false).await;

            assert!(heard.fault().is_some(), "type {kind}");
            assert!(all.len() <= CONNECTED.len() + 1, "type {kind}");
        }
    }

    #[tokio::test]
    async fn answers_to_pings_that_were_not_sent_end_the_connection() {
        let bytes = [CONNECTED, &[0xd0, 0].repeat(1_000)].concat();

        let (all, heard) = read(&bytes, 64, false).await;

        assert!(all.len() < 20, "{}", all.len());
        assert_eq!(heard.fault().as_deref(), Some("the broker answers pings that were not sent"));
    }

    #[tokio::test]
    async fn a_packet_that_is_too_large_ends_the_connection_at_its_length() {
        let bytes = [CONNECTED, &[0x40, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3]].concat();

        let (all, heard) = read(&bytes, 64, false).await;

        assert!(all.len() < CONNECTED.len() + 4);
        assert_eq!(heard.fault().as_deref(), Some("the broker sent a packet of more than 10240 bytes"));
    }

    #[tokio::test]
    async fn a_server_that_speaks_something_else_is_known_by_its_first_byte() {
        let page = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".as_bytes();
        let alert = &[0x15, 3, 1, 0, 2, 2, 70][..];
        for (bytes, said) in [(page, "speaks HTTP on this port"), (alert, "speaks TLS on this port; write mqtts://")] {
            let (all, heard) = read(bytes, 64, false).await;

            assert!(all.is_empty() && heard.fault().unwrap().contains(said), "{all:?} {:?}", heard.fault());
        }
        // No packet begins with a letter, and one that does later is of another kind.
        let (_, heard) = read(&[CONNECTED, b"HTTP/1.1"].concat(), 64, false).await;
        assert!(heard.fault().is_none_or(|fault| !fault.contains("speaks")));
    }

    #[tokio::test]
    async fn a_code_without_properties_is_heard() {
        for size in [1, 64] {
            let (_, heard) = read(&[CONNECTED, &[0xe0, 1, 0x95]].concat(), size, false).await;

            let text = heard.last_words().unwrap().text();
            assert_eq!(text, "the broker ended the connection: packet too large (0x95)");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_parts_are_judged_alike(bytes in prop::collection::vec(any::<u8>(), 0..400), size in 1usize..50) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (whole, at_once) = runtime.block_on(read(&bytes, 4_096, false));
            let (parts, in_parts) = runtime.block_on(read(&bytes, size, false));
            prop_assert_eq!(at_once.fault(), in_parts.fault());
            prop_assert_eq!(at_once.last_words(), in_parts.last_words());
            prop_assert!(bytes.starts_with(&whole) && bytes.starts_with(&parts));
        }
    }
}
