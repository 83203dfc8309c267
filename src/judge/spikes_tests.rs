//! Generated series of known answer; seeds are printed when a test fails.

use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const MS: u64 = 1_000_000;
/// Two CPUs.
const SLACK: Bytes = Bytes::from_kib(504);
const BASE: u64 = 20 << 20;

/// Ticks a millisecond apart, as `(usage, peak)` in bytes.
fn detect(rows: impl IntoIterator<Item = (u64, u64)>) -> (Vec<Spike>, u64) {
    let mut detector = SpikeDetector::new(MS, SLACK);
    let mut found = Vec::new();
    for (n, (usage, peak)) in rows.into_iter().enumerate() {
        detector.tick(&tick(n as u64, usage, peak), &mut found);
    }
    detector.finish(&mut found);
    (found, detector.steps())
}

fn tick(ms: u64, usage: u64, peak: u64) -> Tick {
    Tick {
        at: Moment::from_millis(ms),
        usage: Bytes::new(usage),
        peak: Bytes::new(peak.max(usage)),
    }
}

fn idle(ticks: usize) -> impl Iterator<Item = (u64, u64)> {
    std::iter::repeat_n((BASE, BASE), ticks)
}

/// Ticks as `(usage, peak)`, and spikes as `(tick, rise)`.
type Series = (Vec<(u64, u64)>, Vec<(u64, u64)>);

/// Random spikes with random gaps of at least two idle ticks: the rows, and each spike's tick and
/// rise. Some last no time at all, some lie across ticks, some are seen in the usage.
fn random_spikes(rng: &mut impl Rng, count: usize, noise: u64) -> Series {
    let mut rows: Vec<(u64, u64)> = idle(20).collect();
    let mut truth = Vec::new();
    for _ in 0..count {
        let rise = (512 << 10) + SLACK.get() + rng.random_range(0..200 << 20);
        truth.push((rows.len() as u64, rise));
        let top = BASE + rise;
        match rng.random_range(0..3) {
            0 => rows.push((BASE, top)),
            1 => rows.extend([(top, top), (BASE, top)]),
            _ => {
                let length = rng.random_range(1..60);
                rows.extend(std::iter::repeat_n((top, top), length));
                rows.push((BASE, top));
            }
        }
        for _ in 0..rng.random_range(2..40) {
            let level = BASE + rng.random_range(0..=noise);
            rows.push((level, level));
        }
    }
    (rows, truth)
}

fn check_random(seed: u64, noise: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (rows, truth) = random_spikes(&mut rng, 10_000, noise);
    let (mut found, _) = detect(rows);
    found.sort_by_key(|spike| spike.begin);
    assert_eq!(found.len(), truth.len(), "seed {seed}");
    for (spike, (first, rise)) in found.iter().zip(&truth) {
        let at = spike.at.as_nanos() / MS;
        assert!(at.abs_diff(*first) <= 1, "seed {seed}: {spike:?} at {first}");
        let off = spike.rise.get().abs_diff(*rise);
        assert!(off <= SLACK.get(), "seed {seed}: {spike:?} off by {off}");
        assert_eq!(spike.peak.get(), BASE + rise, "seed {seed}");
    }
}

#[test]
fn all_of_ten_thousand_random_spikes_are_found_at_their_height() {
    for seed in 0..5 {
        check_random(seed, 0);
    }
}

#[test]
fn all_of_ten_thousand_random_spikes_are_found_in_noise() {
    for seed in 100..103 {
        check_random(seed, 128 << 10);
    }
}

#[test]
fn a_spike_of_no_length_is_found_by_its_peak_alone() {
    let rows = idle(50).chain([(BASE, BASE + (5 << 20))]).chain(idle(50));
    let (found, steps) = detect(rows);
    assert_eq!(steps, 0);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].rise, Bytes::from_mib(5));
    assert_eq!(found[0].at, Moment::from_millis(50));
    assert_eq!(found[0].begin, Moment::from_millis(49));
    assert_eq!(found[0].end, Moment::from_millis(51));
}

#[test]
fn a_level_that_stays_is_a_step() {
    let high = BASE + (30 << 20);
    let (found, steps) = detect(idle(50).chain(std::iter::repeat_n((high, high), 5000)));
    assert_eq!((found.len(), steps), (0, 1));
}

