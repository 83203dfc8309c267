//! Startup in words, for the terminal and for Markdown.

use std::fmt::Write;

use super::text;
use crate::analysis::{Spread, Startup};
use crate::event::TrialsEnd;
use crate::units::Bytes;

/// A spread below this share of the middle goes without saying.
const NARROW: f64 = 0.1;

/// How many trials there were, and why no more.
pub(super) fn trials(startup: &Startup) -> String {
    let count = startup.trials.iter().filter(|trial| !trial.unlimited).count();
    let planned = startup.planned.and_then(|planned| usize::try_from(planned).ok());
    let planned = planned.filter(|planned| *planned > count);
    match (count, planned, startup.end) {
        (_, Some(planned), Some(TrialsEnd::Steady)) => {
            format!("{count} trials alike (of up to {planned})")
        }
        (_, Some(planned), _) => format!("{count} of {planned} trials"),
        (1, None, _) => "1 trial".to_owned(),
        (count, None, _) => format!("{count} trials"),
    }
}

/// The median time to ready, and its spread where that says something.
pub(super) fn ready(spread: Spread) -> String {
    let mut words = format!("ready in {}", text::millis(spread.median));
    if spread.count > 1 && spread.width() > NARROW * spread.median {
        let (min, max) = (text::millis(spread.min), text::millis(spread.max));
        words = format!("{words} ({min} to {max})");
    }
    words
}

/// What startup needs against what the service needs once settled, against the limit, and against
/// the rest of the run; none where no peak is known.
pub(super) fn needs(startup: &Startup) -> Option<String> {
    let peak = startup.unreclaimable_peak?;
    let mut words = format!("{peak} while starting");
    // Writing to a string never fails.
    if let (Some(ratio), Some(settled)) = (startup.ratio, startup.spread.settled) {
        let settled = level(settled.median);
        let _ = write!(words, ", {settled} after it ({ratio:.1} ×)");
    }
    if let Some(percent) = startup.limit_percent {
        let _ = write!(words, ", {} of the limit", text::percent(percent));
    }
    if let (Some(run), Some(over)) = (startup.run_peak, startup.over_run()) {
        let than = if over >= 1.0 { "more" } else { "less" };
        let _ = write!(words, ", {than} than the run's own peak of {run}");
    }
    if let Some(spread) = startup.spread.unreclaimable_peak
        && spread.count > 1
        && spread.width() > NARROW * spread.median
    {
        let (min, max) = (level(spread.min), level(spread.max));
        let _ = write!(words, "; trials peak from {min} to {max}");
    }
    Some(words)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at 0")]
fn level(bytes: f64) -> Bytes {
    Bytes::new(bytes.round() as u64)
}
