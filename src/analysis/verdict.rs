//! What it all comes to.

mod advice;
mod against;
mod always;
mod concurrency;
mod growth;
mod traffic;

use super::Trial;
use super::collect::Kills;
use super::float;
use super::model::{Findings, Level, Reason, Verdict};
use crate::clock::Moment;
use crate::event::{Finish, LifeRole, PeakMethod};
use crate::judge::Measured;
use crate::plan::{Aggregate, MetricKind, Outline, WATCH_PHASE, Window};
use crate::units::{Bytes, Limit};

/// Less free than this share of the limit, in percent, is a warning.
const LEAST_HEADROOM: f64 = 10.0;
/// More missed ticks than this, in percent, can't be trusted where peaks are only sampled.
const MOST_MISSED: f64 = 1.0;
/// Usage from this share of the limit counts as being at it.
const AT_LIMIT: f64 = 0.99;

/// What kinds of trouble there are; which of them decides is the order of [`decide`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "any of them may hold beside the others")]
pub(super) struct Trouble {
    pub(super) interrupted: bool,
    pub(super) host: bool,
    pub(super) killed: bool,
    pub(super) target: bool,
    pub(super) untrusted: bool,
    pub(super) failed: bool,
    pub(super) warned: bool,
}

/// The verdict and its exit code. Where several hold: 130, 3, 1 by a kill, 4, 5, 1 otherwise.
pub(super) const fn decide(trouble: Trouble) -> (Verdict, u8) {
    match trouble {
        Trouble { interrupted: true, .. } => (Verdict::Interrupted, 130),
        Trouble { host: true, .. } => (Verdict::Error, 3),
        Trouble { killed: true, .. } => (Verdict::Fail, 1),
        Trouble { target: true, .. } => (Verdict::Error, 4),
        Trouble { untrusted: true, .. } => (Verdict::Untrusted, 5),
        Trouble { failed: true, .. } => (Verdict::Fail, 1),
        Trouble { warned: true, .. } => (Verdict::Warn, 0),
        _ => (Verdict::Pass, 0),
    }
}

/// How and where a recording ends, and what of it can't be read.
pub(super) struct Stop<'a> {
    /// The reason why the run ended; none where nobody said so.
    pub(super) finish: Option<&'a Finish>,
    /// The last moment of which anything is known.
    pub(super) at: Moment,
    /// What was going on then: "in phase soak".
    pub(super) place: String,
    /// Spans that can't be read.
    pub(super) lost: &'a [(Moment, Option<Moment>)],
}

/// Fills in reasons, verdict and exit code.
pub(super) fn judge(
    findings: &mut Findings,
    kills: &Kills,
    stop: &Stop<'_>,
    outline: &Outline,
    phase_at: &dyn Fn(Moment) -> Option<String>,
) {
    let finish = stop.finish;
    let mut case = Case { trouble: Trouble::default(), reasons: Vec::new() };
    case.kills(findings, kills, finish, phase_at);
    case.ending(stop);
    case.lost(stop);
    case.growth(findings);
    case.thresholds(&findings.thresholds, finish);
    case.headroom(findings);
    case.page_cache(findings);
    case.sampler(findings);
    case.traffic(findings);
    case.startup(findings);
    case.baseline(findings, outline);
    case.recovery(findings);
    case.actions(findings);
    case.concurrency(findings);
    case.reasons.sort_by_key(|reason| (reason.level, advice::rank(reason.id)));
    for reason in &mut case.reasons {
        reason.next = advice::next(reason, findings);
    }
    (findings.verdict, findings.exit_code) = decide(case.trouble);
    findings.reasons = case.reasons;
}

struct Case {
    trouble: Trouble,
    reasons: Vec<Reason>,
}

impl Case {
    fn say(&mut self, id: &'static str, level: Level, text: String, at: Option<Moment>) {
        match level {
            Level::Fail => self.trouble.failed = true,
            Level::Warn => self.trouble.warned = true,
            Level::Info => {}
        }
        let reason = Reason { id, level, text, at, next: None };
        self.reasons.push(reason);
    }

