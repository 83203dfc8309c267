//! What a run said against what is true.

use serde_json::Value;

use super::cases::{BurstTruth, Case, MIB, StepTruth, Truth, float};
use super::table::{Outcome, Row};

/// A cost may be so far off.
const COST_TOLERANCE: f64 = 0.15;
/// Only steps that make up this share of the memory are asked for.
const COST_SHARE: f64 = 0.10;
/// A spike that rises by less than this share of a burst's memory isn't all its doing.
const SPIKE_SHARE: f64 = 0.5;

/// Scores the `run.json` of a case.
pub(crate) fn score(case: &Case, json: &Value) -> Row {
    let mut row = match &case.truth {
        Truth::Growth { leaks } => growth(*leaks, json),
        Truth::Costs(steps) => costs(steps, json),
        Truth::Suspects(bursts) => suspects(bursts, json),
        Truth::Size { .. } => unreachable!("searches for a limit are scored apart"),
    };
    row.name.clone_from(&case.name);
    row
}

fn growth(leaks: Option<u64>, json: &Value) -> Row {
    let class = json["growth"]["class"].as_str().unwrap_or("none").to_owned();
    let outcome = match (leaks, class.as_str()) {
        (Some(_), "leak") | (None, "flat" | "settles" | "retained") => Outcome::Right,
        (_, "unclear") => Outcome::Unclear,
        _ => Outcome::Wrong,
    };
    let truth = leaks.map_or_else(
        || "no leak".to_owned(),
        |bytes| format!("leak of {:.1} MiB", float(bytes) / float(MIB)),
    );
    let rise = json["growth"]["rise_bytes"]
        .as_f64()
        .map_or_else(String::new, |bytes| format!(", {:.1} MiB", bytes / float(MIB)));
    Row { truth, said: format!("{class}{rise}"), outcome, right: 0, of: 0, ..Row::default() }
}

fn costs(steps: &[StepTruth], json: &Value) -> Row {
    let rows = json["costs"].as_array().cloned().unwrap_or_default();
    let (mut right, mut of, mut unclear) = (0, 0, false);
    let (mut truth, mut said) = (Vec::new(), Vec::new());
    for step in steps.iter().filter(|step| step.share >= COST_SHARE) {
        of += 1;
        let found = rows.iter().find(|row| row["scenario"] == step.scenario.as_str());
        let bytes = found.and_then(|row| row["bytes_per_in_flight"].as_f64());
        truth.push(format!("{} {:.0} KiB", step.scenario, step.bytes / 1024.0));
        match bytes {
            None => {
                unclear = true;
                said.push("refused".to_owned());
            }
            Some(bytes) => {
                let off = bytes / step.bytes - 1.0;
                right += u32::from(off.abs() <= COST_TOLERANCE);
                said.push(format!("{:+.0} %", 100.0 * off));
            }
        }
    }
    let outcome = match (right == of, unclear) {
        (true, _) => Outcome::Right,
        (false, true) => Outcome::Unclear,
        (false, false) => Outcome::Wrong,
    };
    let (truth, said) = (truth.join(", "), said.join(", "));
    Row { truth, said, outcome, right, of, ..Row::default() }
}

fn suspects(bursts: &[BurstTruth], json: &Value) -> Row {
    let start = json["phases"][0]["start_ms"].as_f64().unwrap_or(0.0);
    let spikes = json["spikes"].as_array().cloned().unwrap_or_default();
    let (mut right, mut of) = (0, 0);
    let mut wrong = Vec::new();
    for spike in &spikes {
        let at = spike["at_ms"].as_f64().unwrap_or(0.0) - start;
        let rise = spike["rise_bytes"].as_f64().unwrap_or(0.0);
        let Some(burst) = bursts.iter().find(|burst| burst.caused(at, rise)) else { continue };
        of += 1;
        let named = spike["suspects"][0]["scenario"].as_str().unwrap_or("none");
        if named == burst.scenario {
            right += 1;
        } else {
            wrong.push(format!("{named} at {at:.0} ms"));
        }
    }
    let outcome = if of > 0 && float(right.into()) >= 0.95 * float(of.into()) {
        Outcome::Right
    } else {
        Outcome::Wrong
    };
    let names: Vec<&str> = bursts.iter().map(|burst| burst.scenario.as_str()).collect();
    let (truth, said) = (names.join(", "), format!("{right} of {of} {}", wrong.join(", ")));
    Row { truth, said, outcome, right, of, ..Row::default() }
}

impl BurstTruth {
    /// Whether a spike is this burst's doing: it is from the time of one, and large enough.
    fn caused(&self, at_ms: f64, rise: f64) -> bool {
        let since = (at_ms - self.first_ms).rem_euclid(self.every_ms);
        at_ms >= self.first_ms && since <= self.hold_ms + 200.0 && rise >= SPIKE_SHARE * self.bytes
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
pub(crate) fn rounded(value: f64) -> u64 {
    value.round() as u64
}
