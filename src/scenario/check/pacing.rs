//! What shapes the arrivals of an open load beside its rate: gaps, surges, being on and off.

use std::time::Duration;

use super::Context;
use super::phases::rate;
use crate::scenario::reader::{At, Reader};
use crate::scenario::tree::{Node, Value};
use crate::scenario::{Arrivals, Burst, BurstForm};
use crate::units::Rate;

const ARRIVALS_HELP: &str = "write `even`, `poisson`, `pareto`, `lognormal`, `{ pareto = 1.5 }` or \
                             `{ lognormal = 1.5 }`";

/// `"poisson"`, or a heavy tail with its shape: `{ pareto = 1.5 }`.
pub(super) fn arrivals(table: &Reader<'_>, context: &Context<'_>) -> Arrivals {
    let Some(node) = table.node("arrivals") else { return Arrivals::Even };
    let message = match &node.value {
        Value::String(text) => match text.as_str() {
            "even" => return Arrivals::Even,
            "poisson" => return Arrivals::Poisson,
            "pareto" => return Arrivals::Pareto(1.5),
            "lognormal" => return Arrivals::LogNormal(1.5),
            other => format!("`arrivals` can't be `{other}`"),
        },
        Value::Table(_) => return heavy_tailed(table, context).unwrap_or(Arrivals::Even),
        other => format!("`arrivals` is {}, and says no spacing", other.kind()),
    };
    context.notes.fault(&node.place, message, ARRIVALS_HELP);
    Arrivals::Even
}

/// A distribution of gaps with its shape; none where that can't be told from its keys.
fn heavy_tailed(table: &Reader<'_>, context: &Context<'_>) -> Option<Arrivals> {
    let inner = table.table("arrivals")?;
    let (place, notes) = (inner.place, context.notes);
    let (pareto, log_normal) = (inner.number("pareto"), inner.number("lognormal"));
    let given = (inner.has("pareto"), inner.has("lognormal"));
    // A wrong key may have been meant to say it.
    let is_lacking = given == (false, false) && inner.knows_all();
    inner.finish();
    if is_lacking {
        notes.fault(place, "`arrivals` says no spacing", ARRIVALS_HELP);
    }
    if given == (true, true) {
        notes.fault(place, "`arrivals` says two spacings", ARRIVALS_HELP);
        return None;
    }
    let bounded = |at: &At<f64>, least: f64, most: f64| {
        if !(least..=most).contains(&at.value) {
            let message = format!("{} is not between {least} and {most}", at.value);
            notes.fault(&at.place, message, "1.5 is a heavy tail");
        }
        at.value.clamp(least, most)
    };
    let pareto = pareto.map(|shape| Arrivals::Pareto(bounded(&shape, 1.05, 10.0)));
    pareto.or_else(|| log_normal.map(|sigma| Arrivals::LogNormal(bounded(&sigma, 0.1, 3.0))))
}

/// Keys that shape a rate.
const SHAPES: [&str; 3] = ["surge", "on", "off"];

/// Notes what shapes a rate where there is none.
pub(super) fn needs_rate(table: &Reader<'_>, context: &Context<'_>) {
    let given: Vec<&str> = SHAPES.into_iter().filter(|key| table.has(key)).collect();
    if given.is_empty() || table.has("rate") {
        return;
    }
    let (named, verb) = (given.join("` and `"), if given.len() == 1 { "goes" } else { "go" });
    let message = format!("`{named}` {verb} with one `rate`, and this load has none");
    context.notes.fault(table.place, message, "write `rate = 50` instead of other pacing");
}

/// A crowd that comes once: up to a higher rate, there for a while, and back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surge {
    to: Rate,
    at: Duration,
    rise: Duration,
    stays: Duration,
    fall: Duration,
}

/// `{ to = "10x", at = "30s", for = "10s", rise = "1s", fall = "5s" }`
pub(super) fn surge(table: &Reader<'_>, context: &Context<'_>) -> Option<Surge> {
    let inner = table.table("surge")?;
    let to = inner.node("to").map(|node| rate(node, context));
    let duration = |key| inner.duration(key).map(|at| at.value);
    let (at, stays) = (duration("at"), duration("for"));
    let (rise, fall) = (duration("rise"), duration("fall"));
    let (place, is_whole) = (inner.place, ["to", "at", "for"].iter().all(|key| inner.has(key)));
    inner.finish();
    if !is_whole {
        let help = "write `{ to = \"10x\", at = \"30s\", for = \"10s\" }`; `rise` and `fall` too";
        context.notes.fault(place, "a `surge` needs `to`, `at` and `for`", help);
    }
    let (rise, fall) = (rise.unwrap_or_default(), fall.unwrap_or_default());
    Some(Surge { to: to??, at: at?, rise, stays: stays?, fall })
}

impl Surge {
    /// The stages of a load at `base`; none where the surge doesn't fit into its length.
    pub(super) fn stages(self, base: Rate, length: Duration) -> Option<Stages> {
        let Self { to, at, rise, stays, fall } = self;
        let rest = length.checked_sub(at + rise + stays + fall)?;
        let stages = [
            (base, base, at),
            (base, to, rise),
            (to, to, stays),
            (to, base, fall),
            (base, base, rest),
        ];
        Some(stages.into_iter().filter(|stage| !stage.2.is_zero()).collect())
    }
}

/// `on = "5s"` and `off = "10s"`: how long arrivals come, and how long none do.
pub(super) fn on_off(table: &Reader<'_>, context: &Context<'_>) -> Option<(Duration, Duration)> {
    let (on, off) = (table.duration("on"), table.duration("off"));
    let help = "write `on = \"5s\"` and `off = \"10s\"`";
    if table.has("on") != table.has("off") {
        let message = "a load is on and off by turns: say both";
        context.notes.fault(table.place, message, help);
    }
    let (on, off) = (on?, off?);
    if on.value.is_zero() {
        context.notes.fault(&on.place, "`on` for no time sends nothing", help);
        return None;
    }
    Some((on.value, off.value))
}

/// A rate that is on and off by turns, as bursts that fill their part of each period.
pub(super) fn in_turns(rate: Rate, (on, off): (Duration, Duration)) -> Burst {
    Burst { every: on + off, form: BurstForm::Rate(rate, on), jitter: 0.0, begins: 0.0 }
}

/// From, to, how long.
type Stages = Vec<(Rate, Rate, Duration)>;

/// The stages of a rate, and the bursts that being on and off makes of it.
pub(super) fn shape(
    table: &Reader<'_>,
    rate: &Node,
    range: (Rate, Rate),
    length: Duration,
    context: &Context<'_>,
) -> Option<(Stages, Vec<Burst>)> {
    let plain = vec![(range.0, range.1, length)];
    let (surge, turns) = (surge(table, context), on_off(table, context));
    if surge.is_none() && turns.is_none() {
        return Some((plain, Vec::new()));
    }
    if range.0 != range.1 || (surge.is_some() && turns.is_some()) {
        let message = "`surge`, `on` and `off` go with one rate that stands still";
        context.notes.fault(&rate.place, message, "write the curve as `stages`");
        return None;
    }
    if let Some(turns) = turns {
        let idle = (Rate::default(), Rate::default(), length);
        return Some((vec![idle], vec![in_turns(range.0, turns)]));
    }
    let stages = surge.and_then(|surge| surge.stages(range.0, length));
    if stages.is_none() {
        let help = "make the load longer, or the surge earlier or shorter";
        context.notes.fault(&rate.place, "the `surge` is not over when its load is", help);
    }
    Some((stages?, Vec::new()))
}
