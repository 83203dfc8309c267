//! Histograms of microseconds or bytes, whole while they are recorded and sparse as they are read
//! back.
//!
//! A recording holds one for each step, second and measure. As `HdrHistogram` has them in memory each
//! takes some 50 KiB, of which a few dozen numbers are not zero; read back, only those are kept. What
//! is recorded into becomes whole. Sums over what was read back are by index: millions of numbers
//! go into those of a day.

use std::borrow::Cow;

use hdrhistogram::serialization::{Serializer, V2Serializer};
use serde::{Deserialize, Serialize};

/// A histogram of microseconds or bytes: three significant digits, up to an hour or 3.6 GB;
/// `HdrHistogram`.
#[derive(Debug, Clone)]
pub struct Histogram(Form);

#[derive(Debug, Clone)]
enum Form {
    Whole(hdrhistogram::Histogram<u64>),
    Sparse(Sparse),
    Sum(Sum),
}

/// What was recorded: the index of each bucket that holds any, with how often; ascending.
#[derive(Debug, Clone)]
struct Sparse {
    rows: Vec<(u32, u64)>,
    total: u64,
}

/// What was recorded: how often, by the bucket's index.
#[derive(Debug, Clone)]
struct Sum {
    counts: Vec<u64>,
    total: u64,
}

/// Why stored bytes are no histogram.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to read a stored histogram: {0}")]
pub struct HistogramError(String);

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Histogram {
    /// Whether the same was recorded.
    fn eq(&self, other: &Self) -> bool {
        self.count() == other.count() && self.counts().eq(other.counts())
    }
}

impl Histogram {
    /// The greatest value kept; longer times count as this.
    pub const MAX_US: u64 = 3_600_000_000;

    /// An empty histogram. Its memory grows with the greatest value recorded, to 180 KiB at most.
    #[must_use]
    pub fn new() -> Self {
        Self(Form::Sparse(Sparse { rows: Vec::new(), total: 0 }))
    }

    /// Records one value, in microseconds.
    pub fn record(&mut self, us: u64) {
        self.whole()
            .record(us.min(Self::MAX_US))
            .expect("an auto-resizing histogram takes every value up to its bound");
    }

    /// Takes in another's values.
    pub fn add(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        match (&mut self.0, &other.0) {
            (_, Form::Whole(other)) => {
                self.whole().add(other).expect("an auto-resizing histogram takes in any other");
            }
            (Form::Whole(whole), _) => record_all(whole, other.rows()),
            _ => self.sum().add(other.rows()),
        }
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        match &mut self.0 {
            Form::Whole(whole) => whole.reset(),
            Form::Sparse(_) | Form::Sum(_) => *self = Self::new(),
        }
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        match &self.0 {
            Form::Whole(whole) => whole.len(),
            Form::Sparse(sparse) => sparse.total,
            Form::Sum(sum) => sum.total,
        }
    }

