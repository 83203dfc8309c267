//! What a search comes to, as findings that every report renders.

use std::collections::BTreeMap;

use super::search::{Conclusion, Fate, Step, conclude};
use super::{Search, fates};
use crate::analysis::{Findings, Level, Reason, SizeRun, SizeSearch, SizeTrial, Sizing, Verdict};
use crate::units::{Bytes, Limit};

/// Reasons of a single run that say something of the measurement, whatever its limit.
const KEPT: [&str; 4] = ["blind", "peaks", "sampler", "generator"];

/// Why a search stopped before its own end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// It was interrupted.
    Interrupted,
    /// Its time was used up.
    Budget,
    /// Its runs can't be trusted.
    Untrusted(String),
    /// The host could not do it.
    Host(String),
}

/// The findings of a search: those of its most telling run, with what the search says of the limit
/// in place of the run's own estimate and verdict.
#[must_use]
pub fn findings(mut base: Findings, search: &Search, stopped: Option<&Stopped>) -> Findings {
    let conclusion = conclude(&search.header.scope, &search.tried());
    let sizing = sizing(search, &conclusion, stopped);
    let (verdict, exit_code, level, id) = verdict(search, &conclusion, stopped);
    let text = sizing.reason.clone();
    base.reasons.retain(|reason| KEPT.contains(&reason.id) && reason.level != Level::Fail);
    let next = next_step(search, &conclusion, stopped);
    base.reasons.insert(0, Reason { id, level, text, at: None, next });
    (base.verdict, base.exit_code) = (verdict, exit_code);
    if matches!(verdict, Verdict::Pass | Verdict::Warn)
        && let Some(reason) = always_broken(search)
    {
        base.reasons.insert(0, reason);
        (base.verdict, base.exit_code) = (Verdict::Fail, 1);
    }
    base.name.clone_from(&search.header.name);
    if let Some(run) = search.telling_run() {
        let text = format!(
            "startup, memory, phases and pictures are those of the run under {}, {run}",
            base.limit
        );
        base.notes.insert(0, text);
    }
    base.sizing = Some(sizing);
    base
}

fn verdict(
    search: &Search,
    found: &Conclusion,
    stopped: Option<&Stopped>,
) -> (Verdict, u8, Level, &'static str) {
    match stopped {
        Some(Stopped::Interrupted) => (Verdict::Interrupted, 130, Level::Warn, "interrupted"),
        Some(Stopped::Untrusted(_)) => (Verdict::Untrusted, 5, Level::Fail, "untrusted"),
        Some(Stopped::Host(_)) => (Verdict::Error, 3, Level::Fail, "host"),
        _ if search.hopeless().is_some() => (Verdict::Error, 4, Level::Fail, "target"),
        _ if leaks(search) => (Verdict::Fail, 1, Level::Fail, "leak"),
        _ if found.recommended.is_none() => (Verdict::Fail, 1, Level::Fail, "sizing"),
        _ if !found.narrow => (Verdict::Warn, 0, Level::Warn, "sizing"),
        _ => (Verdict::Pass, 0, Level::Info, "sizing"),
    }
}

/// That rules are broken with all the room there is: survival can't be held to them.
fn always_broken(search: &Search) -> Option<Reason> {
    let broken = search.always_broken();
    if broken.is_empty() {
        return None;
    }
    let (rules, one) = (broken.join(", "), broken.len() == 1);
    let alive = search.runs.iter().filter(|run| !run.is_dead());
    let most =
        alive.map(|run| run.limit).max_by_key(|limit| limit.bytes().map_or(u64::MAX, Bytes::get));
    let text = format!(
        "{rules} {} broken in every run that was not killed, also under the largest limit, {}",
        if one { "was" } else { "were" },
        most.unwrap_or(Limit::Unlimited)
    );
    let next = "`highwater run` says more about it; or change the rule".to_owned();
    Some(Reason { id: "threshold", level: Level::Fail, text, at: None, next: Some(next) })
}

fn leaks(search: &Search) -> bool {
    search.runs.iter().find(|run| !run.is_dead()).is_some_and(|run| run.leaks)
}

