//! Users, their connections and their runs.

use std::time::Duration;

use highwater::event::IterationWindow;
use highwater::plan::{Iterations, LoadModel, StepPlan, Think, UserStage};

use super::outcome::*;
use super::plans::*;
use super::server::*;

#[tokio::test]
async fn runs_and_users_are_told() {
    let (to, _) = serve().await;
    let steps = vec![step(0, "/slow"), step(1, "/slow")];
    let phases = vec![
        phase(users(4, 5 * SECOND, Some(30)), 5 * SECOND),
        phase(open(20.0, vec![], SECOND), SECOND),
    ];
    let outcome = run(traffic(steps), phases, to).await;
    let sum = |phase, of: fn(&IterationWindow) -> u64| {
        let windows = outcome.iterations.iter().filter(|window| window.phase == phase);
        windows.map(of).sum::<u64>()
    };
    assert_eq!((sum(0, |window| window.begun), sum(0, |window| window.ended)), (30, 30));
    assert_eq!(sum(0, |window| window.duration_us.count()), 30);
    let least = outcome.iterations.iter().filter_map(|window| window.duration_us.min()).min();
    assert!(least.unwrap() >= 100_000, "{least:?}");
    // What the phase's end cuts short has begun, and is no whole run.
    assert_eq!((sum(1, |window| window.begun), sum(1, |window| window.dropped)), (20, 0));
    assert!((16..=20).contains(&sum(1, |window| window.ended)));
    let most = outcome.users.iter().filter(|window| window.phase == 0).map(|window| window.max);
    assert_eq!(most.max(), Some(4));
    assert!(outcome.users.iter().all(|window| window.min <= window.max));
}

#[tokio::test]
async fn users_keep_their_connections_and_iterations_are_shared() {
    let (to, seen) = serve().await;
    let long = Duration::from_secs(20);
    let steps = vec![step(0, "/"), step(1, "/slow")];
    let outcome = run(traffic(steps), vec![phase(users(5, long, Some(23)), long)], to).await;
    assert_eq!((outcome.steps[&0].ended, outcome.steps[&1].ended), (23, 23));
    assert_eq!(*seen.connections.lock().unwrap(), 5);
    // Users wait for answers: due is sent, and there is no lateness to speak of.
    assert_eq!(outcome.lateness_us.count(), 0);
    assert_eq!(outcome.latency_us.count(), 46);
    let most = outcome.flows.iter().flat_map(|flow| &flow.steps).map(|step| step.in_flight_max);
    assert!(most.max().unwrap() <= 5);
}

#[tokio::test]
async fn users_think_and_a_failed_step_ends_the_run_of_a_scenario() {
    let (to, _) = serve().await;
    let pause = Duration::from_millis(100);
    let thinking = StepPlan { think: Think::Between(pause, pause), ..step(0, "/") };
    let steps = vec![thinking, step(1, "/missing"), step(2, "/")];
    let outcome = run(traffic(steps), vec![phase(users(3, SECOND, None), SECOND)], to).await;
    let first = outcome.steps[&0].ended;
    assert!((15..=30).contains(&first), "{first} runs of 3 users in a second, each after 100 ms");
    assert!(!outcome.steps.contains_key(&2));
    assert_eq!(outcome.steps[&1].failed, outcome.steps[&1].ended);
}

#[tokio::test]
async fn each_user_does_its_runs_and_is_done() {
    let (to, _) = serve().await;
    let stages = vec![UserStage { from: 1, to: 5, length: SECOND }];
    let each = LoadModel::Closed { stages, iterations: Some(Iterations::Each(7)) };
    let began = std::time::Instant::now();
    let outcome = run(traffic(vec![step(0, "/")]), vec![phase(each, 10 * SECOND)], to).await;
    assert_eq!((outcome.total.ended, outcome.total.failed), (35, 0));
    assert!(began.elapsed() < 5 * SECOND, "the phase is over when all are done");
}

#[tokio::test]
async fn paced_users_keep_their_beat_whatever_the_answers_take() {
    let (to, _) = serve().await;
    let paced = StepPlan { think: Think::Paced(SECOND / 10), ..step(0, "/slow") };
    let outcome = run(traffic(vec![paced]), vec![phase(users(3, SECOND, None), SECOND)], to).await;
    assert!((29..=30).contains(&outcome.total.due), "{}", outcome.total.due);
}
