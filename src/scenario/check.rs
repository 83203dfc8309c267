//! Reading the tree into checked types, table by table.

mod actions;
mod body;
mod feed;
mod files;
mod metrics;
mod pacing;
mod phases;
mod replay;
mod reply;
mod sizes;
mod steps;
mod target;
mod templates;
mod think;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reader::{At, Notes, Reader, nearest};
use super::tree::{Node, Value};
use super::words::is_carried;
use super::{Constants, Flow, Phase, RuleCheck, Scenario, Sources, Threshold, Traffic, Words};
use crate::units::Rate;

/// What all parts of the check need.
struct Context<'a> {
    notes: &'a Notes,
    /// Knows what rules mean; none where there are none to check.
    rules: Option<&'a dyn RuleCheck>,
    /// Paths in the scenario are relative to it.
    directory: PathBuf,
    /// Production's peak, for `80%` and `10x`.
    expected: Option<Rate>,
    /// What templates name of the harness's surroundings, as found so far.
    constants: RefCell<Constants>,
    /// Words of the scenario's own, as found so far.
    words: RefCell<Words>,
    /// Scenarios that replays bring with them; they come after those that are written.
    replayed: RefCell<Vec<Flow>>,
}

impl Context<'_> {
    fn path(&self, text: &str) -> PathBuf {
        self.directory.join(text)
    }
}

/// The phases of a preset for scenarios that were made otherwise than from a file.
pub(super) fn phases_of(
    tree: &Node,
    expected: Option<Rate>,
    flows: &[Flow],
    notes: &Notes,
) -> Vec<Phase> {
    let Some(root) = Reader::new("the pattern", tree, notes) else { return Vec::new() };
    let context = Context {
        notes,
        rules: None,
        directory: PathBuf::new(),
        expected,
        constants: RefCell::default(),
        words: RefCell::default(),
        replayed: RefCell::default(),
    };
    phases::phases(&root, flows, &context)
}

/// Checks a whole scenario. None where a part is missing without which there is no scenario; a
/// fault says which.
pub(super) fn scenario(
    path: &Path,
    tree: &Node,
    rules: &dyn RuleCheck,
    notes: &Notes,
) -> Option<Scenario> {
    let root = Reader::new("the scenario", tree, notes)?;
    let traffic_table = root.table("traffic");
    // An unreadable one is noted, and stands for something: it is not missing.
    let expected = traffic_table.as_ref().and_then(|table| {
        let read = table.parsed::<Rate>("expected", "\"200/s\"").map(|at| at.value);
        read.or_else(|| table.has("expected").then(Rate::default))
    });
    let directory = path.parent().unwrap_or(Path::new("")).to_owned();
    let context = Context {
        notes,
        rules: Some(rules),
        directory,
        expected,
        constants: RefCell::default(),
        words: RefCell::default(),
        replayed: RefCell::default(),
    };
    let name = root.string("name").map_or_else(|| default_name(path), |at| at.value);
    if let Some(node) = root.node("extends")
        && !matches!(node.value, Value::String(_))
    {
        notes.fault(&node.place, "`extends` is no string", "write `extends = \"base.toml\"`");
    }
    let restarts = root.string("on-oom").is_some_and(|at| match at.value.as_str() {
        "stop" => false,
        "restart" => true,
        other => {
            let message = format!("`on-oom` can't be `{other}`");
            notes.fault(&at.place, message, "write `stop` or `restart`");
            false
        }
    });
    let target = match root.table("target") {
        Some(table) => Some(target::target(table, &context)),
        None => {
            let help =
                "add a `[target]` with `cargo`, `bin`, `image` or `dockerfile`, and a `port`";
            notes.fault(root.place, "there is no `[target]`", help);
            None
        }
    };
    let (tick, window) = sampling(&root);
    let (trials, fewer_trials, settle) = startup(&root);
    let traffic = traffic_table.map_or_else(Traffic::default, traffic);
    let mut scenarios = steps::flows(&root, &context);
    let phases = phases::phases(&root, &scenarios, &context);
    let actions = actions::actions(&root, &phases, scenarios.len(), &context);
    scenarios.append(&mut context.replayed.borrow_mut());
    let thresholds = thresholds(&root);
    let limited = target.as_ref().is_none_or(|target| target.memory.is_some());
    for threshold in &thresholds {
        check_rule(threshold, &context, limited, &phases, &scenarios);
    }
    root.finish();
    Some(Scenario {
        name,
        target: target?,
        tick,
        window,
        trials,
        fewer_trials,
        settle,
        traffic,
        scenarios,
        phases,
        actions,
        restarts,
        constants: context.constants.into_inner(),
        thresholds,
        words: context.words.into_inner(),
        notes: notes.remarks(),
        sources: Sources::default(),
    })
}

/// The file's name, or its directory's where it has the usual name.
fn default_name(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let directory = || {
        let full = path.canonicalize().ok()?;
        Some(full.parent()?.file_name()?.to_string_lossy().into_owned())
    };
    match stem {
        Some(stem) if stem != "highwater" => stem,
        _ => directory().unwrap_or_else(|| "highwater".to_owned()),
    }
}

/// A duration between two bounds, or the default.
fn bounded(
    table: &Reader<'_>,
    key: &'static str,
    default: Duration,
    least: Duration,
    most: Duration,
) -> Duration {
    let Some(At { value, place }) = table.duration(key) else { return default };
    if (least..=most).contains(&value) {
        return value;
    }
    let message = format!("`{key}` is {value:?}, not between {least:?} and {most:?}");
    table.notes.fault(&place, message, "");
    default
}

