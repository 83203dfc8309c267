//! Sums over stretches of windows: all that the regression needs, bounded whatever the run's
//! length.

use super::count;
use super::linear::Matrix;
pub(super) use super::tops::Top;
use super::tops::Tops;
use crate::clock::Moment;
use crate::event::LifeId;

/// Windows of a stretch that has a level and a slope of its own.
pub(super) const ROWS: usize = 40;
/// A shorter one says nothing.
const LEAST_ROWS: usize = 12;
/// Stretches that are kept apart; beyond it neighbours are summed up.
const MOST: usize = 256;
/// Steps that are told apart; further ones are left out.
const MOST_STEPS: usize = 24;
/// The share of the stretches from whose floors the floor at the end is taken.
const LAST: f64 = 0.25;

/// One window: memory, and the traffic of the same time.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) life: LifeId,
    pub(super) start: Moment,
    pub(super) end: Moment,
    /// The mean of memory.
    pub(super) bytes: f64,
    /// The most of it.
    pub(super) top: f64,
    pub(super) steps: Vec<StepRow>,
}

/// One step in a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepRow {
    /// Its index in the plan.
    pub(super) step: u16,
    /// The mean number in flight.
    pub(super) in_flight: f64,
    /// The most in flight at once.
    pub(super) most: f64,
    /// Requests that ended.
    pub(super) ended: f64,
}

/// Collects rows into stretches.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    sums: Sums,
    open: Vec<Row>,
    tops: Tops,
}

/// All stretches.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// The steps' indexes in the plan, in the order in which they were first seen.
    pub(super) steps: Vec<u16>,
    pub(super) blocks: Vec<Block>,
    pub(super) rows: u64,
    /// Windows in which each step was in flight.
    pub(super) samples: Vec<u64>,
    /// The sum of each step's means in flight.
    pub(super) in_flight: Vec<f64>,
    /// Each step's time in flight, in seconds, and requests that ended.
    busy: Vec<(f64, f64)>,
    /// Each step's requests that ended so far, in stretches of whatever length.
    gone: Vec<f64>,
    /// Windows with their peaks: all, or some of a long run.
    pub(super) tops: Vec<Top>,
    /// Whether there were more steps than are told apart.
    pub(super) beyond: bool,
}

/// A stretch, its level and slope taken out of the products.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) life: LifeId,
    pub(super) rows: f64,
    /// When its middle was, in seconds.
    pub(super) at: f64,
    /// Means of memory and of each step's number in flight.
    mean_bytes: f64,
    mean_in_flight: Vec<f64>,
    /// Requests that had ended by then since the recording's start, by step: the mean over the
    /// windows, as that of memory is.
    pub(super) gone: Vec<f64>,
    /// Products of the steps with one another, and with memory.
    pub(super) gram: Matrix,
    pub(super) moment: Vec<f64>,
}

impl Blocks {
    pub(super) fn add(&mut self, row: Row) {
        let goes_on = self.open.last().is_none_or(|last| {
            let gap = row.start.since(last.end);
            row.life == last.life && gap < row.end.since(row.start)
        });
        if !goes_on || self.open.len() == ROWS {
            self.close();
        }
        self.open.push(row);
    }

    pub(super) fn finish(mut self) -> Sums {
        self.close();
        self.sums.tops = self.tops.finish();
        self.sums
    }

    fn close(&mut self) {
        let rows = std::mem::take(&mut self.open);
        if rows.len() < LEAST_ROWS {
            self.sums.gone(&rows);
            return;
        }
        let block = self.sums.block(&rows);
        for row in &rows {
            self.tops.add(row, &self.sums.steps);
        }
        self.sums.blocks.push(block);
        if self.sums.blocks.len() > MOST {
            self.sums.halve();
        }
    }
}

impl Sums {
    fn index(&mut self, step: u16) -> Option<usize> {
        if let Some(index) = self.steps.iter().position(|known| *known == step) {
            return Some(index);
        }
        if self.steps.len() == MOST_STEPS {
            self.beyond = true;
            return None;
        }
        self.steps.push(step);
        self.samples.push(0);
        self.in_flight.push(0.0);
        self.busy.push((0.0, 0.0));
        self.gone.push(0.0);
        Some(self.steps.len() - 1)
    }

    /// Counts the requests that ended; gives how many each step had behind it, averaged over the rows.
    fn gone(&mut self, rows: &[Row]) -> Vec<f64> {
        let mut sums = Vec::new();
        for row in rows {
            // Half of a window's requests have ended in the middle of it.
            for half in [true, false] {
                for step in &row.steps {
                    let Some(index) = self.index(step.step) else { continue };
                    self.gone[index] += step.ended / 2.0;
                }
                sums.resize(self.gone.len(), 0.0);
                if half {
                    sums.iter_mut().zip(&self.gone).for_each(|(sum, gone)| *sum += gone);
                }
            }
        }
        sums.iter().map(|sum| sum / count(rows.len().max(1))).collect()
    }

