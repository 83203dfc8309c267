//! Sizes in bytes, and limits that may be absent.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A size in bytes.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(u64);

impl Bytes {
    /// No bytes at all.
    pub const ZERO: Self = Self(0);

    /// A size of `bytes` bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size of `kib` × 1024 bytes.
    #[must_use]
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib * 1024)
    }

    /// A size of `mib` × 1024² bytes.
    #[must_use]
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib * 1024 * 1024)
    }

    /// The size as a number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The size in MiB, for axes and averages.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "sizes below 2^53 bytes are exact")]
    pub fn as_mib(self) -> f64 {
        self.0 as f64 / (1024.0 * 1024.0)
    }

    /// The size as a float of bytes, for ratios and regressions.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "sizes below 2^53 bytes are exact")]
    pub const fn as_f64(self) -> f64 {
        self.0 as f64
    }

    /// The difference, or zero where `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Bytes {
    type Output = Self;
    /// Saturates at zero: a size is never negative.
    fn sub(self, other: Self) -> Self {
        self.saturating_sub(other)
    }
}

impl fmt::Display for Bytes {
    /// Prints with a binary unit and three significant places: `200 KiB`, `61.4 MiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
        let mut value = self.as_f64();
        let mut unit = 0;
        while value >= 1023.95 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        let places = usize::from(unit > 0 && value < 99.95 && (value * 10.0).round() % 10.0 != 0.0);
        f.pad(&format!("{value:.places$} {}", UNITS[unit]))
    }
}

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a size: write a number and a unit, such as 256MiB, 200KiB or 1GB")]
pub struct ParseBytesError {
    text: String,
}

impl FromStr for Bytes {
    type Err = ParseBytesError;

    /// Parses `256MiB`, `200 KiB`, `1GB` (decimal) or `4096` (bytes); also the Kubernetes forms
    /// `256Mi`, `1Gi`. `Mb` and `m` are refused: they may mean bits or thousandths.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseBytesError { text: text.to_owned() };
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        if !number.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(refused());
        }
        let known = matches!(
            unit,
            "" | "B"
                | "kB"
                | "KB"
                | "KiB"
                | "Ki"
                | "MB"
                | "MiB"
                | "Mi"
                | "GB"
                | "GiB"
                | "Gi"
                | "TB"
                | "TiB"
                | "Ti"
        );
        if !known {
            return Err(refused());
        }
        let number = number.trim_end();
        let spelled = if unit.ends_with('i') {
            format!("{number}{unit}B")
        } else {
            format!("{number}{unit}")
        };
        let parsed: bytesize::ByteSize = spelled.parse().map_err(|_| refused())?;
        Ok(Self(parsed.as_u64()))
    }
}

/// A limit on memory: either a size or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The kernel refuses charges beyond this size.
    Bytes(Bytes),
    /// Nothing but the machine bounds the memory.
    Unlimited,
}

impl Limit {
    /// The size of the limit, where there is one.
    #[must_use]
    pub const fn bytes(self) -> Option<Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Unlimited => None,
        }
    }
}

impl fmt::Display for Limit {
    /// What was set, to the byte where it is a multiple of 64 KiB: `100.25 MiB`, `10304 KiB`. Who
    /// types what is read here must not set less.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => f.pad(&exactly(*bytes)),
            Self::Unlimited => f.pad("no limit"),
        }
    }
}

/// A size without rounding, where it is a multiple of 64 KiB; in the unit that needs fewer places.
fn exactly(size: Bytes) -> String {
    let short = size.to_string();
    let whole = |grain: u64| size.get().is_multiple_of(grain);
    if short.parse() == Ok(size) || !whole(64 << 10) {
        short
    } else if whole(256 << 10) {
        format!("{} MiB", size.as_mib())
    } else {
        format!("{} KiB", size.get() >> 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parses_what_people_write() {
        assert_eq!("256MiB".parse(), Ok(Bytes::from_mib(256)));
        assert_eq!("256Mi".parse(), Ok(Bytes::from_mib(256)));
        assert_eq!("200 KiB".parse(), Ok(Bytes::from_kib(200)));
        assert_eq!("1GB".parse(), Ok(Bytes::new(1_000_000_000)));
        assert_eq!("1.5MiB".parse(), Ok(Bytes::from_kib(1536)));
        assert_eq!("4096".parse(), Ok(Bytes::new(4096)));
    }

    #[test]
    fn refuses_ambiguous_and_empty_units() {
        for text in ["", "MiB", "256Mb", "256m", "-1MiB", "1e9x", "256 megabytes"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn prints_in_binary_units() {
        assert_eq!(Bytes::from_kib(200).to_string(), "200 KiB");
        assert_eq!(Bytes::from_mib(256).to_string(), "256 MiB");
        assert_eq!(Bytes::new(64_424_509).to_string(), "61.4 MiB");
        assert_eq!(Bytes::new(12).to_string(), "12 B");
        let limit = |kib| Limit::Bytes(Bytes::from_kib(kib)).to_string();
        assert_eq!(limit(102_656), "100.25 MiB");
        assert_eq!(limit(10_304), "10304 KiB");
        assert_eq!(limit(1024 * 1075), "1075 MiB");
        assert_eq!(limit(256 << 10), "256 MiB");
        assert_eq!(Limit::Bytes(Bytes::new(1_000_000_000)).to_string(), "954 MiB");
    }

    proptest! {
        #[test]
        fn limits_are_printed_as_they_are_set(grains in 1_u64..1 << 24) {
            let size = Bytes::from_kib(64 * grains);
            prop_assert_eq!(Limit::Bytes(size).to_string().parse(), Ok(size));
        }

        #[test]
        fn plain_byte_counts_round_trip(bytes in 0_u64..1 << 50) {
            prop_assert_eq!(bytes.to_string().parse(), Ok(Bytes::new(bytes)));
        }

        #[test]
        fn printed_sizes_parse_back_within_their_precision(bytes in 0_u64..1 << 50) {
            let back: Bytes = Bytes::new(bytes).to_string().parse().unwrap();
            let off = back.get().abs_diff(bytes);
            prop_assert!(Bytes::new(off).as_f64() <= 0.051 * Bytes::new(bytes).as_f64());
        }
    }
}
