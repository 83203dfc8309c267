//! When work falls due: arrivals of an open load, users of a closed one. Pure.
//!
//! Times are computed from the integral of the rate, never by adding up gaps, so that an hour's
//! schedule doesn't drift and the number of arrivals in any stretch is the rate's integral over
//! it, to within one. Memory is bounded by the number of stages and bursts, not by arrivals.

use std::collections::VecDeque;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, LogNormal, Pareto};

use super::{Burst, BurstForm, OpenLoad, RateStage, UserStage};
use crate::scenario::Arrivals;

/// The due times of an open load as offsets from its start: ascending, and all within its length.
///
/// The same load and seed give the same times on every machine.
#[derive(Debug, Clone)]
pub struct Schedule {
    length: f64,
    sources: Vec<Source>,
}

/// A producer of ascending times, and the time it will give next.
#[derive(Debug, Clone)]
struct Source {
    next: Option<f64>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Steady(Box<Spaced>),
    Bursts(Box<Bursts>),
}

impl Schedule {
    /// The schedule of `load` over `length`, with everything left to chance fixed by `seed`.
    #[must_use]
    pub fn new(load: &OpenLoad, length: Duration, seed: u64) -> Self {
        let length = length.as_secs_f64();
        // Streams keep the sources independent: a burst more changes no other arrival.
        let random = |stream: usize| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(stream as u64);
            random
        };
        let steady = Spaced::new(&load.stages, load.arrivals, random(0));
        let bursts = load.bursts.iter().enumerate().map(|(index, burst)| {
            let bursts = Bursts::new(*burst, load.arrivals, length, random(index + 1));
            Kind::Bursts(Box::new(bursts))
        });
        let sources = std::iter::once(Kind::Steady(Box::new(steady))).chain(bursts);
        let sources = sources.map(|mut kind| Source { next: kind.next(), kind });
        Self { length, sources: sources.collect() }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let soonest = self
            .sources
            .iter_mut()
            .filter(|source| source.next.is_some_and(|at| at < self.length))
            .min_by(|one, other| {
                let order = one.next.partial_cmp(&other.next);
                order.unwrap_or(std::cmp::Ordering::Equal)
            })?;
        let at = soonest.next?;
        soonest.next = soonest.kind.next();
        Some(Duration::from_secs_f64(at))
    }
}

impl Kind {
    fn next(&mut self) -> Option<f64> {
        match self {
            Self::Steady(spaced) => spaced.next(),
            Self::Bursts(bursts) => bursts.next(),
        }
    }
}

/// Arrivals at a rate that goes evenly from one value to another in each stage: the nth is due
/// when the rate's integral reaches its target.
#[derive(Debug, Clone)]
struct Spaced {
    stages: Vec<RateStage>,
    arrivals: Arrivals,
    random: ChaCha8Rng,
    /// The stage that the last arrival was in, where it starts, and the integral up to there.
    stage: usize,
    stage_start: f64,
    stage_integral: f64,
    /// The integral at which the next arrival is due.
    target: f64,
}

impl Spaced {
    fn new(stages: &[RateStage], arrivals: Arrivals, random: ChaCha8Rng) -> Self {
        let mut spaced = Self {
            stages: stages.to_vec(),
            arrivals,
            random,
            stage: 0,
            stage_start: 0.0,
            stage_integral: 0.0,
            // Even arrivals stand in the middle of their share of the integral.
            target: 0.5,
        };
        if arrivals != Arrivals::Even {
            spaced.target = gap(arrivals, &mut spaced.random);
        }
        spaced
    }

    fn next(&mut self) -> Option<f64> {
        let (stage, length) = loop {
            let stage = self.stages.get(self.stage)?;
            let length = stage.length.as_secs_f64();
            let (from, to) = (stage.from.as_per_second(), stage.to.as_per_second());
            let area = f64::midpoint(from, to) * length;
            if self.target < self.stage_integral + area {
                break (stage, length);
            }
            self.stage += 1;
            self.stage_start += length;
            self.stage_integral += area;
        };
        let from = stage.from.as_per_second();
        let slope = (stage.to.as_per_second() - from) / length;
        let rest = self.target - self.stage_integral;
        // The root of `from × t + slope × t² / 2 = rest`, in the form that never divides by zero.
        let under = (2.0 * slope).mul_add(rest, from * from).max(0.0);
        let at = (2.0 * rest / (from + under.sqrt())).clamp(0.0, length);
        let at = self.stage_start + at;
        self.target += gap(self.arrivals, &mut self.random);
        Some(at)
    }
}

