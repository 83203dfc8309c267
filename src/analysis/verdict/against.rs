//! What a baseline has to say of a run.

use super::advice;
use crate::analysis::compare::{Comparison, Outcome, reason};
use crate::analysis::model::{Findings, Level, Reason, Verdict};

/// So many regressions are told one by one.
const MOST: usize = 8;

impl Findings {
    /// Holds the run against a baseline, and fails it where something became worse; not where the
    /// baseline was made on another kind of host, or where the run is `accepted` as the new
    /// reference.
    pub fn hold_against(&mut self, comparison: &Comparison, accepted: bool) {
        let level = if comparison.informs || accepted { Level::Info } else { Level::Fail };
        let worse: Vec<_> = comparison.regressions().collect();
        for row in worse.iter().take(MOST) {
            let next = "find what changed; where it is meant, accept it with --update-baseline";
            self.say("regression", level, reason(row, comparison), Some(next));
        }
        if let Some(more) = worse.len().checked_sub(MOST).filter(|more| *more > 0) {
            let text = format!("regression against the baseline: {more} more metrics");
            let next = "`highwater compare --baseline FILE --new DIR` tells all";
            self.say("regression", level, text, Some(next));
        }
        if comparison.informs {
            let differ = comparison.differences.first().map_or("", |row| row.text.as_str());
            let text = format!(
                "the baseline was made on another kind of host, and only informs: {differ}"
            );
            self.say("other_baseline", Level::Info, text, None);
        }
        let better = comparison.count(Outcome::Improvement);
        if better > 0 && !accepted {
            let text = format!(
                "better than the baseline in {better} metrics: --update-baseline holds later runs to it"
            );
            self.say("improvement", Level::Info, text, None);
        }
        self.judge_again();
    }

    /// Tells that the run could not be held against its baseline, and why.
    pub fn without_baseline(&mut self, why: &str) {
        let next = "run as the baseline was made, or make it anew with --update-baseline";
        let text = format!("not held against the baseline: {why}");
        self.say("other_baseline", Level::Warn, text, Some(next));
        self.judge_again();
    }

    fn say(&mut self, id: &'static str, level: Level, text: String, next: Option<&str>) {
        let next = next.filter(|_| level != Level::Info).map(str::to_owned);
        self.reasons.push(Reason { id, level, text, at: None, next });
    }

    /// A worse verdict than the run's own, never a better one.
    fn judge_again(&mut self) {
        self.reasons.sort_by_key(|reason| (reason.level, advice::rank(reason.id)));
        let has = |level| self.reasons.iter().any(|reason| reason.level == level);
        (self.verdict, self.exit_code) = match self.verdict {
            Verdict::Pass | Verdict::Warn if has(Level::Fail) => (Verdict::Fail, 1),
            Verdict::Pass if has(Level::Warn) => (Verdict::Warn, 0),
            same => (same, self.exit_code),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic::Script;

    #[test]
    fn a_run_that_could_not_be_compared_is_a_warning() {
        let mut findings = Script::default().findings();
        let before = findings.verdict;
        findings.without_baseline("memory limit: 1 in the baseline, 2 in out");
        let told = findings.reasons.iter().find(|reason| reason.id == "other_baseline").unwrap();
        assert_eq!(told.level, Level::Warn);
        assert_eq!((before, findings.verdict), (Verdict::Pass, Verdict::Warn));
    }
}
