//! Series of bounded length, whatever comes in: neighbours are merged in pairs when there are too
//! many, as extremes and never as means.

use std::sync::LazyLock;

use super::LatencyColumn;
use crate::analysis::float;
use crate::clock::Moment;
use crate::event::{Histogram, TrafficWindow};

/// What a column can take in.
pub(in crate::analysis) trait Merge {
    /// Takes in a later one; false where they must stay apart.
    fn merge(&mut self, later: &Self) -> bool;
}

/// Times in buckets of a sixteenth of an octave: coarse, small, and mergeable.
#[derive(Debug, Clone, Default)]
pub(in crate::analysis) struct LatencyCounts {
    pub(super) start: Moment,
    pub(super) end: Moment,
    pub(super) buckets: Vec<u32>,
    pub(super) max_us: u64,
}

const PER_OCTAVE: f64 = 16.0;
/// By the eleven bits after a number's first: how many sixteenths of an octave it lies above the
/// power of two below it. Where further bits follow, all are one, as in a bucket's greatest value.
static SIXTEENTHS: LazyLock<[u8; 1 << BITS]> = LazyLock::new(|| {
    std::array::from_fn(|bits| {
        let beyond = if bits % 2 == 0 { 0.0 } else { 1.0 - 1e-6 };
        let share = (float(bits as u64) + beyond) / float(1 << BITS);
        sixteenths((1.0 + share).log2())
    })
});
const BITS: u32 = 11;

impl LatencyCounts {
    pub(in crate::analysis) const fn new(start: Moment, end: Moment) -> Self {
        Self { start, end, buckets: Vec::new(), max_us: 0 }
    }

    /// The times from due to the last byte of a window that ended at `at`.
    pub(in crate::analysis) fn of(at: Moment, window: &TrafficWindow) -> Self {
        let mut counts = Self::new(window.start, at);
        counts.add(&window.latency_us);
        counts
    }

    /// How many times there are.
    pub(in crate::analysis) fn count(&self) -> u64 {
        self.buckets.iter().map(|count| u64::from(*count)).sum()
    }

    pub(in crate::analysis) fn add(&mut self, histogram: &Histogram) {
        let most = bucket(histogram.max().unwrap_or(0));
        if self.buckets.len() <= most && !histogram.is_empty() {
            self.buckets.resize(most + 1, 0);
        }
        for (us, count) in histogram.counts() {
            let bucket = bucket(us);
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            self.buckets[bucket] = self.buckets[bucket].saturating_add(count);
        }
        self.max_us = self.max_us.max(histogram.max().unwrap_or(0));
    }

    /// Takes in another's times.
    pub(in crate::analysis) fn join(&mut self, other: &Self) {
        self.end = self.end.max(other.end);
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (mine, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine = mine.saturating_add(*more);
        }
        self.max_us = self.max_us.max(other.max_us);
    }

    pub(in crate::analysis) fn percentile_ms(&self, share: f64) -> f64 {
        let total: u64 = self.buckets.iter().map(|count| u64::from(*count)).sum();
        let wanted = share * float(total);
        let mut seen = 0_u64;
        for (bucket, count) in (0_u32..).zip(&self.buckets) {
            seen += u64::from(*count);
            if float(seen) >= wanted {
                let us = ((f64::from(bucket) + 0.5) / PER_OCTAVE).exp2();
                return us.min(float(self.max_us)) / 1e3;
            }
        }
        float(self.max_us) / 1e3
    }

    pub(super) fn column(&self) -> LatencyColumn {
        LatencyColumn {
            start: self.start,
            end: self.end,
            p50: self.percentile_ms(0.50),
            p95: self.percentile_ms(0.95),
            p99: self.percentile_ms(0.99),
            max: float(self.max_us) / 1e3,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of an octave is at least 0 and below 1"
)]
fn sixteenths(octave: f64) -> u8 {
    (octave * PER_OCTAVE) as u8
}

/// 16 × log2, rounded down; of a value as histograms keep it.
fn bucket(us: u64) -> usize {
    let us = us.max(1);
    let zeros = us.leading_zeros();
    // The first bit falls off.
    let bits = (us << zeros << 1) >> (u64::BITS - BITS);
    let octave = (u64::BITS - 1 - zeros) as usize;
    let bits = usize::try_from(bits).expect("eleven bits");
    octave * 16 + usize::from(SIXTEENTHS[bits])
}

impl Merge for LatencyCounts {
    fn merge(&mut self, later: &Self) -> bool {
        self.join(later);
        true
    }
}

/// A series of bounded length: each entry covers one stretch of equal width.
#[derive(Debug)]
pub(in crate::analysis) struct Columns<T> {
    most: usize,
    width: u64,
    /// Which stretch, and what was in it.
    rows: Vec<(u64, T)>,
}

impl<T: Merge> Columns<T> {
    pub(in crate::analysis) const fn new(most: usize, width: u64) -> Self {
        Self { most, width, rows: Vec::new() }
    }

    /// The rows, oldest first.
    pub(in crate::analysis) fn rows(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.rows.iter().map(|row| &row.1)
    }

    pub(in crate::analysis) fn add(&mut self, at: Moment, row: T) {
        let index = at.as_nanos() / self.width;
        match self.rows.last_mut() {
            Some((last, before)) if *last >= index => {
                if !before.merge(&row) {
                    self.rows.push((index, row));
                }
            }
            _ => self.rows.push((index, row)),
        }
        // Lives that must stay apart can keep some pairs apart, so try a few widths.
        for _ in 0..8 {
            if self.rows.len() <= self.most {
                break;
            }
            self.double();
        }
    }

    /// What was collected, oldest first.
    pub(in crate::analysis) fn into_rows(self) -> Vec<T> {
        self.rows.into_iter().map(|row| row.1).collect()
    }

    fn double(&mut self) {
        self.width *= 2;
        let mut merged: Vec<(u64, T)> = Vec::with_capacity(self.most + 1);
        for (index, row) in self.rows.drain(..) {
            match merged.last_mut() {
                Some((last, before)) if *last == index / 2 => {
                    if !before.merge(&row) {
                        merged.push((index / 2, row));
                    }
                }
                _ => merged.push((index / 2, row)),
            }
        }
        self.rows = merged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_sixteenths_of_an_octave() {
        let mut histogram = Histogram::new();
        (0..30).for_each(|power| {
            (0..97).for_each(|n| histogram.record((1 << power) + (n << power) / 97));
        });
        let mut off = 0;
        for (us, _) in histogram.counts() {
            let exact = float(us.max(1)).log2() * PER_OCTAVE;
            let found = float(bucket(us) as u64);
            // Rounded down; a threshold may lie between two values that are kept as one.
            assert!((found - exact.floor()).abs() < 1.5 && (found - exact).abs() < 1.02, "{us}");
            off += u32::from((found - exact.floor()).abs() > 0.5);
        }
        assert!(off < 20, "{off}");
    }
}
