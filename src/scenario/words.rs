//! Words of a scenario's own that threshold rules may use: metrics fed by answers, and tags.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Extract, Flow, Test};

/// The words that one scenario adds to those that every scenario has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// The metrics; steps name them by index.
    pub metrics: Vec<MetricName>,
    /// The names of tags that steps carry.
    pub tags: BTreeSet<String>,
}

/// A metric that steps feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricName {
    /// Its name in threshold rules and reports.
    pub name: String,
    /// What it counts.
    pub kind: CustomKind,
}

/// What a metric of the scenario's own counts, in k6's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CustomKind {
    /// The share of answers that hit.
    Rate,
    /// A sum.
    Counter,
}

/// What one step gives to a metric of the scenario's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CustomMetric {
    /// The metric, by its index in [`Words::metrics`].
    pub id: u16,
    /// What it counts.
    pub kind: CustomKind,
    /// What an answer gives.
    pub gives: Gives,
    /// What the found value has to pass; empty: that it is there, and neither false, 0 nor
    /// nothing.
    pub tests: Vec<Test>,
}

/// What an answer gives to a metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gives {
    /// This number for each answer.
    Fixed(u64),
    /// What is found in the answer.
    Found(Extract),
}

impl Words {
    /// A metric's index and kind.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<(u16, CustomKind)> {
        let index = self.metrics.iter().position(|metric| metric.name == name)?;
        Some((u16::try_from(index).ok()?, self.metrics[index].kind))
    }

    /// The metric's index, where its name has no other kind already.
    pub(super) fn add_metric(&mut self, name: &str, kind: CustomKind) -> Option<u16> {
        if let Some((id, known)) = self.metric(name) {
            return (known == kind).then_some(id);
        }
        self.metrics.push(MetricName { name: name.to_owned(), kind });
        u16::try_from(self.metrics.len() - 1).ok()
    }
}

/// Whether any step of these carries a tag with this value.
pub(super) fn is_carried(flows: &[Flow], tag: &str, value: &str) -> bool {
    let carries = |tags: &BTreeMap<String, String>| tags.get(tag).is_some_and(|own| own == value);
    flows.iter().flat_map(Flow::all_steps).any(|step| carries(&step.tags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_has_one_kind() {
        let mut words = Words::default();
        assert_eq!(words.add_metric("hits", CustomKind::Rate), Some(0));
        assert_eq!(words.add_metric("items", CustomKind::Counter), Some(1));
        assert_eq!(words.add_metric("hits", CustomKind::Rate), Some(0));
        assert_eq!(words.add_metric("hits", CustomKind::Counter), None);
        assert_eq!(words.metric("items"), Some((1, CustomKind::Counter)));
        assert_eq!(words.metric("other"), None);
    }
}
