//! What requests leave behind: how the floor rises with the requests that ended.
//!
//! The floor of a stretch (its mean memory without what was in flight) is linear in the requests
//! of each step that had ended by then. A non-negative regression over the stretches, with a level
//! of its own for each life, tells what one of each leaves, and leaving out groups of neighbouring
//! stretches in turn tells how surely. Steps whose numbers rise together can't be told apart,
//! which is the rule where a mix never changes: then it is said which phase would help.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::blocks::Sums;
use super::fit::Fit;
use super::linear::{Matrix, inverse, non_negative, partner, solve};
use super::refuse::{ALWAYS_TOGETHER, SMALL, TOGETHER, WIDE, size};
use super::{Estimate, count};
use crate::analysis::growth::{Driver, Growth, GrowthClass};
use crate::analysis::model::StepName;
use crate::event::LifeId;

/// Groups of stretches that are left out in turn.
const GROUPS: usize = 12;
/// Fewer stretches say nothing of chance.
const LEAST_STRETCHES: usize = 6;

/// What a step leaves behind, or why that can't be told; neither where nothing is lost at all.
pub(super) type Left = Option<Result<Estimate, String>>;

/// Bytes left behind by one request of each step.
///
/// Only a leak is looked into, for what a cache keeps until it is full has no price a request.
pub(super) fn left(
    sums: &Sums,
    fit: Option<&Fit>,
    growth: Option<&Growth>,
    names: &dyn Fn(usize) -> Option<StepName>,
) -> Vec<Left> {
    let nothing = vec![None; sums.steps.len()];
    let (Some(fit), Some(growth)) = (fit, growth) else { return nothing };
    if growth.class != GrowthClass::Leak || growth.driver == Some(Driver::Time) {
        return nothing;
    }
    // One step alone: the growth says it already.
    if sums.steps.len() == 1 {
        let value = growth.bytes_per_request.zip(growth.bytes_per_request_ci95);
        return vec![value.map(|(value, (low, high))| {
            let (value, low, high) = (value.max(0.0), low.max(0.0), high.max(0.0));
            Ok(Estimate { value, low, high })
        })];
    }
    let points = points(sums, &fit.means);
    let Some(found) = Leaving::of(&points, sums.steps.len()) else {
        let why = "too few stretches of the run tell what is left behind: make it longer";
        return vec![Some(Err(why.to_owned())); sums.steps.len()];
    };
    (0..sums.steps.len()).map(|step| Some(found.judge(step, names))).collect()
}

/// A stretch: its floor, and the requests behind it.
#[derive(Debug, Clone)]
struct Point {
    life: LifeId,
    weight: f64,
    floor: f64,
    gone: Vec<f64>,
}

fn points(sums: &Sums, costs: &[f64]) -> Vec<Point> {
    let floors = sums.floors(costs);
    let point = |(block, floor): (&super::blocks::Block, f64)| {
        let mut gone = block.gone.clone();
        gone.resize(sums.steps.len(), 0.0);
        Point { life: block.life, weight: block.rows, floor, gone }
    };
    sums.blocks.iter().zip(floors).map(point).collect()
}

/// Products of the numbers of requests with one another and with the floors, each life's level
/// taken out.
fn normal(points: &[&Point], steps: usize) -> (Matrix, Vec<f64>) {
    let (mut gram, mut moment) = (Matrix::new(steps), vec![0.0; steps]);
    for life in points.chunk_by(|a, b| a.life == b.life) {
        let weights: f64 = life.iter().map(|point| point.weight).sum();
        let mean = |of: &dyn Fn(&Point) -> f64| {
            life.iter().map(|point| point.weight * of(point)).sum::<f64>() / weights
        };
        let floor = mean(&|point| point.floor);
        let gone: Vec<f64> = (0..steps).map(|step| mean(&|point| point.gone[step])).collect();
        for point in life {
            for i in 0..steps {
                let own = point.weight * (point.gone[i] - gone[i]);
                moment[i] += own * (point.floor - floor);
                for (j, other) in gone.iter().enumerate() {
                    gram.add(i, j, own * (point.gone[j] - other));
                }
            }
        }
    }
    (gram, moment)
}

/// What came of the regression.
#[derive(Debug)]
struct Leaving {
    gram: Matrix,
    inverse: Matrix,
    /// By step: not below zero, and as it comes.
    values: Vec<f64>,
    free: Vec<f64>,
    /// Half of the interval.
    around: Vec<f64>,
    /// How many requests of each step there were.
    gone: Vec<f64>,
}

impl Leaving {
    fn of(points: &[Point], steps: usize) -> Option<Self> {
        if points.len() < LEAST_STRETCHES.max(2 * steps) {
            return None;
        }
        let all: Vec<&Point> = points.iter().collect();
        let (gram, moment) = normal(&all, steps);
        let free = solve(&gram, &moment);
        let groups = GROUPS.min(points.len() / 2);
        let without: Vec<Vec<f64>> = (0..groups)
            .map(|group| {
                let others = points.iter().enumerate();
                let kept = others.filter(|(index, _)| index * groups / points.len() != group);
                let (gram, moment) = normal(&kept.map(|row| row.1).collect::<Vec<_>>(), steps);
                solve(&gram, &moment)
            })
            .collect();
        let n = count(groups);
        let quantile = StudentsT::new(0.0, 1.0, n - 1.0).ok()?.inverse_cdf(0.975);
        let around = |step: usize| {
            let squares = without.iter().map(|values| (values[step] - free[step]).powi(2));
            quantile * ((n - 1.0) / n * squares.sum::<f64>()).sqrt()
        };
        Some(Self {
            values: non_negative(&gram, &moment),
            around: (0..steps).map(around).collect(),
            inverse: inverse(&gram),
            gone: (0..steps)
                .map(|step| points.iter().map(|p| p.gone[step]).fold(0.0, f64::max))
                .collect(),
            free,
            gram,
        })
    }

    fn judge(
        &self,
        step: usize,
        names: &dyn Fn(usize) -> Option<StepName>,
    ) -> Result<Estimate, String> {
        let scenario = names(step).map_or_else(String::new, |name| name.scenario);
        let (value, around) = (self.values[step], self.around[step]);
        let estimate = Estimate {
            value,
            low: (self.free[step] - around).clamp(0.0, value),
            high: (self.free[step] + around).max(value),
        };
        let all: f64 = self.values.iter().zip(&self.gone).map(|(value, gone)| value * gone).sum();
        let is_small = estimate.high * self.gone[step] <= SMALL * all;
        let wide = estimate.high - estimate.low > 2.0 * WIDE * value && !is_small;
        let inflation = self.inverse.at(step, step) * self.gram.at(step, step);
        if inflation > ALWAYS_TOGETHER || (inflation > TOGETHER && wide) {
            let other = partner(&self.gram, step).and_then(names);
            let other = other.map_or_else(|| "others".to_owned(), |name| format!("`{name}`"));
            return Err(format!(
                "its requests always came along with those of {other}: add a phase with only \
                 `{scenario}`, as long as the others"
            ));
        }
        if wide {
            return Err(format!(
                "the floor moved too little with it to tell ({} to {} each): let phases with and \
                 without `{scenario}` follow one another",
                size(estimate.low),
                size(estimate.high)
            ));
        }
        Ok(estimate)
    }
}

#[cfg(test)]
#[path = "left_tests.rs"]
mod tests;
