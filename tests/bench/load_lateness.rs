//! How punctual the load engine is, what that costs, and how quick answers are near capacity.
//!
//! `load_lateness [--rate 1000] [--seconds 60]`. The `steady` fixture service answers on core 0. On
//! core 1, for even and for Poisson arrivals, in two halves of `--seconds` / 2 each, the second
//! one in reverse order, and each on the same due times:
//!
//! - the engine, one worker;
//! - a bare timer loop: a thread that waits on a timerfd and writes one byte to a connection;
//! - a bare client: a thread that sends the same requests and reads the answers, with one epoll
//!   and a timerfd (`common/bare.rs` says what both leave out).
//!
//! Goals: the engine's send lateness (from due to just before the first byte is written) is at most
//! 60 µs at the median, and at the 99th percentile at most 1.5 times that of the bare timer loop;
//! requests sent a second are the schedule's to 0.1 %; the worker's CPU time is at most 1.3 times
//! the bare client's.
//!
//! Then 32 users send for 5 s as fast as they can, which gives the capacity; at 80 % of it, for
//! 10 s, the 99th percentile of latency (from due to the last byte) is to be at most 1 ms.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::bare::{Looped, client_loop, from_start, timer_loop};
use common::drive::{Driven, closed, drive, due_times, open};
use common::report::Report;
use common::server::Server;
use common::statistics::quantile;
use common::{float, monotonic_ns, option, pin};
use highwater::event::Histogram;
use highwater::plan::{Arrivals, LoadModel};
use serde_json::{Value, json};

const LATE_US: u64 = 60;
const LATE_RATIO: f64 = 1.5;
const RATE_OFF: f64 = 0.001;
const CPU_RATIO: f64 = 1.3;
const USERS: u32 = 32;
const CAPACITY_FOR: Duration = Duration::from_secs(5);
const SHARE: f64 = 0.8;
const NEAR_CAPACITY_FOR: Duration = Duration::from_secs(10);
const LATENCY_US: u64 = 1000;
/// From setting up a bare loop to its start, in nanoseconds.
const AHEAD_NS: u64 = 5_000_000;

/// The same half by all three.
struct Half {
    engine: Driven,
    timer: Looped,
    client: Looped,
    /// Requests in the schedule.
    scheduled: u64,
}

fn main() {
    let mut report = Report::new("load_lateness");
    pin(1);
    let (rate, seconds) = (float(option("--rate", 1000)), option("--seconds", 60));
    let half = Duration::from_secs(seconds) / 2;
    let server = Server::steady();
    // The first of all finds the server cold.
    drive(server.address, "/", closed(USERS, Duration::from_secs(1)), Duration::from_secs(1));
    let mut details = Vec::new();
    for (name, arrivals) in [("even", Arrivals::Even), ("Poisson", Arrivals::Poisson)] {
        let halves = [false, true].map(|back| turns(server.address, rate, arrivals, half, back));
        tell(&mut report, name, rate, &halves);
        details.push(json!({"arrivals": name, "halves": halves.each_ref().map(raw)}));
    }
    let near = near_capacity(&mut report, server.address);
    drop(server);
    report.finish(&json!({
        "rate": rate, "seconds": seconds, "arrivals": details, "near_capacity": near,
    }));
}

/// One half: each of the three in its turn.
fn turns(
    address: SocketAddr,
    rate: f64,
    arrivals: Arrivals,
    length: Duration,
    backwards: bool,
) -> Half {
    let load = open(rate, arrivals, length);
    let due = || from_start(due_times(&load, length), monotonic_ns() + AHEAD_NS);
    let engine = || drive(address, "/", LoadModel::Open(load.clone()), length);
    let scheduled = due_times(&load, length).count() as u64;
    if backwards {
        let client = client_loop(address, due());
        let timer = timer_loop(due());
        Half { engine: engine(), timer, client, scheduled }
    } else {
        let engine = engine();
        let timer = timer_loop(due());
        Half { engine, timer, client: client_loop(address, due()), scheduled }
    }
}

fn tell(report: &mut Report, name: &str, rate: f64, halves: &[Half; 2]) {
    tell_lateness(report, name, halves);
    let sent: u64 = halves.iter().map(|half| half.engine.counts.sent).sum();
    let scheduled: u64 = halves.iter().map(|half| half.scheduled).sum();
    let seconds: f64 = halves.iter().map(|half| half.engine.length.as_secs_f64()).sum();
    let off = float(sent) / float(scheduled) - 1.0;
    report.goal(
        format!("{name}: requests sent"),
        format!("{sent} of {scheduled} scheduled, {:.2} a second of {rate}", float(sent) / seconds),
        format!("± {} % of the schedule's", RATE_OFF * 100.0),
        off.abs() <= RATE_OFF,
    );
    tell_cpu(report, name, halves);
}

