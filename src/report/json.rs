//! `run.json`, schema 1: its keys are a contract and grow only by addition.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Renderer, text};
use crate::analysis::{
    CheckItem, Findings, GeneratorAccount, Measured, Memory, Phase, PhaseMemory, Reason,
    SamplerAccount, SpikeFinding, Startup, StepTraffic, Times, Traffic, Trial, Vital,
};
use crate::clock::Moment;
use crate::event::{Evidence, GeneratorPath, HostFacts, ReleaseBuild, SchedulingClass};
use crate::units::Limit;

/// Renders `run.json`.
#[derive(Debug, Clone, Copy)]
pub struct RunJson;

impl Renderer for RunJson {
    fn render(&self, findings: &Findings) -> String {
        let mut text = serde_json::to_string_pretty(&Document::of(findings))
            .expect("plain structs with text keys always serialise");
        text.push('\n');
        text
    }
}

/// A part that this version does not make yet.
type NotYet = Option<()>;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    name: &'a str,
    started_at: String,
    highwater: &'a str,
    verdict: &'static str,
    exit_code: u8,
    reasons: Vec<ReasonRow<'a>>,
    target: TargetRow<'a>,
    startup: Option<StartupRow>,
    phases: Vec<PhaseRow<'a>>,
    memory: Option<MemoryRow>,
    spikes: Vec<SpikeRow<'a>>,
    spikes_total: Option<u64>,
    growth: NotYet,
    costs: NotYet,
    sizing: NotYet,
    sampler: Option<SamplerRow>,
    generator: Option<GeneratorRow>,
    thresholds: Vec<ThresholdRow<'a>>,
    checklist: Vec<CheckRow<'a>>,
    host: &'a HostFacts,
}

#[derive(Serialize)]
struct ReasonRow<'a> {
    id: &'static str,
    level: &'static str,
    text: &'a str,
    at_ms: Option<f64>,
}

#[derive(Serialize)]
struct TargetRow<'a> {
    runtime: &'a str,
    image: Option<&'a str>,
    limit_bytes: Option<u64>,
    cgroup: &'a str,
    release_build: ReleaseBuild,
}

#[derive(Serialize)]
struct StartupRow {
    trials: Vec<TrialRow>,
    peak_bytes: Option<u64>,
    settled_bytes: Option<u64>,
}

#[derive(Serialize)]
struct TrialRow {
    ready_ms: Option<f64>,
    peak_bytes: Option<u64>,
    rss_peak_bytes: Option<u64>,
    unreclaimable_peak_bytes: Option<u64>,
    settled_bytes: Option<u64>,
    before_exec_bytes: Option<u64>,
    killed: bool,
    trial: u32,
    limit_bytes: Option<u64>,
}

#[derive(Serialize)]
struct PhaseRow<'a> {
    name: &'a str,
    start_ms: f64,
    end_ms: f64,
    memory: Option<PhaseMemoryRow>,
    target: Option<VitalRow>,
    traffic: Option<TrafficRow<'a>>,
    recovery_ms: NotYet,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are a contract")]
struct PhaseMemoryRow {
    peak_bytes: u64,
    rss_peak_bytes: u64,
    unreclaimable_peak_bytes: u64,
    unreclaimable_peak_low_bytes: u64,
    start_bytes: u64,
    end_bytes: u64,
}

#[derive(Serialize)]
struct VitalRow {
    cpu_cores: Option<f64>,
    throttled_percent: Option<f64>,
    threads_max: u32,
    open_files_max: Option<u32>,
    psi_some_ms: Option<f64>,
}

#[derive(Serialize)]
struct TimesRow {
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

#[derive(Serialize)]
struct LatenessRow {
    p50: f64,
    p99: f64,
}

#[derive(Serialize)]
struct TrafficRow<'a> {
    requests: u64,
    failed: u64,
    unsent: u64,
    rate: Option<f64>,
    bytes_sent: u64,
    bytes_received: u64,
    latency_ms: Option<TimesRow>,
    duration_ms: Option<TimesRow>,
    send_lateness_us: Option<LatenessRow>,
    status: &'a BTreeMap<u16, u64>,
    errors: BTreeMap<&'static str, u64>,
    steps: Vec<StepRow<'a>>,
}

#[derive(Serialize)]
struct StepRow<'a> {
    scenario: &'a str,
    step: &'a str,
    requests: u64,
    failed: u64,
    unsent: u64,
    bytes_sent: u64,
    bytes_received: u64,
    latency_ms: Option<TimesRow>,
    duration_ms: Option<TimesRow>,
}

