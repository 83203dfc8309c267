//! The limit in words, for the terminal and for Markdown.

use crate::analysis::Sizing;

/// What is recommended and why, a sentence each.
pub(super) fn words(sizing: &Sizing) -> Vec<String> {
    let limit = sizing.recommended.map(|limit| {
        let how = if sizing.verified { "proved" } else { "a guess, not proved" };
        let request = sizing.request.map_or_else(String::new, |size| format!(", request {size}"));
        format!("limit {limit} ({how}){request}")
    });
    let none = || "no limit can be recommended".to_owned();
    let reason = sizing.reason.trim_start_matches("a guess: ");
    vec![format!("{}: {reason}", limit.unwrap_or_else(none))]
}