fn sampling(root: &Reader<'_>) -> (Duration, Duration) {
    let (tick, window) = (Duration::from_millis(1), Duration::from_millis(100));
    let Some(table) = root.table("sampling") else { return (tick, window) };
    let tick = bounded(&table, "tick", tick, Duration::from_micros(100), window);
    let window = bounded(&table, "window", window.max(tick), tick, Duration::from_secs(10));
    table.finish();
    (tick, window)
}

fn startup(root: &Reader<'_>) -> (u32, bool, Duration) {
    let (trials, settle) = (3, Duration::from_secs(2));
    let Some(table) = root.table("startup") else { return (trials, true, settle) };
    let read = table.whole("trials", 0, 100).and_then(|at| u32::try_from(at.value).ok());
    let hour = Duration::from_secs(3600);
    let settle = bounded(&table, "settle", settle, Duration::ZERO, hour);
    let fewer = table.bool("stop-early").unwrap_or(true);
    table.finish();
    (read.unwrap_or(trials), fewer, settle)
}

fn traffic(table: Reader<'_>) -> Traffic {
    let default = Traffic::default();
    let hour = Duration::from_secs(3600);
    let most = table.whole("max-in-flight", 1, 1_000_000);
    let most = most.and_then(|at| usize::try_from(at.value).ok());
    let traffic = Traffic {
        timeout: bounded(&table, "timeout", default.timeout, Duration::from_millis(1), hour),
        drain: bounded(&table, "drain", default.drain, Duration::ZERO, hour),
        seed: table.whole("seed", 0, u64::MAX).map_or(default.seed, |at| at.value),
        max_in_flight: most.unwrap_or(default.max_in_flight),
    };
    table.finish();
    traffic
}

fn thresholds(root: &Reader<'_>) -> Vec<Threshold> {
    let mut found = Vec::new();
    for entry in root.entries("thresholds") {
        let nodes: Vec<&Node> = match &entry.node.value {
            Value::Array(items) => items.iter().collect(),
            _ => vec![&entry.node],
        };
        for node in nodes {
            found.extend(threshold(&entry.key, node, root.notes));
        }
    }
    found
}

/// Notes what is wrong with a rule: its words, and what it speaks of.
fn check_rule(
    threshold: &Threshold,
    context: &Context<'_>,
    limited: bool,
    phases: &[Phase],
    flows: &[Flow],
) {
    let fault =
        |message: String, help: String| context.notes.fault(&threshold.place, message, help);
    let words = context.words.borrow();
    let Some(rules) = context.rules else { return };
    let facts = match rules.facts(&words, &threshold.selector, &threshold.rule) {
        Ok(facts) => facts,
        Err((message, help)) => return fault(message, help),
    };
    if facts.needs_limit && !limited {
        let help = "add `limits = { memory = \"256MiB\" }` to `[target]`, or write a size";
        let message = format!("`{}` of what? the target has no memory limit", threshold.rule);
        fault(message, help.to_owned());
    }
    let phase_names: Vec<&str> = phases.iter().map(|phase| phase.name.as_str()).collect();
    let flow_names: Vec<&str> = flows.iter().map(|flow| flow.name.as_str()).collect();
    let all_steps = flows.iter().flat_map(Flow::all_steps);
    let step_names: Vec<&str> = all_steps.map(|step| step.label.as_str()).collect();
    let named = [("phase", facts.phase, &phase_names), ("scenario", facts.scenario, &flow_names)];
    let steps = facts.steps.into_iter().map(|step| ("step", Some(step), &step_names));
    for (kind, named, known) in named.into_iter().chain(steps) {
        if let Some(name) = named.filter(|name| !known.contains(&name.as_str())) {
            fault(format!("no {kind} is called `{name}`"), nearest(&name, known));
        }
    }
    for (tag, value) in facts.tags.iter().filter(|row| !is_carried(flows, &row.0, &row.1)) {
        let help = format!("add `tags = {{ {tag} = \"{value}\" }}` to the steps that are meant");
        fault(format!("no step carries the tag `{tag}:{value}`"), help);
    }
}

fn threshold(selector: &str, node: &Node, notes: &Notes) -> Option<Threshold> {
    let selector = selector.to_owned();
    if let Value::String(rule) = &node.value {
        let (rule, place) = (rule.clone(), node.place.clone());
        return Some(Threshold { selector, rule, abort: None, place });
    }
    let table = Reader::new("a threshold", node, notes)?;
    // k6 says `threshold`, `abortOnFail` and `delayAbortEval`.
    let rule = table.string("rule").or_else(|| table.string("threshold"));
    let abort = table.bool("abort").or_else(|| table.bool("abortOnFail")).unwrap_or(false);
    let delay = table.duration("delay");
    if let Some(delay) = &delay
        && !abort
    {
        let help = "add `abort = true`, or leave the `delay` away";
        notes.fault(&delay.place, "a `delay` of what? the rule does not abort", help);
    }
    // k6 takes it without `abortOnFail` too.
    let delay = delay.or_else(|| table.duration("delayAbortEval")).map(|at| at.value);
    let abort = abort.then(|| delay.unwrap_or_default());
    if rule.is_none() && !table.has("rule") && !table.has("threshold") {
        notes.fault(table.place, "a threshold has no `rule`", "write `{ rule = \"max<80%\" }`");
    }
    table.finish();
    rule.map(|At { value: rule, place }| Threshold { selector, rule, abort, place })
}
