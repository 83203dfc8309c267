//! What the sampler costs, against a bare loop in C that makes the same reads.
//!
//! `sampler_cost [ROUNDS] [SECONDS]`, as root on a host with cgroup v1 for memory. In each round,
//! in turns that change their order: our sampler, the C loop with the same reads (both marks read
//! and reset, the level, and at the sampler's own pace `memory.stat`, the kernel counter and the
//! limit's counters), and the C loop with only what each tick needs. All on the same cgroup with a
//! service that is idle, all `SCHED_FIFO` with 1 ns of timer slack.
//!
//! Goal: the CPU time a tick of our sampler's thread is at most 1.25 times that of the C loop with
//! the same reads, at 1 kHz and at 100 Hz.

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::nest::{Nest, sample, text};
use common::report::Report;
use common::statistics::{median, quantile};
use common::{bare_loop, clean, fixtures, float, number_argument};
use highwater::clock::Clock;
use serde_json::{Value, json};

const GOAL: f64 = 1.25;

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Sampler,
    SameReads,
    Minimal,
}

const READERS: [Reader; 3] = [Reader::Sampler, Reader::SameReads, Reader::Minimal];

/// One turn of one reader.
#[derive(Debug, Clone, Copy)]
struct Turn {
    ticks: u64,
    missed: u64,
    cpu_ns: u64,
    wall_ns: u64,
}

impl Turn {
    fn us_per_tick(&self) -> f64 {
        float(self.cpu_ns) / float(self.ticks.max(1)) / 1000.0
    }

    fn percent(&self) -> f64 {
        100.0 * float(self.cpu_ns) / float(self.wall_ns.max(1))
    }
}

fn main() {
    clean::after(bench);
}

fn bench() {
    let (rounds, seconds) = (number_argument(0, 7), number_argument(1, 5));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let bare_loop = bare_loop(dir.path());
    let fixtures = fixtures();
    let mut report = Report::new("sampler_cost");
    let nest = Nest::new("cost");
    let service = nest.run(&fixtures, &["steady", "--base-mib", "16"]);
    std::thread::sleep(Duration::from_millis(500));
    let mut details = Vec::new();
    for tick_us in [1000, 10_000] {
        let turns = all_rounds(&nest, &bare_loop, tick_us, rounds, seconds);
        details.push(tell(&mut report, tick_us, &turns));
    }
    service.stop();
    report.finish(&json!({ "rounds": rounds, "seconds": seconds, "paces": details }));
}

/// Turns by round; in each one of each reader, in the order of [`READERS`].
fn all_rounds(nest: &Nest, bare: &Path, tick_us: u64, rounds: u64, seconds: u64) -> Vec<[Turn; 3]> {
    (0..rounds)
        .map(|round| {
            let mut turns = [None; 3];
            for step in 0..3 {
                let which = usize::try_from(round + step).expect("few rounds") % 3;
                turns[which] = Some(match READERS[which] {
                    Reader::Sampler => our_turn(nest, tick_us, seconds),
                    reader => bare_turn(nest, bare, tick_us, seconds, reader),
                });
            }
            turns.map(|turn| turn.expect("each has its turn"))
        })
        .collect()
}

fn our_turn(nest: &Nest, tick_us: u64, seconds: u64) -> Turn {
    let job = nest.job(Duration::from_micros(tick_us));
    let sampled = sample(job, &Clock::start(), || std::thread::sleep(Duration::from_secs(seconds)));
    let report = sampled.report;
    Turn {
        ticks: report.ticks,
        missed: report.missed_ticks,
        cpu_ns: report.cpu_ns,
        wall_ns: report.wall_ns,
    }
}

fn bare_turn(nest: &Nest, bare: &Path, tick_us: u64, seconds: u64, reader: Reader) -> Turn {
    let place = &nest.place;
    let output = Command::new(bare)
        .args([tick_us.to_string(), seconds.to_string()])
        .args([text(&place.resets[0]), text(&place.resets[1]), text(&place.leaf)])
        .arg(if reader == Reader::SameReads { "same" } else { "minimal" })
        .output()
        .expect("the C loop runs");
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let [ticks, missed, cpu_ns, wall_ns] = numbers[..] else {
        panic!("the C loop failed: {}", String::from_utf8_lossy(&output.stderr));
    };
    Turn { ticks, missed, cpu_ns, wall_ns }
}

fn tell(report: &mut Report, tick_us: u64, turns: &[[Turn; 3]]) -> Value {
    let column = |which: usize, of: fn(&Turn) -> f64| -> Vec<f64> {
        turns.iter().map(|round| of(&round[which])).collect()
    };
    let hertz = 1_000_000 / tick_us;
    for (which, name) in ["our sampler", "C, same reads", "C, minimal"].iter().enumerate() {
        let cost = column(which, Turn::us_per_tick);
        report.say(
            format!("{hertz} Hz, {name}"),
            format!(
                "{:.2} µs a tick ({:.2} to {:.2}), {:.2} % of a core",
                median(&cost),
                quantile(&cost, 0.0),
                quantile(&cost, 1.0),
                median(&column(which, Turn::percent)),
            ),
        );
    }
    let cost = |which| column(which, Turn::us_per_tick);
    let (ours, same, minimal) = (cost(0), cost(1), cost(2));
    let pairs: Vec<f64> = ours.iter().zip(&same).map(|(ours, same)| ours / same).collect();
    let ratio = median(&ours) / median(&same);
    report.goal(
        format!("{hertz} Hz, ours / C, same reads"),
        format!("{ratio:.2} (rounds {:.2} to {:.2})", quantile(&pairs, 0.0), quantile(&pairs, 1.0)),
        format!("≤ {GOAL}"),
        ratio <= GOAL,
    );
    report.say(
        format!("{hertz} Hz, ours / C, minimal"),
        format!("{:.2}", median(&ours) / median(&minimal)),
    );
    let row = |turn: &Turn| json!({"ticks": turn.ticks, "missed": turn.missed, "cpu_ns": turn.cpu_ns, "wall_ns": turn.wall_ns});
    let rounds: Vec<Value> = turns
        .iter()
        .map(|round| {
            json!({"sampler": row(&round[0]), "same": row(&round[1]), "minimal": row(&round[2])})
        })
        .collect();
    json!({ "tick_us": tick_us, "ratio": ratio, "rounds": rounds })
}
