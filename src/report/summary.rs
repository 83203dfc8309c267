//! The end of a run on a terminal: the verdict first, at most 80 columns.

use std::fmt::Write;

use super::failures::failures;
use super::markdown::pass_word;
use super::{Renderer, concurrency_words, custom, startup_words, text, watch};
use crate::analysis::{Findings, Level, Phase, Startup, Suspect, Times, Verdict, float};
use crate::units::Bytes;

const WIDTH: usize = 80;
const SPIKES: usize = 5;
/// Actions that are told.
const ACTIONS: usize = 5;

/// Renders the summary.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary<'a> {
    /// Whether to colour the words that judge.
    pub color: bool,
    /// The run's directory, where reports were written.
    pub directory: Option<&'a std::path::Path>,
}

impl Renderer for Summary<'_> {
    fn render(&self, findings: &Findings) -> String {
        let mut out = String::new();
        self.write(&mut out, findings).expect("writing into a string never fails");
        out
    }
}

/// A line that fits on the terminal.
fn line(out: &mut String, words: &str) -> std::fmt::Result {
    writeln!(out, "{}", text::clean(words, WIDTH))
}

impl Summary<'_> {
    fn write(&self, out: &mut String, findings: &Findings) -> std::fmt::Result {
        self.verdict(out, findings)?;
        self.thresholds(out, findings)?;
        writeln!(out)?;
        if let Some(startup) = &findings.startup {
            startup_line(out, startup)?;
        }
        memory(out, findings)?;
        if !findings.watched.is_empty() {
            watch::summary(out, findings)?;
        } else if !findings.phases.is_empty() {
            phases(out, findings)?;
            custom::summary(out, findings)?;
        }
        loads(out, findings)?;
        spikes(out, findings)?;
        acted(out, findings)?;
        accounts(out, findings)?;
        if let Some(directory) = self.directory {
            writeln!(out)?;
            // A path is no good cut short.
            let path = text::clean(&directory.display().to_string(), 4096);
            writeln!(out, "Reports are in {path}")?;
        }
        Ok(())
    }

    fn paint(&self, color: &str, word: &str) -> String {
        if self.color { format!("\u{1b}[1;{color}m{word}\u{1b}[0m") } else { word.to_owned() }
    }

    fn verdict(&self, out: &mut String, findings: &Findings) -> std::fmt::Result {
        let color = match findings.verdict {
            Verdict::Pass => "32",
            Verdict::Warn | Verdict::Untrusted => "33",
            Verdict::Fail | Verdict::Error => "31",
            Verdict::Interrupted => "35",
        };
        let word = findings.verdict.name().to_uppercase();
        let room = WIDTH.saturating_sub(word.len() + 2);
        let name = text::clean(&findings.name, room);
        writeln!(out, "{}  {name}", self.paint(color, &word))?;
        if findings.reasons.iter().all(|reason| reason.level == Level::Info) {
            line(out, &format!("  {}", quiet(findings)))?;
        }
        for reason in &findings.reasons {
            wrapped(out, " ", &reason.text)?;
            if let Some(next) = &reason.next {
                wrapped(out, "   →", next)?;
            }
        }
        Ok(())
    }

    fn thresholds(&self, out: &mut String, findings: &Findings) -> std::fmt::Result {
        if findings.thresholds.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nThresholds")?;
        for row in &findings.thresholds {
            let color = match row.pass {
                Some(true) => "32",
                Some(false) => "31",
                None => "33",
            };
            let word = pass_word(row.pass);
            let padding = " ".repeat(12 - word.len());
            let rule = text::clean(&format!("{} {}", row.metric, row.rule), 46);
            let value = crate::analysis::value_cell(row);
            let word = self.paint(color, word);
            writeln!(out, "  {word}{padding}  {rule:<46}  {value:>14}")?;
        }
        Ok(())
    }
}

/// Why a run that nothing speaks against passed.
pub(super) fn quiet(findings: &Findings) -> String {
    match &findings.memory {
        Some(memory) => match memory.headroom_percent {
            Some(headroom) => format!("no OOM kill, {} headroom", text::percent(headroom)),
            None => "no OOM kill, and no memory limit to measure against".to_owned(),
        },
        None => "nothing was found wrong".to_owned(),
    }
}

/// A text over as many lines as it needs, four or five at most, the first one behind `head`.
pub(super) fn wrapped(out: &mut String, head: &str, words: &str) -> std::fmt::Result {
    let mut row = String::from(head);
    let inset = " ".repeat(head.chars().count() + 2);
    for word in text::clean(words, 4 * (WIDTH - 20)).split_whitespace() {
        let word = text::clean(word, WIDTH - inset.len() - 1);
        if row.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(out, "{row}")?;
            row.clone_from(&inset);
        }
        row.push(' ');
        row.push_str(&word);
    }
    writeln!(out, "{row}")
}

