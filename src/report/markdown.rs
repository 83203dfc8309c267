//! `report.md`: the findings for a pull request.

use std::fmt::Write;

use super::failures::failures;
use super::{Renderer, concurrency_words, custom, startup_words, text, watch};
use crate::analysis::{Findings, Phase, Startup, Times, Vital};
use crate::units::Bytes;

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

/// What requests cost, and what the greatest spike came from.
fn costs(out: &mut String, findings: &Findings) -> std::fmt::Result {
    if let Some(costs) = &findings.costs {
        for words in super::costs::lines(costs) {
            writeln!(out, "- {}", plain(&words))?;
        }
        writeln!(out)?;
    }
    if let Some(words) = findings.spikes.first().and_then(super::costs::confirmed) {
        writeln!(out, "{}.\n", plain(&words))?;
    }
    Ok(())
}

/// A text that Markdown and HTML take as text.
pub(super) fn plain(raw: &str) -> String {
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
        if let Some(next) = &reason.next {
            writeln!(out, "  - {}", plain(next))?;
        }
    }
    if !findings.reasons.is_empty() {
        writeln!(out)?;
    }
    if let Some(startup) = &findings.startup {
        starting(out, startup)?;
    }
    if let Some(memory) = &findings.memory {
        let whose = watch::whose(findings);
        let whose = whose.map_or_else(String::new, |whose| format!(" of {}", plain(whose)));
        writeln!(out, "| memory{whose} | |\n|---|---:|")?;
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
        if let Some(growth) = &findings.growth {
            writeln!(out, "| growth | {} |", plain(&super::growth::words(growth)))?;
        }
        if let Some(sizing) = &findings.sizing {
            writeln!(out, "| sizing | {} |", plain(&super::sizing::words(sizing)))?;
        }
        writeln!(out)?;
    }
    if !findings.watched.is_empty() {
        watch::markdown(out, findings, plain)?;
    } else if !findings.phases.is_empty() {
        phases(out, findings)?;
        for phase in &findings.phases {
            if let Some(row) = &phase.recovery {
                let words = super::growth::recovery(row);
                writeln!(out, "Recovery in {}: {words}.\n", plain(&phase.name))?;
            }
        }
        loads(out, findings)?;
        custom::markdown(out, findings, plain)?;
        vitals(out, findings)?;
    }
    costs(out, findings)?;
    if let Some(sizing) = &findings.sizing {
        super::sizing::markdown(out, sizing, plain)?;
    }
    processes(out, findings)?;
    if !findings.thresholds.is_empty() {
        writeln!(out, "| threshold | value | |\n|---|---:|---|")?;
        for row in &findings.thresholds {
            let rule = plain(&format!("{} {}", row.metric, row.rule));
            let value = crate::analysis::value_cell(row);
            let word = pass_word(row.pass);
            writeln!(out, "| {rule} | {value} | {word} |")?;
        }
        writeln!(out)?;
    }
    for note in &findings.notes {
        writeln!(out, "- note: {}", plain(note))?;
    }
    if !findings.notes.is_empty() {
        writeln!(out)?;
    }
    writeln!(out, "| checklist | answer | evidence |\n|---|---|---|")?;
    for row in &findings.checklist {
        let (answer, evidence) = (row.answer.name(), plain(&row.evidence));
        writeln!(out, "| {} | {answer} | {evidence} |", row.question)?;
    }
    Ok(())
}

fn starting(out: &mut String, startup: &Startup) -> std::fmt::Result {
    let mut parts = vec![startup_words::trials(startup)];
    parts.extend(startup.spread.ready_ms.map(startup_words::ready));
    parts.extend(startup.peak.map(|peak| format!("charged peak {peak}")));
    parts.extend(startup_words::needs(startup));
    writeln!(out, "Startup: {}.\n", parts.join("; "))
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
    writeln!(out)?;
    failed(out, findings)
}

