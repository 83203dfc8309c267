//! Several targets in one recording: each is analysed on its own, as if it were the only one.
//!
//! A run that starts its own target has one target and no `Watched` event; it goes straight
//! through. Of a watch, the run's findings are those of the target that is worst off, with every
//! target's reasons, and all targets stand below it in [`Findings::watched`].

use std::collections::BTreeMap;

use super::checklist;
use super::collect::Collector;
use super::model::{Findings, Level, Reason, Verdict, Watched};
use crate::clock::{Anchor, Moment};
use crate::event::{Event, Exit, LifeId, RunFacts, WatchStart, What};
use crate::plan::Outline;

/// Takes in events and makes the findings of them.
#[derive(Debug)]
pub(super) struct Run<'a> {
    outline: &'a Outline,
    whole: Collector,
    targets: BTreeMap<u32, Target>,
    by_life: BTreeMap<LifeId, u32>,
    /// Events of no life, for targets that come later. There are few: phases begin and end once.
    common: Vec<Event>,
}

#[derive(Debug)]
struct Target {
    start: WatchStart,
    collector: Option<Collector>,
    began: Moment,
    lives: u32,
    /// How the last life ended; none while it lives.
    ended: Option<(Moment, Exit)>,
}

impl<'a> Run<'a> {
    pub(super) fn new(outline: &'a Outline) -> Self {
        Self {
            outline,
            whole: Collector::new(outline),
            targets: BTreeMap::new(),
            by_life: BTreeMap::new(),
            common: Vec::new(),
        }
    }

    pub(super) fn feed(&mut self, event: &Event) {
        if let What::Watched(start) = &event.what {
            self.begin(event.at, start);
            return;
        }
        let target = event.what.life().and_then(|life| self.by_life.get(&life));
        match target.copied() {
            Some(target) => self.feed_target(target, event),
            None => self.feed_all(event),
        }
    }

    fn begin(&mut self, at: Moment, start: &WatchStart) {
        self.by_life.insert(start.life, start.target);
        let target = self.targets.entry(start.target).or_insert_with(|| Target {
            start: start.clone(),
            collector: None,
            began: at,
            lives: 0,
            ended: None,
        });
        target.lives += 1;
        target.ended = None;
    }

    fn feed_target(&mut self, target: u32, event: &Event) {
        let Some(target) = self.targets.get_mut(&target) else { return };
        match &event.what {
            What::Life(life) if target.collector.is_none() => {
                let mut outline = self.outline.clone();
                outline.limits.memory = life.limit;
                outline.name.clone_from(&target.start.name);
                let mut collector = Collector::new(&outline);
                for event in &self.common {
                    collector.feed(event);
                }
                target.collector = Some(collector);
            }
            What::Ended { exit, .. } => target.ended = Some((event.at, *exit)),
            _ => {}
        }
        if let Some(collector) = &mut target.collector {
            collector.feed(event);
        }
    }

    fn feed_all(&mut self, event: &Event) {
        self.whole.feed(event);
        if matches!(event.what, What::Note { .. }) {
            return;
        }
        if matches!(event.what, What::PhaseBegin { .. } | What::PhaseEnd { .. } | What::Drained) {
            self.common.push(event.clone());
        }
        for target in self.targets.values_mut() {
            if let Some(collector) = &mut target.collector {
                collector.feed(event);
            }
        }
    }

    pub(super) fn finish(self, facts: &RunFacts, anchor: Anchor) -> Findings {
        let whole = self.whole.finish(facts, anchor);
        if self.targets.is_empty() {
            return whole;
        }
        let many = self.targets.len() > 1;
        let targets = self.targets.into_values().filter_map(|row| row.finish(facts, anchor));
        let mut watched: Vec<Watched> = targets.collect();
        let Some(worst) = watched.iter().min_by(|a, b| badness(a).total_cmp(&badness(b))) else {
            return whole;
        };
        let mut findings = worst.findings.clone();
        findings.name.clone_from(&self.outline.name);
        findings.notes = whole.notes;
        if many {
            let count = watched.len();
            findings.facts.image =
                Some(format!("{}, the worst off of {count} targets", worst.start.name));
            join(&mut findings, &watched);
            for row in &mut watched {
                row.timeline = Some(timeline_name(&row.start.name, row.start.target));
            }
        }
        findings.watched = watched;
        findings
    }
}

