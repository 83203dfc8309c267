//! `timeline.svg`: memory, traffic and latency of the main container on one time axis.

use super::draw::{
    AMBER, Anchor, Canvas, GREEN, GRID, GROUND, Ink, MUTED, RED, SHADE, TEXT, Type, close,
};
use super::panels::{self, LEFT, Panel, RIGHT};
use super::scale::TimeScale;
use super::{Renderer, text};
use crate::analysis::{Findings, Verdict};

const WIDTH: u32 = 1200;
/// Below the last panel: times and what they mean.
const MARGIN: u32 = 40;
/// Where the first panel's frame begins.
const PHASES: f64 = 92.0;
/// Where the panel of latency ends, and the last one where there are vitals.
const LATENCY: u32 = 820;
const VITALS: u32 = 1136;
/// Where memory ends when there is no traffic to show, and the vitals below it.
const MEMORY_ALONE: u32 = 520;
const VITALS_ALONE: u32 = 836;
/// Columns that there is room for.
const COLUMNS: usize = 1000;

/// Renders `timeline.svg`.
#[derive(Debug, Clone, Copy)]
pub struct TimelineSvg;

impl Renderer for TimelineSvg {
    fn render(&self, findings: &Findings) -> String {
        let mut body = String::new();
        let foot = foot(findings);
        let mut canvas = Canvas::new(&mut body, WIDTH, foot + MARGIN);
        draw(&mut canvas, findings, f64::from(foot));
        canvas.finish();
        let title = format!("{}: {}", findings.name, findings.verdict.name().to_uppercase());
        close(&body, WIDTH, foot + MARGIN, &title, &description(findings))
    }
}

/// Whether there is any traffic to show: a watch has none, and a phase may only wait.
fn has_traffic(findings: &Findings) -> bool {
    let timeline = &findings.timeline;
    !timeline.latency.is_empty() || timeline.flow.iter().any(|row| row.in_flight > 0)
}

/// The ink of a verdict; the word beside it always says the same.
pub(super) const fn verdict_ink(verdict: Verdict) -> Ink {
    match verdict {
        Verdict::Pass => GREEN,
        Verdict::Warn | Verdict::Untrusted => AMBER,
        Verdict::Fail | Verdict::Error => RED,
        Verdict::Interrupted => MUTED,
    }
}

/// The picture in words.
fn description(findings: &Findings) -> String {
    let kind = if has_traffic(findings) { "load test" } else { "watch" };
    let mut words = vec![format!("Timeline of a {kind} of {}.", text::target(&findings.facts))];
    words.extend(findings.reasons.iter().take(3).map(|row| format!("{}.", row.text)));
    if let Some(memory) = &findings.memory {
        words.push(format!("{}.", headline(findings)));
        words.push(format!("OOM kills: {}.", memory.oom_kills));
        words.extend(memory.limit_hits.map(|hits| format!("Limit hits: {hits}.")));
    }
    if findings.lives.len() > 1 {
        words.push(format!("Restarts: {}.", findings.lives.len() - 1));
    }
    if findings.actions.total > 0 {
        words.push(format!("Actions at set times: {}.", findings.actions.total));
    }
    let names: Vec<&str> = findings.phases.iter().map(|row| row.name.as_str()).collect();
    if !names.is_empty() {
        words.push(format!("Phases: {}.", names.join(", ")));
    }
    words.join(" ")
}

/// Limit and peaks in one line.
fn headline(findings: &Findings) -> String {
    let mut parts = vec![match findings.limit.bytes() {
        Some(limit) => format!("limit {limit}"),
        None => "no memory limit".to_owned(),
    }];
    if let Some(memory) = &findings.memory {
        parts.push(format!("charged peak {}", memory.peak));
        parts.push(format!("unreclaimable peak {}", memory.unreclaimable_peak));
        if let Some(headroom) = memory.headroom_percent {
            parts.push(format!("headroom {}", text::percent(headroom)));
        }
    }
    parts.join(" · ")
}

/// Where the last panel ends.
fn foot(findings: &Findings) -> u32 {
    match (has_traffic(findings), findings.timeline.vitals.is_empty()) {
        (true, true) => LATENCY,
        (true, false) => VITALS,
        (false, true) => MEMORY_ALONE,
        (false, false) => VITALS_ALONE,
    }
}

