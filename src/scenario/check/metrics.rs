//! `tags`, and `metrics` of the scenario's own.

use std::collections::BTreeMap;

use super::{Context, reply};
use crate::scenario::reader::Reader;
use crate::scenario::tree::{Entry, Value};
use crate::scenario::words::{CustomKind, CustomMetric, Gives};

const HELP: &str = "write `{ rate = \"header:x-cache\", equals = \"HIT\" }`, \
                    `{ counter = \"json:$.items\" }` or `{ counter = 1 }`";

/// Whether a metric or a tag can be written in a rule under this name.
fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
}

/// `tags = { team = "shop" }`, of a scenario or of a step.
pub(super) fn tags(table: &Reader<'_>, context: &Context<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (entry, value) in table.texts("tags") {
        let key = entry.key.as_str();
        if !is_word(key) || context.rules.is_some_and(|rules| rules.is_tag(key)) {
            let message = format!("a tag can't be called `{key}`");
            let help = "letters, digits, `_` and `-`, and no tag that requests have already";
            context.notes.fault(&entry.place, message, help);
            continue;
        }
        if value.contains([',', '{', '}']) {
            let message = format!("the tag `{key}` can't be `{value}`");
            let help = "a rule has to name it: leave commas and braces out";
            context.notes.fault(&entry.node.place, message, help);
            continue;
        }
        context.words.borrow_mut().tags.insert(key.to_owned());
        found.insert(key.to_owned(), value);
    }
    found
}

/// `metrics = { cache_hits = { rate = "header:x-cache", equals = "HIT" } }`
pub(super) fn metrics(table: &Reader<'_>, context: &Context<'_>) -> Vec<CustomMetric> {
    let entries = table.entries("metrics").iter();
    entries.filter_map(|entry| metric(entry, context)).collect()
}

fn metric(entry: &Entry, context: &Context<'_>) -> Option<CustomMetric> {
    let name = entry.key.as_str();
    if !is_word(name) || context.rules.is_some_and(|rules| rules.is_metric(name)) {
        let message = format!("a metric can't be called `{name}`");
        let help = "letters, digits, `_` and `-`, and no metric that there is already";
        context.notes.fault(&entry.place, message, help);
        return None;
    }
    let table = Reader::new(format!("the metric `{name}`"), &entry.node, context.notes)?;
    let kind = match (table.has("rate"), table.has("counter")) {
        (true, false) => CustomKind::Rate,
        (false, true) => CustomKind::Counter,
        _ => {
            let message = format!("the metric `{name}` needs either `rate` or `counter`");
            context.notes.fault(table.place, message, HELP);
            return None;
        }
    };
    let gives = gives(&table, kind, context);
    let tests = reply::tests_among(&table, context);
    table.finish();
    if let (Some(Gives::Fixed(_)), false) = (&gives, tests.is_empty()) {
        let message = format!("the metric `{name}` tests a number that is always the same");
        context.notes.fault(&entry.place, message, HELP);
        return None;
    }
    let Some(id) = context.words.borrow_mut().add_metric(name, kind) else {
        let message = format!("`{name}` is a rate in one step and a counter in another");
        context.notes.fault(&entry.place, message, "give each a name of its own");
        return None;
    };
    Some(CustomMetric { id, kind, gives: gives?, tests })
}

fn gives(table: &Reader<'_>, kind: CustomKind, context: &Context<'_>) -> Option<Gives> {
    let node = table.node(match kind {
        CustomKind::Rate => "rate",
        CustomKind::Counter => "counter",
    })?;
    match &node.value {
        Value::Integer(number) if kind == CustomKind::Counter && *number >= 0 => {
            u64::try_from(*number).ok().map(Gives::Fixed)
        }
        Value::String(_) => reply::extract(node, context).map(Gives::Found),
        other => {
            let message = format!("a metric can't be fed by {}", other.kind());
            context.notes.fault(&node.place, message, HELP);
            None
        }
    }
}