/// The integral of the rate between two arrivals: 1 in the mean, however it is spread.
fn gap(arrivals: Arrivals, random: &mut ChaCha8Rng) -> f64 {
    match arrivals {
        Arrivals::Even => 1.0,
        Arrivals::Poisson => random.sample(Exp1),
        // Means: shape × scale / (shape − 1), and exp(µ + σ² / 2).
        Arrivals::Pareto(shape) => {
            Pareto::new((shape - 1.0) / shape, shape).map_or(1.0, |gaps| gaps.sample(random))
        }
        Arrivals::LogNormal(sigma) => {
            LogNormal::new(-sigma * sigma / 2.0, sigma).map_or(1.0, |gaps| gaps.sample(random))
        }
    }
}

/// Bursts that come again and again.
#[derive(Debug, Clone)]
struct Bursts {
    burst: Burst,
    arrivals: Arrivals,
    random: ChaCha8Rng,
    length: f64,
    /// The number of the next burst, and its time.
    index: u64,
    start: Option<f64>,
    /// What is left of bursts that have begun. More than one only where jitter or a great width
    /// makes them overlap.
    begun: VecDeque<Begun>,
}

#[derive(Debug, Clone)]
struct Begun {
    next: f64,
    rest: Rest,
}

#[derive(Debug, Clone)]
enum Rest {
    AtOnce(u64),
    Spaced { start: f64, spaced: Box<Spaced> },
}

impl Bursts {
    fn new(burst: Burst, arrivals: Arrivals, length: f64, random: ChaCha8Rng) -> Self {
        let mut bursts =
            Self { burst, arrivals, random, length, index: 0, start: None, begun: VecDeque::new() };
        bursts.start = bursts.draw_start();
        bursts
    }

    /// When the next burst begins in its period, give or take the jitter.
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^53 bursts")]
    fn draw_start(&mut self) -> Option<f64> {
        let every = self.burst.every.as_secs_f64();
        if every <= 0.0 {
            return None;
        }
        let mut begins = self.index as f64 + self.burst.begins;
        if self.burst.jitter > 0.0 {
            let jitter = self.burst.jitter.min(0.5);
            begins += self.random.random_range(-jitter..=jitter);
        }
        self.index += 1;
        let start = (begins * every).max(0.0);
        (start < self.length).then_some(start)
    }

    /// Moves bursts over to those begun, as long as the next one comes before every arrival left.
    fn begin_due(&mut self) {
        while let Some(start) = self.start {
            let soonest = self.begun.iter().map(|begun| begun.next).reduce(f64::min);
            if soonest.is_some_and(|soonest| soonest < start) {
                return;
            }
            match self.burst.form {
                BurstForm::Size(0) => {}
                BurstForm::Size(size) => {
                    self.begun.push_back(Begun { next: start, rest: Rest::AtOnce(size) });
                }
                BurstForm::Rate { rate, width } => {
                    let stage = RateStage { from: rate, to: rate, length: width };
                    let random = ChaCha8Rng::seed_from_u64(self.random.random());
                    let mut spaced = Box::new(Spaced::new(&[stage], self.arrivals, random));
                    if let Some(first) = spaced.next() {
                        self.begun.push_back(Begun {
                            next: start + first,
                            rest: Rest::Spaced { start, spaced },
                        });
                    }
                }
            }
            self.start = self.draw_start();
        }
    }

    fn next(&mut self) -> Option<f64> {
        self.begin_due();
        let soonest = (0..self.begun.len()).reduce(|one, other| {
            let earlier = self.begun[other].next < self.begun[one].next;
            if earlier { other } else { one }
        })?;
        let begun = &mut self.begun[soonest];
        let at = begun.next;
        let over = match &mut begun.rest {
            Rest::AtOnce(left) => {
                *left -= 1;
                *left == 0
            }
            Rest::Spaced { start, spaced } => match spaced.next() {
                Some(next) => {
                    begun.next = *start + next;
                    false
                }
                None => true,
            },
        };
        if over {
            self.begun.remove(soonest);
        }
        Some(at)
    }
}

/// How many users a closed load wants at each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserCurve {
    stages: Vec<UserStage>,
}

impl UserCurve {
    /// The curve of these stages, one after another.
    #[must_use]
    pub fn new(stages: &[UserStage]) -> Self {
        Self { stages: stages.to_vec() }
    }

    /// Users wanted at `offset` from the load's start: the nearest whole number on the line, and
    /// none once the last stage is over.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "interpolated between two u32"
    )]
    pub fn at(&self, offset: Duration) -> u32 {
        let mut rest = offset;
        for stage in &self.stages {
            if rest < stage.length {
                let share = rest.as_secs_f64() / stage.length.as_secs_f64();
                let (from, to) = (f64::from(stage.from), f64::from(stage.to));
                return share.mul_add(to - from, from).round() as u32;
            }
            rest -= stage.length;
        }
        0
    }

    /// The most users at any time.
    #[must_use]
    pub fn max(&self) -> u32 {
        let peaks = self.stages.iter().map(|stage| stage.from.max(stage.to));
        peaks.max().unwrap_or(0)
    }

    /// How long all stages last.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.stages.iter().map(|stage| stage.length).sum()
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
mod tests {
    use super::*;
    use crate::units::Rate;
    use proptest::prelude::*;

