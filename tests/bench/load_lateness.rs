//! How punctual the load engine is, what that costs, and how quick answers are near capacity.
//!
//! `load_lateness [--rate 1000] [--seconds 60] [--rounds 6]`. The `steady` fixture service answers
//! on core 0. On core 1, for even and for Poisson arrivals, in rounds of `--seconds` / `--rounds`
//! for each of the three, every other one in reverse order, all on the same due times:
//!
//! - the engine, one worker;
//! - a bare timer loop: a thread that waits on a timerfd and writes one byte to a connection;
//! - a bare client: a thread that sends the same requests and reads the answers, with one epoll
//!   and a timerfd (`common/bare.rs` says what both leave out).
//!
//! Goals: the engine's send lateness (from due to just before the first byte is written) is at most
//! 60 µs at the median, and at the 99th percentile at most 1.5 times that of the bare timer loop;
//! requests sent a second are the schedule's to 0.1 %; the worker's CPU time is at most 1.3 times
//! the bare client's. These are medians over the rounds and ratios of such, with the range of the
//! rounds' own: a machine that stands still for some milliseconds spoils one round, not all.
//!
//! Then, in as many rounds, 32 users send for 2 s as fast as they can, which gives the capacity; at
//! 80 % of it, for 4 s, the 99th percentile of latency (from due to the last byte) is to be at most
//! 1 ms, by the median over the rounds. Near capacity each millisecond that a core is taken away
//! keeps five milliseconds' requests waiting: so the bare client takes its turn there too, with 32
//! connections at most, which spares the server (the engine makes another one for whatever is due,
//! as users would), and a thread that only looks at the clock tells, core by core, how much time is
//! taken away while both are busy.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::bare::{Looped, client_loop, from_start, timer_loop};
use common::drive::{Driven, closed, drive, due_times, open};
use common::report::Report;
use common::server::Server;
use common::statistics::{median, quantile};
use common::{float, monotonic_ns, option, pin};
use highwater::event::Histogram;
use highwater::plan::{Arrivals, LoadModel, OpenLoad};
use serde_json::{Value, json};

const LATE_US: f64 = 60.0;
const LATE_RATIO: f64 = 1.5;
const RATE_OFF: f64 = 0.001;
const CPU_RATIO: f64 = 1.3;
const USERS: u32 = 32;
const CAPACITY_FOR: Duration = Duration::from_secs(2);
const SHARE: f64 = 0.8;
const NEAR_CAPACITY_FOR: Duration = Duration::from_secs(4);
const LATENCY_US: f64 = 1000.0;
/// How long busy cores are watched.
const WATCHED_NS: u64 = 10_000_000_000;
/// A look at the clock takes that long only where the core was taken away.
const GAP_NS: u64 = 500_000;
/// From setting up a bare loop to its start, in nanoseconds.
const AHEAD_NS: u64 = 5_000_000;

const ARRIVALS: [(&str, Arrivals); 2] = [("even", Arrivals::Even), ("Poisson", Arrivals::Poisson)];

/// A turn of each of the three.
struct Round {
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
    let rounds = u32::try_from(option("--rounds", 6)).expect("few rounds");
    let length = Duration::from_secs(seconds) / rounds;
    let server = Server::steady();
    // The first of all finds the server cold.
    drive(server.address, "/", closed(USERS, CAPACITY_FOR), CAPACITY_FOR);
    let mut details = Vec::new();
    for (name, arrivals) in ARRIVALS {
        let rounds: Vec<Round> = (0..rounds)
            .map(|round| turns(server.address, &open(rate, arrivals, length), length, round))
            .collect();
        tell(&mut report, name, rate, &rounds);
        let rounds: Vec<Value> = rounds.iter().map(raw).collect();
        details.push(json!({ "arrivals": name, "rounds": rounds }));
    }
    let near = near_capacity(&mut report, server.address, rounds);
    drop(server);
    taken_away(&mut report);
    report.finish(&json!({
        "rate": rate, "seconds": seconds, "rounds": rounds, "arrivals": details,
        "near_capacity": near,
    }));
}

