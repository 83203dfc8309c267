//! Threshold rules: k6's grammar, with units and gauges.
//!
//! A rule is a selector, `metric{tag:value,…}`, and a condition, `aggregation operator number`:
//! `http_req_duration{phase:burst}` with `p(95)<200`, `memory` with `max<80%`. Times without a
//! unit are milliseconds, sizes without a unit bytes, as in k6.

use std::collections::BTreeMap;
use std::fmt;

use crate::units::{Bytes, parse_duration};

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
    /// How many values become one.
    pub aggregate: Aggregate,
    /// How it is compared.
    pub operator: Operator,
    /// With what it is compared.
    pub bound: Bound,
    /// Whether a broken rule ends the run.
    pub abort: bool,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Unreclaimable memory (upper bound).
    Memory,
    /// Charged memory.
    MemoryUsage,
    /// `anon`.
    MemoryRss,
    /// usage − inactive file pages.
    MemoryWorkingSet,
    /// The charged peak.
    MemoryChargedPeak,
    /// Unreclaimable memory in startup trials.
    Startup,
    /// The charged peak in startup trials.
    StartupCharged,
    /// Time to ready.
    Ready,
    /// CPU use in cores.
    Cpu,
    /// Share of time throttled.
    Throttled,
    /// Threads of the target.
    Threads,
    /// Open descriptors of the target.
    OpenFiles,
    /// Time in which some task waited for memory.
    PsiMemory,
    /// Bytes written to block devices since the container began.
    DiskWritten,
    /// Bytes printed since the container began.
    LogBytes,
    /// Requests.
    HttpReqs,
    /// Share of failed requests.
    HttpReqFailed,
    /// From sent to the last byte.
    HttpReqDuration,
    /// From due to the last byte.
    HttpReqLatency,
    /// Bytes sent.
    DataSent,
    /// Bytes received.
    DataReceived,
}

/// What kind of values a metric has, which decides its aggregations and units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A level in bytes.
    Size,
    /// A level without a unit.
    Level,
    /// A level in milliseconds.
    Time,
    /// Many times in milliseconds.
    Trend,
    /// A share of hits.
    Share,
    /// A sum.
    Counter,
}

const METRICS: [(&str, Metric, MetricKind); 21] = [
    ("memory", Metric::Memory, MetricKind::Size),
    ("memory_usage", Metric::MemoryUsage, MetricKind::Size),
    ("memory_rss", Metric::MemoryRss, MetricKind::Size),
    ("memory_working_set", Metric::MemoryWorkingSet, MetricKind::Size),
    ("memory_charged_peak", Metric::MemoryChargedPeak, MetricKind::Size),
    ("startup", Metric::Startup, MetricKind::Size),
    ("startup_charged", Metric::StartupCharged, MetricKind::Size),
    ("ready", Metric::Ready, MetricKind::Time),
    ("cpu", Metric::Cpu, MetricKind::Level),
    ("throttled", Metric::Throttled, MetricKind::Level),
    ("threads", Metric::Threads, MetricKind::Level),
    ("open_files", Metric::OpenFiles, MetricKind::Level),
    ("psi_memory", Metric::PsiMemory, MetricKind::Time),
    ("disk_written", Metric::DiskWritten, MetricKind::Size),
    ("log_bytes", Metric::LogBytes, MetricKind::Size),
    ("http_reqs", Metric::HttpReqs, MetricKind::Counter),
    ("http_req_failed", Metric::HttpReqFailed, MetricKind::Share),
    ("http_req_duration", Metric::HttpReqDuration, MetricKind::Trend),
    ("http_req_latency", Metric::HttpReqLatency, MetricKind::Trend),
    ("data_sent", Metric::DataSent, MetricKind::Counter),
    ("data_received", Metric::DataReceived, MetricKind::Counter),
];

impl Metric {
    /// All names, for suggestions.
    pub fn names() -> impl Iterator<Item = &'static str> {
        METRICS.iter().map(|row| row.0)
    }

    /// The kind of its values.
    #[must_use]
    pub fn kind(self) -> MetricKind {
        METRICS.iter().find(|row| row.1 == self).map_or(MetricKind::Level, |row| row.2)
    }
}

