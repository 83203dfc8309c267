//! Whether reported latencies are those that users had while the server stalled.
//!
//! `load_stall [--seconds 30] [--rate 500]`. A server of this benchmark on core 0 does nothing for
//! 2 s, from its 4th second on and every 10 s after, then answers all who wait; it says when each
//! stall began and ended. The engine sends at an even rate on core 1, whatever the server does.
//! What its latencies must be follows from the schedule alone: whoever is due in a stall is
//! answered when it ends, all others at once.
//!
//! Goal: p99 and the greatest latency that the engine reports are within 1 % of those. What wrk
//! (32 connections; it has no rate) and hey (50 connections, `-q` for the same rate in all) report
//! of the same server is told beside it, each in a run of its own.

mod common;

use std::process::Stdio;
use std::time::Duration;

use common::drive::{Driven, drive, due_times, open};
use common::report::Report;
use common::server::{Manner, Server, serve_if_asked};
use common::{float, option, pin, pinned};
use highwater::clock::nanos;
use highwater::plan::{Arrivals, LoadModel, OpenLoad};
use serde_json::{Value, json};

const STALLS: Manner = Manner { stall_s: 2, every_s: 10, first_s: 4, mixed: false };
const HEY_WORKERS: u64 = 50;
/// How far off a latency may be, in percent.
const OFF_MAX: f64 = 1.0;

fn main() {
    serve_if_asked();
    let mut report = Report::new("load_stall");
    pin(1);
    let (seconds, rate) = (option("--seconds", 30), option("--rate", 500));
    let length = Duration::from_secs(seconds);
    let load = open(float(rate), Arrivals::Even, length);
    let server = Server::own(&STALLS);
    let driven = drive(server.address, "/", LoadModel::Open(load.clone()), length);
    let stalls = stalls(&server.log());
    drop(server);
    assert!(!stalls.is_empty(), "the run was too short for a stall");
    let exact = exact_us(&load, &driven, &stalls);
    tell(&mut report, &driven, &exact);
    let wrk = other("wrk", seconds, rate);
    let hey = other("hey", seconds, rate);
    tell_other(&mut report, "wrk", wrk.as_deref().map(wrk_says));
    tell_other(&mut report, "hey", hey.as_deref().map(hey_says));
    report.finish(&json!({
        "seconds": seconds, "rate": rate, "stalls_ns": stalls, "start_ns": driven.start_ns,
        "exact_us": {"p99": percentile(&exact, 99.0), "max": exact.last()},
        "engine": driven.json(), "wrk": wrk, "hey": hey,
    }));
}

/// From when to when the server stood still, in nanoseconds of `CLOCK_MONOTONIC`.
fn stalls(log: &[Value]) -> Vec<[u64; 2]> {
    let ends =
        |line: &Value| Some([line["stall_from_ns"].as_u64()?, line["stall_to_ns"].as_u64()?]);
    log.iter().filter_map(ends).collect()
}

/// The latencies that the schedule and the stalls give, ascending, in microseconds; 0 outside.
fn exact_us(load: &OpenLoad, driven: &Driven, stalls: &[[u64; 2]]) -> Vec<u64> {
    let latency = |due: Duration| {
        let due = driven.start_ns + nanos(due);
        let stall = stalls.iter().find(|[from, to]| (*from..*to).contains(&due));
        stall.map_or(0, |[_, to]| (to - due).div_ceil(1000))
    };
    let mut exact: Vec<u64> = due_times(load, driven.length).map(latency).collect();
    exact.sort_unstable();
    exact
}

/// The value that so many percent lie at or below.
fn percentile(ascending: &[u64], percent: f64) -> u64 {
    let rank = percent / 100.0 * float(ascending.len() as u64);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let rank = rank.ceil() as usize;
    ascending[rank.max(1) - 1]
}

fn tell(report: &mut Report, driven: &Driven, exact: &[u64]) {
    let counts = driven.counts;
    let count = format!("{} due, {} sent, {} failed", counts.due, counts.sent, counts.failed);
    report.goal(
        "requests",
        format!("{count}; {} in the schedule", exact.len()),
        "all sent and answered",
        counts.sent == exact.len() as u64 && counts.failed == 0,
    );
    let rows = [
        ("p99", driven.latency.percentile(99.0), percentile(exact, 99.0)),
        ("max", driven.latency.max(), exact.last().copied().unwrap_or(0)),
    ];
    for (name, reported, exact) in rows {
        let reported = reported.unwrap_or(0);
        let off = 100.0 * float(reported.abs_diff(exact)) / float(exact.max(1));
        report.goal(
            format!("{name} of latency"),
            format!("{} ms reported, {} exact: {off:.2} % off", ms(reported), ms(exact)),
            format!("≤ {OFF_MAX} % off"),
            off <= OFF_MAX,
        );
    }
    let send = driven.lateness.percentile(99.0).unwrap_or(0);
    report.say("p99 of send lateness, connections made in stalls among them", format!("{send} µs"));
}

fn ms(us: u64) -> String {
    format!("{:.1}", float(us) / 1000.0)
}

/// What another client prints of a server that stalls alike; none where there is no such client.
fn other(name: &str, seconds: u64, rate: u64) -> Option<String> {
    let server = Server::own(&STALLS);
    let (length, url) = (format!("{seconds}s"), format!("http://{}/", server.address));
    let mut command = pinned("1", name);
    if name == "wrk" {
        command.args(["-t", "1", "-c", "32", "--latency", "--timeout", "10s", "-d", &length, &url]);
    } else {
        let (workers, each) = (HEY_WORKERS.to_string(), (rate / HEY_WORKERS).to_string());
        command.args(["-c", &workers, "-q", &each, "-z", &length, &url]);
    }
    let output = command.stderr(Stdio::null()).output().expect("setpriv and taskset are there");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A client's p99 and its greatest latency, in its own words.
type Says = [Option<String>; 2];

fn tell_other(report: &mut Report, name: &str, says: Option<Says>) {
    let value = match says {
        Some([p99, max]) => {
            let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
            format!("p99 {}, max {}", or_none(p99), or_none(max))
        }
        None => "not compared: not found on PATH".to_owned(),
    };
    report.say(format!("{name} reports"), value);
}

fn wrk_says(text: &str) -> Says {
    let line = |begins: &str| text.lines().map(str::trim).find(|line| line.starts_with(begins));
    let word = |line: &str, number: usize| line.split_whitespace().nth(number).map(str::to_owned);
    [line("99%").and_then(|line| word(line, 1)), line("Latency").and_then(|line| word(line, 3))]
}

fn hey_says(text: &str) -> Says {
    let after = |begins: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(begins))
            .map(|it| it.trim().to_owned())
    };
    // hey 0.1.5 prints `99%% in`.
    [after("99% in").or_else(|| after("99%% in")), after("Slowest:")]
}
