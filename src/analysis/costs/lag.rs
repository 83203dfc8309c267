//! Requests are in flight for longer than they hold memory: they travel, wait for a CPU, and are
//! read. How much longer shows in how memory peaks.
//!
//! The regression of means gives the memory that a request holds, averaged over its whole time in
//! flight. Where many come at once, the peak of a window rises with the most in flight by what each
//! really holds. The quotient of both is the share of the time in which it is held; what is left of
//! a request's time is its lag. Steps share a client and a target, so their lags are alike: each
//! step's own is drawn towards that of all, the more the less is known of it.

use super::blocks::{Sums, Top};
use super::count;

/// The step in question makes up this share of what a window's peak is made of.
const DOMINANT: f64 = 0.6;
/// Windows from which a lag of one step's own is estimated.
const LEAST_WINDOWS: usize = 8;
/// Groups of windows that are left out in turn.
const GROUPS: usize = 12;
/// By how much the lags of steps differ, in seconds.
const SPREAD: f64 = 0.003;
/// What can't be known of a lag in windows of ticks, in seconds.
const GRAIN: f64 = 0.001;
/// A lag is at most this share of the time in flight: what holds memory for a shorter time yet is
/// beyond this method.
const MOST: f64 = 0.6;

/// How much longer requests of a step are in flight than they hold memory, on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lag {
    /// By what the cost of the means is to be multiplied.
    pub(super) factor: f64,
    /// The deviation of that, as a share of it.
    pub(super) deviation: f64,
}

/// A lag and its deviation, in seconds.
#[derive(Debug, Clone, Copy)]
struct Seconds {
    value: f64,
    deviation: f64,
}

/// Each step's lag, given the costs of the means.
pub(super) fn lags(sums: &Sums, costs: &[f64]) -> Vec<Lag> {
    let floors = sums.floors(costs);
    let own: Vec<Option<Seconds>> =
        (0..costs.len()).map(|step| of_step(sums, costs, &floors, step)).collect();
    let pooled = pooled(own.iter().flatten());
    (0..costs.len())
        .map(|step| {
            let lag = drawn(own[step], pooled);
            let length = sums.duration(step).filter(|length| *length > 0.0);
            match (lag, length) {
                (Some(lag), Some(length)) => {
                    let value = lag.value.clamp(0.0, MOST * length);
                    let held = length - value;
                    Lag { factor: length / held, deviation: lag.deviation / held }
                }
                _ => Lag { factor: 1.0, deviation: 0.0 },
            }
        })
        .collect()
}

/// What windows that one step dominates say of its lag.
fn of_step(sums: &Sums, costs: &[f64], floors: &[f64], step: usize) -> Option<Seconds> {
    let points: Vec<(f64, f64)> =
        sums.tops.iter().filter_map(|top| point(sums, top, costs, floors, step)).collect();
    let groups = GROUPS.min(points.len() / 2);
    if points.len() < LEAST_WINDOWS {
        return None;
    }
    let ratio = slope(points.iter().copied())?;
    let without: Option<Vec<f64>> = (0..groups)
        .map(|group| {
            let of = |index: usize| index * groups / points.len();
            let kept = points.iter().enumerate().filter(|(index, _)| of(*index) != group);
            slope(kept.map(|(_, point)| *point))
        })
        .collect();
    let n = count(groups);
    let squares: f64 = without?.iter().map(|other| (other - ratio).powi(2)).sum();
    let deviation = ((n - 1.0) / n * squares).sqrt();
    let length = sums.duration(step)?;
    // No peak is lower than the mean; where it seems so, that is chance.
    let ratio = ratio.max(0.5);
    Some(Seconds {
        value: length * (1.0 - 1.0 / ratio),
        deviation: length * deviation / (ratio * ratio),
    })
}

/// A window that the step dominates: what its most in flight would hold by the means, and what the
/// peak held beside the floor and the other steps' means.
fn point(sums: &Sums, top: &Top, costs: &[f64], floors: &[f64], step: usize) -> Option<(f64, f64)> {
    let own = costs[step] * top.most.get(step)?;
    let all: f64 = top.most.iter().zip(costs).map(|(most, cost)| most * cost).sum();
    if own <= 0.0 || own < DOMINANT * all {
        return None;
    }
    let floor = floors[sums.nearest(top)?];
    let of = |(index, mean): (usize, &f64)| if index == step { 0.0 } else { mean * costs[index] };
    let others: f64 = top.means.iter().enumerate().map(of).sum();
    Some((own, top.bytes - floor - others))
}

/// The slope of the line of least squares; none where all have one x.
fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> Option<f64> {
    let n = count(points.clone().count());
    let (x, y) = points.clone().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (x, y) = (x / n, y / n);
    let (square, product) = points.fold((0.0, 0.0), |(square, product), point| {
        (square + (point.0 - x).powi(2), product + (point.0 - x) * (point.1 - y))
    });
    (square > 0.0).then(|| product / square)
}

/// The lag of all steps together, each by how well it is known.
fn pooled<'a>(lags: impl Iterator<Item = &'a Seconds>) -> Option<f64> {
    let weight = |lag: &Seconds| 1.0 / (lag.deviation.powi(2) + (2.0 * GRAIN).powi(2));
    let (sum, weights) = lags.fold((0.0, 0.0), |(sum, weights), lag| {
        (sum + weight(lag) * lag.value, weights + weight(lag))
    });
    (weights > 0.0).then(|| (sum / weights).max(0.0))
}

/// A step's own lag, drawn towards that of all.
fn drawn(own: Option<Seconds>, pooled: Option<f64>) -> Option<Seconds> {
    let pooled = pooled?;
    let known = own.map_or(0.0, |own| 1.0 / (own.deviation.powi(2) + GRAIN.powi(2)));
    let (value, common) = (own.map_or(0.0, |own| own.value), 1.0 / SPREAD.powi(2));
    let weights = known + common;
    Some(Seconds {
        value: (known * value + common * pooled) / weights,
        deviation: (1.0 / weights).sqrt(),
    })
}
