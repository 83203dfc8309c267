//! What comes first: verdict, reasons, what to do, and the numbers that matter most; and the
//! checklist.

use maud::{Markup, html};

use super::{dash, or_dash, plain};
use crate::analysis::{Answer, Findings, Level, Memory, Traffic, float};
use crate::report::{summary, text, watch};
use crate::units::Human;

/// Reasons that stand open; the rest is behind a fold.
const OPEN_REASONS: usize = 6;

pub(super) fn header(findings: &Findings) -> Markup {
    let verdict = findings.verdict.name();
    let limit = match findings.limit.bytes() {
        Some(limit) => format!("limit {limit}"),
        None => "no memory limit".to_owned(),
    };
    let timeline = &findings.timeline;
    let lasted = timeline.end.since(timeline.start) + std::time::Duration::from_millis(500);
    let length = Human(std::time::Duration::from_secs(lasted.as_secs()));
    html! {
        header.top {
            div.title {
                span class={ "verdict " (verdict) } { (verdict.to_uppercase()) }
                h1 { (plain(&findings.name)) }
            }
            p.about {
                (text::target(&findings.facts)) " · " (limit) " · " (length) " · started "
                time datetime=(text::started_at(findings)) { (started(findings)) }
            }
            (reasons(findings))
        }
    }
}

/// When it started, to the minute.
fn started(findings: &Findings) -> String {
    let exact = text::started_at(findings);
    let minute = exact.get(..16).map(|minute| format!("{} UTC", minute.replace('T', " ")));
    minute.unwrap_or(exact)
}

fn reasons(findings: &Findings) -> Markup {
    let first = findings.reasons.iter().find_map(|reason| reason.next.as_deref());
    let quiet = findings.reasons.iter().all(|reason| reason.level == Level::Info);
    let row = |reason: &crate::analysis::Reason| {
        html! {
            li class=(reason.level.name()) {
                span.level { (reason.level.name()) }
                div {
                    (text::clean(&reason.text, 2000))
                    @if let Some(next) = &reason.next {
                        @if Some(next.as_str()) != first { p.next { "→ " (text::clean(next, 1000)) } }
                    }
                }
            }
        }
    };
    html! {
        @if quiet { p.quiet { (summary::quiet(findings)) } }
        @if !findings.reasons.is_empty() {
            ul.reasons aria-label="Reasons" {
                @for reason in findings.reasons.iter().take(OPEN_REASONS) { (row(reason)) }
            }
            @if findings.reasons.len() > OPEN_REASONS {
                details {
                    summary { (findings.reasons.len() - OPEN_REASONS) " more" }
                    ul.reasons { @for reason in findings.reasons.iter().skip(OPEN_REASONS) { (row(reason)) } }
                }
            }
        }
        @if let Some(next) = first {
            p.first { strong { "Do this first: " } (text::clean(next, 1000)) }
        }
    }
}

struct Tile {
    name: &'static str,
    value: String,
    note: String,
    bad: bool,
}

pub(super) fn tiles(findings: &Findings) -> Markup {
    let mut tiles = Vec::new();
    if let Some(memory) = &findings.memory {
        memory_tiles(&mut tiles, findings, memory);
    }
    startup_tile(&mut tiles, findings);
    if let Some(memory) = &findings.memory {
        let hits = memory.limit_hits;
        tiles.push(Tile {
            name: "OOM kills",
            value: memory.oom_kills.to_string(),
            note: hits.map_or_else(String::new, |hits| format!("{hits} limit hits")),
            bad: memory.oom_kills > 0,
        });
    }
    if let Some(total) = findings.spikes_total {
        let largest = findings.spikes.first();
        let note = largest.map_or_else(String::new, |row| format!("largest +{}", row.rise));
        tiles.push(Tile { name: "Spikes", value: total.to_string(), note, bad: false });
    }
    if let Some(growth) = &findings.growth {
        let rate = growth.bytes_per_hour;
        let note = rate.map_or_else(String::new, |rate| {
            format!("{}/h in {}", crate::report::growth::signed(rate), plain(&growth.phase))
        });
        let bad = growth.class == crate::analysis::GrowthClass::Leak;
        tiles.push(Tile { name: "Growth", value: growth.class.name().to_owned(), note, bad });
    }
    traffic_tiles(&mut tiles, findings);
    html! {
        section aria-label="In numbers" {
            @if let Some(whose) = watch::whose(findings) { p.help { "Memory of " (plain(whose)) ":" } }
            dl.tiles {
                @for tile in &tiles {
                    div.bad[tile.bad] {
                        dt { (tile.name) }
                        dd { (tile.value) }
                        @if !tile.note.is_empty() { dd.note { (tile.note) } }
                    }
                }
            }
        }
    }
}

