//! Reports: renderers of one model, the [`Findings`].
//!
//! A renderer makes one text and reads nothing else, so that every table and picture shows the
//! same numbers. Names that came from a scenario or a target are shown as text, whatever they
//! hold: control characters are replaced, and what a format gives a meaning to is escaped.
//! [`write_all`] and [`write_text`] are the only functions here that touch the disk.

mod actions;
mod compare;
mod compare_json;
mod compare_junit;
mod concurrency;
mod concurrency_words;
mod costs;
mod custom;
mod draw;
mod error;
mod failures;
mod github;
mod growth;
mod html;
mod json;
mod json_concurrency;
mod json_costs;
mod json_growth;
mod json_rows;
mod json_sizing;
mod json_spikes;
mod json_startup;
mod json_target;
mod json_traffic;
mod junit;
mod latency_log;
mod manifest;
mod markdown;
mod metrics;
mod panels;
mod paths;
mod scale;
mod schema;
mod sizing;
mod sizing_svg;
mod snippets;
mod startup;
mod startup_words;
mod summary;
mod text;
mod timeline;
mod watch;
mod write;

pub use compare::{ComparisonMarkdown, ComparisonText};
pub use compare_json::comparison_json;
pub use compare_junit::ComparisonJunit;
pub use concurrency::ConcurrencySvg;
pub use error::Error;
pub use github::{annotations, step_summary};
pub use html::ReportHtml;
pub use json::RunJson;
pub use junit::Junit;
pub use latency_log::write_latency_log;
pub use manifest::{ManifestError, diff, patched};
pub use markdown::Markdown;
pub use metrics::{families, resource};
pub use schema::run_schema;
pub use sizing_svg::SizingSvg;
pub use snippets::Snippet;
pub use startup::StartupSvg;
pub use summary::Summary;
pub use timeline::TimelineSvg;
pub use write::{Written, replace_file, write_all, write_text};

use crate::analysis::Findings;

/// Makes one text of the findings.
pub trait Renderer {
    /// The text.
    fn render(&self, findings: &Findings) -> String;
}

#[cfg(test)]
mod tests;
