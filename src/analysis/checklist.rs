//! The questions that a soak test has to answer, and what the answers rest on.

use std::fmt::Write as _;

use super::growth::GrowthClass;
use super::model::{Answer, CheckItem, Findings, Sizes, StepTraffic};
use crate::event::ReleaseBuild;
use crate::plan::Outline;
use crate::units::Bytes;

const STARTUP: &str = "Was the startup peak captured?";
const BURSTS: &str = "Did the traffic come in bursts?";
const SETTLED: &str = "Does memory settle after the load?";
const PAYLOADS: &str = "Were the payloads of production's size?";
const ALIGNED: &str = "Are events aligned with spikes?";

/// The whole list, in a fixed order.
pub(super) fn answers(findings: &Findings, outline: &Outline) -> Vec<CheckItem> {
    vec![
        release(findings),
        startup(findings),
        bursts(findings, outline),
        settled(findings),
        limited(findings),
        payloads(findings, outline),
        rss(findings),
        aligned(findings),
    ]
}

/// The answers of a watch where they differ from a run's: traffic is not ours, and what ran before
/// was not seen.
pub(super) fn watched(items: &mut [CheckItem], measured: bool) {
    for row in items {
        let words = match row.question {
            BURSTS | PAYLOADS => "a watch sends no traffic; what others sent is not known here",
            SETTLED if measured => "growth was not judged, nor is the load known",
            STARTUP => {
                row.answer = Answer::No;
                "a watch begins after the start".clone_into(&mut row.evidence);
                continue;
            }
            ALIGNED => "a watch sends no traffic that spikes could go with",
            _ => continue,
        };
        row.answer = Answer::Unknown;
        words.clone_into(&mut row.evidence);
    }
}

fn item(question: &'static str, answer: Answer, evidence: String) -> CheckItem {
    CheckItem { question, answer, evidence }
}

const fn yes_or_no(yes: bool) -> Answer {
    if yes { Answer::Yes } else { Answer::No }
}

fn release(findings: &Findings) -> CheckItem {
    let answer = match findings.facts.release {
        ReleaseBuild::Yes => Answer::Yes,
        ReleaseBuild::No => Answer::No,
        ReleaseBuild::Unknown => Answer::Unknown,
    };
    let evidence = findings.facts.release_evidence.clone();
    item("Did we test the release build?", answer, evidence)
}

fn startup(findings: &Findings) -> CheckItem {
    let question = STARTUP;
    let Some(startup) = &findings.startup else {
        return item(question, Answer::No, "no startup trial was run".to_owned());
    };
    let Some(peak) = startup.peak else {
        let evidence = "the trials show no memory".to_owned();
        return item(question, Answer::Unknown, evidence);
    };
    let limited = startup.trials.iter().filter(|trial| !trial.unlimited);
    let count = limited.count();
    let cold = match startup.first_was_cold {
        Some(true) => {
            "; the first one came from a cold page cache, so compare it with the later ones"
        }
        Some(false) | None => "",
    };
    let evidence = format!("{count} trials in fresh containers, the highest peak {peak}{cold}");
    item(question, Answer::Yes, evidence)
}

fn bursts(findings: &Findings, outline: &Outline) -> CheckItem {
    let question = BURSTS;
    let began = |name: &String| findings.phases.iter().any(|phase| phase.name == *name);
    let names: Vec<&str> = outline
        .phases
        .iter()
        .filter(|phase| phase.bursts && began(&phase.name))
        .map(|phase| phase.name.as_str())
        .collect();
    if names.is_empty() {
        return item(question, Answer::No, "no phase with a burst ran".to_owned());
    }
    let evidence = format!("bursts in {}", names.join(", "));
    item(question, Answer::Yes, evidence)
}

fn settled(findings: &Findings) -> CheckItem {
    let question = SETTLED;
    if let Some(growth) = &findings.growth {
        let answer = match growth.class {
            GrowthClass::Flat | GrowthClass::Settles | GrowthClass::Retained => Answer::Yes,
            GrowthClass::Leak => Answer::No,
            GrowthClass::Unclear => Answer::Unknown,
        };
        let more = growth.more_cycles.map_or_else(String::new, |more| {
            let what = if growth.by_bursts { "bursts" } else { "parts" };
            format!("; {more} more {what} would tell")
        });
        let (first, last, over) = (growth.first, growth.last, growth.over());
        let (class, phase) = (growth.class.name(), &growth.phase);
        let evidence =
            format!("{class} in {phase}: the floor was {first}, and {last} after {over}{more}");
        return item(question, answer, evidence);
    }
    let levels = || findings.phases.iter().filter_map(|phase| phase.memory);
    let evidence = match (levels().next(), levels().next_back()) {
        (Some(first), Some(last)) => format!(
            "unreclaimable memory was {} at the start of the load and {} at its end; growth was \
             not judged",
            first.start, last.end
        ),
        _ => "no phase shows memory".to_owned(),
    };
    item(question, Answer::Unknown, evidence)
}

