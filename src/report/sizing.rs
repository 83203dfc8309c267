//! The limit in words and as a table, for the terminal and for Markdown.

use std::fmt::Write;

use super::text;
use crate::analysis::{SizeTrial, Sizing};
use crate::units::Limit;

/// What is recommended, and why.
pub(super) fn words(sizing: &Sizing) -> String {
    let limit = sizing.recommended.map(|limit| {
        let how = if sizing.verified { "proved" } else { "a guess, not proved" };
        let request = sizing.request.map_or_else(String::new, |size| format!(", request {size}"));
        format!("limit {} ({how}){request}", Limit::Bytes(limit))
    });
    let limit = limit.unwrap_or_else(|| "no limit can be recommended".to_owned());
    format!("{limit}: {}", sizing.reason.trim_start_matches("a guess: "))
}

const COLUMNS: [&str; 8] =
    ["limit", "survived", "peak", "p99", "waiting", "major faults", "CPU", "rate"];

fn cells(row: &SizeTrial) -> [String; 8] {
    let dash = || "–".to_owned();
    [
        row.limit.to_string(),
        format!("{} of {}", row.survived, row.runs),
        row.peak.map_or_else(dash, |size| size.to_string()),
        row.p99_ms.map_or_else(dash, text::millis),
        row.psi_percent.map_or_else(dash, text::percent),
        row.major_faults.map_or_else(dash, |count| count.to_string()),
        row.cpu_cores.map_or_else(dash, |cores| format!("{cores:.2}")),
        row.rate.map_or_else(dash, |rate| format!("{rate:.0}/s")),
    ]
}

fn trials(sizing: &Sizing) -> &[SizeTrial] {
    sizing.search.as_ref().map_or(&[], |search| &search.trials)
}

/// The runs of a search on a terminal.
pub(super) fn table(out: &mut String, sizing: &Sizing) -> std::fmt::Result {
    let line = |cells: &[String]| {
        let [limit, survived, peak, p99, psi, faults, cpu, rate] = cells else {
            return String::new();
        };
        format!(
            "  {limit:>8}  {survived:>8}  {peak:>8}  {p99:>7}  {psi:>7}  {faults:>12}  {cpu:>5}  \
             {rate:>8}"
        )
    };
    if trials(sizing).is_empty() {
        return Ok(());
    }
    writeln!(out, "{}", line(&COLUMNS.map(str::to_owned)))?;
    trials(sizing).iter().try_for_each(|row| writeln!(out, "{}", line(&cells(row))))
}

/// The runs of a search in Markdown, and what they leave open.
pub(super) fn markdown(
    out: &mut String,
    sizing: &Sizing,
    plain: fn(&str) -> String,
) -> std::fmt::Result {
    if trials(sizing).is_empty() {
        return Ok(());
    }
    writeln!(out, "| {} | |\n|{}---|", COLUMNS.join(" | "), "---:|".repeat(COLUMNS.len()))?;
    for row in trials(sizing) {
        let why = row.reason.as_deref().map_or_else(String::new, plain);
        writeln!(out, "| {} | {why} |", cells(row).join(" | "))?;
    }
    writeln!(out)?;
    for row in &sizing.covered {
        writeln!(out, "- covered: {}", plain(row))?;
    }
    for row in &sizing.not_covered {
        writeln!(out, "- not covered: {}", plain(row))?;
    }
    writeln!(out)
}