fn draw(canvas: &mut Canvas<'_>, findings: &Findings, foot: f64) {
    let timeline = findings.timeline.in_columns(COLUMNS);
    let time = TimeScale::new(timeline.start, timeline.end, LEFT, RIGHT);
    head(canvas, findings);
    phases(canvas, &time, findings, foot);
    for (at, x) in time.ticks(12.0) {
        canvas.line(&[(x, PHASES + 24.0), (x, foot)], GRID, 0.75);
        let kind = Type::new(11.0, MUTED).at(Anchor::Middle);
        canvas.text((x, foot + 14.0), &text::clock(at), kind);
    }
    let kind = Type::new(11.0, MUTED).at(Anchor::Right);
    canvas.text((RIGHT, foot + 30.0), "time since the run started", kind);
    let panel = |top, bottom| Panel { time, top, bottom };
    let memory =
        panel(PHASES + 56.0, if has_traffic(findings) { 430.0 } else { f64::from(MEMORY_ALONE) });
    panels::memory(canvas, &memory, findings, &timeline.memory);
    let above = if has_traffic(findings) {
        panels::rate(canvas, &panel(474.0, 550.0), &timeline.flow);
        panels::in_flight(canvas, &panel(594.0, 660.0), &timeline.flow);
        panels::latency(canvas, &panel(704.0, f64::from(LATENCY)), &timeline.latency);
        f64::from(LATENCY)
    } else {
        f64::from(MEMORY_ALONE)
    };
    if !timeline.vitals.is_empty() {
        panels::cpu(canvas, &panel(above + 44.0, above + 106.0), &timeline.vitals);
        panels::waiting(canvas, &panel(above + 150.0, above + 212.0), &timeline.vitals);
        panels::counts(canvas, &panel(above + 256.0, foot), &timeline.vitals);
    }
    panels::actions(canvas, &memory, findings, foot);
    panels::restarts(canvas, &memory, findings, foot);
    panels::kills(canvas, &memory, findings, foot);
}

fn head(canvas: &mut Canvas<'_>, findings: &Findings) {
    let word = findings.verdict.name().to_uppercase();
    let kind = Type::new(14.0, GROUND).bold();
    let width = kind.width(&word) + 24.0;
    let (left, y) = (24.0, 32.0);
    let ink = verdict_ink(findings.verdict);
    canvas.rect((left, y - 14.0), (left + width, y + 14.0), ink, 1.0);
    canvas.text((left + width / 2.0, y), &word, kind.at(Anchor::Middle));
    let name = text::clean(&findings.name, 40);
    let kind = Type::new(20.0, TEXT).bold();
    canvas.text((left + width + 14.0, y), &name, kind);
    let x = left + width + 14.0 + kind.width(&name) + 18.0;
    if let Some(reason) = findings.reasons.first() {
        let kind = Type::new(13.0, TEXT);
        let mut room = 160;
        while room > 10 && kind.width(&"n".repeat(room)) > RIGHT - x {
            room -= 1;
        }
        canvas.text((x, y + 2.0), &text::clean(&reason.text, room), kind);
    }
    let kind = Type::new(13.0, MUTED);
    let line = format!(
        "{} · {} · {}",
        headline(findings),
        text::target(&findings.facts),
        text::started_at(findings)
    );
    canvas.text((left, y + 33.0), &text::clean(&line, 160), kind);
}

/// Phases as shaded stretches through all panels, their names on top.
fn phases(canvas: &mut Canvas<'_>, time: &TimeScale, findings: &Findings, foot: f64) {
    for (n, phase) in findings.phases.iter().enumerate() {
        let (from, to) = (time.x(phase.start), time.x(phase.end));
        if n % 2 == 0 {
            canvas.rect((from, PHASES), (to, foot), SHADE, 1.0);
        }
        canvas.line(&[(from, PHASES), (from, foot)], GRID, 1.0);
        let fits = |kind: &Type| kind.width(&phase.name) <= to - from - 4.0;
        let sizes = [12.0, 11.0, 9.0].map(|size| Type::new(size, TEXT).bold().at(Anchor::Middle));
        let kind = sizes.into_iter().find(fits).unwrap_or(sizes[2]);
        let mut room = phase.name.chars().count().min(60);
        while room > 1 && kind.width(&"n".repeat(room)) > to - from - 4.0 {
            room -= 1;
        }
        if room > 2 || room == phase.name.chars().count() {
            let name = text::clean(&phase.name, room);
            canvas.text((f64::midpoint(from, to), PHASES + 12.0), &name, kind);
        }
    }
}