fn limited(findings: &Findings) -> CheckItem {
    let question = "Did it run in a container with a memory limit?";
    let limit = findings.limit.bytes();
    let evidence = limit.map_or_else(
        || "no limit was set".to_owned(),
        |limit| format!("{limit}, {}", findings.facts.runtime),
    );
    item(question, yes_or_no(limit.is_some()), evidence)
}

fn payloads(findings: &Findings, outline: &Outline) -> CheckItem {
    let question = PAYLOADS;
    let traffic = || {
        let phases = findings.phases.iter();
        phases.filter_map(|phase| phase.traffic.as_ref())
    };
    let requests: u64 = traffic().map(|row| row.requests).sum();
    if requests == 0 {
        return item(question, Answer::No, "no request was answered".to_owned());
    }
    let mean = |bytes: u64| Bytes::new(bytes / requests);
    let sent = mean(traffic().map(|row| row.bytes_sent).sum());
    let received = mean(traffic().map(|row| row.bytes_received).sum());
    let largest = outline.steps.iter().map(|step| step.body_max).max();
    let largest = largest.unwrap_or_default();
    let mut evidence = format!(
        "a request sent {sent} and received {received} on average, bodies up to {largest}; what \
         production sends is known only by the sizes that were asked for"
    );
    let steps = || traffic().flat_map(|row| &row.steps);
    if let Some(step) = steps().max_by_key(|step| step.bytes_sent)
        && let (Some(seen), Some(wanted)) = (step.request_body, step.wanted_body)
    {
        // Writing to a string never fails.
        let _ = write!(
            evidence,
            "; {} sent bodies of {} (p50) and {} (p99), wanted were {} and {}",
            step.step, seen.p50, seen.p99, wanted.p50, wanted.p99
        );
    }
    item(question, payload_answer(steps()), evidence)
}

/// Whether bodies were as large as asked for. One fixed size is no distribution of production's, and
/// tells nothing.
fn payload_answer<'a>(steps: impl Iterator<Item = &'a StepTraffic>) -> Answer {
    /// A size is met within this factor.
    const MET: f64 = 1.25;
    let near = |seen: Bytes, wanted: Bytes| {
        let (seen, wanted) = (seen.as_f64().max(1.0), wanted.as_f64().max(1.0));
        seen <= MET * wanted && wanted <= MET * seen
    };
    let drawn = steps.filter_map(|step| Some((step.request_body?, step.wanted_body?)));
    let drawn: Vec<(Sizes, Sizes)> = drawn.filter(|(_, wanted)| wanted.p50 < wanted.p99).collect();
    let met =
        |(seen, wanted): &(Sizes, Sizes)| near(seen.p50, wanted.p50) && near(seen.p99, wanted.p99);
    match drawn.len() {
        0 => Answer::Unknown,
        _ => yes_or_no(drawn.iter().all(met)),
    }
}

fn rss(findings: &Findings) -> CheckItem {
    let question = "Was RSS watched, not only the heap?";
    let evidence = findings.memory.as_ref().map_or_else(
        || "no memory was sampled".to_owned(),
        |memory| {
            let (rss, peak) = (memory.rss_peak, memory.peak);
            format!("RSS peak {rss}, charged peak {peak}, as the kernel counts")
        },
    );
    item(question, yes_or_no(findings.memory.is_some()), evidence)
}

fn aligned(findings: &Findings) -> CheckItem {
    let question = ALIGNED;
    match findings.spikes_total {
        None => {
            let evidence = "no raw ticks were kept".to_owned();
            item(question, Answer::Unknown, evidence)
        }
        Some(0) => {
            let evidence = "no spike was found".to_owned();
            item(question, Answer::Yes, evidence)
        }
        Some(total) => {
            let known = findings.spikes.iter().filter(|row| row.in_flight.is_some());
            let (known, shown) = (known.count(), findings.spikes.len());
            let evidence = format!(
                "{total} spikes on the clock of the requests; what was in flight is known for \
                 {known} of the {shown} largest"
            );
            item(question, yes_or_no(known > 0), evidence)
        }
    }
}
