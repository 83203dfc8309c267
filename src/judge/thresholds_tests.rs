//! Rules over hand-made events.

use std::time::Duration;

use super::*;
use crate::event::{
    Counts, Evidence, Histogram, IterationWindow, LifeStart, MemoryWindow, MetricSums, OomKill,
    Status, StatusWindow, TaskIo, TrafficWindow,
};
use crate::plan::{CustomKind, LimitsOutline, MetricName, PhaseOutline, StepOutline, Words};
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
        held_mean: None,
        oom_kills: None,
    }
}

fn outline() -> Outline {
    let phase = |name: &str| PhaseOutline { name: name.to_owned(), ..PhaseOutline::default() };
    let step = |scenario: &str, step: &str| StepOutline {
        scenario: scenario.to_owned(),
        step: step.to_owned(),
        tags: [("team".to_owned(), scenario.to_owned())].into(),
        method: step.split(' ').next().unwrap_or_default().to_owned(),
        body_max: Bytes::ZERO,
        body_wanted: None,
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
        words: words(),
    }
}

/// The outline's own words: two metrics and a tag.
fn words() -> Words {
    let metric = |name: &str, kind| MetricName { name: name.to_owned(), kind };
    let metrics = vec![metric("hits", CustomKind::Rate), metric("items", CustomKind::Counter)];
    Words { metrics, tags: ["team".to_owned()].into() }
}

fn rules(rows: &[(&str, &str)]) -> Thresholds {
    let rule = |row: &(&str, &str)| {
        Rule::parse_among(&words(), row.0, row.1, Some(Duration::ZERO)).unwrap()
    };
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
        ..TrafficWindow::default()
    };
    at(2000, What::Traffic(Box::new(window)))
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

/// Two seconds of traffic: answered with 200 in 1 ms, and with 503 in 300 ms.
fn mixed(at_ms: u64, phase: u16) -> Event {
    let times = |us: u64, count: u64| {
        let mut histogram = Histogram::new();
        (0..count).for_each(|_| histogram.record(us));
        histogram
    };
    let row = |code: u16, count: u64, us: u64| StatusWindow {
        status: Status::Code(code),
        expected: code < 400,
        count,
        failed: if code < 400 { 0 } else { count },
        latency_us: times(us, count),
        duration_us: times(us, count),
        waiting_us: times(us / 2, count),
        receiving_us: times(us / 2, count),
    };
    let rows = vec![row(200, 90, 1000), row(503, 10, 300_000)];
    let mut all = StatusWindow::default();
    for row in &rows {
        all.add(row);
    }
    let window = TrafficWindow {
        start: Moment::from_millis(at_ms - 1000),
        phase,
        step: 1,
        counts: Counts {
            ended: 100,
            failed: 10,
            checks_passed: 195,
            checks_failed: 5,
            bytes_received: 5000,
            ..Counts::default()
        },
        metrics: [(0, MetricSums { hits: 60, of: 80 }), (1, MetricSums { hits: 300, of: 100 })]
            .into(),
        status: [(200, 90), (503, 10)].into(),
        latency_us: all.latency_us,
        duration_us: all.duration_us,
        waiting_us: all.waiting_us,
        receiving_us: all.receiving_us,
        by_status: rows,
        ..TrafficWindow::default()
    };
    at(at_ms, What::Traffic(Box::new(window)))
}

fn run_with(rows: &[(&str, &str)]) -> Thresholds {
    let mut thresholds = rules(rows);
    begin(&mut thresholds, LifeRole::Main);
    thresholds.feed(&at(1000, What::PhaseBegin { phase: 0 }));
    thresholds
}

#[test]
fn requests_are_told_apart_by_what_came_of_them() {
    let mut thresholds = run_with(&[
        ("http_reqs{status:503}", "count<10"),
        ("http_reqs{status:0}", "count==0"),
        ("http_req_duration{expected_response:true}", "p(95)<200"),
        ("http_req_duration{status:503}", "med<200"),
        ("http_req_failed{status:200}", "rate==0"),
        ("http_req_waiting", "max<100"),
        ("http_req_receiving{status:200}", "max<1"),
        ("checks{name:POST /orders}", "rate>0.99"),
        ("checks{method:GET}", "rate>0.99"),
        ("http_reqs{method:post}", "count==100"),
        ("data_received", "count<=5000"),
        ("hits", "rate>0.8"),
        ("items{team:orders,phase:ramp}", "count==300"),
        ("items", "rate<100"),
        ("items{team:read}", "count>0"),
        ("http_reqs{team:read}", "count==0"),
        ("http_reqs{team:orders}", "count==100"),
    ]);
    thresholds.feed(&mixed(2000, 0));
    thresholds.finish();
    let expected = [
        (Some(10.0), Some(false)),
        (Some(0.0), Some(true)),
        (Some(1.0), Some(true)),
        (Some(300.0), Some(false)),
        (Some(0.0), Some(true)),
        (Some(150.0), Some(false)),
        (Some(0.5), Some(true)),
        (Some(0.975), Some(false)),
        (None, None),
        (Some(100.0), Some(true)),
        (Some(5000.0), Some(true)),
        (Some(0.75), Some(false)),
        (Some(300.0), Some(true)),
        (Some(300.0), Some(false)),
        (Some(0.0), Some(false)),
        (Some(0.0), Some(true)),
        (Some(100.0), Some(true)),
    ];
    for ((got, expected), row) in
        values(&thresholds).iter().zip(expected).zip(thresholds.measured())
    {
        let near = match (got.0, expected.0) {
            (Some(got), Some(expected)) => (got - expected).abs() <= expected * 0.001,
            (got, expected) => got == expected,
        };
        assert!(near && got.1 == expected.1, "{} {}: {got:?}", row.metric, row.rule);
    }
    assert_eq!(thresholds.measured()[5].broken_at, Some(Moment::from_millis(2000)));
}