/// What a selector may filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    /// The phase's name.
    Phase,
    /// The scenario's name.
    Scenario,
    /// The step's label.
    Step,
}

impl Tag {
    const fn name(self) -> &'static str {
        match self {
            Self::Phase => "phase",
            Self::Scenario => "scenario",
            Self::Step => "step",
        }
    }
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
    /// Parses a selector and a condition.
    ///
    /// # Errors
    /// When the metric, a tag, the aggregation, the operator or the number is unknown, or when
    /// they don't go together.
    pub fn parse(selector: &str, text: &str, abort: bool) -> Result<Self, RuleError> {
        let (metric, tags) = parse_selector(selector)?;
        let (aggregate, operator, number) = split_condition(text)?;
        let aggregate = parse_aggregate(aggregate, metric)?;
        let bound = parse_bound(number, metric, aggregate)?;
        let (selector, text) = (selector.to_owned(), text.to_owned());
        Ok(Self { selector, text, metric, tags, aggregate, operator, bound, abort })
    }

    /// Whether the rule needs a memory limit to have a meaning.
    #[must_use]
    pub const fn needs_limit(&self) -> bool {
        matches!(self.bound, Bound::PercentOfLimit(_))
    }
}

fn parse_selector(text: &str) -> Result<(Metric, BTreeMap<Tag, String>), RuleError> {
    let (name, rest) = text.split_once('{').map_or((text, None), |(name, rest)| (name, Some(rest)));
    let name = name.trim();
    let metric = METRICS.iter().find(|row| row.0 == name).map(|row| row.1).ok_or_else(|| {
        RuleError::new(format!("no metric is called `{name}`"), nearest_metric(name))
    })?;
    let Some(rest) = rest else {
        return Ok((metric, BTreeMap::new()));
    };
    let inner = rest.trim_end().strip_suffix('}').ok_or_else(|| {
        RuleError::new(format!("`{text}` has no closing brace"), "write `metric{phase:burst}`")
    })?;
    let mut tags = BTreeMap::new();
    for pair in inner.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (tag, value) = parse_tag(pair)?;
        tags.insert(tag, value);
    }
    Ok((metric, tags))
}

fn nearest_metric(name: &str) -> String {
    let nearest = Metric::names()
        .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
    match nearest {
        Some(near) if strsim::jaro_winkler(near, name) > 0.8 => format!("did you mean `{near}`?"),
        _ => format!("known metrics: {}", Metric::names().collect::<Vec<_>>().join(", ")),
    }
}

fn parse_tag(pair: &str) -> Result<(Tag, String), RuleError> {
    let help = "tags are written `phase:burst`, `scenario:orders` or `step:POST /orders`";
    let (name, value) = pair
        .split_once(':')
        .ok_or_else(|| RuleError::new(format!("`{}` is no tag", pair.trim()), help))?;
    let tag = [Tag::Phase, Tag::Scenario, Tag::Step]
        .into_iter()
        .find(|tag| tag.name() == name.trim())
        .ok_or_else(|| RuleError::new(format!("no tag is called `{}`", name.trim()), help))?;
    Ok((tag, value.trim().to_owned()))
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

fn parse_aggregate(text: &str, metric: Metric) -> Result<Aggregate, RuleError> {
    let aggregate = match text {
        "max" => Aggregate::Max,
        "min" => Aggregate::Min,
        "avg" => Aggregate::Avg,
        "med" => Aggregate::Med,
        "last" => Aggregate::Last,
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
        RuleError::new(format!("`{text}` does not go with this metric"), aggregates_of(metric))
    })
}

