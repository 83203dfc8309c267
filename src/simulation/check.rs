//! What has to hold in every run, whatever happened in it.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

use super::Simulated;
use crate::analysis::{self, Findings};
use crate::clock::Moment;
use crate::event::{Counts, Event, Finish, LifeId, LifeRole, What};
use crate::report::{
    self, Markdown, Renderer, ReportHtml, RunJson, StartupSvg, Summary, TimelineSvg,
};

/// Checks everything; gives how the run ended.
pub(super) fn all(seed: u64, run: &Simulated) -> String {
    let events: Vec<Event> =
        run.recording.events().map(|event| event.expect("it reads back").into_event()).collect();
    let findings = analyse(run, &events);
    let json = valid(seed, &findings);
    let case = Case { seed, run, events: &events, findings: &findings, json: &json };
    let checks: [fn(&Case<'_>); 10] = [
        |case: &Case<'_>| case.ending(),
        |case: &Case<'_>| case.nothing_stands(),
        |case: &Case<'_>| case.phases_tile(),
        |case: &Case<'_>| case.requests_add_up(),
        |case: &Case<'_>| case.peaks(),
        |case: &Case<'_>| case.spikes(),
        |case: &Case<'_>| case.kills(),
        |case: &Case<'_>| case.sampler(),
        |case: &Case<'_>| case.renders(),
        |case: &Case<'_>| case.cut_short(),
    ];
    // All that is wrong is told, not the first alone.
    let holds = |check: &fn(&Case<'_>)| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&case))).is_ok()
    };
    let broken = checks.iter().filter(|check| !holds(check)).count();
    assert_eq!(broken, 0, "seed {seed}: checks that do not hold");
    ending_of(run.finish.as_ref()).to_owned()
}

fn analyse(run: &Simulated, events: &[Event]) -> Findings {
    let header = run.recording.header();
    analysis::analyse(&header.outline, &header.facts, header.anchor, events)
}

fn ending_of(finish: Option<&Finish>) -> &'static str {
    match finish {
        None | Some(Finish::Failed { .. }) => "failed",
        Some(Finish::Completed) => "completed",
        Some(Finish::Interrupted) => "interrupted",
        Some(Finish::OomKilled) => "killed",
        Some(Finish::TargetEnded) => "target ended",
        Some(Finish::TargetFailed { .. }) => "target failed",
        Some(Finish::Aborted { .. }) => "aborted",
    }
}

/// The `run.json` of findings, held to its schema.
fn valid(seed: u64, findings: &Findings) -> Value {
    static SCHEMA: OnceLock<(Schemas, SchemaIndex)> = OnceLock::new();
    let (schemas, index) = SCHEMA.get_or_init(|| {
        let schema = serde_json::from_str(&report::run_schema()).expect("it is JSON");
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        let url = "http://highwater/run.json";
        compiler.add_resource(url, schema).expect("it is a schema");
        let index = compiler.compile(url, &mut schemas).expect("it is a schema");
        (schemas, index)
    });
    let json = serde_json::from_str(&RunJson.render(findings)).expect("run.json is JSON");
    if let Err(error) = schemas.validate(&json, *index) {
        panic!("seed {seed}: run.json is not as its schema says: {error:#}");
    }
    json
}

struct Case<'a> {
    seed: u64,
    run: &'a Simulated,
    events: &'a [Event],
    findings: &'a Findings,
    json: &'a Value,
}

