//! The runtimes alone, on real containers and processes: lives begin, end, are told of, and leave
//! nothing.

mod support;

use std::path::Path;
use std::time::Duration;

use highwater::clock::Clock;
use highwater::event::{Event, Evidence, LifeId, What};
use highwater::plan::{
    Budget, ReadyCheck, ReadyPlan, StopPlan, TargetLimits, TargetPlan, TargetSource,
};
use highwater::runtime::{Choice, ErrorKind, NewLife, Runtime, Target};
use highwater::units::{Bytes, Limit};
use support::harness::{self, left_behind};

fn plan(args: &[&str]) -> TargetPlan {
    TargetPlan {
        source: TargetSource::Binary { path: support::fixtures().to_owned(), base: None },
        port: 8080,
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: Vec::new(),
        files: std::collections::BTreeMap::default(),
        tmpfs: Vec::new(),
        user: None,
        extra_hosts: Vec::new(),
        ready: ReadyPlan {
            check: ReadyCheck::Http { path: "/health".to_owned(), status: 200 },
            within: Duration::from_secs(10),
        },
        limits: TargetLimits {
            memory: Limit::Bytes(Bytes::from_mib(48)),
            cpus: Some(1.0),
            pids: Some(64),
            kubernetes: None,
        },
        stop: StopPlan { signal: "SIGTERM".to_owned(), within: Duration::from_secs(5) },
        allow_debug: false,
    }
}

/// A runtime with one life started in it.
struct Started {
    runtime: Runtime,
    target: Target,
    plan: TargetPlan,
    clock: Clock,
    dir: tempfile::TempDir,
}

async fn start(choice: Choice, args: &[&str]) -> Started {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::start();
    let run_id = format!("{:08x}", rand::random::<u32>());
    let mut runtime = Runtime::connect(choice, &run_id, &Budget::default()).await.unwrap();
    runtime.reach_directly().unwrap();
    let plan = plan(args);
    let built = runtime.build(&plan, dir.path(), &|_| {}).await.unwrap();
    let new = NewLife { life: LifeId(0), name: "one", limit: plan.limits.memory, nest: None };
    let prepared = runtime.prepare(&built, &plan, new, &clock).await.unwrap();
    assert!(!prepared.place.leaf.as_os_str().is_empty());
    let target = runtime.start(prepared).await.unwrap();
    Started { runtime, target, plan, clock, dir }
}

async fn end(started: Started) -> (Vec<Event>, Option<Bytes>) {
    let Started { runtime, mut target, .. } = started;
    let mut receiver = target.take_events().unwrap();
    runtime.stop(&mut target).await.unwrap();
    let peak = runtime.remove(target).await.unwrap();
    runtime.clean_up().await.unwrap();
    let mut events = Vec::new();
    while let Some(event) = receiver.recv().await {
        events.push(event);
    }
    (events, peak)
}

fn kills(events: &[Event]) -> Vec<Evidence> {
    let kill = |event: &Event| match &event.what {
        What::OomKill(kill) => Some(kill.evidence),
        _ => None,
    };
    events.iter().filter_map(kill).collect()
}

fn exit_code(events: &[Event]) -> Option<i64> {
    events.iter().find_map(|event| match &event.what {
        What::Ended { exit, .. } => Some(exit.code),
        _ => None,
    })?
}

fn choices() -> Vec<Choice> {
    harness::Runtime::BOTH
        .into_iter()
        .filter(|runtime| runtime.is_there())
        .map(|runtime| match runtime {
            harness::Runtime::Docker => Choice::Docker,
            harness::Runtime::Native => Choice::Native,
        })
        .collect()
}

fn log_in(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("target-one.log")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_becomes_ready_ends_when_asked_and_leaves_nothing() {
    let _turn = harness::turn();
    for choice in choices() {
        let started = start(choice, &["steady", "--base-mib", "20"]).await;
        let ready = &started.plan.ready;
        let at =
            started.runtime.wait_ready(&started.target, ready, &started.clock, None).await.unwrap();
        assert!(at <= started.clock.now());
        assert!(started.target.netns().is_some(), "root enters the network namespace");
        let dir = started.dir.path().to_owned();
        let keep = tempfile::tempdir().unwrap();
        std::fs::copy(dir.join("target-one.log"), keep.path().join("early")).unwrap();
        let dirs = started.target.cgroup_dirs();
        assert!(dirs.iter().any(|dir| dir.join("cgroup.procs").exists()), "{dirs:?}");
        let (events, peak) = end(started).await;
        assert_eq!(exit_code(&events), Some(0), "{choice:?}: {events:?}");
        assert_eq!(kills(&events), []);
        assert!(peak.unwrap() > Bytes::from_mib(20), "{peak:?}");
        assert_eq!(left_behind(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oom_kill_is_told_of_and_another_kill_is_not_called_one() {
    let _turn = harness::turn();
    for choice in choices() {
        let mut started = start(choice, &["oom", "--at-startup", "--mib-per-s", "400"]).await;
        let error = started
            .runtime
            .wait_ready(&started.target, &started.plan.ready, &started.clock, None)
            .await;
        assert!(error.is_err());
        let mut events = started.target.take_events().unwrap();
        let mut seen = Vec::new();
        while exit_code(&seen).is_none() {
            seen.push(events.recv().await.unwrap());
        }
        assert!(!kills(&seen).is_empty(), "{choice:?}: {seen:?}");
        assert_eq!(exit_code(&seen), Some(137));
        started.runtime.remove(started.target).await.unwrap();
        started.runtime.clean_up().await.unwrap();

        let started = start(choice, &["exits", "--signal", "9", "--after-ms", "300"]).await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let (events, _) = end(started).await;
        assert_eq!(kills(&events), [], "{choice:?}");
        assert_eq!(exit_code(&events), Some(137), "{choice:?}");
        assert_eq!(left_behind(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_end_is_told_with_the_last_lines() {
    let _turn = harness::turn();
    for choice in choices() {
        let started = start(choice, &["exits", "--code", "7"]).await;
        let error = started
            .runtime
            .wait_ready(&started.target, &started.plan.ready, &started.clock, None)
            .await
            .unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Target);
        assert!(text.contains("exit code 7") && text.contains("    | "), "{choice:?}: {text}");
        let dir = started.dir.path().to_owned();
        started.runtime.remove(started.target).await.unwrap();
        assert!(!log_in(&dir).is_empty());
        started.runtime.clean_up().await.unwrap();
        assert_eq!(left_behind(), Vec::<String>::new());
    }
}
