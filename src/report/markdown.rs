//! `report.md`: the findings for a pull request.

use std::fmt::Write;

use super::{Renderer, text};
use crate::analysis::{Findings, Times};

/// Renders `report.md`.
#[derive(Debug, Clone, Copy)]
pub struct Markdown;

impl Renderer for Markdown {
    fn render(&self, findings: &Findings) -> String {
        let mut out = String::new();
        write(&mut out, findings).expect("writing into a string never fails");
        out
    }
}

/// A text that Markdown and HTML take as text.
fn plain(raw: &str) -> String {
    let mut out = String::new();
    for c in text::xml(&text::clean(raw, 300)).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' | '@') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn write(out: &mut String, findings: &Findings) -> std::fmt::Result {
    let verdict = findings.verdict.name().to_uppercase();
    writeln!(out, "## {verdict}: {}\n", plain(&findings.name))?;
    for reason in &findings.reasons {
        writeln!(out, "- {}: {}", reason.level.name(), plain(&reason.text))?;
    }
    if !findings.reasons.is_empty() {
        writeln!(out)?;
    }
    if let Some(memory) = &findings.memory {
        writeln!(out, "| memory | |\n|---|---:|")?;
        writeln!(out, "| limit | {} |", findings.limit)?;
        writeln!(out, "| charged peak | {} |", memory.peak)?;
        writeln!(out, "| unreclaimable peak | {} |", memory.unreclaimable_peak)?;
        writeln!(out, "| RSS peak | {} |", memory.rss_peak)?;
        if let Some(headroom) = memory.headroom_percent {
            writeln!(out, "| headroom | {} |", text::percent(headroom))?;
        }
        writeln!(out, "| OOM kills | {} |", memory.oom_kills)?;
        if let Some(total) = findings.spikes_total {
            writeln!(out, "| spikes | {total} |")?;
        }
        writeln!(out)?;
    }
    if !findings.phases.is_empty() {
        phases(out, findings)?;
    }
    if !findings.thresholds.is_empty() {
        writeln!(out, "| threshold | value | |\n|---|---:|---|")?;
        for row in &findings.thresholds {
            let rule = plain(&format!("{} {}", row.metric, row.rule));
            let value = crate::analysis::value_text(row);
            let word = pass_word(row.pass);
            writeln!(out, "| {rule} | {value} | {word} |")?;
        }
        writeln!(out)?;
    }
    writeln!(out, "| checklist | answer | evidence |\n|---|---|---|")?;
    for row in &findings.checklist {
        let (answer, evidence) = (row.answer.name(), plain(&row.evidence));
        writeln!(out, "| {} | {answer} | {evidence} |", row.question)?;
    }
    Ok(())
}

/// Whether a threshold held, in a word.
pub(super) const fn pass_word(pass: Option<bool>) -> &'static str {
    match pass {
        Some(true) => "ok",
        Some(false) => "BROKEN",
        None => "not measured",
    }
}

fn phases(out: &mut String, findings: &Findings) -> std::fmt::Result {
    writeln!(
        out,
        "| phase | charged peak | unreclaimable | requests | failed | p95 | p99 |\n\
         |---|---:|---:|---:|---:|---:|---:|"
    )?;
    for phase in &findings.phases {
        let memory = phase.memory.as_ref();
        let peak = memory.map_or_else(|| "–".to_owned(), |row| row.peak.to_string());
        let high = memory.map_or_else(|| "–".to_owned(), |row| row.unreclaimable_peak.to_string());
        let traffic = phase.traffic.as_ref();
        let count = |value: Option<u64>| value.map_or_else(|| "–".to_owned(), |n| n.to_string());
        let latency = traffic.and_then(|row| row.latency.as_ref());
        let time = |of: fn(&Times) -> f64| {
            latency.map_or_else(|| "–".to_owned(), |row| text::millis(of(row)))
        };
        writeln!(
            out,
            "| {} | {peak} | {high} | {} | {} | {} | {} |",
            plain(&phase.name),
            count(traffic.map(|row| row.requests)),
            count(traffic.map(|row| row.failed)),
            time(|row| row.p95),
            time(|row| row.p99),
        )?;
    }
    writeln!(out)
}
