//! Whether ticks that were missed are counted exactly, and peaks stay true, while every core is
//! busy.
//!
//! `missed_ticks [SECONDS]`, as root on a host with cgroup v1 for memory. On each core a busy loop
//! of the normal class; beside them the `spiky` service with spikes of known time and height, and
//! our sampler with every raw tick kept: once with the scheduling class that it gets by itself,
//! once without the right to any but the normal one (and without one to a better nice value).
//!
//! The grid of ticks begins with the first reading and goes on at 1 ms, by `CLOCK_MONOTONIC`. Each
//! reading belongs to the slot in which it was made; a slot without one is missed. A reading that
//! was begun in its slot and held up until another's leaves two in one: it is told apart, and
//! counts for its own slot.
//!
//! Goals: as many missed slots as the sampler reported, in all and by its windows; each spike shown
//! by a tick's peak with its true height, within 1 % or the kernel's slack.

mod common;

use std::process::Command;
use std::time::Duration;

use common::nest::{Nest, Sampled, sample};
use common::report::Report;
use common::statistics::quantile;
use common::truth::{Truth, judge, matched, shown};
use common::{Ending, blocks, clean, fixtures, float, number_argument, start_again};
use highwater::clock::Clock;
use highwater::event::{Tick, What};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::{Value, json};

const TICK_NS: u64 = 1_000_000;
/// A first reading comes so much after the grid's start, at most: two clock reads and six files.
const FIRST_READ_NS: u64 = 20_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["burn", core] => burn(core.parse().expect("a core's number")),
        ["measure", seconds] => {
            let seconds = seconds.parse().expect("whole seconds");
            clean::after(|| print(&measure(seconds)));
        }
        _ => clean::after(both),
    }
}

#[expect(clippy::print_stdout, reason = "the child's result")]
fn print(result: &Value) {
    println!("{result}");
}

/// Keeps a core busy for ever.
fn burn(core: usize) {
    let mut set = CpuSet::new();
    set.set(core).expect("a core of this machine");
    sched_setaffinity(Pid::from_raw(0), &set).expect("a thread may be pinned");
    loop {
        std::hint::spin_loop();
    }
}

fn both() {
    let seconds = number_argument(0, 20);
    let mut report = Report::new("missed_ticks");
    let without_classes = ["--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice"];
    let variants: [(&str, &[&str]); 2] = [("own class", &[]), ("normal class", &without_classes)];
    let mut details = Vec::new();
    for (name, drop_rights) in variants {
        let mut child: Command = start_again(drop_rights, &["measure", &seconds.to_string()]);
        let output = child.output().expect("the measurement runs");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
            panic!("{name} failed: {}", String::from_utf8_lossy(&output.stderr))
        });
        tell(&mut report, name, &result);
        details.push(json!({ "variant": name, "result": result }));
    }
    report.finish(&json!({ "seconds": seconds, "variants": details }));
}

fn tell(report: &mut Report, name: &str, result: &Value) {
    let number = |key: &str| result[key].as_u64().expect("a count");
    report.say(
        format!("{name}: got"),
        format!("{}; {} ticks read", result["scheduling"], number("ticks")),
    );
    report.say(
        format!("{name}: lateness p50, p99, greatest"),
        format!(
            "{:.0}, {:.0} µs, {:.1} ms",
            result["lateness_us_p50"].as_f64().unwrap_or(f64::NAN),
            result["lateness_us_p99"].as_f64().unwrap_or(f64::NAN),
            float(number("longest_gap_ns")) / 1e6,
        ),
    );
    let (slots, reported) = (number("slots_missed"), number("reported_missed"));
    report.goal(
        format!("{name}: slots without a reading"),
        format!("{slots}; {reported} reported, {} by windows", number("windows_missed")),
        "the same",
        slots == reported && number("windows_missed") == reported,
    );
    report.say(
        format!("{name}: readings held up into another's slot"),
        number("held_up").to_string(),
    );
    let (made, right) = (number("spikes"), number("shown_right"));
    report.goal(
        format!("{name}: spikes shown by a peak, height right"),
        format!("{right} of {made}"),
        "all",
        right == made,
    );
    report.say(
        format!("{name}: spikes judged, height right"),
        format!("{} of {made}, {} never made", number("judged_right"), number("judged_extra")),
    );
}

