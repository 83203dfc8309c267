//! What every run is asked, whatever its rules say.

use super::Case;
use crate::analysis::model::{Findings, Level, Phase, Traffic};
use crate::plan::Outline;
use crate::units::Bytes;

/// A startup counts as taking more where it is by so much, and by a tenth.
const MORE: Bytes = Bytes::from_mib(4);
/// A p99 above this, in milliseconds, is slow without any burst.
const SLOW_P99_MS: f64 = 1000.0;
/// Of fewer requests there is no p99 to speak of.
const LEAST_REQUESTS: u64 = 20;

impl Case {
    /// A startup that takes more than all that follows decides about the limit alone.
    pub(super) fn startup(&mut self, findings: &Findings) {
        let Some(startup) = &findings.startup else { return };
        let limited = startup.trials.iter().filter(|trial| !trial.unlimited && !trial.killed);
        let starting = limited.max_by_key(|trial| trial.unreclaimable_peak);
        let at = starting.and_then(|trial| trial.peak_at);
        let starting = starting.and_then(|trial| trial.unreclaimable_peak);
        let phases = findings.phases.iter().filter_map(|phase| phase.memory.as_ref());
        let running = phases.map(|memory| memory.unreclaimable_peak).max();
        if let (Some(starting), Some(running)) = (starting, running)
            && starting > running + MORE.max(Bytes::new(running.get() / 10))
        {
            let text = format!(
                "startup takes more than all that follows: {starting} while starting, {running} at \
                 most afterwards"
            );
            self.say("startup", Level::Info, text, at);
        }
    }

    /// What was to be done at a set time and failed was not tested.
    pub(super) fn actions(&mut self, findings: &Findings) {
        let actions = &findings.actions;
        let Some(first) = actions.rows.iter().find(|row| row.failed.is_some()) else { return };
        let why = first.failed.as_deref().unwrap_or_default();
        let others = match actions.failed {
            0 | 1 => String::new(),
            all => format!(" (and {} more)", all - 1),
        };
        let text = format!("`{}` failed: {why}{others}", first.text);
        self.say("action", Level::Warn, text, Some(first.at));
    }

    /// Bursts that pile up on one another.
    pub(super) fn recovery(&mut self, findings: &Findings) {
        for phase in &findings.phases {
            let Some(row) = phase.recovery else { continue };
            for (what, never) in
                [("requests in flight", row.in_flight.never), ("latency", row.latency.never)]
            {
                if 2 * never > row.bursts {
                    let (name, bursts) = (&phase.name, row.bursts);
                    let text = format!(
                        "after {never} of {bursts} bursts of {name}, {what} did not come back to \
                         what it was before the next one"
                    );
                    self.say("recovery", Level::Warn, text, Some(phase.start));
                    break;
                }
            }
        }
    }

    /// A service that is slow at its calmest holds requests, and their memory, for long.
    pub(super) fn baseline(&mut self, findings: &Findings, outline: &Outline) {
        let steady = |phase: &&Phase| {
            outline
                .phases
                .iter()
                .any(|row| row.name == phase.name && !row.bursts && row.steady != Some(false))
        };
        let calm = findings.phases.iter().filter(steady);
        let calm = calm.filter_map(|phase| Some((phase, phase.traffic.as_ref()?)));
        let rate = |row: &Traffic| row.rate.unwrap_or(f64::MAX);
        let calmest = calm
            .filter(|(_, row)| row.requests >= LEAST_REQUESTS)
            .min_by(|a, b| rate(a.1).total_cmp(&rate(b.1)));
        if let Some((phase, traffic)) = calmest
            && let Some(times) = traffic.latency.filter(|times| times.p99 > SLOW_P99_MS)
        {
            let at = traffic.rate.map_or_else(String::new, |rate| format!(" at {rate:.0}/s"));
            let (p99, name) = (times.p99 / 1e3, &phase.name);
            let text = format!("slow without any burst: p99 is {p99:.1} s in {name}{at}");
            self.say("slow", Level::Warn, text, Some(phase.start));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic::Script;
    use crate::analysis::verdict::Trouble;

    fn said(change: impl Fn(&mut Traffic)) -> Vec<String> {
        let script = Script::default();
        let mut findings = script.findings();
        for phase in &mut findings.phases {
            change(phase.traffic.as_mut().expect("each phase has traffic"));
        }
        let mut case = Case { trouble: Trouble::default(), reasons: Vec::new() };
        case.baseline(&findings, &script.outline());
        case.reasons.into_iter().map(|reason| reason.text).collect()
    }

    #[test]
    fn a_p99_above_a_second_without_bursts_is_a_warning() {
        assert_eq!(said(|_| {}), Vec::<String>::new());
        let slow = |traffic: &mut Traffic| {
            traffic.latency.as_mut().expect("it was measured").p99 = 1400.0;
        };
        let texts = said(slow);
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert!(texts[0].starts_with("slow without any burst: p99 is 1.4 s in "), "{texts:?}");
        assert!(!texts[0].contains("in burst"), "{texts:?}");
        let few = said(|traffic| {
            slow(traffic);
            traffic.requests = 19;
        });
        assert_eq!(few, Vec::<String>::new());
    }

    #[test]
    fn a_startup_above_everything_else_is_told() {
        let startup = |script: &Script| {
            let findings = script.findings();
            findings.reasons.into_iter().find(|reason| reason.id == "startup")
        };
        let calm = Script { phases: vec![("idle", 10, false)], base: 30, ..Script::default() };
        let reason = startup(&calm).expect("a trial peaks above an idle service");
        assert_eq!(reason.level, Level::Info);
        assert!(reason.text.starts_with("startup takes more than all that follows"));
        assert_eq!(startup(&Script::default()), None);
    }
}
