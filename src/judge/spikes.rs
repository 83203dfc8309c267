//! Finding spikes in ticks.
//!
//! A spike is a run of ticks whose interval peak stands above the level just before by at least a
//! threshold, and which falls back by at least half of its rise. What rises and stays is a step:
//! counted apart, it is no spike. A spike shorter than a tick is seen by its interval peak alone;
//! one that lasts across a tick shows in both intervals and is still one.
//!
//! Two ticks that have fallen back end a spike, so that spikes two idle ticks apart stay two. A
//! level that holds still on top of a rise becomes the floor for further spikes, while the rise
//! below it waits for its fall: within [`FALLS_WITHIN`] it was a spike, later a step. Several wait
//! one upon the other; those that fall in one go are one spike of the whole height.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;
use crate::event::{Spike, Tick};
use crate::units::Bytes;

/// The least rise that counts, whatever the machine.
const LEAST_RISE: Bytes = Bytes::from_kib(512);
/// A rise that hasn't fallen back by half so long after its top is a step.
const FALLS_WITHIN: Duration = Duration::from_secs(2);
/// Quiet ticks whose least usage is the floor.
const FLOOR_TICKS: usize = 8;
/// A rise that moves by less than the threshold over so many ticks holds still.
const STILL_TICKS: usize = 20;
/// Rises that wait for their falls at the same time; a further one counts to the one below it.
const MOST_WAITING: usize = 8;
/// A fall goes on until so many ticks in a row are no lower than the one before.
const FALL_ENDS_TICKS: u32 = 2;
/// Ticks whose movements say how noisy the service is, and how often that is worked out.
const NOISE_TICKS: usize = 1024;
const NOISE_EVERY: usize = 128;
/// The threshold in median swings: for evenly spread noise three times its width, for a bell curve ten
/// deviations.
const NOISE_FACTOR: u64 = 32;

/// Finds spikes in the ticks of one life, one tick at a time.
#[derive(Debug)]
pub struct SpikeDetector {
    least: Bytes,
    gap: Duration,
    last: Option<Tick>,
    floor: VecDeque<Bytes>,
    run: Option<Rise>,
    /// The extent of the run's last ticks, to see whether it holds still.
    recent: VecDeque<(Bytes, Bytes)>,
    /// Rises that held still before they fell, the lowest first.
    waiting: Vec<Rise>,
    /// What has fallen of the topmost of them, as long as the fall goes on.
    falling: Option<Falling>,
    noise: Noise,
    steps: u64,
}

/// A spike whose fall may yet go further down.
#[derive(Debug, Clone, Copy)]
struct Falling {
    spike: Spike,
    /// Ticks in a row that were no lower than the one before.
    level: u32,
}

/// A rise that has not fallen back yet.
#[derive(Debug, Clone, Copy)]
struct Rise {
    begin: Moment,
    base: Bytes,
    top: Bytes,
    top_at: Moment,
    /// The ticks in a row that have fallen back: the first one's time and the least usage.
    fallen: Option<(Moment, Bytes)>,
}

impl Rise {
    /// Takes in a tick; gives the spike when this tick ends it.
    fn tick(&mut self, tick: &Tick, may_grow: bool) -> Option<Spike> {
        if may_grow && tick.peak > self.top {
            (self.top, self.top_at) = (tick.peak, tick.at);
        }
        let half = Bytes::new(self.base.get() + (self.top - self.base).get() / 2);
        if tick.peak > half {
            self.fallen = None;
            return None;
        }
        let Some((end, low)) = self.fallen else {
            self.fallen = Some((tick.at, tick.usage));
            return None;
        };
        self.fallen = Some((end, low.min(tick.usage)));
        Some(self.spike(end))
    }

    fn spike(&self, end: Moment) -> Spike {
        Spike {
            at: self.top_at,
            peak: self.top,
            rise: self.top - self.base,
            begin: self.begin,
            end,
        }
    }

    fn is_late(&self, now: Moment) -> bool {
        now.since(self.top_at) > FALLS_WITHIN
    }
}

