//! What users do: scenarios, their steps, and what is made of answers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CustomMetric, Gives, Think};
use crate::units::Bytes;

/// What a user does.
#[derive(Debug, Clone, Default)]
pub struct Flow {
    /// Its name.
    pub name: String,
    /// Its weight in the mix.
    pub weight: u32,
    /// Steps that are done once, before the first phase; what they capture belongs to all users.
    pub setup: Vec<Step>,
    /// Steps that each user does once, before all others: a login.
    pub on_start: Vec<Step>,
    /// Its steps.
    pub steps: Vec<Step>,
    /// Steps that each user does at its end: a logout.
    pub on_stop: Vec<Step>,
    /// Records that runs take their values from.
    pub feed: Option<Feed>,
}

impl Flow {
    /// All its steps, in the order in which a user does them.
    pub fn all_steps(&self) -> impl Iterator<Item = &Step> {
        [&self.setup, &self.on_start, &self.steps, &self.on_stop].into_iter().flatten()
    }

    pub(super) fn all_steps_mut(&mut self) -> impl Iterator<Item = &mut Step> {
        let parts = [&mut self.setup, &mut self.on_start, &mut self.steps, &mut self.on_stop];
        parts.into_iter().flatten()
    }
}

/// One request.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name in reports.
    pub label: String,
    /// The method, in capitals.
    pub method: String,
    /// The path with query; may be a template.
    pub path: String,
    /// Header lines; values may be templates.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
    /// Statuses that count as success; empty: all below 400.
    pub expect_status: Vec<u16>,
    /// What becomes of its answer.
    pub reply: Reply,
    /// How it is sent, and its answer read.
    pub transfer: Transfer,
    /// The pause before it: shortest and longest.
    pub think: Think,
    /// Tags of the scenario's own, for threshold rules.
    pub tags: BTreeMap<String, String>,
}

/// A request's body.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// None.
    Empty,
    /// This text; may be a template.
    Text(String),
    /// This JSON; its strings may be templates.
    Json(serde_json::Value),
    /// A file's content, read when the scenario was.
    File(PathBuf, Vec<u8>),
    /// One of these files, drawn anew each time.
    OneOf(Vec<(PathBuf, Vec<u8>)>),
    /// A form's fields; values may be templates.
    Form(Vec<(String, String)>),
    /// The parts of a multipart form.
    Multipart(Vec<Part>),
    /// A sample whose list is repeated until it has a drawn size.
    Grown {
        /// What stands before the list's items.
        head: Vec<u8>,
        /// The list's items.
        items: Vec<Vec<u8>>,
        /// What stands after them.
        tail: Vec<u8>,
        /// Quantiles in 0..=1 and sizes.
        points: Vec<(f64, Bytes)>,
    },
    /// Made up, of drawn size: quantiles and sizes; as JSON or as text.
    Sized {
        /// Quantiles in 0..=1 and sizes, both ascending, from 0 to 1.
        points: Vec<(f64, Bytes)>,
        /// What JSON it is; none: text.
        json: Option<Shape>,
    },
}

/// A part of a multipart form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// The name of the file that it stands for.
    pub file_name: Option<String>,
    /// Its type.
    pub content_type: Option<String>,
    /// What is in it.
    pub content: PartContent,
}

/// What is in a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartContent {
    /// A text; may be a template.
    Text(String),
    /// A file's bytes.
    Bytes(Vec<u8>),
}

/// What made-up JSON looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// What it holds.
    pub of: ShapeKind,
    /// How many objects stand around it.
    pub depth: u16,
}

/// What made-up JSON holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShapeKind {
    /// A list of records with names, numbers and texts.
    #[default]
    Records,
    /// A list of numbers: many small values.
    Numbers,
    /// A list of texts of some KiB: few large values.
    Texts,
    /// An object with many keys.
    Keys,
}

