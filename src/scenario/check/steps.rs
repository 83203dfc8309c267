//! `[[scenario]]` and its steps.

use std::time::Duration;

use super::Context;
use crate::scenario::reader::{At, Notes, Reader};
use crate::scenario::tree::{Node, Value};
use crate::scenario::{Body, Flow, Step};
use crate::units::{Bytes, parse_duration};

const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "head", "options"];

/// The largest body: each request in flight holds one.
const BODY_MAX: Bytes = Bytes::from_mib(256);

/// Names of quantiles in a size distribution.
const QUANTILES: [(&str, f64); 9] = [
    ("min", 0.0),
    ("p10", 0.1),
    ("p25", 0.25),
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("max", 1.0),
];

pub(super) fn flows(root: &Reader<'_>, context: &Context<'_>) -> Vec<Flow> {
    let mut flows: Vec<Flow> = Vec::new();
    for node in root.list("scenario") {
        let Some(table) = Reader::new("`[[scenario]]`", node, context.notes) else { continue };
        let name = table.string("name");
        let place = name.as_ref().map_or_else(|| node.place.clone(), |at| at.place.clone());
        let name = name.map_or_else(|| format!("scenario {}", flows.len() + 1), |at| at.value);
        if flows.iter().any(|flow| flow.name == name) {
            let message = format!("two scenarios are called `{name}`");
            context.notes.fault(&place, message, "give each a name of its own");
        }
        let weight = table.whole("weight", 1, 1_000_000);
        let weight = weight.and_then(|at| u32::try_from(at.value).ok()).unwrap_or(1);
        for key in ["setup", "on-start", "on-stop", "feed"] {
            table.unsupported(key);
        }
        let steps: Vec<Step> =
            table.list("step").into_iter().filter_map(|node| step(node, context)).collect();
        if steps.is_empty() && table.list("step").is_empty() {
            let message = format!("the scenario `{name}` has no step");
            context.notes.fault(&place, message, "add a `[[scenario.step]]` with `get = \"/\"`");
        }
        table.finish();
        flows.push(Flow { name, weight, steps });
    }
    flows
}

fn step(node: &Node, context: &Context<'_>) -> Option<Step> {
    let table = Reader::new("`[[scenario.step]]`", node, context.notes)?;
    let mut requests: Vec<(&'static str, At<String>)> = METHODS
        .into_iter()
        .filter_map(|method| table.string(method).map(|path| (method, path)))
        .collect();
    let named = table.string("name").map(|at| at.value);
    let headers = headers(&table, context);
    let body = body(&table, context);
    let expect_status = expect(&table, context);
    let think = think(&table, context);
    table.unsupported("capture");
    let place = table.place.clone();
    table.finish();
    if requests.len() != 1 {
        let message = "a step needs exactly one request";
        context.notes.fault(&place, message, "write `get = \"/path\"` or `post = \"/path\"`");
        return None;
    }
    let (method, path) = requests.remove(0);
    if !path.value.starts_with('/') {
        let message = format!("`{}` is no path", path.value);
        let help = "a path begins with a slash; requests go to the target only";
        context.notes.fault(&path.place, message, help);
    }
    if path.value.chars().any(|c| c.is_whitespace() || c.is_control()) {
        context.notes.fault(&path.place, "a path holds no spaces", "write %20 for a space");
    }
    refuse_template(&path.value, &path.place, context.notes);
    let method = method.to_uppercase();
    let label = named.unwrap_or_else(|| format!("{method} {}", path.value));
    Some(Step { label, method, path: path.value, headers, body, expect_status, think })
}

fn refuse_template(text: &str, place: &crate::scenario::Place, notes: &Notes) {
    if text.contains("{{") {
        let message = "templates (`{{…}}`) are not supported by this version";
        notes.fault(place, message, "write the text as it is to be sent");
    }
}

fn headers(table: &Reader<'_>, context: &Context<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in table.entries("headers") {
        let Value::String(value) = &entry.node.value else {
            let message = format!("the header `{}` is {}", entry.key, entry.node.value.kind());
            context.notes.fault(&entry.node.place, message, "a header is a string");
            continue;
        };
        let name = hyper::header::HeaderName::from_bytes(entry.key.as_bytes());
        if name.is_err() || hyper::header::HeaderValue::from_str(value).is_err() {
            let message = format!("`{}` can't be sent as a header", entry.key);
            context.notes.fault(&entry.place, message, "names and values are plain ASCII");
        }
        refuse_template(value, &entry.node.place, context.notes);
        found.push((entry.key.to_lowercase(), value.clone()));
    }
    found
}

