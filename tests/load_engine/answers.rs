//! Answers: good, bad, none, late, large.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater::event::{ErrorKind, Histogram, Status};
use highwater::plan::{Body, Check, Reply, Shape, SizePoints, StepPlan, Test, TrafficPlan, Wanted};
use highwater::units::Bytes;
use tokio::net::TcpListener;

use super::outcome::*;
use super::plans::*;
use super::server::*;

#[tokio::test]
async fn failures_are_counted_by_kind() {
    let kinds = [
        ("/missing", ErrorKind::Status),
        ("/short", ErrorKind::CutShort),
        ("/short_chunk", ErrorKind::CutShort),
        ("/half_a_head", ErrorKind::CutShort),
        ("/nothing", ErrorKind::Reset),
        ("/switch", ErrorKind::Protocol),
        ("/nonsense", ErrorKind::Protocol),
        ("/endless", ErrorKind::Timeout),
        ("/silent", ErrorKind::Timeout),
    ];
    for (path, kind) in kinds {
        let (to, _) = serve().await;
        let plan =
            TrafficPlan { timeout: Duration::from_millis(100), ..traffic(vec![step(0, path)]) };
        let outcome = run(plan, vec![phase(open(20.0, vec![], HALF), HALF)], to).await;
        assert_eq!(outcome.errors(), [(kind, 10)], "{path}");
        assert_eq!(outcome.total.sent, 10);
        let timed = u64::from(kind == ErrorKind::Timeout || kind == ErrorKind::Status) * 10;
        assert_eq!(outcome.latency_us.count(), timed, "{path}");
        if kind == ErrorKind::Timeout {
            let most = outcome.duration_us.max().unwrap();
            assert!((100_000..300_000).contains(&most), "{path}: {most} µs");
        }
    }
}

#[tokio::test]
async fn the_first_byte_is_told_from_the_last() {
    let (to, _) = serve().await;
    let load = users(1, 5 * SECOND, Some(10));
    let outcome = run(traffic(vec![step(0, "/late")]), vec![phase(load, 5 * SECOND)], to).await;
    assert_eq!((outcome.waiting_us.count(), outcome.receiving_us.count()), (10, 10));
    let median = |times: &Histogram| times.percentile(50.0).unwrap();
    assert!(median(&outcome.waiting_us) < 40_000, "{} µs", median(&outcome.waiting_us));
    assert!((45_000..90_000).contains(&median(&outcome.receiving_us)));
    // All were answered alike.
    assert!(outcome.by_status.is_empty());
}

#[tokio::test]
async fn checks_and_times_are_told_apart_by_status() {
    let (to, _) = serve().await;
    let check = |text: &str| Check { what: Wanted::Body(Test::Contains(text.into())), warn: true };
    let reply = Reply { checks: vec![check("ok"), check("")], ..Reply::default() };
    let steps = vec![StepPlan { reply, ..step(0, "/moody") }];
    let load = users(1, 5 * SECOND, Some(40));
    let outcome = run_with(traffic(steps), vec![phase(load, 5 * SECOND)], to, 1, |_| {}).await;
    assert_eq!(outcome.status, BTreeMap::from([(200, 20), (503, 20)]));
    assert_eq!((outcome.total.checks_passed, outcome.total.checks_failed), (60, 20));
    let of = |code, expected| {
        let rows = outcome.by_status.iter();
        let rows = rows.filter(|row| (row.status, row.expected) == (Status::Code(code), expected));
        rows.fold((0, 0, 0, 0), |sum, row| {
            let (times, waits) = (row.duration_us.count(), row.waiting_us.count());
            (sum.0 + row.count, sum.1 + row.failed, sum.2 + times, sum.3 + waits)
        })
    };
    assert_eq!(of(200, true), (20, 0, 20, 20));
    assert_eq!(of(503, false), (20, 20, 20, 20));
    assert_eq!((outcome.duration_us.count(), outcome.waiting_us.count()), (40, 40));
}

