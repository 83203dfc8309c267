//! One request's body on its way: stretches of shared bytes, sent as fast as wanted.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep_until};

/// A slow body is sent in pieces of this time's worth.
const BEAT: Duration = Duration::from_millis(20);

/// One request's body.
#[derive(Debug, Default)]
pub(super) struct Payload {
    stretches: VecDeque<Stretch>,
    chunked: bool,
    pace: Option<Pace>,
}

/// A stretch of a pool that is gone round as often as needed.
#[derive(Debug)]
struct Stretch {
    pool: Bytes,
    from: usize,
    left: u64,
}

/// How fast a body is sent.
#[derive(Debug)]
struct Pace {
    bytes_per_beat: u64,
    next: Pin<Box<Sleep>>,
}

impl Payload {
    /// These bytes.
    pub(super) fn whole(bytes: Bytes) -> Self {
        let mut payload = Self::default();
        payload.push(bytes);
        payload
    }

    /// Adds these bytes.
    pub(super) fn push(&mut self, bytes: Bytes) {
        let left = bytes.len() as u64;
        self.push_stretch(bytes, 0, left);
    }

    /// Adds so many bytes of a pool, from a place in it on.
    pub(super) fn push_stretch(&mut self, pool: Bytes, from: usize, left: u64) {
        if left > 0 && !pool.is_empty() {
            self.stretches.push_back(Stretch { pool, from, left });
        }
    }

    /// Sends the body in chunks, without telling its length.
    pub(super) fn in_chunks(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// Sends the body at so many bytes a second.
    pub(super) fn slowly(mut self, bytes_per_second: u64) -> Self {
        let bytes = u128::from(bytes_per_second) * BEAT.as_nanos() / 1_000_000_000;
        let bytes_per_beat = u64::try_from(bytes).unwrap_or(u64::MAX).max(1);
        self.pace = Some(Pace { bytes_per_beat, next: Box::pin(sleep_until(Instant::now())) });
        self
    }

    /// Its whole content.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        let mut all = Vec::with_capacity(usize::try_from(self.left()).unwrap_or(0));
        while let Some(chunk) = self.next_chunk(u64::MAX) {
            all.extend_from_slice(&chunk);
        }
        all
    }

    pub(super) fn left(&self) -> u64 {
        self.stretches.iter().map(|stretch| stretch.left).sum()
    }

    pub(super) fn next_chunk(&mut self, most: u64) -> Option<Bytes> {
        let stretch = self.stretches.front_mut()?;
        let rest = (stretch.pool.len() - stretch.from) as u64;
        let len = stretch.left.min(rest).min(most);
        let len = usize::try_from(len).expect("within the pool");
        let chunk = stretch.pool.slice(stretch.from..stretch.from + len);
        stretch.from = (stretch.from + len) % stretch.pool.len();
        stretch.left -= len as u64;
        if stretch.left == 0 {
            self.stretches.pop_front();
        }
        Some(chunk)
    }
}

impl Payload {
    /// The next piece, when its time has come; none after the last.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.stretches.is_empty() {
            return Poll::Ready(None);
        }
        let most = match &mut self.pace {
            None => u64::MAX,
            Some(pace) => {
                ready!(pace.next.as_mut().poll(cx));
                let next = pace.next.deadline() + BEAT;
                pace.next.as_mut().reset(next);
                pace.bytes_per_beat
            }
        };
        Poll::Ready(self.next_chunk(most))
    }

    /// Whether it is sent in chunks, without telling its length.
    pub(super) const fn is_chunked(&self) -> bool {
        self.chunked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_body_takes_its_time_and_comes_whole() {
        let bytes = Bytes::from(vec![7; 1000]);
        let began = Instant::now();
        let mut payload = Payload::whole(bytes.clone()).slowly(5_000);
        let mut whole = Vec::new();
        while let Some(chunk) = std::future::poll_fn(|cx| payload.poll_chunk(cx)).await {
            whole.extend_from_slice(&chunk);
        }
        assert_eq!(whole, bytes);
        let took = began.elapsed();
        assert!((170..400).contains(&took.as_millis()), "{took:?}");
    }
}
