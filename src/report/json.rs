//! `run.json`, schema 1: its keys are a contract and grow only by addition.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::actions::{self, ActionRow};
use super::json_concurrency::{ConcurrencyRow, concurrency, failing};
use super::json_costs::{CostRow, CostsBasisRow, basis, costs};
use super::json_growth::{GrowthRow, growth, recovery};
use super::json_rows::{
    CheckRow, CompositionRow, GeneratorRow, LifeRow, MemoryRow, PhaseMemoryRow, PhaseRow,
    ReasonRow, SamplerRow, SpikeRow, TargetRow, ThresholdRow,
};
use super::json_sizing::{SizingRow, sizing};
use super::json_spikes::{change, confirmed, log_line, suspect};
use super::json_startup::{StartupRow, startup};
use super::json_target::{ProcessRow, WrittenRow, process, vital, written};
use super::json_traffic::{lateness, traffic};
use super::watch::{self, WatchedRow};
use super::{Renderer, text};
use crate::analysis::{
    CheckItem, Composition, Findings, GeneratorAccount, LifeFinding, Measured, Memory, Phase,
    PhaseMemory, Reason, SamplerAccount, SpikeFinding,
};
use crate::clock::Moment;
use crate::event::{Band, HarnessReport, HostFacts, KernelParts, RunFacts};
use crate::units::{Limit, Percent};

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

/// The result of one run of Highwater. Times are milliseconds since the run started, sizes bytes,
/// unless a key says otherwise. A part that a run did not do, and what was not measured, is null.
/// Keys are only ever added.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "run.json")]
pub(super) struct Document<'a> {
    /// The version of these keys.
    #[schemars(extend("const" = 1))]
    schema: u32,
    /// The scenario's name.
    name: &'a str,
    /// When the run started, as RFC 3339 in UTC.
    #[schemars(extend("format" = "date-time"))]
    started_at: String,
    /// The version of Highwater.
    highwater: &'a str,
    /// What it all comes to.
    #[schemars(extend("enum" = ["pass", "warn", "fail", "untrusted", "error", "interrupted"]))]
    verdict: &'static str,
    /// The exit code that goes with it, without `--fail-on warn`.
    exit_code: u8,
    /// What speaks for the verdict, the weightiest first.
    reasons: Vec<ReasonRow<'a>>,
    /// What was run.
    target: TargetRow<'a>,
    /// The startup trials.
    startup: Option<StartupRow>,
    /// The phases, in their order.
    phases: Vec<PhaseRow<'a>>,
    /// Memory of the main container, over its whole life.
    memory: Option<MemoryRow>,
    /// The largest processes, by name, the largest first.
    processes: Option<Vec<ProcessRow<'a>>>,
    /// What was printed and written over the whole run.
    written: Option<WrittenRow>,
    /// The largest 200 spikes, the largest first.
    spikes: Vec<SpikeRow<'a>>,
    /// How many spikes there were in all.
    spikes_total: Option<u64>,
    /// What was done at set times (`[[at]]`): the first 1000. Null where nothing was to be done.
    actions: Option<Vec<ActionRow<'a>>>,
    /// All that was done at set times.
    actions_total: Option<u64>,
    /// How memory grew in the phase that tells most.
    growth: Option<GrowthRow<'a>>,
    /// What one request of each step holds while in flight.
    costs: Option<Vec<CostRow<'a>>>,
    /// What the costs rest on.
    costs_basis: Option<CostsBasisRow>,
    /// Why there are no costs.
    costs_refused: Option<&'a str>,
    /// Null where no load climbs, and no phases of different load can be compared.
    concurrency: Option<Vec<ConcurrencyRow<'a>>>,
    /// The limit that it needs.
    sizing: Option<SizingRow<'a>>,
    /// Each time the target was started in the main container, in order.
    lives: Vec<LifeRow>,
    /// How memory was read.
    sampler: Option<SamplerRow<'a>>,
    /// How the load generator fared.
    generator: Option<GeneratorRow>,
    /// Highwater's own process in this run; null in recordings of before it was told, and where it
    /// was cut off.
    harness: Option<HarnessRow>,
    /// The rules, and what was measured for them.
    thresholds: Vec<ThresholdRow<'a>>,
    /// What a test of memory has to have done.
    checklist: Vec<CheckRow<'a>>,
    /// The machine.
    host: &'a HostFacts,
    /// Of a watch: the targets, one a row.
    watched: Option<Vec<WatchedRow<'a>>>,
    /// What else the reader should know, in sentences.
    notes: &'a [String],
}

fn composition(row: &Composition) -> CompositionRow {
    let parts = row.kernel.and_then(|kernel| kernel.parts);
    let of =
        |band: fn(KernelParts) -> Option<Band>| parts.and_then(band).map(|band| band.max.get());
    CompositionRow {
        at_ms: number(row.at.as_millis_f64()),
        anon_bytes: row.anon.get(),
        shmem_bytes: row.shmem.get(),
        kernel_bytes: row.kernel.map(|kernel| kernel.total.max.get()),
        slab_bytes: of(|parts| parts.slab),
        slab_reclaimable_bytes: of(|parts| Some(parts.slab_reclaimable)),
        sock_bytes: of(|parts| parts.sock),
        page_tables_bytes: of(|parts| parts.page_tables),
        page_cache_bytes: row.cache.get(),
        working_set_bytes: row.working_set.get(),
    }
}

