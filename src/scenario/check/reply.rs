//! What a step expects of its answer, and what it takes out of it.

use regex::Regex;
use serde_json_path::JsonPath;

use super::Context;
use super::templates::Names;
use crate::scenario::reader::Reader;
use crate::scenario::tree::{Entry, Node, Place, Value};
use crate::scenario::{Capture, Check, Extract, Test, Wanted};
use crate::units::Bytes;

/// What is known of tests, for faults.
const TEST_HELP: &str =
    "write a value, or a table with `exists`, `equals`, `matches`, `contains`, `min` or `max`";

/// The keys of tests.
const TESTS: [&str; 6] = ["exists", "equals", "matches", "contains", "min", "max"];

/// `expect`: one table, or several. Gives the statuses that are a success, and all checks.
pub(super) fn expect(table: &Reader<'_>, context: &Context<'_>) -> (Vec<u16>, Vec<Check>) {
    let (mut statuses, mut checks) = (Vec::new(), Vec::new());
    for node in table.list("expect") {
        let Some(expect) = Reader::new("`expect`", node, context.notes) else { continue };
        let warn = expect.bool("warn").unwrap_or(false);
        let status = self::statuses(&expect, context);
        if !warn {
            statuses.extend(status);
        } else if !status.is_empty() {
            checks.push(Check { what: Wanted::Status(status), warn });
        }
        checks.extend(wanted(&expect, context).into_iter().map(|what| Check { what, warn }));
        expect.finish();
    }
    (statuses, checks)
}

/// `status = 201`, `[200, 404]` or `"2xx"`.
fn statuses(expect: &Reader<'_>, context: &Context<'_>) -> Vec<u16> {
    let mut found = Vec::new();
    for node in expect.list("status") {
        let read = match &node.value {
            Value::Integer(status @ 100..=599) => u16::try_from(*status).ok().map(|one| one..=one),
            Value::String(text) => hundred(text),
            _ => None,
        };
        match read {
            Some(range) => found.extend(range),
            None => context.notes.fault(
                &node.place,
                "`status` is no HTTP status",
                "write `201` or `\"2xx\"`",
            ),
        }
    }
    found
}

/// `2xx` stands for 200 to 299.
fn hundred(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let digit = text.strip_suffix("xx")?.parse::<u16>().ok()?;
    (1..=5).contains(&digit).then_some(digit * 100..=digit * 100 + 99)
}

fn wanted(expect: &Reader<'_>, context: &Context<'_>) -> Vec<Wanted> {
    let mut found = Vec::new();
    for entry in expect.entries("header") {
        let name = entry.key.to_lowercase();
        let tests = tests(&entry.node, context).into_iter();
        found.extend(tests.map(|test| Wanted::Header { name: name.clone(), test }));
    }
    for entry in expect.entries("json") {
        if !is_path(&entry.key, &entry.place, context) {
            continue;
        }
        let tests = tests(&entry.node, context).into_iter();
        found.extend(tests.map(|test| Wanted::Json { path: entry.key.clone(), test }));
    }
    if let Some(node) = expect.node("body") {
        let tests = match &node.value {
            Value::String(text) => vec![Test::Contains(text.clone())],
            _ => tests(node, context),
        };
        found.extend(tests.into_iter().map(Wanted::Body));
    }
    if let Some(at) = expect.string("regex")
        && is_regex(&at.value, &at.place, context)
    {
        found.push(Wanted::Body(Test::Matches(at.value)));
    }
    found.extend(size(expect, context));
    found.extend(expect.duration("latency").map(|at| Wanted::Latency(at.value)));
    found
}

/// `size = "1MiB"` (at most), or `{ min, max }`.
fn size(expect: &Reader<'_>, context: &Context<'_>) -> Option<Wanted> {
    let node = expect.node("size")?;
    let (min, max) = if let Value::Table(_) = node.value {
        let table = Reader::new("`size`", node, context.notes)?;
        let bounds = (table.bytes("min"), table.bytes("max"));
        table.finish();
        (bounds.0.map(|at| at.value), bounds.1.map(|at| at.value))
    } else {
        (None, Some(expect.bytes("size")?.value))
    };
    Some(Wanted::Size { min: min.map_or(0, Bytes::get), max: max.map_or(u64::MAX, Bytes::get) })
}

