//! Times as logs write them, read as durations since 1970 in UTC.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// How `[…]` in the common log format writes times; a fraction may follow the seconds.
const COMMON: &str = "%d/%b/%Y:%H:%M:%S%.f %z";

/// The longest text that is tried, in bytes.
const TEXT_BYTES_MAX: usize = 64;

/// Reads a time in any known way of writing: RFC 3339 (without an offset: UTC), the common log
/// format's, or a number ([`unix`]). None: it is none of these, or before 1970.
pub(super) fn any(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        return None;
    }
    unix(text).or_else(|| common(text)).or_else(|| rfc3339(text))
}

/// Reads `10/Oct/2000:13:55:36 -0700`.
pub(super) fn common(text: &str) -> Option<Duration> {
    since_1970(strtime::parse(COMMON, text).ok()?.to_timestamp().ok()?)
}

/// Reads `2000-10-10T13:55:36.123-07:00`.
fn rfc3339(text: &str) -> Option<Duration> {
    let in_utc = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    let at = text.parse::<Timestamp>().ok().or_else(|| in_utc().map(|zoned| zoned.timestamp()))?;
    since_1970(at)
}

fn since_1970(at: Timestamp) -> Option<Duration> {
    Duration::try_from(at.as_duration()).ok()
}

/// Reads a number of seconds, milliseconds, microseconds or nanoseconds since 1970, which a
/// fraction may follow. Its size tells the unit: each is taken where the time then lies between
/// 1973 and 5138, and small numbers are seconds.
pub(super) fn unix(text: &str) -> Option<Duration> {
    if text.contains(['e', 'E']) {
        let number: f64 = text.parse().ok().filter(|number| (0.0..1e19).contains(number))?;
        return unix(&number.to_string());
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let unit_nanos: u64 = match whole {
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    let billionths: u64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let nanos =
        whole.checked_mul(unit_nanos)?.checked_add(billionths * unit_nanos / 1_000_000_000)?;
    Some(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_in_every_writing() {
        let moment = Duration::from_millis(971_211_336_500);
        for text in [
            "2000-10-10T13:55:36.5-07:00",
            "2000-10-10T20:55:36.5Z",
            "2000-10-10 20:55:36.5",
            "2000-10-10 20:55:36,5",
            "10/Oct/2000:13:55:36.5 -0700",
            "971211336.5",
            "971211336500",
            "971211336500000",
            "971211336500000000",
            "9.712113365e8",
            " 971211336500.0 ",
        ] {
            assert_eq!(any(text), Some(moment), "{text}");
        }
    }

    #[test]
    fn what_is_no_time() {
        for text in ["", "-", ".5", "-5", "12ms", "1e40", "nan", "10/Foo/2000:13:55:36 -0700"] {
            assert_eq!(any(text), None, "{text}");
        }
        assert_eq!(any("1969-12-31T23:59:59Z"), None);
        assert_eq!(any(&"9".repeat(30)), None);
    }
}
