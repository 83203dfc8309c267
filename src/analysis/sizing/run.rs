//! What one run of a size search showed, and how it compares with one that had room.

use serde::{Deserialize, Serialize};

use crate::analysis::model::{Findings, Level, Phase, Times};
use crate::analysis::{GrowthClass, Verdict, float};
use crate::units::{Bytes, Limit};

/// A phase counts as degraded where tasks wait for memory so much more of the time than with room,
/// in points of a percent.
const PSI_MORE: f64 = 10.0;
/// Its p99 may be so many times that with room, and so many milliseconds more, where the memory is
/// what is short.
const LATENCY_TIMES: f64 = 2.0;
const LATENCY_MORE_MS: f64 = 20.0;
/// Memory is short where tasks wait for it so much more, in points of a percent, or so many more
/// faults wait for a device, or so many more bytes are read from one: what was cached before is
/// read again. (cgroup v1 has no PSI for a group.)
const PRESSED_PSI: f64 = 1.0;
const PRESSED_FAULTS: u64 = 100;
const PRESSED_READ_BYTES: u64 = 16 << 20;
/// Of the throughput with room it keeps at least so much.
const LEAST_RATE: f64 = 0.9;
/// So many more requests may fail, in points of a percent.
const FAILED_MORE: f64 = 1.0;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SizeEnding {
    /// By itself, with its target alive.
    Whole,
    /// The target was OOM-killed.
    Killed(String),
    /// The target ended, or did not become ready, for another reason.
    Ended(String),
    /// Highwater or the host could not do it.
    Host(String),
    /// It was interrupted.
    Interrupted,
}

/// What one run of a search showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SizeRun {
    /// Its directory, within that of the search.
    pub directory: String,
    /// Its limit.
    pub limit: Limit,
    /// How it ended.
    pub ending: SizeEnding,
    /// Why what it measured can't be trusted.
    pub untrusted: Option<String>,
    /// The rules that were broken.
    pub broken: Vec<String>,
    /// Unreclaimable memory at its peak, between two bounds; where it was killed while starting,
    /// what that took without a limit.
    pub need: Option<(Bytes, Bytes)>,
    /// What a scheduler should set aside.
    pub request: Option<Bytes>,
    /// By how much the highest burst was above the median, in percent; none where bursts don't
    /// decide what is needed.
    #[serde(default)]
    pub spread_percent: Option<f64>,
    /// Whether it leaks, by its floors.
    pub leaks: bool,
    /// Its phases.
    pub phases: Vec<SizePhase>,
}

/// One phase of such a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SizePhase {
    /// Its name.
    pub name: String,
    /// The 99th percentile of latency, in milliseconds.
    pub p99_ms: Option<f64>,
    /// The time in which some task waited for memory, in percent of the phase.
    pub psi_percent: Option<f64>,
    /// Page faults that waited for a device.
    pub major_faults: Option<u64>,
    /// Bytes read from devices.
    #[serde(default)]
    pub read_bytes: Option<u64>,
    /// CPU time per wall time, in cores.
    pub cpu_cores: Option<f64>,
    /// Requests per second.
    pub rate: Option<f64>,
    /// Failed requests, in percent.
    pub failed_percent: Option<f64>,
}

impl SizeRun {
    /// What the findings of a run say.
    #[must_use]
    pub fn of(findings: &Findings, directory: &str, limit: Limit) -> Self {
        let failed = |row: &&&crate::judge::Measured| row.pass == Some(false);
        let broken = findings.thresholds.iter().collect::<Vec<_>>();
        let broken = broken.iter().filter(failed).map(|r| format!("{} {}", r.metric, r.rule));
        let untrusted = findings.verdict == Verdict::Untrusted;
        let reason = findings.reasons.first().filter(|_| untrusted);
        let growth = findings.growth.as_ref().map(|growth| growth.class);
        Self {
            directory: directory.to_owned(),
            limit,
            ending: ending(findings),
            untrusted: reason.map(|reason| reason.text.clone()),
            broken: broken.collect(),
            need: need(findings),
            request: findings.sizing.as_ref().and_then(|sizing| sizing.request),
            spread_percent: findings.sizing.as_ref().and_then(|sizing| sizing.spread_percent),
            leaks: growth == Some(GrowthClass::Leak),
            phases: findings.phases.iter().map(phase).collect(),
        }
    }