#[derive(Serialize, JsonSchema)]
struct HarnessRow {
    /// CPU time of all its threads in this run, in seconds.
    cpu_seconds: f64,
    /// CPU time per wall time, in percent of one CPU.
    cpu_percent: Option<f64>,
    /// Its resident memory as the run ended.
    rss_bytes: u64,
    /// The most of it at any time.
    rss_peak_bytes: u64,
}

/// Rounded to a thousandth, and finite.
pub(super) fn places(value: f64) -> Option<f64> {
    value.is_finite().then(|| (value * 1e3).round() / 1e3)
}

/// The same for what is finite by its making.
pub(super) fn number(value: f64) -> f64 {
    places(value).unwrap_or(0.0)
}

pub(super) fn ms(at: Moment) -> f64 {
    number(at.as_millis_f64())
}

pub(super) fn size(limit: Limit) -> Option<u64> {
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
                allocator: findings.program.as_ref().map(|row| row.allocator.as_str()),
                allocator_evidence: findings.program.as_ref().map(|row| row.evidence.as_str()),
            },
            startup: findings.startup.as_ref().map(startup),
            phases: findings.phases.iter().map(phase).collect(),
            memory: memory.map(|row| whole_memory(row, findings.limit)),
            processes: findings.processes.as_ref().map(|rows| rows.iter().map(process).collect()),
            written: findings.written.map(written),
            spikes: findings.spikes.iter().map(spike).collect(),
            spikes_total: findings.spikes_total,
            actions: actions::rows(&findings.actions),
            actions_total: Some(findings.actions.total).filter(|total| *total > 0),
            growth: findings.growth.as_ref().map(growth),
            costs: findings.costs.as_ref().map(costs),
            costs_basis: findings.costs.as_ref().map(basis),
            costs_refused: findings.costs.as_ref().and_then(|row| row.refused.as_deref()),
            concurrency: Some(&findings.concurrency)
                .filter(|rows| !rows.is_empty())
                .map(|rows| rows.iter().map(concurrency).collect()),
            sizing: findings.sizing.as_ref().map(sizing),
            lives: findings.lives.iter().map(life).collect(),
            sampler: findings.sampler.as_ref().map(|row| sampler(row, facts)),
            generator: findings.generator.as_ref().map(generator),
            harness: findings.harness.as_ref().map(harness),
            thresholds: findings.thresholds.iter().map(threshold).collect(),
            checklist: findings.checklist.iter().map(check).collect(),
            host: &facts.host,
            notes: &findings.notes,
            watched: watch::rows(findings),
        }
    }
}

fn reason(row: &Reason) -> ReasonRow<'_> {
    ReasonRow {
        id: row.id,
        level: row.level.name(),
        text: &row.text,
        at_ms: row.at.map(ms),
        next: row.next.as_deref(),
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
        recovery_ms: row.recovery.and_then(|row| row.worst_ms),
        recovery: row.recovery.as_ref().map(recovery),
        failure_patterns: row.failing.iter().map(failing).collect(),
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
        at_unreclaimable_peak: row.composition.as_ref().map(composition),
    }
}

fn spike(row: &SpikeFinding) -> SpikeRow<'_> {
    SpikeRow {
        at_ms: ms(row.at),
        phase: row.phase.as_deref(),
        rise_bytes: row.rise.get(),
        peak_bytes: row.peak.get(),
        length_ms: number(row.length.as_secs_f64() * 1e3),
        in_flight: row.in_flight,
        suspects: row.suspects.iter().map(suspect).collect(),
        change: row.change.map(change),
        near: &row.near,
        log_lines: row.lines.iter().map(log_line).collect(),
        confirmed: row.confirmed.as_ref().map(confirmed),
    }
}

fn life(row: &LifeFinding) -> LifeRow {
    let ms = |at: Moment| number(at.as_millis_f64());
    LifeRow {
        start_ms: ms(row.start),
        ready_ms: row.ready.map(ms),
        end_ms: row.end.map(ms),
        exit_code: row.exit_code,
        peak_bytes: row.peak.get(),
        unreclaimable_peak_bytes: row.unreclaimable_peak.get(),
        oom_kills: row.oom_kills,
    }
}

fn sampler<'a>(row: &SamplerAccount, facts: &'a RunFacts) -> SamplerRow<'a> {
    SamplerRow {
        tick_us: number(Moment::from_nanos(row.tick_ns).as_millis_f64() * 1e3),
        ticks: row.ticks,
        missed_ticks: row.missed_ticks,
        lateness_us: row.lateness_us.map(lateness),
        scheduling: row.scheduling,
        peak_method: row.method.map(crate::event::PeakMethod::name),
        via: Some(facts.via.as_str()).filter(|via| !via.is_empty()),
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

fn harness(row: &HarnessReport) -> HarnessRow {
    let seconds = |ns| Duration::from_nanos(ns).as_secs_f64();
    let percent = Percent::of(seconds(row.cpu_ns), seconds(row.wall_ns)).map(Percent::get);
    HarnessRow {
        cpu_seconds: number(seconds(row.cpu_ns)),
        cpu_percent: percent.and_then(places),
        rss_bytes: row.rss,
        rss_peak_bytes: row.rss_peak,
    }
}

fn threshold(row: &Measured) -> ThresholdRow<'_> {
    ThresholdRow {
        metric: &row.metric,
        rule: &row.rule,
        value: row.value.filter(|value| value.is_finite()),
        pass: row.pass,
        at_ms: row.broken_at.map(ms),
    }
}

fn check(row: &CheckItem) -> CheckRow<'_> {
    CheckRow { question: row.question, answer: row.answer.name(), evidence: &row.evidence }
}
