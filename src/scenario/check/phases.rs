//! `[[phase]]`: the flat form with one load, or several loads side by side.

use std::time::Duration;

use super::{Context, pacing};
use crate::scenario::reader::{At, Reader, nearest, number};
use crate::scenario::tree::{Node, Value};
use crate::scenario::{Arrivals, Burst, BurstForm, Flow, Iterations, Load, Pace, Phase};
use crate::units::Rate;

/// How long a phase of iterations may take where it does not say.
const ITERATIONS_WITHIN: Duration = Duration::from_secs(600);

/// The highest rate: beyond it nothing on one machine keeps up.
const RATE_MAX: f64 = 1_000_000.0;

/// Keys that have no meaning for a load that is replayed.
const NOT_OF_REPLAYS: [&str; 10] = [
    "scenario",
    "rate",
    "users",
    "stages",
    "burst",
    "iterations",
    "arrivals",
    "surge",
    "on",
    "off",
];

/// Keys that pace a load.
const PACING: [&str; 6] = ["rate", "users", "stages", "burst", "iterations", "replay"];

pub(super) fn phases(root: &Reader<'_>, flows: &[Flow], context: &Context<'_>) -> Vec<Phase> {
    let mut phases: Vec<Phase> = Vec::new();
    for node in root.list("phase") {
        let Some(table) = Reader::new("`[[phase]]`", node, context.notes) else { continue };
        let phase = phase(&table, phases.len(), flows, context);
        let place = table.place;
        table.finish();
        if phases.iter().any(|other| other.name == phase.name) {
            let message = format!("two phases are called `{}`", phase.name);
            context.notes.fault(place, message, "give each a name of its own");
        }
        let needs_flow = |load: &Load| !matches!(load.pace, Pace::Replay(_));
        if phase.loads.iter().any(needs_flow) && flows.is_empty() {
            let message =
                format!("the phase `{}` has traffic, but there is no scenario", phase.name);
            context.notes.fault(place, message, "add a `[[scenario]]` with a `[[scenario.step]]`");
        }
        phases.push(phase);
    }
    phases
}

fn phase(table: &Reader<'_>, index: usize, flows: &[Flow], context: &Context<'_>) -> Phase {
    let name = table.string("name").map_or_else(|| format!("phase {}", index + 1), |at| at.value);
    let length = table.length("for");
    let tags = table.strings("tags");
    let size = table.bool("size");
    let stop_early = table.bool("stop-early").unwrap_or(false);
    let mut loads = Vec::new();
    let listed = table.list("load");
    let flat = PACING.iter().filter(|key| table.has(key)).count() > 0;
    if !flat {
        pacing::needs_rate(table, context);
    }
    if flat && !listed.is_empty() {
        let message = format!("the phase `{name}` has a load of its own and a list of loads");
        context.notes.fault(table.place, message, "keep one of them");
    } else if flat {
        loads.extend(load(table, length, None, flows, context));
    }
    for node in listed {
        if let Some(inner) = Reader::new("a load", node, context.notes) {
            let own = inner.length("for");
            loads.extend(load(&inner, length, own, flows, context));
            inner.finish();
        }
    }
    let ends = loads.iter().map(|load| load.start_after + pace_length(&load.pace)).max();
    let unreadable = (flat || table.has("load")) && loads.is_empty();
    let length = length.or(ends).unwrap_or_else(|| {
        // A load that can't be read has been told of, and might have said it.
        if !unreadable {
            let message = format!("the phase `{name}` does not say how long it lasts");
            context.notes.fault(table.place, message, "add `for = \"30s\"`");
        }
        Duration::from_secs(1)
    });
    if !table.has("for") && !loads.is_empty() && loads.iter().all(repeats) {
        let message = format!("the phase `{name}` would never end: all its loads `repeat`");
        context.notes.fault(table.place, message, "add `for = \"10m\"`, or leave `repeat` out");
    }
    let too_long = |load: &Load| load.start_after + pace_length(&load.pace) > length;
    let is_replay = |load: &Load| matches!(load.pace, Pace::Replay(_));
    if loads.iter().any(|load| too_long(load) && !is_replay(load)) {
        let message = format!("a load of the phase `{name}` lasts longer than the phase");
        context.notes.fault(table.place, message, "shorten the load, or raise the phase's `for`");
    }
    if length.is_zero() {
        let message = format!("the phase `{name}` lasts no time");
        context.notes.fault(table.place, message, "add `for = \"30s\"`");
    }
    Phase { name, length, tags, size, stop_early, loads }
}