fn next_step(search: &Search, found: &Conclusion, stopped: Option<&Stopped>) -> Option<String> {
    let text = match stopped {
        Some(Stopped::Interrupted | Stopped::Budget) => {
            "the same command goes on from here, with `--out` and this directory"
        }
        None if search.hopeless().is_some() => {
            "read what it printed: the target-*.log files in `runs`"
        }
        None if leaks(search) => "find the leak first: `highwater run` says more about it",
        None if found.recommended.is_none() => return Some(higher(search, found)),
        None if search.is_out_of_runs() => {
            "it goes on where it stopped with more `--trials`, `--out` and this directory"
        }
        Some(Stopped::Untrusted(_)) => {
            "make room for it on this machine, then let the same command go on, with `--out` and \
             this directory"
        }
        Some(Stopped::Host(_)) => "`highwater doctor` says what is missing here; then let it go on",
        None => return None,
    };
    Some(text.to_owned())
}

/// What may help where nothing survived.
fn higher(search: &Search, found: &Conclusion) -> String {
    let most = search.header.scope.most;
    if search.is_out_of_runs() && found.failed.is_none_or(|failed| failed < most) {
        return "its runs are used up: it goes on with more `--trials`, `--out` and this directory"
            .to_owned();
    }
    let free = search.runs.iter().filter(|run| run.limit == Limit::Unlimited);
    let need = free.filter_map(|run| run.need).map(|need| need.1).max().filter(|need| *need > most);
    let held = need.map(|need| format!("; without a limit it held {need}")).unwrap_or_default();
    format!("let it try larger limits with `--max`{held}")
}

fn sizing(search: &Search, found: &Conclusion, stopped: Option<&Stopped>) -> Sizing {
    let trials = trials(search);
    let of = |wanted: fn(&SizeTrial) -> bool| {
        trials.iter().filter(|row| wanted(row)).filter_map(|row| row.limit.bytes()).max()
    };
    let (cliff, knee) = (of(|row| row.killed > 0), of(|row| row.thrashed > 0));
    let leaking = leaks(search);
    let recommended = found.recommended.filter(|_| !leaking);
    let margin = recommended.zip(found.least).filter(|_| found.narrow);
    let margin_percent =
        margin.map(|(limit, least)| 100.0 * (limit.as_f64() / least.as_f64().max(1.0) - 1.0));
    let mut sizing = Sizing {
        recommended,
        request: recommended.and_then(|limit| request(search, limit)),
        verified: recommended.is_some() && found.proofs > 0,
        margin_percent,
        spread_percent: Some(100.0 * found.spread).filter(|spread| *spread > 0.0),
        phases: search.header.phases.clone(),
        covered: covered(search, found),
        not_covered: not_covered(search, found),
        search: Some(SizeSearch {
            trials,
            least: found.least,
            cliff,
            knee: knee.filter(|knee| Some(*knee) > cliff),
            finished: search.next() == Step::End && !search.is_out_of_runs() && stopped.is_none(),
        }),
        reason: String::new(),
    };
    sizing.reason = reason(search, found, &sizing, stopped);
    sizing
}

/// What a scheduler should set aside: the level that runs stayed below nearly all the time.
fn request(search: &Search, limit: Bytes) -> Option<Bytes> {
    let alive = search.runs.iter().filter(|run| !run.is_dead());
    alive.filter_map(|run| run.request).max().map(|size| size.min(limit))
}

fn reason(
    search: &Search,
    found: &Conclusion,
    sizing: &Sizing,
    stopped: Option<&Stopped>,
) -> String {
    let runs = search.runs.len();
    let so_far = match stopped {
        Some(Stopped::Interrupted) => format!("interrupted after {runs} runs: "),
        Some(Stopped::Budget) => format!("the time was used up after {runs} runs: "),
        Some(Stopped::Untrusted(text)) => return format!("runs can't be trusted: {text}"),
        Some(Stopped::Host(text)) => return text.clone(),
        None => String::new(),
    };
    if let Some(text) = search.hopeless() {
        return format!("no limit helps: {text}");
    }
    if leaks(search) {
        return "memory leaks: no limit is large enough".to_owned();
    }
    let Some(limit) = sizing.recommended else {
        let failed = found.failed.map_or_else(
            || "no limit was tried to the end".to_owned(),
            |failed| format!("nothing up to {} survived", Limit::Bytes(failed)),
        );
        return format!("{so_far}{failed}");
    };
    let (limit, edge) = (Limit::Bytes(limit), edge(found));
    let times = times(found.proofs);
    if !found.narrow {
        return format!("{so_far}{limit} survived {times}, but a lower limit may do: {edge}");
    }
    let margin = sizing.margin_percent.unwrap_or(0.0);
    let apart = 100.0 * found.spread;
    let bursts = format!("for bursts lie up to {apart:.0} % above the median of a run");
    let why = if search.header.scope.room > 1.0 {
        "which leaves the share of the limit free that the rules ask for"
    } else if found.spread > 0.06 {
        bursts.as_str()
    } else if found.by_chance {
        "for near the edge it was chance which run survived"
    } else if margin < 1.0 {
        "which is the smallest limit that can be set"
    } else {
        "for other runs of the same traffic differ a little"
    };
    format!("{so_far}{limit} survived {times}: {edge}, and {margin:.0} % on top, {why}")
}

