//! `[[scenario]]` and its steps.

use hyper::header::{HeaderName, HeaderValue};

use super::Context;
use super::templates::{self, Names};
use super::{body, feed, metrics, reply, think};
use crate::scenario::reader::{At, Reader};
use crate::scenario::tree::{Entry, Node, Value};
use crate::scenario::{Flow, Step, is_template, unsendable};

pub(super) const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "head", "options"];

/// The most redirects that may be followed in a row.
const REDIRECTS_MAX: u64 = 20;

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
        let flow = flow(&table, name, context);
        if flow.steps.is_empty() && table.list("step").is_empty() {
            let message = format!("the scenario `{}` has no step", flow.name);
            context.notes.fault(&place, message, "add a `[[scenario.step]]` with `get = \"/\"`");
        }
        table.finish();
        flows.push(flow);
    }
    flows
}

fn flow(table: &Reader<'_>, name: String, context: &Context<'_>) -> Flow {
    let weight = table.whole("weight", 1, 1_000_000);
    let weight = weight.and_then(|at| u32::try_from(at.value).ok()).unwrap_or(1);
    let mut names = Names::default();
    // Set up before there is any user, and so before any record is taken.
    let setup = steps(table, "setup", &mut names, context);
    let feed = feed::feed(table, &mut names, context);
    let on_start = steps(table, "on-start", &mut names, context);
    let at_start = names.clone();
    let own = steps(table, "step", &mut names, context);
    // A user may stop before its first run has captured anything.
    let on_stop = steps(table, "on-stop", &mut at_start.clone(), context);
    let mut flow = Flow { name, weight, setup, on_start, steps: own, on_stop, feed };
    let tags = metrics::tags(table, context);
    for step in flow.all_steps_mut() {
        for (tag, value) in &tags {
            step.tags.entry(tag.clone()).or_insert_with(|| value.clone());
        }
    }
    flow
}

fn steps(
    table: &Reader<'_>,
    key: &'static str,
    names: &mut Names,
    context: &Context<'_>,
) -> Vec<Step> {
    table.list(key).into_iter().filter_map(|node| step(key, node, names, context)).collect()
}

fn step(key: &str, node: &Node, names: &mut Names, context: &Context<'_>) -> Option<Step> {
    let table = Reader::new(format!("`[[scenario.{key}]]`"), node, context.notes)?;
    let think = think::think(&table, context);
    let step = request(&table, names, context);
    table.finish();
    Some(Step { think, ..step? })
}

/// The request that a table describes, without a pause before it.
pub(super) fn request(
    table: &Reader<'_>,
    names: &mut Names,
    context: &Context<'_>,
) -> Option<Step> {
    let mut requests: Vec<(&'static str, At<String>)> = METHODS
        .into_iter()
        .filter_map(|method| table.string(method).map(|path| (method, path)))
        .collect();
    let named = table.string("name").map(|at| at.value);
    let headers = headers(table, names, context);
    let request = requests.first().map_or(("", ""), |(method, path)| (*method, &*path.value));
    let (body, transfer) = body::body(table, request, names, context);
    let query = query(table, names, context);
    let (expect_status, checks) = reply::expect(table, context);
    let (captures, captured) = reply::captures(table, context);
    let metrics = metrics::metrics(table, context);
    let tags = metrics::tags(table, context);
    let redirects = table.whole("redirects", 0, REDIRECTS_MAX).map_or(0, |at| at.value);
    let request = (requests.len() == 1).then(|| requests.remove(0));
    if let Some((_, path)) = &request {
        check_path(path, names, context);
    } else {
        let message = "a step needs exactly one request";
        context.notes.fault(table.place, message, "write `get = \"/path\"` or `post = \"/path\"`");
    }
    // What this very answer gives, it can't be asked with.
    for name in captured {
        names.add(name);
    }
    let (method, path) = request?;
    let method = method.to_uppercase();
    let label = named.unwrap_or_else(|| format!("{method} {}", path.value));
    let path = with_query(path.value, &query);
    let redirects = u8::try_from(redirects).unwrap_or(u8::MAX);
    let reply = crate::scenario::Reply { captures, checks, metrics, redirects };
    let think = crate::scenario::Think::None;
    Some(Step { label, method, path, headers, body, expect_status, reply, transfer, think, tags })
}

fn check_path(path: &At<String>, names: &Names, context: &Context<'_>) {
    let templated = is_template(&path.value);
    if !path.value.starts_with('/') && !path.value.starts_with("{{") {
        let message = format!("`{}` is no path", path.value);
        let help = "a path begins with a slash; requests go to the target only";
        context.notes.fault(&path.place, message, help);
    }
    if !templated && path.value.chars().any(|c| c.is_whitespace() || c.is_control()) {
        context.notes.fault(&path.place, "a path holds no spaces", "write %20 for a space");
    }
    let always = templates::check(&path.value, &path.place, names, context);
    if templated && always.is_some_and(|text| !text.starts_with('/')) {
        let message = format!("the template `{}` gives no path", path.value);
        context.notes.fault(&path.place, message, "a path begins with a slash");
    }
}

/// `query = { q = "blue shoes", page = 2 }`: names and values, in their order.
fn query(table: &Reader<'_>, names: &Names, context: &Context<'_>) -> Vec<(String, String)> {
    templates::checked(table.texts("query"), names, context)
}

/// The path with its query. What a template gives is encoded when it is known.
fn with_query(mut path: String, query: &[(String, String)]) -> String {
    for (name, value) in query {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.extend(url::form_urlencoded::byte_serialize(name.as_bytes()));
        path.push('=');
        if is_template(value) {
            path.push_str("{% filter urlencode %}");
            path.push_str(value);
            path.push_str("{% endfilter %}");
        } else {
            path.extend(url::form_urlencoded::byte_serialize(value.as_bytes()));
        }
    }
    path
}

pub(super) fn headers(
    table: &Reader<'_>,
    names: &Names,
    context: &Context<'_>,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in table.entries("headers") {
        let Value::String(value) = &entry.node.value else {
            let message = format!("the header `{}` is {}", entry.key, entry.node.value.kind());
            context.notes.fault(&entry.node.place, message, "a header is a string");
            continue;
        };
        check_header(entry, value, names, context);
        found.push((entry.key.to_lowercase(), value.clone()));
    }
    found
}

fn check_header(entry: &Entry, value: &str, names: &Names, context: &Context<'_>) {
    let fault = |message: String, help: &str| context.notes.fault(&entry.place, message, help);
    let name = HeaderName::from_bytes(entry.key.as_bytes());
    let is_fit = |value: &str| HeaderValue::from_str(value).is_ok();
    let always = templates::check(value, &entry.node.place, names, context);
    if name.is_err() || !is_fit(value) {
        let message = format!("`{}` can't be sent as a header", entry.key);
        fault(message, "names and values are plain ASCII");
    } else if let Some((message, help)) = unsendable(&entry.key, value) {
        fault(message, help);
    } else if always.is_some_and(|text| !is_fit(&text)) {
        let message = format!("the template of the header `{}` gives no line of text", entry.key);
        fault(message, "without the line break at a file's end: `{{ file('token.txt')|trim }}`");
    }
}