impl SpikeDetector {
    /// A detector for ticks `tick_ns` apart, whose peaks may be over-reported by `charge_slack`.
    #[must_use]
    pub fn new(tick_ns: u64, charge_slack: Bytes) -> Self {
        let ticks = Duration::from_nanos(tick_ns.saturating_mul(20));
        Self {
            least: LEAST_RISE.max(charge_slack),
            gap: ticks.max(Duration::from_millis(50)),
            last: None,
            floor: VecDeque::with_capacity(FLOOR_TICKS),
            run: None,
            recent: VecDeque::with_capacity(STILL_TICKS),
            waiting: Vec::with_capacity(MOST_WAITING),
            falling: None,
            noise: Noise::default(),
            steps: 0,
        }
    }

    /// Takes in the next tick; puts the spikes that it ends into `found`.
    pub fn tick(&mut self, tick: &Tick, found: &mut Vec<Spike>) {
        let last = self.last.replace(*tick);
        let gap = last.is_some_and(|last| tick.at.since(last.at) > self.gap);
        if gap {
            // Ticks are left out where the level hardly moves, so a rise may go on behind a gap;
            // but the floor may have drifted.
            self.floor.clear();
            self.recent.clear();
        } else if let Some(last) = last {
            self.noise.add(last.usage, tick.usage);
        }
        self.fall_on(tick, last.as_ref(), found);
        if self.run.is_some() {
            self.follow(tick, found);
        } else {
            self.watch(tick, last.map_or(tick.at, |last| last.at), found);
        }
        self.wait(tick, found);
    }

    /// Ends the ticks: what is still up and has begun to fall counts, the rest is a step.
    pub fn finish(&mut self, found: &mut Vec<Spike>) {
        found.extend(self.falling.take().map(|falling| falling.spike));
        for rise in self.waiting.drain(..).chain(self.run.take()) {
            match rise.fallen {
                Some((end, _)) => found.push(rise.spike(end)),
                None => self.steps += 1,
            }
        }
        self.floor.clear();
        self.recent.clear();
        self.last = None;
    }