    fn kills(
        &mut self,
        findings: &Findings,
        kills: &Kills,
        finish: Option<&Finish>,
        phase_at: &dyn Fn(Moment) -> Option<String>,
    ) {
        for row in kills.main() {
            let place = phase_at(row.first).map_or_else(
                || "outside the phases".to_owned(),
                |phase| match phase.as_str() {
                    WATCH_PHASE => "while it was watched".to_owned(),
                    phase => format!("in phase {phase}"),
                },
            );
            let times = match row.count {
                1 => String::new(),
                more => format!(" ({more} processes)"),
            };
            let limit = under(findings.limit);
            let when = row.first.as_secs_f64();
            let text = format!("OOM-killed {place} at {when:.1} s {limit}{times}");
            self.say("oom_kill", Level::Fail, text, Some(row.first));
        }
        let trials = findings.startup.iter().flat_map(|startup| &startup.trials);
        let killed: Vec<&Trial> = trials.clone().filter(|trial| trial.killed).collect();
        for trial in &killed {
            let mut repeats = trials.clone();
            let free = repeats
                .find(|other| other.number == trial.number && other.unlimited && !other.killed);
            let needs = free.and_then(|free| free.peak).filter(|_| !trial.unlimited);
            let needs = needs
                .map_or_else(String::new, |peak| format!("; without a limit it peaks at {peak}"));
            let (number, limit) = (trial.number, under(trial.limit));
            let text = format!("OOM-killed in startup trial {number} {limit}{needs}");
            let at = kills.rows.values().find(|row| match row.role {
                LifeRole::Trial { number: n } => !trial.unlimited && n == number,
                LifeRole::Unlimited { number: n } => trial.unlimited && n == number,
                LifeRole::Main => false,
            });
            self.say("oom_kill", Level::Fail, text, at.map(|row| row.first));
        }
        self.trouble.killed = !killed.is_empty() || kills.main().next().is_some();
        if !self.trouble.killed && finish == Some(&Finish::OomKilled) {
            self.trouble.killed = true;
            let text = format!("OOM-killed {}", under(findings.limit));
            self.say("oom_kill", Level::Fail, text, None);
        }
    }

    fn ending(&mut self, stop: &Stop<'_>) {
        let trouble = &mut self.trouble;
        let (place, when) = (&stop.place, stop.at.as_secs_f64());
        let (id, text) = match stop.finish {
            None => {
                trouble.interrupted = true;
                let text = format!(
                    "the recording was cut off {place} at {when:.1} s, without a word: Highwater \
                     was killed, or its machine stopped; what follows covers the run so far"
                );
                ("cut_off", text)
            }
            Some(Finish::Interrupted) => {
                trouble.interrupted = true;
                let text = format!(
                    "interrupted {place} at {when:.1} s: what follows covers the run so far"
                );
                ("interrupted", text)
            }
            Some(Finish::Failed { text }) => {
                trouble.host = true;
                ("host", format!("the run could not go on {place} at {when:.1} s: {text}"))
            }
            Some(Finish::TargetFailed { text }) => {
                trouble.target = true;
                ("target", text.clone())
            }
            Some(Finish::TargetEnded) => {
                trouble.target = true;
                ("target", "the target ended by itself in mid-run".to_owned())
            }
            Some(Finish::Completed | Finish::OomKilled | Finish::Aborted { .. }) => return,
        };
        // After a kill, that the target ended or did not become ready goes without saying.
        let level = if id == "target" && self.trouble.killed { Level::Info } else { Level::Fail };
        self.say(id, level, text, Some(stop.at));
    }

    /// What can't be read may hold anything, a kill too.
    fn lost(&mut self, stop: &Stop<'_>) {
        for (from, until) in stop.lost {
            self.trouble.untrusted = true;
            let from_s = from.as_secs_f64();
            let span = until.map_or_else(
                || format!("after {from_s:.1} s"),
                |until| format!("from {from_s:.1} s to {:.1} s", until.as_secs_f64()),
            );
            let text = format!(
                "the recording is damaged: what happened {span} can't be read; what follows covers \
                 the rest"
            );
            self.say("damaged", Level::Fail, text, Some(*from));
        }
    }

    fn thresholds(&mut self, measured: &[Measured], finish: Option<&Finish>) {
        let mut unmeasured = Vec::new();
        for row in measured {
            match row.pass {
                Some(true) => {}
                Some(false) => {
                    let value = value_text(row);
                    let was = match row.window {
                        None => "was",
                        Some(Window::Over(_)) => "was at worst",
                        Some(Window::For(_)) => "stayed beyond it, at",
                    };
                    let text =
                        format!("threshold broken: {} {}, {was} {value}", row.metric, row.rule);
                    self.say("threshold", Level::Fail, text, row.broken_at);
                }
                None => unmeasured.push(format!("{} {}", row.metric, row.rule)),
            }
        }
        if let Some(Finish::Aborted { rule }) = finish {
            let text = format!("stopped early: {rule} was broken");
            let broken =
                measured.iter().find(|row| *rule == format!("{} {}", row.metric, row.rule));
            let at = broken.and_then(|row| row.broken_at);
            self.say("aborted", Level::Fail, text, at);
        }
        let early = self.trouble.interrupted || self.trouble.killed || self.trouble.target;
        if !unmeasured.is_empty() {
            let level = if early || self.trouble.host { Level::Info } else { Level::Warn };
            let text = format!("nothing was measured for {}", unmeasured.join(", "));
            self.say("unmeasured", level, text, None);
        }
    }

