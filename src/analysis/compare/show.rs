//! Values and changes as people read them.

use super::{Comparison, MetricKind, Row, Unit};
use crate::units::Bytes;

/// A value in words, with its unit.
#[must_use]
pub fn show(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Bytes => size(value),
        Unit::BytesPerHour => format!("{}/h", size(value)),
        Unit::Milliseconds => time(value),
        Unit::Percent => format!("{value:.2} %"),
        Unit::PerSecond => format!("{}/s", short(value)),
        Unit::Cores => format!("{value:.2}"),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float-to-int cast saturates, and the sign is printed apart"
)]
fn size(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", Bytes::new(value.abs().round() as u64))
}

fn time(ms: f64) -> String {
    match ms.abs() {
        abs if abs < 1.0 => format!("{:.0} µs", ms * 1e3),
        abs if abs < 10.0 => format!("{ms:.1} ms"),
        abs if abs < 10_000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1e3),
    }
}

fn short(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

impl Row {
    /// The change in words: in percent where that means something.
    #[must_use]
    pub fn change_words(&self) -> String {
        match self.percent() {
            _ if self.id.kind.in_points() => format!("{:+.2} points", self.change),
            Some(percent) if percent.abs() < 1000.0 => format!("{percent:+.1} %"),
            Some(percent) => format!("{:+.0} x", percent / 100.0),
            None => {
                let sign = if self.change > 0.0 { "+" } else { "" };
                format!("{sign}{}", show(self.id.kind.unit(), self.change))
            }
        }
    }

    /// From which change on it matters, in words.
    #[must_use]
    pub fn limit_words(&self) -> String {
        match (self.id.kind.in_points(), self.base > 0.0) {
            (true, _) => format!("{:.2} points", self.limit),
            (_, true) if self.limit < 10.0 * self.base => {
                let percent = format!("{:.1}", 100.0 * self.limit / self.base);
                format!("{} %", percent.strip_suffix(".0").unwrap_or(&percent))
            }
            _ => show(self.id.kind.unit(), self.limit),
        }
    }
}

impl MetricKind {
    /// What it measures, in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Unreclaimable => "unreclaimable peak",
            Self::Peak => "charged peak",
            Self::Rss => "RSS peak",
            Self::StartupUnreclaimable => "unreclaimable peak in startup",
            Self::StartupPeak => "charged peak in startup",
            Self::StartupSettled => "memory settled after startup",
            Self::Ready => "time to ready",
            Self::Cost => "memory of a request in flight",
            Self::Growth => "growth by time",
            Self::GrowthPerRequest => "growth by request",
            Self::LatencyP50 => "latency, median",
            Self::LatencyP95 => "latency, p95",
            Self::LatencyP99 => "latency, p99",
            Self::Failed => "failed requests",
            Self::Throughput => "requests a second",
            Self::Cpu => "CPU, cores",
        }
    }
}

/// A regression since the baseline as a sentence, with its numbers.
#[must_use]
pub fn reason(row: &Row, comparison: &Comparison) -> String {
    let place = row.id.phase.as_ref().map_or_else(String::new, |phase| format!(" in {phase}"));
    let step = row.id.step.as_ref().map_or_else(String::new, |(_, step)| format!(" of {step}"));
    let unit = row.id.kind.unit();
    let since = row.since.as_deref().or(comparison.since.as_deref());
    let since =
        since.map_or_else(String::new, |at| format!(" since {}", at.get(..10).unwrap_or(at)));
    format!(
        "regression against the baseline: {}{step}{place} went from {} to {}, {}{since}; up to {} \
         is allowed",
        row.id.kind.words(),
        show(unit, row.base),
        show(unit, row.new),
        row.change_words(),
        row.limit_words(),
    )
}
