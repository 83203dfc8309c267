//! `[[at]]`: what is done at a set time, beside the traffic.

use std::time::Duration;

use super::Context;
use super::steps::{self, METHODS};
use super::target::signal;
use super::templates::Names;
use crate::scenario::reader::{At, Reader, nearest};
use crate::scenario::tree::{Node, Value};
use crate::scenario::{Action, Deed, Flow, Pace, Phase};

/// The shortest time from one to the next.
const SHORTEST: Duration = Duration::from_millis(100);

/// Reads all of them; the scenarios of their requests come after those of `flows` others.
pub(super) fn actions(
    root: &Reader<'_>,
    phases: &[Phase],
    flows: usize,
    context: &Context<'_>,
) -> Vec<Action> {
    root.list("at").into_iter().filter_map(|node| action(node, phases, flows, context)).collect()
}

fn action(node: &Node, phases: &[Phase], flows: usize, context: &Context<'_>) -> Option<Action> {
    let table = Reader::new("`[[at]]`", node, context.notes)?;
    let every = every(&table, context);
    let when = table.duration("when");
    let phase = table.string("phase");
    if !table.has("when") && !table.has("every") {
        let message = "an action needs a time";
        context.notes.fault(
            table.place,
            message,
            "write `when = \"30s\"`, `every = \"1m\"` or both",
        );
    }
    let first = when.as_ref().map(|at| at.value).or(every).unwrap_or_default();
    if let Some(phase) = &phase {
        within_phase(phase, first, phases, context);
    } else if !phases.is_empty() {
        within_run(when.as_ref(), first, &table, phases, context);
    }
    let deed = deed(&table, flows, context);
    let place = table.place.clone();
    table.finish();
    let phase = phase.map(|at| at.value);
    Some(Action { when: first, every, phase, deed: deed?, place })
}

fn every(table: &Reader<'_>, context: &Context<'_>) -> Option<Duration> {
    let at = table.duration("every")?;
    if at.value < SHORTEST {
        let message = "`every` is shorter than 100 ms";
        context.notes.fault(&at.place, message, "what comes so often belongs into a phase");
    }
    Some(at.value.max(SHORTEST))
}

/// Exactly one of `exec`, `signal` and a request.
fn deed(table: &Reader<'_>, flows: usize, context: &Context<'_>) -> Option<Deed> {
    let program = exec(table, context);
    let named = table.string("signal").map(|at| signal(&at, context));
    let requests = METHODS.into_iter().filter(|method| table.has(method)).count();
    let given = usize::from(table.has("exec")) + usize::from(table.has("signal")) + requests;
    if given != 1 {
        let message = "an action does exactly one thing";
        let help = "write `post = \"/path\"` (or another request), `exec = [\"program\"]` or \
                    `signal = \"SIGHUP\"`";
        context.notes.fault(table.place, message, help);
        return None;
    }
    if requests == 0 {
        return program.map(Deed::Exec).or(named.map(Deed::Signal));
    }
    let step = steps::request(table, &mut Names::default(), context)?;
    let mut others = context.replayed.borrow_mut();
    let number = others.iter().filter(|flow| flow.name.starts_with("at")).count();
    let name = if number == 0 { "at".to_owned() } else { format!("at {}", number + 1) };
    let deed = Deed::Request { flow: flows + others.len(), label: step.label.clone() };
    others.push(Flow { name, weight: 0, steps: vec![step], ..Flow::default() });
    Some(deed)
}

/// A list of program and arguments; a string goes to the shell.
fn exec(table: &Reader<'_>, context: &Context<'_>) -> Option<Vec<String>> {
    let node = table.node("exec")?;
    let words = match &node.value {
        Value::String(text) => vec!["/bin/sh".to_owned(), "-c".to_owned(), text.clone()],
        _ => table.strings("exec"),
    };
    if words.first().is_none_or(|word| word.trim().is_empty()) {
        context.notes.fault(&node.place, "`exec` names no program", "write `exec = [\"program\"]`");
        return None;
    }
    Some(words)
}

fn within_phase(named: &At<String>, first: Duration, phases: &[Phase], context: &Context<'_>) {
    match phases.iter().find(|phase| phase.name == named.value) {
        Some(phase) if first >= phase.length => {
            let message = format!("the phase `{}` is over by then", named.value);
            context.notes.fault(&named.place, message, "lower `when`");
        }
        Some(_) => {}
        None => {
            let names: Vec<&str> = phases.iter().map(|phase| phase.name.as_str()).collect();
            let message = format!("no phase is called `{}`", named.value);
            context.notes.fault(&named.place, message, nearest(&named.value, &names));
        }
    }
}

/// A time of the whole run has to lie in a phase of which the start is known.
fn within_run(
    when: Option<&At<Duration>>,
    first: Duration,
    table: &Reader<'_>,
    phases: &[Phase],
    context: &Context<'_>,
) {
    let place = when.map_or(table.place, |at| &at.place);
    let mut begins = Duration::ZERO;
    for phase in phases {
        let ends = begins + phase.length;
        if first < ends {
            return;
        }
        if is_counted(phase) {
            let message = format!("it isn't known when the phase `{}` ends", phase.name);
            let help = "name the phase that the action belongs to: `phase = \"…\"`";
            context.notes.fault(place, message, help);
            return;
        }
        begins = ends;
    }
    context.notes.fault(place, "the last phase is over by then", "lower `when`");
}

/// Whether a phase is over when its iterations are.
fn is_counted(phase: &Phase) -> bool {
    let counted = |pace: &Pace| matches!(pace, Pace::Closed { iterations: Some(_), .. });
    !phase.loads.is_empty() && phase.loads.iter().all(|load| counted(&load.pace))
}
