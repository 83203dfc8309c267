//! The rules, and the run's account of itself: where it ran, and how it was measured.

use maud::{Markup, html};

use super::{or_dash, plain};
use crate::analysis::Findings;
use crate::event::PeakMethod;
use crate::report::{markdown, text};
use crate::units::Bytes;

pub(super) fn thresholds(findings: &Findings) -> Markup {
    if findings.thresholds.is_empty() {
        return html! {};
    }
    let class = |pass| match pass {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    };
    html! {
        section #thresholds aria-labelledby="thresholds-head" {
            h2 #thresholds-head { "Thresholds" }
            div.scroll { table {
                thead { tr { th scope="col" { "Metric" } th scope="col" { "Rule" } th.n scope="col" { "Value" } th scope="col" { "" } th.n scope="col" { "Broken at" } } }
                tbody { @for row in &findings.thresholds {
                    tr {
                        th scope="row" { code { (plain(&row.metric)) } } td { code { (plain(&row.rule)) } }
                        td.n { (crate::analysis::value_cell(row)) }
                        td class={ "answer " (class(row.pass)) } { (markdown::pass_word(row.pass)) }
                        td.n { (or_dash(row.broken_at, text::moment)) }
                    }
                } }
            } }
        }
    }
}

pub(super) fn environment(findings: &Findings) -> Markup {
    let mut rows = target_rows(findings);
    rows.extend(host_rows(findings));
    rows.extend(measure_rows(findings));
    html! {
        section #environment aria-labelledby="environment-head" {
            h2 #environment-head { "Environment" }
            div.scroll { table.facts { tbody {
                @for (name, value) in rows { tr { th scope="row" { (name) } td { (plain(&value)) } } }
            } } }
            @if !findings.notes.is_empty() {
                h3 { "Notes" }
                ul { @for note in &findings.notes { li { (text::clean(note, 2000)) } } }
            }
        }
    }
}

type Row = (&'static str, String);

fn target_rows(findings: &Findings) -> Vec<Row> {
    let facts = &findings.facts;
    let mut rows = vec![
        ("Target", facts.image.clone().unwrap_or_else(|| "unknown".to_owned())),
        ("Release build", format!("{} ({})", release(findings), facts.release_evidence)),
        ("Runtime", format!("{}, cgroup {}", facts.runtime, facts.cgroup)),
    ];
    if let Some(program) = &findings.program {
        rows.push(("Allocator", format!("{} ({})", program.allocator, program.evidence)));
    }
    if let Some(written) = &findings.written {
        let size = |bytes: Option<u64>| or_dash(bytes, |bytes| Bytes::new(bytes).to_string());
        rows.push(("Printed", size(written.log_bytes)));
        rows.push(("Written to its layer", size(written.layer_bytes)));
        rows.push(("Written to disk", size(written.disk_bytes)));
    }
    rows
}

fn release(findings: &Findings) -> &'static str {
    use crate::event::ReleaseBuild;
    match findings.facts.release {
        ReleaseBuild::Yes => "yes",
        ReleaseBuild::No => "no",
        ReleaseBuild::Unknown => "unknown",
    }
}

fn host_rows(findings: &Findings) -> Vec<Row> {
    let host = &findings.facts.host;
    let size = |bytes: u64| Bytes::new(bytes).to_string();
    let mut rows = vec![("Kernel", host.kernel.clone()), ("CPUs", host.cpus.to_string())];
    let mut more = |name, value: Option<String>| rows.extend(value.map(|value| (name, value)));
    more("Memory of the machine", host.memory_bytes.map(size));
    more("Swap of the machine", host.swap_bytes.map(size));
    more("Container engine", host.docker.clone());
    more("cgroup driver", host.cgroup_driver.clone());
    more("Huge pages", host.thp.clone());
    more("Defragmentation for them", host.thp_defrag.clone());
    more(
        "Highwater in a container",
        host.in_container.map(|yes| if yes { "yes" } else { "no" }.to_owned()),
    );
    rows
}

fn measure_rows(findings: &Findings) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Some(sampler) = &findings.sampler {
        let tick = std::time::Duration::from_nanos(sampler.tick_ns).as_secs_f64() * 1e3;
        let late = sampler.lateness_us;
        let late = late.map_or_else(String::new, |(p50, p99)| {
            format!(", {p50:.0} µs late at p50, {p99:.0} µs at p99")
        });
        let words = format!(
            "{} ticks, one every {}, {} missed{late}",
            sampler.ticks,
            text::millis(tick),
            sampler.missed_ticks
        );
        rows.push(("Sampler", words));
        rows.push((
            "Peaks known by",
            or_dash(sampler.method, |method| method_words(method).to_owned()),
        ));
        rows.push(("CPU of the sampler", or_dash(sampler.cpu_percent, text::percent)));
    }
    if let Some(generator) = &findings.generator {
        let cpu = or_dash(generator.cpu_percent, text::percent);
        let state = if generator.saturated { "saturated" } else { "not saturated" };
        rows.push((
            "Load generator",
            format!("{cpu} CPU, {} at most, {state}", Bytes::new(generator.rss_peak.get())),
        ));
    }
    if let Some(harness) = &findings.harness {
        let seconds = std::time::Duration::from_nanos(harness.cpu_ns).as_secs_f64();
        rows.push((
            "Highwater itself",
            format!("{seconds:.1} s of CPU, {} at most", Bytes::new(harness.rss_peak)),
        ));
    }
    rows.push(("Highwater", findings.facts.highwater.clone()));
    rows.push(("Run", findings.facts.run_id.clone()));
    rows
}

const fn method_words(method: PeakMethod) -> &'static str {
    match method {
        PeakMethod::V2Reset => {
            "the kernel's peak, reset at each tick (v2-reset): exact between ticks"
        }
        PeakMethod::V1Reset => {
            "the kernel's peak, reset at each tick (v1-reset): exact between ticks"
        }
        PeakMethod::Lifetime => "the kernel's lifetime peak: exact where it was broken",
        PeakMethod::Sampled => "sampling: what lies between two ticks may be missed",
        PeakMethod::DockerStats => "Docker's statistics: what lies between two readings is missed",
    }
}
