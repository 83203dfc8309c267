//! Memory closely: targets of a watch, spikes, growth, startup, and the phases.

use maud::{Markup, html};

use super::data::clip;
use super::{fit, or_dash, picture, plain};
use crate::analysis::{Findings, Growth, Phase, SpikeFinding, Suspect, Trial};
use crate::clock::Moment;
use crate::report::{
    Renderer, StartupSvg, TimelineSvg, actions, costs, growth as growing, startup_words, text,
    watch,
};
use crate::units::Bytes;

/// Spikes that stand open; the rest is behind a fold.
const OPEN_SPIKES: usize = 10;
/// Spikes that have a small picture of their raw ticks beside them.
const DRAWN_SPIKES: usize = 30;
/// Targets of a watch that have a picture of their own here.
const PICTURES: usize = 6;
/// Suspects that are named.
const SUSPECTS: usize = 4;

pub(super) fn targets(findings: &Findings) -> Markup {
    if findings.watched.is_empty() {
        return html! {};
    }
    html! {
        section #targets aria-labelledby="targets-head" {
            h2 #targets-head { "Targets" }
            div.scroll { table {
                thead { tr {
                    th scope="col" { "Target" } th.n scope="col" { "Charged peak" } th.n scope="col" { "Unreclaimable" }
                    th.n scope="col" { "Limit" } th.n scope="col" { "Headroom" } th.n scope="col" { "OOM kills" } th scope="col" { "State" }
                } }
                tbody { @for row in &findings.watched {
                    @let cells = watch::cells(row);
                    tr {
                        th scope="row" { (plain(&cells.name)) }
                        td.n { (cells.peak) } td.n { (cells.unreclaimable) } td.n { (cells.limit) }
                        td.n { (cells.headroom) } td.n { (cells.kills) } td { (plain(&cells.state)) }
                    }
                } }
            } }
            @if findings.watched.len() > 1 {
                @for (number, row) in findings.watched.iter().enumerate().take(PICTURES) {
                    details {
                        summary { "Timeline of " (plain(&row.start.name)) }
                        div.still-always.scroll { (picture(&TimelineSvg.render(&row.findings), &format!("target-{number}"))) }
                    }
                }
            }
        }
    }
}

/// What was done at set times.
pub(super) fn actions(findings: &Findings) -> Markup {
    let done = &findings.actions;
    if done.total == 0 {
        return html! {};
    }
    html! {
        section #actions aria-labelledby="actions-head" {
            h2 #actions-head { "What was done at set times" }
            div.scroll { table {
                thead { tr { th.n scope="col" { "At" } th scope="col" { "Phase" } th scope="col" { "What" } } }
                tbody { @for row in done.rows.iter().take(actions::SHOWN) { tr {
                    td.n { (text::moment(row.at)) } td { (or_dash(row.phase.as_deref(), plain)) }
                    td { (plain(&row.text)) (actions::ending(row)) }
                } } }
            } }
            @if done.total > actions::SHOWN as u64 { p.help { "The first " (actions::SHOWN) " of " (done.total) "." } }
        }
    }
}

pub(super) fn spikes(findings: &Findings) -> Markup {
    let Some(total) = findings.spikes_total.filter(|total| *total > 0) else { return html! {} };
    let shown = findings.spikes.len();
    let rows: Vec<_> = (1_usize..).zip(&findings.spikes).collect();
    let (open, folded) = rows.split_at(shown.min(OPEN_SPIKES));
    html! {
        section #spikes aria-labelledby="spikes-head" {
            h2 #spikes-head { "Spikes" }
            p { (total) " in all" @if (shown as u64) < total { ", the " (shown) " largest of them here" } ". Shares tell what was in flight between the rise and the peak." }
            (spike_table(findings, open))
            @if !folded.is_empty() {
                details {
                    summary { (folded.len()) " more" }
                    (spike_table(findings, folded))
                }
            }
        }
    }
}

fn spike_table(findings: &Findings, rows: &[(usize, &SpikeFinding)]) -> Markup {
    html! {
        div.scroll { table {
            thead { tr {
                th.n scope="col" { "Spike" } th.n scope="col" { "At" } th scope="col" { "Phase" } th.n scope="col" { "Rise" }
                th.n scope="col" { "Peak" } th.n scope="col" { "Length" } th.n scope="col" { "In flight" }
                th scope="col" { "Suspects" } th scope="col" { "Raw ticks" }
            } }
            tbody { @for (number, row) in rows {
                tr {
                    th.n scope="row" { (number) }
                    td.n { (text::moment(row.at)) }
                    td { (or_dash(row.phase.as_deref(), plain)) }
                    td.n { "+" (row.rise) } td.n { (row.peak) }
                    td.n { (text::millis(row.length.as_secs_f64() * 1e3)) }
                    td.n { (or_dash(row.in_flight, |count| count.to_string())) }
                    td.suspects { (suspects(row)) }
                    td.ticks {
                        @if *number <= DRAWN_SPIKES { @if let Some(clip) = clip(&findings.timeline.clips, row.at) { (fit::ticks(clip, *number)) } }
                        button.js type="button" data-spike=(number - 1) aria-label={ "Zoom to spike " (number) } { "Zoom" }
                    }
                }
            } }
        } }
    }
}

