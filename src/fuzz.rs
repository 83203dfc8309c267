//! What the fuzz targets in `fuzz/` call: each takes bytes from outside and must come back,
//! whatever they are. No part of the program; built with the feature `fuzzing` only.
//!
//! What a parser promises beside that is asserted here: what is printed reads back, answers are the
//! same however they are cut, texts for people hold nothing that controls a terminal.

use std::path::Path;

use crate::analysis::compare::{self, Baseline, RunDocument, Settings};
use crate::analysis::{self, Findings};
use crate::cgroup::{Hierarchies, parse};
use crate::clock::Anchor;
use crate::draft;
use crate::event::{Event, RunFacts};
use crate::judge::FlightRecorder;
use crate::plan::{Outline, Plan, Rule};
use crate::record::Header;
use crate::report::{self, Renderer};
use crate::scenario::Overrides;
use crate::units::{self, Bytes, Rate};

pub use crate::campaign::fuzz::size_state;
pub use crate::helper::fuzz::frames;
pub use crate::load::fuzz::{answer, reply};
pub use crate::record::fuzz::{batch, file};
pub use crate::runtime::fuzz::{elf, host_files, output};
pub use crate::sample::fuzz::proc_files;

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// A scenario. Its files are not read: it stands where there are none.
pub fn scenario(data: &[u8]) {
    let Some(text) = text(data) else { return };
    // The scenario is the user's own and may name any file, endless ones too.
    if ["..", "/dev", "/proc", "/sys"].iter().any(|name| text.contains(name)) {
        return;
    }
    let place = Path::new("/nonexistent/highwater.toml");
    match Plan::parse(place, text, &Overrides::default()) {
        Ok(plan) => drop(plan.outline()),
        Err(faults) => drop(format!("{faults:?}")),
    }
}

/// Files of a cgroup, and the list of mounts.
pub fn cgroup_files(data: &[u8]) {
    for key in [&b"anon"[..], b"oom_kill", b"max", b"throttled_usec"] {
        let _ = parse::key(data, key);
    }
    let kernel = Bytes::new(parse::number(data).unwrap_or(4096));
    for parts in [parse::stat_v1(data, kernel), parse::stat_v2(data)] {
        assert!(parts.unreclaimable_low() <= parts.unreclaimable_high(Bytes::new(u64::MAX)));
        let _ = parts.reclaimable();
    }
    let _ = (parse::psi_some_us(data), parse::psi_full_us(data));
    let _ = (parse::io_stat(data), parse::blkio(data));
    let _ = (parse::numbers(data), parse::faults(data));
    let mounts = String::from_utf8_lossy(data);
    let controllers = |_: &Path| "cpu memory".to_owned();
    if let Ok(hierarchies) = Hierarchies::from_mountinfo(&mounts, controllers) {
        let _ = (hierarchies.counting_dirs("/docker/a"), hierarchies.all_dirs("/docker/a"));
        let _ = hierarchies.below_mount("/docker/a");
        let _ = hierarchies.group_at(Path::new("/sys/fs/cgroup/memory/docker/a"));
    }
}

/// An access log, JSON lines or a HAR file.
pub fn logs(data: &[u8]) {
    if let Ok(log) = crate::logs::parse(data) {
        assert!(!log.requests.is_empty());
        for request in &log.requests {
            let _ = crate::logs::label(&request.path);
        }
    }
}

/// A selector and a condition on two lines.
pub fn thresholds(data: &[u8]) {
    let Some((selector, condition)) = text(data).and_then(|text| text.split_once('\n')) else {
        return;
    };
    match Rule::parse(selector, condition, None) {
        Ok(rule) => {
            let again = Rule::parse(&rule.selector, &rule.text, None).map(|rule| rule.metric);
            assert_eq!(again.ok(), Some(rule.metric));
        }
        Err(error) => assert!(!error.message.is_empty() && !error.help.is_empty()),
    }
}

/// Sizes, rates, lengths of time.
pub fn numbers(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(bytes) = text.parse::<Bytes>() {
        // Printed beyond PiB there is no unit that is read.
        if bytes.get() < 1 << 50 {
            bytes.to_string().parse::<Bytes>().expect("what is printed is read");
        }
    }
    if let Ok(rate) = text.parse::<Rate>() {
        assert!(rate.as_per_second() >= 0.0 && rate.as_per_second().is_finite());
    }
    if let Ok(time) = units::parse_duration(text) {
        drop(units::Human(time).to_string());
    }
}

