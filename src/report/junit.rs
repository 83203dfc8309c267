//! The findings as `JUnit` XML, which CI systems show as tests.
//!
//! Three suites: the thresholds; what every run is asked whatever its rules say; and the verdict.
//! What was not measured is skipped. `JUnit` knows no warnings: they pass, with a word in their
//! output, unless warnings are to fail.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{Renderer, Summary, text};
use crate::analysis::{Findings, Level, Reason, Verdict, value_cell};
use crate::clock::Moment;

/// Renders `JUnit` XML.
#[derive(Debug, Clone, Copy)]
pub struct Junit {
    /// Whether a warning fails its test, as with `--fail-on warn`.
    pub strict: bool,
}

impl Renderer for Junit {
    fn render(&self, findings: &Findings) -> String {
        let mut report = Report::new(cleaned(&format!("highwater {}", findings.name)));
        report.set_time(length(findings));
        if !findings.thresholds.is_empty() {
            report.add_test_suite(thresholds(findings));
        }
        report.add_test_suite(self.checks(findings));
        report.add_test_suite(self.verdict(findings));
        report.to_string().expect("text without control characters is XML")
    }
}

/// A reason's id, the test that it fails, and whether that was looked at.
type Asked = (&'static str, &'static str, fn(&Findings) -> bool);

/// What every run is asked, by the ids of the reasons that answer with no, and whether it was
/// looked at.
const ASKED: [Asked; 6] = [
    ("oom_kill", "no OOM kill", |row| row.memory.is_some() || row.startup.is_some()),
    ("headroom", "memory keeps a distance to its limit", |row| {
        row.memory.as_ref().is_some_and(|memory| memory.headroom_percent.is_some())
    }),
    ("leak", "memory does not leak", |row| row.growth.is_some()),
    ("requests_failed", "requests succeed", |row| {
        row.phases.iter().any(|phase| phase.traffic.is_some())
    }),
    ("sampler", "memory was read as often as wanted", |row| row.sampler.is_some()),
    ("generator", "traffic was sent as wanted", |row| row.generator.is_some()),
];

fn cleaned(words: &str) -> String {
    text::clean(words, 1000)
}

/// From the run's start to the end of its last phase or life.
fn length(findings: &Findings) -> Duration {
    let phases = findings.phases.iter().map(|phase| phase.end);
    let lives = findings.lives.iter().filter_map(|life| life.end);
    phases.chain(lives).max().unwrap_or(Moment::START).since(Moment::START)
}

fn failure(kind: NonSuccessKind, id: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(id).set_message(cleaned(message));
    status
}

fn skipped() -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message("not measured");
    status
}

fn case(findings: &Findings, suite: &str, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(cleaned(name), status);
    case.set_classname(cleaned(&format!("highwater.{}.{suite}", findings.name)));
    case
}

fn thresholds(findings: &Findings) -> TestSuite {
    let mut suite = TestSuite::new("thresholds");
    for row in &findings.thresholds {
        let name = format!("{}: {}", row.metric, row.rule);
        let status = match row.pass {
            Some(true) => TestCaseStatus::success(),
            Some(false) => {
                let message = format!("{name}: it was {}", value_cell(row));
                failure(NonSuccessKind::Failure, "threshold", &message)
            }
            None => skipped(),
        };
        suite.add_test_case(case(findings, "thresholds", &name, status));
    }
    suite
}

impl Junit {
    fn is_failure(self, level: Level) -> bool {
        level == Level::Fail || (self.strict && level == Level::Warn)
    }

    /// A test of reasons of one kind: the failing ones fail it, the warning ones are told.
    fn of_reasons(
        self,
        findings: &Findings,
        name: &str,
        reasons: &[&Reason],
        is_measured: bool,
    ) -> TestCase {
        let failing: Vec<&str> = reasons
            .iter()
            .filter(|reason| self.is_failure(reason.level))
            .map(|reason| reason.text.as_str())
            .collect();
        let status = match (failing.as_slice(), reasons) {
            ([], []) if !is_measured => skipped(),
            ([], _) => TestCaseStatus::success(),
            (texts, _) => failure(NonSuccessKind::Failure, reasons[0].id, &texts.join("; ")),
        };
        let mut case = case(findings, "checks", name, status);
        let told: Vec<String> = reasons
            .iter()
            .flat_map(|reason| {
                let words = format!("{}: {}", reason.level.name(), reason.text);
                [Some(words), reason.next.clone()].into_iter().flatten()
            })
            .map(|line| cleaned(&line))
            .collect();
        if !told.is_empty() {
            case.set_system_out(told.join("\n"));
        }
        case
    }