    fn rate(per_second: f64) -> Rate {
        Rate::per_second(per_second).unwrap()
    }

    fn stage(from: f64, to: f64, seconds: f64) -> RateStage {
        RateStage { from: rate(from), to: rate(to), length: Duration::from_secs_f64(seconds) }
    }

    fn load(stages: Vec<RateStage>, arrivals: Arrivals, bursts: Vec<Burst>) -> OpenLoad {
        OpenLoad { stages, arrivals, bursts }
    }

    /// The integral of the rate from the start to `until`.
    fn integral(stages: &[RateStage], until: f64) -> f64 {
        let (mut start, mut sum) = (0.0, 0.0);
        for stage in stages {
            let length = stage.length.as_secs_f64();
            let inside = (until - start).clamp(0.0, length);
            let (from, to) = (stage.from.as_per_second(), stage.to.as_per_second());
            let end_rate = from + (to - from) * inside / length;
            sum += f64::midpoint(from, end_rate) * inside;
            start += length;
        }
        sum
    }

    fn stages() -> impl Strategy<Value = Vec<RateStage>> {
        let one = (0.0..2000.0_f64, 0.0..2000.0_f64, 0.01..3.0_f64);
        let one = prop_oneof![
            one.clone().prop_map(|(from, to, length)| stage(from, to, length)),
            one.clone().prop_map(|(from, _, length)| stage(from, from, length)),
            one.prop_map(|(from, _, length)| stage(0.0, from, length)),
        ];
        prop::collection::vec(one, 1..5)
    }

    fn bursts() -> impl Strategy<Value = Vec<Burst>> {
        let form = prop_oneof![
            (0_u64..50).prop_map(BurstForm::Size),
            (0.0..2000.0_f64, 1_u64..800).prop_map(|(per_second, width)| BurstForm::Rate {
                rate: rate(per_second),
                width: Duration::from_millis(width),
            }),
        ];
        let one = (50_u64..2000, form, 0.0..0.5_f64);
        let one = one.prop_map(|(every, form, jitter)| Burst {
            every: Duration::from_millis(every),
            form,
            jitter,
            begins: 0.5,
        });
        prop::collection::vec(one, 0..3)
    }

    fn arrivals() -> impl Strategy<Value = Arrivals> {
        prop_oneof![
            Just(Arrivals::Even),
            Just(Arrivals::Poisson),
            (1.05..4.0_f64).prop_map(Arrivals::Pareto),
            (0.1..3.0_f64).prop_map(Arrivals::LogNormal),
        ]
    }

    /// Variance over mean of the numbers of arrivals in stretches of a second.
    fn dispersion(arrivals: Arrivals) -> (f64, f64) {
        let load = load(vec![stage(100.0, 100.0, 2000.0)], arrivals, vec![]);
        let mut counts = vec![0.0_f64; 2000];
        for at in Schedule::new(&load, Duration::from_secs(2000), 3) {
            counts[usize::try_from(at.as_secs()).unwrap()] += 1.0;
        }
        let mean = counts.iter().sum::<f64>() / 2000.0;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 2000.0;
        (mean, variance / mean)
    }

    #[test]
    fn heavier_tails_keep_the_rate_and_crowd_more() {
        let (even, poisson) = (dispersion(Arrivals::Even), dispersion(Arrivals::Poisson));
        let (log_normal, pareto) =
            (dispersion(Arrivals::LogNormal(1.5)), dispersion(Arrivals::Pareto(1.5)));
        assert!((poisson.1 - 1.0).abs() < 0.15, "{poisson:?}");
        assert!(even.1 < 0.01 && log_normal.1 > 3.0 && pareto.1 > 3.0, "{log_normal:?} {pareto:?}");
        for (mean, _) in [even, poisson, log_normal, pareto] {
            assert!((mean - 100.0).abs() < 10.0, "{mean}");
        }
    }