/// Whether a load begins anew for as long as its phase lasts.
const fn repeats(load: &Load) -> bool {
    matches!(&load.pace, Pace::Replay(replay) if replay.again_after.is_some())
}

fn pace_length(pace: &Pace) -> Duration {
    match pace {
        Pace::Open { stages, .. } => stages.iter().map(|stage| stage.2).sum(),
        Pace::Closed { stages, .. } => stages.iter().map(|stage| stage.2).sum(),
        // So that the last one is due before the end.
        Pace::Replay(replay) => replay.span() + Duration::from_millis(100),
    }
}

/// A load that lasts `own`, or else what is left of its phase when it starts.
fn load(
    table: &Reader<'_>,
    phase: Option<Duration>,
    own: Option<Duration>,
    flows: &[Flow],
    context: &Context<'_>,
) -> Option<Load> {
    let named = table.string("scenario");
    let flow = named.as_ref().map(|at| flow_index(at, flows, context));
    let start_after = table.length("start-after").unwrap_or_default();
    if phase.is_some_and(|phase| start_after >= phase && !phase.is_zero()) {
        let message = "a load starts when its phase is over";
        context.notes.fault(table.place, message, "lower `start-after`");
    }
    if table.has("replay") {
        if own.is_some() {
            let message = "a `replay` lasts as long as its log, or as its phase";
            context.notes.fault(table.place, message, "give the phase the `for`");
        }
        return replay(table, start_after, flows.len(), context);
    }
    let left = phase.map(|phase| phase.saturating_sub(start_after));
    // Read to its end even where the scenario is unknown: its other faults belong in the same go.
    let pace = pace(table, own.or(left), context);
    let flow = match flow {
        Some(index) => Some(index?),
        None => None,
    };
    Some(Load { flow, start_after, pace: pace? })
}

fn replay(
    table: &Reader<'_>,
    start_after: Duration,
    flows: usize,
    context: &Context<'_>,
) -> Option<Load> {
    let others: Vec<&str> = NOT_OF_REPLAYS.into_iter().filter(|key| table.has(key)).collect();
    if let Some(key) = others.first() {
        let message = format!("a `replay` is paced by its log, and this load has `{key}` too");
        context.notes.fault(table.place, message, "keep one of them; `speed` goes into `replay`");
    }
    let (replay, flow) = super::replay::replay(table, context)?;
    let mut replayed = context.replayed.borrow_mut();
    replayed.push(flow);
    let flow = Some(flows + replayed.len() - 1);
    Some(Load { flow, start_after, pace: Pace::Replay(replay) })
}

fn flow_index(at: &At<String>, flows: &[Flow], context: &Context<'_>) -> Option<usize> {
    let found = flows.iter().position(|flow| flow.name == at.value);
    if found.is_none() {
        let names: Vec<&str> = flows.iter().map(|flow| flow.name.as_str()).collect();
        let message = format!("no scenario is called `{}`", at.value);
        context.notes.fault(&at.place, message, nearest(&at.value, &names));
    }
    found
}

