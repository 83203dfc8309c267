//! Metrics of the scenario's own, for people.

use std::fmt::Write;

use super::text;
use crate::analysis::{CustomTraffic, Findings};
use crate::plan::CustomKind;

/// Each phase's metrics, with the phase's name.
pub(super) fn rows(findings: &Findings) -> impl Iterator<Item = (&str, &CustomTraffic)> {
    findings.phases.iter().flat_map(|phase| {
        let metrics = phase.traffic.iter().flat_map(|traffic| &traffic.metrics);
        metrics.map(|metric| (phase.name.as_str(), metric))
    })
}

/// What came of a metric, in words.
pub(super) fn value(row: &CustomTraffic) -> String {
    match (row.kind, row.rate) {
        (CustomKind::Rate, Some(share)) => {
            format!("{} ({} of {})", text::percent(share * 100.0), row.count, row.answers)
        }
        (CustomKind::Counter, Some(rate)) => format!("{} ({rate:.1}/s)", row.count),
        (_, None) => row.count.to_string(),
    }
}

/// Lines of the summary.
pub(super) fn summary(out: &mut String, findings: &Findings) -> std::fmt::Result {
    if rows(findings).next().is_some() {
        writeln!(out, "\nMetrics")?;
    }
    for (phase, row) in rows(findings) {
        let (phase, name) = (text::clean(phase, 13), text::clean(&row.name, 32));
        writeln!(out, "{phase:<13} {name:<32} {:>30}", value(row))?;
    }
    Ok(())
}

/// A table of `report.md`.
pub(super) fn markdown(
    out: &mut String,
    findings: &Findings,
    plain: fn(&str) -> String,
) -> std::fmt::Result {
    if rows(findings).next().is_none() {
        return Ok(());
    }
    writeln!(out, "| phase | metric | |\n|---|---|---:|")?;
    for (phase, row) in rows(findings) {
        writeln!(out, "| {} | {} | {} |", plain(phase), plain(&row.name), value(row))?;
    }
    writeln!(out)
}