#[test]
fn a_plateau_that_falls_in_time_is_one_spike_and_so_is_each_on_top_of_it() {
    let high = BASE + (30 << 20);
    let plateau = (0..1500).map(|n| match n {
        700 | 900 => (high, high + (4 << 20)),
        _ => (high, high),
    });
    let (found, steps) = detect(idle(50).chain(plateau).chain(idle(100)));
    let rises: Vec<f64> = found.iter().map(|spike| spike.rise.as_mib()).collect();
    assert_eq!(rises, [4.0, 4.0, 30.0]);
    assert_eq!(steps, 0);
}

#[test]
fn spikes_after_a_step_are_found_from_the_new_level() {
    let high = BASE + (40 << 20);
    let busy = (0..3000).map(|n| match n % 100 {
        50 => (high, high + (10 << 20)),
        _ => (high, high),
    });
    let (found, steps) = detect(idle(20).chain(busy));
    assert_eq!((found.len(), steps), (30, 1));
    assert!(found.iter().all(|spike| spike.rise == Bytes::from_mib(10)));
}

#[test]
fn ramps_are_no_spikes() {
    for per_tick in [1_u64 << 10, 20 << 10, 400 << 10] {
        let ramp = (0..4000).map(|n| (BASE + n * per_tick, BASE + n * per_tick));
        let top = BASE + 4000 * per_tick;
        let (found, _) = detect(idle(20).chain(ramp).chain(std::iter::repeat_n((top, top), 3000)));
        assert!(found.is_empty(), "{per_tick}: {found:?}");
    }
}

#[test]
fn a_slow_sawtooth_is_quiet_and_a_fast_one_counts_each_tooth() {
    let teeth = |per_tick: u64| {
        (0..5000_u64).map(move |n| {
            let level = BASE + (n % 500) * per_tick;
            let before = BASE + (n.saturating_sub(1) % 500) * per_tick;
            (level, level.max(before))
        })
    };
    assert!(detect(idle(20).chain(teeth(10 << 10))).0.is_empty());
    let (found, _) = detect(idle(20).chain(teeth(200 << 10)).chain(idle(10)));
    assert_eq!(found.len(), 10);
}

#[test]
fn noise_raises_the_threshold_and_a_large_spike_still_shows() {
    for seed in 0..5 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut noise = |n| (0..n).map(|_| rng.random_range(0..8 << 20)).collect::<Vec<u64>>();
        let rows = |levels: Vec<u64>| levels.into_iter().map(|level| (BASE + level, BASE + level));
        let settled = rows(noise(500)).collect::<Vec<_>>();
        let mut detector = SpikeDetector::new(MS, SLACK);
        let mut found = Vec::new();
        let after = rows(noise(20_000));
        for (n, (usage, peak)) in settled.into_iter().chain(after).enumerate() {
            let peak = if n == 10_000 { peak + (40 << 20) } else { peak };
            let before = found.len();
            detector.tick(&tick(n as u64, usage, peak), &mut found);
            if n < 500 {
                found.truncate(before);
            }
        }
        let rises: Vec<f64> = found.iter().map(|spike| spike.rise.as_mib()).collect();
        assert_eq!(rises.len(), 1, "seed {seed}: {rises:?}");
        assert!(rises[0] > 38.0, "seed {seed}: {rises:?}");
    }
}

#[test]
fn a_gap_between_kept_ticks_does_not_make_a_spike_of_a_drift() {
    let mut detector = SpikeDetector::new(MS, SLACK);
    let mut found = Vec::new();
    for n in 0..100 {
        detector.tick(&tick(n, BASE, BASE), &mut found);
    }
    let later = BASE + (50 << 20);
    for n in 60_000..60_100 {
        let peak = if n == 60_050 { later + (3 << 20) } else { later };
        detector.tick(&tick(n, later, peak), &mut found);
    }
    detector.finish(&mut found);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].rise, Bytes::from_mib(3));
}

#[test]
fn one_still_falling_at_the_end_counts_and_one_still_up_does_not() {
    let high = BASE + (9 << 20);
    assert_eq!(detect(idle(20).chain([(high, high), (BASE, high), (BASE, BASE)])).0.len(), 1);
    let (found, steps) = detect(idle(20).chain([(high, high), (high, high)]));
    assert_eq!((found.len(), steps), (0, 1));
}

