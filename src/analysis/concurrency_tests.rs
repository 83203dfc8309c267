//! Made-up ramps of known answer, told through events as a run tells them.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::analysis::analyse;
use crate::analysis::synthetic::{ANCHOR, Script, facts};
use crate::analysis::{Findings, Level, float};
use crate::event::{
    Band, Counts, Event, Histogram, LifeRole, LifeStart, MemoryWindow, PeakMethod, StepFlow, What,
};

/// A closed ramp from nobody to `users`, in `seconds`, over a service that is a queue before so many
/// workers.
#[derive(Debug, Clone, Copy)]
struct Ramp {
    seconds: u64,
    users: u32,
    /// Whether it comes down again, in as long.
    comes_down: bool,
    workers: f64,
    work_ms: f64,
    base_mib: f64,
    /// Memory of a user, in MiB.
    each_mib: f64,
    /// Cores used by a worker at work.
    core: f64,
    seed: u64,
}

const RAMP: Ramp = Ramp {
    seconds: 30,
    users: 60,
    comes_down: false,
    workers: f64::INFINITY,
    work_ms: 50.0,
    base_mib: 40.0,
    each_mib: 0.0,
    core: 0.005,
    seed: 7,
};

const LIFE: LifeId = LifeId(0);

impl Ramp {
    fn outline(self) -> Outline {
        let script = Script { phases: vec![("ramp", self.seconds, false)], ..Script::default() };
        let mut outline = script.outline();
        outline.limits.cpus = Some(2.0);
        outline.phases[0].steady = Some(false);
        outline.phases[0].pace = Some(PaceOutline::Users);
        outline
    }

    fn users_at(self, seconds: f64) -> f64 {
        let share = seconds / float(self.seconds);
        let share = if share > 1.0 { (2.0 - share).max(0.0) } else { share };
        f64::from(self.users) * share
    }

    fn findings(self) -> Findings {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut events = vec![
            at(0, What::Life(LifeStart { life: LIFE, role: LifeRole::Main, limit: limit() })),
            at(0, What::Sampling(sampling())),
            at(0, What::Exec { life: LIFE, before_exec: Bytes::ZERO }),
            at(0, What::Ready { life: LIFE }),
            at(0, What::PhaseBegin { phase: 0 }),
        ];
        let windows = self.seconds * 10 * if self.comes_down { 2 } else { 1 };
        let (mut cpu_ns, mut due) = (0.0, 0.0);
        for n in 1..=windows {
            let users = self.users_at(float(n) / 10.0 - 0.05);
            let busy = users.min(self.workers);
            let rate = busy / (self.work_ms / 1e3);
            due += rate / 10.0;
            cpu_ns += busy * self.core * 1e8;
            let ended = whole(due);
            due -= float(ended);
            let mib = self.base_mib + self.each_mib * users + rng.random_range(-0.15..0.15);
            events.push(at(100 * n, memory(n, mib)));
            events.push(at(100 * n, flow(n, ended, whole(users))));
            if n % 10 == 0 {
                let waits = (users / self.workers).max(1.0);
                let times = (0..200).map(|_| self.work_ms * waits * rng.random_range(0.9..1.1));
                events.push(at(100 * n, traffic(n, times, 10 * ended.max(1))));
                events.push(at(100 * n, users_window(n, users)));
                events.push(at(100 * n, vitals(cpu_ns, users)));
            }
        }
        events.push(at(100 * windows, What::PhaseEnd { phase: 0 }));
        events.push(at(100 * windows + 1, What::Finished(crate::event::Finish::Completed)));
        analyse(&self.outline(), &facts(), ANCHOR, events)
    }

    fn told(self) -> Concurrency {
        let mut found = self.findings().concurrency;
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }
}

fn at(ms: u64, what: What) -> Event {
    Event { at: Moment::from_millis(ms), what }
}

fn limit() -> Limit {
    Limit::Bytes(Bytes::from_mib(256))
}