fn pace(table: &Reader<'_>, length: Option<Duration>, context: &Context<'_>) -> Option<Pace> {
    let iterations = iterations(table, context);
    let arrivals = pacing::arrivals(table, context);
    let open = table.has("rate") || table.list("stages").iter().any(|s| s.get("rate").is_some());
    if iterations.is_some() && open {
        let message = "`iterations` counts what users do, and this load has a `rate`";
        context.notes.fault(table.place, message, "use `users`, or leave `iterations` out");
    }
    if table.has("arrivals") && table.has("users") {
        let message = "`arrivals` spaces a `rate`, and this load has `users`";
        context.notes.fault(table.place, message, "leave `arrivals` out");
    }
    pacing::needs_rate(table, context);
    let bursts = bursts(table, context);
    let (rate, users, stages) = (table.node("rate"), table.node("users"), table.list("stages"));
    let given = usize::from(rate.is_some())
        + usize::from(users.is_some())
        + usize::from(!stages.is_empty());
    if given > 1 {
        let message = "a load has several of `rate`, `users` and `stages`";
        context.notes.fault(
            table.place,
            message,
            "keep one: open loop by `rate`, closed by `users`",
        );
        return None;
    }
    let within = length.or_else(|| table.has("iterations").then_some(ITERATIONS_WITHIN));
    let needs_length = || {
        if within.is_none() {
            let message = "a load does not say how long it lasts";
            context.notes.fault(table.place, message, "add `for = \"30s\"`");
        }
        within
    };
    let pace = if let Some(users) = users {
        let (from, to) = some_users(users, context)?;
        Pace::Closed { stages: vec![(from, to, needs_length()?)], iterations }
    } else if !stages.is_empty() {
        staged(&stages, iterations, arrivals, bursts.clone(), context)?
    } else if rate.is_some() || table.has("burst") {
        let range = rate
            .map_or(Some((Rate::default(), Rate::default())), |node| rate_range(node, context))?;
        let length = needs_length()?;
        let (stages, turns) = match rate {
            Some(rate) => pacing::shape(table, rate, range, length, context)?,
            None => (vec![(range.0, range.1, length)], Vec::new()),
        };
        Pace::Open { stages, arrivals, bursts: [turns, bursts.clone()].concat() }
    } else {
        let message = "a load has neither `rate` nor `users`";
        context.notes.fault(
            table.place,
            message,
            "open loop: `rate = 50`; closed loop: `users = 20`",
        );
        return None;
    };
    if matches!(pace, Pace::Closed { .. }) && !bursts.is_empty() {
        let message = "a `burst` needs arrivals, and users arrive when they like";
        context.notes.fault(table.place, message, "use `rate`, or a second load for the burst");
    }
    Some(pace)
}

/// A number of scenario runs for all users together, or `{ each = 10 }`.
fn iterations(table: &Reader<'_>, context: &Context<'_>) -> Option<Iterations> {
    let node = table.node("iterations")?;
    if !matches!(node.value, Value::Table(_)) {
        return table.whole("iterations", 1, u64::MAX >> 1).map(|at| Iterations::Shared(at.value));
    }
    let inner = table.table("iterations")?;
    let each = inner.whole("each", 1, u64::MAX >> 1);
    if !inner.has("each") {
        let help = "write `iterations = 100` for all users together, or `{ each = 10 }`";
        context.notes.fault(&node.place, "`iterations` has no `each`", help);
    }
    inner.finish();
    each.map(|at| Iterations::Each(at.value))
}

/// A number of users, or `{ from, to }`, that are not none all the time.
fn some_users(node: &Node, context: &Context<'_>) -> Option<(u32, u32)> {
    let range = users_range(node, context)?;
    if range == (0, 0) {
        let help = "write how many, such as `users = 20`; only a stage may have 0 of them, and a \
                    phase without a load is idle";
        context.notes.fault(&node.place, "a load of no users does nothing", help);
        return None;
    }
    Some(range)
}