fn measure(seconds: u64) -> Value {
    let fixtures = fixtures();
    let nest = Nest::new("missed");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let busy: Vec<Ending> = (0..cores)
        .map(|core| {
            let child = start_again(&[], &["burn", &core.to_string()]).spawn();
            Ending(child.expect("a busy loop starts"))
        })
        .collect();
    let clock = Clock::start();
    let mut log = Vec::new();
    let sampled = sample(nest.job(Duration::from_nanos(TICK_NS)), &clock, || {
        let service = nest.run(&fixtures, &SPIKY);
        std::thread::sleep(Duration::from_secs(seconds));
        log = service.stop();
    });
    drop(busy);
    let truth = Truth::of_log(&log, clock.anchor().monotonic_ns);
    compare(&sampled, &truth)
}

/// Spikes of all sizes, so far apart that a short stall can't merge two.
const SPIKY: [&str; 16] = [
    "spiky",
    "--random",
    "--log-sizes",
    "--size-kib",
    "1016",
    "--size-kib-max",
    "8192",
    "--hold-us",
    "0",
    "--hold-us-max",
    "3000",
    "--every-ms",
    "60",
    "--gap-us-min",
    "40000",
    "--after-ms=300",
];

fn compare(sampled: &Sampled, truth: &[Truth]) -> Value {
    let ticks: Vec<Tick> =
        blocks(&sampled.events).flat_map(|block| block.unpack().expect("whole")).collect();
    let windows = sampled.events.iter().filter_map(|event| match &event.what {
        What::Memory(window) => Some(u64::from(window.missed)),
        _ => None,
    });
    let slack = sampled.events.iter().find_map(|event| match &event.what {
        What::Sampling(start) => Some(start.charge_slack.get()),
        _ => None,
    });
    let slack = slack.expect("the sampler announces itself");
    let (missed, held_up) = slots(&ticks);
    let right = |rise: u64, spike: &Truth| spike.is_right(rise, slack);
    let shown = shown(&ticks, truth);
    let shown_right = shown
        .iter()
        .zip(truth)
        .filter(|(shown, spike)| shown.is_some_and(|shown| right(shown.rise, spike)));
    let found = judge(&ticks, TICK_NS, slack);
    let longest = ticks.windows(2).map(|pair| pair[1].at.since(pair[0].at).as_nanos()).max();
    let late = u64::try_from(longest.unwrap_or(0)).unwrap_or(u64::MAX);
    let first = truth.first().map_or(0, |spike| spike.start);
    let found: Vec<_> = found.into_iter().filter(|spike| spike.at.as_nanos() >= first).collect();
    let (judged, extra) = matched(&found, truth, late);
    let judged_right = judged
        .iter()
        .zip(truth)
        .filter(|(found, spike)| found.is_some_and(|found| right(found.rise.get(), spike)));
    let errors: Vec<f64> = shown
        .iter()
        .zip(truth)
        .filter_map(|(shown, spike)| Some(float(spike.height_error(shown.as_ref()?.rise))))
        .collect();
    let report = &sampled.report;
    json!({
        "scheduling": report.scheduling,
        "ticks": report.ticks,
        "raw_ticks": ticks.len(),
        "reported_missed": report.missed_ticks,
        "windows_missed": windows.sum::<u64>(),
        "slots_missed": missed,
        "held_up": held_up,
        "lateness_us_p50": report.lateness_us_p50,
        "lateness_us_p99": report.lateness_us_p99,
        "longest_gap_ns": late,
        "spikes": truth.len(),
        "shown_right": shown_right.count(),
        "judged_right": judged_right.count(),
        "judged_extra": extra.len(),
        "height_error_bytes_max": quantile(&errors, 1.0),
    })
}

/// Slots of the grid without a reading, and readings that were held up into another's slot.
fn slots(ticks: &[Tick]) -> (u64, u64) {
    let Some(first) = ticks.first() else { return (0, 0) };
    let start = first.at.as_nanos().saturating_sub(FIRST_READ_NS);
    let slot = |tick: &Tick| (tick.at.as_nanos() - start) / TICK_NS;
    let mut taken: Vec<u64> = ticks.iter().map(slot).collect();
    let due = taken.last().map_or(0, |last| last + 1);
    taken.dedup();
    let empty = due - taken.len() as u64;
    let held_up = (ticks.len() - taken.len()) as u64;
    (empty.saturating_sub(held_up), held_up)
}
