//! Every way of knowing peaks on a kernel that has it: guests with Debian's kernels under QEMU,
//! this program as their first process. On this host's own kernel, `tests/sampler.rs` does the
//! same.
//!
//! A guest proves meaning, not speed: under emulation a spike of 1 MiB lasts some milliseconds.

#[path = "kernels/debian.rs"]
mod debian;
#[path = "kernels/guest.rs"]
mod guest;
#[path = "kernels/machine.rs"]
mod machine;
mod support;

use std::time::{Duration, Instant};

use debian::{Kernel, V5_10, V6_1, V6_12};
use guest::Order;
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;

const MIB: u64 = 1024 * 1024;

/// How long a guest may take: some 20 s are usual.
const TIME: Duration = Duration::from_secs(120);

fn main() {
    if std::process::id() == 1 {
        guest::main();
    }
    let mut arguments = Arguments::from_args();
    // A guest keeps a core busy.
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    arguments.test_threads = Some(cores.min(2));
    let test = |name, kernel, test: fn(&Guest)| {
        Trial::test(name, move || {
            on(kernel, test);
            Ok(())
        })
    };
    let trials = vec![
        test("peaks_are_reset_each_tick_on_6_12", V6_12, resets),
        test("record_breaking_peaks_are_exact_on_6_1", V6_1, lifetime),
        test("peaks_are_only_sampled_on_5_10", V5_10, sampled),
        test("guests_that_fail_are_noticed", V6_12, failures),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// Runs a test with a kernel, where that can be had.
fn on(kernel: Kernel, test: impl Fn(&Guest)) {
    if !machine::is_there() {
        support::skip("QEMU is not installed (qemu-system-x86)");
        return;
    }
    match kernel.image() {
        Ok(image) => test(&Guest { kernel, image }),
        Err(why) => support::skip(&format!("kernel {} can't be had: {why}", kernel.version)),
    }
}

struct Guest {
    kernel: Kernel,
    image: std::path::PathBuf,
}

/// What a guest told.
struct Told(Vec<Value>);

impl Guest {
    fn boot(&self, orders: &[Order]) -> Told {
        let began = Instant::now();
        let told =
            machine::boot(&self.image, orders, TIME).unwrap_or_else(|error| panic!("{error}"));
        let seconds = began.elapsed().as_secs_f64();
        let mut out = std::io::stderr();
        let line = format!("Linux {}: {seconds:.1} s\n", self.kernel.version);
        let _ = std::io::Write::write_all(&mut out, line.as_bytes());
        let told = Told(told);
        assert_eq!(told.0.last().unwrap()["left"], Value::Array(Vec::new()), "cgroups are left");
        told
    }
}

impl Told {
    fn spikes(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().filter_map(|line| line.get("spike"))
    }

    /// A run's report, after a look at its exit code: one of these.
    fn run(&self, name: &str, codes: &[i64]) -> &Value {
        let run = self.0.iter().filter_map(|line| line.get("run")).find(|run| run["name"] == name);
        let run = run.unwrap_or_else(|| panic!("no run {name}: {:#?}", self.0));
        let code = run["code"].as_i64().unwrap_or(-1);
        assert!(codes.contains(&code), "{run:#}");
        assert_eq!(run["json"]["target"]["cgroup"], "v2", "{run:#}");
        &run["json"]
    }
}

fn bytes(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no size"))
}

fn scenario(service: &str, limits: &str, seconds: u32) -> String {
    format!(
        "[target]\nbin = \"/{}\"\nport = 8080\nargs = [{service}]\nlimits = {{ {limits} }}\n\
         ready = {{ tcp = true, within = \"60s\" }}\n[startup]\ntrials = 0\n\
         [sampling]\ntick = \"10ms\"\n\
         [[scenario]]\nname = \"get\"\n[[scenario.step]]\nget = \"/\"\n\
         [[phase]]\nname = \"steady\"\nrate = 5\nfor = \"{seconds}s\"\n",
        guest::FIXTURES
    )
}

fn run(name: &str, service: &str, limits: &str, seconds: u32) -> Order {
    Order::Run { name: name.to_owned(), scenario: scenario(service, limits, seconds) }
}

const SPIKY: &str = "\"spiky\", \"--size-kib\", \"1024\", \"--hold-us\", \"0\", \"--every-ms\", \
                     \"100\", \"--count\", \"20\", \"--after-ms\", \"1000\"";

const OOM: &str = "\"oom\", \"--after-ms\", \"1500\", \"--mib-per-s\", \"100\"";

fn steady_and_oom() -> [Order; 2] {
    [
        run("steady", "\"steady\"", "memory = \"64MiB\"", 2),
        run("oom", OOM, "memory = \"32MiB\"", 20),
    ]
}

/// What holds on every kernel: a healthy service passes, and an OOM kill is found.
fn check_steady_and_oom(told: &Told, method: &str) {
    // An emulated machine may be too slow for its ticks, and where peaks are only sampled that is
    // rightly not trusted.
    let codes: &[i64] = if method == "sampled" { &[0, 5] } else { &[0] };
    let steady = told.run("steady", codes);
    assert_eq!(steady["sampler"]["peak_method"], method);
    assert!(bytes(&steady["memory"]["peak_bytes"]) > MIB / 2, "{:#}", steady["memory"]);
    let parts = &steady["memory"]["at_unreclaimable_peak"];
    // Told since Linux 5.11; before, it is not made up.
    assert_eq!(parts["page_tables_bytes"].is_null(), method == "sampled", "{parts:#}");
    assert!(bytes(&parts["anon_bytes"]) > 0, "{parts:#}");
    let traffic = &steady["phases"][0]["traffic"];
    assert_eq!((bytes(&traffic["requests"]), bytes(&traffic["failed"])), (10, 0), "{traffic:#}");
    let oom = told.run("oom", &[1]);
    let reasons = oom["reasons"].as_array().unwrap();
    let kill = reasons.iter().find(|reason| reason["id"] == "oom_kill").expect("a kill");
    assert!(kill["at_ms"].as_f64().unwrap() > 1000.0, "{kill}");
    assert!(kill["text"].as_str().unwrap().contains("steady"), "{kill}");
    assert_eq!(oom["memory"]["oom_evidence"][0], "events");
    assert!(bytes(&oom["memory"]["limit_hits"]) > 0, "{:#}", oom["memory"]);
}

/// Linux ≥ 6.12: every spike, with its height; and limits like Kubernetes'.
fn resets(guest: &Guest) {
    let mut orders = vec![Order::Spikes { mib: vec![1, 8, 2, 4] }, Order::Gap];
    orders.extend(steady_and_oom());
    orders.push(run("spiky", SPIKY, "memory = \"64MiB\"", 5));
    let kubernetes = "memory = \"48MiB\", cpus = 0.9, like = \"kubernetes\"";
    orders.push(run("pod", "\"forking\", \"--after-ms\", \"1000\"", kubernetes, 15));
    let told = guest.boot(&orders);
    assert_eq!(told.spikes().count(), 4);
    for spike in told.spikes() {
        assert_eq!(spike["method"], "v2-reset");
        let allowed = 512 * 1024 + bytes(&spike["slack"]);
        let (seen, truth) = (bytes(&spike["seen"]), bytes(&spike["true"]));
        assert!(seen.abs_diff(truth) <= allowed, "{spike}");
    }
    let gap = told.0.iter().find_map(|line| line.get("gap")).expect("an answer");
    let risen = bytes(&gap["before"]) + 15 * MIB;
    assert!(bytes(&gap["shown"]) > risen && bytes(&gap["kept"]) > risen, "{gap}");
    check_steady_and_oom(&told, "v2-reset");
    let spiky = told.run("spiky", &[0]);
    let allowed = 512 * 1024 + 252 * 1024;
    let seen = spiky["spikes"].as_array().unwrap();
    let right = seen.iter().filter(|s| bytes(&s["rise_bytes"]).abs_diff(MIB) <= allowed).count();
    assert!(right >= 20, "{right} of 20: {seen:#?}");
    // With memory.oom.group a child's kill takes its parent along, so the target ends.
    let pod = told.run("pod", &[1]);
    assert!(bytes(&pod["memory"]["oom_kills"]) >= 2, "{:#}", pod["memory"]);
    assert!(pod["lives"][0]["exit_code"].is_number(), "{:#}", pod["lives"]);
}

/// Linux 5.19 to 6.11: a peak that beats all before it is exact.
fn lifetime(guest: &Guest) {
    let mut orders = vec![Order::Spikes { mib: vec![4, 16] }];
    orders.extend(steady_and_oom());
    let told = guest.boot(&orders);
    assert_eq!(told.spikes().count(), 2);
    for spike in told.spikes() {
        assert_eq!(spike["method"], "lifetime");
        let allowed = 512 * 1024 + bytes(&spike["slack"]);
        let (seen, truth) = (bytes(&spike["seen"]), bytes(&spike["true"]));
        assert!(seen.abs_diff(truth) <= allowed, "{spike}");
    }
    check_steady_and_oom(&told, "lifetime");
}

/// Linux before 5.19: what ticks saw, and never more than was there.
fn sampled(guest: &Guest) {
    let mut orders = vec![Order::Spikes { mib: vec![16] }];
    orders.extend(steady_and_oom());
    let told = guest.boot(&orders);
    let spike = told.spikes().next().expect("one spike");
    assert_eq!(spike["method"], "sampled");
    assert!(bytes(&spike["seen"]) <= bytes(&spike["true"]) + bytes(&spike["slack"]), "{spike}");
    check_steady_and_oom(&told, "sampled");
}

/// A guest that panics, crashes or hangs is no success.
fn failures(guest: &Guest) {
    for (order, time) in
        [(Order::Panic, TIME), (Order::Crash, TIME), (Order::Hang, Duration::from_secs(8))]
    {
        let told = machine::boot(&guest.image, std::slice::from_ref(&order), time);
        assert!(told.is_err(), "{order:?} counts as a success: {told:?}");
    }
}
