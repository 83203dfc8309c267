//! What is due and sent when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use highwater::event::ErrorKind;
use highwater::plan::{Body, SizePoints, StepPlan, Think, TrafficPlan};
use highwater::units::Bytes;

use super::outcome::*;
use super::plans::*;
use super::server::*;

#[tokio::test]
async fn an_open_load_sends_exactly_what_was_scheduled() {
    let (to, _) = serve().await;
    let outcome =
        run(traffic(vec![step(0, "/")]), vec![phase(open(200.0, vec![], SECOND), SECOND)], to)
            .await;
    assert_eq!((outcome.total.due, outcome.total.sent, outcome.total.failed), (200, 200, 0));
    assert_eq!(outcome.status, BTreeMap::from([(200, 200)]));
    assert_eq!(outcome.latency_us.count(), 200);
    assert_eq!(outcome.lateness_us.count(), 200);
    assert!(outcome.total.bytes_sent > 200 * 20 && outcome.total.bytes_received >= 200 * 40);
    assert_eq!((outcome.report.workers, outcome.report.saturated), (2, false));
    assert!(outcome.report.cpu_ns > 0 && outcome.report.rss_peak > 1 << 20);
}

#[tokio::test]
async fn a_phase_that_follows_at_once_loses_and_doubles_nothing() {
    let (to, seen) = serve().await;
    let phases = (0..3).map(|_| phase(open(300.0, vec![], HALF), HALF)).collect();
    let outcome = run(traffic(vec![step(0, "/slow")]), phases, to).await;
    for index in 0..3 {
        let counts = outcome.phases[&index];
        assert_eq!((counts.due, counts.ended), (150, 150), "phase {index}");
    }
    // 15 in flight on average: connections are used again, across phases too.
    assert!(*seen.connections.lock().unwrap() < 100, "{seen:?}");
}

#[tokio::test]
async fn a_stall_shows_in_latency_from_due_and_shrinks_nothing() {
    let (to, seen) = serve().await;
    seen.stalled.store(true, Ordering::SeqCst);
    let ends = Arc::clone(&seen);
    let outcome = run_with(
        traffic(vec![step(0, "/")]),
        vec![phase(open(200.0, vec![], SECOND), SECOND)],
        to,
        1,
        move |_| {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(600)).await;
                ends.stalled.store(false, Ordering::SeqCst);
            });
        },
    )
    .await;
    assert_eq!((outcome.total.due, outcome.total.ended, outcome.total.failed), (200, 200, 0));
    let p99 = outcome.latency_us.percentile(99.0).unwrap();
    assert!((500_000..800_000).contains(&p99), "{p99} µs");
    let most = outcome.flows.iter().flat_map(|flow| &flow.steps).map(|step| step.in_flight_max);
    assert!(most.max().unwrap() >= 100);
}

#[tokio::test]
async fn what_is_due_beyond_the_bound_is_unsent() {
    let (to, seen) = serve().await;
    seen.stalled.store(true, Ordering::SeqCst);
    let plan = TrafficPlan { max_in_flight: 20, ..traffic(vec![step(0, "/")]) };
    let outcome = run(plan, vec![phase(burst(100, HALF), HALF)], to).await;
    assert_eq!((outcome.total.due, outcome.total.unsent, outcome.total.sent), (100, 80, 20));
    // The stall outlasts the drain.
    assert_eq!(outcome.errors(), [(ErrorKind::Unfinished, 20)]);
}

#[tokio::test]
async fn arrivals_that_could_not_begin_are_dropped_runs() {
    let (to, seen) = serve().await;
    seen.stalled.store(true, Ordering::SeqCst);
    let plan = TrafficPlan { max_in_flight: 20, ..traffic(vec![step(0, "/")]) };
    let outcome = run(plan, vec![phase(burst(100, HALF), HALF)], to).await;
    let dropped: u64 = outcome.iterations.iter().map(|window| window.dropped).sum();
    assert_eq!(dropped, 80);
}

#[tokio::test]
async fn later_steps_of_an_arrival_are_due_when_the_one_before_has_ended() {
    let (to, _) = serve().await;
    let pause = Duration::from_millis(20);
    let second = StepPlan { think: Think::Between(pause, pause), ..step(1, "/") };
    let plan = traffic(vec![step(0, "/slow"), second]);
    let outcome = run(plan, vec![phase(burst(30, SECOND), SECOND)], to).await;
    assert_eq!((outcome.steps[&0].ended, outcome.steps[&1].ended), (30, 30));
}

#[tokio::test]
async fn what_is_sent_does_not_depend_on_the_number_of_workers() {
    let mut sent = Vec::new();
    for workers in [1, 3] {
        let (to, seen) = serve().await;
        let plan = traffic(vec![post(Body::Text(
            SizePoints::new(vec![(0.0, Bytes::new(10)), (1.0, Bytes::from_kib(4))]).unwrap(),
        ))]);
        let phases = vec![phase(open(100.0, vec![], HALF), HALF)];
        run_with(plan, phases, to, workers, |_| {}).await;
        let mut bodies = std::mem::take(&mut *seen.bodies.lock().unwrap());
        bodies.sort();
        sent.push(bodies);
    }
    assert_eq!(sent[0].len(), 50);
    assert_eq!(sent[0], sent[1]);
}