const fn aggregates_of(metric: Metric) -> &'static str {
    match metric {
        Metric::HttpReqFailed => "it takes `rate`",
        Metric::HttpReqs | Metric::DataSent | Metric::DataReceived => "it takes `count` or `rate`",
        Metric::HttpReqDuration | Metric::HttpReqLatency => {
            "it takes `p(95)`, `med`, `avg`, `max`, `min` or `count`"
        }
        Metric::Memory => {
            "it takes `max`, `min`, `avg`, `last`, `p(95)`, `slope`, `oom_kills` or `limit_hits`"
        }
        _ => "it takes `max`, `min`, `avg`, `last`, `p(95)` or `slope`",
    }
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
    if matches!(aggregate, Aggregate::OomKills | Aggregate::LimitHits | Aggregate::Count) {
        let number: f64 = text.parse().map_err(|_| refused("write a whole number"))?;
        return Ok(Bound::Value(number));
    }
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.trim().parse().map_err(|_| refused("write `80%`"))?;
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
        MetricKind::Size | MetricKind::Counter => text.parse::<Bytes>().ok().map(Bytes::as_f64),
        MetricKind::Time | MetricKind::Trend => {
            parse_duration(text).ok().map(|time| time.as_secs_f64() * 1e3)
        }
        MetricKind::Level | MetricKind::Share => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(selector: &str, text: &str) -> Result<Rule, RuleError> {
        Rule::parse(selector, text, false)
    }

    #[test]
    fn reads_the_rules_that_people_write() {
        let rule = parse("memory{phase:soak}", "slope<1MiB/h").unwrap();
        assert_eq!(rule.metric, Metric::Memory);
        assert_eq!(rule.tags[&Tag::Phase], "soak");
        assert_eq!(rule.bound, Bound::PerHour(1_048_576.0));

        let rule = parse("memory", "max<80%").unwrap();
        assert_eq!(rule.bound, Bound::PercentOfLimit(80.0));
        assert!(rule.needs_limit());

        let rule =
            parse("http_req_duration{phase:burst,step:POST /orders}", "p(95) < 200").unwrap();
        assert_eq!(rule.aggregate, Aggregate::Percentile(95.0));
        assert_eq!(rule.tags[&Tag::Step], "POST /orders");

        assert_eq!(parse("http_req_failed", "rate<1%").unwrap().bound, Bound::Value(0.01));
        assert_eq!(parse("ready", "max<=2s").unwrap().bound, Bound::Value(2000.0));
        assert_eq!(parse("memory", "oom_kills==0").unwrap().aggregate, Aggregate::OomKills);
        let rule = parse("log_bytes{phase:soak}", "slope<10MiB/h").unwrap();
        assert_eq!(rule.bound, Bound::PerHour(10_485_760.0));
        assert_eq!(parse("disk_written", "max<1GiB").unwrap().metric, Metric::DiskWritten);
        assert_eq!(parse("startup", "max<128MiB").unwrap().bound, Bound::Value(134_217_728.0));
    }

    #[test]
    fn refuses_with_a_way_out() {
        let help = |selector, text| parse(selector, text).unwrap_err().help;
        assert_eq!(help("memry", "max<1"), "did you mean `memory`?");
        assert!(help("memory", "max 80%").contains("operator"));
        assert!(help("http_req_failed", "p(95)<3").contains("rate"));
        assert!(help("memory{fase:x}", "max<1").contains("phase:burst"));
        assert!(help("memory", "max<80 apples").contains("200MiB"));
        assert!(help("memory", "slope<1MiB").contains("1MiB/h"));
        assert!(help("disk_written", "max<80%").contains("200MiB"));
        assert!(parse("http_reqs", "oom_kills==0").is_err());
        assert!(parse("memory{phase:a", "max<1").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(selector in ".{0,40}", text in ".{0,40}") {
            let _ = parse(&selector, &text);
        }

        #[test]
        fn never_panics_on_near_rules(
            selector in "(memory|http_reqs|ready)[{}:,a-z]{0,6}",
            text in "(max|p\\(|rate|slope)[<>=!]{0,3}[0-9.%MiBsh/é]{0,6}",
        ) {
            let _ = parse(&selector, &text);
        }
    }
}
