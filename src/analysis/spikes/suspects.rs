//! Which step a spike is likely to come from.
//!
//! A step counts by how much more of it there was than is usual in windows of equal load. Where it
//! is known what one of its requests holds, that much more explains so many bytes of the rise;
//! a step of unknown cost gets that share of what the known ones leave unexplained which its excess
//! has in how unlikely all of them are. Many cheap requests that are always there explain little, a few heavy ones much.

use std::collections::BTreeMap;

use super::model::Suspect;
use super::usual::{Levels, Usual};
use crate::analysis::costs::Estimate;
use crate::plan::Outline;
use crate::units::Bytes;

/// What counts as nothing beside requests, and beside bytes, where levels are set against usual
/// ones.
const HALF_A_REQUEST: f64 = 0.5;
const FEW_BYTES: f64 = 4096.0;

/// One step around a spike.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    pub(super) step: u16,
    /// The greatest levels of a window.
    pub(super) levels: Levels,
}

/// One step in question.
struct Candidate {
    around: Around,
    lift: Option<f64>,
    /// Bytes of the rise that its excess explains, where its cost is known.
    explains: Option<f64>,
    /// How unlikely the excess is.
    weight: f64,
}

/// The steps around a spike, the likeliest cause first.
pub(super) fn suspects(
    rows: &[Around],
    (rise, load): (Bytes, u64),
    usual: &Usual,
    costs: &BTreeMap<u16, Estimate>,
    outline: &Outline,
) -> Vec<Suspect> {
    let usual = usual.at(load);
    let mut candidates: Vec<Candidate> = rows
        .iter()
        .filter(|row| row.levels.in_flight > 0.0)
        .map(|row| {
            let mean = usual.map(|usual| usual.mean(row.step));
            let excess = (row.levels.in_flight - mean.map_or(0.0, |mean| mean.in_flight)).max(0.0);
            let expected = mean.map_or(0.0, |mean| mean.in_flight) + HALF_A_REQUEST;
            Candidate {
                around: *row,
                lift: mean.map(|mean| lift(&row.levels, &mean)),
                explains: costs.get(&row.step).map(|cost| cost.value * excess),
                weight: excess / expected.sqrt(),
            }
        })
        .collect();
    let known: f64 = candidates.iter().filter_map(|row| row.explains).sum();
    let left = (rise.as_f64() - known).max(0.0);
    let weights: f64 = candidates.iter().map(|row| row.weight).sum();
    let score = |row: &Candidate| {
        let guess = if weights > 0.0 { left * row.weight / weights } else { 0.0 };
        row.explains.unwrap_or(guess)
    };
    candidates.sort_by(|a, b| {
        let by_weight = b.weight.total_cmp(&a.weight);
        score(b).total_cmp(&score(a)).then(by_weight)
    });
    let total: f64 = candidates.iter().map(|row| row.around.levels.in_flight).sum();
    candidates.iter().filter_map(|row| suspect(row, total, outline)).collect()
}

fn suspect(row: &Candidate, total: f64, outline: &Outline) -> Option<Suspect> {
    let step = outline.steps.get(usize::from(row.around.step))?;
    let levels = &row.around.levels;
    Some(Suspect {
        scenario: step.scenario.clone(),
        step: step.step.clone(),
        share: levels.in_flight / total,
        lift: row.lift,
        in_flight: whole(levels.in_flight),
        starts: whole(levels.starts),
        body_bytes_sent: Bytes::new(whole(levels.sent)),
        bytes_received: Bytes::new(whole(levels.received)),
        explains: row.explains.map(|bytes| Bytes::new(whole(bytes))),
    })
}

/// How many times as much as usual there was, of what was most unusual.
fn lift(now: &Levels, usual: &Levels) -> f64 {
    let ratio = |now: f64, usual: f64, few: f64| (now + few) / (usual + few);
    [
        ratio(now.in_flight, usual.in_flight, HALF_A_REQUEST),
        ratio(now.starts, usual.starts, HALF_A_REQUEST),
        ratio(now.sent, usual.sent, FEW_BYTES),
        ratio(now.received, usual.received, FEW_BYTES),
    ]
    .into_iter()
    .fold(0.0, f64::max)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at 0")]
const fn whole(value: f64) -> u64 {
    value as u64
}
