//! Rules over hand-made events.

use super::*;
use crate::event::{Evidence, LifeStart, OomKill, TaskIo};
use crate::plan::{LimitsOutline, PhaseOutline, StepOutline};
use crate::units::Bytes;

/// A window of nothing.
pub(in crate::judge) fn window(life: LifeId) -> MemoryWindow {
    MemoryWindow {
        life,
        start: Moment::START,
        ticks: 100,
        missed: 0,
        usage: Band::default(),
        peak: Bytes::ZERO,
        peak_at: Moment::START,
        rss: Band::default(),
        cache: Band::default(),
        shmem: Band::default(),
        working_set: Band::default(),
        unreclaimable_low: Band::default(),
        unreclaimable_high: Band::default(),
        limit_hits: None,
        kernel: None,
        oom_kills: None,
    }
}

fn outline() -> Outline {
    let phase = |name: &str| PhaseOutline { name: name.to_owned(), length_ns: 0, bursts: false };
    let step = |scenario: &str, step: &str| StepOutline {
        scenario: scenario.to_owned(),
        step: step.to_owned(),
        body_max: Bytes::ZERO,
    };
    Outline {
        name: "test".to_owned(),
        limits: LimitsOutline {
            memory: Limit::Bytes(Bytes::from_mib(100)),
            cpus: None,
            pids: None,
        },
        tick_ns: 1_000_000,
        window_ns: 100_000_000,
        settle_ns: 0,
        phases: vec![phase("ramp"), phase("burst")],
        steps: vec![step("read", "GET /"), step("orders", "POST /orders")],
        thresholds: Vec::new(),
    }
}

fn rules(rows: &[(&str, &str)]) -> Thresholds {
    let rule = |row: &(&str, &str)| Rule::parse(row.0, row.1, true).unwrap();
    Thresholds::new(rows.iter().map(rule).collect(), &outline())
}

fn at(ms: u64, what: What) -> Event {
    let at = Moment::from_millis(ms);
    Event { at, what }
}

fn begin(thresholds: &mut Thresholds, role: LifeRole) {
    let (life, limit) = (LifeId(0), Limit::Unlimited);
    thresholds.feed(&at(0, What::Life(LifeStart { life, role, limit })));
    let before_exec = Bytes::ZERO;
    thresholds.feed(&at(10, What::Exec { life, before_exec }));
}

fn level(thresholds: &mut Thresholds, start: u64, mib: u64) {
    let band = Band::of(Bytes::from_mib(mib));
    let memory = MemoryWindow {
        start: Moment::from_millis(start),
        peak_at: Moment::from_millis(start + 50),
        unreclaimable_high: band,
        usage: band,
        ..window(LifeId(0))
    };
    thresholds.feed(&at(start + 100, What::Memory(memory)));
}

fn traffic(phase: u16, step: u16, us: u64, count: u64, failed: u64) -> Event {
    let mut histogram = Histogram::new();
    (0..count).for_each(|_| histogram.record(us));
    let window = TrafficWindow {
        start: Moment::START,
        phase,
        step,
        counts: Counts { ended: count, failed, ..Counts::default() },
        status: BTreeMap::new(),
        errors: BTreeMap::new(),
        latency_us: histogram.clone(),
        duration_us: histogram,
        lateness_us: Histogram::new(),
    };
    at(2000, What::Traffic(window))
}

fn values(thresholds: &Thresholds) -> Vec<(Option<f64>, Option<bool>)> {
    let rows = thresholds.measured();
    rows.iter().map(|row| (row.value, row.pass)).collect()
}

#[test]
fn memory_is_judged_by_phase_and_by_the_limit() {
    let mut thresholds = rules(&[
        ("memory", "max<80%"),
        ("memory{phase:ramp}", "max<80%"),
        ("memory{phase:burst}", "max<80%"),
        ("memory{phase:none}", "max<80%"),
        ("memory", "oom_kills==0"),
    ]);
    begin(&mut thresholds, LifeRole::Main);
    thresholds.feed(&at(100, What::PhaseBegin { phase: 0 }));
    level(&mut thresholds, 200, 50);
    assert!(thresholds.broken().is_none());
    thresholds.feed(&at(400, What::PhaseEnd { phase: 0 }));
    thresholds.feed(&at(400, What::PhaseBegin { phase: 1 }));
    level(&mut thresholds, 500, 90);
    let mib = |mib: u64| Some(Bytes::from_mib(mib).as_f64());
    let expected = [
        (mib(90), Some(false)),
        (mib(50), Some(true)),
        (mib(90), Some(false)),
        (None, None),
        (Some(0.0), Some(true)),
    ];
    assert_eq!(values(&thresholds), expected);
    assert_eq!(thresholds.broken().unwrap().selector, "memory");
}

