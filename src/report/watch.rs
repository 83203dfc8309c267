//! The targets of a watch, in each of the reports.

use std::fmt::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::json::{ms, places, size};
use super::text;
use crate::analysis::{Findings, Watched};
use crate::event::{Evidence, PeakMethod};
use crate::units::Bytes;

/// A target of a watch in `run.json`.
#[derive(Serialize, JsonSchema)]
pub(super) struct WatchedRow<'a> {
    /// Its name.
    name: &'a str,
    /// `container`, `process` or `cgroup`.
    kind: &'static str,
    /// The container's id.
    id: Option<&'a str>,
    /// Its cgroup.
    cgroup: &'a str,
    /// Its image.
    image: Option<&'a str>,
    /// What it comes to for this target.
    verdict: &'static str,
    /// Its memory limit; null is none.
    limit_bytes: Option<u64>,
    /// From when on it was watched.
    start_ms: f64,
    /// When it ended.
    end_ms: Option<f64>,
    /// The exit code of its first process.
    exit_code: Option<i64>,
    /// How many times it was started while it was watched.
    lives: u32,
    /// The charged peak, page cache included.
    peak_bytes: Option<u64>,
    /// The highest resident set.
    rss_peak_bytes: Option<u64>,
    /// The unreclaimable peak, upper bound.
    unreclaimable_peak_bytes: Option<u64>,
    /// The same, lower bound.
    unreclaimable_peak_low_bytes: Option<u64>,
    /// What of the limit was free at the unreclaimable peak, in percent.
    headroom_percent: Option<f64>,
    /// The charged peak that the kernel knew from before the watch.
    peak_before_bytes: Option<u64>,
    /// OOM kills while it was watched.
    oom_kills: Option<u64>,
    /// How often a charge met the limit.
    limit_hits: Option<u64>,
    /// Who told of the kills.
    oom_evidence: Vec<Evidence>,
    /// How many spikes there were.
    spikes_total: Option<u64>,
    /// How peaks are known.
    peak_method: Option<&'static str>,
    /// Readings.
    ticks: Option<u64>,
    /// Readings that were due and not made.
    missed_ticks: Option<u64>,
    /// The name of its picture.
    timeline: Option<&'a str>,
}

/// The targets of a watch; none for a run.
pub(super) fn rows(findings: &Findings) -> Option<Vec<WatchedRow<'_>>> {
    (!findings.watched.is_empty()).then(|| findings.watched.iter().map(row).collect())
}

fn row(row: &Watched) -> WatchedRow<'_> {
    let memory = row.findings.memory.as_ref();
    let sampler = row.findings.sampler.as_ref();
    let bytes = |of: fn(&crate::analysis::Memory) -> Bytes| memory.map(|row| of(row).get());
    WatchedRow {
        name: &row.start.name,
        kind: row.start.kind.name(),
        id: row.start.id.as_deref(),
        cgroup: &row.start.group,
        image: row.start.program.as_deref(),
        verdict: row.findings.verdict.name(),
        limit_bytes: size(row.findings.limit),
        start_ms: ms(row.began),
        end_ms: row.ended.map(|(at, _)| ms(at)),
        exit_code: row.ended.and_then(|(_, exit)| exit.code),
        lives: row.lives,
        peak_bytes: bytes(|row| row.peak),
        rss_peak_bytes: bytes(|row| row.rss_peak),
        unreclaimable_peak_bytes: bytes(|row| row.unreclaimable_peak),
        unreclaimable_peak_low_bytes: bytes(|row| row.unreclaimable_peak_low),
        headroom_percent: memory.and_then(|row| row.headroom_percent).and_then(places),
        peak_before_bytes: row.start.peak_before.map(Bytes::get),
        oom_kills: memory.map(|row| row.oom_kills),
        limit_hits: memory.and_then(|row| row.limit_hits),
        oom_evidence: memory
            .map(|row| row.oom_evidence.iter().copied().collect())
            .unwrap_or_default(),
        spikes_total: row.findings.spikes_total,
        peak_method: sampler.and_then(|row| row.method).map(PeakMethod::name),
        ticks: sampler.map(|row| row.ticks),
        missed_ticks: sampler.map(|row| row.missed_ticks),
        timeline: row.timeline.as_deref(),
    }
}

/// Whose memory the run's findings are, where there are several targets.
pub(super) fn whose(findings: &Findings) -> Option<&str> {
    findings.facts.image.as_deref().filter(|_| findings.watched.len() > 1)
}

/// What tables show of a target.
pub(super) struct Cells {
    pub(super) name: String,
    pub(super) peak: String,
    pub(super) unreclaimable: String,
    pub(super) limit: String,
    pub(super) headroom: String,
    pub(super) kills: String,
    pub(super) state: String,
    /// The same in few letters.
    pub(super) short: String,
}

pub(super) fn cells(row: &Watched) -> Cells {
    let dash = || "–".to_owned();
    let memory = row.findings.memory.as_ref();
    let (state, short) = match row.ended {
        None => ("runs".to_owned(), "runs".to_owned()),
        Some((at, exit)) => {
            let ended = format!("ended {}", text::moment(at));
            match exit.code {
                Some(code) => (format!("{ended}, exit code {code}"), format!("{ended} ({code})")),
                None => (ended.clone(), ended),
            }
        }
    };
    let lives = if row.lives > 1 { format!(", {} lives", row.lives) } else { String::new() };
    Cells {
        name: row.start.name.clone(),
        peak: memory.map_or_else(dash, |row| row.peak.to_string()),
        unreclaimable: memory.map_or_else(dash, |row| row.unreclaimable_peak.to_string()),
        limit: row
            .findings
            .limit
            .bytes()
            .map_or_else(|| "none".to_owned(), |size| size.to_string()),
        headroom: memory.and_then(|row| row.headroom_percent).map_or_else(dash, text::percent),
        kills: memory.map_or_else(dash, |row| row.oom_kills.to_string()),
        state: format!("{state}{lives}"),
        short: format!("{short}{lives}"),
    }
}

/// The targets as a table of the summary.
pub(super) fn summary(out: &mut String, findings: &Findings) -> std::fmt::Result {
    writeln!(
        out,
        "\n{:<16} {:>9} {:>10} {:>8} {:>8} {:>5}  state",
        "Target", "peak", "unreclaim.", "limit", "headroom", "kills"
    )?;
    for row in &findings.watched {
        let cells = cells(row);
        let words = format!(
            "{:<16} {:>9} {:>10} {:>8} {:>8} {:>5}  {}",
            text::clean(&cells.name, 16),
            cells.peak,
            cells.unreclaimable,
            cells.limit,
            cells.headroom,
            cells.kills,
            cells.short
        );
        writeln!(out, "{}", text::clean(&words, 80))?;
    }
    Ok(())
}

/// The targets as a table of `report.md`. `plain` makes a text safe there.
pub(super) fn markdown(
    out: &mut String,
    findings: &Findings,
    plain: fn(&str) -> String,
) -> std::fmt::Result {
    writeln!(
        out,
        "| target | charged peak | unreclaimable | limit | headroom | OOM kills | state |\n\
         |---|---:|---:|---:|---:|---:|---|"
    )?;
    for row in &findings.watched {
        let cells = cells(row);
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            plain(&cells.name),
            cells.peak,
            cells.unreclaimable,
            cells.limit,
            cells.headroom,
            cells.kills,
            cells.state
        )?;
    }
    writeln!(out)
}