    /// The value, in microseconds, below which `percent` of the values lie; none when empty.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<u64> {
        match &self.0 {
            Form::Whole(whole) => (!whole.is_empty()).then(|| whole.value_at_percentile(percent)),
            Form::Sparse(_) | Form::Sum(_) => self.percentile_of_rows(percent),
        }
    }

    /// The greatest value, in microseconds; none when empty.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        match &self.0 {
            Form::Whole(whole) => (!whole.is_empty()).then(|| whole.max()),
            Form::Sparse(sparse) => sparse.rows.last().map(|row| greatest(row.0)),
            Form::Sum(sum) => sum.rows().last().map(|row| greatest(row.0)),
        }
    }

    /// The least value, in microseconds; none when empty.
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        match &self.0 {
            Form::Whole(whole) => (!whole.is_empty()).then(|| whole.min()),
            Form::Sparse(_) | Form::Sum(_) => self.rows().next().map(|row| least(row.0)),
        }
    }

    /// The mean, in microseconds; none when empty.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.to_hdr().mean())
    }

    /// The values that were recorded, in microseconds and as exact as they are kept, with how
    /// often; ascending.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> {
        let whole = match &self.0 {
            Form::Whole(whole) => Some(whole),
            Form::Sparse(_) | Form::Sum(_) => None,
        };
        let whole = whole.into_iter().flat_map(hdrhistogram::Histogram::iter_recorded);
        let whole = whole.map(|row| (row.value_iterated_to(), row.count_at_value()));
        whole.chain(self.rows().map(|(index, count)| (greatest(index), count)))
    }

    /// The indexes of buckets that hold any, with how often, ascending; none of a whole one.
    fn rows(&self) -> impl Iterator<Item = (u32, u64)> {
        let (sparse, sum) = match &self.0 {
            Form::Whole(_) => (None, None),
            Form::Sparse(sparse) => (Some(sparse), None),
            Form::Sum(sum) => (None, Some(sum)),
        };
        let sparse = sparse.into_iter().flat_map(|sparse| sparse.rows.iter().copied());
        sparse.chain(sum.into_iter().flat_map(Sum::rows))
    }

    fn percentile_of_rows(&self, percent: f64) -> Option<u64> {
        let share = (percent / 100.0).min(1.0);
        let wanted = wanted(share, self.count());
        let mut seen = 0;
        let (index, _) = self.rows().find(|row| {
            seen += row.1;
            seen >= wanted
        })?;
        Some(if share == 0.0 { least(index) } else { greatest(index) })
    }

    /// How many values are greater than this, in microseconds, as exact as they are kept.
    #[must_use]
    pub fn count_above(&self, us: u64) -> u64 {
        self.counts().filter(|row| row.0 > us).map(|row| row.1).sum()
    }

    /// As the library has it.
    pub(crate) fn to_hdr(&self) -> Cow<'_, hdrhistogram::Histogram<u64>> {
        match &self.0 {
            Form::Whole(whole) => Cow::Borrowed(whole),
            Form::Sparse(_) | Form::Sum(_) => {
                let mut whole = empty();
                record_all(&mut whole, self.rows());
                Cow::Owned(whole)
            }
        }
    }

    fn whole(&mut self) -> &mut hdrhistogram::Histogram<u64> {
        if !matches!(self.0, Form::Whole(_)) {
            self.0 = Form::Whole(self.to_hdr().into_owned());
        }
        match &mut self.0 {
            Form::Whole(whole) => whole,
            Form::Sparse(_) | Form::Sum(_) => unreachable!("it was made whole"),
        }
    }

    /// A sum of what was read back. Must not be a whole one.
    fn sum(&mut self) -> &mut Sum {
        if !matches!(self.0, Form::Sum(_)) {
            let mut sum = Sum { counts: Vec::new(), total: 0 };
            sum.add(self.rows());
            self.0 = Form::Sum(sum);
        }
        match &mut self.0 {
            Form::Sum(sum) => sum,
            Form::Sparse(_) | Form::Whole(_) => unreachable!("it was made a sum"),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.is_empty() {
            V2Serializer::new()
                .serialize(&*self.to_hdr(), &mut out)
                .expect("writing to memory never fails");
        }
        out
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, HistogramError> {
        if bytes.is_empty() {
            return Ok(Self::new());
        }
        // The library's own reader believes what damaged bytes say: it reserves gigabytes, and
        // negates what has no negative.
        let sparse = Sparse::read(bytes)
            .ok_or_else(|| HistogramError("it is damaged, or of another form".to_owned()))?;
        Ok(Self(Form::Sparse(sparse)))
    }
}

/// Significant digits, and what follows from them: values up to 2^11 have a bucket each, those above
/// share one with the values that have the same first 11 bits.
const DIGITS: u8 = 3;
const BITS: u32 = 11;
/// The head of a stored histogram: cookie, length of what follows, an offset of 0, digits, least and
/// greatest value, a factor of 1.
const HEAD: usize = 40;
const COOKIE: u32 = 0x1c84_9303 | 0x10;

/// How far the values of a bucket reach beyond its least one, as a power of two.
const fn reach(value: u64) -> u32 {
    (u64::BITS - value.leading_zeros()).saturating_sub(BITS)
}

/// The greatest value of the bucket of an index.
const fn greatest(index: u32) -> u64 {
    let least = least(index);
    least + ((1 << reach(least)) - 1)
}

/// The least value of the bucket of an index.
const fn least(index: u32) -> u64 {
    const HALF: u32 = 1 << (BITS - 1);
    let octave = index / HALF;
    if octave < 2 { index as u64 } else { ((index % HALF + HALF) as u64) << (octave - 1) }
}

fn empty() -> hdrhistogram::Histogram<u64> {
    let mut whole = hdrhistogram::Histogram::new(DIGITS).expect("3 digits are within bounds");
    whole.auto(true);
    whole
}

fn record_all(
    whole: &mut hdrhistogram::Histogram<u64>,
    rows: impl IntoIterator<Item = (u32, u64)>,
) {
    for (index, count) in rows {
        whole
            .record_n(least(index), count)
            .expect("an auto-resizing histogram takes every value up to its bound");
    }
}

impl Sum {
    fn add(&mut self, rows: impl Iterator<Item = (u32, u64)>) {
        for (index, count) in rows {
            let index = index as usize;
            if self.counts.len() <= index {
                self.counts.resize(index + 1, 0);
            }
            self.counts[index] = self.counts[index].saturating_add(count);
            self.total = self.total.saturating_add(count);
        }
    }

    fn rows(&self) -> impl Iterator<Item = (u32, u64)> {
        (0_u32..).zip(&self.counts).map(|(index, count)| (index, *count)).filter(|row| row.1 > 0)
    }
}

impl Sparse {
    /// Reads what [`V2Serializer`] writes of a histogram of ours; none of anything else.
    fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let length = usize::try_from(word(4)?).ok()?;
        let ours = word(0)? == COOKIE && word(8)? == 0 && word(12)? == u32::from(DIGITS);
        let mut rest = bytes.get(HEAD..HEAD.checked_add(length)?)?;
        if !ours || long(16)? != 1 || long(24)? > 2 * Histogram::MAX_US {
            return None;
        }
        // A value takes a byte at least, and the way to it another.
        let mut rows = Vec::with_capacity(rest.len() / 2 + 1);
        let (mut total, mut index) = (0_u64, 0_u32);
        while !rest.is_empty() {
            let number = read_varint(&mut rest)?;
            let number = (number >> 1).cast_signed() ^ -((number & 1).cast_signed());
            if number < 0 {
                index = index.checked_add(number.unsigned_abs().try_into().ok()?)?;
                continue;
            }
            // The greatest index that a value can have; its shift stays far below 64.
            if index > 40 << (BITS - 1) {
                return None;
            }
            let count = number.unsigned_abs();
            if count > 0 {
                total = total.checked_add(count)?;
                rows.push((index, count));
            }
            if least(index) > Histogram::MAX_US {
                return None;
            }
            index += 1;
        }
        Some(Self { rows, total })
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count below 2^53 times a share of at most 1"
)]
fn wanted(share: f64, total: u64) -> u64 {
    ((share * total as f64).ceil() as u64).max(1)
}

