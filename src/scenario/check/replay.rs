//! Recorded traffic: `replay` of an access log or HAR file, and sizes drawn from one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Context;
use super::files::BODY_MAX;
use super::templates::Names;
use crate::logs::{self, Format, Log, Logged};
use crate::scenario::reader::{At, Reader};
use crate::scenario::tree::{Node, Value};
use crate::scenario::{Body, Flow, Replay, Replayed, Reply, Shape, Step, Think, Transfer};
use crate::units::Bytes;

/// The largest file that is read.
const LOG_MAX: Bytes = Bytes::from_mib(1024);
/// The most requests that are replayed.
const REPLAYED_MAX: usize = 1_000_000;
/// Steps that a replay is divided into; what is rarer goes into one more for each method.
const STEPS_MAX: usize = 20;
/// How finely a distribution of recorded sizes is followed.
const SIZE_POINTS: usize = 200;

/// Reads and parses a file of recorded traffic.
fn read(at: &At<String>, context: &Context<'_>) -> Option<Log> {
    let path = context.path(&at.value);
    let fault = |message: String, help: &str| context.notes.fault(&at.place, message, help);
    let shown = path.display();
    match std::fs::metadata(&path) {
        Ok(meta) if Bytes::new(meta.len()) > LOG_MAX => {
            fault(format!("`{shown}` is too large"), &format!("{LOG_MAX} at most: cut it"));
            return None;
        }
        _ => {}
    }
    let read = std::fs::read(&path).map_err(|error| {
        let help = "paths are relative to the scenario's directory";
        fault(format!("failed to read `{shown}`: {error}"), help);
    });
    match logs::parse(&read.ok()?) {
        Ok(log) => is_mostly_read(&log, at, context).then_some(log),
        Err(error) => {
            fault(format!("`{shown}`: {error}"), error.help());
            None
        }
    }
}

/// Tells what of a file was left out: a fault where that is most of it, for then it is hardly what
/// it was taken for.
fn is_mostly_read(log: &Log, at: &At<String>, context: &Context<'_>) -> bool {
    let Some((place, why)) = &log.first_fault else { return true };
    let (one, all) = match log.format {
        Format::Har => ("entry", "entries"),
        Format::Common | Format::JsonLines => ("line", "lines"),
    };
    let (kept, skipped) = (log.requests.len() as u64, log.skipped);
    let text = format!(
        "`{}`: {skipped} of {} {all} can't be read; the first is {one} {place}: {why}",
        at.value,
        kept + skipped
    );
    // What is beyond the bound was not even tried.
    let is_mostly_read = skipped <= kept || log.requests.len() >= logs::REQUESTS_MAX;
    if is_mostly_read {
        context.notes.remark(format!("{text}; they are left out"));
    } else {
        let help = "that is most of them: cut the file to its requests";
        context.notes.fault(&at.place, text, help);
    }
    is_mostly_read
}

/// Tells how many requests of a log can't be replayed, for nobody knows when they came.
fn tell_untimed(log: &Log, timed: usize, at: &At<String>, context: &Context<'_>) {
    let (untimed, all) = (log.requests.len() - timed, log.requests.len());
    let text = format!("`{}`: {untimed} of {all} requests tell no time", at.value);
    if untimed > timed {
        let help = "a replay needs to know when: log the time of each request";
        context.notes.fault(&at.place, text, help);
    } else if untimed > 0 {
        context.notes.remark(format!("{text}; they are left out"));
    }
}

