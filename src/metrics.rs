//! Numbers with a name, a unit and labels, and their forms for other programs: Prometheus text and
//! `OpenTelemetry`'s OTLP. What they are and where they come from is for others to say.
//!
//! Names are given with dots, as `OpenTelemetry` has them; Prometheus gets them by its own
//! conventions: underscores, base units in the name, `_total` for what only rises.

mod otlp;
mod prometheus;
mod push;

pub use otlp::{Resource, otlp_json};
pub use prometheus::{CONTENT_TYPE, prometheus_text};
pub use push::{Collector, PushError, push};

/// A metric and its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Its name with dots, without the prefix `highwater.`: `memory.peak`.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub help: &'static str,
    /// What its values are measured in.
    pub unit: Unit,
    /// How it behaves.
    pub kind: Kind,
    /// Its values, each with labels of its own.
    pub points: Vec<Point>,
}

/// What a metric is measured in: base units only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// A share, 1 being all.
    Ratio,
    /// A plain number.
    Count,
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only rises, from the run's start on.
    Counter,
}

/// One value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Names and values of its labels.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: Value,
}

/// A value: sizes and counts stay whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A whole number.
    Whole(u64),
    /// Any other number.
    Real(f64),
}

impl Family {
    /// A metric that goes up and down, without values yet.
    #[must_use]
    pub const fn gauge(name: &'static str, unit: Unit, help: &'static str) -> Self {
        Self { name, help, unit, kind: Kind::Gauge, points: Vec::new() }
    }

    /// A metric that only rises, without values yet.
    #[must_use]
    pub const fn counter(name: &'static str, unit: Unit, help: &'static str) -> Self {
        Self { name, help, unit, kind: Kind::Counter, points: Vec::new() }
    }

    /// Adds a value without labels, where there is one.
    #[must_use]
    pub fn value(self, value: Option<impl Into<Value>>) -> Self {
        self.labelled(Vec::new(), value)
    }

    /// Adds a value with these labels, where there is one. What is no number is none.
    #[must_use]
    pub fn labelled(
        mut self,
        labels: Vec<(&'static str, String)>,
        value: Option<impl Into<Value>>,
    ) -> Self {
        if let Some(value) = value.map(Into::into).filter(Value::is_finite) {
            self.points.push(Point { labels, value });
        }
        self
    }
}

impl Value {
    fn is_finite(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Real(number) => number.is_finite(),
        }
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Whole(number.into())
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Whole(truth.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}
