//! What the connections of one worker share, and reads that are held back.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::clock::nanos;
use crate::plan::Budget;

/// How much is read at once. Idle connections need no buffer of their own.
const BUFFER_BYTES: usize = 64 << 10;
/// A slow reader reads this often …
const DRAIN_BEAT: Duration = Duration::from_millis(20);
/// … or more often, and so many bytes at once.
const DRAIN_ROOM: usize = 16 << 10;

/// What the connections of one worker share: counts, and a buffer to read into.
#[derive(Debug)]
pub(super) struct Wire {
    /// Bytes ever written.
    pub(super) written: Cell<u64>,
    /// Bytes ever read.
    pub(super) read: Cell<u64>,
    /// Bytes of answers that are kept now, and how many there may be.
    pub(super) kept: Cell<usize>,
    pub(super) keeps: usize,
    /// What was read last, looked at before anything else is read.
    pub(super) buffer: RefCell<Box<[u8]>>,
}

impl Wire {
    /// For one of so many workers.
    pub(super) fn of(workers: usize) -> Self {
        let all = usize::try_from(Budget::DEFAULT.answers.get()).unwrap_or(usize::MAX);
        Self {
            written: Cell::new(0),
            read: Cell::new(0),
            kept: Cell::new(0),
            keeps: all / workers.max(1),
            buffer: RefCell::new(vec![0; BUFFER_BYTES].into()),
        }
    }

    /// Counts what comes from now on.
    pub(super) fn forget(&self) {
        self.written.set(0);
        self.read.set(0);
    }
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
    pub(super) fn poll_read(
        &mut self,
        stream: Pin<&mut TcpStream>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.next.as_mut().poll(cx));
        let mut part = room.take(self.bytes_per_beat.min(DRAIN_ROOM));
        ready!(stream.poll_read(cx, &mut part))?;
        let read = part.filled().len();
        room.advance(read);
        // A pause of the sender's own doesn't count as saved up.
        let pause = nanos(DRAIN_BEAT) * read as u64 / self.bytes_per_beat as u64;
        self.next.as_mut().reset(Instant::now() + Duration::from_nanos(pause));
        Poll::Ready(Ok(()))
    }
}