#[derive(Serialize)]
struct MemoryRow {
    peak_bytes: u64,
    rss_peak_bytes: u64,
    unreclaimable_peak_bytes: u64,
    unreclaimable_peak_low_bytes: u64,
    limit_bytes: Option<u64>,
    headroom_percent: Option<f64>,
    oom_kills: u64,
    limit_hits: Option<u64>,
    oom_evidence: Vec<Evidence>,
}

#[derive(Serialize)]
struct SpikeRow<'a> {
    at_ms: f64,
    phase: Option<&'a str>,
    rise_bytes: u64,
    peak_bytes: u64,
    length_ms: f64,
    in_flight: Option<u64>,
    suspects: Vec<SuspectRow<'a>>,
}

#[derive(Serialize)]
struct SuspectRow<'a> {
    scenario: &'a str,
    step: &'a str,
    share: f64,
}

#[derive(Serialize)]
struct SamplerRow {
    tick_us: f64,
    ticks: u64,
    missed_ticks: u64,
    lateness_us: Option<LatenessRow>,
    scheduling: Option<SchedulingClass>,
    peak_method: Option<&'static str>,
    cpu_percent: Option<f64>,
}

#[derive(Serialize)]
struct GeneratorRow {
    cpu_percent: Option<f64>,
    rss_peak_bytes: u64,
    saturated: bool,
    path: GeneratorPath,
}

#[derive(Serialize)]
struct ThresholdRow<'a> {
    metric: &'a str,
    rule: &'a str,
    value: Option<f64>,
    pass: Option<bool>,
}

#[derive(Serialize)]
struct CheckRow<'a> {
    question: &'static str,
    answer: &'static str,
    evidence: &'a str,
}

/// Rounded to a thousandth, and finite.
fn places(value: f64) -> Option<f64> {
    value.is_finite().then(|| (value * 1e3).round() / 1e3)
}

/// The same for what is finite by its making.
fn number(value: f64) -> f64 {
    places(value).unwrap_or(0.0)
}

fn ms(at: Moment) -> f64 {
    number(at.as_millis_f64())
}

fn size(limit: Limit) -> Option<u64> {
    limit.bytes().map(crate::units::Bytes::get)
}

impl<'a> Document<'a> {
    fn of(findings: &'a Findings) -> Self {
        let facts = &findings.facts;
        let memory = findings.memory.as_ref();
        Self {
            schema: 1,
            name: &findings.name,
            started_at: text::started_at(findings),
            highwater: &facts.highwater,
            verdict: findings.verdict.name(),
            exit_code: findings.exit_code,
            reasons: findings.reasons.iter().map(reason).collect(),
            target: TargetRow {
                runtime: &facts.runtime,
                image: facts.image.as_deref(),
                limit_bytes: size(findings.limit),
                cgroup: &facts.cgroup,
                release_build: facts.release,
            },
            startup: findings.startup.as_ref().map(startup),
            phases: findings.phases.iter().map(phase).collect(),
            memory: memory.map(|row| whole_memory(row, findings.limit)),
            spikes: findings.spikes.iter().map(spike).collect(),
            spikes_total: findings.spikes_total,
            growth: None,
            costs: None,
            sizing: None,
            sampler: findings.sampler.as_ref().map(sampler),
            generator: findings.generator.as_ref().map(generator),
            thresholds: findings.thresholds.iter().map(threshold).collect(),
            checklist: findings.checklist.iter().map(check).collect(),
            host: &facts.host,
        }
    }
}

fn reason(row: &Reason) -> ReasonRow<'_> {
    ReasonRow { id: row.id, level: row.level.name(), text: &row.text, at_ms: row.at.map(ms) }
}

fn startup(row: &Startup) -> StartupRow {
    StartupRow {
        trials: row.trials.iter().map(trial).collect(),
        peak_bytes: row.peak.map(crate::units::Bytes::get),
        settled_bytes: row.settled.map(crate::units::Bytes::get),
    }
}

fn trial(row: &Trial) -> TrialRow {
    let get = crate::units::Bytes::get;
    TrialRow {
        ready_ms: row.ready_ms.and_then(places),
        peak_bytes: row.peak.map(get),
        rss_peak_bytes: row.rss_peak.map(get),
        unreclaimable_peak_bytes: row.unreclaimable_peak.map(get),
        settled_bytes: row.settled.map(get),
        before_exec_bytes: row.before_exec.map(get),
        killed: row.killed,
        trial: row.number,
        limit_bytes: size(row.limit),
    }
}

fn phase(row: &Phase) -> PhaseRow<'_> {
    PhaseRow {
        name: &row.name,
        start_ms: ms(row.start),
        end_ms: ms(row.end),
        memory: row.memory.as_ref().map(phase_memory),
        target: row.target.as_ref().map(vital),
        traffic: row.traffic.as_ref().map(traffic),
        recovery_ms: None,
    }
}