impl Case<'_> {
    fn main_lives(&self) -> BTreeSet<LifeId> {
        let lives = self.events.iter().filter_map(|event| match &event.what {
            What::Life(start) if start.role == LifeRole::Main => Some(start.life),
            _ => None,
        });
        lives.collect()
    }

    /// Kills that the recording tells of, by life.
    fn told_kills(&self) -> BTreeSet<LifeId> {
        let lives = self.events.iter().filter_map(|event| match &event.what {
            What::OomKill(kill) => Some(kill.life),
            What::Memory(window) if window.oom_kills > Some(0) => Some(window.life),
            _ => None,
        });
        lives.collect()
    }

    /// The recording ends with the reason why the run did, and the verdict goes with it.
    fn ending(&self) {
        let finishes: Vec<&Finish> = self
            .events
            .iter()
            .filter_map(|event| match &event.what {
                What::Finished(finish) => Some(finish),
                _ => None,
            })
            .collect();
        let [finish] = finishes.as_slice() else {
            panic!("seed {}: it ends {} times", self.seed, finishes.len());
        };
        assert!(matches!(self.events.last(), Some(Event { what: What::Finished(_), .. })));
        match &self.run.finish {
            Some(own) => assert_eq!(*finish, own, "seed {}", self.seed),
            None => {
                assert!(matches!(finish, Finish::Failed { .. }), "seed {}", self.seed);
                let refused = self.run.world.truth().refused_starts;
                assert!(refused > 0, "seed {}: it failed for nothing: {finish:?}", self.seed);
            }
        }
        let verdict = self.json["verdict"].as_str().expect("a verdict");
        let code = self.json["exit_code"].as_u64();
        let killed = !self.told_kills().is_empty();
        let wanted = match finish {
            Finish::Interrupted => ("interrupted", Some(130)),
            Finish::Failed { .. } => ("error", Some(3)),
            _ if killed => ("fail", Some(1)),
            Finish::TargetEnded | Finish::TargetFailed { .. } => ("error", Some(4)),
            Finish::Aborted { .. } => ("fail", Some(1)),
            Finish::Completed | Finish::OomKilled => (verdict, code),
        };
        assert_eq!((verdict, code), wanted, "seed {}: {finish:?}", self.seed);
        if *finish == &Finish::OomKilled {
            assert!(killed, "seed {}: killed, and nobody says so", self.seed);
        }
    }

    fn nothing_stands(&self) {
        assert_eq!(self.run.standing, 0, "seed {}: targets are left", self.seed);
        let begun = self.events.iter().filter(|event| matches!(event.what, What::Life(_))).count();
        let ended =
            self.events.iter().filter(|event| matches!(event.what, What::Ended { .. })).count();
        let refused = self.run.world.truth().refused_starts as usize;
        assert_eq!(begun, ended + refused, "seed {}: each life ends once", self.seed);
    }

    /// Phases follow each other without a gap, and are as the plan has them.
    fn phases_tile(&self) {
        let mut edges = Vec::new();
        for event in self.events {
            match event.what {
                What::PhaseBegin { phase } => edges.push((phase, true, event.at)),
                What::PhaseEnd { phase } => edges.push((phase, false, event.at)),
                _ => {}
            }
        }
        for (number, pair) in edges.chunks(2).enumerate() {
            let [(one, true, start), (other, false, end)] = pair else {
                panic!("seed {}: {edges:?}", self.seed);
            };
            assert_eq!((usize::from(*one), one), (number, other), "seed {}", self.seed);
            assert!(start <= end, "seed {}", self.seed);
            let planned = self.run.plan.phases[number].length;
            assert!(end.since(*start) <= planned + SLACK, "seed {}: {edges:?}", self.seed);
        }
        for pair in edges.chunks(2).collect::<Vec<_>>().windows(2) {
            assert_eq!(pair[0][1].2, pair[1][0].2, "seed {}: a gap between phases", self.seed);
        }
        let told = self.findings.phases.iter().map(|phase| (phase.start, phase.end));
        let told: Vec<(Moment, Moment)> = told.collect();
        let wanted: Vec<(Moment, Moment)> =
            edges.chunks(2).map(|pair| (pair[0].2, pair[1].2)).collect();
        assert_eq!(told, wanted, "seed {}", self.seed);
    }

    /// Each request is counted once, in the phase in which it was due.
    fn requests_add_up(&self) {
        let truth = self.run.world.truth().requests.clone();
        let (mut by_flow, mut by_step) = (Counts::default(), Counts::default());
        for event in self.events {
            match &event.what {
                What::Flow(window) => by_flow.add(&window.counts),
                What::Traffic(window) => by_step.add(&window.counts),
                _ => {}
            }
        }
        let mut all = Counts::default();
        for counts in truth.values() {
            all.add(counts);
        }
        let sums =
            |counts: &Counts| [counts.due, counts.sent, counts.unsent, counts.ended, counts.failed];
        assert_eq!(sums(&by_flow), sums(&all), "seed {}: windows", self.seed);
        assert_eq!(sums(&by_step), sums(&all), "seed {}: steps", self.seed);
        assert_eq!(all.due, all.ended + all.unsent, "seed {}: each ends or is unsent", self.seed);
        assert!(all.sent <= all.ended && all.failed <= all.ended, "seed {}", self.seed);
        for (index, phase) in (0_u16..).zip(&self.findings.phases) {
            let wanted = truth.get(&index).copied().unwrap_or_default();
            let Some(traffic) = &phase.traffic else {
                assert_eq!(wanted.due, 0, "seed {}: traffic of phase {index} is lost", self.seed);
                continue;
            };
            let told = [traffic.requests, traffic.failed, traffic.unsent];
            assert_eq!(told, [wanted.ended, wanted.failed, wanted.unsent], "seed {}", self.seed);
            let bytes = [traffic.bytes_sent, traffic.bytes_received];
            assert_eq!(bytes, [wanted.bytes_sent, wanted.bytes_received], "seed {}", self.seed);
            let steps: u64 = traffic.steps.iter().map(|step| step.requests).sum();
            let answers: u64 = traffic.answers.iter().map(|row| row.timed.requests).sum();
            let statuses: u64 = traffic.status.values().sum();
            let errors: u64 = traffic.errors.values().sum();
            assert_eq!((steps, answers), (wanted.ended, wanted.ended), "seed {}", self.seed);
            let good: u64 = wanted.ended - wanted.failed;
            assert_eq!(errors, wanted.failed, "seed {}", self.seed);
            assert!(statuses >= good, "seed {}: {statuses} statuses of {good}", self.seed);
        }
        let whole = |metric: &str| {
            let row = self.findings.thresholds.iter().find(|row| row.metric == metric);
            row.and_then(|row| row.value)
        };
        if all.ended > 0 {
            let share = analysis::float(all.failed) / analysis::float(all.ended);
            let told = whole("http_req_failed").expect("a share of failures");
            assert!((told - share).abs() < 1e-9, "seed {}: {told} of {share}", self.seed);
            assert_eq!(whole("http_reqs"), Some(analysis::float(all.ended)), "seed {}", self.seed);
        }
    }

    /// Nothing that was sampled is higher than the peaks, and these are no higher than that.
    fn peaks(&self) {
        let mains = self.main_lives();
        let truth = self.run.world.truth();
        let sampled = truth.sampled.iter().filter(|row| mains.contains(row.0));
        let highest = sampled.map(|row| row.1.peak).max().unwrap_or_default();
        let Some(memory) = &self.findings.memory else {
            let none = highest.get() == 0;
            assert!(none, "seed {}: a peak of {highest} is lost", self.seed);
            return;
        };
        assert_eq!(memory.peak, highest, "seed {}", self.seed);
        assert!(memory.unreclaimable_peak_low <= memory.unreclaimable_peak, "seed {}", self.seed);
        for phase in self.findings.phases.iter().filter_map(|phase| phase.memory.as_ref()) {
            assert!(phase.peak <= memory.peak, "seed {}", self.seed);
            assert!(phase.unreclaimable_peak <= memory.unreclaimable_peak, "seed {}", self.seed);
            assert!(phase.unreclaimable_peak_low <= phase.unreclaimable_peak);
            assert!(phase.start.max(phase.end) <= phase.unreclaimable_peak, "seed {}", self.seed);
        }
        for life in &self.findings.lives {
            assert!(life.peak <= memory.peak, "seed {}: {life:?}", self.seed);
        }
        if let Some(limit) = self.findings.limit.bytes() {
            assert!(memory.peak <= limit, "seed {}", self.seed);
        }
    }

    /// Spikes are as high as they rise, no higher than the peak, and lie where they are said to.
    fn spikes(&self) {
        let rows = &self.findings.spikes;
        let total = self.findings.spikes_total.unwrap_or(0);
        assert!(rows.len() as u64 <= total, "seed {}", self.seed);
        let peak = self.findings.memory.as_ref().map(|memory| memory.peak);
        let drained = self.events.iter().find(|event| matches!(event.what, What::Drained));
        let drained = drained.map(|event| event.at);
        for spike in rows {
            assert!(spike.rise <= spike.peak && Some(spike.peak) <= peak, "seed {}", self.seed);
            // What comes while the last phase drains belongs to it.
            let begun = self.findings.phases.iter().rev().find(|phase| phase.start <= spike.at);
            let place = begun.filter(|_| drained.is_none_or(|drained| spike.at <= drained));
            let name = place.map(|phase| phase.name.as_str());
            assert_eq!(spike.phase.as_deref(), name, "seed {}: at {:?}", self.seed, spike.at);
        }
    }

    /// Every kill that was told counts once, and none that was not.
    fn kills(&self) {
        let (told, mains) = (self.told_kills(), self.main_lives());
        let truth = self.run.world.truth().killed.clone();
        assert!(told.is_subset(&truth), "seed {}: {told:?} of {truth:?}", self.seed);
        let of_mains = told.intersection(&mains).count() as u64;
        let counted = self.findings.memory.as_ref().map_or(0, |memory| memory.oom_kills);
        let by_life: u64 = self.findings.lives.iter().map(|life| life.oom_kills).sum();
        if self.findings.memory.is_some() {
            assert_eq!(counted, of_mains, "seed {}", self.seed);
        }
        assert_eq!(by_life, of_mains, "seed {}", self.seed);
        let reasons = self.findings.reasons.iter().filter(|reason| reason.id == "oom_kill").count();
        assert_eq!(reasons > 0, !told.is_empty(), "seed {}", self.seed);
        let trials = self.findings.startup.iter().flat_map(|startup| &startup.trials);
        let killed = trials.filter(|trial| trial.killed).count();
        assert_eq!(killed, told.difference(&mains).count(), "seed {}", self.seed);
    }

    /// Ticks that were read and missed are all accounted for.
    fn sampler(&self) {
        let Some(account) = &self.findings.sampler else { return };
        let told = [account.ticks, account.missed_ticks];
        let (mut windows, mut reports) = ([0, 0], [0, 0]);
        for event in self.events {
            match &event.what {
                What::Memory(window) => {
                    windows[0] += u64::from(window.ticks);
                    windows[1] += u64::from(window.missed);
                }
                What::SamplerDone(report) => {
                    reports[0] += report.ticks;
                    reports[1] += report.missed_ticks;
                }
                _ => {}
            }
        }
        let truth = self.run.world.truth();
        let all = truth
            .sampled
            .values()
            .fold([0, 0], |[ticks, missed], row| [ticks + row.ticks, missed + row.missed]);
        assert_eq!((windows, reports), (all, all), "seed {}", self.seed);
        assert!(told[0] <= all[0] && told[1] <= all[1], "seed {}: {told:?} {all:?}", self.seed);
    }

    /// All reports are made, and made the same again.
    fn renders(&self) {
        let summary = Summary { color: false, directory: None }.render(self.findings);
        let controls = summary.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(controls, None, "seed {}", self.seed);
        assert!(ReportHtml.render(self.findings).ends_with("</html>"), "seed {}", self.seed);
        for text in [
            Markdown.render(self.findings),
            TimelineSvg.render(self.findings),
            StartupSvg.render(self.findings),
        ] {
            assert!(!text.is_empty(), "seed {}", self.seed);
        }
        let again = RunJson.render(&analyse(self.run, self.events));
        assert_eq!(again, RunJson.render(self.findings), "seed {}", self.seed);
    }

    /// Wherever a recording breaks off, a report comes of it that says so and claims no more.
    fn cut_short(&self) {
        let places = [1, 2, 3, 5].map(|part| self.events.len() * part / 6);
        for events in places.map(|end| &self.events[..end]) {
            let findings = analyse(self.run, events);
            let json = valid(self.seed, &findings);
            assert_eq!(json["verdict"], "interrupted", "seed {}", self.seed);
            let cut = findings.reasons.iter().any(|reason| reason.id == "cut_off");
            assert!(cut, "seed {}: it does not say that it was cut off", self.seed);
            let peak = |findings: &Findings| findings.memory.as_ref().map(|memory| memory.peak);
            assert!(peak(&findings) <= peak(self.findings), "seed {}", self.seed);
            for (part, whole) in findings.phases.iter().zip(&self.findings.phases) {
                let requests =
                    |row: &analysis::Phase| row.traffic.as_ref().map_or(0, |row| row.requests);
                assert!(requests(part) <= requests(whole), "seed {}", self.seed);
            }
        }
    }
}

/// How much later than planned a phase may be ended.
const SLACK: std::time::Duration = std::time::Duration::from_millis(1);
