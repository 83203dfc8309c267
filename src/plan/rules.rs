//! Threshold rules: k6's grammar, with units and gauges.
//!
//! A rule is a selector, `metric{tag:value,…}`, and a condition, `aggregation operator number`:
//! `http_req_duration{phase:burst}` with `p(95)<200`, `memory` with `max<80%`. Times without a
//! unit are milliseconds, sizes without a unit bytes, as in k6. A condition may end in a window:
//! `max<80% for 10s`, `p(95)<200 over 1m`.

mod metrics;
mod tags;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tags::{Selected, parse_selector};

pub use metrics::{Metric, MetricKind};
pub use tags::Tag;

use crate::scenario::Words;
use crate::units::{Bytes, parse_duration};

/// The shortest window: traffic is told by the second.
const WINDOW_MIN: Duration = Duration::from_secs(1);

/// One condition on one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The selector as written: `memory{phase:soak}`.
    pub selector: String,
    /// The condition as written: `slope<1MiB/h`.
    pub text: String,
    /// What is judged.
    pub metric: Metric,
    /// Only what carries these tags.
    pub tags: BTreeMap<Tag, String>,
    /// Only steps that carry these tags of the scenario's own.
    pub own_tags: BTreeMap<String, String>,
    /// How many values become one.
    pub aggregate: Aggregate,
    /// How it is compared.
    pub operator: Operator,
    /// With what it is compared.
    pub bound: Bound,
    /// Over which time, where not over all.
    pub window: Option<Window>,
    /// Whether a broken rule ends the run: how long after the first phase began at the earliest.
    pub abort: Option<Duration>,
}

/// How many values become one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregate {
    /// The greatest.
    Max,
    /// The least.
    Min,
    /// The mean.
    Avg,
    /// The median.
    Med,
    /// The last.
    Last,
    /// A percentile, in 0..=100.
    Percentile(f64),
    /// The growth over time.
    Slope,
    /// How many, or the sum of a counter.
    Count,
    /// The share of hits, or events per second of a counter.
    Rate,
    /// OOM kills (of `memory` only).
    OomKills,
    /// Charges that met the limit (of `memory` only).
    LimitHits,
}

/// How two numbers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    Differs,
}

impl Operator {
    /// Whether `value` stands to `bound` as the operator says.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "`==` is what the rule's writer asked for")]
    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Less => value < bound,
            Self::AtMost => value <= bound,
            Self::More => value > bound,
            Self::AtLeast => value >= bound,
            Self::Equal => value == bound,
            Self::Differs => value != bound,
        }
    }
}

/// With what a value is compared, in the metric's own unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// Bytes, milliseconds, a share of one, or a plain number, as the metric has it.
    Value(f64),
    /// A share of the memory limit, in percent.
    PercentOfLimit(f64),
    /// Growth in bytes (or units of the metric) an hour.
    PerHour(f64),
}

/// Over which time a rule is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Broken where the level is beyond the bound for so long without a break.
    For(Duration),
    /// Broken where any stretch of this length is.
    Over(Duration),
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub help: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RuleError {}

impl RuleError {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}

impl Rule {
    /// Parses a selector and a condition, in the words that every scenario has.
    ///
    /// # Errors
    /// When the metric, a tag, the aggregation, the operator or the number is unknown, or when
    /// they don't go together.
    pub fn parse(selector: &str, text: &str, abort: Option<Duration>) -> Result<Self, RuleError> {
        Self::parse_among(&Words::default(), selector, text, abort)
    }

    /// Parses a selector and a condition, which may use words of the scenario's own.
    ///
    /// # Errors
    /// As [`Rule::parse`].
    pub fn parse_among(
        words: &Words,
        selector: &str,
        text: &str,
        abort: Option<Duration>,
    ) -> Result<Self, RuleError> {
        let Selected { metric, tags, own_tags } = parse_selector(words, selector)?;
        let (aggregate, operator, rest) = split_condition(text)?;
        let aggregate = parse_aggregate(aggregate, metric)?;
        let (number, window) = split_window(rest)?;
        let bound = parse_bound(number, metric, aggregate)?;
        if let Some(window) = window {
            check_window(window, metric, aggregate)?;
        }
        let (selector, text) = (selector.to_owned(), text.to_owned());
        Ok(Self {
            selector,
            text,
            metric,
            tags,
            own_tags,
            aggregate,
            operator,
            bound,
            window,
            abort,
        })
    }