/// What more load did.
fn loads(out: &mut String, findings: &Findings) -> std::fmt::Result {
    for row in &findings.concurrency {
        writeln!(out, "More load in {}:\n", plain(&concurrency_words::title(row)))?;
        for words in concurrency_words::lines(row) {
            writeln!(out, "- {}", plain(&words))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// How requests failed, in each phase where some did.
fn failed(out: &mut String, findings: &Findings) -> std::fmt::Result {
    let of = |phase: &Phase| Some((plain(&phase.name), failures(phase.traffic.as_ref()?)?));
    let rows: Vec<(String, String)> = findings.phases.iter().filter_map(of).collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "Failed requests:\n")?;
    for (name, how) in rows {
        writeln!(out, "- {name}: {how}")?;
    }
    for phase in &findings.phases {
        for row in &phase.failing {
            writeln!(out, "- {}: {}", plain(&phase.name), plain(&row.text))?;
        }
    }
    writeln!(out)
}

type VitalRow = (&'static str, fn(&Vital) -> Option<String>);

/// The slow measures: what each is called, and its value.
pub(super) const VITALS: [VitalRow; 13] = [
    ("CPU, cores", |row| row.cpu_cores.map(|cores| format!("{cores:.2}"))),
    ("throttled", |row| row.throttled_percent.map(text::percent)),
    ("waiting for memory, some", |row| row.psi_some_ms.map(text::millis)),
    ("waiting for memory, all", |row| row.psi_full_ms.map(text::millis)),
    ("waiting for a CPU, some", |row| row.cpu_psi_ms.map(text::millis)),
    ("waiting for I/O, some", |row| row.io_psi_ms.map(text::millis)),
    ("disk read", |row| row.read_bytes.map(bytes)),
    ("disk written", |row| row.written_bytes.map(bytes)),
    ("printed", |row| row.log_bytes.map(bytes)),
    ("page faults, major ones", |row| {
        let all = row.page_faults?;
        Some(row.major_faults.map_or_else(|| all.to_string(), |major| format!("{all}, {major}")))
    }),
    ("charges at the limit", |row| row.max_events.map(|count| count.to_string())),
    ("swap, most", |row| row.swap_peak.filter(|size| *size > Bytes::ZERO).map(|s| s.to_string())),
    ("processes, threads, files, sockets, most", |row| Some(counts(row))),
];

/// The slow measures by phase; a row that nothing is known for is left out.
fn vitals(out: &mut String, findings: &Findings) -> std::fmt::Result {
    let phases = || findings.phases.iter().filter(|phase| phase.target.is_some());
    if phases().next().is_none() {
        return Ok(());
    }
    let names: Vec<String> = phases().map(|phase| plain(&phase.name)).collect();
    writeln!(out, "| target | {} |\n|---|{}", names.join(" | "), "---:|".repeat(names.len()))?;
    for (name, of) in VITALS {
        let of = |phase: &Phase| phase.target.as_ref().and_then(of);
        if phases().any(|phase| of(phase).is_some()) {
            let cells: Vec<_> =
                phases().map(|phase| of(phase).unwrap_or_else(|| "–".to_owned())).collect();
            writeln!(out, "| {name} | {} |", cells.join(" | "))?;
        }
    }
    writeln!(out)
}

fn bytes(count: u64) -> String {
    Bytes::new(count).to_string()
}

fn counts(row: &Vital) -> String {
    let sockets = row.sockets_max.as_ref().map(|by_state| {
        let of = |name: &str| by_state.get(name).copied().unwrap_or(0);
        let (open, listening) = (of("established"), of("listen"));
        format!("{open} established, {listening} listening")
    });
    let dash = || "–".to_owned();
    format!(
        "{} / {} / {} / {}",
        row.processes_max,
        row.threads_max,
        row.open_files_max.map_or_else(dash, |count| count.to_string()),
        sockets.unwrap_or_else(dash)
    )
}

/// The largest processes, where there was more than one.
fn processes(out: &mut String, findings: &Findings) -> std::fmt::Result {
    let rows = findings.processes.as_deref().unwrap_or_default();
    if rows.len() < 2 {
        return Ok(());
    }
    writeln!(out, "| process | RSS peak | |\n|---|---:|---|")?;
    for row in rows.iter().take(5) {
        let (name, at) = (plain(&row.name), text::moment(row.at));
        writeln!(out, "| {name} ({}) | {} | at {at} |", row.pid, row.rss_peak)?;
    }
    writeln!(out)
}
