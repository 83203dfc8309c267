//! Scenarios as users write them, driven by the engine to their end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use highwater::clock::Clock;
use highwater::event::{Counts, ErrorKind, GeneratorPath, MetricSums, What};
use highwater::load::{self, Endpoint, Engine, Job};
use highwater::plan::Plan;
use highwater::scenario::Overrides;

use super::shop::*;

/// What came out of a run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) counts: Counts,
    pub(crate) errors: BTreeMap<ErrorKind, u64>,
    /// By phase.
    pub(crate) phases: BTreeMap<u16, Counts>,
    /// Metrics of the scenario's own, by name.
    pub(crate) metrics: BTreeMap<String, MetricSums>,
    /// Runs of scenarios that ended.
    pub(crate) runs: u64,
}

pub(crate) const TARGET: &str =
    "[target]\nimage = \"none\"\nport = 1\n[traffic]\ntimeout = \"2s\"\ndrain = \"1s\"\n";

pub(crate) fn plan(directory: &Path, scenario: &str) -> Plan {
    let text = format!("{TARGET}{scenario}");
    Plan::parse(&directory.join("highwater.toml"), &text, &Overrides::default())
        .unwrap_or_else(|faults| panic!("{}", faults.render(false)))
}

pub(crate) fn faults(scenario: &str) -> String {
    let text = format!("{TARGET}{scenario}");
    let parsed = Plan::parse(Path::new("highwater.toml"), &text, &Overrides::default());
    parsed.expect_err("it is faulty").render(false)
}

pub(crate) async fn try_run(
    plan: &Plan,
    to: SocketAddr,
    workers: usize,
) -> Result<Outcome, load::Error> {
    let (events, mut seen) = tokio::sync::mpsc::channel(64);
    let endpoint =
        Endpoint { address: to, host: to.to_string(), netns: None, path: GeneratorPath::Native };
    let (clock, job) = (Clock::start(), Job::of(plan));
    let own = clock.clone();
    let engine =
        tokio::task::spawn_blocking(move || Engine::start(&job, endpoint, own, workers, events));
    let engine = engine.await.unwrap()?;
    let phases: Vec<Duration> = plan.phases.iter().map(|phase| phase.length).collect();
    let driving = tokio::spawn(async move {
        let mut at = clock.now() + Duration::from_millis(5);
        for (index, length) in (0_u16..).zip(phases) {
            engine.begin_phase(index, at);
            let ends = at + length;
            tokio::select! {
                () = engine.phase_spent(index) => {}
                () = tokio::time::sleep(ends.since(clock.now())) => {}
            }
            at = ends.min(clock.now());
            engine.end_phase(index, at);
        }
        engine.finish(Duration::from_secs(1)).await.unwrap();
    });
    let mut outcome = Outcome::default();
    while let Some(event) = seen.recv().await {
        if let What::Iterations(window) = &event.what {
            outcome.runs += window.ended;
        }
        if let What::Traffic(window) = event.what {
            outcome.counts.add(&window.counts);
            outcome.phases.entry(window.phase).or_default().add(&window.counts);
            for (kind, count) in window.errors {
                *outcome.errors.entry(kind).or_default() += count;
            }
            for (id, sums) in window.metrics {
                let name = plan.words.metrics[usize::from(id)].name.clone();
                outcome.metrics.entry(name).or_default().add(sums);
            }
        }
    }
    driving.await.unwrap();
    assert_eq!(outcome.counts.due, outcome.counts.ended + outcome.counts.unsent);
    Ok(outcome)
}

pub(crate) async fn run(scenario: &str) -> (Outcome, Vec<Note>) {
    let directory = tempfile::tempdir().unwrap();
    run_in(directory.path(), scenario, 1).await
}

pub(crate) async fn run_in(
    directory: &Path,
    scenario: &str,
    workers: usize,
) -> (Outcome, Vec<Note>) {
    let (address, notes) = shop().await;
    let outcome = try_run(&plan(directory, scenario), address, workers).await.unwrap();
    let notes = notes.lock().unwrap().clone();
    (outcome, notes)
}

/// One user does a scenario so often.
pub(crate) fn once(iterations: u32) -> String {
    format!("[[phase]]\nusers = 1\niterations = {iterations}\nfor = \"10s\"\n")
}
