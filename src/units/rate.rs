//! Rates of events, and percentages.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Events per second; finite and never negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(f64);

/// Why a text or number is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a rate: write events per second (50), or with a unit (`10/s`, `30/min`, `500/h`)"
)]
pub struct ParseRateError {
    text: String,
}

impl Rate {
    /// Nothing at all.
    pub const ZERO: Self = Self(0.0);

    /// A rate of `per_second` events per second.
    ///
    /// # Errors
    /// When the number is negative, infinite or not a number.
    pub fn per_second(per_second: f64) -> Result<Self, ParseRateError> {
        if per_second.is_finite() && per_second >= 0.0 {
            Ok(Self(per_second))
        } else {
            Err(ParseRateError { text: per_second.to_string() })
        }
    }

    /// Events per second.
    #[must_use]
    pub const fn as_per_second(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseRateError { text: text.to_owned() };
        let (number, unit) = text.trim().split_once('/').unwrap_or((text.trim(), "s"));
        let seconds = match unit.trim() {
            "s" | "sec" | "second" => 1.0,
            "m" | "min" | "minute" => 60.0,
            "h" | "hour" => 3600.0,
            _ => return Err(refused()),
        };
        let number: f64 = number.trim().parse().map_err(|_| refused())?;
        Self::per_second(number / seconds).map_err(|_| refused())
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/s", (self.0 * 100.0).round() / 100.0))
    }
}

/// A share in percent, 100 being the whole; finite.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Percent(f64);

impl Percent {
    /// `percent` hundredths of a whole.
    #[must_use]
    pub const fn new(percent: f64) -> Self {
        Self(percent)
    }

    /// What share `part` is of `whole`; none where the whole is zero.
    #[must_use]
    pub fn of(part: f64, whole: f64) -> Option<Self> {
        (whole != 0.0).then(|| Self(100.0 * part / whole))
    }

    /// The number of hundredths.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The share as a fraction of one.
    #[must_use]
    pub const fn as_fraction(self) -> f64 {
        self.0 / 100.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.1} %", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_people_write() {
        let per_second = |text: &str| text.parse::<Rate>().map(Rate::as_per_second);
        assert_eq!(per_second("50"), Ok(50.0));
        assert_eq!(per_second("10/s"), Ok(10.0));
        assert_eq!(per_second("30/min"), Ok(0.5));
        assert_eq!(per_second("3600/h"), Ok(1.0));
    }

    #[test]
    fn refuses_negative_and_unknown() {
        for text in ["", "-1", "10/fortnight", "NaN", "inf", "80%"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
