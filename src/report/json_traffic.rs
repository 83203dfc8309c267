//! The traffic of a phase, as `run.json` has it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::json::{number, places};
use crate::analysis::{
    AnswerTraffic, CustomTraffic, Sizes, StepTraffic, TimedRequests, Times, Traffic,
};
use crate::event::Status;
use crate::plan::CustomKind;

#[derive(Serialize, JsonSchema)]
struct TimesRow {
    /// The median, in milliseconds.
    p50: f64,
    /// The 95th percentile, in milliseconds.
    p95: f64,
    /// The 99th percentile, in milliseconds.
    p99: f64,
    /// The greatest, in milliseconds.
    max: f64,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct LatenessRow {
    /// The median, in microseconds.
    p50: f64,
    /// The 99th percentile, in microseconds.
    p99: f64,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct TrafficRow<'a> {
    /// Requests that ended.
    requests: u64,
    /// Of these, the failed ones.
    failed: u64,
    /// Requests that fell due and were never sent.
    unsent: u64,
    /// Sent more than 10 ms after they were due.
    late: u64,
    /// Requests that ended, a second.
    rate: Option<f64>,
    /// Bytes written to sockets.
    bytes_sent: u64,
    /// Bytes read from sockets.
    bytes_received: u64,
    /// From due to the last byte.
    latency_ms: Option<TimesRow>,
    /// From sent to the last byte.
    duration_ms: Option<TimesRow>,
    /// From sent to the first byte.
    waiting_ms: Option<TimesRow>,
    /// From due to sent, in microseconds.
    send_lateness_us: Option<LatenessRow>,
    /// Answers by status.
    status: &'a BTreeMap<u16, u64>,
    /// Failed requests by kind.
    errors: BTreeMap<&'static str, u64>,
    /// Requests by status and by whether that was expected.
    answers: Vec<AnswerRow>,
    /// The same by scenario.
    scenarios: Vec<ScenarioRow<'a>>,
    /// The same by step.
    steps: Vec<StepRow<'a>>,
    /// Metrics of the scenario's own.
    metrics: Vec<MetricRow<'a>>,
}

/// A metric of the scenario's own.
#[derive(Serialize, JsonSchema)]
struct MetricRow<'a> {
    /// Its name.
    metric: &'a str,
    /// `rate` or `counter`.
    kind: CustomKind,
    /// A counter's sum, or the hits of a rate.
    count: u64,
    /// How many answers gave something.
    answers: u64,
    /// A counter's sum per second, or the share of hits.
    rate: Option<f64>,
}

/// Requests that were answered alike.
#[derive(Serialize, JsonSchema)]
struct AnswerRow {
    /// A number; or `none`, or `other` where there were too many to be told apart.
    #[schemars(extend("type" = ["integer", "string"]))]
    status: Value,
    /// Whether it was expected.
    expected: bool,
    #[serde(flatten)]
    timed: TimedRow,
}

#[derive(Serialize, JsonSchema)]
struct ScenarioRow<'a> {
    /// The scenario.
    scenario: &'a str,
    #[serde(flatten)]
    timed: TimedRow,
}

#[derive(Serialize, JsonSchema)]
struct TimedRow {
    /// Requests that ended.
    requests: u64,
    /// Of these, the failed ones.
    failed: u64,
    /// From due to the last byte.
    latency_ms: Option<TimesRow>,
    /// From sent to the last byte.
    duration_ms: Option<TimesRow>,
    /// From sent to the first byte.
    waiting_ms: Option<TimesRow>,
}

