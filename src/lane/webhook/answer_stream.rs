//! The bytes that go to and from an endpoint. In: a connection, and the moments at which a request begins. Out: the same bytes, but no
//! answer longer than its bound, the status of the last answer, and whether it is HTTP/2 that came instead of one. It never looks for more.

use std::io;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use hyper::rt::Read;
use hyper::rt::ReadBuf;
use hyper::rt::ReadBufCursor;
use hyper::rt::Write;

use crate::lane::webhook::first_bytes::FirstBytes;
use crate::lane::webhook::status_reader::StatusReader;

/// The status of an answer stands within this many bytes, the interim answers (1xx) before it included.
const LONGEST_INTERIM: usize = 16 * 1024;
/// The longest head of an answer that is kept in memory. The status of a longer one is understood all the same, but its connection ends.
pub(super) const LONGEST_HEAD: usize = 32 * 1024;
/// The longest body that is read.
pub(super) const LONGEST_BODY: usize = 64 * 1024;
/// An answer with all that belongs to it (interim answers, the sizes of chunks, trailers) is cut off here. An endpoint that never ends
/// cannot keep the thread busy that other lanes share.
const LONGEST_ANSWER: usize = LONGEST_HEAD + LONGEST_BODY;
/// No more bytes are read at a time.
const PORTION: usize = 8 * 1024;

/// A connection that bounds what comes in answer to a request.
#[derive(Debug)]
pub(super) struct AnswerStream<S> {
    stream: S,
    /// Set when a request begins, whose answer is then the next.
    begins: Arc<AtomicBool>,
    /// Whether the answer begins with a line that has its status, as in HTTP/1.1.
    has_status_line: bool,
    read: usize,
    status: StatusReader,
    first: FirstBytes,
}

impl<S> AnswerStream<S> {
    /// Wraps a connection; whoever sends a request over it sets `begins` before.
    pub(super) fn new(stream: S, begins: Arc<AtomicBool>, has_status_line: bool) -> AnswerStream<S> {
        let (status, first) = (StatusReader::default(), FirstBytes::default());
        AnswerStream { stream, begins, has_status_line, read: 0, status, first }
    }

    /// Returns the status of the answer to the last request, as far as it could be understood.
    pub(super) fn status(&mut self) -> Option<u16> {
        self.begin_if_asked();
        self.status.status()
    }

    /// Returns whether HTTP/1.1 was answered in HTTP/2.
    pub(super) fn hears_http2(&self) -> bool {
        self.first.are_http2()
    }

    fn begin_if_asked(&mut self) {
        if self.begins.swap(false, Ordering::AcqRel) {
            (self.read, self.status) = (0, StatusReader::default());
        }
    }
}

impl<S: Read + Unpin> Read for AnswerStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.begin_if_asked();
        if self.read >= LONGEST_ANSWER {
            return Poll::Ready(Err(io::Error::other(format!("the answer is longer than {LONGEST_ANSWER} bytes"))));
        }
        if self.has_status_line && self.read >= LONGEST_INTERIM && self.status.status().is_none() {
            let problem = format!("no status came within the first {LONGEST_INTERIM} bytes of the answer");
            return Poll::Ready(Err(io::Error::other(problem)));
        }
        let most = PORTION.min(buffer.remaining()).min(LONGEST_ANSWER - self.read);
        let mut portion = [const { MaybeUninit::uninit() }; PORTION];
        let mut portion = ReadBuf::uninit(&mut portion[..most]);
        ready!(Pin::new(&mut self.stream).poll_read(context, portion.unfilled()))?;
        self.read += portion.filled().len();
        if self.has_status_line {
            self.status.read(portion.filled());
            self.first.read(portion.filled());
        }
        buffer.put_slice(portion.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: Write + Unpin> Write for AnswerStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