    /// Whether the rule needs a memory limit to have a meaning.
    #[must_use]
    pub const fn needs_limit(&self) -> bool {
        matches!(self.bound, Bound::PercentOfLimit(_))
    }
}

fn split_condition(text: &str) -> Result<(&str, Operator, &str), RuleError> {
    const OPERATORS: [(&str, Operator); 7] = [
        ("===", Operator::Equal),
        ("==", Operator::Equal),
        ("!=", Operator::Differs),
        ("<=", Operator::AtMost),
        (">=", Operator::AtLeast),
        ("<", Operator::Less),
        (">", Operator::More),
    ];
    let at = text.find(['<', '>', '=', '!']);
    let found = at.and_then(|at| {
        OPERATORS
            .iter()
            .find(|(sign, _)| text[at..].starts_with(sign))
            .map(|(sign, operator)| (text[..at].trim(), *operator, text[at + sign.len()..].trim()))
    });
    found.ok_or_else(|| {
        RuleError::new(
            format!("`{text}` compares nothing"),
            "write an aggregation, an operator and a number: `max<80%`, `p(95)<200`, `rate<0.01`",
        )
    })
}

/// Splits `80% for 10s` into the number and the window.
fn split_window(text: &str) -> Result<(&str, Option<Window>), RuleError> {
    let help = "end the rule in `for 10s` (beyond the bound all that time) or in `over 1m` (each \
                stretch of a minute)";
    let words = |word: &'static str| {
        text.match_indices(word).filter(move |(at, _)| {
            let after = text[at + word.len()..].chars().next();
            let before = text[..*at].chars().next_back();
            before.is_some_and(char::is_whitespace) && after.is_none_or(char::is_whitespace)
        })
    };
    let mut found = words("for").chain(words("over"));
    let Some((at, word)) = found.next() else { return Ok((text, None)) };
    if found.next().is_some() {
        return Err(RuleError::new("a rule has one window only", help));
    }
    let length = text[at + word.len()..].trim();
    let length = parse_duration(length).ok().filter(|length| *length >= WINDOW_MIN);
    let Some(length) = length else {
        let message = format!("`{}` is no window of a second or more", text[at..].trim());
        return Err(RuleError::new(message, help));
    };
    let window = if word == "for" { Window::For(length) } else { Window::Over(length) };
    Ok((text[..at].trim_end(), Some(window)))
}

/// Whether a window has a meaning for this rule.
fn check_window(window: Window, metric: Metric, aggregate: Aggregate) -> Result<(), RuleError> {
    let refused = |message: &str, help: &str| Err(RuleError::new(message, help));
    match (window, aggregate) {
        (_, Aggregate::OomKills | Aggregate::LimitHits) => {
            refused("a count of kills or limit hits has no window", "leave the window away")
        }
        (_, _) if metric == Metric::Ready => {
            refused("`ready` is one time in each trial", "leave the window away")
        }
        (Window::Over(_), Aggregate::Last) => refused(
            "`last` is one reading, not one of each stretch",
            "write `avg`, `max` or `min` with `over`, or `last` with `for`",
        ),
        (Window::For(_), Aggregate::Max | Aggregate::Min | Aggregate::Last)
            if metric.kind().is_level() =>
        {
            Ok(())
        }
        (Window::For(_), _) => refused(
            "`for` is about a level that stays beyond its bound: `max`, `min` or `last` of one",
            "write `over` instead of `for`: each stretch of that length is judged then",
        ),
        (Window::Over(_), _) => Ok(()),
    }
}