/// A number of seven bits a byte, the lowest first; a ninth byte has eight.
#[inline]
fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let (&first, tail) = rest.split_first()?;
    *rest = tail;
    if first & 0x80 == 0 {
        return Some(first.into());
    }
    let mut value = u64::from(first & 0x7f);
    for place in 1..8 {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    let (&last, tail) = rest.split_first()?;
    *rest = tail;
    Some(value | u64::from(last) << 56)
}

impl Serialize for Histogram {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: Cow<'de, serde_bytes::Bytes> = Deserialize::deserialize(deserializer)?;
        Self::from_bytes(&bytes).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn stored_histograms_read_back(values in prop::collection::vec(0_u64..10_000_000_000, 0..50)) {
            let mut histogram = Histogram::new();
            for value in values {
                histogram.record(value);
            }
            let stored = rmp_serde::to_vec_named(&histogram).unwrap();
            let back: Histogram = rmp_serde::from_slice(&stored).unwrap();
            prop_assert_eq!(back.count(), histogram.count());
            prop_assert_eq!(back.max(), histogram.max());
            prop_assert_eq!(back.percentile(50.0), histogram.percentile(50.0));
        }
    }

    proptest! {
        #[test]
        fn what_is_read_back_says_what_was_recorded(
            values in prop::collection::vec(prop_oneof![0_u64..5000, 0_u64..10_000_000_000], 1..60),
            percent in 0.0_f64..100.0,
            above in 0_u64..20_000,
        ) {
            let mut whole = Histogram::new();
            for value in values {
                whole.record(value);
            }
            let sparse = Histogram::from_bytes(&whole.to_bytes()).unwrap();
            prop_assert!(matches!(sparse.0, Form::Sparse(_)));
            prop_assert_eq!(&sparse, &whole);
            for percent in [0.0, percent, 50.0, 99.0, 100.0] {
                prop_assert_eq!(sparse.percentile(percent), whole.percentile(percent));
            }
            prop_assert_eq!((sparse.min(), sparse.max()), (whole.min(), whole.max()));
            prop_assert_eq!(sparse.mean(), whole.mean());
            prop_assert_eq!(sparse.count_above(above), whole.count_above(above));
            prop_assert_eq!(sparse.to_bytes(), whole.to_bytes());
            // Sums of all forms are the same, and say the same.
            let mut twice = sparse.clone();
            twice.add(&sparse);
            prop_assert!(matches!(twice.0, Form::Sum(_)));
            let mut mixed = whole.clone();
            mixed.add(&sparse);
            whole.add(&whole.clone());
            for sum in [&twice, &mixed] {
                prop_assert_eq!(sum, &whole);
                for percent in [0.0, percent, 50.0, 99.0, 100.0] {
                    prop_assert_eq!(sum.percentile(percent), whole.percentile(percent));
                }
                prop_assert_eq!((sum.min(), sum.max()), (whole.min(), whole.max()));
                prop_assert_eq!(sum.mean(), whole.mean());
                prop_assert_eq!(sum.to_bytes(), whole.to_bytes());
            }
            twice.record(77);
            whole.add(&sparse);
            let mut thrice = twice.clone();
            thrice.add(&sparse);
            prop_assert_eq!(thrice.count(), whole.count() + 1);
        }

        #[test]
        fn damaged_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), change in 0_usize..60, by: u8) {
            let _ = Histogram::from_bytes(&bytes);
            let mut histogram = Histogram::new();
            (0..40).for_each(|value| histogram.record(value * value * 7));
            let mut stored = histogram.to_bytes();
            let place = change % stored.len();
            stored[place] = stored[place].wrapping_add(by);
            if let Ok(read) = Histogram::from_bytes(&stored) {
                let _ = (read.percentile(99.0), read.max(), read.mean());
            }
        }
    }

    #[test]
    fn a_length_that_is_told_reserves_nothing() {
        let mut stored = {
            let mut histogram = Histogram::new();
            histogram.record(7);
            histogram.to_bytes()
        };
        stored[4] = 0xff;
        for damaged in [&stored[..], &[9; 60]] {
            let error = Histogram::from_bytes(damaged).expect_err("it is no histogram");
            assert!(error.to_string().contains("damaged"), "{error}");
        }
    }

    #[test]
    fn an_empty_histogram_has_no_percentiles() {
        assert_eq!(Histogram::new().percentile(99.0), None);
        assert_eq!(Histogram::new().max(), None);
    }
}
