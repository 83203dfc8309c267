//! The socket under a connection: stamps the first byte that is written and counts all of them.
//!
//! A stamp taken before the request is handed to the connection would be wrong in bursts, where
//! the last of 500 first bytes leaves 14 ms and more after the first.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::clock::{Clock, Moment, nanos};

/// A slow reader reads this often …
const DRAIN_BEAT: Duration = Duration::from_millis(20);
/// … or more often, and so many bytes at once.
const DRAIN_ROOM: usize = 16 << 10;

/// Bytes of all connections of one worker.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Ever written.
    pub(super) written: Cell<u64>,
    /// Ever read.
    pub(super) read: Cell<u64>,
    /// Of answers that are kept now.
    pub(super) kept: Cell<usize>,
}

impl Totals {
    /// Counts what comes from now on.
    pub(super) fn forget(&self) {
        self.written.set(0);
        self.read.set(0);
    }
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

    /// The counts of the whole worker.
    pub(super) fn totals(&self) -> Rc<Totals> {
        Rc::clone(&self.totals)
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
    drain: Option<Drain>,
}

/// Reads that are held back to a speed, as by a client with a bad line.
#[derive(Debug)]
pub(super) struct Drain {
    bytes_per_beat: usize,
    next: Pin<Box<Sleep>>,
}

impl Drain {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        let bytes = u128::from(bytes_per_second) * DRAIN_BEAT.as_nanos() / 1_000_000_000;
        let bytes_per_beat = usize::try_from(bytes).unwrap_or(usize::MAX).max(1);
        Self { bytes_per_beat, next: Box::pin(sleep_until(Instant::now())) }
    }

    /// Reads what one beat allows, when its time has come.
    fn poll_read(
        &mut self,
        mut stream: Pin<&mut TcpStream>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.next.as_mut().poll(cx));
        let mut room = [0; DRAIN_ROOM];
        let most = self.bytes_per_beat.min(DRAIN_ROOM).min(buf.remaining());
        let mut part = ReadBuf::new(&mut room[..most]);
        ready!(stream.as_mut().poll_read(cx, &mut part))?;
        buf.put_slice(part.filled());
        // A pause of the sender's own doesn't count as saved up.
        let share = u64::try_from(part.filled().len()).unwrap_or(u64::MAX);
        let pause = nanos(DRAIN_BEAT) * share / self.bytes_per_beat as u64;
        self.next.as_mut().reset(Instant::now() + Duration::from_nanos(pause));
        Poll::Ready(Ok(()))
    }
}

impl Socket {
    pub(super) const fn new(stream: TcpStream, meter: Rc<Meter>, drain: Option<Drain>) -> Self {
        Self { stream, meter, drain }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, meter, drain } = self.get_mut();
        let before = buf.filled().len();
        let stream = Pin::new(stream);
        let result = ready!(match drain {
            None => stream.poll_read(cx, buf),
            Some(drain) => drain.poll_read(stream, cx, buf),
        });
        meter.on_read(buf.filled().len() - before);
        Poll::Ready(result)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, meter, .. } = self.get_mut();
        meter.write(|| Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, meter, .. } = self.get_mut();
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