    #[test]
    fn what_is_on_and_off_is_on_first() {
        let burst = Burst {
            every: Duration::from_secs(3),
            form: BurstForm::Rate { rate: rate(10.0), width: Duration::from_secs(1) },
            jitter: 0.0,
            begins: 0.0,
        };
        let load = load(vec![], Arrivals::Even, vec![burst]);
        let times: Vec<_> = Schedule::new(&load, Duration::from_secs(7), 1).collect();
        assert_eq!(times.len(), 30);
        assert!(times.iter().all(|at| at.as_secs().is_multiple_of(3)), "{times:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn even_arrivals_follow_the_integral_to_within_one(stages in stages(), share in 0.0..1.0_f64) {
            let length: Duration = stages.iter().map(|stage| stage.length).sum();
            let until = length.as_secs_f64() * share;
            let schedule = Schedule::new(&load(stages.clone(), Arrivals::Even, vec![]), length, 1);
            let count = schedule.filter(|at| at.as_secs_f64() < until).count() as f64;
            prop_assert!((count - integral(&stages, until)).abs() <= 1.0);
        }

        #[test]
        fn poisson_arrivals_follow_the_integral_within_chance(stages in stages(), seed: u64) {
            let length: Duration = stages.iter().map(|stage| stage.length).sum();
            let wanted = integral(&stages, length.as_secs_f64());
            let count = Schedule::new(&load(stages, Arrivals::Poisson, vec![]), length, seed).count() as f64;
            prop_assert!((count - wanted).abs() <= 5.0 * wanted.sqrt() + 3.0, "{count} for {wanted}");
        }

        #[test]
        fn schedules_ascend_stay_within_their_length_and_repeat(
            stages in stages(), bursts in bursts(), arrivals in arrivals(), seed: u64,
        ) {
            let length = stages.iter().map(|stage| stage.length).sum::<Duration>().mul_f64(0.9);
            let load = load(stages, arrivals, bursts);
            let times: Vec<_> = Schedule::new(&load, length, seed).collect();
            prop_assert!(times.is_sorted());
            prop_assert!(times.last().is_none_or(|last| *last <= length));
            prop_assert!(Schedule::new(&load, length, seed).eq(times));
        }

        #[test]
        fn bursts_add_their_own_arrivals_to_the_rate(stages in stages(), bursts in bursts()) {
            let length: Duration = stages.iter().map(|stage| stage.length).sum();
            let count = |stages: &[RateStage], bursts: &[Burst]| {
                Schedule::new(&load(stages.to_vec(), Arrivals::Even, bursts.to_vec()), length, 7).count()
            };
            prop_assert_eq!(
                count(&stages, &bursts),
                count(&stages, &[]) + count(&[], &bursts),
            );
        }
    }

    #[test]
    fn the_first_burst_comes_after_half_a_period_and_all_of_it_at_once() {
        let burst = Burst {
            every: Duration::from_secs(10),
            form: BurstForm::Size(500),
            jitter: 0.0,
            begins: 0.5,
        };
        let load = load(vec![], Arrivals::Even, vec![burst]);
        let times: Vec<_> = Schedule::new(&load, Duration::from_secs(30), 1).collect();
        assert_eq!(times.len(), 1500);
        assert!(times[..500].iter().all(|at| *at == Duration::from_secs(5)));
        assert_eq!(times[500], Duration::from_secs(15));
        assert_eq!(times[1499], Duration::from_secs(25));
    }

    #[test]
    fn a_burst_of_raised_rate_has_rate_times_width_arrivals() {
        let burst = Burst {
            every: Duration::from_secs(2),
            form: BurstForm::Rate { rate: rate(2000.0), width: Duration::from_millis(500) },
            jitter: 0.0,
            begins: 0.5,
        };
        let load = load(vec![], Arrivals::Even, vec![burst]);
        let times: Vec<_> = Schedule::new(&load, Duration::from_secs(4), 1).collect();
        assert_eq!(times.len(), 2000);
        assert!(times[0] >= Duration::from_secs(1));
        assert!(times[999] < Duration::from_millis(1500));
        assert!(times[1000] >= Duration::from_secs(3));
    }

    #[test]
    fn a_day_of_arrivals_does_not_drift() {
        let day = 86_400.0;
        let load = load(vec![stage(100.0, 100.0, day)], Arrivals::Even, vec![]);
        let mut schedule = Schedule::new(&load, Duration::from_secs_f64(day), 1);
        let last = schedule.nth(8_639_999).unwrap().as_secs_f64();
        assert!((last - (day - 0.005)).abs() < 1e-5, "{last}");
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn users_follow_the_stages() {
        let stage =
            |from, to, seconds| UserStage { from, to, length: Duration::from_secs(seconds) };
        let curve = UserCurve::new(&[stage(0, 100, 100), stage(100, 100, 10), stage(100, 0, 10)]);
        let at = |seconds| curve.at(Duration::from_secs_f64(seconds));
        assert_eq!([at(0.0), at(0.4), at(0.6), at(50.0)], [0, 0, 1, 50]);
        assert_eq!([at(105.0), at(115.0), at(119.99), at(120.0)], [100, 50, 0, 0]);
        assert_eq!(curve.max(), 100);
        assert_eq!(curve.length(), Duration::from_secs(120));
    }
}
