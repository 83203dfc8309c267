//! `report.html`: the whole result as one file that needs nothing else.
//!
//! The page reads and prints without JavaScript: the verdict, the timeline as a picture, and every
//! table. With it, the timeline can be looked into. All markup is made by `maud`, which escapes what
//! is put into it; pictures come from the SVG renderers, which do the same; and the numbers for the
//! script stand in a data block that can't be closed from within. The page's policy allows the one
//! script by its hash, and no connection to anywhere.

mod account;
mod data;
mod fit;
mod memory;
mod opening;
mod sizing;
mod traffic;

use base64::Engine;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::{Renderer, draw, text};
use crate::analysis::Findings;

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = concat!(
    include_str!("html/read.js"),
    include_str!("html/plot.js"),
    include_str!("html/act.js")
);

/// Renders `report.html`.
#[derive(Debug, Clone, Copy)]
pub struct ReportHtml;

impl Renderer for ReportHtml {
    fn render(&self, findings: &Findings) -> String {
        page(findings).into_string()
    }
}

/// What the page may do: run its one script, style itself, and nothing else.
fn policy() -> String {
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(SCRIPT));
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; \
         base-uri 'none'; form-action 'none'"
    )
}

/// A text from elsewhere, on one line; `maud` escapes it.
fn plain(raw: &str) -> String {
    text::clean(raw, 300)
}

fn dash() -> String {
    "–".to_owned()
}

/// A value, or a dash where there is none.
fn or_dash<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(dash, show)
}

fn page(findings: &Findings) -> Markup {
    let title = format!("{}: {}", findings.verdict.name().to_uppercase(), plain(&findings.name));
    let colors = draw::variables();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(colors)) (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#timeline" { "To the timeline" }
                (opening::header(findings))
                main {
                    (opening::tiles(findings))
                    (timeline(findings))
                    (memory::targets(findings))
                    (sizing::sizing(findings))
                    (memory::spikes(findings))
                    (memory::actions(findings))
                    (opening::checklist(findings))
                    (account::thresholds(findings))
                    (memory::growth(findings))
                    (sizing::costs(findings))
                    (sizing::concurrency(findings))
                    (memory::startup(findings))
                    (memory::phases(findings))
                    (traffic::traffic(findings))
                    (account::environment(findings))
                }
                footer {
                    p { "Made by Highwater " (plain(&findings.facts.highwater)) ". Every number here is also in " code { "run.json" } "." }
                }
                script #data type="application/json" { (PreEscaped(data::json(findings))) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// The timeline: a picture, and in its place, where there is JavaScript, panels to look into.
fn timeline(findings: &Findings) -> Markup {
    let has_memory = !findings.timeline.memory.is_empty();
    if !has_memory && findings.timeline.flow.is_empty() {
        return html! {};
    }
    let still = picture(&super::TimelineSvg.render(findings), "timeline");
    let killed = !findings.timeline.kills.is_empty();
    html! {
        section #timeline aria-labelledby="timeline-head" {
            h2 #timeline-head { "Timeline" }
            div.live {
                div.tools role="group" aria-label="What the timeline shows" {
                    button type="button" data-zoom="all" { "Whole run" }
                    @if findings.memory.is_some() {
                        button type="button" data-zoom="peak" { "Zoom to peak" }
                    }
                    @if killed { button type="button" data-zoom="kill" { "Zoom to OOM kill" } }
                    @if !findings.spikes.is_empty() {
                        label { span.hidden { "Zoom to spike" } select #spike { option value="" { "Zoom to spike …" } } }
                    }
                    button type="button" data-zoom="in" aria-label="Zoom in" { "+" }
                    button type="button" data-zoom="out" aria-label="Zoom out" { "−" }
                    button type="button" data-fit="" aria-pressed="false" title="Let each panel's height follow what is shown" { "Fit height" }
                }
                p #readout role="status" { }
                div #chart tabindex="0" role="group" aria-describedby="chart-help" aria-label="Timeline: memory, traffic and more on one time axis" { }
                p #chart-help .help {
                    "Drag over a stretch to zoom in, double-click for the whole run. By keyboard: "
                    kbd { "←" } " " kbd { "→" } " move the cross-hair, " kbd { "+" } " " kbd { "−" } " zoom, "
                    kbd { "p" } " goes to the peak, " kbd { "Esc" } " shows the whole run."
                }
            }
            div.still.scroll tabindex="0" role="region" aria-label="Timeline as a picture" { (still) }
        }
    }
}

/// An SVG of ours inside the page: identifiers of its own, as wide as there is room.
fn picture(svg: &str, name: &str) -> PreEscaped<String> {
    let head_end = svg.find("<style>").unwrap_or(svg.len());
    let (head, body) = svg.split_at(head_end);
    let head = head
        .replace("\"title desc\"", &format!("\"{name}-title {name}-desc\""))
        .replace("id=\"title\"", &format!("id=\"{name}-title\""))
        .replace("id=\"desc\"", &format!("id=\"{name}-desc\""));
    PreEscaped(format!("{head}{body}"))
}

#[cfg(test)]
pub(super) mod tests;
