//! What limit to set, with the lines to paste; what one request costs; and what more load did.

use maud::{Markup, html};

use super::{or_dash, picture, plain};
use crate::analysis::{Costs, Estimate, Findings, SizeTrial, Sizing, StepCost};
use crate::report::{
    ConcurrencySvg, Renderer, SizingSvg, Snippet, concurrency_words, growth, sizing as said, text,
};
use crate::units::Bytes;

/// Steps that are listed.
const STEPS: usize = 200;

pub(super) fn sizing(findings: &Findings) -> Markup {
    let Some(sizing) = &findings.sizing else { return html! {} };
    html! {
        section #sizing aria-labelledby="sizing-head" {
            h2 #sizing-head { "What limit to set" }
            p { strong { (text::clean(&said::words(sizing), 1000)) } }
            (snippets(findings))
            (rests_on(sizing))
            @if let Some(search) = &sizing.search {
                figure.scroll { (picture(&SizingSvg.render(findings), "sizing")) }
                (trials(&search.trials))
            }
        }
    }
}

/// The limit as others want it written.
fn snippets(findings: &Findings) -> Markup {
    let names = [
        (Snippet::Kubernetes, "kubernetes", "For Kubernetes"),
        (Snippet::Compose, "compose", "For Compose"),
        (Snippet::Docker, "docker-run", "For docker run"),
    ];
    html! {
        @for (snippet, id, name) in names { @if let Some(lines) = snippet.text(findings) {
            figure.block {
                figcaption { (name) button.copy type="button" data-copy=(id) { "Copy" } }
                pre id=(id) tabindex="0" { (lines.trim_end()) }
            }
        } }
    }
}

fn rests_on(sizing: &Sizing) -> Markup {
    let list = |rows: &[String]| html! { ul { @for row in rows { li { (plain(row)) } } } };
    html! {
        div.scroll { table.facts { tbody {
            @if let Some(margin) = sizing.margin_percent { tr { th scope="row" { "Margin" } td { (text::percent(margin)) } } }
            @if !sizing.phases.is_empty() { tr { th scope="row" { "Phases" } td { (plain(&sizing.phases.join(", "))) } } }
            @if !sizing.covered.is_empty() { tr { th scope="row" { "It covers" } td { (list(&sizing.covered)) } } }
            @if !sizing.not_covered.is_empty() { tr { th scope="row" { "It does not cover" } td { (list(&sizing.not_covered)) } } }
        } } }
    }
}

fn trials(rows: &[SizeTrial]) -> Markup {
    let size = |size: Option<Bytes>| or_dash(size, |size| size.to_string());
    html! {
        @if !rows.is_empty() {
            div.scroll { table {
                caption { "Limits that were tried" }
                thead { tr {
                    th.n scope="col" { "Limit" } th.n scope="col" { "Runs" } th.n scope="col" { "Survived" } th.n scope="col" { "OOM-killed" }
                    th.n scope="col" { "Thrashed" } th.n scope="col" { "Unreclaimable peak" } th.n scope="col" { "p99" } th.n scope="col" { "Waiting for memory" } th scope="col" { "Why not" }
                } }
                tbody { @for row in rows {
                    tr {
                        th.n scope="row" { (row.limit) } td.n { (row.runs) } td.n { (row.survived) } td.n { (row.killed) } td.n { (row.thrashed) }
                        td.n { (size(row.peak)) } td.n { (or_dash(row.p99_ms, text::millis)) } td.n { (or_dash(row.psi_percent, text::percent)) }
                        td { (or_dash(row.reason.as_deref(), plain)) }
                    }
                } }
            } }
        }
    }
}

pub(super) fn costs(findings: &Findings) -> Markup {
    let Some(costs) = &findings.costs else { return html! {} };
    html! {
        section #costs aria-labelledby="costs-head" {
            h2 #costs-head { "What a request costs" }
            @if let Some(why) = &costs.refused { p { (text::clean(why, 1000)) } }
            @if !costs.steps.is_empty() { (cost_table(costs)) }
        }
    }
}

fn cost_table(costs: &Costs) -> Markup {
    html! {
        p.help {
            "Memory held while one request is in flight, and memory that it leaves behind, with the interval in which each lies with 95 %. From "
            (costs.windows) " windows" @if let Some(floor) = costs.floor { "; with nothing in flight " (floor) } "."
        }
        div.scroll { table {
            thead { tr {
                th scope="col" { "Step" } th.n scope="col" { "In flight, each" } th.n scope="col" { "Left behind, each" }
                th.n scope="col" { "At this limit, at once" } th.n scope="col" { "Share" } th.n scope="col" { "Windows" }
            } }
            tbody { @for row in costs.steps.iter().take(STEPS) { (cost_row(row)) } }
        } }
    }
}

fn cost_row(row: &StepCost) -> Markup {
    html! {
        tr {
            th scope="row" { (plain(&row.name.step)) div.of { (plain(&row.name.scenario)) @if let Some(why) = row.why.as_ref().or(row.left_why.as_ref()) { ": " (text::clean(why, 500)) } } }
            td.n { (or_dash(row.in_flight, estimate)) } td.n { (or_dash(row.left, estimate)) }
            td.n { (or_dash(row.at_once, |count| format!("{} (at least {})", count.likely, count.at_least))) }
            td.n { (or_dash(row.share, |share| text::percent((share * 100.0).round()))) } td.n { (row.samples) }
        }
    }
}

fn estimate(row: Estimate) -> String {
    let [value, low, high] =
        [row.value, row.low, row.high].map(|size| growth::signed(size).replace('+', ""));
    format!("{value} ({low} to {high})")
}

pub(super) fn concurrency(findings: &Findings) -> Markup {
    if findings.concurrency.is_empty() {
        return html! {};
    }
    html! {
        section #concurrency aria-labelledby="concurrency-head" {
            h2 #concurrency-head { "What more load did" }
            @for row in &findings.concurrency {
                h3 { (plain(&concurrency_words::title(row))) }
                ul { @for words in concurrency_words::lines(row) { li { (text::clean(&words, 1000)) } } }
            }
            @if ConcurrencySvg::has_any(findings) {
                figure.scroll { (picture(&ConcurrencySvg.render(findings), "concurrency")) }
            }
        }
    }
}
