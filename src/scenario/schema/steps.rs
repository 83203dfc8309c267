//! `[[scenario]]` and its steps.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

use super::{Listed, Size, Text, Time};

/// What a user does, step by step.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Flow {
    /// Its name.
    name: Option<String>,
    /// Its share of the mix. Default: 1.
    #[schemars(range(min = 1, max = 1_000_000))]
    weight: Option<u32>,
    /// Records whose columns become names in templates.
    feed: Option<FeedSource>,
    /// Done once, before the first phase.
    setup: Option<Listed<Step>>,
    /// Done by each user when it comes.
    on_start: Option<Listed<Step>>,
    /// Done again and again.
    step: Option<Listed<Step>>,
    /// Done by each user when it leaves.
    on_stop: Option<Listed<Step>>,
    /// Tags of all steps, for threshold rules.
    tags: Option<BTreeMap<String, Text>>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum FeedSource {
    File(String),
    Settings(Feed),
}

/// A CSV file whose first line names the columns, or an object a line.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Feed {
    file: String,
    /// How records are taken. Default: sequential.
    #[schemars(extend("enum" = ["sequential", "random", "unique"]))]
    order: Option<String>,
    /// What happens after the last record.
    #[schemars(extend("enum" = ["again", "stop"]))]
    when_out: Option<String>,
}

/// A request, and what is expected of its answer: one of `get`, `post`, `put`, `patch`, `delete`,
/// `head` and `options`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Step {
    #[schemars(flatten)]
    request: Request,
    think: Option<ThinkTime>,
}

/// What is done at a set time, beside the traffic: one of `exec`, `signal` and a request.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Timed {
    /// When it is first done, from the first phase's start, or from that of `phase`. Default: after
    /// `every`.
    when: Option<Time>,
    /// The time from one to the next. Default: it is done once.
    every: Option<Time>,
    /// The phase that it belongs to.
    phase: Option<String>,
    /// A program and its arguments, run in the target's container; a string goes to its shell.
    exec: Option<Listed<String>>,
    /// A signal for the target's first process, such as `SIGHUP`.
    signal: Option<String>,
    #[schemars(flatten)]
    request: Request,
}

/// A request.
#[derive(JsonSchema)]
struct Request {
    /// Its name. Default: method and path.
    name: Option<String>,
    get: Option<String>,
    post: Option<String>,
    put: Option<String>,
    patch: Option<String>,
    delete: Option<String>,
    head: Option<String>,
    options: Option<String>,
    query: Option<BTreeMap<String, Text>>,
    headers: Option<BTreeMap<String, String>>,
    body: Option<Body>,
    expect: Option<Listed<Expect>>,
    /// Values for later steps: `json:$.id`, `header:etag`, `regex:t=(.*)` or `status`.
    capture: Option<BTreeMap<String, String>>,
    /// Metrics of the scenario's own.
    metrics: Option<BTreeMap<String, Metric>>,
    /// Tags for threshold rules.
    tags: Option<BTreeMap<String, Text>>,
    /// The most redirects that are followed. Default: none.
    #[schemars(range(min = 0, max = 20))]
    redirects: Option<u8>,
    /// How fast the answer is read, such as `64KiB/s`.
    drain: Option<String>,
    /// How long the request may take. Default: that of `[traffic]`.
    timeout: Option<Time>,
}

/// A body: one of `json`, `text`, `file`, `dir`, `form`, `multipart`, or made up with `size`.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Body {
    /// The text, or `true` with `size`.
    text: Option<TextOrTrue>,
    /// The value, or `true` with `size`.
    json: Option<Value>,
    /// A file's content.
    file: Option<String>,
    /// A directory: one of its files each time.
    dir: Option<String>,
    form: Option<BTreeMap<String, Text>>,
    multipart: Option<Listed<Part>>,
    size: Option<BodySize>,
    /// A log whose sizes are drawn from.
    sizes_from: Option<String>,
    /// With `file` and `size`: the path of the list that grows.
    grow: Option<String>,
    /// What made-up JSON is like.
    #[schemars(extend("enum" = ["records", "numbers", "texts", "keys"]))]
    shape: Option<String>,
    /// How deep made-up JSON is nested.
    #[schemars(range(min = 0, max = 120))]
    depth: Option<u16>,
    gzip: Option<bool>,
    chunked: Option<bool>,
    /// How fast it is sent, such as `64KiB/s`.
    rate: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum TextOrTrue {
    Text(String),
    True(bool),
}

/// A part: one of `text` and `file`.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Part {
    name: String,
    text: Option<String>,
    file: Option<String>,
    file_name: Option<String>,
    #[schemars(rename = "type")]
    content_type: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum BodySize {
    Fixed(Size),
    Drawn(Box<Quantiles>),
}

/// Sizes by quantile, or log-normal by `median` and `sigma`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Quantiles {
    min: Option<Size>,
    p10: Option<Size>,
    p25: Option<Size>,
    p50: Option<Size>,
    p75: Option<Size>,
    p90: Option<Size>,
    p95: Option<Size>,
    p99: Option<Size>,
    max: Option<Size>,
    median: Option<Size>,
    sigma: Option<f64>,
}

/// What an answer has to be like.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Expect {
    /// Whether a miss is only counted, and fails no request.
    warn: Option<bool>,
    /// `201`, `[200, 404]` or `"2xx"`.
    status: Option<Listed<HttpStatus>>,
    header: Option<BTreeMap<String, Value>>,
    /// Tests by `JSONPath`.
    json: Option<BTreeMap<String, Value>>,
    /// What the body contains, or tests.
    body: Option<Value>,
    /// A regular expression that the body matches.
    regex: Option<String>,
    size: Option<AnswerSize>,
    /// How long it may take, from sent to the last byte.
    latency: Option<Time>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum HttpStatus {
    Code(#[schemars(range(min = 100, max = 599))] u16),
    Class(#[schemars(regex(pattern = "^[1-5]xx$"))] String),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum AnswerSize {
    AtMost(Size),
    Between(Bounds),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Bounds {
    min: Option<Size>,
    max: Option<Size>,
}

/// A rate or a counter, and the tests that what is found has to pass.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Metric {
    /// Where the value is found, as in `capture`.
    rate: Option<String>,
    /// The same, or a number for each answer.
    counter: Option<Counter>,
    exists: Option<bool>,
    equals: Option<Value>,
    matches: Option<String>,
    contains: Option<String>,
    min: Option<f64>,
    max: Option<f64>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Counter {
    Fixed(u64),
    Found(String),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum ThinkTime {
    /// `1s` or `1s..3s`
    Range(String),
    Drawn(Think),
}

/// A pause before the step: one of `mean` (exponential), `median` (log-normal) and `pace` (from
/// one beginning to the next).
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Think {
    mean: Option<Time>,
    median: Option<Time>,
    #[schemars(range(min = 0.01, max = 10))]
    sigma: Option<f64>,
    pace: Option<Time>,
    max: Option<Time>,
}