/// A number of users, or `{ from, to }`.
fn users_range(node: &Node, context: &Context<'_>) -> Option<(u32, u32)> {
    if let Value::Table(_) = node.value {
        let table = Reader::new("`users`", node, context.notes)?;
        let from = table.node("from").map_or(Some(0), |node| users(node, context));
        let to = table.node("to").map(|node| users(node, context));
        if to.is_none() {
            context.notes.fault(
                table.place,
                "`users` has no `to`",
                "write `{ from = 0, to = 50 }`",
            );
        }
        table.finish();
        return Some((from?, to??));
    }
    users(node, context).map(|users| (users, users))
}

fn users(node: &Node, context: &Context<'_>) -> Option<u32> {
    match node.value {
        Value::Integer(number) if (0..=100_000).contains(&number) => u32::try_from(number).ok(),
        _ => {
            let message = "`users` is no whole number up to 100000";
            context.notes.fault(&node.place, message, "write `users = 20`");
            None
        }
    }
}

/// A rate, or `{ from, to }`.
fn rate_range(node: &Node, context: &Context<'_>) -> Option<(Rate, Rate)> {
    if let Value::Table(_) = node.value {
        let table = Reader::new("`rate`", node, context.notes)?;
        let from = table.node("from").map_or(Some(Rate::default()), |node| rate(node, context));
        let to = table.node("to").map(|node| rate(node, context));
        if to.is_none() {
            context.notes.fault(table.place, "`rate` has no `to`", "write `{ from = 0, to = 50 }`");
        }
        table.finish();
        return Some((from?, to??));
    }
    rate(node, context).map(|rate| (rate, rate))
}

/// Events a second: a number, `"30/min"`, or `"80%"` and `"10x"` of production's peak.
pub(super) fn rate(node: &Node, context: &Context<'_>) -> Option<Rate> {
    let read = match &node.value {
        Value::String(text) => match relative(text) {
            Some(share) => {
                let Some(expected) = context.expected else {
                    let message = format!("`{text}` of what?");
                    let help = "add production's peak: `[traffic]` with `expected = \"200/s\"`, or `--expected 200/s`";
                    context.notes.fault(&node.place, message, help);
                    return None;
                };
                Rate::per_second(expected.as_per_second() * share)
            }
            None => text.parse(),
        },
        other => match number(other) {
            Some(number) => Rate::per_second(number),
            None => {
                let message = format!("`rate` is {}", other.kind());
                context.notes.fault(&node.place, message, "write `50`, `\"30/min\"` or `\"80%\"`");
                return None;
            }
        },
    };
    match read {
        Ok(rate) if rate.as_per_second() > RATE_MAX => {
            let message = format!("a rate of {rate} is too high");
            context.notes.fault(&node.place, message, format!("{RATE_MAX} a second at most"));
            None
        }
        Ok(rate) => Some(rate),
        Err(error) => {
            context.notes.fault(&node.place, error.to_string(), "");
            None
        }
    }
}

/// `80%` → 0.8, `10x` → 10.
fn relative(text: &str) -> Option<f64> {
    let (number, unit) = match (text.trim().strip_suffix('%'), text.trim().strip_suffix('x')) {
        (Some(number), _) => (number, 0.01),
        (None, Some(number)) => (number, 1.0),
        (None, None) => return None,
    };
    number.trim().parse::<f64>().ok().map(|number| number * unit)
}