#[test]
fn kills_told_by_two_sources_are_counted_once() {
    let mut thresholds = rules(&[
        ("memory", "oom_kills==0"),
        ("memory{phase:ramp}", "oom_kills==0"),
        ("memory{phase:burst}", "oom_kills==0"),
    ]);
    begin(&mut thresholds, LifeRole::Main);
    thresholds.feed(&at(100, What::PhaseBegin { phase: 0 }));
    for (evidence, count) in [(Evidence::Events, Some(1)), (Evidence::Docker, None)] {
        let life = LifeId(0);
        let kill = OomKill { life, evidence, count };
        thresholds.feed(&at(200, What::OomKill(kill)));
    }
    let expected = [(1.0, false), (1.0, false), (0.0, true)];
    let expected = expected.map(|(value, pass)| (Some(value), Some(pass)));
    assert_eq!(values(&thresholds), expected);
    assert!(thresholds.broken().is_some());
}

#[test]
fn times_and_failures_are_judged_by_phase_and_step() {
    let mut thresholds = rules(&[
        ("http_req_duration{phase:burst}", "p(95)<200"),
        ("http_req_duration{step:GET /}", "p(95)<200"),
        ("http_req_latency{scenario:orders}", "max<200"),
        ("http_req_failed", "rate<0.01"),
        ("http_reqs", "count>100"),
        ("http_reqs{phase:burst}", "rate>10"),
    ]);
    begin(&mut thresholds, LifeRole::Main);
    assert!(values(&thresholds).iter().take(4).all(|row| row.0.is_none()));
    thresholds.feed(&at(0, What::PhaseBegin { phase: 0 }));
    thresholds.feed(&at(1000, What::PhaseEnd { phase: 0 }));
    thresholds.feed(&at(1000, What::PhaseBegin { phase: 1 }));
    thresholds.feed(&traffic(0, 0, 1_000, 50, 0));
    thresholds.feed(&traffic(1, 1, 300_000, 50, 10));
    thresholds.feed(&at(2000, What::PhaseEnd { phase: 1 }));
    let got = values(&thresholds);
    let passes: Vec<_> = got.iter().map(|row| row.1.unwrap()).collect();
    assert_eq!(passes, [false, true, false, false, false, true]);
    assert_eq!(got[3].0, Some(0.1));
    assert_eq!(got[5].0, Some(50.0));
    // A count that may still be reached is no reason to stop.
    assert_eq!(thresholds.broken().unwrap().selector, "http_req_duration{phase:burst}");
}

#[test]
fn startup_and_ready_are_of_trials() {
    let mut thresholds =
        rules(&[("startup", "max<40MiB"), ("ready", "max<1s"), ("memory", "max<1")]);
    begin(&mut thresholds, LifeRole::Trial { number: 1 });
    level(&mut thresholds, 10, 50);
    let life = LifeId(0);
    thresholds.feed(&at(12, What::Started { life }));
    thresholds.feed(&at(510, What::Ready { life }));
    let expected = [
        (Some(Bytes::from_mib(50).as_f64()), Some(false)),
        (Some(500.0), Some(true)),
        (None, None),
    ];
    assert_eq!(values(&thresholds), expected);
}

#[test]
fn what_was_written_is_judged_from_the_lifes_start_to_its_end() {
    let mut thresholds = rules(&[
        ("disk_written", "max<10MiB"),
        ("log_bytes", "last<1KiB"),
        ("log_bytes{phase:none}", "max<1"),
        ("psi_memory", "max<50"),
    ]);
    begin(&mut thresholds, LifeRole::Main);
    for second in 1..4 {
        let written = TaskIo { read_bytes: 0, written_bytes: second << 22 };
        let vitals = Vitals {
            life: Some(LifeId(0)),
            task_io: Some(written),
            log_bytes: Some(second * 300),
            psi_some_us: Some(second * 40_000),
            ..Vitals::default()
        };
        thresholds.feed(&at(second * 1000, What::Vitals(Box::new(vitals))));
    }
    let logged = What::Logged { life: LifeId(0), bytes: Bytes::new(1100) };
    thresholds.feed(&at(3500, logged));
    let expected = [
        (Some(12_582_912.0), Some(false)),
        (Some(1100.0), Some(false)),
        (None, None),
        (Some(40.0), Some(true)),
    ];
    assert_eq!(values(&thresholds), expected);
}

#[test]
fn vitals_are_judged_by_how_they_move() {
    let mut thresholds = rules(&[("cpu", "max<2"), ("threads", "max<10"), ("throttled", "max<1%")]);
    begin(&mut thresholds, LifeRole::Main);
    for second in 1..4 {
        let vitals = Vitals {
            life: Some(LifeId(0)),
            cpu_ns: Some(second * 1_500_000_000),
            throttled_ns: Some(second * 100_000_000),
            threads: 4,
            ..Vitals::default()
        };
        thresholds.feed(&at(second * 1000, What::Vitals(Box::new(vitals))));
    }
    let expected = [(1.5, true), (4.0, true), (10.0, false)];
    let expected = expected.map(|(value, pass)| (Some(value), Some(pass)));
    assert_eq!(values(&thresholds), expected);
}