    /// Whether it was OOM-killed, or its target ended.
    #[must_use]
    pub const fn is_dead(&self) -> bool {
        matches!(self.ending, SizeEnding::Killed(_) | SizeEnding::Ended(_))
    }

    /// In what it is worse than one with room; none where it is as good.
    #[must_use]
    pub fn worse_than(&self, room: &Self) -> Option<String> {
        let rule = self.broken.iter().find(|rule| !room.broken.contains(rule));
        if let Some(rule) = rule {
            return Some(format!("threshold broken: {rule}"));
        }
        self.phases.iter().find_map(|phase| {
            let other = room.phases.iter().find(|row| row.name == phase.name)?;
            phase.worse_than(other)
        })
    }

    /// The greatest of a measure over its phases.
    #[must_use]
    pub fn most(&self, of: impl Fn(&SizePhase) -> Option<f64>) -> Option<f64> {
        self.phases.iter().filter_map(of).max_by(f64::total_cmp)
    }
}

impl SizePhase {
    fn worse_than(&self, room: &Self) -> Option<String> {
        let name = &self.name;
        let psi = self.psi_percent.unwrap_or(0.0) - room.psi_percent.unwrap_or(0.0);
        if psi > PSI_MORE {
            let (now, then) = (self.psi_percent?, room.psi_percent.unwrap_or(0.0));
            return Some(format!(
                "tasks waited for memory {now:.0} % of the time in {name} ({then:.0} % with room)"
            ));
        }
        if let (Some(now), Some(then)) = (self.failed_percent, room.failed_percent)
            && now > then + FAILED_MORE
        {
            return Some(format!(
                "{now:.1} % of requests failed in {name} ({then:.1} % with room)"
            ));
        }
        if let (Some(now), Some(then)) = (self.rate, room.rate)
            && now < LEAST_RATE * then
        {
            return Some(format!("{now:.0} requests/s in {name} ({then:.0} with room)"));
        }
        let more = |now: Option<u64>, then: Option<u64>, by: u64| {
            now.unwrap_or(0) > then.unwrap_or(0).saturating_mul(2).saturating_add(by)
        };
        let pressed = psi > PRESSED_PSI
            || more(self.major_faults, room.major_faults, PRESSED_FAULTS)
            || more(self.read_bytes, room.read_bytes, PRESSED_READ_BYTES);
        if let (Some(now), Some(then), true) = (self.p99_ms, room.p99_ms, pressed)
            && now > LATENCY_TIMES * then
            && now > then + LATENCY_MORE_MS
        {
            return Some(format!(
                "p99 was {now:.0} ms in {name} ({then:.0} ms with room), waiting for memory"
            ));
        }
        None
    }
}

fn ending(findings: &Findings) -> SizeEnding {
    let of = |id: &str| {
        let found = findings.reasons.iter().find(|row| row.id == id && row.level == Level::Fail);
        found.map(|row| row.text.clone())
    };
    if let Some(text) = of("oom_kill") {
        SizeEnding::Killed(text)
    } else if let Some(text) = of("target") {
        SizeEnding::Ended(text)
    } else if let Some(text) = of("host") {
        SizeEnding::Host(text)
    } else if of("interrupted").or_else(|| of("cut_off")).is_some() {
        SizeEnding::Interrupted
    } else {
        SizeEnding::Whole
    }
}

