//! Traffic: by phase, by step and status, and how requests failed.

use maud::{Markup, html};

use super::{or_dash, plain};
use crate::analysis::{AnswerTraffic, Findings, Phase, StepTraffic, Times, Traffic};
use crate::event::{ErrorKind, Status};
use crate::report::{custom, failures, markdown, text};
use crate::units::Bytes;

/// Steps of a phase that are listed.
const STEPS: usize = 200;

pub(super) fn traffic(findings: &Findings) -> Markup {
    let rows = || findings.phases.iter().filter_map(|phase| Some((phase, phase.traffic.as_ref()?)));
    html! {
        @if rows().next().is_some() {
            section #traffic aria-labelledby="traffic-head" {
                h2 #traffic-head { "Traffic" }
                p.help { "Latency runs from when a request was due, duration from when it was sent, waiting from sent to the first byte." }
                (overview(findings))
                @for (phase, traffic) in rows() { (phase_traffic(phase, traffic)) }
                (metrics(findings))
            }
        }
        (target(findings))
    }
}

fn time_cells(times: Option<&Times>) -> Markup {
    let cell = |of: fn(&Times) -> f64| or_dash(times, |row| text::millis(of(row)));
    html! { td.n { (cell(|row| row.p50)) } td.n { (cell(|row| row.p95)) } td.n { (cell(|row| row.p99)) } td.n { (cell(|row| row.max)) } }
}

fn time_heads() -> Markup {
    html! { th.n scope="col" { "p50" } th.n scope="col" { "p95" } th.n scope="col" { "p99" } th.n scope="col" { "max" } }
}

fn overview(findings: &Findings) -> Markup {
    html! {
        div.scroll { table {
            caption { "By phase, with latency" }
            thead { tr {
                th scope="col" { "Phase" } th.n scope="col" { "Requests" } th.n scope="col" { "A second" } th.n scope="col" { "Failed" }
                th.n scope="col" { "Never sent" } th.n scope="col" { "Late" } th.n scope="col" { "Sent" } th.n scope="col" { "Received" } (time_heads())
            } }
            tbody { @for phase in &findings.phases { @if let Some(row) = &phase.traffic {
                tr {
                    th scope="row" { (plain(&phase.name)) }
                    td.n { (row.requests) } td.n { (or_dash(row.rate, |rate| format!("{rate:.1}"))) } td.n { (row.failed) }
                    td.n { (row.unsent) } td.n { (row.late) } td.n { (Bytes::new(row.bytes_sent)) } td.n { (Bytes::new(row.bytes_received)) }
                    (time_cells(row.latency.as_ref()))
                }
            } } }
        } }
    }
}

fn phase_traffic(phase: &Phase, traffic: &Traffic) -> Markup {
    if traffic.steps.is_empty() && traffic.failed + traffic.unsent + traffic.late == 0 {
        return html! {};
    }
    html! {
        h3 { (plain(&phase.name)) }
        @if let Some(at) = traffic.unreachable_since { p.bad { "From " (text::moment(at)) " on no request reached the target any more." } }
        (errors(traffic))
        @if !traffic.steps.is_empty() {
            div.scroll { table {
                caption { "By step and status, with latency" }
                thead { tr {
                    th scope="col" { "Step" } th scope="col" { "Status" } th.n scope="col" { "Requests" } th.n scope="col" { "Failed" } (time_heads())
                    th.n scope="col" { "Request bodies" } th.n scope="col" { "Answers' bodies" }
                } }
                @for step in traffic.steps.iter().take(STEPS) { (step_rows(step)) }
            } }
            @if traffic.steps.len() > STEPS { p.help { "And " (traffic.steps.len() - STEPS) " steps more, which are in run.json." } }
        }
    }
}

fn step_rows(step: &StepTraffic) -> Markup {
    let sizes = |sizes: Option<crate::analysis::Sizes>| {
        or_dash(sizes, |sizes| format!("{}, at most {}", sizes.p50, sizes.max))
    };
    let tags: Vec<String> = step.tags.iter().map(|(key, tag)| format!("{key}: {tag}")).collect();
    html! {
        tbody {
            tr {
                th scope="row" { (plain(&step.step)) div.of { (plain(&step.scenario)) @if !tags.is_empty() { " · " (plain(&tags.join(", "))) } } }
                td { "all" } td.n { (step.requests) } td.n { (step.failed) @if step.unsent > 0 { ", " (step.unsent) " never sent" } }
                (time_cells(step.latency.as_ref()))
                td.n { (sizes(step.request_body)) } td.n { (sizes(step.response_body)) }
            }
            @for answer in &step.answers { (answer_row(answer)) }
        }
    }
}

fn answer_row(answer: &AnswerTraffic) -> Markup {
    let status = match answer.status {
        Status::Code(code) => code.to_string(),
        Status::None => "none".to_owned(),
        Status::Other => "other".to_owned(),
    };
    html! {
        tr.sub {
            td { }
            td { (status) @if !answer.expected { span.bad { " not expected" } } }
            td.n { (answer.timed.requests) } td.n { (answer.timed.failed) }
            (time_cells(answer.timed.latency.as_ref()))
            td { } td { }
        }
    }
}

fn errors(traffic: &Traffic) -> Markup {
    let rows: Vec<(&ErrorKind, &u64)> =
        traffic.errors.iter().filter(|(_, count)| **count > 0).collect();
    html! {
        @if let Some(words) = failures::failures(traffic) { p { "Failed requests: " (plain(&words)) "." } }
        @if !rows.is_empty() {
            div.scroll { table {
                caption { "Failures by kind" }
                thead { tr { th scope="col" { "Kind" } th.n scope="col" { "Requests" } th scope="col" { "What it means" } } }
                tbody { @for (kind, count) in rows {
                    tr { th scope="row" { code { (kind.name()) } } td.n { (count) } td { (kind.words()) } }
                } }
            } }
        }
    }
}

fn metrics(findings: &Findings) -> Markup {
    html! {
        @if custom::rows(findings).next().is_some() {
            h3 { "Metrics of the scenario" }
            div.scroll { table {
                thead { tr { th scope="col" { "Phase" } th scope="col" { "Metric" } th.n scope="col" { "Value" } } }
                tbody { @for (phase, row) in custom::rows(findings) {
                    tr { td { (plain(phase)) } th scope="row" { (plain(&row.name)) } td.n { (custom::value(row)) } }
                } }
            } }
        }
    }
}

/// CPU, threads, descriptors and the rest by phase.
fn target(findings: &Findings) -> Markup {
    let phases: Vec<(&Phase, &crate::analysis::Vital)> =
        findings.phases.iter().filter_map(|phase| Some((phase, phase.target.as_ref()?))).collect();
    if phases.is_empty() {
        return html! {};
    }
    html! {
        section #target aria-labelledby="target-head" {
            h2 #target-head { "CPU, threads, files" }
            div.scroll { table {
                thead { tr { th scope="col" { "" } @for (phase, _) in &phases { th.n scope="col" { (plain(&phase.name)) } } } }
                tbody { @for (name, of) in markdown::VITALS {
                    @if phases.iter().any(|(_, row)| of(row).is_some()) {
                        tr { th scope="row" { (name) } @for (_, row) in &phases { td.n { (or_dash(of(row), |cell| cell)) } } }
                    }
                } }
            } }
        }
    }
}