fn suspects(row: &SpikeFinding) -> Markup {
    let more = |suspect: &Suspect| {
        let mut words = Vec::new();
        words.extend(suspect.lift.map(|lift| format!("{lift:.1} × the usual")));
        words.extend(suspect.explains.map(|size| format!("explains {size}")));
        words.join(", ")
    };
    html! {
        @if row.suspects.is_empty() { "–" }
        @for suspect in row.suspects.iter().take(SUSPECTS) {
            @let more = more(suspect);
            div { (text::percent((suspect.share * 100.0).round())) " " (plain(&suspect.step)) @if !more.is_empty() { span.of { " " (more) } } }
        }
        @if row.suspects.len() > SUSPECTS { div { "and " (row.suspects.len() - SUSPECTS) " more" } }
        @if !row.near.is_empty() { div.of { "nearby: " (plain(&row.near.join(", "))) } }
        @for line in &row.lines { div.of { "printed " (aside(row.at, line.at)) ": " code { (plain(&line.text)) } } }
        @if let Some(words) = costs::confirmed(row) { div.of { (text::clean(&words, 500)) } }
    }
}

/// How far one moment is from another.
fn aside(of: Moment, at: Moment) -> String {
    if at > of {
        format!("{} ms after", at.since(of).as_millis())
    } else {
        format!("{} ms before", of.since(at).as_millis())
    }
}

pub(super) fn growth(findings: &Findings) -> Markup {
    let recovered: Vec<&Phase> =
        findings.phases.iter().filter(|phase| phase.recovery.is_some()).collect();
    if findings.growth.is_none() && recovered.is_empty() {
        return html! {};
    }
    html! {
        section #growth aria-labelledby="growth-head" {
            h2 #growth-head { "Growth" }
            @if let Some(row) = &findings.growth { (fitted(row)) }
            @for phase in recovered {
                @if let Some(row) = &phase.recovery {
                    p { "Recovery in " (plain(&phase.name)) ": " (growing::recovery(row)) "." }
                }
            }
        }
    }
}

fn fitted(row: &Growth) -> Markup {
    let pair = |pair: Option<(f64, f64)>, show: &dyn Fn(f64) -> String| {
        or_dash(pair, |(low, high)| format!("{} to {}", show(low), show(high)))
    };
    let size = |bytes: f64| growing::signed(bytes);
    let hours = |hours: f64| format!("{hours:.1} h");
    html! {
        p { strong { (plain(&growing::words(row))) } }
        (fit::floors(row))
        div.scroll { table.facts { tbody {
            tr { th scope="row" { "Floors compared" } td { (row.over()) " in " (plain(&row.phase)) } }
            tr { th scope="row" { "First and last floor" } td { (row.first) " and " (row.last) } }
            tr { th scope="row" { "Slope (Theil–Sen)" } td { (or_dash(row.bytes_per_hour, |rate| format!("{}/h", size(rate)))) } }
            tr { th scope="row" { "95 % interval" } td { (pair(row.ci95, &|rate| format!("{}/h", size(rate)))) } }
            tr { th scope="row" { "No trend at all (Mann–Kendall, corrected)" } td { (or_dash(row.p, |p| format!("p = {p:.3}"))) } }
            tr { th scope="row" { "By requests" } td {
                (or_dash(row.bytes_per_request, |bytes| format!("{} a request", size(bytes))))
                @if row.bytes_per_request_ci95.is_some() { " (" (pair(row.bytes_per_request_ci95, &size)) ")" }
            } }
            @if let Some(driver) = row.driver { tr { th scope="row" { "It goes along with" } td { (driver.name()) } } }
            @if row.hours_to_limit.is_some() { tr { th scope="row" { "At the limit in" } td { (pair(row.hours_to_limit, &hours)) } } }
            @for more in &row.resources {
                tr {
                    th scope="row" { (plain(&more.name.replace('_', " "))) }
                    td { (more.class.name()) ", from " (format!("{:.0}", more.first)) " to " (format!("{:.0}", more.last)) }
                }
            }
        } } }
    }
}

