//! A comparison as `JUnit` XML: a test for each metric, for what is no figure, and for the verdict.
//!
//! Only what is worse fails its test. What is unclear passes, with a word in its output: noise is
//! no failure.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::compare::{ComparisonText, name_of};
use super::text;
use crate::analysis::Verdict;
use crate::analysis::compare::{Comparison, Fact, Outcome, Row, reason, show};

/// Renders a comparison as `JUnit` XML.
#[derive(Debug, Clone, Copy, Default)]
pub struct ComparisonJunit;

impl ComparisonJunit {
    /// The XML.
    #[must_use]
    pub fn render(self, comparison: &Comparison) -> String {
        let mut report = Report::new("highwater compare");
        let mut metrics = TestSuite::new("metrics");
        metrics.add_test_cases(comparison.rows.iter().map(|row| metric(row, comparison)));
        let mut facts = TestSuite::new("facts");
        facts.add_test_cases(comparison.facts.iter().map(|fact| self::fact(fact, comparison)));
        for suite in [metrics, facts] {
            if !suite.test_cases.is_empty() {
                report.add_test_suite(suite);
            }
        }
        report.add_test_suite(verdict(comparison));
        report.to_string().expect("text without control characters is XML")
    }
}

fn cleaned(words: &str) -> String {
    text::clean(words, 1000)
}

fn case(suite: &str, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(cleaned(name), status);
    case.set_classname(format!("highwater.compare.{suite}"));
    case
}

fn failure(kind: NonSuccessKind, id: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(id).set_message(cleaned(message));
    status
}

/// Whether it fails its test: where the comparison only informs, nothing does.
fn fails(outcome: Outcome, comparison: &Comparison) -> bool {
    outcome == Outcome::Regression && !comparison.informs
}

fn metric(row: &Row, comparison: &Comparison) -> TestCase {
    let status = if fails(row.outcome, comparison) {
        failure(NonSuccessKind::Failure, "regression", &reason(row, comparison))
    } else {
        TestCaseStatus::success()
    };
    let unit = row.id.kind.unit();
    let words = format!(
        "{}: {} before, {} now, {}; a change counts from {}",
        row.outcome.name(),
        show(unit, row.base),
        show(unit, row.new),
        row.change_words(),
        row.limit_words()
    );
    let mut case = case("metrics", &name_of(row), status);
    case.set_system_out(cleaned(&words));
    case
}

fn fact(fact: &Fact, comparison: &Comparison) -> TestCase {
    let status = if fails(fact.outcome, comparison) {
        failure(NonSuccessKind::Failure, fact.id, &fact.text)
    } else {
        TestCaseStatus::success()
    };
    let mut case = case("facts", fact.id, status);
    case.set_system_out(cleaned(&fact.text));
    case
}

fn verdict(comparison: &Comparison) -> TestSuite {
    let verdict = comparison.verdict();
    let status = match verdict {
        Verdict::Pass | Verdict::Warn => TestCaseStatus::success(),
        Verdict::Fail => failure(NonSuccessKind::Failure, verdict.name(), "something is worse"),
        _ => failure(NonSuccessKind::Error, verdict.name(), "a run can't be trusted"),
    };
    let mut case = case("verdict", "verdict", status);
    let words = ComparisonText { color: false, all: false }.render(comparison);
    case.set_system_out(words.lines().map(cleaned).collect::<Vec<_>>().join("\n"));
    let mut suite = TestSuite::new("verdict");
    suite.add_test_case(case);
    suite
}
