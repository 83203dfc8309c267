//! What was done at set times: the rows of `run.json`, and the words of the other reports.

use schemars::JsonSchema;
use serde::Serialize;

use super::json::number;
use super::text;
use crate::analysis::{ActionFinding, Actions};
use crate::units::Human;

/// Rows of a table that people read.
pub(super) const SHOWN: usize = 20;

/// Something that was done at a set time, beside the traffic.
#[derive(Serialize, JsonSchema)]
pub(super) struct ActionRow<'a> {
    /// When it began, in milliseconds since the run started.
    at_ms: f64,
    /// The phase in which it began.
    phase: Option<&'a str>,
    /// What kind of thing it is.
    #[schemars(extend("enum" = ["exec", "signal", "request"]))]
    kind: &'static str,
    /// What was done, in words.
    text: &'a str,
    /// How long it took, in milliseconds; null for a request, whose duration is in the traffic of
    /// the scenario `at`, and where its phase ended before.
    took_ms: Option<f64>,
    /// Why it failed, where it did.
    failed: Option<&'a str>,
}

/// The rows of `run.json`; none where nothing was to be done.
pub(super) fn rows(actions: &Actions) -> Option<Vec<ActionRow<'_>>> {
    (actions.total > 0).then(|| actions.rows.iter().map(action).collect())
}

fn action(row: &ActionFinding) -> ActionRow<'_> {
    ActionRow {
        at_ms: number(row.at.as_millis_f64()),
        phase: row.phase.as_deref(),
        kind: row.kind.name(),
        text: &row.text,
        took_ms: row.took.map(|took| number(took.as_secs_f64() * 1e3)),
        failed: row.failed.as_deref(),
    }
}

/// One line: `4.0 s   exec /bin/run-batch, took 120ms`.
pub(super) fn line(row: &ActionFinding) -> String {
    format!("{:>7} {}{}", text::moment(row.at), text::clean(&row.text, 100), ending(row))
}

/// How it went, behind a comma.
pub(super) fn ending(row: &ActionFinding) -> String {
    match (&row.failed, row.took) {
        (Some(why), _) => format!(", failed: {}", text::clean(why, 300)),
        (None, Some(took)) => format!(", took {}", Human(took)),
        (None, None) => String::new(),
    }
}