#[tokio::test]
async fn expected_statuses_are_no_failure() {
    let (to, _) = serve().await;
    let expecting = StepPlan { expect_status: vec![404], ..step(0, "/missing") };
    let outcome =
        run(traffic(vec![expecting]), vec![phase(open(20.0, vec![], HALF), HALF)], to).await;
    assert_eq!((outcome.total.failed, outcome.status), (0, BTreeMap::from([(404, 10)])));
}

#[tokio::test]
async fn a_refused_connection_is_counted_and_users_do_not_spin() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    drop(listener);
    let outcome =
        run(traffic(vec![step(0, "/")]), vec![phase(users(4, HALF, None), HALF)], to).await;
    assert_eq!(outcome.errors.keys().collect::<Vec<_>>(), [&ErrorKind::Refused]);
    assert_eq!(outcome.total.sent, 0);
    // 4 users, at least 10 ms between two tries, 55 ms on average.
    assert!((12..200).contains(&outcome.total.ended), "{}", outcome.total.ended);
}

#[tokio::test]
async fn connections_that_the_server_closes_cost_no_request() {
    for path in ["/tired", "/close"] {
        let (to, seen) = serve().await;
        let model = users(2, SECOND, Some(40));
        let outcome = run(traffic(vec![step(0, path)]), vec![phase(model, SECOND)], to).await;
        assert_eq!((outcome.total.due, outcome.total.failed), (40, 0), "{path}");
        assert_eq!(outcome.total.sent, 40);
        assert!(*seen.connections.lock().unwrap() >= 20, "{path}: {seen:?}");
    }
}

#[tokio::test]
async fn drawn_bodies_arrive_whole_and_json_is_json() {
    let (to, seen) = serve().await;
    let sizes = SizePoints::new(vec![
        (0.0, Bytes::new(10)),
        (0.5, Bytes::from_kib(20)),
        (1.0, Bytes::from_kib(300)),
    ]);
    let plan = traffic(vec![post(Body::Json(sizes.unwrap(), Shape::default()))]);
    let outcome = run(plan, vec![phase(open(80.0, vec![], HALF), HALF)], to).await;
    assert_eq!((outcome.total.ended, outcome.total.failed), (40, 0));
    let bodies = seen.bodies.lock().unwrap();
    assert_eq!(bodies.len(), 40);
    let mut lengths: Vec<_> = bodies.iter().map(Vec::len).collect();
    for body in bodies.iter() {
        serde_json::from_slice::<serde_json::Value>(body).unwrap();
    }
    assert!(outcome.total.bytes_sent >= lengths.iter().sum::<usize>() as u64);
    lengths.sort_unstable();
    lengths.dedup();
    assert!(lengths.len() > 30 && lengths[0] >= 10 && lengths[lengths.len() - 1] <= 300 << 10);
}

#[tokio::test]
async fn large_answers_are_read_to_the_end_in_bounded_memory() {
    let (to, _) = serve().await;
    let outcome = run(
        traffic(vec![step(0, "/large")]),
        vec![phase(users(1, SECOND * 5, Some(4)), SECOND * 5)],
        to,
    )
    .await;
    assert_eq!((outcome.total.ended, outcome.total.failed), (4, 0));
    assert!(outcome.total.bytes_received > 4 * (8 << 20));
}

#[tokio::test]
async fn the_drain_waits_for_slow_answers_and_gives_up_on_silent_ones() {
    let (to, _) = serve().await;
    let steps = [(0, "/slow", 0), (1, "/silent", 20)];
    for (id, path, unfinished) in steps {
        let length = Duration::from_millis(40);
        let plan = traffic(vec![step(id, path)]);
        let outcome = run(plan, vec![phase(burst(20, length), length)], to).await;
        assert_eq!((outcome.total.ended, outcome.total.failed), (20, unfinished), "{path}");
    }
}
