//! Durations as people write and read them.

use std::fmt;
use std::time::Duration;

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration: {}", way_out(.text))]
pub struct ParseDurationError {
    text: String,
}

/// What to write instead.
fn way_out(text: &str) -> String {
    let number = text.trim();
    let is_number = number.parse::<f64>().is_ok()
        && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_number {
        format!("it lacks a unit; write {number}s for seconds, {number}m for minutes")
    } else {
        "write a number and a unit, such as 30s, 1ms, 5m or 1h30m".to_owned()
    }
}

/// Parses `30s`, `1ms`, `250us`, `5m`, `1h30m` or `1.5s`.
///
/// # Errors
/// When the text is anything else, a bare number included.
pub fn parse_duration(text: &str) -> Result<Duration, ParseDurationError> {
    let trimmed = text.trim();
    humantime::parse_duration(trimmed)
        .ok()
        .or_else(|| parse_fraction(trimmed))
        .ok_or_else(|| ParseDurationError { text: text.to_owned() })
}

/// One number with a decimal point and one unit, which `humantime` leaves out.
fn parse_fraction(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let value: f64 = number.trim_end().parse().ok()?;
    Duration::try_from_secs_f64(value * seconds).ok()
}

/// Prints a duration in the unit a person would choose: `80 µs`, `3.5 ms`, `12.4 s`, `5m 30s`.
#[derive(Debug, Clone, Copy)]
pub struct Human(pub Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        let text = if self.0.is_zero() {
            "0 s".to_owned()
        } else if seconds < 1e-3 {
            format!("{:.0} µs", seconds * 1e6)
        } else if seconds < 1.0 {
            with_one_place(seconds * 1e3, "ms")
        } else if seconds < 120.0 {
            with_one_place(seconds, "s")
        } else {
            humantime::format_duration(Duration::from_secs(self.0.as_secs())).to_string()
        };
        f.pad(&text)
    }
}

fn with_one_place(value: f64, unit: &str) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    if rounded.fract() == 0.0 || rounded >= 100.0 {
        format!("{rounded:.0} {unit}")
    } else {
        format!("{rounded:.1} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_people_write() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(parse_duration("100us"), Ok(Duration::from_micros(100)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
    }

    #[test]
    fn refuses_bare_numbers_and_nonsense() {
        for text in ["", "10", "ten seconds", "-1s", "5 parsecs"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bare_number_is_told_its_unit() {
        assert!(parse_duration("5").unwrap_err().to_string().contains("write 5s"));
        assert!(parse_duration("abc").unwrap_err().to_string().contains("30s"));
    }

    #[test]
    fn prints_in_the_unit_a_person_would_choose() {
        let human = |nanos| Human(Duration::from_nanos(nanos)).to_string();
        assert_eq!(human(80_000), "80 µs");
        assert_eq!(human(3_500_000), "3.5 ms");
        assert_eq!(human(12_400_000_000), "12.4 s");
        assert_eq!(human(330_000_000_000), "5m 30s");
    }
}
