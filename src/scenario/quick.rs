//! A run without a scenario file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::check::phases_of;
use super::reader::Notes;
use super::tree::Node;
use super::{
    Arrivals, Body, Burst, BurstForm, Cargo, Constants, Faults, Flow, Load, Pace, Pattern, Phase,
    Reply, Scenario, Source, Sources, Step, Target, Think, Traffic, Transfer, Words,
};
use crate::units::{Bytes, Rate};

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuickSource {
    /// An image.
    Image(String),
    /// A binary.
    Binary(PathBuf),
    /// A cargo package.
    Cargo(PathBuf),
}

/// A target given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuickTarget {
    /// What is run.
    pub source: QuickSource,
    /// The port that it listens on.
    pub port: u16,
    /// Its memory limit; none: no limit.
    pub memory: Option<Bytes>,
    /// The path that is requested.
    pub path: String,
    /// The size of POST bodies; none: GET.
    pub body_size: Option<Bytes>,
    /// How long traffic lasts.
    pub length: Duration,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Scenario {
    /// The scenario for a target without a file: startup trials as usual, then a `ramp` from 0 to
    /// 10 users over a third of the time, then a `burst` phase of 20 requests a second with 50 more
    /// at once every 5 s (four times at least).
    #[must_use]
    pub fn quick(target: QuickTarget) -> Self {
        let name = match &target.source {
            QuickSource::Image(name) => name.clone(),
            QuickSource::Binary(path) | QuickSource::Cargo(path) => path
                .canonicalize()
                .ok()
                .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
                .unwrap_or_else(|| "target".to_owned()),
        };
        let source = match target.source {
            QuickSource::Image(name) => Source::Image(name),
            QuickSource::Binary(path) => Source::Binary(path, None),
            QuickSource::Cargo(directory) => Source::Cargo(Cargo { directory, ..Cargo::default() }),
        };
        Self {
            name,
            target: Target {
                source,
                port: target.port,
                args: target.args,
                memory: target.memory,
                ready_within: Duration::from_secs(30),
                stop_signal: "SIGTERM".to_owned(),
                stop_within: Duration::from_secs(10),
                ..Target::default()
            },
            tick: Duration::from_millis(1),
            window: Duration::from_millis(100),
            trials: 3,
            fewer_trials: true,
            settle: Duration::from_secs(2),
            traffic: Traffic::default(),
            scenarios: vec![Flow {
                name: "requests".to_owned(),
                weight: 1,
                steps: vec![step(target.path, target.body_size)],
                ..Flow::default()
            }],
            actions: Vec::new(),
            restarts: false,
            phases: phases(target.length),
            constants: Constants::default(),
            words: Words::default(),
            thresholds: Vec::new(),
            notes: Vec::new(),
            sources: Sources::default(),
        }
    }
}

impl Scenario {
    /// Puts a preset in the place of the phases; its rates are shares of `expected`.
    ///
    /// # Errors
    /// Where nothing is expected.
    pub fn follow(&mut self, pattern: Pattern, expected: Option<Rate>) -> Result<(), Faults> {
        let (text, mut sources, notes) = (pattern.text(), Sources::default(), Notes::default());
        let file = sources.add(format!("--pattern {pattern}"), text.as_str());
        match Node::parse(&text, file) {
            Ok(tree) => self.phases = phases_of(&tree, expected, &self.scenarios, &notes),
            Err((message, place)) => notes.fault(&place, message, ""),
        }
        let faults = notes.into_faults();
        if faults.is_empty() { Ok(()) } else { Err(Faults::new(sources, faults)) }
    }
}

fn step(path: String, body_size: Option<Bytes>) -> Step {
    let method = if body_size.is_some() { "POST" } else { "GET" };
    Step {
        label: format!("{method} {path}"),
        method: method.to_owned(),
        path,
        headers: Vec::new(),
        body: body_size.map_or(Body::Empty, |size| Body::Sized {
            points: vec![(0.0, size), (1.0, size)],
            json: None,
        }),
        expect_status: Vec::new(),
        reply: Reply::default(),
        transfer: Transfer::default(),
        think: Think::None,
        tags: BTreeMap::new(),
    }
}

fn phases(length: Duration) -> Vec<Phase> {
    let ramp = length / 3;
    let burst = length.saturating_sub(ramp);
    let every = (burst / 4).clamp(Duration::from_millis(100), Duration::from_secs(5));
    let rate = Rate::per_second(20.0).unwrap_or_default();
    let phase = |name: &str, length, pace| Phase {
        name: name.to_owned(),
        length,
        tags: Vec::new(),
        size: None,
        stop_early: false,
        loads: vec![Load { flow: None, start_after: Duration::ZERO, pace }],
    };
    let users = Pace::Closed { stages: vec![(0, 10, ramp)], iterations: None };
    let bursts = Pace::Open {
        stages: vec![(rate, rate, burst)],
        arrivals: Arrivals::Even,
        bursts: vec![Burst { every, form: BurstForm::Size(50), jitter: 0.0, begins: 0.5 }],
    };
    vec![phase("ramp", ramp, users), phase("burst", burst, bursts)]
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            drain: Duration::from_secs(5),
            seed: 1,
            max_in_flight: 10_000,
        }
    }
}