/// A baseline, which is compared with the run beside it where there is one.
pub fn baseline(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let mut parts = text.splitn(2, '\0');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let Ok(baseline) = Baseline::read(first) else { return };
    let again = Baseline::read(&baseline.text()).expect("what is written is read");
    assert_eq!(again.text(), baseline.text());
    let Some(document) = second.and_then(|text| RunDocument::read(text).ok()) else { return };
    let runs = [compare::Run { name: "run".to_owned(), document }];
    let settings = Settings { anyway: true, ..Settings::default() };
    let _ = baseline.compare(&runs, &settings);
    let mut updated = baseline;
    let _ = updated.update(&runs, &settings);
}

/// Two `run.json`, which are compared.
pub fn run_json(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let documents: Vec<_> =
        text.split('\0').take(4).filter_map(|part| RunDocument::read(part).ok()).collect();
    let Some(last) = documents.len().checked_sub(1) else { return };
    let run = |document: RunDocument| compare::Run { name: "run".to_owned(), document };
    let mut runs: Vec<_> = documents.into_iter().map(run).collect();
    let new = runs.split_off(last);
    let base = if runs.is_empty() { &new } else { &runs };
    let settings = Settings { anyway: true, ..Settings::default() };
    if let Ok(comparison) = compare::compare(base, &new, &settings) {
        drop(report::comparison_json(&comparison));
        drop(Baseline::of(&new, &settings));
    }
}

/// A manifest for Kubernetes, and what it is after a limit was put in.
pub fn manifest(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let (limit, request) = (Bytes::from_mib(96), Bytes::from_mib(64));
    if let Ok(after) = report::patched(text, None, limit, request) {
        let again = report::patched(&after, None, limit, request).expect("it is one still");
        assert_eq!(again, after, "a second time changes nothing");
        drop(report::diff("a.yaml", text, &after));
    }
}

/// A Dockerfile and source code, from which a scenario is drafted.
pub fn drafts(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let mut clues = draft::clues_of_dockerfile("Dockerfile", &text);
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    clues.fill(draft::clues_of_image(&lines, &lines, &lines));
    let name = if text.len() % 2 == 0 { "main.rs" } else { "app.py" };
    clues.fill(draft::clues_of_code(&[draft::SourceText { name: name.to_owned(), text }]));
    let drafted = draft::Draft::of_image("shop:1", clues).scenario();
    let place = Path::new("/nonexistent/highwater.toml");
    if let Err(faults) = Plan::parse(place, &drafted, &Overrides::default()) {
        panic!("what is drafted is no scenario: {faults:?}\n{drafted}");
    }
}

/// A recording's events, plain `MessagePack` after the JSON of its header and a zero byte: analysed,
/// and rendered in all forms.
pub fn run(data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == 0) else { return };
    let Ok(header) = serde_json::from_slice::<Header>(&data[..end]) else { return };
    let Ok(events) = rmp_serde::from_slice::<Vec<Event>>(&data[end + 1..]) else { return };
    render(&header.outline, &header.facts, header.anchor, events);
}

fn render(outline: &Outline, facts: &RunFacts, anchor: Anchor, events: Vec<Event>) {
    let mut flight = FlightRecorder::new(false, Bytes::from_kib(64));
    let mut recorded = Vec::new();
    for event in events {
        flight.take(event, &mut recorded);
    }
    let findings = analysis::analyse(outline, facts, anchor, recorded);
    tell(&findings);
}

fn tell(findings: &Findings) {
    let json = report::RunJson.render(findings);
    RunDocument::read(&json).expect("what is written is read");
    report::Markdown.render(findings);
    report::ReportHtml.render(findings);
    report::TimelineSvg.render(findings);
    report::StartupSvg.render(findings);
    report::ConcurrencySvg.render(findings);
    let summary = report::Summary { color: false, directory: None }.render(findings);
    let controls = summary.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(controls, None, "the summary controls the terminal: {summary:?}");
}