const fn phase_memory(row: &PhaseMemory) -> PhaseMemoryRow {
    PhaseMemoryRow {
        peak_bytes: row.peak.get(),
        rss_peak_bytes: row.rss_peak.get(),
        unreclaimable_peak_bytes: row.unreclaimable_peak.get(),
        unreclaimable_peak_low_bytes: row.unreclaimable_peak_low.get(),
        start_bytes: row.start.get(),
        end_bytes: row.end.get(),
    }
}

fn vital(row: &Vital) -> VitalRow {
    VitalRow {
        cpu_cores: row.cpu_cores.and_then(places),
        throttled_percent: row.throttled_percent.and_then(places),
        threads_max: row.threads_max,
        open_files_max: row.open_files_max,
        psi_some_ms: row.psi_some_ms.and_then(places),
    }
}

fn times(row: &Times) -> TimesRow {
    TimesRow {
        p50: number(row.p50),
        p95: number(row.p95),
        p99: number(row.p99),
        max: number(row.max),
    }
}

fn lateness((p50, p99): (f64, f64)) -> LatenessRow {
    LatenessRow { p50: number(p50), p99: number(p99) }
}

fn traffic(row: &Traffic) -> TrafficRow<'_> {
    let errors = row.errors.iter();
    TrafficRow {
        requests: row.requests,
        failed: row.failed,
        unsent: row.unsent,
        rate: row.rate.and_then(places),
        bytes_sent: row.bytes_sent,
        bytes_received: row.bytes_received,
        latency_ms: row.latency.as_ref().map(times),
        duration_ms: row.duration.as_ref().map(times),
        send_lateness_us: row.send_lateness_us.map(lateness),
        status: &row.status,
        errors: errors.map(|(kind, count)| (kind.name(), *count)).collect(),
        steps: row.steps.iter().map(step).collect(),
    }
}

fn step(row: &StepTraffic) -> StepRow<'_> {
    StepRow {
        scenario: &row.scenario,
        step: &row.step,
        requests: row.requests,
        failed: row.failed,
        unsent: row.unsent,
        bytes_sent: row.bytes_sent,
        bytes_received: row.bytes_received,
        latency_ms: row.latency.as_ref().map(times),
        duration_ms: row.duration.as_ref().map(times),
    }
}

fn whole_memory(row: &Memory, limit: Limit) -> MemoryRow {
    MemoryRow {
        peak_bytes: row.peak.get(),
        rss_peak_bytes: row.rss_peak.get(),
        unreclaimable_peak_bytes: row.unreclaimable_peak.get(),
        unreclaimable_peak_low_bytes: row.unreclaimable_peak_low.get(),
        limit_bytes: size(limit),
        headroom_percent: row.headroom_percent.and_then(places),
        oom_kills: row.oom_kills,
        limit_hits: row.limit_hits,
        oom_evidence: row.oom_evidence.iter().copied().collect(),
    }
}

fn spike(row: &SpikeFinding) -> SpikeRow<'_> {
    let suspects = row.suspects.iter().map(|suspect| SuspectRow {
        scenario: &suspect.scenario,
        step: &suspect.step,
        share: number(suspect.share),
    });
    SpikeRow {
        at_ms: ms(row.at),
        phase: row.phase.as_deref(),
        rise_bytes: row.rise.get(),
        peak_bytes: row.peak.get(),
        length_ms: number(row.length.as_secs_f64() * 1e3),
        in_flight: row.in_flight,
        suspects: suspects.collect(),
    }
}

fn sampler(row: &SamplerAccount) -> SamplerRow {
    SamplerRow {
        tick_us: number(Moment::from_nanos(row.tick_ns).as_millis_f64() * 1e3),
        ticks: row.ticks,
        missed_ticks: row.missed_ticks,
        lateness_us: row.lateness_us.map(lateness),
        scheduling: row.scheduling,
        peak_method: row.method.map(crate::event::PeakMethod::name),
        cpu_percent: row.cpu_percent.and_then(places),
    }
}

fn generator(row: &GeneratorAccount) -> GeneratorRow {
    GeneratorRow {
        cpu_percent: row.cpu_percent.and_then(places),
        rss_peak_bytes: row.rss_peak.get(),
        saturated: row.saturated,
        path: row.path,
    }
}

fn threshold(row: &Measured) -> ThresholdRow<'_> {
    ThresholdRow {
        metric: &row.metric,
        rule: &row.rule,
        value: row.value.filter(|value| value.is_finite()),
        pass: row.pass,
    }
}

fn check(row: &CheckItem) -> CheckRow<'_> {
    CheckRow { question: row.question, answer: row.answer.name(), evidence: &row.evidence }
}