/// Stages of users or of rates; one without a value holds the one before.
fn staged(
    nodes: &[&Node],
    iterations: Option<Iterations>,
    arrivals: Arrivals,
    bursts: Vec<Burst>,
    context: &Context<'_>,
) -> Option<Pace> {
    let (mut users_stages, mut rate_stages) = (Vec::new(), Vec::new());
    let (mut users_now, mut rate_now) = (0, Rate::default());
    for node in nodes {
        let table = Reader::new("a stage", node, context.notes)?;
        let length = table.length("for");
        let to_users = table.node("users").map(|node| users(node, context));
        let to_rate = table.node("rate").map(|node| rate(node, context));
        if length.is_none() {
            context.notes.fault(
                table.place,
                "a stage has no `for`",
                "write `{ users = 10, for = \"1m\" }`",
            );
        }
        table.finish();
        let length = length?;
        let (users_before, rate_before) = (users_now, rate_now);
        users_now = to_users.unwrap_or(Some(users_now))?;
        rate_now = to_rate.unwrap_or(Some(rate_now))?;
        users_stages.push((users_before, users_now, length));
        rate_stages.push((rate_before, rate_now, length));
    }
    let any = |key| nodes.iter().any(|node| node.get(key).is_some());
    match (any("users"), any("rate")) {
        (true, true) => {
            let message = "stages mix `users` and `rate`";
            context.notes.fault(&nodes[0].place, message, "use two loads");
            None
        }
        (false, true) => Some(Pace::Open { stages: rate_stages, arrivals, bursts }),
        _ => Some(Pace::Closed { stages: users_stages, iterations }),
    }
}

/// One burst, or a list of them.
fn bursts(table: &Reader<'_>, context: &Context<'_>) -> Vec<Burst> {
    table.list("burst").into_iter().filter_map(|node| burst(node, context)).collect()
}

fn burst(node: &Node, context: &Context<'_>) -> Option<Burst> {
    let table = Reader::new("`burst`", node, context.notes)?;
    let every = table.duration("every");
    let size = table.whole("size", 1, 1_000_000).map(|at| at.value);
    let rate = table.node("rate").map(|node| rate(node, context));
    let width = table.duration("width");
    let jitter = jitter(&table, context);
    let is_whole = says_burst(&table, context);
    table.finish();
    if !is_whole {
        return None;
    }
    // What is there and can't be read was told.
    let every = lasting("every", &every?, context)?;
    let form = match size {
        Some(size) => BurstForm::Size(size),
        None => BurstForm::Rate(rate??, lasting("width", &width?, context)?),
    };
    Some(Burst { every, form, jitter: jitter?, begins: 0.5 })
}

/// Whether a burst has the keys that make one.
fn says_burst(table: &Reader<'_>, context: &Context<'_>) -> bool {
    let fault = |message: &str, help: &str| context.notes.fault(table.place, message, help);
    if table.has("on") | table.has("off") {
        let help = "write `rate = 50`, `on = \"5s\"` and `off = \"10s\"` without a `burst`";
        fault("`on` and `off` go with the `rate` of a load, not with a `burst`", help);
        return false;
    }
    let has = ["every", "size", "rate", "width"].map(|key| table.has(key));
    let is_whole = matches!(has, [true, true, false, false] | [true, false, true, true]);
    if !is_whole && table.knows_all() {
        let help = "write `{ every = \"10s\", size = 500 }` or `{ every = \"10s\", rate = 2000, width = \"500ms\" }`";
        fault("a `burst` needs `every`, and `size` or `rate` with `width`", help);
    }
    is_whole
}

/// By what share of its period a burst may come early or late; none where that can't be.
fn jitter(table: &Reader<'_>, context: &Context<'_>) -> Option<f64> {
    let Some(at) = table.number("jitter") else { return Some(0.0) };
    if (0.0..=0.5).contains(&at.value) {
        return Some(at.value);
    }
    let message = format!("`jitter` is {}, not between 0 and 0.5", at.value);
    let help = "0.2 lets bursts come up to 20 % of the period off";
    context.notes.fault(&at.place, message, help);
    None
}

/// A length of time that is one.
fn lasting(key: &str, at: &At<Duration>, context: &Context<'_>) -> Option<Duration> {
    if at.value.is_zero() {
        let message = format!("`{key}` of a `burst` is no time");
        context.notes.fault(&at.place, message, format!("write `{key} = \"10s\"`"));
        return None;
    }
    Some(at.value)
}