    fn headroom(&mut self, findings: &Findings) {
        if let Some(memory) = &findings.memory
            && let Some(headroom) = memory.headroom_percent
            && headroom < LEAST_HEADROOM
        {
            let (peak, limit) = (memory.unreclaimable_peak, findings.limit);
            let text = format!("only {headroom:.1} % headroom: {peak} unreclaimable of {limit}");
            let at = memory.composition.as_ref().map(|row| row.at);
            self.say("headroom", Level::Warn, text, at);
        }
        let Some(limit) = findings.limit.bytes() else {
            return;
        };
        let trials = findings.startup.iter().flat_map(|startup| &startup.trials);
        let limited = trials.filter(|trial| !trial.unlimited && !trial.killed);
        let highest = limited.max_by_key(|trial| trial.unreclaimable_peak);
        let peak = highest.and_then(|trial| trial.unreclaimable_peak);
        if let Some(peak) = peak.filter(|peak| headroom_of(*peak, limit) < LEAST_HEADROOM) {
            let headroom = headroom_of(peak, limit);
            let text = format!(
                "only {headroom:.1} % headroom in startup: {peak} unreclaimable of {limit}"
            );
            self.say("headroom", Level::Warn, text, highest.and_then(|trial| trial.peak_at));
        }
    }

    fn page_cache(&mut self, findings: &Findings) {
        if let (Some(memory), Some(limit)) = (&findings.memory, findings.limit.bytes())
            && memory.peak.as_f64() >= AT_LIMIT * limit.as_f64()
            && headroom_of(memory.unreclaimable_peak, limit) >= LEAST_HEADROOM
        {
            let text = "page cache fills the limit; the kernel gives it back".to_owned();
            self.say("page_cache", Level::Info, text, None);
        }
    }

    fn sampler(&mut self, findings: &Findings) {
        let Some(sampler) = &findings.sampler else {
            return;
        };
        match sampler.method {
            Some(PeakMethod::DockerStats) => {
                let text = "memory comes from Docker's stats, one reading a second: spikes are \
                            not seen, and the true peak may be far higher";
                self.say("blind", Level::Warn, text.to_owned(), None);
            }
            Some(PeakMethod::Lifetime | PeakMethod::Sampled) => {
                let text = "peaks can't be reset here: a spike between two ticks is missed where \
                            it sets no record";
                self.say("peaks", Level::Info, text.to_owned(), None);
            }
            Some(PeakMethod::V1Reset | PeakMethod::V2Reset) | None => {}
        }
        let due = sampler.ticks + sampler.missed_ticks;
        let missed = 100.0 * float(sampler.missed_ticks) / float(due.max(1));
        if missed <= MOST_MISSED {
            return;
        }
        let (level, meaning) = match sampler.method {
            Some(PeakMethod::Sampled | PeakMethod::DockerStats) => {
                self.trouble.untrusted = true;
                (Level::Fail, "peaks are only sampled: some may be missing")
            }
            Some(PeakMethod::Lifetime) => {
                (Level::Info, "the kernel keeps the highest peak: lesser ones may be missing")
            }
            Some(PeakMethod::V1Reset | PeakMethod::V2Reset) | None => {
                (Level::Info, "peaks are kept by the kernel: none is lost")
            }
        };
        let text = format!("the sampler missed {missed:.1} % of its ticks; {meaning}");
        self.say("sampler", level, text, None);
    }
}

fn under(limit: Limit) -> String {
    limit.bytes().map_or_else(|| "without a limit".to_owned(), |limit| format!("under {limit}"))
}

fn headroom_of(peak: Bytes, limit: Bytes) -> f64 {
    100.0 * (limit.as_f64() - peak.as_f64()) / limit.as_f64().max(1.0)
}

/// A measured value as people read it in a table; of a window the worst, or what it kept to.
pub(crate) fn value_cell(row: &Measured) -> String {
    let value = value_text(row);
    match row.window {
        Some(Window::Over(_)) if row.value.is_some() => format!("worst {value}"),
        Some(Window::For(_)) if row.value.is_some() => format!("kept {value}"),
        _ => value,
    }
}

/// A measured value as people read it.
fn value_text(row: &Measured) -> String {
    let Some(value) = row.value else {
        return "–".to_owned();
    };
    let plain = || {
        if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float-to-int cast saturates, and the sign is printed apart"
    )]
    let size = || {
        let sign = if value < 0.0 { "-" } else { "" };
        format!("{sign}{}", Bytes::new(value.abs() as u64))
    };
    match (row.kind, row.aggregate) {
        (_, Aggregate::OomKills | Aggregate::LimitHits | Aggregate::Count) => plain(),
        (MetricKind::Size, Aggregate::Slope) => format!("{}/h", size()),
        (_, Aggregate::Slope) => format!("{}/h", plain()),
        (MetricKind::Size, _) => size(),
        (MetricKind::Time | MetricKind::Trend, _) => format!("{value:.1} ms"),
        (MetricKind::Share, _) => format!("{:.2} %", value * 100.0),
        (MetricKind::Level | MetricKind::Counter, _) => plain(),
    }
}