    fn checks(self, findings: &Findings) -> TestSuite {
        let mut suite = TestSuite::new("checks");
        let told = || {
            let told = findings.reasons.iter().filter(|reason| reason.level != Level::Info);
            // Those have tests of their own.
            told.filter(|reason| reason.id != "threshold")
        };
        for (id, name, is_measured) in ASKED {
            let reasons: Vec<&Reason> = told().filter(|reason| reason.id == id).collect();
            let measured = is_measured(findings);
            suite.add_test_case(self.of_reasons(findings, name, &reasons, measured));
        }
        let mut others: Vec<&str> = Vec::new();
        for reason in told() {
            if !others.contains(&reason.id) && ASKED.iter().all(|row| row.0 != reason.id) {
                others.push(reason.id);
            }
        }
        for id in others {
            let reasons: Vec<&Reason> = told().filter(|reason| reason.id == id).collect();
            suite.add_test_case(self.of_reasons(findings, id, &reasons, true));
        }
        suite
    }

    fn verdict(self, findings: &Findings) -> TestSuite {
        let mut suite = TestSuite::new("verdict");
        let name = findings.verdict.name();
        let texts: Vec<&str> = findings
            .reasons
            .iter()
            .filter(|reason| self.is_failure(reason.level))
            .map(|reason| reason.text.as_str())
            .collect();
        let message = format!("{name}: {}", texts.join("; "));
        let status = match findings.verdict {
            Verdict::Warn if self.strict => failure(NonSuccessKind::Failure, name, &message),
            Verdict::Pass | Verdict::Warn => TestCaseStatus::success(),
            Verdict::Fail => failure(NonSuccessKind::Failure, name, &message),
            Verdict::Untrusted | Verdict::Error | Verdict::Interrupted => {
                failure(NonSuccessKind::Error, name, &message)
            }
        };
        let mut case = case(findings, "verdict", "verdict", status);
        let summary = Summary { color: false, directory: None }.render(findings);
        case.set_system_out(summary.lines().map(cleaned).collect::<Vec<_>>().join("\n"));
        suite.add_test_case(case);
        suite
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::findings_with;

    /// Tests by name: whether they pass, fail or are skipped.
    fn outcomes(xml: &str) -> Vec<(String, &'static str)> {
        let document = roxmltree::Document::parse(xml).expect("it is XML");
        let cases = document.descendants().filter(|node| node.has_tag_name("testcase"));
        cases
            .map(|case| {
                let is = |tag| case.children().any(|child| child.has_tag_name(tag));
                let outcome = if is("failure") {
                    "failed"
                } else if is("error") {
                    "error"
                } else if is("skipped") {
                    "skipped"
                } else {
                    "passed"
                };
                (case.attribute("name").expect("a name").to_owned(), outcome)
            })
            .collect()
    }

    #[test]
    fn reasons_and_rules_are_tests_and_text_stays_text() {
        let mut findings = findings_with(&[
            (Level::Fail, "oom_kill", "killed <b>]]>\u{1b}[31m\u{0}&"),
            (Level::Warn, "recovery", "slow"),
        ]);
        (findings.verdict, findings.growth) = (Verdict::Fail, None);
        let xml = Junit { strict: false }.render(&findings);
        let outcomes = outcomes(&xml);
        let of = |name: &str| outcomes.iter().find(|row| row.0 == name).map(|row| row.1);
        assert_eq!(of("no OOM kill"), Some("failed"), "{xml}");
        assert_eq!(of("recovery"), Some("passed"));
        assert_eq!(of("memory does not leak"), Some("skipped"));
        assert_eq!(of("verdict"), Some("failed"));
        assert!(!xml.contains('\u{1b}') && !xml.contains("<b>"), "{xml}");
        let document = roxmltree::Document::parse(&xml).unwrap();
        let root = document.root_element();
        assert_eq!((root.tag_name().name(), root.attribute("failures")), ("testsuites", Some("2")));
    }

    #[test]
    fn warnings_fail_where_they_are_to() {
        let mut findings = findings_with(&[(Level::Warn, "recovery", "slow")]);
        findings.verdict = Verdict::Warn;
        let of = |strict| {
            let all = outcomes(&Junit { strict }.render(&findings));
            all.into_iter().filter(|row| row.1 == "failed").count()
        };
        assert_eq!((of(false), of(true)), (0, 2));
    }
}