fn tell_lateness(report: &mut Report, name: &str, halves: &[Half; 2]) {
    let at = |percent: f64, of: fn(&Half) -> &Histogram| {
        let mut both = Histogram::new();
        for half in halves {
            both.add(of(half));
        }
        both.percentile(percent).unwrap_or(0)
    };
    let [ours, bare, client]: [fn(&Half) -> &Histogram; 3] =
        [|half| &half.engine.lateness, |half| &half.timer.lateness, |half| &half.client.lateness];
    report.goal(
        format!("{name}: send lateness, p50"),
        format!("{} µs (bare timer {})", at(50.0, ours), at(50.0, bare)),
        format!("≤ {LATE_US} µs"),
        at(50.0, ours) <= LATE_US,
    );
    let ratio = float(at(99.0, ours)) / float(at(99.0, bare).max(1));
    let pairs = each(halves, |half| {
        let p99 = |times: &Histogram| float(times.percentile(99.0).unwrap_or(0).max(1));
        p99(&half.engine.lateness) / p99(&half.timer.lateness)
    });
    report.goal(
        format!("{name}: send lateness, p99, ours / bare timer"),
        format!("{} µs / {} µs = {ratio:.2} ({pairs})", at(99.0, ours), at(99.0, bare)),
        format!("≤ {LATE_RATIO}"),
        ratio <= LATE_RATIO,
    );
    let of_client = format!("{} and {} µs", at(50.0, client), at(99.0, client));
    report.say(format!("{name}: send lateness of the bare client, p50 and p99"), of_client);
}

fn tell_cpu(report: &mut Report, name: &str, halves: &[Half; 2]) {
    let sum = |of: fn(&Half) -> u64| float(halves.iter().map(of).sum());
    let (ours, bare) = (sum(|half| half.engine.report.cpu_ns), sum(|half| half.client.cpu_ns));
    let sent = sum(|half| half.scheduled);
    let us = |cpu_ns: f64| cpu_ns / sent / 1000.0;
    let ratio = ours / bare;
    let pairs =
        each(halves, |half| float(half.engine.report.cpu_ns) / float(half.client.cpu_ns.max(1)));
    report.goal(
        format!("{name}: CPU time a request, ours / bare client"),
        format!("{:.1} µs / {:.1} µs = {ratio:.2} ({pairs})", us(ours), us(bare)),
        format!("≤ {CPU_RATIO}"),
        ratio <= CPU_RATIO,
    );
}

/// The range of a ratio over the halves.
fn each(halves: &[Half; 2], of: impl Fn(&Half) -> f64) -> String {
    let pairs: Vec<f64> = halves.iter().map(of).collect();
    format!("halves {:.2} to {:.2}", quantile(&pairs, 0.0), quantile(&pairs, 1.0))
}

/// How quick answers are at a share of what 32 users can have.
fn near_capacity(report: &mut Report, address: SocketAddr) -> Value {
    let most = drive(address, "/", closed(USERS, CAPACITY_FOR), CAPACITY_FOR);
    let capacity = most.rate();
    report.say(format!("capacity, {USERS} connections"), format!("{capacity:.0} requests/s"));
    let mut details = vec![most.json()];
    for (name, arrivals) in [("even", Arrivals::Even), ("Poisson", Arrivals::Poisson)] {
        let load = open(capacity * SHARE, arrivals, NEAR_CAPACITY_FOR);
        let driven = drive(address, "/", LoadModel::Open(load), NEAR_CAPACITY_FOR);
        let p99 = driven.latency.percentile(99.0).unwrap_or(u64::MAX);
        let all = driven.counts.sent == driven.counts.due && driven.counts.failed == 0;
        report.goal(
            format!("{name}, 80 % of capacity: p99 of latency"),
            format!("{p99} µs, {:.0} requests/s", driven.rate()),
            format!("≤ {LATENCY_US} µs, all sent"),
            p99 <= LATENCY_US && all,
        );
        details.push(driven.json());
    }
    details.into()
}

fn raw(half: &Half) -> Value {
    json!({
        "scheduled": half.scheduled, "engine": half.engine.json(),
        "timer": half.timer.json(), "client": half.client.json(),
    })
}