fn body(table: &Reader<'_>, context: &Context<'_>) -> Body {
    if !table.has("body") {
        return Body::Empty;
    }
    let Some(body) = table.table("body") else { return Body::Empty };
    for key in ["grow", "sizes-from", "form", "multipart"] {
        body.unsupported(key);
    }
    let kinds: Vec<&'static str> =
        ["text", "file", "json"].into_iter().filter(|key| is_content(&body, key)).collect();
    let read = match (kinds.as_slice(), body.node("size")) {
        ([], Some(size)) => sized(&body, size, context),
        (["text"], None) => body.string("text").map(|at| {
            refuse_template(&at.value, &at.place, context.notes);
            Body::Text(at.value)
        }),
        (["file"], None) => body.string("file").and_then(|at| file(&at, context)),
        (["json"], None) => body.node("json").map(|node| {
            let json = node.to_json();
            refuse_template(&json.to_string(), &node.place, context.notes);
            Body::Json(json)
        }),
        _ => {
            let message = "`body` needs exactly one content";
            let help = "one of `json`, `text`, `file` and `size`; `json = true` and `text = true` go with `size`";
            context.notes.fault(body.place, message, help);
            None
        }
    };
    body.finish();
    read.unwrap_or(Body::Empty)
}

/// Whether a key is content; `json = true` only says what a made-up body is like.
fn is_content(body: &Reader<'_>, key: &'static str) -> bool {
    body.node(key).is_some_and(|node| !matches!(node.value, Value::Bool(_)))
}

fn file(at: &At<String>, context: &Context<'_>) -> Option<Body> {
    let path = context.path(&at.value);
    let length = std::fs::metadata(&path).map_or(0, |meta| meta.len());
    if Bytes::new(length) > BODY_MAX {
        let message = format!("the body file `{}` is too large", path.display());
        context.notes.fault(&at.place, message, format!("{BODY_MAX} at most"));
        return None;
    }
    match std::fs::read(&path) {
        Ok(bytes) => Some(Body::File(path, bytes)),
        Err(error) => {
            let message = format!("failed to read the body file `{}`: {error}", path.display());
            let help = "paths are relative to the scenario's directory";
            context.notes.fault(&at.place, message, help);
            None
        }
    }
}

/// `"200KiB"`, or quantiles: `{ p50 = "20KiB", p99 = "200KiB", max = "2MiB" }`.
fn sized(body: &Reader<'_>, size: &Node, context: &Context<'_>) -> Option<Body> {
    let json = body.bool("json").unwrap_or(false);
    if json && body.bool("text") == Some(true) {
        let message = "`body` is to be JSON and text at once";
        context.notes.fault(body.place, message, "keep `json = true` or `text = true`");
    }
    body.has("text");
    let mut points: Vec<(f64, Bytes)> = if let Value::Table(_) = size.value {
        let table = body.table("size")?;
        let found = QUANTILES
            .iter()
            .filter_map(|(name, quantile)| Some((*quantile, table.bytes(name)?.value)))
            .collect();
        table.finish();
        found
    } else {
        let fixed = body.bytes("size")?.value;
        vec![(0.0, fixed), (1.0, fixed)]
    };
    let (Some(first), Some(last)) = (points.first().copied(), points.last().copied()) else {
        let help = "give some of min, p10, p25, p50, p75, p90, p95, p99, max";
        context.notes.fault(&size.place, "`size` has no quantile", help);
        return None;
    };
    // Below the least given quantile all are of that size; above the greatest too.
    if first.0 > 0.0 {
        points.insert(0, (0.0, first.1));
    }
    if last.0 < 1.0 {
        points.push((1.0, last.1));
    }
    if points.windows(2).any(|pair| pair[0].1 > pair[1].1) {
        let message = "a higher quantile is smaller than a lower one";
        context.notes.fault(&size.place, message, "sizes must not fall: p50 ≤ p99 ≤ max");
        return None;
    }
    if last.1 > BODY_MAX {
        let message = format!("bodies of {} are too large", last.1);
        context.notes.fault(&size.place, message, format!("{BODY_MAX} at most"));
        return None;
    }
    Some(Body::Sized { points, json })
}

fn expect(table: &Reader<'_>, context: &Context<'_>) -> Vec<u16> {
    let Some(expect) = table.table("expect") else { return Vec::new() };
    let mut found = Vec::new();
    for node in expect.list("status") {
        match node.value {
            Value::Integer(status @ 100..=599) => found.extend(u16::try_from(status)),
            _ => context.notes.fault(&node.place, "`status` is no HTTP status", "write `201`"),
        }
    }
    for key in ["json", "header", "body", "regex", "size", "latency", "warn"] {
        expect.unsupported(key);
    }
    expect.finish();
    found
}

/// `"1s"`, or `"1s..3s"`.
fn think(table: &Reader<'_>, context: &Context<'_>) -> (Duration, Duration) {
    let Some(at) = table.string("think") else { return (Duration::ZERO, Duration::ZERO) };
    let (min, max) = at.value.split_once("..").unwrap_or((&at.value, &at.value));
    match (parse_duration(min), parse_duration(max)) {
        (Ok(min), Ok(max)) if min <= max => (min, max),
        (Ok(_), Ok(_)) => {
            context.notes.fault(&at.place, "`think` ends before it begins", "write `1s..3s`");
            (Duration::ZERO, Duration::ZERO)
        }
        (Err(error), _) | (_, Err(error)) => {
            context.notes.fault(&at.place, format!("`think`: {error}"), "write `1s` or `1s..3s`");
            (Duration::ZERO, Duration::ZERO)
        }
    }
}
