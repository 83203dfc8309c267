//! What to do next about a reason, and which reasons weigh more.

use crate::analysis::model::{Findings, Level, Reason};
use crate::judge::Measured;
use crate::plan::MetricKind;
use crate::units::{Bytes, Limit};

/// So much of a limit should be in use at most, in percent, to be out of the warning.
const MOST_IN_USE: u64 = 90;

/// The order of reasons of one level: the smaller, the weightier.
pub(super) fn rank(id: &str) -> u8 {
    match id {
        "oom_kill" => 0,
        "interrupted" | "cut_off" | "host" | "target" | "aborted" | "damaged" => 1,
        "leak" => 2,
        "generator" | "sampler" | "blind" => 4,
        "threshold" | "regression" => 5,
        "headroom" | "grows_with_load" => 6,
        "requests_failed" | "unreachable" | "unsent" | "descriptors" | "errors_grow" => 7,
        _ => 8,
    }
}

/// What a reader should do about a reason; none where its text says it, or nothing is to be done.
pub(super) fn next(reason: &Reason, findings: &Findings) -> Option<String> {
    if reason.level == Level::Info {
        return None;
    }
    let text = match reason.id {
        "oom_kill" => return Some(after_a_kill(findings)),
        "headroom" => return headroom(findings),
        "leak" => return Some(after_a_leak(findings)),
        "threshold" => return after_a_threshold(reason, findings),
        "aborted" => {
            "see what led to it in the timeline; without `abort` the rule lets the run go on"
        }
        "interrupted" => "run it to the end: what comes after was not seen",
        "cut_off" => {
            "run it again; where Highwater itself was killed, `dmesg` says whether its own machine \
             ran out of memory"
        }
        "host" => "`highwater doctor` says what is missing here; then run it again",
        "damaged" => "run it again; a disk that damages files will damage the next recording, too",
        "unmeasured" => {
            "a rule that measures nothing holds nothing: correct its metric, filter or phase, or \
             leave it out"
        }
        "target" => "read what it printed: the target-*.log files beside this report",
        "generator" => "lower the rate, or give the load generator cores of its own",
        "sampler" => {
            "leave the sampler a core, or run where `highwater doctor` finds resettable \
                      peaks"
        }
        "blind" => {
            "run as root, or let the helper container read the cgroup: `highwater doctor` \
                    says what is missing"
        }
        "requests_failed" => "make the requests succeed first: see the errors by kind below",
        "unreachable" => "see what the target printed at that time",
        "unsent" => "raise `max-in-flight` of [traffic], or lower the rate",
        "leak_of_resources" => {
            "look for what opens them and never closes: a kill comes when they run out, too"
        }
        "action" => "mend it, or leave it out of `[[at]]`: what it was to show was not seen",
        "recovery" => {
            "the target is overloaded: bursts farther apart or smaller tell what one of them needs"
        }
        "slow" => {
            "find out what it waits for before giving it memory: slow answers hold theirs for longer"
        }
        "grows_with_load" => {
            "bound the load at the door, or give what the most load needs: `highwater size` proves a \
             limit"
        }
        "errors_grow" => {
            "errors that grow while the load stays point at something that runs out: see what the \
             target printed"
        }
        "late" => "leave the load generator a core, or lower the rate",
        _ => return None,
    };
    Some(text.to_owned())
}

fn after_a_kill(findings: &Findings) -> String {
    let killed = |trial: &&crate::analysis::Trial| trial.killed && !trial.unlimited;
    let trials = findings.startup.iter().flat_map(|startup| &startup.trials);
    if trials.clone().any(|trial| killed(&trial)) {
        let free = trials.filter(|trial| trial.unlimited && !trial.killed);
        if let Some(peak) = free.filter_map(|trial| trial.unreclaimable_peak).max() {
            let least = least_limit(peak);
            return format!(
                "give startup at least {least}, or have it take less at once; `highwater size` \
                 proves a limit"
            );
        }
    }
    "find the limit that survives with `highwater size`; what was in flight is told with the last \
     spikes"
        .to_owned()
}

/// Where to look after a rule was broken, by what it measures.
fn after_a_threshold(reason: &Reason, findings: &Findings) -> Option<String> {
    let said = |row: &&Measured| {
        let rule = format!("threshold broken: {} {},", row.metric, row.rule);
        row.pass == Some(false) && reason.text.starts_with(&rule)
    };
    let row = findings.thresholds.iter().find(said)?;
    let of = |names: &[&str]| names.iter().any(|name| row.metric.starts_with(name));
    let text = match row.kind {
        MetricKind::Size if of(&["memory", "startup"]) => {
            "see what it held at its peak, and the spikes; `highwater size` proves a limit that \
             leaves room"
        }
        MetricKind::Trend => "see which step was slow, and whether it waited for CPU or memory",
        MetricKind::Share if of(&["http_req_failed"]) => "see the errors by kind below",
        _ => "see in the timeline what else went on at that time",
    };
    Some(text.to_owned())
}

fn after_a_leak(findings: &Findings) -> String {
    let growth = findings.growth.as_ref();
    let left = growth.and_then(|growth| growth.bytes_per_request).filter(|bytes| *bytes >= 1.0);
    let time = growth.and_then(|growth| growth.driver) == Some(crate::analysis::Driver::Time);
    match left {
        Some(bytes) if !time => format!(
            "each request leaves {bytes:.0} bytes on average: compare heap profiles after an early \
             and a late burst"
        ),
        _ => "compare heap profiles from early and late in the phase; no limit is large enough"
            .to_owned(),
    }
}

fn headroom(findings: &Findings) -> Option<String> {
    let startup = findings.startup.iter().flat_map(|startup| &startup.trials);
    let startup = startup.filter(|trial| !trial.unlimited).filter_map(|row| row.unreclaimable_peak);
    let run = findings.memory.as_ref().map(|memory| memory.unreclaimable_peak);
    let least = least_limit(startup.chain(run).max()?);
    let limit = findings.limit;
    Some(format!(
        "a limit of {least} instead of {limit} would leave a tenth free; `highwater size` proves one"
    ))
}

/// The limit of which a peak takes 90 %, in whole mebibytes.
fn least_limit(peak: Bytes) -> Limit {
    let bytes = peak.get().saturating_mul(100).div_ceil(MOST_IN_USE);
    Limit::Bytes(Bytes::from_mib(bytes.div_ceil(1 << 20)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_with_a_tenth_free_is_rounded_up() {
        assert_eq!(least_limit(Bytes::from_mib(90)), Limit::Bytes(Bytes::from_mib(100)));
        assert_eq!(least_limit(Bytes::new(90 * (1 << 20) + 1)).bytes(), Some(Bytes::from_mib(101)));
    }
}