fn sampling() -> SamplingStart {
    SamplingStart {
        life: LIFE,
        method: PeakMethod::V2Reset,
        tick_ns: 1_000_000,
        charge_slack: Bytes::from_kib(504),
        spikes_told: false,
        unreclaimable_is_range: false,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}

fn memory(n: u64, mib: f64) -> What {
    let level = Band::of(Bytes::new(whole(mib * 1024.0 * 1024.0)));
    What::Memory(MemoryWindow {
        life: LIFE,
        start: Moment::from_millis(100 * (n - 1)),
        ticks: 100,
        missed: 0,
        usage: level,
        peak: level.max,
        peak_at: Moment::from_millis(100 * n - 50),
        rss: level,
        cache: Band::default(),
        shmem: Band::default(),
        working_set: level,
        unreclaimable_low: level,
        unreclaimable_high: level,
        limit_hits: None,
        kernel: None,
        oom_kills: None,
        held_mean: None,
    })
}

fn flow(n: u64, ended: u64, in_flight: u64) -> What {
    let in_flight = u32::try_from(in_flight).unwrap();
    let step = StepFlow {
        step: 0,
        sent: 1,
        ended: 1,
        in_flight_max: in_flight,
        in_flight_end: in_flight,
        body_bytes_sent: 0,
        bytes_received: 0,
        in_flight_us: None,
    };
    What::Flow(FlowWindow {
        start: Moment::from_millis(100 * (n - 1)),
        counts: Counts { due: ended, sent: ended, ended, ..Counts::default() },
        steps: vec![step],
    })
}

fn traffic(n: u64, times_ms: impl Iterator<Item = f64>, ended: u64) -> What {
    let mut latency_us = Histogram::new();
    times_ms.for_each(|ms| latency_us.record(whole(1e3 * ms)));
    What::Traffic(Box::new(TrafficWindow {
        start: Moment::from_millis(100 * (n - 10)),
        counts: Counts { ended, ..Counts::default() },
        status: BTreeMap::from([(200, ended)]),
        latency_us,
        ..TrafficWindow::default()
    }))
}

fn users_window(n: u64, users: f64) -> What {
    let users = u32::try_from(whole(users.round())).unwrap();
    What::Users(UserWindow {
        start: Moment::from_millis(100 * (n - 10)),
        phase: 0,
        min: 0,
        max: users,
        last: users,
    })
}

fn vitals(cpu_ns: f64, users: f64) -> What {
    What::Vitals(Box::new(Vitals {
        life: Some(LIFE),
        cpu_ns: Some(whole(cpu_ns)),
        throttled_ns: Some(0),
        threads: 5,
        open_files: Some(12 + u32::try_from(whole(users.round())).unwrap()),
        ..Vitals::default()
    }))
}

proptest! {
    // The same cases each time: of noise, chance decides what a statistic says.
    #![proptest_config(ProptestConfig {
        cases: 12,
        rng_seed: proptest::test_runner::RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_pool_is_called_so_with_its_size(seed in any::<u64>(), workers in 5_u32..15) {
        let told = Ramp { workers: f64::from(workers), seed, ..RAMP }.told();
        prop_assert_eq!(told.bound.by, Bound::Pool, "seed {}: {:?}", seed, told.bound);
        let from = told.throughput.unwrap().from.unwrap();
        prop_assert!((0.6..1.6).contains(&(from / f64::from(workers))), "seed {}: {}", seed, from);
        prop_assert_eq!(told.overload, Some(Overload::Slows));
        prop_assert_eq!(told.memory.unwrap().class, DependenceClass::Flat, "seed {}", seed);
    }

    #[test]
    fn memory_of_each_user_is_a_line_with_its_slope(seed in any::<u64>(), each in 0.2_f64..2.0) {
        let told = Ramp { each_mib: each, seed, ..RAMP }.told();
        let memory = told.memory.unwrap();
        prop_assert_eq!(memory.class, DependenceClass::Linear, "seed {}: {:?}", seed, memory);
        let slope = memory.per_unit.unwrap() / 1024.0 / 1024.0;
        prop_assert!((slope / each - 1.0).abs() < 0.06, "seed {}: {} of {}", seed, slope, each);
        prop_assert_eq!(told.bound.by, Bound::Nothing, "seed {}: {:?}", seed, told.bound);
        prop_assert_eq!(told.threads.unwrap().class, DependenceClass::Flat);
        let files = told.open_files.unwrap();
        prop_assert_eq!(files.class, DependenceClass::Linear, "{:?}", files);
        prop_assert!((files.per_unit.unwrap() - 1.0).abs() < 0.1, "{:?}", files);
        // 256 MiB less what is there, at so much a user.
        let full = (256.0 - 40.0) / each;
        let (from, to) = told.limit_full_at.unwrap();
        prop_assert!(from < 1.1 * full && to > 0.9 * full, "seed {}: {} to {}, {}", seed, from, to, full);
    }

    #[test]
    fn a_flat_service_is_flat_and_its_cpu_what_binds(seed in any::<u64>()) {
        let told = Ramp { workers: 20.0, core: 0.098, seed, ..RAMP }.told();
        prop_assert_eq!(told.bound.by, Bound::Cpu, "seed {}: {:?}", seed, told.bound);
        prop_assert_eq!(told.memory.unwrap().class, DependenceClass::Flat);
    }
}

#[test]
fn only_what_was_given_back_is_certainly_the_loads() {
    let near = Ramp { each_mib: 2.5, ..RAMP };
    let level = |ramp: Ramp| {
        let findings = ramp.findings();
        let reason = findings.reasons.iter().find(|row| row.id == "grows_with_load")?;
        Some(reason.level)
    };
    assert_eq!(level(near), Some(Level::Info), "a cache may have filled meanwhile");
    let back = Ramp { comes_down: true, ..near };
    assert!(back.told().given_back.unwrap() > 0.9);
    assert_eq!(level(back), Some(Level::Warn));
    assert_eq!(level(Ramp { each_mib: 0.3, ..back }), None, "the limit is far");
    assert_eq!(level(RAMP), None);
}

#[test]
fn a_load_that_stays_or_is_over_at_once_is_refused() {
    let few = Ramp { users: 3, ..RAMP }.told();
    assert_eq!(few.refused, Some(Refusal::LittleRange));
    assert!(few.levels.is_empty() && few.memory.is_none());
    let script = Script::default().findings();
    assert_eq!(script.concurrency, Vec::new(), "no load climbs there");
}

#[test]
fn an_hour_stays_bounded() {
    let mut rows = Rows::default();
    for n in 1..=36_000 {
        if let What::Flow(window) = flow(n, 5, n % 90) {
            rows.flow(Moment::START + Duration::from_millis(100 * n), &window);
        }
        if let What::Memory(window) = memory(n, 9.0) {
            rows.memory(Moment::START + Duration::from_millis(100 * n), &window);
        }
    }
    assert!(rows.flow.rows().count() <= 600 && rows.memory.rows().count() <= 600);
    assert_eq!(rows.flow.rows().map(|row| row.ended).sum::<u64>(), 180_000);
}
