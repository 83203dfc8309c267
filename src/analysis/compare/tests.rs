//! Known truth: made-up runs with seeded noise.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};
use serde_json::{Value, json};

use super::*;

const MIB: f64 = 1_048_576.0;
/// How much runs of one target differ: memory, then times, as a share.
const NOISE: (f64, f64) = (0.01, 0.08);

/// What a made-up target takes.
#[derive(Debug, Clone, Copy)]
struct Truth {
    memory: f64,
    latency: f64,
}

const BASE: Truth = Truth { memory: 1.0, latency: 1.0 };

struct Maker {
    draw: ChaCha8Rng,
    noise: (f64, f64),
}

impl Maker {
    fn new(seed: u64) -> Self {
        Self { draw: ChaCha8Rng::seed_from_u64(seed), noise: NOISE }
    }

    fn off(&mut self, noise: f64) -> f64 {
        LogNormal::new(0.0, noise).unwrap().sample(&mut self.draw)
    }

    fn memory(&mut self, mib: f64) -> f64 {
        (mib * MIB * self.off(self.noise.0)).round()
    }

    fn phase(&mut self, name: &str, start: f64, mib: f64, truth: Truth) -> Value {
        let mut rows = Vec::new();
        for (step, ms) in [("POST /orders", 20.0), ("GET /orders", 8.0)] {
            let [p50, p95, p99] = [1.0, 2.0, 4.0].map(|times| {
                let ms: f64 = ms * times * truth.latency;
                ms * self.off(self.noise.1)
            });
            rows.push(json!({ "scenario": "orders", "step": step, "requests": 400,
                "latency_ms": { "p50": p50, "p95": p95, "p99": p99, "max": 200.0 },
                "request_body_bytes": { "p50": 1000, "p99": 2000, "max": 2000 } }));
        }
        let peak = self.memory(mib * truth.memory);
        json!({ "name": name, "start_ms": start, "end_ms": start + 10_000.0,
            "memory": { "peak_bytes": peak + 4.0 * MIB, "rss_peak_bytes": peak - MIB,
                "unreclaimable_peak_bytes": peak },
            "target": { "cpu_cores": 0.5 * self.off(0.03) },
            "traffic": { "requests": 800, "failed": 0, "unsent": 0, "rate": 80.0,
                "latency_ms": rows[0]["latency_ms"], "steps": rows } })
    }

    fn value(&mut self, truth: Truth) -> Value {
        let phases = [("ramp", 60.0), ("burst", 90.0), ("soak", 70.0)];
        let phases: Vec<Value> = phases
            .iter()
            .enumerate()
            .map(|(at, (name, mib))| self.phase(name, 1e4 * float(at), *mib, truth))
            .collect();
        let trials: Vec<Value> = (1..=3)
            .map(|trial| {
                let peak = self.memory(50.0 * truth.memory);
                json!({ "trial": trial, "killed": false, "ready_ms": 300.0 * self.off(self.noise.1),
                    "peak_bytes": peak + MIB, "unreclaimable_peak_bytes": peak,
                    "settled_bytes": self.memory(30.0) })
            })
            .collect();
        let peak = phases[1]["memory"].clone();
        let slope = 1000.0 * (self.off(0.2) - 1.0);
        json!({ "schema": 1, "name": "shop", "started_at": "2026-11-27T10:00:00Z",
            "highwater": "0.1.0", "verdict": "pass", "exit_code": 0, "reasons": [],
            "target": { "runtime": "docker", "limit_bytes": 268_435_456_u64, "cgroup": "v2",
                "release_build": "yes" },
            "startup": { "trials": trials, "first_trial_cold": false },
            "phases": phases, "memory": peak,
            "growth": { "class": "flat", "bytes_per_hour": slope, "ci95": [slope - 5e4, slope + 5e4],
                "bytes_per_request": null },
            "costs": [ { "scenario": "orders", "step": "POST /orders",
                "bytes_per_in_flight": 200_000.0 * self.off(0.04), "ci95": [150_000.0, 250_000.0] } ],
            "sampler": { "tick_us": 1000.0, "peak_method": "v2-reset" },
            "generator": { "path": "netns" },
            "host": { "kernel": "6.12.0", "cpus": 2, "thp": "madvise" } })
    }

    fn run(&mut self, truth: Truth) -> Run {
        made(&self.value(truth))
    }

    fn runs(&mut self, count: usize, truth: Truth) -> Vec<Run> {
        (0..count).map(|_| self.run(truth)).collect()
    }
}

fn made(value: &Value) -> Run {
    Run { name: "run".to_owned(), document: RunDocument::read(&value.to_string()).unwrap() }
}

fn held(base: &[Run], new: &[Run]) -> Comparison {
    compare(base, new, &Settings::default()).unwrap()
}