/// Sizes as those recorded: of requests like this step's where there are any, else of its method,
/// else of all.
pub(super) fn sizes(
    at: &At<String>,
    method: &str,
    path: &str,
    context: &Context<'_>,
) -> Option<Vec<(f64, Bytes)>> {
    let log = read(at, context)?;
    let label = logs::label(path);
    let like = |row: &&Logged| row.method == method && logs::label(&row.path) == label;
    let same_method = |row: &&Logged| row.method == method;
    let of = |rows: &dyn Fn(&&Logged) -> bool| {
        let sizes = log.requests.iter().filter(rows).filter_map(|row| row.request_bytes);
        let sizes = sizes.filter(|size| *size > 0).map(|size| size.min(BODY_MAX.get()));
        logs::quantiles(sizes, SIZE_POINTS)
    };
    let mut points = of(&like);
    if points.is_empty() {
        points = of(&same_method);
    }
    if points.is_empty() {
        points = of(&|_| true);
    }
    if points.is_empty() {
        let message = format!("`{}` tells no sizes of request bodies", at.value);
        let help = "common and combined logs don't: use JSON lines with `request_length`, or a HAR";
        context.notes.fault(&at.place, message, help);
        return None;
    }
    Some(points.into_iter().map(|(percent, size)| (percent / 100.0, Bytes::new(size))).collect())
}

/// `replay = "access.log"`, or `{ file, speed, max-gap, repeat, headers }`: what is due when, and
/// the scenario that its requests are steps of.
pub(super) fn replay(load: &Reader<'_>, context: &Context<'_>) -> Option<(Replay, Flow)> {
    let node = load.node("replay")?;
    let options = options(load, node, context)?;
    let log = read(&options.file, context)?;
    let fault = |message: &str, help: &str| {
        let message = format!("`{}` {message}", options.file.value);
        context.notes.fault(&options.file.place, message, help);
    };
    let timed: Vec<&Logged> = log.requests.iter().filter(|row| row.at.is_some()).collect();
    if timed.is_empty() {
        fault("tells no times", "a replay needs to know when: log the time of each request");
        return None;
    }
    tell_untimed(&log, timed.len(), &options.file, context);
    if timed.len() > REPLAYED_MAX {
        let help = format!("{REPLAYED_MAX} at most: cut the log to the hours that matter");
        fault(&format!("holds {} requests", timed.len()), &help);
        return None;
    }
    let steps = steps_of(&timed);
    let name = options.file.value.rsplit('/').next().unwrap_or("replay").to_owned();
    let flow = Flow {
        name,
        weight: 0,
        steps: steps.iter().map(|group| group.step(&options.headers)).collect(),
        ..Flow::default()
    };
    Some((scheduled(&timed, &steps, &options), flow))
}

/// How a log is replayed.
struct Options {
    file: At<String>,
    speed: f64,
    max_gap: Option<Duration>,
    repeat: bool,
    headers: Vec<(String, String)>,
}

fn options(load: &Reader<'_>, node: &Node, context: &Context<'_>) -> Option<Options> {
    if !matches!(node.value, Value::Table(_)) {
        let file = load.string("replay")?;
        return Some(Options { file, speed: 1.0, max_gap: None, repeat: false, headers: vec![] });
    }
    let table = load.table("replay")?;
    let file = table.string("file");
    let speed = table.number("speed");
    let max_gap = table.duration("max-gap").map(|at| at.value);
    let repeat = table.bool("repeat").unwrap_or(false);
    let headers = super::steps::headers(&table, &Names::default(), context);
    if file.is_none() && !table.has("file") {
        table.notes.fault(table.place, "`replay` has no `file`", "write `{ file = \"a.log\" }`");
    }
    if let Some(at) = speed.as_ref().filter(|at| !(0.001..=1000.0).contains(&at.value)) {
        let message = format!("`speed` is {}, not between 0.001 and 1000", at.value);
        table.notes.fault(&at.place, message, "2 is twice as fast as recorded");
    }
    table.finish();
    let speed = speed.map_or(1.0, |at| at.value.clamp(0.001, 1000.0));
    Some(Options { file: file?, speed, max_gap, repeat, headers })
}

/// Requests that are one step.
struct Group {
    method: String,
    /// None: all that are too rare for a step of their own.
    label: Option<String>,
    sample: String,
    sizes: Vec<u64>,
}