#[derive(Serialize, JsonSchema)]
struct StepRow<'a> {
    /// The scenario.
    scenario: &'a str,
    /// The step: its name, or method and path.
    step: &'a str,
    /// Its tags.
    tags: &'a BTreeMap<String, String>,
    /// Requests that ended.
    requests: u64,
    /// Of these, the failed ones.
    failed: u64,
    /// Requests that fell due and were never sent.
    unsent: u64,
    /// Bytes written to sockets.
    bytes_sent: u64,
    /// Bytes read from sockets.
    bytes_received: u64,
    /// From due to the last byte.
    latency_ms: Option<TimesRow>,
    /// From sent to the last byte.
    duration_ms: Option<TimesRow>,
    /// From sent to the first byte.
    waiting_ms: Option<TimesRow>,
    /// Sizes of request bodies as sent.
    request_body_bytes: Option<SizesRow>,
    /// Sizes of response bodies as received.
    response_body_bytes: Option<SizesRow>,
    /// Sizes of request bodies as the scenario asks for them.
    wanted_body_bytes: Option<SizesRow>,
    /// Requests by status and by whether that was expected.
    answers: Vec<AnswerRow>,
}

#[derive(Serialize, JsonSchema)]
struct SizesRow {
    /// The median, in bytes.
    p50: u64,
    /// The 99th percentile, in bytes.
    p99: u64,
    /// The greatest, in bytes.
    max: u64,
}

fn sizes(row: Sizes) -> SizesRow {
    SizesRow { p50: row.p50.get(), p99: row.p99.get(), max: row.max.get() }
}

fn times(row: &Times) -> TimesRow {
    TimesRow {
        p50: number(row.p50),
        p95: number(row.p95),
        p99: number(row.p99),
        max: number(row.max),
    }
}

pub(super) fn lateness((p50, p99): (f64, f64)) -> LatenessRow {
    LatenessRow { p50: number(p50), p99: number(p99) }
}

pub(super) fn traffic(row: &Traffic) -> TrafficRow<'_> {
    let errors = row.errors.iter();
    TrafficRow {
        requests: row.requests,
        failed: row.failed,
        unsent: row.unsent,
        late: row.late,
        rate: row.rate.and_then(places),
        bytes_sent: row.bytes_sent,
        bytes_received: row.bytes_received,
        latency_ms: row.latency.as_ref().map(times),
        duration_ms: row.duration.as_ref().map(times),
        waiting_ms: row.waiting.as_ref().map(times),
        send_lateness_us: row.send_lateness_us.map(lateness),
        status: &row.status,
        errors: errors.map(|(kind, count)| (kind.name(), *count)).collect(),
        answers: row.answers.iter().map(answer).collect(),
        scenarios: row
            .scenarios
            .iter()
            .map(|row| ScenarioRow { scenario: &row.scenario, timed: timed(&row.timed) })
            .collect(),
        steps: row.steps.iter().map(step).collect(),
        metrics: row.metrics.iter().map(metric).collect(),
    }
}

fn metric(row: &CustomTraffic) -> MetricRow<'_> {
    let CustomTraffic { name, kind, count, answers, rate } = row;
    let rate = rate.and_then(places);
    MetricRow { metric: name, kind: *kind, count: *count, answers: *answers, rate }
}

fn timed(row: &TimedRequests) -> TimedRow {
    TimedRow {
        requests: row.requests,
        failed: row.failed,
        latency_ms: row.latency.as_ref().map(times),
        duration_ms: row.duration.as_ref().map(times),
        waiting_ms: row.waiting.as_ref().map(times),
    }
}

fn answer(row: &AnswerTraffic) -> AnswerRow {
    let status = match row.status {
        Status::Code(code) => code.into(),
        Status::None => "none".into(),
        Status::Other => "other".into(),
    };
    AnswerRow { status, expected: row.expected, timed: timed(&row.timed) }
}

fn step(row: &StepTraffic) -> StepRow<'_> {
    StepRow {
        scenario: &row.scenario,
        step: &row.step,
        tags: &row.tags,
        requests: row.requests,
        failed: row.failed,
        unsent: row.unsent,
        bytes_sent: row.bytes_sent,
        bytes_received: row.bytes_received,
        latency_ms: row.latency.as_ref().map(times),
        duration_ms: row.duration.as_ref().map(times),
        waiting_ms: row.waiting.as_ref().map(times),
        request_body_bytes: row.request_body.map(sizes),
        response_body_bytes: row.response_body.map(sizes),
        wanted_body_bytes: row.wanted_body.map(sizes),
        answers: row.answers.iter().map(answer).collect(),
    }
}
