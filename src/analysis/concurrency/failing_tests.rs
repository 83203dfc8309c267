use std::collections::BTreeMap;

use super::*;
use crate::analysis::columns::LatencyCounts;
use crate::event::{Counts, Histogram, TrafficWindow};

/// Windows of a second with 100 requests each, so many of them with a status.
fn rows(seconds: u64, of: impl Fn(u64) -> (u16, u64)) -> Rows {
    let mut rows = Rows::default();
    for second in 0..seconds {
        let (code, count) = of(second);
        let mut latency_us = Histogram::new();
        latency_us.record(1000);
        let window = TrafficWindow {
            start: Moment::from_millis(1000 * second),
            counts: Counts { ended: 100, failed: count, ..Counts::default() },
            status: BTreeMap::from([(200, 100 - count), (code, count)]),
            latency_us,
            ..TrafficWindow::default()
        };
        let at = Moment::from_millis(1000 * (second + 1));
        rows.traffic(at, &window, LatencyCounts::of(at, &window));
    }
    rows
}

fn kinds(rows: &Rows, climb: Option<&Climb<'_>>) -> Vec<FailureKind> {
    let found = patterns(rows, climb, |span| Some(span.middle()));
    found.into_iter().map(|row| row.kind).collect()
}

#[test]
fn each_pattern_is_told_and_even_failures_are_none() {
    assert_eq!(kinds(&rows(40, |_| (500, 3)), None), []);
    assert_eq!(kinds(&rows(40, |_| (429, 20)), None), []);
    assert_eq!(kinds(&rows(40, |n| (500, n / 4)), None), [FailureKind::ErrorsGrow]);
    assert_eq!(kinds(&rows(40, |n| (429, n / 2)), None), [FailureKind::RateLimited]);
    let most = |n| (429, if n < 20 { 60 } else { 95 });
    assert_eq!(kinds(&rows(40, most), None), [FailureKind::RateLimited]);
    let burst = |n| (503, if (20..23).contains(&n) { 60 } else { 0 });
    assert_eq!(kinds(&rows(40, burst), None), [FailureKind::UnavailableBurst]);
    let found = patterns(&rows(40, burst), None, |_| None);
    assert_eq!(found[0].at, Some(Moment::from_millis(20_000)));
    assert!(found[0].text.contains("180 within 3.0 s, 60 %"), "{found:?}");
    assert_eq!(kinds(&rows(40, |n| (503, u64::from(n == 9))), None), []);
}

#[test]
fn failures_before_saturation_are_told_from_those_of_too_much_load() {
    let levels = |fails_from: f64| -> Vec<LoadLevel> {
        let level = |n: u32| {
            let load = f64::from(n) * 10.0;
            let failed = if load >= fails_from { 8 } else { 0 };
            LoadLevel { load, requests: 100, failed, ..LoadLevel::default() }
        };
        (1..=10).map(level).collect()
    };
    let saturated = Saturation {
        highest: 100.0,
        highest_at: 60.0,
        from: Some(60.0),
        collapses_from: None,
        at_end: 100.0,
    };
    let told = |fails_from, throughput| {
        let levels = levels(fails_from);
        let climb = Climb { axis: LoadAxis::Users, levels: &levels, throughput: Some(throughput) };
        early(&climb).and_then(|row| row.from_load)
    };
    assert_eq!(told(30.0, saturated), Some(30.0));
    assert_eq!(told(60.0, saturated), None);
    let follows = Saturation { from: None, ..saturated };
    assert_eq!(told(60.0, follows), Some(60.0));
    assert_eq!(told(100.0, follows), None);
}

#[test]
fn shedding_at_the_top_of_a_climb_is_no_burst() {
    let shed = |n| (503, if n >= 36 { 60 } else { 0 });
    let climb = Climb { axis: LoadAxis::Users, levels: &[], throughput: None };
    assert_eq!(kinds(&rows(40, shed), Some(&climb)), []);
}
