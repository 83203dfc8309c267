//! `highwater size` against brute force: does what it recommends survive, and how much less would?

use libtest_mimic::Failed;
use serde_json::Value;

use super::cases::{Case, KIB, MIB, Truth, float};
use super::rules;
use super::support::harness::{Bench, Runtime};
use super::table::{Outcome, Row};

/// The recommended limit may be so much above the least that survives.
const MOST_ABOVE: f64 = 1.15;
/// Trials that the search may take.
const MOST_TRIALS: u64 = 12;
/// How finely the least limit is found by brute force.
const STEP: u64 = 512 * KIB;

/// Searches, proves what was recommended by fresh runs, and looks for the least limit.
pub(crate) fn run(case: &Case, bench: &Bench) -> Result<Row, Failed> {
    let Truth::Size { proofs } = case.truth else { unreachable!("only such cases come here") };
    let docker = Runtime::Docker.name();
    let ended = bench.run(&["size", "--runtime", docker, "--out", "out", "--json"]);
    if ended.code != 0 {
        return Err(Failed::from(format!("size: exit {}\n{}", ended.code, ended.stderr)));
    }
    let json = ended.json();
    let sizing = &json["sizing"];
    let limit = sizing["recommended_limit_bytes"].as_u64().unwrap_or(0);
    let trials = sizing["trials"].as_array().map_or(0, |trials| trials.iter().map(runs).sum());
    let survived = (0..proofs).filter(|_| survives(bench, limit)).count();
    let least = least(bench, limit, proofs);
    // The run with the most room is the first row: others' rules go by what it showed.
    let roomy = ended.out.join(sizing["trials"][0]["directories"][0].as_str().unwrap_or_default());
    let run = std::fs::read_to_string(roomy.join("run.json")).unwrap_or_default();
    let run = serde_json::from_str(&run).unwrap_or_default();
    let above = float(limit) / float(least.max(1));
    let right = survived == proofs as usize && above <= MOST_ABOVE && trials <= MOST_TRIALS;
    Ok(Row {
        name: case.name.clone(),
        truth: format!("{:.1} MiB is the least", float(least) / float(MIB)),
        said: format!(
            "{:.1} MiB (× {above:.2}), survived {survived} of {proofs}, {trials} trials",
            float(limit) / float(MIB)
        ),
        outcome: if right { Outcome::Right } else { Outcome::Wrong },
        rules: rules::compare(&roomy, &run),
        ..Row::default()
    })
}

/// How many runs one row of the search stands for.
fn runs(trial: &Value) -> u64 {
    trial["runs"].as_u64().unwrap_or(1)
}

/// Whether a fresh run under a limit passes: startup and the phase, without a kill.
fn survives(bench: &Bench, limit: u64) -> bool {
    let limit = format!("target.limits.memory={}KiB", limit / KIB);
    let args = ["run", "--runtime", "docker", "--out", "proof", "--json", "--set", &limit];
    let _ = std::fs::remove_dir_all(bench.path().join("proof"));
    let ended = bench.run(&args);
    ended.code == 0
}

/// The least limit under which as many fresh runs survive, below `limit`: a limit that kills once is
/// too small. First by steps downwards of an eighth, for it is near most of the time, then by
/// bisection.
fn least(bench: &Bench, limit: u64, proofs: u32) -> u64 {
    let holds_all = |limit| (0..proofs).all(|_| survives(bench, limit));
    let (mut kills, mut holds) = (limit / 8 * 7, limit);
    while kills > STEP && holds_all(kills) {
        (kills, holds) = (kills / 8 * 7, kills);
    }
    while holds - kills > STEP {
        let between = kills.midpoint(holds);
        if holds_all(between) {
            holds = between;
        } else {
            kills = between;
        }
    }
    holds
}
