//! Pauses of users.

use std::time::Duration;

use super::Context;
use crate::scenario::Think;
use crate::scenario::reader::Reader;
use crate::scenario::tree::Value;
use crate::units::parse_duration;

/// The longest pause that is drawn where nothing else is said.
const MOST: Duration = Duration::from_secs(3600);

/// Keys that say how a pause comes about.
const KINDS: [&str; 3] = ["mean", "median", "pace"];

const HELP: &str = "write `1s`, `1s..3s`, `{ mean = \"2s\" }`, `{ median = \"1s\", sigma = 1 }` or \
                    `{ pace = \"1s\" }`";

/// `"1s"`, `"1s..3s"`, exponential `{ mean }`, log-normal `{ median, sigma }`, or `{ pace }`.
pub(super) fn think(step: &Reader<'_>, context: &Context<'_>) -> Think {
    match step.node("think") {
        None => Think::None,
        Some(node) if matches!(node.value, Value::Table(_)) => {
            let Some(table) = step.table("think") else { return Think::None };
            let drawn = drawn(&table, context);
            table.finish();
            drawn.unwrap_or_default()
        }
        Some(_) => range(step, context),
    }
}

fn range(step: &Reader<'_>, context: &Context<'_>) -> Think {
    let Some(at) = step.string("think") else { return Think::None };
    let (min, max) = at.value.split_once("..").unwrap_or((&at.value, &at.value));
    match (parse_duration(min), parse_duration(max)) {
        (Ok(min), Ok(max)) if min <= max => return Think::Between(min, max),
        (Ok(_), Ok(_)) => {
            context.notes.fault(&at.place, "`think` ends before it begins", "write `1s..3s`");
        }
        (Err(error), _) | (_, Err(error)) => {
            context.notes.fault(&at.place, format!("`think`: {error}"), HELP);
        }
    }
    Think::None
}

/// A pause left to chance, or paced; none where that can't be told from its keys.
fn drawn(table: &Reader<'_>, context: &Context<'_>) -> Option<Think> {
    let fault = |message: String, help: &str| context.notes.fault(table.place, message, help);
    let (sigma, most) = (table.number("sigma"), table.duration("max"));
    if let Some(bad) = sigma.as_ref().filter(|sigma| !(0.01..=10.0).contains(&sigma.value)) {
        context.notes.fault(&bad.place, "`sigma` is not between 0.01 and 10", "1 is a wide spread");
    }
    let mut given = KINDS.into_iter().filter(|key| table.has(key));
    let kind = given.next();
    if given.count() > 0 {
        fault("`think` has several of `mean`, `median` and `pace`".to_owned(), "keep one of them");
        return None;
    }
    let Some(kind) = kind else {
        // A wrong key may have been meant to say it.
        if table.knows_all() {
            fault("`think` says no pause".to_owned(), HELP);
        }
        return None;
    };
    let pause = table.duration(kind)?.value;
    if pause.is_zero() {
        fault(format!("a `{kind}` of no time is no pause"), "write `1s`, or leave `think` out");
        return None;
    }
    if kind != "median" && table.has("sigma") {
        fault("`sigma` goes with `median`".to_owned(), HELP);
    }
    if kind == "pace" && table.has("max") {
        fault("`max` goes with `mean` and `median`".to_owned(), "leave `max` out");
    }
    let most = most.map_or(MOST, |at| at.value);
    Some(match kind {
        "mean" => Think::Exponential { mean: pause, most },
        "median" => {
            let sigma = sigma.map_or(1.0, |at| at.value.clamp(0.01, 10.0));
            Think::LogNormal { median: pause, sigma, most }
        }
        _ => Think::Paced(pause),
    })
}
