//! What `highwater load` prints: hey's blocks, and what hey doesn't tell.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::analysis::{Findings, Traffic, Verdict};
use crate::clock::Moment;
use crate::event::{Counts, ErrorKind, Event, GeneratorReport, Histogram, What};
use crate::units::{Bytes, Human};

/// Bars of the histogram, and how wide they are at most.
const BARS: u32 = 10;
const BAR_WIDTH: u64 = 40;
const PERCENTILES: [f64; 7] = [10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0];

/// What was counted while traffic was sent.
#[derive(Debug, Default)]
pub(super) struct Account {
    begins: Option<Moment>,
    last: Moment,
    counts: Counts,
    status: BTreeMap<u16, u64>,
    errors: BTreeMap<ErrorKind, u64>,
    duration_us: Histogram,
    latency_us: Histogram,
    lateness_us: Histogram,
    generator: Option<GeneratorReport>,
}

impl Account {
    /// Takes in an event.
    pub(super) fn take(&mut self, event: &Event) {
        match &event.what {
            What::PhaseBegin { .. } => self.begins = Some(event.at),
            What::Drained => self.last = event.at,
            What::GeneratorDone(report) => self.generator = Some(*report),
            What::Traffic(window) => {
                self.counts.add(&window.counts);
                for (status, count) in &window.status {
                    *self.status.entry(*status).or_default() += count;
                }
                for (kind, count) in &window.errors {
                    *self.errors.entry(*kind).or_default() += count;
                }
                self.duration_us.add(&window.duration_us);
                self.latency_us.add(&window.latency_us);
                self.lateness_us.add(&window.lateness_us);
            }
            _ => {}
        }
    }

    /// The whole result, 80 columns wide.
    pub(super) fn text(&self, findings: &Findings) -> String {
        let mut text = String::new();
        // Writing to a string never fails.
        let _ = self.summary(&mut text);
        if self.duration_us.count() > 0 {
            let _ = self.histogram(&mut text);
            let _ = self.percentiles(&mut text);
        }
        let _ = self.tables(&mut text);
        let _ = self.requests(&mut text);
        let _ = judgement(&mut text, findings);
        text
    }

    fn seconds(&self) -> f64 {
        self.begins.map_or(0.0, |begins| self.last.since(begins).as_secs_f64())
    }

    fn summary(&self, text: &mut String) -> std::fmt::Result {
        let times = &self.duration_us;
        let ended = float(self.counts.ended);
        writeln!(text, "Summary:")?;
        writeln!(text, "  Total:        {}", seconds(Some(self.seconds() * 1e6)))?;
        for (name, us) in [("Slowest", times.max()), ("Fastest", times.min())] {
            writeln!(text, "  {:<13} {}", format!("{name}:"), seconds(us.map(float)))?;
        }
        writeln!(text, "  Average:      {}", seconds(times.mean()))?;
        let rate = if self.seconds() > 0.0 { ended / self.seconds() } else { 0.0 };
        writeln!(text, "  Requests/sec: {rate:.4}")?;
        writeln!(text)?;
        writeln!(text, "  Total data:   {} received", Bytes::new(self.counts.bytes_received))?;
        if let Some(each) = self.counts.bytes_received.checked_div(self.counts.ended) {
            writeln!(text, "  Size/request: {}, heads included", Bytes::new(each))?;
        }
        Ok(())
    }

    /// Ten bars of the same width in time, as hey draws them.
    fn histogram(&self, text: &mut String) -> std::fmt::Result {
        let (Some(min), Some(max)) = (self.duration_us.min(), self.duration_us.max()) else {
            return Ok(());
        };
        let width = (max.saturating_sub(min) / u64::from(BARS)).max(1);
        let mut bars = [0_u64; BARS as usize];
        for (us, count) in self.duration_us.counts() {
            let bar = us.saturating_sub(min) / width;
            let bar = usize::try_from(bar).unwrap_or(usize::MAX).min(bars.len() - 1);
            bars[bar] += count;
        }
        let most = bars.iter().copied().max().unwrap_or(0).max(1);
        writeln!(text, "\nResponse time histogram:")?;
        for (number, count) in (1..).zip(bars) {
            let upper = if number == u64::from(BARS) { max } else { min + width * number };
            let bar = "■".repeat(usize::try_from(count * BAR_WIDTH / most).unwrap_or(0));
            let line = format!("  {:>8} [{count}]", seconds(Some(float(upper))));
            writeln!(text, "{line:<21} |{bar}")?;
        }
        Ok(())
    }

    fn percentiles(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\nLatency distribution:")?;
        for percent in PERCENTILES {
            let us = self.duration_us.percentile(percent).map(float);
            writeln!(text, "  {percent:.0} % in {}", seconds(us))?;
        }
        Ok(())
    }

    fn tables(&self, text: &mut String) -> std::fmt::Result {
        if !self.status.is_empty() {
            writeln!(text, "\nStatus code distribution:")?;
            for (status, count) in &self.status {
                writeln!(text, "  [{status}] {count} responses")?;
            }
        }
        if !self.errors.is_empty() {
            writeln!(text, "\nError distribution:")?;
            for (kind, count) in &self.errors {
                writeln!(text, "  [{count}] {}", kind.words())?;
            }
        }
        Ok(())
    }

    /// What was to be sent and what was, and when.
    fn requests(&self, text: &mut String) -> std::fmt::Result {
        let counts = &self.counts;
        writeln!(text, "\nRequests:")?;
        writeln!(
            text,
            "  {} due, {} sent, {} ended, {} failed, {} unsent",
            counts.due, counts.sent, counts.ended, counts.failed, counts.unsent
        )?;
        if self.lateness_us.count() > 0 {
            let at = |of: &Histogram, percent| seconds(of.percentile(percent).map(float));
            writeln!(
                text,
                "  from due to the last byte: p50 {}, p99 {}",
                at(&self.latency_us, 50.0),
                at(&self.latency_us, 99.0)
            )?;
            writeln!(
                text,
                "  sent after due: p50 {}, p99 {}, {} later than {} ms",
                at(&self.lateness_us, 50.0),
                at(&self.lateness_us, 99.0),
                self.lateness_us.count_above(Traffic::LATE_US),
                Traffic::LATE_US / 1000
            )?;
        }
        if let Some(generator) = &self.generator
            && generator.wall_ns > 0
        {
            let percent = 100.0 * float(generator.cpu_ns) / float(generator.wall_ns);
            writeln!(text, "  generator: {percent:.0} % of a core, {} threads", generator.workers)?;
        }
        Ok(())
    }
}

/// Why the result is not simply good, where it is not.
fn judgement(text: &mut String, findings: &Findings) -> std::fmt::Result {
    for row in &findings.thresholds {
        let said = match row.pass {
            Some(true) => "ok",
            Some(false) => "BROKEN",
            None => "not measured",
        };
        writeln!(text, "\nThreshold {} {}: {said}", row.metric, row.rule)?;
    }
    if findings.verdict != Verdict::Pass {
        writeln!(text)?;
        for reason in &findings.reasons {
            writeln!(text, "{}", reason.text)?;
        }
    }
    Ok(())
}

/// Microseconds in a unit that leaves something to see: most services here answer in less than the
/// tenth of a millisecond that hey stops at.
fn seconds(us: Option<f64>) -> String {
    us.map_or_else(|| "–".to_owned(), |us| Human(Duration::from_secs_f64(us / 1e6)).to_string())
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
const fn float(number: u64) -> f64 {
    number as f64
}