/// How a request is sent and its answer read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// Whether the body is compressed.
    pub gzip: bool,
    /// Whether the body is sent in chunks, without telling its length first.
    pub chunked: bool,
    /// How fast the body is sent, in bytes a second; none: as fast as it goes.
    pub upload_rate: Option<u64>,
    /// How fast the answer is read, in bytes a second; none: as fast as it comes.
    pub drain_rate: Option<u64>,
    /// How long the request may take; none: as the traffic says.
    pub timeout: Option<Duration>,
}

/// What becomes of a step's answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// What later steps are given from it.
    pub captures: Vec<Capture>,
    /// What is asked of it, beyond its status.
    pub checks: Vec<Check>,
    /// What it gives to metrics of the scenario's own.
    pub metrics: Vec<CustomMetric>,
    /// How many redirects in a row are followed; 0: none, a redirect is an answer like others.
    pub redirects: u8,
}

impl Reply {
    /// Whether the answer's body must be kept until it has been looked at.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        let metered = self.metrics.iter().filter_map(|metric| match &metric.gives {
            Gives::Found(from) => Some(from),
            Gives::Fixed(_) => None,
        });
        let captured = self.captures.iter().map(|capture| &capture.from).chain(metered);
        let mut captured =
            captured.filter(|from| matches!(from, Extract::Json(_) | Extract::Regex(_)));
        let mut checked = self.checks.iter().map(|check| &check.what);
        captured.next().is_some()
            || checked.any(|what| matches!(what, Wanted::Json { .. } | Wanted::Body(_)))
    }
}

/// A value that is taken out of an answer and called by a name in later steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// Its name in templates.
    pub name: String,
    /// Where it is found.
    pub from: Extract,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Extract {
    /// The first value that this `JSONPath` (RFC 9535) finds in the body.
    Json(String),
    /// A header's value.
    Header(String),
    /// The first group of this expression in the body, or all that it matches where it has none.
    Regex(String),
    /// The status.
    Status,
}

/// A check of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What is asked.
    pub what: Wanted,
    /// Whether a miss is only counted, and the request good nevertheless.
    pub warn: bool,
}

/// What a check asks of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Wanted {
    /// One of these statuses. Only where a miss is no failure; else it is the step's own.
    Status(Vec<u16>),
    /// A header passes a test.
    Header {
        /// Its name, in lower case.
        name: String,
        /// The test.
        test: Test,
    },
    /// What a `JSONPath` finds first passes a test.
    Json {
        /// The path.
        path: String,
        /// The test.
        test: Test,
    },
    /// The body as text passes a test.
    Body(Test),
    /// The body has a size between these, in bytes.
    Size {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// From sent to the last byte it takes at most this long.
    Latency(Duration),
}

/// A test of one value, which may be missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Test {
    /// It is there, or it is not.
    Exists(bool),
    /// It equals this.
    Equals(serde_json::Value),
    /// This expression matches somewhere in it, as text.
    Matches(String),
    /// It holds this text.
    Contains(String),
    /// It is a number of at least this.
    AtLeast(f64),
    /// It is a number of at most this.
    AtMost(f64),
}

/// Records from a file, for templates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feed {
    /// The names of the values.
    pub columns: Vec<String>,
    /// The records: a value for each column. At least one.
    pub rows: Arc<[Vec<serde_json::Value>]>,
    /// Which record comes next.
    pub order: FeedOrder,
    /// Whether it begins anew after the last one; else no more runs begin.
    pub again: bool,
}

/// Which record of a feed comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedOrder {
    /// One after another, over all users.
    Sequential,
    /// Any, each time.
    Random,
    /// Each user has one of its own and keeps it.
    Unique,
}

/// What templates are given of the harness's own surroundings, read when the scenario was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constants {
    /// Environment variables that templates name.
    pub env: BTreeMap<String, String>,
    /// Files that templates name, by the name used there.
    pub files: BTreeMap<String, Arc<str>>,
}

/// Whether a text is a template, rather than to be sent as it is.
#[must_use]
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}
