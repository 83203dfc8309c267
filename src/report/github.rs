//! What GitHub Actions shows of a run: annotations of a job, and its summary.

use std::fmt::Write;

use super::{Markdown, Renderer, text};
use crate::analysis::{Findings, Level};

/// GitHub shows ten of a kind for each step.
const ANNOTATIONS_MAX: usize = 10;
/// GitHub takes a MiB of summary a step; somebody else may have written of it.
const SUMMARY_MAX: usize = 768 * 1024;

/// A workflow command for each reason that fails or warns: `::error title=…::…`, a line each.
#[must_use]
pub fn annotations(findings: &Findings) -> String {
    let mut out = String::new();
    for (level, command) in [(Level::Fail, "error"), (Level::Warn, "warning")] {
        let reasons = findings.reasons.iter().filter(|reason| reason.level == level);
        for reason in reasons.take(ANNOTATIONS_MAX) {
            let title = format!("highwater {}: {}", findings.name, reason.id);
            let title = property(&text::clean(&title, 200));
            let mut message = text::clean(&reason.text, 2000);
            if let Some(next) = &reason.next {
                message = format!("{message}\n{}", text::clean(next, 1000));
            }
            writeln!(out, "::{command} title={title}::{}", data(&message))
                .expect("writing into a string never fails");
        }
    }
    out
}

/// `report.md` as far as a summary has room for it.
#[must_use]
pub fn step_summary(findings: &Findings) -> String {
    let mut whole = Markdown.render(findings);
    if whole.len() > SUMMARY_MAX {
        let lines = whole.match_indices('\n').map(|(place, _)| place);
        whole.truncate(lines.take_while(|place| *place < SUMMARY_MAX).last().unwrap_or(0));
        whole.push_str("\n\n(cut here: the rest is in `report.md`)\n");
    }
    whole.push('\n');
    whole
}

/// A command's text, as its parser reads it back.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a command's property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::findings_with;

    #[test]
    fn reasons_are_annotations_and_nothing_in_them_is_a_command() {
        let findings = findings_with(&[
            (Level::Fail, "threshold", "100% of x::error::y\r\n::add-mask::z"),
            (Level::Warn, "headroom", "little is left"),
            (Level::Info, "startup", "not told"),
        ]);
        insta::assert_snapshot!(annotations(&findings), @r"
        ::error title=highwater a%2C b%3A c%3A threshold::100%25 of x::error::y  ::add-mask::z
        ::warning title=highwater a%2C b%3A c%3A headroom::little is left
        ");
    }
}