impl Target {
    fn finish(self, facts: &RunFacts, anchor: Anchor) -> Option<Watched> {
        let mut findings = self.collector?.finish(facts, anchor);
        findings.facts.image.clone_from(&self.start.program);
        checklist::watched(&mut findings.checklist, findings.memory.is_some());
        if let Some((at, exit)) = self.ended {
            let code = exit.code.map_or_else(String::new, |code| format!(" with exit code {code}"));
            let text = format!("it ended{code} at {:.1} s", at.as_secs_f64());
            let reason = Reason { id: "ended", level: Level::Info, text, at: Some(at), next: None };
            findings.reasons.push(reason);
        }
        if findings.memory.is_none() && findings.verdict == Verdict::Pass {
            findings.verdict = Verdict::Warn;
            let text = "no memory was read: it ended too soon".to_owned();
            let next = "begin to watch it longer before it ends".to_owned();
            let reason =
                Reason { id: "unmeasured", level: Level::Warn, text, at: None, next: Some(next) };
            findings.reasons.insert(0, reason);
        }
        Some(Watched {
            start: self.start,
            began: self.began,
            ended: self.ended,
            lives: self.lives,
            timeline: None,
            findings,
        })
    }
}

/// How well off a target is, the least for the worst: killed ones first, then by headroom; without
/// a limit, the higher peak is worse, after all that have one.
fn badness(row: &Watched) -> f64 {
    let Some(memory) = &row.findings.memory else { return f64::INFINITY };
    match memory.headroom_percent {
        _ if memory.oom_kills > 0 => -1.0,
        Some(headroom) => headroom,
        // Beyond all shares, and falling with the peak.
        None => 100.0 + 1.0 / (1.0 + memory.unreclaimable_peak.as_f64()),
    }
}

/// Which of several exit codes a run ends with: as for one target with several kinds of trouble.
fn weight(findings: &Findings) -> u8 {
    let killed = findings.reasons.iter().any(|reason| reason.id == "oom_kill");
    match findings.verdict {
        Verdict::Interrupted => 0,
        Verdict::Error if findings.exit_code == 3 => 1,
        Verdict::Fail if killed => 2,
        Verdict::Error => 3,
        Verdict::Untrusted => 4,
        Verdict::Fail => 5,
        Verdict::Warn => 6,
        Verdict::Pass => 7,
    }
}

/// What all targets come to: the weightiest verdict, and every target's reasons and rules by name.
fn join(findings: &mut Findings, watched: &[Watched]) {
    if let Some(weightiest) = watched.iter().map(|row| &row.findings).min_by_key(|row| weight(row))
    {
        findings.verdict = weightiest.verdict;
        findings.exit_code = weightiest.exit_code;
    }
    findings.reasons.clear();
    findings.thresholds.clear();
    for row in watched {
        let name = &row.start.name;
        for reason in &row.findings.reasons {
            let of_the_run = matches!(reason.id, "interrupted" | "cut_off" | "host");
            if of_the_run && findings.reasons.iter().any(|known| known.id == reason.id) {
                continue;
            }
            let mut reason = reason.clone();
            if !of_the_run {
                reason.text = format!("{name}: {}", reason.text);
            }
            findings.reasons.push(reason);
        }
        for rule in &row.findings.thresholds {
            let mut rule = rule.clone();
            rule.metric = match rule.metric.strip_suffix('}') {
                Some(open) => format!("{open},target:{name}}}"),
                None => format!("{}{{target:{name}}}", rule.metric),
            };
            findings.thresholds.push(rule);
        }
    }
    // The first one stands in headlines: a kill before what else failed.
    findings.reasons.sort_by_key(|reason| (reason.level, reason.id != "oom_kill"));
}