    /// Whether memory is up: a rise goes on, or waits for its fall.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.run.is_some() || !self.waiting.is_empty()
    }

    /// Rises that did not fall back.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The rise from which a spike counts, at present.
    #[must_use]
    pub fn threshold(&self) -> Bytes {
        let noise = self.noise.median.get().saturating_mul(NOISE_FACTOR);
        self.least.max(Bytes::new(noise))
    }

    /// Nothing is up: look for a rise.
    fn watch(&mut self, tick: &Tick, before: Moment, found: &mut Vec<Spike>) {
        let base = self.floor.iter().min().copied();
        match base {
            Some(base) if tick.peak - base >= self.threshold() => {
                found.extend(self.falling.take().map(|falling| falling.spike));
                self.recent.clear();
                self.recent.push_back((tick.usage, tick.peak));
                self.run = Some(Rise {
                    begin: before,
                    base,
                    top: tick.peak,
                    top_at: tick.at,
                    fallen: None,
                });
            }
            _ => self.quiet(tick.usage),
        }
    }

    fn quiet(&mut self, usage: Bytes) {
        if self.floor.len() == FLOOR_TICKS {
            self.floor.pop_front();
        }
        self.floor.push_back(usage);
    }

    /// A rise is under way: look for its fall, or for a level that holds still.
    fn follow(&mut self, tick: &Tick, found: &mut Vec<Spike>) {
        let threshold = self.threshold();
        let Some(run) = &mut self.run else { return };
        if let Some(spike) = run.tick(tick, true) {
            let low = run.fallen.map_or(tick.usage, |(_, low)| low);
            self.run = None;
            self.floor.clear();
            self.quiet(low);
            self.ended(spike, found);
            return;
        }
        if self.recent.len() == STILL_TICKS {
            self.recent.pop_front();
        }
        self.recent.push_back((tick.usage, tick.peak));
        let low = self.recent.iter().map(|row| row.0).min();
        let high = self.recent.iter().map(|row| row.1).max();
        let (low, high) = (low.unwrap_or_default(), high.unwrap_or_default());
        let still = self.recent.len() == STILL_TICKS && high - low < threshold;
        if still {
            self.hold_still(low);
        } else if run.is_late(tick.at) {
            self.steps += 1;
            self.run = None;
            self.floor.clear();
            self.quiet(low);
        }
    }

    /// The level is a floor of its own now; the rise to it waits for its fall.
    fn hold_still(&mut self, level: Bytes) {
        let Some(run) = self.run.take() else { return };
        if self.waiting.len() == MOST_WAITING
            && let Some(below) = self.waiting.last_mut()
        {
            *below = Rise { begin: below.begin, base: below.base, ..run };
        } else {
            self.waiting.push(run);
        }
        self.floor.clear();
        self.quiet(level);
    }

    /// Rises below the present floor: a fall ends them, from the topmost down.
    fn wait(&mut self, tick: &Tick, found: &mut Vec<Spike>) {
        let spikes: Vec<Option<Spike>> =
            self.waiting.iter_mut().map(|rise| rise.tick(tick, false)).collect();
        if let Some(lowest) = spikes.iter().position(Option::is_some) {
            // Whatever stands on one that has fallen has fallen as well.
            self.waiting.truncate(lowest);
            let fallen = spikes.into_iter().flatten().reduce(|lower, upper| whole(&lower, &upper));
            if let Some(spike) = fallen {
                self.ended(spike, found);
            }
        }
        let late = self.waiting.iter().take_while(|rise| rise.is_late(tick.at)).count();
        self.waiting.drain(..late);
        self.steps += late as u64;
        if self.waiting.is_empty() {
            found.extend(self.falling.take().map(|falling| falling.spike));
        }
    }

    /// A spike ends. Where rises wait below it, the fall may go on and take them along.
    fn ended(&mut self, spike: Spike, found: &mut Vec<Spike>) {
        let spike = self.falling.take().map_or(spike, |upper| whole(&spike, &upper.spike));
        if self.waiting.is_empty() {
            found.push(spike);
        } else {
            self.falling = Some(Falling { spike, level: 0 });
        }
    }

    /// A fall goes on, or has come to its end.
    fn fall_on(&mut self, tick: &Tick, last: Option<&Tick>, found: &mut Vec<Spike>) {
        let Some(falling) = &mut self.falling else { return };
        let falls = last.is_some_and(|last| tick.usage < last.usage);
        falling.level = if falls { 0 } else { falling.level + 1 };
        if falling.level >= FALL_ENDS_TICKS {
            found.extend(self.falling.take().map(|falling| falling.spike));
        }
    }
}

/// A rise that held still on its way up and fell in one go is one spike, of its whole height.
fn whole(lower: &Spike, upper: &Spike) -> Spike {
    let top = if upper.peak > lower.peak { upper } else { lower };
    let base = lower.peak - lower.rise;
    Spike { at: top.at, peak: top.peak, rise: top.peak - base, begin: lower.begin, end: lower.end }
}

/// How far the level swings to and fro from tick to tick: the median of the smaller of two
/// opposite movements in a row. A ramp has none, and spikes with idle ticks between them have one
/// in three at most.
#[derive(Debug, Default)]
struct Noise {
    swings: VecDeque<Bytes>,
    before: (Bytes, bool),
    since: usize,
    median: Bytes,
}

impl Noise {
    fn add(&mut self, before: Bytes, now: Bytes) {
        let (size, up) = (Bytes::new(before.get().abs_diff(now.get())), now > before);
        let (size_before, up_before) = std::mem::replace(&mut self.before, (size, up));
        let opposite = up != up_before;
        let swing = if opposite { size.min(size_before) } else { Bytes::ZERO };
        if self.swings.len() == NOISE_TICKS {
            self.swings.pop_front();
        }
        self.swings.push_back(swing);
        self.since += 1;
        if self.since >= NOISE_EVERY {
            self.since = 0;
            let mut sorted: Vec<Bytes> = self.swings.iter().copied().collect();
            let middle = sorted.len() / 2;
            self.median = *sorted.select_nth_unstable(middle).1;
        }
    }
}

#[cfg(test)]
#[path = "spikes_tests.rs"]
mod tests;
