//! A step's body.

use super::Context;
use super::templates::{self, Names};
use super::{files, sizes};
use crate::scenario::reader::{At, Reader};
use crate::scenario::tree::{Node, Value};
use crate::scenario::{Body, Part, PartContent, Shape, ShapeKind, Transfer};
use crate::units::Bytes;

/// Most parsers refuse JSON that is nested deeper.
const DEPTH_MAX: u64 = 120;

/// How a speed is written.
const SPEED: &str = "\"64KiB/s\"";

/// A step's body, and how the request is sent: `gzip`, `chunked` and `rate` in `body`; `drain` and
/// `timeout` beside it. `request` is the step's method and path.
pub(super) fn body(
    table: &Reader<'_>,
    request: (&str, &str),
    names: &Names,
    context: &Context<'_>,
) -> (Body, Transfer) {
    let mut transfer = Transfer {
        drain_rate: table.string_like("drain", SPEED).and_then(|at| byte_rate(&at, context)),
        timeout: table.duration("timeout").map(|at| at.value),
        ..Transfer::default()
    };
    if !table.has("body") {
        return (Body::Empty, transfer);
    }
    let Some(body) = table.table("body") else { return (Body::Empty, transfer) };
    transfer.gzip = body.bool("gzip").unwrap_or(false);
    transfer.chunked = body.bool("chunked").unwrap_or(false);
    transfer.upload_rate = body.string_like("rate", SPEED).and_then(|at| byte_rate(&at, context));
    let content = content(&body, request, names, context).unwrap_or(Body::Empty);
    body.finish();
    (content, transfer)
}

fn content(
    body: &Reader<'_>,
    request: (&str, &str),
    names: &Names,
    context: &Context<'_>,
) -> Option<Body> {
    let kinds: Vec<&'static str> = ["text", "file", "json", "dir", "form", "multipart"]
        .into_iter()
        .filter(|key| is_content(body, key))
        .collect();
    let sized = body.node("size").or_else(|| body.node("sizes-from"));
    match (kinds.as_slice(), sized) {
        ([], Some(_)) => made_up(body, request, context),
        (["file"], Some(_)) => grown(body, request, context),
        (["text"], None) => body.string("text").map(|at| {
            templates::check(&at.value, &at.place, names, context);
            Body::Text(at.value)
        }),
        (["file"], None) => body
            .string("file")
            .and_then(|at| files::read(&at, context))
            .map(|(path, bytes)| Body::File(path, bytes)),
        (["dir"], None) => {
            body.string("dir").and_then(|at| files::read_all(&at, context)).map(Body::OneOf)
        }
        (["json"], None) => body.node("json").map(|node| {
            check_strings(node, names, context);
            Body::Json(node.to_json())
        }),
        (["form"], None) => Some(Body::Form(form(body, names, context))),
        (["multipart"], None) => Some(Body::Multipart(parts(body, names, context))),
        _ => {
            let message = "`body` needs exactly one content";
            let help = "one of `json`, `text`, `file`, `dir`, `form`, `multipart` and `size`; `json = true` and `text = true` go with `size`, `file` with `grow` and `size`";
            context.notes.fault(body.place, message, help);
            None
        }
    }
}

/// `64KiB/s`, in bytes a second.
fn byte_rate(at: &At<String>, context: &Context<'_>) -> Option<u64> {
    let read =
        at.value.trim().strip_suffix("/s").and_then(|text| text.trim().parse::<Bytes>().ok());
    let rate = read.map(Bytes::get).filter(|rate| *rate > 0);
    if rate.is_none() {
        let message = format!("`{}` is no speed", at.value);
        context.notes.fault(&at.place, message, "write `64KiB/s`");
    }
    rate
}

/// `form = { name = "ann", age = 7 }`
fn form(body: &Reader<'_>, names: &Names, context: &Context<'_>) -> Vec<(String, String)> {
    templates::checked(body.texts("form"), names, context)
}

/// `multipart = [ { name = "note", text = "…" }, { name = "photo", file = "a.png", type = "…" } ]`
fn parts(body: &Reader<'_>, names: &Names, context: &Context<'_>) -> Vec<Part> {
    let nodes = body.list("multipart");
    nodes.into_iter().filter_map(|node| part(node, names, context)).collect()
}

