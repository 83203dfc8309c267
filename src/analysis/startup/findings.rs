//! What the startup trials come to, as reports show it.

use crate::clock::Moment;
use crate::event::TrialsEnd;
use crate::units::{Bytes, Limit};

/// Startup over its trials.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Startup {
    /// The trials, in order; a repetition without a limit follows the killed one.
    pub trials: Vec<Trial>,
    /// The most trials that were to be run; none in recordings of before it was kept.
    pub planned: Option<u32>,
    /// Why there were no more; none where that was not recorded, as in a run that was cut off.
    pub end: Option<TrialsEnd>,
    /// The highest charged peak of the trials under the limit.
    pub peak: Option<Bytes>,
    /// The highest settled level of the trials under the limit.
    pub settled: Option<Bytes>,
    /// The highest unreclaimable peak (upper bound) of those that were not killed.
    pub unreclaimable_peak: Option<Bytes>,
    /// The median over those trials of the unreclaimable peak over the settled level.
    pub ratio: Option<f64>,
    /// How those trials spread.
    pub spread: StartupSpread,
    /// The unreclaimable peak in percent of the limit.
    pub limit_percent: Option<f64>,
    /// The highest unreclaimable peak (upper bound) in the run's phases; none where none ran.
    pub run_peak: Option<Bytes>,
    /// Whether the first trial found less of its files in page cache than the later ones; none
    /// where that is not known.
    pub first_was_cold: Option<bool>,
}

impl Startup {
    /// The startup's peak over the run's own, both unreclaimable.
    #[must_use]
    pub fn over_run(&self) -> Option<f64> {
        let (startup, run) = (self.unreclaimable_peak?, self.run_peak?);
        (run > Bytes::ZERO).then(|| startup.as_f64() / run.as_f64())
    }
}

/// One startup in a fresh container.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Which trial, from 1.
    pub number: u32,
    /// Whether it is the repetition without a limit of a killed one.
    pub unlimited: bool,
    /// Its limit.
    pub limit: Limit,
    /// From the program's first sight (else the container's start) to ready, in milliseconds.
    pub ready_ms: Option<f64>,
    /// The charged peak after exec until settled.
    pub peak: Option<Bytes>,
    /// The greatest RSS.
    pub rss_peak: Option<Bytes>,
    /// The unreclaimable peak, upper bound.
    pub unreclaimable_peak: Option<Bytes>,
    /// When that was first reached: the end of its window.
    pub peak_at: Option<Moment>,
    /// Unreclaimable memory (lower bound) at the end of the time to settle.
    pub settled: Option<Bytes>,
    /// The charged peak before exec: the container runtime's own.
    pub before_exec: Option<Bytes>,
    /// Whether the kernel OOM-killed it.
    pub killed: bool,
    /// Page faults until ready that waited for a device.
    pub major_faults: Option<u64>,
    /// Page cache charged to it when it was ready: what it was the first to touch.
    pub cache: Option<Bytes>,
}

/// How trials spread, each over those in which it was measured; none where there was no such trial.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StartupSpread {
    /// The time to ready, in milliseconds.
    pub ready_ms: Option<Spread>,
    /// The charged peak, in bytes.
    pub peak: Option<Spread>,
    /// The unreclaimable peak, in bytes.
    pub unreclaimable_peak: Option<Spread>,
    /// The settled level, in bytes.
    pub settled: Option<Spread>,
}

/// The least, the middle and the greatest of a few values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// How many values.
    pub count: usize,
    /// The least.
    pub min: f64,
    /// The middle.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of some values; none of none.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let median = crate::analysis::growth::median(&sorted)?;
        Some(Self { count: sorted.len(), min, median, max })
    }

    /// From the least to the greatest.
    #[must_use]
    pub const fn width(&self) -> f64 {
        self.max - self.min
    }
}
