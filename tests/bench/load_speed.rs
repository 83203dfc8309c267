//! How many requests a second the load engine makes, against wrk, hey and oha.
//!
//! `load_speed [--rounds 7] [--seconds 5]`. The `steady` fixture service answers on core 0; on core
//! 1, with 32 connections each, in turns that change their order with every round:
//!
//! - ours, the program: `highwater load -c 32 -z …s --json`, which counts, keeps a recording and
//!   makes reports of it;
//! - ours, the engine: the same engine in a process of this benchmark, which takes in its events;
//! - `wrk -t1 -c32`, `hey -cpus 1 -c 32` and `oha -c 32`, as far as they are found on PATH.
//!
//! Goals, by the medians over the rounds, each with the range of the rounds' own ratios: the
//! program makes at least as many requests a second as wrk, 1.4 times as many as oha, 2.2 times as
//! many as hey. CPU time of each client a request is told beside it: where the server's core is
//! the limit, two clients are equally fast and differ in that. It holds the client's start and end
//! too, in the program the making of reports.
//!
//! `load_speed closed ADDRESS PATH CONNECTIONS SECONDS` and `load_speed open ADDRESS PATH RATE
//! SECONDS` only drive the engine at a server of yours on 127.0.0.1, on one worker, and print what
//! came of it.

#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::drive::{closed, drive, open};
use common::report::Report;
use common::server::Server;
use common::statistics::{median, quantile};
use common::{float, option, pinned, program, start_again};
use highwater::clock::nanos;
use highwater::plan::{Arrivals, LoadModel};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

const CONNECTIONS: &str = "32";

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Program,
    Engine,
    Wrk,
    Oha,
    Hey,
}

const CLIENTS: [Client; 5] =
    [Client::Program, Client::Engine, Client::Wrk, Client::Oha, Client::Hey];

impl Client {
    const fn name(self) -> &'static str {
        match self {
            Self::Program => "ours, the program",
            Self::Engine => "ours, the engine",
            Self::Wrk => "wrk",
            Self::Oha => "oha",
            Self::Hey => "hey",
        }
    }

    /// How many times as fast we are to be; none for ourselves.
    const fn goal(self) -> Option<f64> {
        match self {
            Self::Program | Self::Engine => None,
            Self::Wrk => Some(1.0),
            Self::Oha => Some(1.4),
            Self::Hey => Some(2.2),
        }
    }

    fn is_there(self) -> bool {
        if self.goal().is_none() {
            return true;
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(self.name()).is_file())
    }
}

/// One turn of one client.
#[derive(Debug, Clone, Copy)]
struct Turn {
    per_second: f64,
    cpu_us_per_request: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("closed" | "open") => alone(&arguments),
        _ => bench(),
    }
}

/// Drives the engine and nothing else.
fn alone(arguments: &[String]) {
    let [mode, address, path, amount, seconds] = arguments else {
        panic!("usage: load_speed closed|open ADDRESS PATH CONNECTIONS|RATE SECONDS");
    };
    let address: SocketAddr = address.parse().expect("an address");
    let length = Duration::from_secs(seconds.parse().expect("whole seconds"));
    let model = if mode == "open" {
        LoadModel::Open(open(amount.parse().expect("a rate"), Arrivals::Even, length))
    } else {
        closed(amount.parse().expect("a number of connections"), length)
    };
    println!("{:#}", drive(address, path, model, length).json());
}

fn bench() {
    let (rounds, seconds) = (option("--rounds", 7), option("--seconds", 5));
    let program = program();
    let server = Server::steady();
    let mut report = Report::new("load_speed");
    let (clients, missing): (Vec<Client>, Vec<Client>) =
        CLIENTS.into_iter().partition(|client| client.is_there());
    for client in missing {
        report.say(client.name(), "not compared: not found on PATH");
    }
    // The first of all finds the server cold.
    turn(Client::Engine, &program, server.address, 1);
    let mut turns: Vec<Vec<Turn>> = clients.iter().map(|_| Vec::new()).collect();
    for round in 0..usize::try_from(rounds).expect("few rounds") {
        for step in 0..clients.len() {
            let which = (round + step) % clients.len();
            turns[which].push(turn(clients[which], &program, server.address, seconds));
        }
    }
    drop(server);
    tell(&mut report, &clients, &turns);
    let details: Vec<Value> =
        clients.iter().zip(&turns).map(|(client, turns)| raw(*client, turns)).collect();
    report.finish(&json!({ "rounds": rounds, "seconds": seconds, "clients": details }));
}

