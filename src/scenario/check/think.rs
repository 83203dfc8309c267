//! Pauses of users.

use std::time::Duration;

use super::Context;
use crate::scenario::Think;
use crate::scenario::reader::Reader;
use crate::scenario::tree::Value;
use crate::units::parse_duration;

/// The longest pause that is drawn where nothing else is said.
const MOST: Duration = Duration::from_secs(3600);

const HELP: &str = "write `1s`, `1s..3s`, `{ mean = \"2s\" }`, `{ median = \"1s\", sigma = 1 }` or \
                    `{ pace = \"1s\" }`";

/// `"1s"`, `"1s..3s"`, exponential `{ mean }`, log-normal `{ median, sigma }`, or `{ pace }`.
pub(super) fn think(step: &Reader<'_>, context: &Context<'_>) -> Think {
    match step.node("think") {
        None => Think::None,
        Some(node) if matches!(node.value, Value::Table(_)) => {
            let Some(table) = step.table("think") else { return Think::None };
            let place = table.place;
            let drawn = drawn(&table, context);
            table.finish();
            drawn.unwrap_or_else(|| {
                context.notes.fault(place, "`think` says no pause", HELP);
                Think::None
            })
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

/// A pause left to chance, or paced; none where no key says which.
fn drawn(table: &Reader<'_>, context: &Context<'_>) -> Option<Think> {
    let duration = |key| table.duration(key).map(|at| at.value);
    let (mean, median, pace) = (duration("mean"), duration("median"), duration("pace"));
    let (sigma, most) = (table.number("sigma"), duration("max").unwrap_or(MOST));
    if let Some(bad) = sigma.as_ref().filter(|sigma| !(0.01..=10.0).contains(&sigma.value)) {
        context.notes.fault(&bad.place, "`sigma` is not between 0.01 and 10", "1 is a wide spread");
    }
    let given = [mean, median, pace].into_iter().flatten().next()?;
    if [mean, median, pace].into_iter().flatten().count() > 1 || given.is_zero() {
        return None;
    }
    Some(match (mean, median, sigma) {
        (Some(mean), _, None) => Think::Exponential { mean, most },
        (_, Some(median), sigma) => {
            let sigma = sigma.map_or(1.0, |at| at.value.clamp(0.01, 10.0));
            Think::LogNormal { median, sigma, most }
        }
        (None, None, None) => Think::Paced(given),
        _ => return None,
    })
}