#[test]
fn runs_and_users_are_judged() {
    let mut thresholds = run_with(&[
        ("iterations", "rate>4"),
        ("iterations{scenario:orders}", "count==10"),
        ("iterations{scenario:read}", "count==0"),
        ("iteration_duration", "p(95)<30000"),
        ("dropped_iterations", "count<3"),
        ("vus", "max<9"),
        ("vus", "value<9"),
        ("vus_max{phase:ramp}", "value<=9"),
    ]);
    let mut duration_us = Histogram::new();
    (0..10).for_each(|_| duration_us.record(2_000_000));
    let start = Moment::from_millis(1000);
    let (ended, begun, dropped) = (10, 12, 3);
    let runs = IterationWindow { start, phase: 0, step: 1, begun, ended, dropped, duration_us };
    thresholds.feed(&at(2000, What::Iterations(runs)));
    for (ms, min, max, last) in [(2000, 1, 9, 8), (3000, 2, 8, 2)] {
        let window = UserWindow { start: Moment::from_millis(ms - 1000), phase: 0, min, max, last };
        thresholds.feed(&at(ms, What::Users(window)));
    }
    thresholds.feed(&at(3000, What::PhaseEnd { phase: 0 }));
    let got = values(&thresholds);
    let passes: Vec<_> = got.iter().map(|row| row.1.unwrap()).collect();
    assert_eq!(passes, [true, true, true, true, false, false, true, true]);
    assert_eq!(
        (got[0].0, got[5].0, got[6].0, got[7].0),
        (Some(5.0), Some(9.0), Some(2.0), Some(9.0))
    );
}

#[test]
fn an_abort_waits_for_its_delay_and_looks_at_traffic_every_two_seconds() {
    let rule = |delay| Rule::parse("http_req_failed", "rate<0.01", Some(delay)).unwrap();
    let delay = Duration::from_secs(10);
    let mut thresholds = Thresholds::new(vec![rule(delay)], &outline());
    thresholds.feed(&at(5000, What::PhaseBegin { phase: 0 }));
    thresholds.feed(&mixed(7000, 0));
    assert!(thresholds.broken().is_none());
    thresholds.feed(&mixed(14_900, 0));
    assert!(thresholds.broken().is_none());
    thresholds.feed(&mixed(15_000, 0));
    assert!(thresholds.broken().is_none(), "it was looked at a moment ago");
    thresholds.feed(&mixed(17_000, 0));
    assert!(thresholds.broken().is_some());
}

#[test]
fn traffic_is_judged_by_stretches_in_its_phase() {
    let mut thresholds = run_with(&[
        ("http_req_failed", "rate<0.05 over 10s"),
        ("http_reqs", "count<=1000 over 10s"),
        ("http_reqs", "rate>90 over 10s"),
        ("http_req_duration{phase:ramp}", "max<200 over 5s"),
        ("http_req_duration{phase:burst}", "max<200 over 5s"),
        ("http_reqs", "count>1 over 10m"),
    ]);
    for second in 2..=31 {
        if second == 21 {
            thresholds.feed(&at(21_000, What::PhaseEnd { phase: 0 }));
            thresholds.feed(&at(21_000, What::PhaseBegin { phase: 1 }));
        }
        let phase = u16::from(second > 21);
        if phase == 0 {
            thresholds.feed(&mixed(second * 1000, phase));
        } else {
            let mut event = traffic(1, 0, 1000, 100, 0);
            event.at = Moment::from_millis(second * 1000);
            if let What::Traffic(window) = &mut event.what {
                window.start = Moment::from_millis(second * 1000 - 1000);
            }
            thresholds.feed(&event);
        }
    }
    thresholds.feed(&at(31_000, What::PhaseEnd { phase: 1 }));
    thresholds.finish();
    let rows = thresholds.measured();
    let got: Vec<_> = rows.iter().map(|row| (row.value, row.pass)).collect();
    assert_eq!(got[0], (Some(0.1), Some(false)));
    assert_eq!(got[1], (Some(1000.0), Some(true)));
    assert_eq!(got[2], (Some(100.0), Some(true)));
    assert_eq!(got[3].1, Some(false));
    assert_eq!(got[4], (Some(1.0), Some(true)));
    assert_eq!(got[5], (None, None), "the run was shorter");
    assert_eq!(rows[0].broken_at, Some(Moment::from_millis(11_000)));
}

#[test]
fn memory_may_be_beyond_for_a_while() {
    let mut thresholds = run_with(&[
        ("memory", "max<80%"),
        ("memory", "max<80% for 10s"),
        ("memory", "max<80% for 2s"),
        ("memory", "max<95% over 2s"),
        ("memory", "avg<60% over 10s"),
    ]);
    for tenth in 0..300 {
        let mib = if (100..150).contains(&tenth) { 90 } else { 50 };
        level(&mut thresholds, 1000 + tenth * 100, mib);
    }
    thresholds.finish();
    let rows = thresholds.measured();
    let passes: Vec<_> = rows.iter().map(|row| row.pass.unwrap()).collect();
    assert_eq!(passes, [false, true, false, true, false]);
    let mib = |mib: u64| Some(Bytes::from_mib(mib).as_f64());
    let got: Vec<_> = rows.iter().map(|row| row.value).collect();
    assert_eq!(got[..4], [mib(90), mib(50), mib(90), mib(90)]);
    assert_eq!(rows[0].broken_at, Some(Moment::from_millis(11_100)));
    assert_eq!(rows[2].broken_at, Some(Moment::from_millis(13_000)));
    assert!(thresholds.broken().is_some());
}