/// A file for a target's own picture; numbered, for names that differ only in odd characters.
fn timeline_name(name: &str, target: u32) -> String {
    let safe: String = name
        .chars()
        .take(60)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' })
        .collect();
    format!("timeline-{}-{safe}.svg", target + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::event::{
        Band, Evidence, Finish, LifeRole, LifeStart, MemoryWindow, OomKill, WatchKind,
    };
    use crate::plan::{Budget, Rule, SamplingPlan, WatchPlan};
    use crate::units::{Bytes, Limit};
    use std::time::Duration;

    fn outline() -> Outline {
        WatchPlan {
            name: "both".to_owned(),
            limit: Limit::Unlimited,
            sampling: SamplingPlan {
                tick: Duration::from_millis(1),
                window: Duration::from_millis(100),
            },
            length: None,
            rules: vec![Rule::parse("memory", "max<50%", None).unwrap()],
            keep_all_ticks: false,
            reset_shared_peaks: false,
            budget: Budget::default(),
        }
        .outline()
    }

    fn begin(life: u32, target: u32, limit: Limit) -> [What; 3] {
        let (name, life) = (format!("target-{target}"), LifeId(life));
        let start = WatchStart {
            life,
            target,
            name,
            kind: WatchKind::Container,
            id: Some("abc".to_owned()),
            program: Some("image:1".to_owned()),
            group: "/docker/abc".to_owned(),
            peak_before: Some(Bytes::from_mib(9)),
        };
        let exec = What::Exec { life, before_exec: Bytes::ZERO };
        let role = LifeRole::Main;
        [What::Watched(start), What::Life(LifeStart { life, role, limit }), exec]
    }

    fn window(life: u32, mib: u64, ms: u64) -> What {
        let level = Band::of(Bytes::from_mib(mib));
        What::Memory(MemoryWindow {
            life: LifeId(life),
            start: Moment::from_millis(ms),
            ticks: 100,
            missed: 0,
            usage: level,
            peak: Bytes::from_mib(mib),
            peak_at: Moment::from_millis(ms),
            rss: level,
            cache: Band::default(),
            shmem: Band::default(),
            working_set: level,
            unreclaimable_low: level,
            unreclaimable_high: level,
            limit_hits: Some(0),
            kernel: None,
            held_mean: None,
            oom_kills: Some(0),
        })
    }

    fn analysed(events: Vec<What>) -> Findings {
        let outline = outline();
        let events = events.into_iter().enumerate();
        let events =
            events.map(|(n, what)| Event { at: Moment::from_millis(n as u64 * 10 + 10), what });
        let anchor = Clock::start().anchor();
        super::super::analyse(&outline, &RunFacts::default(), anchor, events)
    }

    fn mib(size: u64) -> Limit {
        Limit::Bytes(Bytes::from_mib(size))
    }

    #[test]
    fn each_target_is_held_to_its_own_limit_and_the_worst_speaks_for_all() {
        let mut events = [begin(0, 0, mib(100)), begin(1, 1, mib(1000))].concat();
        events.push(What::PhaseBegin { phase: 0 });
        // The second of them comes later, and is still in the phase.
        events.extend(begin(2, 2, Limit::Unlimited));
        events.extend([window(0, 60, 80), window(1, 100, 80), window(2, 900, 80)]);
        events.extend([What::PhaseEnd { phase: 0 }, What::Finished(Finish::Completed)]);
        let findings = analysed(events);
        assert_eq!(findings.watched.len(), 3);
        assert_eq!(findings.name, "both");
        assert_eq!(findings.limit, mib(100));
        assert_eq!(findings.memory.as_ref().unwrap().headroom_percent, Some(40.0));
        let passes: Vec<_> = findings.thresholds.iter().map(|row| row.pass).collect();
        assert_eq!(passes, [Some(false), Some(true), None], "half of each one's own limit");
        assert_eq!(findings.thresholds[0].metric, "memory{target:target-0}");
        assert_eq!((findings.verdict, findings.exit_code), (Verdict::Fail, 1));
        assert!(findings.reasons[0].text.starts_with("target-0: threshold broken"));
        let late = &findings.watched[2].findings;
        assert_eq!(late.phases[0].memory.unwrap().peak, Bytes::from_mib(900));
        let names: Vec<_> =
            findings.watched.iter().filter_map(|row| row.timeline.as_deref()).collect();
        assert_eq!(names[1], "timeline-2-target-1.svg");
    }

    #[test]
    fn a_killed_target_is_worse_than_any_other() {
        let mut events = [begin(0, 0, mib(100)), begin(1, 1, mib(100))].concat();
        events.push(What::PhaseBegin { phase: 0 });
        events.extend([window(0, 99, 80), window(1, 50, 80)]);
        let kill = OomKill { life: LifeId(1), evidence: Evidence::Docker, count: None };
        events.extend([What::OomKill(kill), What::Finished(Finish::Completed)]);
        let findings = analysed(events);
        assert_eq!(findings.memory.as_ref().unwrap().peak, Bytes::from_mib(50));
        assert_eq!(findings.exit_code, 1);
        let text = &findings.reasons[0].text;
        assert!(text.starts_with("target-1: OOM-killed while it was watched"), "{text}");
    }

    #[test]
    fn lives_of_one_target_are_one_row_and_its_end_is_told() {
        let mut events = begin(0, 0, mib(100)).to_vec();
        events.push(What::PhaseBegin { phase: 0 });
        events.push(window(0, 10, 40));
        let ended = |life, code| {
            let exit = Exit { code: Some(code), asked: false };
            What::Ended { life: LifeId(life), exit, lifetime_peak: None }
        };
        events.push(ended(0, 3));
        events.extend(begin(1, 0, mib(100)));
        events.extend([window(1, 20, 90), ended(1, 0), What::Finished(Finish::Completed)]);
        let findings = analysed(events);
        let [row] = findings.watched.as_slice() else { panic!("one target") };
        assert_eq!((row.lives, row.ended.unwrap().1.code), (2, Some(0)));
        assert_eq!(findings.memory.as_ref().unwrap().peak, Bytes::from_mib(20));
        assert_eq!(findings.verdict, Verdict::Pass);
        let ends: Vec<_> = findings.reasons.iter().map(|reason| reason.id).collect();
        assert_eq!(ends, ["ended"]);
        assert_eq!(row.timeline, None, "its picture is the run's");
    }

    #[test]
    fn what_ended_at_once_was_not_measured() {
        let mut events = begin(0, 0, mib(100)).to_vec();
        events.extend([What::PhaseBegin { phase: 0 }, What::Finished(Finish::Completed)]);
        let findings = analysed(events);
        assert_eq!(findings.verdict, Verdict::Warn);
        assert!(findings.memory.is_none());
    }
}