proptest! {
    #[test]
    fn any_ticks_give_sane_spikes(rows in prop::collection::vec((0_u64..1 << 30, 0_u64..1 << 30), 0..400)) {
        let (found, _) = detect(rows.iter().map(|&(usage, rise)| (usage, usage + rise)));
        for spike in found {
            prop_assert!(spike.begin <= spike.at && spike.at <= spike.end);
            prop_assert!(spike.rise <= spike.peak);
            prop_assert!(spike.rise >= LEAST_RISE);
        }
    }
}

#[test]
fn a_rise_that_is_held_up_on_its_way_is_one_spike_of_its_whole_height() {
    // As of a service that is not scheduled for a while.
    let (half, top) = (BASE + (6 << 20), BASE + (9 << 20));
    let mut rows: Vec<_> = idle(20).collect();
    rows.extend(std::iter::repeat_n((half, half), 60));
    rows.extend([(top, top), (BASE, top)]);
    rows.extend(idle(20));
    let (found, steps) = detect(rows);
    assert_eq!((found.len(), steps), (1, 0), "{found:?}");
    assert_eq!((found[0].rise, found[0].peak), (Bytes::from_mib(9), Bytes::new(top)));
    assert_eq!(found[0].at, Moment::from_millis(80));
}

#[test]
fn spikes_on_top_of_a_plateau_stay_their_own() {
    let (half, top) = (BASE + (6 << 20), BASE + (9 << 20));
    let mut rows: Vec<_> = idle(20).collect();
    for _ in 0..3 {
        rows.extend(std::iter::repeat_n((half, half), 60));
        rows.extend([(top, top), (half, top)]);
    }
    rows.extend(std::iter::repeat_n((half, half), 60));
    rows.extend(idle(20));
    let (found, _) = detect(rows);
    let rises: Vec<_> = found.iter().map(|spike| spike.rise.get() >> 20).collect();
    assert_eq!(rises, [3, 3, 3, 6]);
}

/// Ticks of a level that rises and falls by a quarter of `rise` a tick and is held in between.
fn slope(base: u64, rise: u64, held: usize) -> Vec<(u64, u64)> {
    let part = |n: u64| base + rise * n / 4;
    let mut rows: Vec<_> = (1..4).map(|n| (part(n), part(n))).collect();
    rows.extend(std::iter::repeat_n((part(4), part(4)), held));
    rows.extend((1..4).rev().map(|n| (part(n), part(n + 1))));
    rows
}

#[test]
fn bursts_that_are_held_are_found_though_a_step_below_them_still_waits() {
    let rise = 6 << 20;
    let mut rows: Vec<_> = std::iter::repeat_n((1 << 20, 1 << 20), 20).collect();
    for _ in 0..10 {
        rows.extend(idle(400));
        rows.extend(slope(BASE, rise, 40));
    }
    rows.extend(idle(3000));
    let (found, steps) = detect(rows);
    let rises: Vec<_> = found.iter().map(|spike| spike.rise.get()).collect();
    assert_eq!((rises, steps), (vec![rise; 10], 1));
}

#[test]
fn a_staircase_that_falls_in_one_go_is_one_spike() {
    let stair = |n: u64| BASE + (n << 22);
    let mut rows: Vec<_> = idle(20).collect();
    rows.extend((1..=4).flat_map(|n| std::iter::repeat_n((stair(n), stair(n)), 50)));
    rows.extend((1..=3).rev().map(|n| (stair(n), stair(n + 1))));
    rows.push((BASE, stair(1)));
    rows.extend(idle(100));
    let (found, steps) = detect(rows);
    assert_eq!((found.len(), steps), (1, 0), "{found:?}");
    assert_eq!((found[0].rise, found[0].peak), (Bytes::from_mib(16), Bytes::new(stair(4))));
}

#[test]
fn more_stairs_than_can_wait_lose_no_height() {
    let stair = |n: u64| BASE + (n << 20);
    let mut rows: Vec<_> = idle(20).collect();
    rows.extend((1..=20).flat_map(|n| std::iter::repeat_n((stair(n), stair(n)), 25)));
    rows.extend(idle(100));
    let (found, _) = detect(rows);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].rise, Bytes::from_mib(20));
}
