//! What is made of an answer: checks, captured values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName};
use minijinja::value::{Serde, Value};
use regex::Regex;
use serde_json::Value as Json;
use serde_json_path::JsonPath;

use crate::event::{ErrorKind, MetricSums};
use crate::load::socket::Wire;
use crate::plan::{self, Budget, CustomKind, CustomMetric};
use crate::units::Bytes as Size;

/// About what one part of a parsed body takes, its place in a list or a map counted.
const PART_BYTES: usize = size_of::<Json>() * 3 / 2;

/// An answer that was read to its end.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// The body, where the step needs it and there is one.
    pub(super) body: Option<Kept>,
    /// The whole body's size, kept or not.
    pub(super) body_bytes: u64,
}

impl Answer {
    fn bytes(&self) -> &[u8] {
        self.body.as_ref().map_or(&[], |kept| &kept.bytes)
    }

    fn is_cut_off(&self) -> bool {
        self.body.as_ref().is_some_and(|kept| kept.cut_off)
    }
}

/// A body that is kept until it has been looked at, within bounds for one and for all of a worker.
#[derive(Debug)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    wire: Rc<Wire>,
    /// Whether it was too large to be kept whole.
    cut_off: bool,
}

impl Kept {
    pub(super) fn new(wire: &Rc<Wire>) -> Self {
        Self { bytes: Vec::new(), wire: Rc::clone(wire), cut_off: false }
    }

    pub(super) fn push(&mut self, data: &[u8]) {
        let most = as_usize(Budget::DEFAULT.answer);
        let (length, room) = (self.bytes.len() + data.len(), self.bytes.capacity());
        // What is reserved counts, not what is filled.
        let wanted = if length > room { length.next_power_of_two().min(most) } else { room };
        let all = self.wire.kept.get() - room + wanted;
        self.cut_off |= length > most || all > self.wire.keeps;
        if self.cut_off {
            self.release();
            return;
        }
        self.bytes.reserve_exact(wanted - self.bytes.len());
        self.bytes.extend_from_slice(data);
        self.wire.kept.set(self.wire.kept.get() - room + self.bytes.capacity());
    }

    /// Half a body is of no use, and may be held for as long as its answer goes on.
    fn release(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.wire.kept.set(self.wire.kept.get() - bytes.capacity());
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.release();
    }
}

/// What became of the checks of one answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Checked {
    pub(super) passed: u32,
    pub(super) failed: u32,
    /// The first reason for which the request has failed.
    pub(super) error: Option<ErrorKind>,
    /// What the answer gave to metrics of the scenario's own.
    pub(super) metrics: Vec<(u16, MetricSums)>,
}

/// A step's captures and checks, ready for use.
#[derive(Debug)]
pub(super) struct Reading {
    captures: Vec<(String, Extract)>,
    checks: Vec<Check>,
    metrics: Vec<Metric>,
    pub(super) redirects: u8,
    pub(super) needs_body: bool,
}

#[derive(Debug)]
struct Check {
    what: Wanted,
    warn: bool,
}

/// What an answer gives to a metric of the scenario's own.
#[derive(Debug)]
struct Metric {
    id: u16,
    kind: CustomKind,
    gives: Gives,
    tests: Vec<Test>,
}

#[derive(Debug)]
enum Gives {
    Fixed(u64),
    Found(Extract),
}

#[derive(Debug)]
enum Extract {
    Json(JsonPath),
    Header(HeaderName),
    Regex(Regex),
    Status,
}

#[derive(Debug)]
enum Wanted {
    Status(Vec<u16>),
    Header(HeaderName, Test),
    Json(JsonPath, Test),
    Body(Test),
    Size(u64, u64),
    Latency(Duration),
}

#[derive(Debug)]
enum Test {
    Exists(bool),
    Equals(Json),
    Matches(Regex),
    Contains(String),
    AtLeast(f64),
    AtMost(f64),
}

impl Reading {
    /// None where a path, an expression or a name is none, which a checked scenario doesn't have.
    pub(super) fn new(plan: &plan::Reply) -> Option<Self> {
        let captures = plan.captures.iter();
        let captures = captures.map(|row| Some((row.name.clone(), Extract::new(&row.from)?)));
        let checks = plan.checks.iter();
        let checks =
            checks.map(|row| Some(Check { what: Wanted::new(&row.what)?, warn: row.warn }));
        Some(Self {
            captures: captures.collect::<Option<_>>()?,
            checks: checks.collect::<Option<_>>()?,
            metrics: plan.metrics.iter().map(Metric::new).collect::<Option<_>>()?,
            redirects: plan.redirects,
            needs_body: plan.needs_body(),
        })
    }

    /// Whether there is nothing to look at.
    pub(super) const fn is_empty(&self) -> bool {
        self.captures.is_empty() && self.checks.is_empty() && self.metrics.is_empty()
    }

