//! From checked steps to planned ones: bodies ready to be sent.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Body, Piece, SizePoints, StepPlan, is_template};
use crate::scenario::{self, PartContent};
use crate::units::Bytes;

/// Between the parts of a multipart form. A body that holds it would have to be made to.
const BOUNDARY: &str = "highwater-5d3a1f0c9b7e4268";

pub(super) fn step_plan(step: &scenario::Step, id: u16) -> StepPlan {
    let mut headers = step.headers.clone();
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() && !headers.iter().any(|(given, _)| given == name) {
            headers.push((name.to_owned(), value.to_owned()));
        }
    };
    add("content-type", &content_type(&step.body));
    if step.transfer.gzip {
        add("content-encoding", "gzip");
    }
    let mut transfer = step.transfer.clone();
    let mut body = body(&step.body);
    if transfer.gzip
        && let Body::Literal(bytes) | Body::File { bytes, .. } = &body
    {
        // The same each time: once is enough.
        body = Body::Literal(gzip(bytes));
        transfer.gzip = false;
    }
    StepPlan {
        id,
        label: step.label.clone(),
        method: step.method.clone(),
        path: step.path.clone(),
        headers,
        body,
        expect_status: step.expect_status.clone(),
        reply: step.reply.clone(),
        transfer,
        think: step.think,
        tags: step.tags.clone(),
    }
}

fn content_type(body: &scenario::Body) -> String {
    let fixed = match body {
        scenario::Body::Json(_)
        | scenario::Body::Grown { .. }
        | scenario::Body::Sized { json: Some(_), .. } => "application/json",
        scenario::Body::Text(_) | scenario::Body::Sized { .. } => "text/plain",
        scenario::Body::File(path, _) if path.extension().is_some_and(|end| end == "json") => {
            "application/json"
        }
        scenario::Body::Form(_) => "application/x-www-form-urlencoded",
        scenario::Body::Multipart(_) => {
            return format!("multipart/form-data; boundary={BOUNDARY}");
        }
        scenario::Body::OneOf(files)
            if files.iter().all(|file| file.0.extension().is_some_and(|end| end == "json")) =>
        {
            "application/json"
        }
        scenario::Body::Empty | scenario::Body::File(..) | scenario::Body::OneOf(_) => "",
    };
    fixed.to_owned()
}

fn body(body: &scenario::Body) -> Body {
    let sizes = |points: &[(f64, Bytes)]| {
        SizePoints::new(points.to_vec()).expect("a checked scenario's points rise")
    };
    match body {
        scenario::Body::Empty => Body::Empty,
        scenario::Body::Text(text) => text_body(text.clone()),
        scenario::Body::Form(fields) => text_body(form(fields)),
        scenario::Body::Json(json) => {
            let text = json_template(json);
            if is_template(&text) { text_body(text) } else { text_body(json.to_string()) }
        }
        scenario::Body::File(path, bytes) => {
            Body::File { path: path.clone(), bytes: Arc::from(bytes.as_slice()) }
        }
        scenario::Body::OneOf(files) => {
            Body::OneOf(files.iter().map(|file| Arc::from(file.1.as_slice())).collect())
        }
        scenario::Body::Multipart(parts) => multipart(parts),
        scenario::Body::Grown { head, items, tail, points } => Body::Grown {
            head: Arc::from(head.as_slice()),
            items: items.iter().map(|item| Arc::from(item.as_slice())).collect(),
            tail: Arc::from(tail.as_slice()),
            sizes: sizes(points),
        },
        scenario::Body::Sized { points, json: Some(shape) } => Body::Json(sizes(points), *shape),
        scenario::Body::Sized { points, json: None } => Body::Text(sizes(points)),
    }
}

fn text_body(text: String) -> Body {
    if is_template(&text) {
        Body::Template(text.into())
    } else {
        Body::Literal(Arc::from(text.into_bytes()))
    }
}

/// A form's text. What a template gives is encoded when it is known.
fn form(fields: &[(String, String)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        text.extend(url::form_urlencoded::byte_serialize(name.as_bytes()));
        text.push('=');
        if is_template(value) {
            let _ = write!(text, "{{% filter urlencode %}}{value}{{% endfilter %}}");
        } else {
            text.extend(url::form_urlencoded::byte_serialize(value.as_bytes()));
        }
    }
    text
}