/// A value to be equal to, or a table of tests that all must hold.
fn tests(node: &Node, context: &Context<'_>) -> Vec<Test> {
    let Value::Table(entries) = &node.value else {
        return vec![Test::Equals(node.to_json())];
    };
    let found: Vec<Test> = entries.iter().filter_map(|entry| test(entry, context)).collect();
    if entries.is_empty() {
        context.notes.fault(&node.place, "a test that asks nothing", TEST_HELP);
    }
    found
}

/// The tests that stand among other keys of a table; all must hold.
pub(super) fn tests_among(table: &Reader<'_>, context: &Context<'_>) -> Vec<Test> {
    let entries = TESTS.iter().filter_map(|key| table.entry(key));
    entries.filter_map(|entry| test(entry, context)).collect()
}

fn test(entry: &Entry, context: &Context<'_>) -> Option<Test> {
    let number = crate::scenario::reader::number;
    let read = match (entry.key.as_str(), &entry.node.value) {
        ("exists", Value::Bool(truth)) => Some(Test::Exists(*truth)),
        ("equals", _) => Some(Test::Equals(entry.node.to_json())),
        ("contains", Value::String(text)) => Some(Test::Contains(text.clone())),
        ("min", value) => number(value).map(Test::AtLeast),
        ("max", value) => number(value).map(Test::AtMost),
        ("matches", Value::String(text)) => {
            return is_regex(text, &entry.node.place, context).then(|| Test::Matches(text.clone()));
        }
        _ => None,
    };
    if read.is_none() {
        let message = format!("`{}` is no test with {}", entry.key, entry.node.value.kind());
        context.notes.fault(&entry.place, message, TEST_HELP);
    }
    read
}

fn is_regex(text: &str, place: &Place, context: &Context<'_>) -> bool {
    let parsed = Regex::new(text);
    if let Err(error) = &parsed {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim();
        context.notes.fault(place, format!("`{text}` is no regular expression: {reason}"), "");
    }
    parsed.is_ok()
}

fn is_path(text: &str, place: &Place, context: &Context<'_>) -> bool {
    let parsed = JsonPath::parse(text);
    if let Err(error) = &parsed {
        let message = format!("`{text}` is no JSONPath: {}", error.message());
        context.notes.fault(place, message, "write `$.items[0].id`");
    }
    parsed.is_ok()
}

/// `capture = { id = "json:$.id", etag = "header:etag", token = "regex:t=(.*)", code = "status" }`;
/// and all names in it, those of captures that can't be read too.
pub(super) fn captures<'a>(
    table: &Reader<'a>,
    context: &Context<'_>,
) -> (Vec<Capture>, Vec<&'a str>) {
    let (mut found, mut names) = (Vec::new(), Vec::new());
    for entry in table.entries("capture") {
        names.push(entry.key.as_str());
        if !Names::is_fit(&entry.key) {
            let message = format!("a captured value can't be called `{}`", entry.key);
            let help = "letters, digits and `_`, and no name that templates have already";
            context.notes.fault(&entry.place, message, help);
        }
        if let Some(from) = extract(&entry.node, context) {
            found.push(Capture { name: entry.key.clone(), from });
        }
    }
    (found, names)
}

pub(super) fn extract(node: &Node, context: &Context<'_>) -> Option<Extract> {
    let help = "write `json:$.id`, `header:etag`, `regex:token=(\\w+)` or `status`";
    let Value::String(text) = &node.value else {
        let message = format!("a capture is {}, not a string", node.value.kind());
        context.notes.fault(&node.place, message, help);
        return None;
    };
    let (kind, what) = text.split_once(':').unwrap_or((text, ""));
    match kind.trim() {
        "json" => is_path(what, &node.place, context).then(|| Extract::Json(what.to_owned())),
        "header" => Some(Extract::Header(what.trim().to_lowercase())),
        "regex" => is_regex(what, &node.place, context).then(|| Extract::Regex(what.to_owned())),
        "status" => Some(Extract::Status),
        _ => {
            context.notes.fault(&node.place, format!("`{text}` captures nothing"), help);
            None
        }
    }
}