fn outcome_of(comparison: &Comparison, metric: &str) -> Outcome {
    let row = comparison.rows.iter().find(|row| row.id.to_string() == metric);
    row.unwrap_or_else(|| panic!("no {metric}")).outcome
}

/// Share of seeds in which something became worse.
fn alarms(seeds: u64, mut of: impl FnMut(u64) -> Comparison) -> f64 {
    let hits = (0..seeds).filter(|seed| of(*seed).verdict() == Verdict::Fail).count();
    float(hits) / super::super::float(seeds)
}

#[test]
fn runs_that_do_not_differ_give_an_alarm_in_one_comparison_of_twenty_at_most() {
    // Also where noise is so large that any share is often passed by chance.
    for counts in [(3, 3), (4, 4)] {
        let noise = (0.15, 0.5);
        let rate = alarms(200, |seed| {
            let mut maker = Maker { noise, ..Maker::new(seed) };
            let (base, new) = (maker.runs(counts.0, BASE), maker.runs(counts.1, BASE));
            held(&base, &new)
        });
        // 5 % and two standard errors of 200 draws.
        assert!(rate <= 0.081, "{rate} false alarms with noise {noise:?} and {counts:?} runs");
    }
}

#[test]
fn single_runs_of_usual_noise_give_no_alarm() {
    let rate = alarms(200, |seed| {
        let mut maker = Maker::new(seed);
        let (base, new) = (maker.runs(1, BASE), maker.runs(1, BASE));
        held(&base, &new)
    });
    assert!(rate <= 0.05, "{rate}");
}

#[test]
fn a_tenth_more_memory_is_found_with_five_runs_a_side() {
    let rate = alarms(60, |seed| {
        let mut maker = Maker { noise: (0.02, 0.08), ..Maker::new(seed) };
        let base = maker.runs(5, BASE);
        held(&base, &maker.runs(5, Truth { memory: 1.1, ..BASE }))
    });
    assert!(rate >= 0.95, "found in {rate}");
    let less = alarms(60, |seed| {
        let mut maker = Maker { noise: (0.02, 0.08), ..Maker::new(seed) };
        let base = maker.runs(5, BASE);
        let comparison = held(&base, &maker.runs(5, Truth { memory: 0.9, ..BASE }));
        assert!(comparison.count(Outcome::Improvement) > 0);
        comparison
    });
    assert!(less <= 0.081, "{less} alarms of what is better");
}

#[test]
fn latency_half_as_long_again_is_found_with_five_runs_a_side() {
    let rate = alarms(60, |seed| {
        let mut maker = Maker::new(seed);
        let base = maker.runs(5, BASE);
        held(&base, &maker.runs(5, Truth { latency: 1.5, ..BASE }))
    });
    assert!(rate >= 0.95, "found in {rate}");
}

#[test]
fn of_single_runs_only_large_changes_are_told() {
    let mut maker = Maker::new(7);
    let base = maker.runs(1, BASE);
    let little = held(&base, &maker.runs(1, Truth { memory: 1.1, ..BASE }));
    assert_eq!(outcome_of(&little, "unreclaimable"), Outcome::Unclear);
    // Three trials a side are enough for startup.
    assert_eq!(outcome_of(&little, "startup_unreclaimable"), Outcome::Regression);
    assert_eq!(little.notes.len(), 1, "{:?}", little.notes);
    let much = held(&base, &maker.runs(1, Truth { memory: 1.4, ..BASE }));
    assert_eq!(outcome_of(&much, "unreclaimable"), Outcome::Regression);
    assert_eq!(outcome_of(&much, "startup_peak"), Outcome::Regression);
    assert_eq!(
        much.rows.iter().find(|row| row.id.to_string() == "startup_peak").unwrap().basis,
        Basis::Trials
    );
}

#[test]
fn a_significant_change_within_its_share_is_no_regression() {
    let mut maker = Maker { noise: (0.002, 0.02), ..Maker::new(3) };
    let base = maker.runs(6, BASE);
    let new = maker.runs(6, Truth { memory: 1.03, ..BASE });
    let comparison = held(&base, &new);
    assert_eq!(comparison.verdict(), Verdict::Pass);
    assert_eq!(outcome_of(&comparison, "unreclaimable"), Outcome::Same);
    let mut settings = Settings::default();
    settings.shares.take("unreclaimable=1%").unwrap();
    let strict = compare(&base, &new, &settings).unwrap();
    assert_eq!(outcome_of(&strict, "unreclaimable"), Outcome::Regression);
}

