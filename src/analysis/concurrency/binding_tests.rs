use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const HOST: Host =
    Host { cores: 2.0, all_cores: 8.0, generator_cores: Some(0.5), generator_saturated: false };

/// Levels from little to much load, each measure as a share of the way up.
fn levels(of: impl Fn(f64) -> LoadLevel) -> Vec<LoadLevel> {
    (1..=16).map(|n| LoadLevel { load: f64::from(n) * 5.0, ..of(f64::from(n) / 16.0) }).collect()
}

const SLOWER: Divergence = Divergence { low_ms: (10.0, 15.0), high_ms: (40.0, 60.0) };
const APART: Divergence = Divergence { low_ms: (10.0, 15.0), high_ms: (11.0, 90.0) };
const SAME: Divergence = Divergence { low_ms: (10.0, 15.0), high_ms: (11.0, 17.0) };

const SATURATED: Saturation = Saturation {
    highest: 800.0,
    highest_at: 50.0,
    from: Some(35.0),
    collapses_from: None,
    at_end: 795.0,
};
const FOLLOWS: Saturation = Saturation { from: None, ..SATURATED };

fn by(levels: &[LoadLevel], latency: Divergence, throughput: Saturation) -> Bound {
    bound(levels, Some(&latency), Some(&throughput), HOST).by
}

type Change = fn(&mut LoadLevel, f64);

fn calm(rng: &mut ChaCha8Rng, share: f64) -> LoadLevel {
    LoadLevel {
        cpu_cores: Some(0.3 * share + rng.random_range(0.0..0.2)),
        throttled: Some(rng.random_range(0.0..1.0)),
        cpu_wait: Some(rng.random_range(0.0..15.0)),
        memory_wait: Some(rng.random_range(0.0..1.0)),
        io_wait: Some(rng.random_range(0.0..8.0)),
        ..LoadLevel::default()
    }
}

proptest! {
    // The same cases each time: of noise, chance decides what a statistic says.
    #![proptest_config(ProptestConfig {
        rng_seed: proptest::test_runner::RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]
    #[test]
    fn each_is_called_by_what_stands_out(seed in any::<u64>()) {
        let made = |change: Change| {
            let rng = std::cell::RefCell::new(ChaCha8Rng::seed_from_u64(seed));
            levels(move |share| {
                let mut level = calm(&mut rng.borrow_mut(), share);
                change(&mut level, share);
                level
            })
        };
        let cases: [(Change, Bound); 6] = [
            (|_, _| {}, Bound::Pool),
            (|row, share| row.cpu_cores = Some((3.0 * share).min(1.95)), Bound::Cpu),
            (|row, share| row.throttled = Some(60.0 * share), Bound::Cpu),
            (|row, share| row.memory_wait = Some(50.0 * share * share), Bound::Memory),
            (|row, share| row.io_wait = Some(90.0 * share), Bound::Io),
            (|row, share| row.cpu_cores = Some((2.4 * share).min(1.45)), Bound::Unclear),
        ];
        for (change, expected) in cases {
            let levels = made(change);
            prop_assert_eq!(by(&levels, SLOWER, SATURATED), expected, "seed {}", seed);
            prop_assert_eq!(by(&levels, SAME, FOLLOWS), Bound::Nothing, "seed {}", seed);
        }
        prop_assert_eq!(by(&made(|_, _| {}), APART, FOLLOWS), Bound::Pool, "p99 up, p50 flat");
    }
}

#[test]
fn without_numbers_it_is_unclear_and_a_saturated_generator_spoils_it() {
    let nothing = levels(|_| LoadLevel::default());
    let told = bound(&nothing, Some(&SLOWER), Some(&SATURATED), HOST);
    assert_eq!(told.by, Bound::Unclear);
    assert!(told.evidence.iter().any(|row| row.contains("nothing is known")), "{told:?}");
    assert_eq!(bound(&nothing, None, None, HOST).by, Bound::Unclear);
    let busy = levels(|_| LoadLevel { cpu_cores: Some(1.99), ..LoadLevel::default() });
    let spoilt = Host { generator_saturated: true, ..HOST };
    assert_eq!(bound(&busy, Some(&SLOWER), Some(&SATURATED), spoilt).by, Bound::Unclear);
    // An idle target beside a generator that takes all cores may only be starved.
    let idle = levels(|_| LoadLevel { cpu_cores: Some(0.6), ..LoadLevel::default() });
    let starved = Host { generator_cores: Some(6.5), ..HOST };
    assert_eq!(bound(&idle, Some(&SLOWER), Some(&SATURATED), starved).by, Bound::Unclear);
    assert_eq!(bound(&idle, Some(&SLOWER), Some(&SATURATED), HOST).by, Bound::Pool);
}

#[test]
fn a_pools_size_is_told_by_littles_law() {
    let idle = levels(|_| LoadLevel { cpu_cores: Some(0.2), ..LoadLevel::default() });
    let told = bound(&idle, Some(&SLOWER), Some(&SATURATED), HOST);
    assert!(told.evidence.iter().any(|row| row.contains("about 8 at work at once")), "{told:?}");
}

#[test]
fn threads_and_sockets_that_stay_are_evidence_of_a_pool() {
    let idle = levels(|share| LoadLevel {
        cpu_cores: Some(0.2),
        threads: Some(9.0),
        sockets: Some(10.0 + 80.0 * share),
        ..LoadLevel::default()
    });
    let told = bound(&idle, Some(&SLOWER), Some(&SATURATED), HOST);
    let last = told.evidence.last().expect("there is evidence");
    assert!(last.ends_with("; 9 threads whatever the load"), "{told:?}");
}

#[test]
fn one_full_core_binds_beside_others_that_rest_unless_it_always_was_full() {
    let one = |busiest: fn(f64) -> f64| {
        let levels = levels(|share| LoadLevel {
            cpu_cores: Some(1.3),
            busiest_core: Some(busiest(share)),
            ..LoadLevel::default()
        });
        by(&levels, SLOWER, SATURATED)
    };
    assert_eq!(one(|share| (2.0 * share).min(0.99)), Bound::Cpu);
    assert_eq!(one(|_| 0.99), Bound::Unclear, "it spins");
    assert_eq!(one(|_| 0.7), Bound::Unclear);
}
