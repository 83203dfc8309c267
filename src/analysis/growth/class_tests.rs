//! Series of known class by the hundred, from seeds.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::analysis::growth::GrowthClass::{self, Flat, Leak, Retained, Settles, Unclear};

const KIB: f64 = 1024.0;
const SLACK: f64 = 504.0 * KIB;
const RUNS: u64 = 300;

struct Made {
    rng: ChaCha8Rng,
    n: usize,
    base: f64,
}

impl Made {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let n = rng.random_range(10..60);
        let base = rng.random_range(1.0..150.0) * KIB * KIB;
        Self { rng, n, base }
    }

    /// Noise of the floors: a few pages, in some runs a share of a mebibyte.
    fn noise(&mut self) -> f64 {
        self.rng.random_range(0.0..64.0) * KIB
    }

    fn judge(mut self, of: impl Fn(&mut Self, usize) -> f64) -> GrowthClass {
        let mut floors = Floors { slack: SLACK, ..Floors::default() };
        for index in 0..self.n {
            let value = self.base + of(&mut self, index) + self.noise();
            floors.values.push(value);
            floors.times.push(4.0 * float(index));
        }
        judge(&floors).class
    }
}

/// How often each class was said.
fn count(of: impl Fn(u64) -> GrowthClass, class: GrowthClass) -> usize {
    (0..RUNS).filter(|seed| of(*seed) == class).count()
}

/// Arrivals vary by 40 % from cycle to cycle, more than those of a Poisson process of a few dozen.
#[test]
fn every_leak_of_four_slacks_is_found() {
    let leak = |seed| {
        let mut made = Made::new(seed);
        let total = made.rng.random_range(4.0..40.0) * SLACK;
        let n = float(made.n);
        let mut lost = 0.0;
        let lost: Vec<f64> = (0..made.n)
            .map(|_| {
                lost += total / n * made.rng.random_range(0.6..1.4);
                lost
            })
            .collect();
        made.judge(|_, index| lost[index])
    };
    assert_eq!(count(leak, Leak), 300);
}

/// Connections and buffers of the first bursts stay, beside what each cycle loses.
#[test]
fn a_leak_is_found_behind_what_the_first_bursts_leave() {
    let leak = |seed| {
        let mut made = Made::new(seed);
        made.n = made.n.max(12);
        let total = made.rng.random_range(4.5..20.0) * SLACK;
        let (first, second) = (made.rng.random_range(1.0..8.0), made.rng.random_range(0.0..0.5));
        let n = float(made.n);
        made.judge(move |_, index| {
            let left = [0.0, first].get(index).copied().unwrap_or(first + second);
            left * SLACK + total * float(index) / n
        })
    };
    assert_eq!(count(leak, Settles) + count(leak, Flat) + count(leak, Retained), 0);
    assert!(count(leak, Leak) >= 285, "{}", count(leak, Leak));
}

#[test]
fn a_flat_service_is_flat_however_noisy() {
    let flat = |seed| {
        let mut made = Made::new(seed);
        let swing = made.rng.random_range(0.0..0.1) * made.base;
        made.judge(move |made, _| made.rng.random_range(0.0..=swing))
    };
    assert_eq!(count(flat, Leak), 0);
    assert!(count(flat, Unclear) <= 15, "{}", count(flat, Unclear));
}

#[test]
fn a_cache_that_is_full_by_the_middle_settles() {
    let full = |seed| {
        let mut made = Made::new(seed);
        let (size, until) = (made.rng.random_range(2.0..80.0), made.rng.random_range(0.1..0.6));
        let n = float(made.n);
        made.judge(move |_, index| size * KIB * KIB * (float(index) / n / until).min(1.0))
    };
    assert_eq!(count(full, Leak), 0);
    assert!(count(full, Unclear) <= 15, "{}", count(full, Unclear));
    assert!(count(full, Settles) + count(full, Flat) >= 285);
}

#[test]
fn a_cache_of_random_keys_is_no_leak() {
    let keys = |seed| {
        let mut made = Made::new(seed);
        let (size, times) = (made.rng.random_range(2.0..80.0), made.rng.random_range(2.5..8.0));
        let n = float(made.n);
        made.judge(move |_, index| size * KIB * KIB * (1.0 - (-times * float(index) / n).exp()))
    };
    assert_eq!(count(keys, Leak), 0);
    assert!(count(keys, Unclear) <= 15, "{}", count(keys, Unclear));
}

#[test]
fn one_step_is_no_leak_wherever_it_is() {
    let step = |seed| {
        let mut made = Made::new(seed);
        let (size, at) = (made.rng.random_range(2.0..80.0), made.rng.random_range(0.0..1.0));
        let n = float(made.n);
        made.judge(move |_, index| if float(index) / n < at { 0.0 } else { size * KIB * KIB })
    };
    assert_eq!(count(step, Leak), 0);
}

#[test]
fn buffers_for_the_highest_concurrency_are_retained() {
    let records = |seed| {
        let mut made = Made::new(seed);
        let kib = made.rng.random_range(256.0..2048.0);
        let mut floors = Floors { slack: SLACK, ..Floors::default() };
        let mut most: f64 = 0.0;
        for index in 0..made.n {
            let in_flight = f64::from(made.rng.random_range(20_u32..80));
            most = most.max(in_flight);
            floors.values.push(made.base + most * kib * KIB + made.noise());
            floors.in_flight.push(in_flight);
            floors.times.push(4.0 * float(index));
        }
        judge(&floors).class
    };
    assert_eq!(count(records, Leak), 0);
    assert!(count(records, Unclear) <= 15, "{}", count(records, Unclear));
}

#[test]
fn what_the_first_burst_leaves_is_retained() {
    let mut floors = Floors { slack: SLACK, before: Some(20.0 * SLACK), ..Floors::default() };
    floors.values = vec![60.0 * SLACK; 10];
    floors.times = (0..10).map(float).collect();
    let judged = judge(&floors);
    assert_eq!((judged.class, judged.more), (Retained, None));
    assert!((judged.rise - 40.0 * SLACK).abs() < 1.0);
}

#[test]
fn too_short_a_series_asks_for_more() {
    let line = |n: usize| Floors {
        slack: SLACK,
        values: (0..n).map(|index| float(index) * 4.0 * SLACK).collect(),
        times: (0..n).map(float).collect(),
        ..Floors::default()
    };
    assert_eq!((judge(&line(5)).class, judge(&line(5)).more), (Unclear, Some(3)));
    assert_eq!((judge(&line(0)).class, judge(&line(0)).more), (Unclear, Some(8)));
    assert_eq!(judge(&line(8)).class, Leak);
    let flat = Floors { values: vec![3.0; 5], ..line(5) };
    assert_eq!(judge(&flat).class, Flat);
}