fn parse_aggregate(text: &str, metric: Metric) -> Result<Aggregate, RuleError> {
    let aggregate = match text {
        "max" => Aggregate::Max,
        "min" => Aggregate::Min,
        "avg" => Aggregate::Avg,
        "med" => Aggregate::Med,
        // k6 calls it `value`.
        "last" | "value" => Aggregate::Last,
        "slope" => Aggregate::Slope,
        "count" => Aggregate::Count,
        "rate" => Aggregate::Rate,
        "oom_kills" => Aggregate::OomKills,
        "limit_hits" => Aggregate::LimitHits,
        other => parse_percentile(other)?,
    };
    let fits = match metric.kind() {
        MetricKind::Size | MetricKind::Level | MetricKind::Time => match aggregate {
            Aggregate::OomKills | Aggregate::LimitHits => metric == Metric::Memory,
            Aggregate::Rate | Aggregate::Count => false,
            _ => true,
        },
        MetricKind::Trend => matches!(
            aggregate,
            Aggregate::Max
                | Aggregate::Min
                | Aggregate::Avg
                | Aggregate::Med
                | Aggregate::Percentile(_)
                | Aggregate::Count
        ),
        MetricKind::Share => aggregate == Aggregate::Rate,
        MetricKind::Counter => matches!(aggregate, Aggregate::Count | Aggregate::Rate),
    };
    fits.then_some(aggregate).ok_or_else(|| {
        RuleError::new(format!("`{text}` does not go with this metric"), metric.aggregates())
    })
}

fn parse_percentile(text: &str) -> Result<Aggregate, RuleError> {
    text.strip_prefix("p(")
        .and_then(|rest| rest.strip_suffix(')'))
        .and_then(|number| number.trim().parse::<f64>().ok())
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(Aggregate::Percentile)
        .ok_or_else(|| {
            RuleError::new(
                format!("no aggregation is called `{text}`"),
                "use max, min, avg, med, last, p(N), slope, count, rate, oom_kills or limit_hits",
            )
        })
}

fn parse_bound(text: &str, metric: Metric, aggregate: Aggregate) -> Result<Bound, RuleError> {
    let refused = |help: &str| RuleError::new(format!("`{text}` is no number for this rule"), help);
    if aggregate == Aggregate::Slope {
        let (amount, unit) = text
            .split_once('/')
            .ok_or_else(|| refused("a slope is written by the hour: `1MiB/h`"))?;
        let hours = match unit.trim() {
            "h" => 1.0,
            "min" | "m" => 1.0 / 60.0,
            "d" => 24.0,
            _ => return Err(refused("a slope is by the hour, minute or day: `1MiB/h`")),
        };
        let amount = parse_amount(amount, metric).ok_or_else(|| refused("write `1MiB/h`"))?;
        return Ok(Bound::PerHour(amount / hours));
    }
    let counts = matches!(aggregate, Aggregate::OomKills | Aggregate::LimitHits | Aggregate::Count);
    if counts && !metric.is_data() {
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        return number.map(Bound::Value).ok_or_else(|| refused("write a whole number"));
    }
    if let Some(percent) = text.strip_suffix('%') {
        let percent = parse_amount(percent, Metric::Vus).ok_or_else(|| refused("write `80%`"))?;
        return match metric.kind() {
            MetricKind::Size if matches!(metric, Metric::DiskWritten | Metric::LogBytes) => {
                Err(refused("what is written has no limit to be a share of: write `200MiB`"))
            }
            MetricKind::Size => Ok(Bound::PercentOfLimit(percent)),
            MetricKind::Share => Ok(Bound::Value(percent / 100.0)),
            MetricKind::Level if metric == Metric::Throttled => Ok(Bound::Value(percent)),
            _ => Err(refused("a percentage goes with memory (of the limit) and shares")),
        };
    }
    let help = match metric.kind() {
        MetricKind::Size => "write a size: `200MiB`, or a share of the limit: `80%`",
        MetricKind::Time | MetricKind::Trend => "write milliseconds, `200`, or a time, `2s`",
        _ => "write a number",
    };
    parse_amount(text, metric).map(Bound::Value).ok_or_else(|| refused(help))
}

/// A number in the metric's own unit.
fn parse_amount(text: &str, metric: Metric) -> Option<f64> {
    let text = text.trim();
    if let Ok(plain) = text.parse::<f64>() {
        return plain.is_finite().then_some(plain);
    }
    match metric.kind() {
        MetricKind::Counter if !metric.is_data() => None,
        MetricKind::Size | MetricKind::Counter => text.parse::<Bytes>().ok().map(Bytes::as_f64),
        MetricKind::Time | MetricKind::Trend => {
            parse_duration(text).ok().map(|time| time.as_secs_f64() * 1e3)
        }
        MetricKind::Level | MetricKind::Share => None,
    }
}
