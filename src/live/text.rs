//! Words for a terminal: nothing that a target or a scenario says can move its cursor.

use std::time::Duration;

use crate::units::is_harmful;

/// Characters of a line that are kept.
const MOST: usize = 400;

/// A text on one line, without control characters or marks that hide or turn text.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter(|c| !is_harmful(*c)).take(MOST).collect()
}

/// A time as on a clock: `02:05`, `1:02:05`.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes:02}:{seconds:02}")
    }
}

/// Microseconds in a few characters.
pub(super) fn short_time(us: u64) -> String {
    let ms = Duration::from_micros(us).as_secs_f64() * 1e3;
    match us {
        0..1000 => format!("{us} µs"),
        1000..10_000 => format!("{ms:.1} ms"),
        10_000..10_000_000 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor_or_hides() {
        assert_eq!(clean("a\u{1b}[2J\u{9b}31mb\r\n\tc\u{202e}d\u{7}"), "a[2J31mbcd");
        assert_eq!(clean(&"x".repeat(5000)).len(), MOST);
    }

    #[test]
    fn times_are_short() {
        assert_eq!(clock(Duration::from_secs(3725)), "1:02:05");
        assert_eq!(short_time(400), "400 µs");
        assert_eq!(short_time(4210), "4.2 ms");
        assert_eq!(short_time(421_000), "421 ms");
        assert_eq!(short_time(42_100_000), "42.1 s");
    }
}