fn memory_tiles(tiles: &mut Vec<Tile>, findings: &Findings, memory: &Memory) {
    let limit = findings.limit.bytes();
    let of = limit.map_or_else(String::new, |limit| format!("of {limit}, "));
    tiles.push(Tile {
        name: "Charged peak",
        value: memory.peak.to_string(),
        note: format!("{of}at {}", text::moment(memory.peak_at)),
        bad: false,
    });
    let (low, high) = (memory.unreclaimable_peak_low, memory.unreclaimable_peak);
    let least = if low == high { String::new() } else { format!("at least {low}") };
    let value = high.to_string();
    tiles.push(Tile { name: "Unreclaimable peak", value, note: least, bad: false });
    if let Some(headroom) = memory.headroom_percent {
        let note = "above the unreclaimable peak".to_owned();
        let value = text::percent(headroom);
        tiles.push(Tile { name: "Headroom", value, note, bad: headroom < 10.0 });
    }
}

fn startup_tile(tiles: &mut Vec<Tile>, findings: &Findings) {
    let Some(startup) = &findings.startup else { return };
    let limited = || startup.trials.iter().filter(|trial| !trial.unlimited);
    let ready = limited().filter_map(|trial| trial.ready_ms).max_by(f64::total_cmp);
    let killed = limited().any(|trial| trial.killed);
    let note = match ready {
        _ if killed => "OOM-killed".to_owned(),
        Some(ms) => format!("ready in {}", text::millis(ms)),
        None => "not ready".to_owned(),
    };
    let value = or_dash(startup.peak, |peak| peak.to_string());
    tiles.push(Tile { name: "Startup peak", value, note, bad: killed });
}

fn traffic_tiles(tiles: &mut Vec<Tile>, findings: &Findings) {
    let rows = || findings.phases.iter().filter_map(|phase| Some((phase, phase.traffic.as_ref()?)));
    if rows().next().is_none() {
        return;
    }
    let sum = |of: fn(&Traffic) -> u64| rows().map(|(_, row)| of(row)).sum::<u64>();
    let (requests, failed) = (sum(|row| row.requests), sum(|row| row.failed));
    let share = 100.0 * float(failed) / float(requests.max(1));
    tiles.push(Tile {
        name: "Requests",
        value: requests.to_string(),
        note: format!("{failed} failed ({})", text::percent(share)),
        bad: false,
    });
    let slowest = rows().filter_map(|(phase, row)| Some((phase, row.latency?.p99)));
    if let Some((phase, p99)) = slowest.max_by(|a, b| a.1.total_cmp(&b.1)) {
        let note = format!("in {}", plain(&phase.name));
        tiles.push(Tile { name: "p99, slowest phase", value: text::millis(p99), note, bad: false });
    }
}

pub(super) fn checklist(findings: &Findings) -> Markup {
    if findings.checklist.is_empty() {
        return html! {};
    }
    let sign = |answer| match answer {
        Answer::Yes => "✓".to_owned(),
        Answer::No => "✗".to_owned(),
        Answer::Unknown => dash(),
    };
    html! {
        section #checklist aria-labelledby="checklist-head" {
            h2 #checklist-head { "Checklist" }
            div.scroll {
                table.checks {
                    thead { tr { th scope="col" { "Question" } th scope="col" { "Answer" } th scope="col" { "Evidence" } } }
                    tbody {
                        @for row in &findings.checklist {
                            tr {
                                th scope="row" { (row.question) }
                                td class={ "answer " (row.answer.name()) } { span aria-hidden="true" { (sign(row.answer)) } " " (row.answer.name()) }
                                td { (text::clean(&row.evidence, 1000)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
