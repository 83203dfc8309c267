//! Whole runs in no time: the real session, accounts, recording, analysis and reports, around a
//! target, a sampler and traffic that follow a script drawn from a seed.
//!
//! Time is tokio's, paused, so it jumps to whatever comes next and the same seed gives the same run.
//! The script holds what goes wrong in the field: ticks missed, windows that come late, samplers
//! that stop, targets that can't be started, never get ready, end or are OOM-killed at any moment,
//! requests that are refused, reset, late, never sent or never answered, and a user who stops the
//! run. What the script knows to be true is then held against what the recording and `run.json` say
//! ([`check`]).
//!
//! `cargo test` runs a few hundred seeds. `HIGHWATER_SEEDS=1..5000 cargo test --release --lib
//! simulation -- --nocapture` runs others, and tells how many there were of each ending.

mod check;
mod sampler;
mod traffic;
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::campaign;
use crate::clock::Clock;
use crate::event::{Event, Finish, What};
use crate::plan::{Budget, Plan};
use crate::record::{LastWords, Recording, RunDirectory};
use crate::runtime::scripted::Scripted;
use crate::scenario::Overrides;
use crate::session::{Breakdowns, StopSignal, Way};
use world::World;

/// What came of a simulated run.
struct Simulated {
    world: Arc<World>,
    plan: Arc<Plan>,
    /// None where the run ended with an error, which the recording tells too.
    finish: Option<Finish>,
    /// Targets that were not cleared away.
    standing: i64,
    recording: Recording,
}

/// Runs one seed in a directory of its own.
fn simulate(seed: u64, directory: &Path) -> Simulated {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build_local(tokio::runtime::LocalOptions::default())
        .expect("an event loop");
    runtime.block_on(run(seed, directory))
}

async fn run(seed: u64, directory: &Path) -> Simulated {
    let clock = Clock::of_tokio();
    let text = world::scenario(seed);
    let place = Path::new("/nonexistent/highwater.toml");
    let mut plan = Plan::parse(place, &text, &Overrides::default())
        .unwrap_or_else(|faults| panic!("seed {seed}: {faults:?}\n{text}"));
    // The recorder's thread lives in real time: nothing may wait for it, or time would jump.
    plan.budget = Budget { event_queue: 1 << 20, ..plan.budget };
    plan.traffic.max_in_flight = world::most_in_flight(seed);
    let plan = Arc::new(plan);
    let world = World::new(seed, clock.clone());
    let scripted = Scripted::new(world.clone());
    let (stop, signal) = StopSignal::new();
    if let Some(after) = world::stopped_after(seed) {
        tokio::task::spawn_local(async move {
            tokio::time::sleep(after).await;
            stop.stop();
        });
    }
    let run_directory = RunDirectory::create(directory).expect("an empty directory");
    let (_breakdown, breakdowns) = Breakdowns::new();
    let job = campaign::Job {
        plan: plan.clone(),
        runtime: Arc::new(scripted.runtime("simulated", plan.budget)),
        way: Way::Scripted(world.clone()),
        notes: Vec::new(),
        built: crate::runtime::Built::scripted(directory),
        run_id: "simulated".to_owned(),
        directory: run_directory.clone(),
        clock,
        stop: signal,
        observer: Box::new(|_: &Event| {}),
        startup_only: false,
        last_words: LastWords::default(),
        breakdowns,
    };
    let longest = Duration::from_secs(3600);
    let finish = tokio::time::timeout(longest, campaign::run(job)).await;
    let finish = finish.unwrap_or_else(|_| panic!("seed {seed}: the run never ends"));
    let recording = Recording::open(&run_directory).expect("a run leaves a recording");
    Simulated { world, plan, finish: finish.ok(), standing: scripted.standing(), recording }
}

/// The seeds to run.
fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("HIGHWATER_SEEDS") else { return 1..200 };
    let ends = text.split_once("..").and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    ends.unwrap_or_else(|| panic!("HIGHWATER_SEEDS is `{text}`, not such as 1..5000"))
}

/// Runs and checks one seed; gives how it ended.
fn checked(seed: u64) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let simulated = simulate(seed, directory.path());
    check::all(seed, &simulated)
}

#[test]
fn whatever_happens_in_a_run_its_report_adds_up() {
    let (mut endings, mut failed) = (BTreeMap::<String, u32>::new(), Vec::new());
    let seeds = seeds();
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    if seed >= seeds.end {
                        break;
                    }
                    let ending = std::panic::catch_unwind(|| checked(seed));
                    sender.send(ending.map_err(|_| seed)).expect("somebody counts");
                }
            });
        }
        drop(sender);
        for ending in receiver {
            match ending {
                Ok(ending) => *endings.entry(ending).or_default() += 1,
                Err(seed) => failed.push(seed),
            }
        }
    });
    assert!(failed.is_empty(), "these seeds failed, see above: {failed:?}");
    // All that a run can come to is among them, or the script is too tame.
    for wanted in ["completed", "killed", "interrupted", "target ended", "target failed", "failed"]
    {
        assert!(endings.contains_key(wanted) || seeds_are_few(), "none was {wanted}: {endings:?}");
    }
    tell(&endings);
}

#[expect(clippy::print_stderr, reason = "the account of a long simulation")]
fn tell(endings: &BTreeMap<String, u32>) {
    eprintln!("{} runs simulated: {endings:?}", endings.values().sum::<u32>());
}

fn seeds_are_few() -> bool {
    let seeds = seeds();
    seeds.end - seeds.start < 100
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 11] {
        let events = |directory: &Path| -> Vec<Event> {
            let recording = simulate(seed, directory).recording;
            let mut events: Vec<Event> =
                recording.events().map(|event| event.unwrap().into_event()).collect();
            // What the process itself took is the only thing that differs.
            for event in &mut events {
                match &mut event.what {
                    What::GeneratorDone(report) => report.rss_peak = 0,
                    What::Harness(report) => {
                        (report.cpu_ns, report.rss, report.rss_peak) = (0, 0, 0);
                    }
                    _ => {}
                }
            }
            events
        };
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, other) = (events(one.path()), events(other.path()));
        let differs = one.iter().zip(&other).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(one.len(), other.len(), "seed {seed}");
    }
}
