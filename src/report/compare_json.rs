//! A comparison as a JSON document of its own, schema 1; keys grow only by addition.
//!
//! ```json
//! { "schema": 1, "kind": "highwater-comparison", "verdict": "pass|fail|untrusted", "exit_code": 0,
//!   "informs": false,
//!   "baseline_since": "RFC 3339, or null without a baseline",
//!   "base": { "name": "…", "count": 5, "runs": ["reports/…"] }, "new": { … },
//!   "counts": { "regression": 0, "improvement": 0, "same": 0, "unclear": 0 },
//!   "rows": [ { "metric": "latency_p99{phase:burst,scenario:orders,step:POST /orders}",
//!               "kind": "latency_p99", "phase": "burst", "scenario": "orders", "step": "POST /orders",
//!               "unit": "bytes|bytes_per_hour|milliseconds|percent|per_second|cores",
//!               "base": 0, "base_count": 5, "new": 0, "new_count": 5,
//!               "change": 0, "change_percent": 0,
//!               "interval": { "low": 0, "high": 0, "confidence": 0.95 },
//!               "limit": 0, "p_worse": 0.5, "p_better": 0.5,
//!               "basis": "runs|trials|band|intervals|floor",
//!               "outcome": "regression|improvement|same|unclear", "since": null } ],
//!   "facts": [ { "id": "oom_kill|leak", "outcome": "…", "text": "…" } ],
//!   "differences": [ { "weight": "other|host|note", "text": "…" } ],
//!   "only_base": [], "only_new": [], "notes": [] }
//! ```
//!
//! Values are in the row's `unit`; `change`, `interval` and `limit` too. What is not known is
//! `null`: the percentage of a base that is nothing, the interval of too few values, p-values where
//! no noise is known.

use serde::Serialize;

use super::json::places;
use crate::analysis::Verdict;
use crate::analysis::compare::{Comparison, Interval, Outcome, Row, Side, Unit, Weight};

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    kind: &'static str,
    verdict: &'static str,
    exit_code: u8,
    informs: bool,
    baseline_since: Option<&'a str>,
    base: SideRow<'a>,
    new: SideRow<'a>,
    counts: Counts,
    rows: Vec<MetricRow<'a>>,
    facts: Vec<FactRow<'a>>,
    differences: Vec<DifferenceRow<'a>>,
    only_base: Vec<String>,
    only_new: Vec<String>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct SideRow<'a> {
    name: &'a str,
    count: usize,
    runs: &'a [String],
}

#[derive(Serialize)]
struct Counts {
    regression: usize,
    improvement: usize,
    same: usize,
    unclear: usize,
}

#[derive(Serialize)]
struct MetricRow<'a> {
    metric: String,
    kind: &'static str,
    phase: Option<&'a str>,
    scenario: Option<&'a str>,
    step: Option<&'a str>,
    unit: Unit,
    base: Option<f64>,
    base_count: usize,
    new: Option<f64>,
    new_count: usize,
    change: Option<f64>,
    change_percent: Option<f64>,
    interval: Option<IntervalRow>,
    limit: Option<f64>,
    p_worse: Option<f64>,
    p_better: Option<f64>,
    basis: &'static str,
    outcome: &'static str,
    since: Option<&'a str>,
}

#[derive(Serialize)]
struct IntervalRow {
    low: Option<f64>,
    high: Option<f64>,
    confidence: Option<f64>,
}

#[derive(Serialize)]
struct FactRow<'a> {
    id: &'static str,
    outcome: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
struct DifferenceRow<'a> {
    weight: &'static str,
    text: &'a str,
}

/// The comparison's document.
#[must_use]
pub fn comparison_json(comparison: &Comparison) -> String {
    let verdict = comparison.verdict();
    let document = Document {
        schema: 1,
        kind: "highwater-comparison",
        verdict: verdict.name(),
        exit_code: match verdict {
            Verdict::Pass => 0,
            Verdict::Untrusted => 5,
            _ => 1,
        },
        informs: comparison.informs,
        baseline_since: comparison.since.as_deref(),
        base: side(&comparison.base),
        new: side(&comparison.new),
        counts: Counts {
            regression: comparison.count(Outcome::Regression),
            improvement: comparison.count(Outcome::Improvement),
            same: comparison.count(Outcome::Same),
            unclear: comparison.count(Outcome::Unclear),
        },
        rows: comparison.rows.iter().map(metric).collect(),
        facts: comparison
            .facts
            .iter()
            .map(|fact| FactRow { id: fact.id, outcome: fact.outcome.name(), text: &fact.text })
            .collect(),
        differences: comparison
            .differences
            .iter()
            .map(|row| DifferenceRow { weight: weight(row.weight), text: &row.text })
            .collect(),
        only_base: comparison.only_base.iter().map(ToString::to_string).collect(),
        only_new: comparison.only_new.iter().map(ToString::to_string).collect(),
        notes: &comparison.notes,
    };
    let mut text = serde_json::to_string_pretty(&document)
        .expect("plain structs with text keys always serialise");
    text.push('\n');
    text
}

fn side(side: &Side) -> SideRow<'_> {
    SideRow { name: &side.name, count: side.count, runs: &side.runs }
}

const fn weight(weight: Weight) -> &'static str {
    match weight {
        Weight::Other => "other",
        Weight::Host => "host",
        Weight::Note => "note",
    }
}

fn metric(row: &Row) -> MetricRow<'_> {
    let interval = |row: Interval| IntervalRow {
        low: places(row.low),
        high: places(row.high),
        confidence: places(row.confidence),
    };
    // Small probabilities are not to become nothing.
    let p = |p: f64| p.is_finite().then(|| (p * 1e6).round() / 1e6);
    MetricRow {
        metric: row.id.to_string(),
        kind: row.id.kind.name(),
        phase: row.id.phase.as_deref(),
        scenario: row.id.step.as_ref().map(|(scenario, _)| scenario.as_str()),
        step: row.id.step.as_ref().map(|(_, step)| step.as_str()),
        unit: row.id.kind.unit(),
        base: places(row.base),
        base_count: row.base_count,
        new: places(row.new),
        new_count: row.new_count,
        change: places(row.change),
        change_percent: row.percent().and_then(places),
        interval: row.interval.map(interval),
        limit: places(row.limit),
        p_worse: row.p_worse.and_then(p),
        p_better: row.p_better.and_then(p),
        basis: row.basis.name(),
        outcome: row.outcome.name(),
        since: row.since.as_deref(),
    }
}