impl Group {
    fn step(&self, headers: &[(String, String)]) -> Step {
        let sizes = self.sizes.iter().copied().filter(|size| *size > 0);
        let points = logs::quantiles(sizes, SIZE_POINTS);
        let body = if points.is_empty() {
            Body::Empty
        } else {
            let points = points.into_iter();
            let points = points.map(|(percent, size)| (percent / 100.0, Bytes::new(size)));
            Body::Sized { points: points.collect(), json: Some(Shape::default()) }
        };
        let path = self.label.as_deref().unwrap_or("others");
        Step {
            label: format!("{} {path}", self.method),
            method: self.method.clone(),
            path: self.sample.clone(),
            headers: headers.to_vec(),
            body,
            expect_status: Vec::new(),
            reply: Reply::default(),
            transfer: Transfer::default(),
            think: Think::None,
            tags: BTreeMap::new(),
        }
    }
}

/// The steps: the most frequent kinds of requests, and what is left of each method.
fn steps_of(rows: &[&Logged]) -> Vec<Group> {
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for row in rows {
        *counts.entry((row.method.clone(), logs::label(&row.path))).or_default() += 1;
    }
    let mut kinds: Vec<_> = counts.into_iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut groups: Vec<Group> = Vec::new();
    for ((method, label), _) in kinds {
        let rare = groups.len() >= STEPS_MAX;
        let known = |group: &Group| group.method == method && group.label.is_none();
        if !rare || !groups.iter().any(known) {
            let label = (!rare).then_some(label);
            groups.push(Group { method, label, sample: String::new(), sizes: Vec::new() });
        }
    }
    for row in rows {
        if let Some(group) = find(&groups, row).and_then(|index| groups.get_mut(index)) {
            if group.sample.is_empty() {
                group.sample.clone_from(&row.path);
            }
            group.sizes.extend(row.request_bytes.map(|size| size.min(BODY_MAX.get())));
        }
    }
    groups
}

fn find(groups: &[Group], row: &Logged) -> Option<usize> {
    let label = logs::label(&row.path);
    let fits = |group: &Group, label: Option<&str>| {
        group.method == row.method && group.label.as_deref() == label
    };
    let exact = groups.iter().position(|group| fits(group, Some(&label)));
    exact.or_else(|| groups.iter().position(|group| fits(group, None)))
}

fn scheduled(rows: &[&Logged], groups: &[Group], options: &Options) -> Replay {
    let times = times(rows, options);
    let (mut numbers, mut paths) = (BTreeMap::new(), Vec::new());
    let requests: Vec<Replayed> = rows
        .iter()
        .zip(&times)
        .filter_map(|(row, at)| {
            let path = *numbers.entry(row.path.as_str()).or_insert_with(|| {
                paths.push(row.path.clone());
                paths.len() - 1
            });
            let size = row.request_bytes.map(|size| size.min(BODY_MAX.get()));
            Some(Replayed {
                at: *at,
                step: u16::try_from(find(groups, row)?).ok()?,
                path: u32::try_from(path).ok()?,
                body_bytes: size.and_then(|size| u32::try_from(size).ok()),
            })
        })
        .collect();
    let last = times.last().copied().unwrap_or_default();
    // One mean gap after the last request the next round begins.
    let gap = last / u32::try_from(requests.len()).unwrap_or(u32::MAX).max(1);
    let again_after = options.repeat.then(|| last + gap.max(Duration::from_millis(1)));
    Replay { requests: requests.into(), paths: paths.into(), again_after }
}

/// When each request is due: as recorded, with long gaps cut and the speed changed. Where a log
/// knows whole seconds only, what it has in the same second is spread evenly over that: a burst at
/// every full second would be of the log's making.
fn times(rows: &[&Logged], options: &Options) -> Vec<Duration> {
    let mut times: Vec<Duration> = rows.iter().filter_map(|row| row.at).collect();
    if times.len() > 1 && times.iter().all(|at| at.subsec_nanos() == 0) {
        spread(&mut times);
    }
    let (mut before, mut now) = (times.first().copied().unwrap_or_default(), Duration::ZERO);
    for time in &mut times {
        let gap = time.saturating_sub(before);
        before = *time;
        now += options.max_gap.map_or(gap, |most| gap.min(most)).div_f64(options.speed);
        *time = now;
    }
    times
}