    /// Checks an answer that took so long, and captures from it.
    pub(super) fn read(
        &self,
        answer: &Answer,
        duration: Duration,
        into: &mut BTreeMap<String, Value>,
    ) -> Checked {
        let too_large = std::cell::Cell::new(answer.is_cut_off());
        let json = std::cell::LazyCell::new(|| {
            too_large.set(too_large.get() || !is_parsable(answer.bytes()));
            if too_large.get() { None } else { serde_json::from_slice::<Json>(answer.bytes()).ok() }
        });
        let body = Body { answer, json: &|| json.as_ref() };
        let mut checked = Checked::default();
        for check in &self.checks {
            if check.what.holds(&body, duration) {
                checked.passed += 1;
            } else {
                checked.failed += 1;
                if !check.warn {
                    checked.error.get_or_insert(ErrorKind::Expectation);
                }
            }
        }
        for (name, from) in &self.captures {
            match from.find(&body) {
                Some(value) if !is_keepable(&value) => too_large.set(true),
                Some(value) => drop(into.insert(name.clone(), Value::from(Serde(&*value)))),
                None => drop(checked.error.get_or_insert(ErrorKind::Capture)),
            }
        }
        let given = self.metrics.iter().filter_map(|metric| Some((metric.id, metric.of(&body)?)));
        checked.metrics.extend(given);
        if too_large.get() {
            checked.error = Some(ErrorKind::TooLarge);
        }
        checked
    }
}

fn as_usize(bytes: Size) -> usize {
    usize::try_from(bytes.get()).unwrap_or(usize::MAX)
}

/// Whether a body takes no more memory than allowed once it is parsed as JSON: each part but the
/// first stands behind one of these.
fn is_parsable(text: &[u8]) -> bool {
    let room = as_usize(Budget::DEFAULT.parsed_answer).saturating_sub(text.len());
    let most = room / PART_BYTES;
    text.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{' | b':')).nth(most).is_none()
}

/// Whether a value is short enough to be kept by a user.
fn is_keepable(value: &Json) -> bool {
    let length = match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => return true,
        Json::String(text) => text.len(),
        Json::Array(_) | Json::Object(_) => value.to_string().len(),
    };
    length <= as_usize(Budget::DEFAULT.captured)
}

/// An answer whose body is parsed at most once, and only if somebody asks.
struct Body<'a> {
    answer: &'a Answer,
    json: &'a dyn Fn() -> Option<&'a Json>,
}

impl Body<'_> {
    fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.answer.bytes())
    }

    fn header(&self, name: &HeaderName) -> Option<String> {
        let value = self.answer.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }
}

impl Extract {
    fn new(from: &plan::Extract) -> Option<Self> {
        Some(match from {
            plan::Extract::Json(path) => Self::Json(JsonPath::parse(path).ok()?),
            plan::Extract::Header(name) => Self::Header(HeaderName::try_from(name).ok()?),
            plan::Extract::Regex(text) => Self::Regex(Regex::new(text).ok()?),
            plan::Extract::Status => Self::Status,
        })
    }

    fn find<'a>(&self, body: &Body<'a>) -> Option<Cow<'a, Json>> {
        match self {
            Self::Json(path) => path.query((body.json)()?).first().map(Cow::Borrowed),
            Self::Header(name) => body.header(name).map(|text| Cow::Owned(text.into())),
            Self::Status => Some(Cow::Owned(body.answer.status.into())),
            Self::Regex(regex) => {
                let text = body.text();
                let found = regex.captures(&text)?;
                let group = found.get(1).or_else(|| found.get(0))?;
                Some(Cow::Owned(group.as_str().into()))
            }
        }
    }
}

impl Metric {
    fn new(plan: &CustomMetric) -> Option<Self> {
        Some(Self {
            id: plan.id,
            kind: plan.kind,
            gives: match &plan.gives {
                plan::Gives::Fixed(number) => Gives::Fixed(*number),
                plan::Gives::Found(from) => Gives::Found(Extract::new(from)?),
            },
            tests: plan.tests.iter().map(Test::new).collect::<Option<_>>()?,
        })
    }

    /// What an answer gives; none where it holds no number to count.
    fn of(&self, body: &Body<'_>) -> Option<MetricSums> {
        let from = match &self.gives {
            Gives::Fixed(number) => return Some(MetricSums { hits: *number, of: 1 }),
            Gives::Found(from) => from,
        };
        let found = from.find(body);
        let found = found.as_deref();
        let hits = match self.kind {
            CustomKind::Counter if self.tests.is_empty() => count_of(found?)?,
            _ if self.tests.is_empty() => u64::from(found.is_some_and(is_truth)),
            _ => u64::from(self.tests.iter().all(|test| test.holds(found))),
        };
        Some(MetricSums { hits, of: 1 })
    }
}

/// A whole number, rounded; none where a counter can't count it.
fn count_of(value: &Json) -> Option<u64> {
    if let Some(whole) = value.as_u64() {
        return Some(whole);
    }
    let number = as_number(value).filter(|number| (0.0..1e15).contains(number))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within bounds")]
    let whole = number.round() as u64;
    Some(whole)
}