fn startup_line(out: &mut String, startup: &Startup) -> std::fmt::Result {
    let mut parts = vec![startup_words::trials(startup)];
    parts.extend(startup.spread.ready_ms.map(startup_words::ready));
    parts.extend(startup.peak.map(|peak| format!("peak {peak}")));
    parts.extend(startup.settled.map(|level| format!("settled {level}")));
    let killed = startup.trials.iter().filter(|trial| trial.killed && !trial.unlimited).count();
    if killed > 0 {
        parts.push(format!("{killed} OOM-killed"));
    }
    wrapped(out, "Startup ", &parts.join(", "))?;
    match startup_words::needs(startup) {
        Some(words) => wrapped(out, "        ", &words),
        None => Ok(()),
    }
}

fn memory(out: &mut String, findings: &Findings) -> std::fmt::Result {
    let Some(memory) = &findings.memory else {
        return Ok(());
    };
    if let Some(whose) = watch::whose(findings) {
        line(out, &format!("Memory   of {whose}:"))?;
    }
    let title = if findings.watched.len() > 1 { "" } else { "Memory" };
    let headroom = memory.headroom_percent;
    let headroom =
        headroom.map_or_else(String::new, |share| format!(", {} headroom", text::percent(share)));
    let peak = memory.peak;
    line(out, &format!("{title:<8} charged peak {peak} of {}{headroom}", findings.limit))?;
    let (high, rss) = (memory.unreclaimable_peak, memory.rss_peak);
    let low = memory.unreclaimable_peak_low;
    let between = if low == high { String::new() } else { format!(" (at least {low})") };
    line(out, &format!("         unreclaimable peak {high}{between}, RSS peak {rss}"))?;
    let hits = memory.limit_hits;
    let hits = hits.map_or_else(String::new, |hits| format!(", {hits} limit hits"));
    let kills = match memory.oom_kills {
        0 => "no OOM kill".to_owned(),
        1 => "1 OOM kill".to_owned(),
        more => format!("{more} OOM kills"),
    };
    line(out, &format!("         {kills}{hits}"))
}

fn phases(out: &mut String, findings: &Findings) -> std::fmt::Result {
    writeln!(
        out,
        "\n{:<13} {:>9} {:>10} {:>9} {:>7} {:>8} {:>8} {:>8}",
        "Phase", "peak", "unreclaim.", "requests", "failed", "p50", "p95", "p99"
    )?;
    for phase in &findings.phases {
        phase_line(out, phase)?;
    }
    failed(out, findings)?;
    recovery(out, findings)
}

/// How long the bursts of each phase had their effect.
fn recovery(out: &mut String, findings: &Findings) -> std::fmt::Result {
    let of = |phase: &Phase| {
        let words = super::growth::recovery(phase.recovery.as_ref()?);
        Some(format!("{}: {words}", text::clean(&phase.name, 40)))
    };
    let rows: Vec<String> = findings.phases.iter().filter_map(of).collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nRecovery")?;
    rows.iter().try_for_each(|row| wrapped(out, " ", row))
}

/// How requests failed, in each phase where some did.
fn failed(out: &mut String, findings: &Findings) -> std::fmt::Result {
    let of =
        |phase: &Phase| Some((text::clean(&phase.name, 40), failures(phase.traffic.as_ref()?)?));
    let rows: Vec<(String, String)> = findings.phases.iter().filter_map(of).collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nFailed requests")?;
    rows.iter().try_for_each(|(name, how)| wrapped(out, " ", &format!("{name}: {how}")))
}

fn phase_line(out: &mut String, phase: &Phase) -> std::fmt::Result {
    let dash = || "–".to_owned();
    let memory = phase.memory.as_ref();
    let size = |size: Option<Bytes>| size.map_or_else(dash, |size| size.to_string());
    let traffic = phase.traffic.as_ref();
    let latency = traffic.and_then(|row| row.latency.as_ref());
    let time = |of: fn(&Times) -> f64| latency.map_or_else(dash, |row| short_time(of(row)));
    let failed = traffic.map_or_else(dash, |row| {
        let share = 100.0 * float(row.failed) / float(row.requests.max(1));
        format!("{share:.1}%")
    });
    writeln!(
        out,
        "{:<13} {:>9} {:>10} {:>9} {:>7} {:>8} {:>8} {:>8}",
        text::clean(&phase.name, 13),
        size(memory.map(|row| row.peak)),
        size(memory.map(|row| row.unreclaimable_peak)),
        traffic.map_or_else(dash, |row| row.requests.to_string()),
        failed,
        time(|row| row.p50),
        time(|row| row.p95),
        time(|row| row.p99),
    )
}