/// One round: each of the three in its turn.
fn turns(address: SocketAddr, load: &OpenLoad, length: Duration, round: u32) -> Round {
    let due = || from_start(due_times(load, length), monotonic_ns() + AHEAD_NS);
    let engine = || drive(address, "/", LoadModel::Open(load.clone()), length);
    let scheduled = due_times(load, length).count() as u64;
    if round % 2 == 1 {
        let client = client_loop(address, due(), usize::MAX);
        let timer = timer_loop(due());
        Round { engine: engine(), timer, client, scheduled }
    } else {
        let engine = engine();
        let timer = timer_loop(due());
        Round { engine, timer, client: client_loop(address, due(), usize::MAX), scheduled }
    }
}

fn tell(report: &mut Report, name: &str, rate: f64, rounds: &[Round]) {
    tell_lateness(report, name, rounds);
    let sent: u64 = rounds.iter().map(|round| round.engine.counts.sent).sum();
    let scheduled: u64 = rounds.iter().map(|round| round.scheduled).sum();
    let seconds: f64 = rounds.iter().map(|round| round.engine.length.as_secs_f64()).sum();
    let off = float(sent) / float(scheduled) - 1.0;
    report.goal(
        format!("{name}: requests sent"),
        format!("{sent} of {scheduled} scheduled, {:.2} a second of {rate}", float(sent) / seconds),
        format!("± {} % of the schedule's", RATE_OFF * 100.0),
        off.abs() <= RATE_OFF,
    );
    let each = |cpu_ns: u64, round: &Round| float(cpu_ns) / float(round.scheduled.max(1)) / 1000.0;
    let cpu = Pair::of(
        rounds,
        |round| each(round.engine.report.cpu_ns, round),
        |round| each(round.client.cpu_ns, round),
    );
    let what = format!("{name}: CPU time a request, ours / bare client");
    report.goal(what, cpu.text(), format!("≤ {CPU_RATIO}"), cpu.ratio() <= CPU_RATIO);
}

fn tell_lateness(report: &mut Report, name: &str, rounds: &[Round]) {
    let at = |percent: f64| {
        Pair::of(
            rounds,
            |round| micros(&round.engine.lateness, percent),
            |round| micros(&round.timer.lateness, percent),
        )
    };
    let (half, high) = (at(50.0), at(99.0));
    let what = format!("{name}: send lateness, p50, ours / bare timer");
    let goal = format!("≤ {LATE_US} µs");
    report.goal(what, half.text(), goal, median(&half.ours) <= LATE_US);
    let what = format!("{name}: send lateness, p99, ours / bare timer");
    report.goal(what, high.text(), format!("≤ {LATE_RATIO}"), high.ratio() <= LATE_RATIO);
    let client = |percent: f64| -> f64 {
        let all: Vec<f64> =
            rounds.iter().map(|round| micros(&round.client.lateness, percent)).collect();
        median(&all)
    };
    report.say(
        format!("{name}: send lateness of the bare client, p50 and p99"),
        format!("{:.0} and {:.0} µs", client(50.0), client(99.0)),
    );
}

/// A percentile in microseconds, 1 at least, as ratios are made of it.
fn micros(times: &Histogram, percent: f64) -> f64 {
    float(times.percentile(percent).unwrap_or(0).max(1))
}

/// What we took and what another took, by rounds.
struct Pair {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Pair {
    fn of(rounds: &[Round], ours: impl Fn(&Round) -> f64, theirs: impl Fn(&Round) -> f64) -> Self {
        Self {
            ours: rounds.iter().map(ours).collect(),
            theirs: rounds.iter().map(theirs).collect(),
        }
    }

    fn ratio(&self) -> f64 {
        median(&self.ours) / median(&self.theirs)
    }