/// A multipart form (RFC 7578).
fn multipart(parts: &[scenario::Part]) -> Body {
    let (mut pieces, mut bytes) = (Vec::new(), Vec::new());
    let quoted = |text: &str| text.replace('"', "%22").replace(['\r', '\n'], " ");
    for part in parts {
        let mut head = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{}\"",
            quoted(&part.name)
        );
        // Writing to a string never fails.
        if let Some(name) = &part.file_name {
            let _ = write!(head, "; filename=\"{}\"", quoted(name));
        }
        if let Some(kind) = &part.content_type {
            let _ = write!(head, "\r\ncontent-type: {kind}");
        }
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(b"\r\n\r\n");
        match &part.content {
            PartContent::Bytes(content) => bytes.extend_from_slice(content),
            PartContent::Text(text) if is_template(text) => {
                pieces.push(Piece::Bytes(std::mem::take(&mut bytes).into()));
                pieces.push(Piece::Template(text.as_str().into()));
            }
            PartContent::Text(text) => bytes.extend_from_slice(text.as_bytes()),
        }
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    if pieces.is_empty() {
        return Body::Literal(bytes.into());
    }
    pieces.push(Piece::Bytes(bytes.into()));
    Body::Pieces(pieces)
}

/// JSON whose strings are templates, as one template of its text. A string that is one expression
/// alone, `"{{ id }}"`, becomes what that gives: a number stays a number.
fn json_template(json: &serde_json::Value) -> String {
    match json {
        serde_json::Value::String(text) if is_template(text) => match sole_expression(text) {
            Some(expression) => format!("{{{{ ({expression})|tojson }}}}"),
            None => format!("{{% filter tojson %}}{text}{{% endfilter %}}"),
        },
        serde_json::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(json_template).collect();
            format!("[{}]", items.join(","))
        }
        serde_json::Value::Object(entries) => {
            let key = |key: &String| serde_json::Value::from(key.as_str());
            let entries: Vec<String> = entries
                .iter()
                .map(|(name, value)| format!("{}:{}", key(name), json_template(value)))
                .collect();
            // Apart, so that no brace of JSON meets one of a template.
            format!("{{ {} }}", entries.join(","))
        }
        // A comment to templates, plain text to its writer.
        serde_json::Value::String(text) if text.contains("{#") => {
            format!("{{% raw %}}{json}{{% endraw %}}")
        }
        plain => plain.to_string(),
    }
}

/// `{{ id }}` → `id`
fn sole_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}")).then(|| inner.trim_matches('-').trim())
}

fn gzip(bytes: &[u8]) -> Arc<[u8]> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("writing to memory never fails");
    encoder.finish().expect("writing to memory never fails").into()
}

impl Body {
    /// The size that it has at a quantile in 0..=1, where that is known before it is made and not
    /// always nothing.
    #[must_use]
    pub fn size_at(&self, quantile: f64) -> Option<Bytes> {
        let size = match self {
            Self::Empty | Self::Template(_) | Self::Pieces(_) => return None,
            Self::Literal(bytes) | Self::File { bytes, .. } => Bytes::new(bytes.len() as u64),
            Self::Text(sizes) | Self::Json(sizes, _) | Self::Grown { sizes, .. } => {
                sizes.at(quantile)
            }
            Self::OneOf(all) => {
                let mut sizes: Vec<usize> = all.iter().map(|bytes| bytes.len()).collect();
                sizes.sort_unstable();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    clippy::cast_precision_loss,
                    reason = "an index below a small length"
                )]
                let index = (quantile * sizes.len() as f64) as usize;
                Bytes::new(*sizes.get(index.min(sizes.len().checked_sub(1)?))? as u64)
            }
        };
        (size > Bytes::ZERO).then_some(size)
    }

    /// The greatest size that it may have, as far as that is known before it is made.
    #[must_use]
    pub fn max(&self) -> Bytes {
        let sum = |parts: &mut dyn Iterator<Item = usize>| Bytes::new(parts.sum::<usize>() as u64);
        match self {
            Self::Empty | Self::Template(_) => Bytes::ZERO,
            Self::Literal(bytes) | Self::File { bytes, .. } => Bytes::new(bytes.len() as u64),
            Self::Text(sizes) | Self::Json(sizes, _) | Self::Grown { sizes, .. } => sizes.max(),
            Self::OneOf(all) => {
                Bytes::new(all.iter().map(|bytes| bytes.len()).max().unwrap_or(0) as u64)
            }
            Self::Pieces(pieces) => sum(&mut pieces.iter().map(|piece| match piece {
                Piece::Bytes(bytes) => bytes.len(),
                Piece::Template(_) => 0,
            })),
        }
    }
}