/// One client for so many seconds.
fn turn(client: Client, program: &Path, address: SocketAddr, seconds: u64) -> Turn {
    let (length, url) = (format!("{seconds}s"), format!("http://{address}/"));
    let mut command = match client {
        Client::Engine => {
            let (address, seconds) = (address.to_string(), seconds.to_string());
            let arguments = ["closed", address.as_str(), "/", CONNECTIONS, seconds.as_str()];
            start_again(&["taskset", "-c", "1"], &arguments)
        }
        Client::Program => pinned("1", program),
        other => pinned("1", other.name()),
    };
    match client {
        Client::Engine => &mut command,
        Client::Program => command.args(["load", "-c", CONNECTIONS, "-z", &length, "--json", &url]),
        Client::Wrk => command.args(["-t", "1", "-c", CONNECTIONS, "-d", &length, &url]),
        Client::Hey => command.args(["-cpus", "1", "-c", CONNECTIONS, "-z", &length, &url]),
        Client::Oha => command.args(["-c", CONNECTIONS, "-z", &length]).args([
            "--no-tui",
            "--output-format",
            "json",
            &url,
        ]),
    };
    let before = cpu_of_children();
    let output = command.stderr(Stdio::null()).output().expect("it was found");
    let cpu = cpu_of_children().saturating_sub(before);
    let text = String::from_utf8_lossy(&output.stdout);
    let per_second = per_second(client, &text)
        .unwrap_or_else(|| panic!("{} gives no rate without failures: {text}", client.name()));
    let requests = per_second * float(seconds);
    Turn { per_second, cpu_us_per_request: float(nanos(cpu)) / 1000.0 / requests }
}

/// CPU time of all children that have ended.
fn cpu_of_children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("it can be asked for");
    let (user, system) = (usage.user_time(), usage.system_time());
    let micros = |time: nix::sys::time::TimeVal| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(micros.try_into().expect("time used is not negative"))
    };
    micros(user) + micros(system)
}

/// The requests a second that a client tells; none where some failed.
fn per_second(client: Client, text: &str) -> Option<f64> {
    let json = || serde_json::from_str::<Value>(text).ok();
    match client {
        Client::Program => {
            let traffic = &json()?["phases"][0]["traffic"];
            (traffic["failed"] == 0).then(|| traffic["rate"].as_f64())?
        }
        Client::Engine => {
            let ran = json()?;
            (ran["counts"]["failed"] == 0).then(|| ran["requests_per_second"].as_f64())?
        }
        Client::Oha => {
            let summary = &json()?["summary"];
            let succeeded = summary["successRate"].as_f64()?;
            (succeeded >= 1.0).then(|| summary["requestsPerSec"].as_f64())?
        }
        Client::Wrk | Client::Hey => {
            let fails = ["Non-2xx", "Socket errors", "Error distribution"];
            if fails.iter().any(|words| text.contains(words)) {
                return None;
            }
            let line = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"))?;
            line.trim().parse().ok()
        }
    }
}

fn tell(report: &mut Report, clients: &[Client], turns: &[Vec<Turn>]) {
    let rates =
        |which: usize| -> Vec<f64> { turns[which].iter().map(|turn| turn.per_second).collect() };
    for (which, client) in clients.iter().enumerate() {
        let cpu: Vec<f64> = turns[which].iter().map(|turn| turn.cpu_us_per_request).collect();
        let (rates, cpu) = (rates(which), median(&cpu));
        let (least, most) = (quantile(&rates, 0.0), quantile(&rates, 1.0));
        let rate = median(&rates);
        let value = format!("{rate:.0} requests/s ({least:.0} to {most:.0}), {cpu:.2} µs CPU each");
        report.say(client.name(), value);
    }
    for (which, client) in clients.iter().enumerate() {
        let Some(goal) = client.goal() else { continue };
        for (own, ours) in clients.iter().enumerate().filter(|(_, it)| it.goal().is_none()) {
            let (own, theirs) = (rates(own), rates(which));
            let pairs: Vec<f64> = own.iter().zip(&theirs).map(|(own, it)| own / it).collect();
            let ratio = median(&own) / median(&theirs);
            let (least, most) = (quantile(&pairs, 0.0), quantile(&pairs, 1.0));
            let what = format!("{} / {}", ours.name(), client.name());
            let value = format!("{ratio:.2} (rounds {least:.2} to {most:.2})");
            if *ours == Client::Program {
                report.goal(what, value, format!("≥ {goal:.1}"), ratio >= goal);
            } else {
                report.say(what, value);
            }
        }
    }
}

fn raw(client: Client, turns: &[Turn]) -> Value {
    let turns: Vec<Value> = turns
        .iter()
        .map(|turn| json!({"per_second": turn.per_second, "cpu_us": turn.cpu_us_per_request}))
        .collect();
    let version = Command::new(client.name()).arg("--version").output().ok();
    let version = version.and_then(|output| {
        String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
    });
    json!({"client": client.name(), "version": version, "rounds": turns})
}