fn edge(found: &Conclusion) -> String {
    match (found.failed.map(Limit::Bytes), found.least.map(Limit::Bytes)) {
        (Some(failed), Some(least)) => format!("{failed} failed, {least} survived"),
        (None, Some(least)) => format!("{least} survived, and nothing failed"),
        _ => "nothing survived each time".to_owned(),
    }
}

fn times(count: u32) -> String {
    match count {
        1 => "1 run".to_owned(),
        count => format!("{count} of {count} runs"),
    }
}

fn covered(search: &Search, found: &Conclusion) -> Vec<String> {
    let phases = search.header.phases.join(", ");
    let proofs = match found.proofs {
        0 => "no run under the recommended limit".to_owned(),
        count => format!("{} under the recommended limit", times(count)),
    };
    vec![
        format!("startup and {phases}, in fresh containers for each run"),
        format!("{} runs under other limits, {proofs}", search.runs.len()),
    ]
}

fn not_covered(search: &Search, found: &Conclusion) -> Vec<String> {
    let mut rows = Vec::new();
    if !search.header.left_out.is_empty() {
        rows.push(format!("the phases {}", search.header.left_out.join(", ")));
    }
    rows.push("other traffic than this".to_owned());
    rows.push("growth over a longer time than these phases took".to_owned());
    if !search.header.shares.is_empty() {
        let rules = search.header.shares.join(", ");
        rows.push(format!("runs held to rules that are a share of the limit: {rules}"));
    }
    if found.proofs == 1 {
        rows.push("chance: one run only under the recommended limit".to_owned());
    }
    rows
}

/// A run, how it went, and why it did not survive.
type Judged<'a> = (&'a SizeRun, Fate, Option<String>);

/// The runs by limit, the highest first.
fn trials(search: &Search) -> Vec<SizeTrial> {
    let mut rows: BTreeMap<u64, Vec<Judged<'_>>> = BTreeMap::new();
    for (run, (fate, text)) in search.runs.iter().zip(fates(&search.runs)) {
        let rank = run.limit.bytes().map_or(u64::MAX, Bytes::get);
        rows.entry(rank).or_default().push((run, fate, text));
    }
    rows.into_values().rev().map(|rows| trial(&rows)).collect()
}

fn trial(rows: &[Judged<'_>]) -> SizeTrial {
    let count = |wanted: Fate| {
        u32::try_from(rows.iter().filter(|row| row.1 == wanted).count()).unwrap_or(u32::MAX)
    };
    let runs = || rows.iter().map(|row| row.0);
    // What a killed run held, or how slow it was, is of a run that was cut off.
    let whole = || runs().filter(|run| !run.is_dead());
    let most = |of: fn(&SizeRun) -> Option<f64>| whole().filter_map(of).max_by(f64::total_cmp);
    let least = |of: fn(&SizeRun) -> Option<f64>| whole().filter_map(of).min_by(f64::total_cmp);
    let faults = |run: &SizeRun| {
        let known = run.phases.iter().filter_map(|phase| phase.major_faults);
        known.reduce(|a, b| a + b)
    };
    SizeTrial {
        limit: rows.first().map_or(Limit::Unlimited, |row| row.0.limit),
        runs: u32::try_from(rows.len()).unwrap_or(u32::MAX),
        survived: count(Fate::Survived),
        killed: count(Fate::Killed),
        thrashed: count(Fate::Thrashed),
        reason: rows.iter().find_map(|row| row.2.clone()),
        peak: whole().filter_map(|run| run.need).map(|need| need.1).max(),
        p99_ms: most(|run| run.most(|phase| phase.p99_ms)),
        psi_percent: most(|run| run.most(|phase| phase.psi_percent)),
        major_faults: whole().filter_map(faults).max(),
        cpu_cores: most(|run| run.most(|phase| phase.cpu_cores)),
        rate: least(|run| run.phases.iter().filter_map(|p| p.rate).min_by(f64::total_cmp)),
        directories: runs().map(|run| run.directory.clone()).collect(),
    }
}