    /// Takes level and slope out of the series of a stretch, and sums up what is left.
    fn block(&mut self, rows: &[Row]) -> Block {
        let mut series: Vec<Vec<f64>> = vec![Vec::new(); self.steps.len()];
        let gone = self.gone(rows);
        for (number, row) in rows.iter().enumerate() {
            for step in &row.steps {
                let Some(index) = self.index(step.step) else { continue };
                if series.len() <= index {
                    series.resize(index + 1, Vec::new());
                }
                series[index].resize(rows.len(), 0.0);
                series[index][number] = step.in_flight;
                self.samples[index] += u64::from(step.in_flight > 0.0);
                self.in_flight[index] += step.in_flight;
                let seconds = row.end.since(row.start).as_secs_f64();
                self.busy[index].0 += step.in_flight * seconds;
                self.busy[index].1 += step.ended;
            }
        }
        self.rows += rows.len() as u64;
        let times: Vec<f64> = rows.iter().map(|row| row.start.as_millis_f64() / 1e3).collect();
        let mut bytes: Vec<f64> = rows.iter().map(|row| row.bytes).collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / count(values.len().max(1));
        let (at, mean_bytes) = (mean(&times), mean(&bytes));
        let mean_in_flight = series.iter().map(|values| mean(values)).collect();
        detrend(&times, &mut bytes);
        let mut gram = Matrix::new(series.len());
        let mut moment = vec![0.0; series.len()];
        for values in &mut series {
            detrend(&times, values);
        }
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for (i, one) in series.iter().enumerate() {
            moment[i] = product(one, &bytes);
            for (j, other) in series.iter().enumerate() {
                gram.add(i, j, product(one, other));
            }
        }
        let (life, rows) = (rows[0].life, count(rows.len()));
        Block { life, rows, at, mean_bytes, mean_in_flight, gone, gram, moment }
    }

    /// Sums up neighbours of one life, so that there are about half as many.
    fn halve(&mut self) {
        let mut merged: Vec<Block> = Vec::with_capacity(MOST);
        let mut may_merge = false;
        for block in self.blocks.drain(..) {
            match merged.last_mut() {
                Some(before) if may_merge && before.life == block.life => {
                    before.merge(&block);
                    may_merge = false;
                }
                _ => {
                    merged.push(block);
                    may_merge = true;
                }
            }
        }
        // So many lives that nothing could be summed up: the oldest go.
        let excess = merged.len().saturating_sub(MOST);
        merged.drain(..excess);
        self.blocks = merged;
    }

    /// How long a step's requests are in flight, in seconds, on average; none where none ended.
    pub(super) fn duration(&self, index: usize) -> Option<f64> {
        let (seconds, ended) = self.busy[index];
        (ended > 0.0).then(|| seconds / ended)
    }

    /// The stretch in which a window lies.
    pub(super) fn nearest(&self, top: &Top) -> Option<usize> {
        let near = self.blocks.iter().enumerate().filter(|(_, block)| block.life == top.life);
        let far = |block: &Block| (block.at - top.at).abs();
        near.min_by(|a, b| far(a.1).total_cmp(&far(b.1))).map(|(index, _)| index)
    }

    /// What memory would have been in each stretch with nothing in flight.
    pub(super) fn floors(&self, costs: &[f64]) -> Vec<f64> {
        let of = |block: &Block| {
            let flights = block.mean_in_flight.iter().zip(costs);
            block.mean_bytes - flights.map(|(mean, cost)| mean * cost).sum::<f64>()
        };
        self.blocks.iter().map(of).collect()
    }

    /// The floor towards the end; none of nothing.
    pub(super) fn floor(&self, costs: &[f64]) -> Option<f64> {
        let floors = self.floors(costs);
        let last = (count(floors.len()) * (1.0 - LAST)).floor();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share")]
        crate::analysis::growth::median(&floors[last as usize..])
    }
}

impl Block {
    fn merge(&mut self, later: &Self) {
        let rows = self.rows + later.rows;
        let mean = |a: f64, b: f64| (a * self.rows + b * later.rows) / rows;
        let longer = self.mean_in_flight.len().max(later.mean_in_flight.len());
        let get = |values: &[f64], index: usize| values.get(index).copied().unwrap_or(0.0);
        let both = |a: &[f64], b: &[f64], sum: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
            (0..longer).map(|index| sum(get(a, index), get(b, index))).collect()
        };
        let add = |a: f64, b: f64| a + b;
        let merged = Self {
            life: self.life,
            rows,
            at: mean(self.at, later.at),
            mean_bytes: mean(self.mean_bytes, later.mean_bytes),
            mean_in_flight: both(&self.mean_in_flight, &later.mean_in_flight, &mean),
            gone: both(&self.gone, &later.gone, &mean),
            gram: self.gram.plus(&later.gram, 1.0),
            moment: both(&self.moment, &later.moment, &add),
        };
        *self = merged;
    }

    pub(super) fn moment(&self, index: usize) -> f64 {
        self.moment.get(index).copied().unwrap_or(0.0)
    }
}

/// Takes the line of least squares out of a series; a step that was never in flight has none.
fn detrend(times: &[f64], values: &mut [f64]) {
    if values.is_empty() {
        return;
    }
    let n = count(values.len());
    let (mean_t, mean) = (times.iter().sum::<f64>() / n, values.iter().sum::<f64>() / n);
    let square: f64 = times.iter().map(|t| (t - mean_t).powi(2)).sum();
    let product: f64 = times.iter().zip(&*values).map(|(t, v)| (t - mean_t) * (v - mean)).sum();
    let slope = if square > 0.0 { product / square } else { 0.0 };
    for (value, t) in values.iter_mut().zip(times) {
        *value -= mean + slope * (t - mean_t);
    }
}