fn part(node: &Node, names: &Names, context: &Context<'_>) -> Option<Part> {
    let table = Reader::new("a part of `multipart`", node, context.notes)?;
    let name = table.string("name");
    let (text, file) = (table.string("text"), table.string("file"));
    let (file_name, content_type) = (table.string("file-name"), table.string("type"));
    let place = table.place;
    table.finish();
    let (content, read_name) = match (text, file) {
        (Some(at), None) => {
            templates::check(&at.value, &at.place, names, context);
            (PartContent::Text(at.value), None)
        }
        (None, Some(at)) => {
            let (path, bytes) = files::read(&at, context)?;
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            (PartContent::Bytes(bytes), name)
        }
        _ => {
            let message = "a part needs one of `text` and `file`";
            context.notes.fault(place, message, "write `{ name = \"note\", text = \"…\" }`");
            return None;
        }
    };
    let Some(name) = name else {
        context.notes.fault(place, "a part has no name", "add `name = \"note\"`");
        return None;
    };
    let default_type = read_name.as_ref().map(|_| "application/octet-stream".to_owned());
    Some(Part {
        name: name.value,
        file_name: file_name.map(|at| at.value).or(read_name),
        content_type: content_type.map(|at| at.value).or(default_type),
        content,
    })
}

/// Checks the templates in all strings of a literal JSON body.
fn check_strings(node: &Node, names: &Names, context: &Context<'_>) {
    match &node.value {
        Value::String(text) => {
            templates::check(text, &node.place, names, context);
        }
        Value::Array(items) => items.iter().for_each(|item| check_strings(item, names, context)),
        Value::Table(entries) => {
            for entry in entries {
                check_strings(&entry.node, names, context);
            }
        }
        _ => {}
    }
}

/// Whether a key is content; `json = true` only says what a made-up body is like.
fn is_content(body: &Reader<'_>, key: &'static str) -> bool {
    body.node(key).is_some_and(|node| !matches!(node.value, Value::Bool(_)))
}

/// A body that is made up: `size`, with `json = true` and perhaps `shape` and `depth`.
fn made_up(body: &Reader<'_>, request: (&str, &str), context: &Context<'_>) -> Option<Body> {
    let json = body.bool("json").unwrap_or(false);
    if json && body.bool("text") == Some(true) {
        let message = "`body` is to be JSON and text at once";
        context.notes.fault(body.place, message, "keep `json = true` or `text = true`");
    }
    body.has("text");
    let of = match body.string("shape") {
        None => ShapeKind::default(),
        Some(at) => match at.value.as_str() {
            "records" => ShapeKind::Records,
            "numbers" => ShapeKind::Numbers,
            "texts" => ShapeKind::Texts,
            "keys" => ShapeKind::Keys,
            other => {
                let message = format!("`shape` can't be `{other}`");
                let help = "write `records`, `numbers`, `texts` or `keys`";
                context.notes.fault(&at.place, message, help);
                ShapeKind::default()
            }
        },
    };
    let depth = body.whole("depth", 0, DEPTH_MAX).map_or(0, |at| at.value);
    if !json && (body.has("shape") || body.has("depth")) {
        let message = "`shape` and `depth` are about made-up JSON";
        context.notes.fault(body.place, message, "add `json = true`");
    }
    let shape = Shape { of, depth: u16::try_from(depth).unwrap_or(u16::MAX) };
    Some(Body::Sized {
        points: sizes::points(body, request, context)?,
        json: json.then_some(shape),
    })
}

/// A sample whose list is repeated: `{ file = "order.json", grow = "$.items", size = … }`.
fn grown(body: &Reader<'_>, request: (&str, &str), context: &Context<'_>) -> Option<Body> {
    let (at, grow) = (body.string("file")?, body.string("grow"));
    let points = sizes::points(body, request, context);
    let Some(grow) = grow else {
        let message = "a file has the size that it has";
        let help = "name the list that is to grow, `grow = \"$.items\"`, or leave `size` out";
        context.notes.fault(body.place, message, help);
        return None;
    };
    let (path, bytes) = files::read(&at, context)?;
    match files::split(&bytes, &grow.value) {
        Ok((head, items, tail)) => Some(Body::Grown { head, items, tail, points: points? }),
        Err(why) => {
            let message = format!("`{}` can't grow at `{}`: {why}", path.display(), grow.value);
            let help = "the file is JSON, and the path leads to one list that is not empty";
            context.notes.fault(&grow.place, message, help);
            None
        }
    }
}