fn need(findings: &Findings) -> Option<(Bytes, Bytes)> {
    let trials = || findings.startup.iter().flat_map(|startup| &startup.trials);
    let starting = trials().filter(|trial| !trial.killed);
    let starting = starting.filter_map(|trial| Some((trial.rss_peak?, trial.unreclaimable_peak?)));
    let killed_early = trials().any(|trial| trial.killed);
    let memory = findings.memory.as_ref().filter(|memory| memory.oom_kills == 0 && !killed_early);
    let memory = memory.map(|memory| (memory.unreclaimable_peak_low, memory.unreclaimable_peak));
    // Of a run that was killed later, what it held before says nothing.
    let killed_late = findings.memory.as_ref().is_some_and(|memory| memory.oom_kills > 0);
    let rows = starting.chain(memory).filter(|_| !killed_late);
    rows.reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
}

fn phase(phase: &Phase) -> SizePhase {
    let seconds = phase.end.since(phase.start).as_secs_f64();
    let target = phase.target.as_ref();
    let traffic = phase.traffic.as_ref();
    let percent = |ms: f64| ms / 10.0 / seconds.max(1e-3);
    SizePhase {
        name: phase.name.clone(),
        p99_ms: traffic.and_then(|row| row.latency).map(|times: Times| times.p99),
        psi_percent: target.and_then(|row| row.psi_some_ms).map(percent),
        major_faults: target.and_then(|row| row.major_faults),
        read_bytes: target.and_then(|row| row.read_bytes),
        cpu_cores: target.and_then(|row| row.cpu_cores),
        rate: traffic.and_then(|row| row.rate),
        failed_percent: traffic
            .filter(|row| row.requests > 0)
            .map(|row| 100.0 * float(row.failed) / float(row.requests)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic::Script;

    fn run() -> SizeRun {
        SizeRun::of(&Script::default().findings(), "runs/01", Limit::Unlimited)
    }

    #[test]
    fn a_run_is_no_worse_than_itself() {
        let run = run();
        assert_eq!(run.ending, SizeEnding::Whole);
        assert_eq!(run.worse_than(&run), None);
        let (low, high) = run.need.unwrap();
        assert!(low <= high);
        let text = serde_json::to_string(&run).unwrap();
        let mut back: SizeRun = serde_json::from_str(&text).unwrap();
        for (phase, before) in back.phases.iter_mut().zip(&run.phases) {
            // The last digit of a number may differ.
            let rates = phase.rate.zip(before.rate).unwrap();
            assert!((rates.0 - rates.1).abs() < 1e-9);
            *phase = before.clone();
        }
        assert_eq!(back, run);
    }

    #[test]
    fn slow_answers_count_only_where_memory_is_short() {
        let room = run();
        let mut slow = room.clone();
        for phase in &mut slow.phases {
            phase.p99_ms = phase.p99_ms.map(|ms| 3.0 * ms + 30.0);
        }
        assert_eq!(slow.worse_than(&room), None, "a busy machine is slow, too");
        slow.phases[0].major_faults = Some(10_000);
        assert!(slow.worse_than(&room).unwrap().contains("waiting for memory"));
        slow.phases[0].major_faults = room.phases[0].major_faults;
        slow.phases[0].read_bytes = Some(room.phases[0].read_bytes.unwrap_or(0) * 2 + (17 << 20));
        assert!(slow.worse_than(&room).unwrap().contains("waiting for memory"));
        let mut waiting = room.clone();
        waiting.phases[0].psi_percent = Some(50.0);
        assert!(waiting.worse_than(&room).unwrap().starts_with("tasks waited"));
        let mut broken = room.clone();
        broken.broken.push("http_req_duration p(95)<200".to_owned());
        assert!(broken.worse_than(&room).is_some());
        assert_eq!(room.worse_than(&broken), None);
    }

    #[test]
    fn a_killed_run_does_not_tell_what_it_needs() {
        let script = Script { kill: Some(0.5), ..Script::default() };
        let run = SizeRun::of(&script.findings(), "runs/02", script.limit);
        assert!(matches!(run.ending, SizeEnding::Killed(_)), "{run:?}");
        assert_eq!(run.need, None);
    }
}
