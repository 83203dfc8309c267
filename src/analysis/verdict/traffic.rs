//! What requests that failed, came late or were never sent make of the verdict.

use std::collections::BTreeMap;

use super::Case;
use crate::analysis::float;
use crate::analysis::model::{Findings, Level, Phase, Traffic};
use crate::event::ErrorKind;

/// From this share of failed requests on, in percent, peaks say little of real work.
const MANY_FAILED: f64 = 50.0;
/// More unsent requests than this, in percent, are a warning.
const MOST_UNSENT: f64 = 1.0;
/// Requests that are sent so much too late at the median, in microseconds, don't follow their
/// schedule.
const LATE_US: f64 = 20_000.0;
/// The metric whose rules say how many requests may fail.
const FAILED_METRIC: &str = "http_req_failed";

/// Requests that ended, and the failed ones among them by kind.
#[derive(Debug, Default)]
struct Ended {
    requests: u64,
    failed: u64,
    kinds: BTreeMap<ErrorKind, u64>,
}

impl Ended {
    fn of<'a>(rows: impl IntoIterator<Item = &'a Traffic>) -> Self {
        let mut all = Self::default();
        for row in rows {
            all.requests += row.requests;
            all.failed += row.failed;
            for (kind, count) in &row.errors {
                *all.kinds.entry(*kind).or_default() += count;
            }
        }
        all
    }

    const fn is_all_failed(&self) -> bool {
        self.requests > 0 && self.failed == self.requests
    }

    /// The failed ones in percent.
    fn percent(&self) -> f64 {
        share(self.failed, self.requests)
    }

    /// The most frequent failure, in brackets.
    fn why(&self) -> String {
        let kind = self.kinds.iter().max_by_key(|(_, count)| **count);
        kind.map_or_else(String::new, |(kind, _)| format!(" ({})", kind.words()))
    }
}

/// A part in percent of the whole.
fn share(part: u64, whole: u64) -> f64 {
    100.0 * float(part) / float(whole.max(1))
}

/// The phases that had traffic.
fn phases(findings: &Findings) -> impl Iterator<Item = (&Phase, &Traffic)> {
    findings.phases.iter().filter_map(|phase| Some((phase, phase.traffic.as_ref()?)))
}

impl Case {
    pub(super) fn traffic(&mut self, findings: &Findings) {
        if findings.generator.is_some_and(|row| row.saturated) {
            self.trouble.untrusted = true;
            let text = "the load generator was saturated: it, not the target, set the pace";
            self.say("generator", Level::Fail, text.to_owned(), None);
        }
        // A target that was killed or has ended answers nothing: that goes without saying.
        let early = self.trouble.killed || self.trouble.target;
        let level = if early { Level::Info } else { Level::Warn };
        self.failed_requests(findings, level);
        self.descriptors(findings);
        self.unsent(findings, level);
        self.late(findings, level);
    }

    fn failed_requests(&mut self, findings: &Findings, level: Level) {
        let whole = Ended::of(phases(findings).map(|(_, row)| row));
        let worst = self.level_without_success(findings, level);
        let n = whole.requests;
        if whole.is_all_failed() {
            let why = whole.why();
            let text =
                format!("none of the {n} requests succeeded{why}: no real work was measured");
            self.say("requests_failed", worst, text, None);
            return;
        }
        let many = whole.percent() >= MANY_FAILED;
        if many {
            let (percent, why) = (whole.percent(), whole.why());
            let text = format!(
                "{percent:.0} % of the requests failed{why}: peaks of real work may differ"
            );
            self.say("requests_failed", level, text, None);
        }
        for (phase, row) in phases(findings) {
            let (ended, name) = (Ended::of([row]), &phase.name);
            let (n, percent, why) = (ended.requests, ended.percent(), ended.why());
            if ended.is_all_failed() {
                let text = format!("none of the {n} requests of `{name}` succeeded{why}");
                self.say("requests_failed", worst, text, None);
                continue;
            }
            if percent >= MANY_FAILED && !many {
                let text = format!(
                    "{percent:.0} % of the requests of `{name}` failed{why}: peaks of real work \
                     may differ"
                );
                self.say("requests_failed", level, text, None);
            }
            if let Some(since) = row.unreachable_since {
                let at = since.as_secs_f64();
                let text = format!(
                    "from about {at:.0} s on the target took none of the requests of `{name}`: \
                     connections were refused or broke"
                );
                self.say("unreachable", level, text, Some(since));
            }
        }
    }

    /// How much it weighs that no request succeeded at all: a failure, unless there is a rule that
    /// judges failed requests, or the run was cut short.
    fn level_without_success(&self, findings: &Findings, level: Level) -> Level {
        let name = |metric: &str| metric.split('{').next().map(str::trim) == Some(FAILED_METRIC);
        let is_ruled = findings.thresholds.iter().any(|row| name(&row.metric));
        if level == Level::Warn && !is_ruled && !self.trouble.interrupted {
            Level::Fail
        } else {
            level
        }
    }

    /// Connections that failed for want of a descriptor say nothing of the target.
    fn descriptors(&mut self, findings: &Findings) {
        let of = |row: &Traffic| row.errors.get(&ErrorKind::Descriptors).copied().unwrap_or(0);
        let count: u64 = phases(findings).map(|(_, row)| of(row)).sum();
        if count > 0 {
            let text = format!(
                "{count} requests failed because too many files were open here, not because of \
                 the target: raise the limit with `ulimit -n`"
            );
            self.say("descriptors", Level::Warn, text, None);
        }
    }

    fn unsent(&mut self, findings: &Findings, level: Level) {
        let requests: u64 = phases(findings).map(|(_, row)| row.requests).sum();
        let unsent: u64 = phases(findings).map(|(_, row)| row.unsent).sum();
        let percent = share(unsent, requests + unsent);
        if percent > MOST_UNSENT {
            let text = format!("{percent:.1} % of the requests that fell due were never sent");
            self.say("unsent", level, text, None);
        }
    }

    fn late(&mut self, findings: &Findings, level: Level) {
        for (phase, row) in phases(findings) {
            if let Some((p50, _)) = row.send_lateness_us.filter(|(p50, _)| *p50 > LATE_US) {
                let text = format!(
                    "half of the requests of `{}` were sent {:.0} ms and more after they were due: \
                     connections came too slowly, or this machine was too busy",
                    phase.name,
                    p50 / 1e3
                );
                self.say("late", level, text, None);
            }
        }
    }
}
