//! From values to places on a picture, and the round values that are named beside it.

use std::time::Duration;

use crate::clock::Moment;
use crate::units::Bytes;

/// Times along a picture's width.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeScale {
    start: f64,
    seconds: f64,
    left: f64,
    width: f64,
}

/// Steps between named times, in seconds.
const TIME_STEPS: [u64; 18] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400];

impl TimeScale {
    pub(super) fn new(start: Moment, end: Moment, left: f64, right: f64) -> Self {
        Self {
            start: start.as_secs_f64(),
            seconds: end.since(start).as_secs_f64().max(0.1),
            left,
            width: right - left,
        }
    }

    pub(super) fn x(&self, at: Moment) -> f64 {
        self.place(at.as_secs_f64())
    }

    fn place(&self, seconds: f64) -> f64 {
        let share = (seconds - self.start) / self.seconds;
        self.left + share.clamp(0.0, 1.0) * self.width
    }

    /// Round times of the run, and their places.
    pub(super) fn ticks(&self, most: f64) -> Vec<(Duration, f64)> {
        let fits = |step: &&u64| self.seconds / Duration::from_secs(**step).as_secs_f64() <= most;
        let step = *TIME_STEPS.iter().find(fits).unwrap_or(&86_400);
        let first = Duration::try_from_secs_f64(self.start).unwrap_or_default();
        let whole = first.as_secs() + u64::from(first.subsec_nanos() > 0);
        let mut at = whole.div_ceil(step) * step;
        let mut ticks = Vec::new();
        loop {
            let time = Duration::from_secs(at);
            // Days beyond what a picture can name.
            if time.as_secs_f64() > self.start + self.seconds || ticks.len() > 100 {
                return ticks;
            }
            ticks.push((time, self.place(time.as_secs_f64())));
            at += step;
        }
    }
}

/// Values along a panel's height.
#[derive(Debug, Clone)]
pub(super) struct ValueScale {
    low: f64,
    high: f64,
    log: bool,
    top: f64,
    bottom: f64,
    ticks: Vec<(f64, String)>,
}

impl ValueScale {
    /// Sizes, from zero.
    pub(super) fn sizes(most: Bytes, top: f64, bottom: f64) -> Self {
        let high = most.get().max(1 << 20);
        let mut step = 1_u64 << 16;
        while high / step > 5 {
            step *= 2;
        }
        let ticks = (0..=high / step).map(|n| {
            let size = Bytes::new(n * step);
            let name = if n == 0 { "0".to_owned() } else { size.to_string() };
            (size.as_f64(), name)
        });
        Self {
            low: 0.0,
            high: Bytes::new(high).as_f64(),
            log: false,
            top,
            bottom,
            ticks: ticks.collect(),
        }
    }

    /// Plain numbers, from zero.
    pub(super) fn numbers(most: f64, top: f64, bottom: f64) -> Self {
        let high = if most > 0.0 { most } else { 1.0 };
        let rough = high / 3.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * power)
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(high);
        let ticks = (0..=4_u32)
            .map(|n| f64::from(n) * step)
            .filter(|value| *value <= high * 1.001)
            .map(|value| (value, number(value)));
        Self { low: 0.0, high, log: false, top, bottom, ticks: ticks.collect() }
    }

    /// Milliseconds: by powers of ten where they spread wide, else from zero.
    pub(super) fn times(least: f64, most: f64, top: f64, bottom: f64) -> Self {
        let most = most.max(0.01);
        if most / least.max(1e-3) < 30.0 {
            let mut scale = Self::numbers(most * 1.08, top, bottom);
            for tick in &mut scale.ticks {
                tick.1 = time(tick.0);
            }
            return scale;
        }
        let low = 10_f64.powf(least.max(1e-3).log10().floor());
        let high = most * 1.3;
        let mut ticks = Vec::new();
        let mut value = low;
        while value <= high && ticks.len() < 12 {
            ticks.push((value, time(value)));
            value *= 10.0;
        }
        Self { low, high, log: true, top, bottom, ticks }
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.bottom - share.clamp(0.0, 1.0) * (self.bottom - self.top)
    }

    pub(super) const fn is_log(&self) -> bool {
        self.log
    }

    pub(super) fn ticks(&self) -> impl Iterator<Item = (f64, &str)> {
        self.ticks.iter().map(|(value, name)| (self.y(*value), name.as_str()))
    }
}

fn number(value: f64) -> String {
    if value >= 1e6 {
        format!("{}M", trimmed(value / 1e6))
    } else if value >= 1e4 {
        format!("{}k", trimmed(value / 1e3))
    } else {
        trimmed(value)
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Milliseconds with the unit a person would choose.
fn time(ms: f64) -> String {
    if ms <= 0.0 {
        "0".to_owned()
    } else if ms >= 1e3 {
        format!("{} s", trimmed(ms / 1e3))
    } else if ms >= 1.0 {
        format!("{} ms", trimmed(ms))
    } else {
        format!("{} µs", trimmed(ms * 1e3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_values_are_named() {
        let names = |scale: &ValueScale| {
            let ticks = scale.ticks().map(|row| row.1.to_owned());
            ticks.collect::<Vec<_>>().join(" ")
        };
        let sizes = ValueScale::sizes(Bytes::from_mib(270), 0.0, 100.0);
        assert_eq!(names(&sizes), "0 64 MiB 128 MiB 192 MiB 256 MiB");
        let numbers = ValueScale::numbers(1000.0, 0.0, 100.0);
        assert_eq!(names(&numbers), "0 500 1000");
        let times = ValueScale::times(0.5, 2000.0, 0.0, 100.0);
        assert_eq!(names(&times), "100 µs 1 ms 10 ms 100 ms 1 s");
        assert!((times.y(0.1) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn round_times_are_of_the_run() {
        let (start, end) = (Moment::from_millis(12_300), Moment::from_millis(72_300));
        let scale = TimeScale::new(start, end, 0.0, 600.0);
        let ticks = scale.ticks(5.0);
        let seconds: Vec<u64> = ticks.iter().map(|row| row.0.as_secs()).collect();
        assert_eq!(seconds, [15, 30, 45, 60]);
        assert!((ticks[0].1 - 27.0).abs() < 1e-6);
        let late = TimeScale::new(Moment::from_millis(980), end, 0.0, 600.0);
        assert_eq!(late.ticks(100.0)[0].0.as_secs(), 1, "no time before the start");
    }
}