/// Neither false, 0 nor nothing.
fn is_truth(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(truth) => *truth,
        Json::Number(number) => number.as_f64() != Some(0.0),
        Json::String(text) => !["", "0", "false"].contains(&text.as_str()),
        Json::Array(items) => !items.is_empty(),
        Json::Object(entries) => !entries.is_empty(),
    }
}

impl Wanted {
    fn new(what: &plan::Wanted) -> Option<Self> {
        Some(match what {
            plan::Wanted::Status(statuses) => Self::Status(statuses.clone()),
            plan::Wanted::Header { name, test } => {
                Self::Header(HeaderName::try_from(name).ok()?, Test::new(test)?)
            }
            plan::Wanted::Json { path, test } => {
                Self::Json(JsonPath::parse(path).ok()?, Test::new(test)?)
            }
            plan::Wanted::Body(test) => Self::Body(Test::new(test)?),
            plan::Wanted::Size { min, max } => Self::Size(*min, *max),
            plan::Wanted::Latency(most) => Self::Latency(*most),
        })
    }

    fn holds(&self, body: &Body<'_>, duration: Duration) -> bool {
        match self {
            Self::Status(statuses) => statuses.contains(&body.answer.status),
            Self::Header(name, test) => test.holds(body.header(name).map(Json::from).as_ref()),
            Self::Json(path, test) => {
                test.holds((body.json)().and_then(|json| path.query(json).first()))
            }
            Self::Body(test) => test.holds(Some(&Json::from(body.text().into_owned()))),
            Self::Size(min, max) => (*min..=*max).contains(&body.answer.body_bytes),
            Self::Latency(most) => duration <= *most,
        }
    }
}

impl Test {
    fn new(test: &plan::Test) -> Option<Self> {
        Some(match test {
            plan::Test::Exists(truth) => Self::Exists(*truth),
            plan::Test::Equals(value) => Self::Equals(value.clone()),
            plan::Test::Matches(text) => Self::Matches(Regex::new(text).ok()?),
            plan::Test::Contains(text) => Self::Contains(text.clone()),
            plan::Test::AtLeast(bound) => Self::AtLeast(*bound),
            plan::Test::AtMost(bound) => Self::AtMost(*bound),
        })
    }

    fn holds(&self, value: Option<&Json>) -> bool {
        let Some(value) = value else { return matches!(self, Self::Exists(false)) };
        match self {
            Self::Exists(truth) => *truth,
            Self::Equals(wanted) => value == wanted || is_same_number(value, wanted),
            Self::Matches(regex) => regex.is_match(&as_text(value)),
            Self::Contains(text) => as_text(value).contains(text),
            Self::AtLeast(bound) => as_number(value).is_some_and(|number| number >= *bound),
            Self::AtMost(bound) => as_number(value).is_some_and(|number| number <= *bound),
        }
    }
}

/// 5 and 5.0 are the same to whoever writes them.
fn is_same_number(one: &Json, other: &Json) -> bool {
    one.is_number() && other.is_number() && one.as_f64() == other.as_f64()
}

fn as_text(value: &Json) -> Cow<'_, str> {
    match value {
        Json::String(text) => text.into(),
        other => other.to_string().into(),
    }
}

/// A number, were it written as text, as in headers.
fn as_number(value: &Json) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(wire: &Rc<Wire>, length: usize) -> Kept {
        let mut kept = Kept::new(wire);
        kept.push(&vec![b'x'; length]);
        kept
    }

    #[test]
    fn bodies_are_kept_within_bounds_for_one_and_for_all() {
        let wire = Rc::new(Wire::of(2));
        let most = as_usize(Budget::DEFAULT.answer);
        assert!(!kept(&wire, most).cut_off && kept(&wire, most + 1).cut_off);
        let all: Vec<Kept> = (0..8).map(|_| kept(&wire, most)).collect();
        // Half of what all workers may keep.
        assert_eq!(all.iter().filter(|kept| !kept.cut_off).count(), 4);
        drop(all);
        assert_eq!(wire.kept.get(), 0);
        let mut endless = kept(&wire, most);
        endless.push(b"x");
        assert!(endless.cut_off && endless.bytes.is_empty(), "what was kept is given back");
        assert_eq!(wire.kept.get(), 0);
    }

    #[test]
    fn what_would_take_far_more_once_parsed_is_not_parsed() {
        let large = |part: &str| part.repeat((7 << 20) / part.len());
        assert!(!is_parsable(large("1,").as_bytes()));
        assert!(!is_parsable(large("[").as_bytes()));
        assert!(is_parsable(
            large(
                "{\"name\":\"a longer value, as most of those are that a service answers with\"},"
            )
            .as_bytes()
        ));
        assert!(is_parsable(b"[1,2,{\"a\":3}]"));
    }

    #[test]
    fn a_captured_value_is_short() {
        assert!(is_keepable(&Json::from("x".repeat(60_000))));
        assert!(!is_keepable(&Json::from("x".repeat(70_000))));
        assert!(!is_keepable(&Json::from(vec![1_000_000; 10_000])));
    }
}