/// Spreads equal times evenly over the second that they stand for.
fn spread(times: &mut [Duration]) {
    for second in times.chunk_by_mut(|one, other| one == other) {
        let count = u32::try_from(second.len()).unwrap_or(u32::MAX);
        for (number, time) in (0_u32..).zip(second) {
            *time += Duration::from_secs(1) * number / count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at: f64, method: &str, path: &str, size: Option<u64>) -> Logged {
        Logged {
            at: Some(Duration::from_secs_f64(at)),
            method: method.to_owned(),
            path: path.to_owned(),
            request_bytes: size,
            response_bytes: None,
            status: None,
        }
    }

    fn options(speed: f64, max_gap: Option<u64>, repeat: bool) -> Options {
        let place = crate::scenario::Place { file: 0, range: 0..0 };
        let file = At { value: "a.log".to_owned(), place };
        let max_gap = max_gap.map(Duration::from_secs);
        Options { file, speed, max_gap, repeat, headers: Vec::new() }
    }

    fn seconds(rows: &[Logged], options: &Options) -> Vec<f64> {
        let rows: Vec<&Logged> = rows.iter().collect();
        times(&rows, options).iter().map(Duration::as_secs_f64).collect()
    }

    #[test]
    fn whole_seconds_are_spread_and_fractions_kept() {
        let at = |at| row(at, "GET", "/", None);
        let whole = [at(0.0), at(0.0), at(1.0), at(1.0), at(1.0), at(1.0), at(5.0)];
        assert_eq!(
            seconds(&whole, &options(1.0, None, false)),
            [0.0, 0.5, 1.0, 1.25, 1.5, 1.75, 5.0]
        );
        let exact = [at(0.0), at(0.25), at(0.25)];
        assert_eq!(seconds(&exact, &options(1.0, None, false)), [0.0, 0.25, 0.25]);
    }

    #[test]
    fn speed_and_gaps_change_when_it_is_due() {
        let at = |at| row(at, "GET", "/", None);
        let rows = [at(0.0), at(1.5), at(3601.5)];
        assert_eq!(seconds(&rows, &options(2.0, None, false)), [0.0, 0.75, 1800.75]);
        assert_eq!(seconds(&rows, &options(1.0, Some(10), false)), [0.0, 1.5, 11.5]);
    }

    #[test]
    fn the_frequent_are_steps_and_the_rare_are_others() {
        let mut rows = Vec::new();
        for kind in 0_u32..30 {
            // A number alone would be an id.
            let path = format!("/kind-{}", char::from_u32(97 + kind % 26).unwrap());
            let path = format!("{path}{}", if kind >= 26 { "z" } else { "" });
            for id in 0..=(30 - kind) {
                rows.push(row(
                    0.1,
                    "POST",
                    &format!("{path}/{id}?q={id}"),
                    Some(u64::from(id) * 10),
                ));
            }
        }
        let all: Vec<&Logged> = rows.iter().collect();
        let groups = steps_of(&all);
        assert_eq!(groups.len(), STEPS_MAX + 1);
        assert_eq!(groups[0].step(&[]).label, "POST /kind-a/{id}");
        assert_eq!(groups[STEPS_MAX].step(&[]).label, "POST others");
        let replay = scheduled(&all, &groups, &options(1.0, None, true));
        assert_eq!(replay.requests.len(), rows.len());
        assert_eq!(replay.paths[replay.requests[1].path as usize], "/kind-a/1?q=1");
        assert_eq!(replay.requests[1].body_bytes, Some(10));
        assert!(replay.again_after.is_some());
    }
}
