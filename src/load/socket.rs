//! The socket under a connection: stamps the first byte that is written and counts all of them.
//!
//! A stamp taken before the request is handed to the connection would be wrong in bursts, where
//! the last of 500 first bytes leaves 14 ms and more after the first.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::clock::{Clock, Moment};

/// Bytes of all connections of one worker, ever.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) written: Cell<u64>,
    pub(super) read: Cell<u64>,
}

/// What one connection has carried of the request it is busy with.
#[derive(Debug)]
pub(super) struct Meter {
    clock: Clock,
    totals: Rc<Totals>,
    sent: Cell<Option<Moment>>,
    written: Cell<u64>,
    read: Cell<u64>,
    news: Cell<bool>,
}

impl Meter {
    pub(super) fn new(clock: Clock, totals: Rc<Totals>) -> Self {
        Self {
            clock,
            totals,
            sent: Cell::new(None),
            written: Cell::new(0),
            read: Cell::new(0),
            news: Cell::new(false),
        }
    }

    /// Starts afresh for another request.
    pub(super) fn begin(&self) {
        self.sent.set(None);
        self.written.set(0);
        self.read.set(0);
        self.news.set(false);
    }

    /// When the request's first byte was written.
    pub(super) const fn sent(&self) -> Option<Moment> {
        self.sent.get()
    }

    pub(super) const fn written(&self) -> u64 {
        self.written.get()
    }

    pub(super) const fn read(&self) -> u64 {
        self.read.get()
    }

    /// Whether the socket has given anything, were it an end or an error.
    pub(super) const fn has_news(&self) -> bool {
        self.news.get()
    }

    fn on_read(&self, bytes: usize) {
        self.news.set(true);
        self.read.set(self.read.get() + bytes as u64);
        self.totals.read.set(self.totals.read.get() + bytes as u64);
    }

    fn write(&self, write: impl FnOnce() -> Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        // The write itself may take long: the kernel copies, and may deliver at once.
        let before = self.sent.get().is_none().then(|| self.clock.now());
        let result = ready!(write());
        match &result {
            Ok(bytes) => {
                if let Some(before) = before {
                    self.sent.set(Some(before));
                }
                self.written.set(self.written.get() + *bytes as u64);
                self.totals.written.set(self.totals.written.get() + *bytes as u64);
            }
            Err(_) => self.news.set(true),
        }
        Poll::Ready(result)
    }
}

/// A metered TCP connection.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    meter: Rc<Meter>,
}

impl Socket {
    pub(super) const fn new(stream: TcpStream, meter: Rc<Meter>) -> Self {
        Self { stream, meter }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.meter.on_read(buf.filled().len() - before);
        Poll::Ready(result)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, meter } = self.get_mut();
        meter.write(|| Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, meter } = self.get_mut();
        meter.write(|| Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