pub(super) fn startup(findings: &Findings) -> Markup {
    let Some(startup) = &findings.startup else { return html! {} };
    let cold = match startup.first_was_cold {
        Some(true) => {
            Some("The first trial found less of its files in page cache than the later ones.")
        }
        _ => None,
    };
    html! {
        section #startup aria-labelledby="startup-head" {
            h2 #startup-head { "Startup" }
            p {
                "Each trial is a fresh container. Highest charged peak "
                strong { (or_dash(startup.peak, |peak| peak.to_string())) }
                ", highest settled level " strong { (or_dash(startup.settled, |level| level.to_string())) } "."
                @if let Some(cold) = cold { " " (cold) }
            }
            @if let Some(needs) = startup_words::needs(startup) { p { (plain(&needs)) "." } }
            figure.scroll { (picture(&StartupSvg.render(findings), "startup")) }
            div.scroll { table {
                thead { tr {
                    th scope="col" { "Trial" } th.n scope="col" { "Ready in" } th.n scope="col" { "Charged peak" } th.n scope="col" { "RSS peak" }
                    th.n scope="col" { "Unreclaimable" } th.n scope="col" { "Settled" } th.n scope="col" { "Before exec" } th.n scope="col" { "Limit" } th scope="col" { "" }
                } }
                tbody { @for trial in &startup.trials { (trial_row(trial)) } }
            } }
        }
    }
}

fn trial_row(trial: &Trial) -> Markup {
    let size = |size: Option<Bytes>| or_dash(size, |size| size.to_string());
    html! {
        tr {
            th scope="row" { (trial.number) @if trial.unlimited { " without limit" } }
            td.n { (or_dash(trial.ready_ms, text::millis)) }
            td.n { (size(trial.peak)) } td.n { (size(trial.rss_peak)) } td.n { (size(trial.unreclaimable_peak)) }
            td.n { (size(trial.settled)) } td.n { (size(trial.before_exec)) } td.n { (or_dash(trial.limit.bytes(), |size| size.to_string())) }
            td { @if trial.killed { strong.bad { "OOM-killed" } } }
        }
    }
}

pub(super) fn phases(findings: &Findings) -> Markup {
    if findings.phases.iter().all(|phase| phase.memory.is_none()) && findings.processes.is_none() {
        return html! {};
    }
    html! {
        section #memory aria-labelledby="memory-head" {
            h2 #memory-head { "Memory" }
            (phase_table(findings))
            (composition(findings))
            (processes(findings))
        }
    }
}

fn phase_table(findings: &Findings) -> Markup {
    let rows = || findings.phases.iter().filter_map(|phase| Some((phase, phase.memory?)));
    html! {
        @if rows().next().is_some() {
            div.scroll { table {
                thead { tr {
                    th scope="col" { "Phase" } th.n scope="col" { "From" } th.n scope="col" { "To" } th.n scope="col" { "Charged peak" }
                    th.n scope="col" { "RSS peak" } th.n scope="col" { "Unreclaimable peak" } th.n scope="col" { "At least" }
                    th.n scope="col" { "At the start" } th.n scope="col" { "At the end" }
                } }
                tbody { @for (phase, row) in rows() {
                    tr {
                        th scope="row" { (plain(&phase.name)) }
                        td.n { (text::moment(phase.start)) } td.n { (text::moment(phase.end)) }
                        td.n { (row.peak) } td.n { (row.rss_peak) } td.n { (row.unreclaimable_peak) }
                        td.n { (row.unreclaimable_peak_low) } td.n { (row.start) } td.n { (row.end) }
                    }
                } }
            } }
        }
    }
}

fn composition(findings: &Findings) -> Markup {
    let Some(row) = findings.memory.as_ref().and_then(|memory| memory.composition) else {
        return html! {};
    };
    html! {
        h3 { "What the unreclaimable peak was made of" }
        p.help { "The greatest value of each in the window that ended at " (text::moment(row.at)) "." }
        div.scroll { table.facts { tbody {
            tr { th scope="row" { "Anonymous (RSS)" } td { (row.anon) } }
            tr { th scope="row" { "tmpfs and shared" } td { (row.shmem) } }
            tr { th scope="row" { "Kernel memory" } td { (or_dash(row.kernel, |kernel| kernel.total.max.to_string())) } }
            tr { th scope="row" { "Page cache, which can be dropped" } td { (row.cache) } }
            tr { th scope="row" { "Working set, as the kubelet counts" } td { (row.working_set) } }
        } } }
    }
}

fn processes(findings: &Findings) -> Markup {
    let rows = findings.processes.as_deref().unwrap_or_default();
    html! {
        @if !rows.is_empty() {
            h3 { "Processes with the highest RSS" }
            div.scroll { table {
                thead { tr { th scope="col" { "Process" } th.n scope="col" { "Id" } th.n scope="col" { "RSS peak" } th.n scope="col" { "At" } } }
                tbody { @for row in rows {
                    tr { th scope="row" { (plain(&row.name)) } td.n { (row.pid) } td.n { (row.rss_peak) } td.n { (text::moment(row.at)) } }
                } }
            } }
        }
    }
}