    fn text(&self) -> String {
        let own: Vec<f64> = self.ours.iter().zip(&self.theirs).map(|(own, it)| own / it).collect();
        format!(
            "{:.1} µs / {:.1} µs = {:.2} (rounds {:.2} to {:.2})",
            median(&self.ours),
            median(&self.theirs),
            self.ratio(),
            quantile(&own, 0.0),
            quantile(&own, 1.0)
        )
    }
}

/// How quick answers are at a share of what 32 users can have, for the engine and for the bare
/// client on the same due times.
fn near_capacity(report: &mut Report, address: SocketAddr, rounds: u32) -> Value {
    let (mut details, mut capacities) = (Vec::new(), Vec::new());
    let mut turns = ARRIVALS.map(|_| Vec::new());
    for _ in 0..rounds {
        let most = drive(address, "/", closed(USERS, CAPACITY_FOR), CAPACITY_FOR);
        capacities.push(most.rate());
        details.push(most.json());
        for ((_, arrivals), turns) in ARRIVALS.into_iter().zip(&mut turns) {
            let load = open(most.rate() * SHARE, arrivals, NEAR_CAPACITY_FOR);
            let engine = drive(address, "/", LoadModel::Open(load.clone()), NEAR_CAPACITY_FOR);
            let due = from_start(due_times(&load, NEAR_CAPACITY_FOR), monotonic_ns() + AHEAD_NS);
            let client = client_loop(address, due, USERS as usize);
            details.push(json!({ "engine": engine.json(), "client": client.json() }));
            turns.push((engine, client));
        }
    }
    report.say(format!("capacity, {USERS} connections, requests/s"), range(&capacities));
    for ((name, _), turns) in ARRIVALS.into_iter().zip(&turns) {
        let p99 =
            |of: &dyn Fn(&(Driven, Looped)) -> f64| -> Vec<f64> { turns.iter().map(of).collect() };
        let ours = p99(&|turn| micros(&turn.0.latency, 99.0));
        let bare = p99(&|turn| micros(&turn.1.latency, 99.0));
        let all_sent = turns.iter().all(|(engine, _)| {
            engine.counts.sent == engine.counts.due && engine.counts.failed == 0
        });
        report.goal(
            format!("{name}, 80 % of capacity: p99 of latency, µs"),
            range(&ours),
            format!("≤ {LATENCY_US}, all sent"),
            median(&ours) <= LATENCY_US && all_sent,
        );
        report
            .say(format!("{name}: the bare client's, over {USERS} connections, µs"), range(&bare));
    }
    details.into()
}

/// The median over the rounds, and their range.
fn range(of: &[f64]) -> String {
    let (least, most) = (quantile(of, 0.0), quantile(of, 1.0));
    format!("{:.0} (rounds {least:.0} to {most:.0})", median(of))
}

/// How much of the time of busy cores goes elsewhere, as threads see it that only look at the clock.
fn taken_away(report: &mut Report) {
    let watch = |core: usize| {
        std::thread::spawn(move || {
            pin(core);
            let (mut gaps, mut lost) = (0_u64, 0);
            let start = monotonic_ns();
            let mut last = start;
            while last - start < WATCHED_NS {
                let now = monotonic_ns();
                if now - last > GAP_NS {
                    (gaps, lost) = (gaps + 1, lost + now - last);
                }
                last = now;
            }
            (core, gaps, 100.0 * float(lost) / float(WATCHED_NS))
        })
    };
    for watched in [watch(0), watch(1)] {
        let (core, gaps, percent) = watched.join().expect("looking at the clock does not panic");
        report.say(
            format!("core {core}, both busy for 10 s: taken away"),
            format!("{percent:.2} % of the time, in {gaps} gaps of more than 0.5 ms"),
        );
    }
}

fn raw(round: &Round) -> Value {
    json!({
        "scheduled": round.scheduled, "engine": round.engine.json(),
        "timer": round.timer.json(), "client": round.client.json(),
    })
}