#[test]
fn a_creep_of_two_percent_a_change_is_caught_by_the_baseline() {
    let (mut caught, mut early) = (0, 0);
    for seed in 0..40 {
        let mut maker = Maker::new(seed);
        let mut baseline = Baseline::of(&maker.runs(5, BASE), &Settings::default()).unwrap();
        let mut memory = 1.0;
        for change in 1..=10 {
            memory *= 1.02;
            let new = maker.runs(1, Truth { memory, ..BASE });
            let comparison = baseline.compare(&new, &Settings::default()).unwrap();
            if comparison.verdict() == Verdict::Fail {
                let told = comparison.regressions().any(|row| row.id.kind.unit() == Unit::Bytes);
                caught += usize::from(told && change >= 3);
                early += usize::from(change < 3);
                break;
            }
            // Even where each change that passes is taken in.
            baseline.update(&new, &Settings::default()).unwrap();
        }
    }
    assert!(caught >= 36, "caught in {caught} of 40, and too early in {early}");
}

#[test]
fn a_baseline_gives_an_alarm_in_one_run_of_twenty_at_most() {
    for count in [3, 5, 10] {
        let rate = alarms(200, |seed| {
            let mut maker = Maker { noise: (0.1, 0.4), ..Maker::new(seed) };
            let baseline = Baseline::of(&maker.runs(count, BASE), &Settings::default()).unwrap();
            baseline.compare(&maker.runs(1, BASE), &Settings::default()).unwrap()
        });
        assert!(rate <= 0.081, "{rate} of baselines of {count} runs");
    }
}

#[test]
fn a_baseline_made_run_by_run_learns_its_noise() {
    let mut caught = 0;
    let mut alarms = 0;
    for seed in 0..40 {
        let mut maker = Maker::new(seed);
        let mut baseline = Baseline::of(&maker.runs(1, BASE), &Settings::default()).unwrap();
        for _ in 0..9 {
            baseline.update(&maker.runs(1, BASE), &Settings::default()).unwrap();
        }
        let verdict = |run: Run| baseline.compare(&[run], &Settings::default()).unwrap().verdict();
        alarms += usize::from(verdict(maker.run(BASE)) == Verdict::Fail);
        caught += usize::from(verdict(maker.run(Truth { memory: 1.15, ..BASE })) == Verdict::Fail);
    }
    assert!(alarms <= 4, "{alarms} alarms");
    assert!(caught >= 36, "{caught} caught");
}

#[test]
fn an_accepted_change_moves_the_reference_and_says_so() {
    let mut maker = Maker::new(5);
    let mut baseline = Baseline::of(&maker.runs(5, BASE), &Settings::default()).unwrap();
    let new = maker.runs(5, Truth { memory: 1.2, ..BASE });
    assert_eq!(baseline.compare(&new, &Settings::default()).unwrap().verdict(), Verdict::Fail);
    let updated = baseline.update(&new, &Settings::default()).unwrap();
    assert!(
        updated.notes.iter().any(|note| note.starts_with("unreclaimable moved")),
        "{updated:?}"
    );
    let again = maker.runs(5, Truth { memory: 1.2, ..BASE });
    assert_eq!(baseline.compare(&again, &Settings::default()).unwrap().verdict(), Verdict::Pass);
}

#[test]
fn baselines_read_back_and_others_are_refused() {
    let mut maker = Maker::new(6);
    let baseline = Baseline::of(&maker.runs(3, BASE), &Settings::default()).unwrap();
    assert_eq!(Baseline::read(&baseline.text()).unwrap().text(), baseline.text());
    for seed in 0..60 {
        let mut maker = Maker { noise: (0.3, 0.9), ..Maker::new(seed) };
        let mut baseline = Baseline::of(&maker.runs(2, BASE), &Settings::default()).unwrap();
        baseline.update(&maker.runs(1, BASE), &Settings::default()).unwrap();
        // To the last bit, or references would creep each time the file is written.
        assert_eq!(Baseline::read(&baseline.text()).unwrap(), baseline, "seed {seed}");
    }
    assert!(matches!(Baseline::read("{"), Err(BaselineError::Foreign(_))));
    let other = r#"{ "schema": 2, "kind": "highwater-baseline" }"#;
    assert!(matches!(Baseline::read(other), Err(BaselineError::Later { schema: 2 })));
    let other = r#"{ "schema": 1, "kind": "else" }"#;
    assert!(matches!(Baseline::read(other), Err(BaselineError::Other { schema: 1, .. })));
    let run = maker.value(BASE).to_string();
    assert!(matches!(Baseline::read(&run), Err(BaselineError::Run)));
}

