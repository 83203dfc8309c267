//! What memory the load generator needs: flat over millions of requests, and bounded with 10,000
//! connections.
//!
//! `load_memory [--requests 20000000] [--seconds 30]`, with at least 11,000 open files allowed
//! (`ulimit -Hn`).
//! A server of this benchmark on core 0 answers 899 of 1,000 requests with 200, 100 with 500, and
//! breaks one connection in the middle of its answer. On core 1, each as a process of its own:
//!
//! - `highwater load -n REQUESTS -c 32`: its resident set (`VmRSS`) each second from the moment at
//!   which the server has seen 5 % of the requests until it has seen all. Goal: never more than
//!   4 MiB from the first of these;
//! - `highwater load -z SECONDS -c 10000`: the server must have had 10,000 connections open at
//!   once. Goal: never more than 256 MiB resident (`VmHWM`).

mod common;

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use common::report::Report;
use common::server::{Manner, Server, allow_descriptors, serve_if_asked};
use common::{float, option, pinned, program};
use serde_json::{Value, json};

const MIXED: Manner = Manner { stall_s: 0, every_s: 0, first_s: 0, mixed: true };
const KIB_PER_MIB: u64 = 1024;
/// How far the resident set may go from the first sample, in KiB.
const FLAT_KIB: u64 = 4 * KIB_PER_MIB;
const MANY: u64 = 10_000;
const MANY_KIB: u64 = 256 * KIB_PER_MIB;

/// A look at the generator.
#[derive(Debug, Clone, Copy)]
struct Sample {
    second: u64,
    /// Requests that the server has seen.
    served: u64,
    resident_kib: u64,
    highest_kib: u64,
}

/// A generator's whole run.
struct Run {
    samples: Vec<Sample>,
    open_max: u64,
    /// What it reported in the end.
    traffic: Value,
}

fn main() {
    serve_if_asked();
    allow_descriptors(MANY + 1000);
    let (requests, seconds) = (option("--requests", 20_000_000), option("--seconds", 30));
    let program = program();
    let mut report = Report::new("load_memory");
    let count = requests.to_string();
    let long = run(&program, &["-n", &count, "-c", "32"]);
    tell_long(&mut report, &long, requests);
    let (length, many) = (format!("{seconds}s"), MANY.to_string());
    let wide = run(&program, &["-z", &length, "-c", &many]);
    tell_wide(&mut report, &wide);
    report.finish(&json!({
        "requests": requests, "seconds": seconds, "long": raw(&long), "wide": raw(&wide),
    }));
}

/// Runs `highwater load` with these arguments against a server of its own, and looks at it each
/// second.
fn run(program: &Path, arguments: &[&str]) -> Run {
    let server = Server::own(&MIXED);
    let mut child = pinned("1", program)
        .arg("load")
        .args(arguments)
        .args(["--json", &format!("http://{}/", server.address)])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("setpriv and taskset are there");
    let mut samples = Vec::new();
    for second in 1.. {
        std::thread::sleep(Duration::from_secs(1));
        if child.try_wait().expect("a child can be asked").is_some() {
            break;
        }
        samples.extend(look(&child, &server, second));
    }
    let output = child.wait_with_output().expect("it has ended");
    let findings: Value = serde_json::from_slice(&output.stdout).expect("it reports in JSON");
    let traffic = findings["phases"][0]["traffic"].clone();
    Run { samples, open_max: server.last("open_max"), traffic }
}

/// What the kernel says of the generator now; nothing once it has ended.
fn look(child: &Child, server: &Server, second: u64) -> Option<Sample> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let kib = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some(Sample {
        second,
        served: server.last("served"),
        resident_kib: kib("VmRSS:")?,
        highest_kib: kib("VmHWM:")?,
    })
}

fn tell_long(report: &mut Report, run: &Run, requests: u64) {
    // In the end it is the report that is made, from a recording; that is told apart.
    let within = |sample: &&Sample| sample.served >= requests / 20 && sample.served < requests;
    let resident: Vec<u64> =
        run.samples.iter().filter(within).map(|sample| sample.resident_kib).collect();
    let first = *resident.first().expect("the run takes some seconds: give it more requests");
    let (least, most) = (resident.iter().min(), resident.iter().max());
    let (least, most) = (least.copied().unwrap_or(first), most.copied().unwrap_or(first));
    let off = first.abs_diff(least).max(first.abs_diff(most));
    let value = format!(
        "{} MiB at 5 %, {} to {} MiB in {} samples: {} off",
        mib(first),
        mib(least),
        mib(most),
        resident.len(),
        mib(off)
    );
    let what = format!("resident set over {requests} requests");
    report.goal(what, value, format!("± {} MiB", mib(FLAT_KIB)), off <= FLAT_KIB);
    let (from, to) = (first, resident.last().copied().unwrap_or(first));
    report.say("the same, first and last", format!("{} and {} MiB", mib(from), mib(to)));
    report.say("the same, its report's making included", format!("{} MiB", mib(highest(run))));
    report.say("its traffic", traffic(run));
}

fn tell_wide(report: &mut Report, run: &Run) {
    let open = run.open_max;
    let what = format!("connections open at once, of {MANY}");
    report.goal(what, open.to_string(), format!("≥ {MANY}"), open >= MANY);
    let highest = highest(run);
    let what = format!("greatest resident set with {MANY} connections");
    let value = format!("{} MiB", mib(highest));
    report.goal(what, value, format!("≤ {} MiB", mib(MANY_KIB)), highest <= MANY_KIB);
    report.say("its traffic", traffic(run));
}

/// The greatest resident set of all, in KiB.
fn highest(run: &Run) -> u64 {
    run.samples.iter().map(|sample| sample.highest_kib).max().unwrap_or(0)
}

fn traffic(run: &Run) -> String {
    let traffic = &run.traffic;
    format!(
        "{} requests, {:.0} a second, by status {}, errors {}",
        traffic["requests"],
        traffic["rate"].as_f64().unwrap_or(0.0),
        traffic["status"],
        traffic["errors"]
    )
}

fn mib(kib: u64) -> String {
    format!("{:.1}", float(kib) / float(KIB_PER_MIB))
}

fn raw(run: &Run) -> Value {
    let samples: Vec<[u64; 4]> = run
        .samples
        .iter()
        .map(|sample| [sample.second, sample.served, sample.resident_kib, sample.highest_kib])
        .collect();
    json!({
        "columns": ["second", "served", "resident_kib", "highest_kib"],
        "samples": samples, "open_max": run.open_max, "traffic": run.traffic,
    })
}
