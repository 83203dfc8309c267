//! What others' published rules would have recommended from the same run.
//!
//! Both rules read the working set at a fixed interval: here the last reading of every window at
//! that distance, from every possible first one on, so that chance plays no part.
//!
//! - VPA (kubernetes/autoscaler, recommender): the greatest sample of a day goes into a histogram
//!   whose first bucket is 10 MB wide and each further one 5 % wider; the target is the end of the
//!   bucket of the 90th percentile (with one day: of that sample) plus 15 %, at least 250 MiB.
//! - krr (robusta-dev/krr, `simple`): the greatest sample plus 15 %, at least 100 MB.
//!
//! A recommendation counts as killed where it is below what the run held and the kernel could not
//! have taken back (`unreclaimable_peak_low_bytes`), startup included.

use std::path::Path;

use highwater::event::{LifeRole, What};
use highwater::record::{Recording, RunDirectory};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cases::float;

/// Time between two samples, in seconds.
const INTERVALS_S: [usize; 2] = [15, 60];
const VPA_FIRST_BUCKET: f64 = 1e7;
const VPA_GROWTH: f64 = 1.05;
const VPA_FLOOR: f64 = 250.0 * 1024.0 * 1024.0;
const KRR_FLOOR: f64 = 1e8;
const MARGIN: f64 = 1.15;

/// How one rule fared over all first samples.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fared {
    pub(crate) rule: String,
    /// The share of first samples after which its recommendation would have been killed.
    pub(crate) killed: f64,
    /// The mean recommendation over what was needed.
    pub(crate) provision: f64,
}

/// Recommends by each rule from the recording in `directory`, and by the run's own estimate.
pub(crate) fn compare(directory: &Path, run: &Value) -> Vec<Fared> {
    let levels = working_set(directory).unwrap_or_default();
    let startup = run["startup"]["trials"].as_array().into_iter().flatten();
    let startup = startup.filter_map(|trial| trial["rss_peak_bytes"].as_f64());
    let held = run["memory"]["unreclaimable_peak_low_bytes"].as_f64().unwrap_or(0.0);
    let needed = startup.fold(held, f64::max);
    let mut rows = Vec::new();
    for interval in INTERVALS_S {
        let step = interval * 10;
        let greatest: Vec<f64> = (0..step.min(levels.len()))
            .map(|first| levels[first..].iter().step_by(step).copied().fold(0.0, f64::max))
            .collect();
        let mut add = |rule: &str, recommend: &dyn Fn(f64) -> f64| {
            let limits: Vec<f64> = greatest.iter().map(|level| recommend(*level)).collect();
            rows.push(fared(format!("{rule}, {interval} s"), &limits, needed));
        };
        add("VPA", &|level| vpa(level).max(VPA_FLOOR));
        add("VPA without its floor", &vpa);
        add("krr", &|level| (level * MARGIN).max(KRR_FLOOR));
        add("krr without its floor", &|level| level * MARGIN);
    }
    if let Some(own) = run["sizing"]["recommended_limit_bytes"].as_f64() {
        rows.push(fared("highwater's estimate".to_owned(), &[own], needed));
    }
    rows
}

fn fared(rule: String, limits: &[f64], needed: f64) -> Fared {
    let count = float(limits.len().max(1) as u64);
    let killed = limits.iter().filter(|limit| **limit < needed).count();
    let provision = limits.iter().map(|limit| limit / needed.max(1.0)).sum::<f64>() / count;
    Fared { rule, killed: float(killed as u64) / count, provision }
}

/// The end of the histogram bucket that a sample falls into, plus the margin.
fn vpa(level: f64) -> f64 {
    let (mut end, mut width) = (VPA_FIRST_BUCKET, VPA_FIRST_BUCKET);
    while end <= level {
        width *= VPA_GROWTH;
        end += width;
    }
    end * MARGIN
}

/// The working set at the end of each window of the main lives, in bytes.
fn working_set(directory: &Path) -> Result<Vec<f64>, highwater::record::Error> {
    let recording = Recording::open(&RunDirectory::open(directory)?)?;
    let mut mains = Vec::new();
    let mut levels = Vec::new();
    for event in recording.events() {
        match &event?.what {
            What::Life(start) if start.role == LifeRole::Main => mains.push(start.life),
            What::Memory(window) if mains.contains(&window.life) => {
                levels.push(float(window.working_set.last.get()));
            }
            _ => {}
        }
    }
    Ok(levels)
}