#[test]
fn failed_runs_make_no_baseline_unless_asked() {
    let mut maker = Maker::new(8);
    let mut value = maker.value(BASE);
    value["verdict"] = json!("fail");
    value["reasons"] = json!([{ "id": "threshold", "level": "fail" }]);
    let failed = [made(&value)];
    let refused = Baseline::of(&failed, &Settings::default());
    assert!(matches!(refused, Err(Refusal::Broken { .. })));
    let anyway = Settings { anyway: true, ..Settings::default() };
    assert!(Baseline::of(&failed, &anyway).is_ok());
    // What only a baseline holds against a run is to be accepted.
    value["reasons"] = json!([{ "id": "regression", "level": "fail" }]);
    assert!(Baseline::of(&[made(&value)], &Settings::default()).is_ok());
}

#[test]
fn another_host_only_informs() {
    let mut maker = Maker::new(9);
    let baseline = Baseline::of(&maker.runs(5, BASE), &Settings::default()).unwrap();
    let mut value = maker.value(Truth { memory: 1.5, ..BASE });
    value["host"]["cpus"] = json!(8);
    let comparison = baseline.compare(&[made(&value)], &Settings::default()).unwrap();
    assert!(comparison.regressions().next().is_some());
    assert!(comparison.informs);
    assert_eq!(comparison.verdict(), Verdict::Pass);
}

#[test]
fn only_runs_made_alike_are_compared() {
    let mut maker = Maker::new(10);
    let base = maker.runs(1, BASE);
    let mut refused = |change: &dyn Fn(&mut Value)| {
        let mut value = maker.value(BASE);
        change(&mut value);
        let new = [made(&value)];
        let anyway = Settings { anyway: true, ..Settings::default() };
        let told = compare(&base, &new, &anyway).unwrap().differences;
        match compare(&base, &new, &Settings::default()) {
            Err(Refusal::Unlike { texts }) => texts.join("; "),
            Ok(_) => format!("told: {told:?}"),
            Err(other) => other.to_string(),
        }
    };
    let limit = refused(&|run| run["target"]["limit_bytes"] = json!(134_217_728));
    assert_eq!(limit, "memory limit: 256 MiB in run, 128 MiB in run");
    assert!(refused(&|run| run["host"]["cpus"] = json!(4)).starts_with("CPUs: 2"));
    assert!(refused(&|run| run["sampler"]["peak_method"] = json!("sampled")).contains("peaks by"));
    assert!(refused(&|run| run["target"]["cgroup"] = json!("v1")).contains("cgroup"));
    assert!(refused(&|run| run["phases"][1]["name"] = json!("other")).contains("phases"));
    assert!(refused(&|run| run["phases"][1]["end_ms"] = json!(90_000)).contains("told"), "counted");
    let longer = refused(&|run| {
        run["phases"][1]["end_ms"] = json!(90_000);
        run["phases"][1]["traffic"]["requests"] = json!(5000);
    });
    assert!(longer.contains("lasted"), "{longer}");
    let bodies = refused(&|run| {
        run["phases"][0]["traffic"]["steps"][0]["request_body_bytes"]["p50"] = json!(90_000);
    });
    assert!(bodies.contains("bodies of POST /orders"), "{bodies}");
    let mix = refused(&|run| run["phases"][0]["traffic"]["steps"][0]["requests"] = json!(4000));
    assert!(mix.contains('%'), "{mix}");
    assert!(refused(&|run| run["host"]["kernel"] = json!("6.1")).contains("told"));
}

#[test]
fn kills_and_leaks_are_told_and_interrupted_runs_refused() {
    let mut maker = Maker::new(11);
    let base = maker.runs(1, BASE);
    let mut value = maker.value(BASE);
    value["memory"]["oom_kills"] = json!(1);
    value["verdict"] = json!("fail");
    let comparison = held(&base, &[made(&value)]);
    assert_eq!(comparison.verdict(), Verdict::Fail);
    assert_eq!(comparison.facts[0].text, "OOM-killed: 1 of 1 new runs, none of 1 base runs");
    let mut value = maker.value(BASE);
    value["growth"]["class"] = json!("leak");
    assert_eq!(held(&base, &[made(&value)]).facts[0].id, "leak");
    let mut value = maker.value(BASE);
    value["verdict"] = json!("interrupted");
    let refused = compare(&base, &[made(&value)], &Settings::default());
    assert!(matches!(refused, Err(Refusal::Broken { .. })));
    let mut value = maker.value(BASE);
    value["verdict"] = json!("untrusted");
    assert_eq!(held(&base, &[made(&value)]).verdict(), Verdict::Untrusted);
    assert!(matches!(compare(&base, &[], &Settings::default()), Err(Refusal::NoRuns { .. })));
}

#[test]
fn the_same_input_gives_the_same_answer() {
    let mut maker = Maker::new(12);
    let (base, new) = (maker.runs(9, BASE), maker.runs(9, BASE));
    assert_eq!(held(&base, &new), held(&base, &new));
}