/// Milliseconds in eight columns.
fn short_time(ms: f64) -> String {
    if ms < 1.0 {
        format!("{:.0} µs", ms * 1e3)
    } else if ms < 10.0 {
        format!("{ms:.1} ms")
    } else if ms < 10_000.0 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.1} s", ms / 1e3)
    }
}

/// What more load did, a few lines for each phase.
fn loads(out: &mut String, findings: &Findings) -> std::fmt::Result {
    for (n, row) in findings.concurrency.iter().enumerate() {
        if n == 0 {
            writeln!(out, "\nLoad")?;
        }
        line(out, &format!("  {}", concurrency_words::title(row)))?;
        for words in concurrency_words::lines(row) {
            wrapped(out, "   ", &words)?;
        }
    }
    Ok(())
}

fn spikes(out: &mut String, findings: &Findings) -> std::fmt::Result {
    let Some(total) = findings.spikes_total.filter(|total| *total > 0) else {
        return Ok(());
    };
    let shown = findings.spikes.len().min(SPIKES);
    writeln!(out, "\nSpikes   {total} in all, the {shown} largest:")?;
    for spike in findings.spikes.iter().take(SPIKES) {
        let phase = spike.phase.as_deref().unwrap_or("starting");
        let suspect = spike
            .suspects
            .first()
            .map_or_else(String::new, |suspect| format!(": {}{}", suspect.step, lift(suspect)));
        let flight =
            spike.in_flight.map_or_else(String::new, |count| format!("{count} in flight{suspect}"));
        let at = text::moment(spike.at);
        let rise = format!("+{}", spike.rise);
        let peak = format!("to {}", spike.peak);
        let phase = text::clean(phase, 12);
        let words = format!("  {at:>7} {rise:>10} {peak:<12} {phase:<12} {flight}");
        line(out, words.trim_end())?;
        if let Some(words) = super::costs::confirmed(spike) {
            wrapped(out, "         ", &words)?;
        }
    }
    Ok(())
}

/// What was done at set times.
fn acted(out: &mut String, findings: &Findings) -> std::fmt::Result {
    let actions = &findings.actions;
    if actions.total == 0 {
        return Ok(());
    }
    let failed = match actions.failed {
        0 => String::new(),
        count => format!(", {count} failed"),
    };
    writeln!(out, "\nActions  {} in all{failed}", actions.total)?;
    for row in actions.rows.iter().take(ACTIONS) {
        line(out, &format!("  {}", super::actions::line(row)))?;
    }
    Ok(())
}

/// How unusual a suspect was, where that is known.
fn lift(suspect: &Suspect) -> String {
    let lift = suspect.lift.filter(|lift| *lift >= 1.5);
    lift.map_or_else(String::new, |lift| format!(" ({lift:.0}×)"))
}

fn accounts(out: &mut String, findings: &Findings) -> std::fmt::Result {
    if let Some(growth) = &findings.growth {
        writeln!(out, "\nGrowth")?;
        wrapped(out, " ", &super::growth::words(growth))?;
    }
    if let Some(costs) = &findings.costs {
        writeln!(out, "\nCosts")?;
        for words in super::costs::lines(costs) {
            wrapped(out, " ", &words)?;
        }
    }
    if let Some(sizing) = &findings.sizing {
        writeln!(out, "\nSizing")?;
        wrapped(out, " ", &super::sizing::words(sizing))?;
        super::sizing::table(out, sizing)?;
    }
    writeln!(out)?;
    if let Some(sampler) = &findings.sampler {
        let method = sampler.method.map_or("–", crate::event::PeakMethod::name);
        let late = sampler.lateness_us;
        let late = late.map_or_else(String::new, |(_, p99)| format!(", p99 {p99:.0} µs late"));
        let (ticks, missed) = (sampler.ticks, sampler.missed_ticks);
        let words = format!("Sampler  {ticks} ticks, {missed} missed{late}, peaks by {method}");
        line(out, &words)?;
    }
    if let Some(generator) = &findings.generator {
        let cpu = generator.cpu_percent;
        let cpu = cpu.map_or_else(String::new, |cpu| format!("{} CPU, ", text::percent(cpu)));
        let state = if generator.saturated { "saturated" } else { "not saturated" };
        line(out, &format!("Load     {cpu}{state}"))?;
    }
    for note in &findings.notes {
        wrapped(out, "Note    ", note)?;
    }
    Ok(())
}
