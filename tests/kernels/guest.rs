//! What runs in a guest: this test's own program as the first process.
//!
//! It makes the guest a system, does what the order in its root says, prints results as lines that
//! begin with [`MARK`], and ends the machine. Only a guest that got to its end says so, on the
//! console and to QEMU itself.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::support::sampled::{Nest, sample};

/// The start of every line that is meant for the host.
pub(crate) const MARK: &str = "@@";

/// The last line of a guest that did everything.
pub(crate) const DONE: &str = "@@done";

/// What is written to QEMU's exit device; QEMU then exits with twice that, plus one.
const EXIT: u8 = 0x2a;
pub(crate) const EXIT_STATUS: i32 = 0x2a * 2 + 1;
const EXIT_PORT: u16 = 0xf4;

/// Where things lie in a guest.
pub(crate) const ORDER: &str = "order.json";
pub(crate) const HIGHWATER: &str = "bin/highwater";
pub(crate) const FIXTURES: &str = "bin/highwater-fixtures";

/// What a guest is to do, in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Sample services with one spike each, of so many MiB.
    Spikes { mib: Vec<u64> },
    /// Reset one of the two nested marks after a spike, and see whether the other keeps it.
    Gap,
    /// Run a scenario, and tell its `run.json`.
    Run { name: String, scenario: String },
    /// End with a panic of the guest's program.
    Panic,
    /// Crash the kernel: its first process just ends.
    Crash,
    /// Never end.
    Hang,
}

/// The guest's life.
pub(crate) fn main() -> ! {
    set_up();
    let order = fs::read(Path::new("/").join(ORDER)).expect("the order is in the root");
    let orders: Vec<Order> = serde_json::from_slice(&order).expect("the order can be read");
    for order in orders {
        follow(order);
    }
    let left = fs::read_dir("/sys/fs/cgroup").expect("cgroups are mounted").flatten();
    let left: Vec<String> = left
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("highwater-"))
        .collect();
    say(&json!({ "left": left }));
    tell(DONE);
    leave();
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Tells QEMU to exit with a status of our own.
#[expect(unsafe_code, reason = "writing to an I/O port has no safe form")]
fn leave() {
    // SAFETY: both touch nothing but the emulated exit device's port, which nothing else uses.
    unsafe {
        assert_eq!(nix::libc::ioperm(u64::from(EXIT_PORT), 1, 1), 0, "the port can be had");
        std::arch::asm!("out dx, al", in("dx") EXIT_PORT, in("al") EXIT);
    }
}

fn set_up() {
    for (kind, place) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
        ("cgroup2", "/sys/fs/cgroup"),
    ] {
        let _ = fs::create_dir_all(place);
        mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>)
            .unwrap_or_else(|error| panic!("mounting {kind}: {error}"));
    }
    for controller in ["+memory", "+cpu", "+pids", "+io"] {
        let _ = fs::write("/sys/fs/cgroup/cgroup.subtree_control", controller);
    }
}

fn tell(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "\n{line}");
    let _ = out.flush();
}

fn say(value: &Value) {
    tell(&format!("{MARK}{value}"));
}

#[expect(clippy::exit, reason = "a first process that ends is what crashes a kernel")]
fn follow(order: Order) {
    match order {
        Order::Spikes { mib } => mib.into_iter().for_each(one_spike),
        Order::Gap => gap(),
        Order::Run { name, scenario } => run(&name, &scenario),
        Order::Panic => panic!("as ordered"),
        Order::Crash => std::process::exit(0),
        Order::Hang => std::thread::sleep(Duration::from_secs(3600)),
    }
}

/// A service that spikes once; how high, and how high it was seen.
fn one_spike(mib: u64) {
    let nest = Nest::new("guest").expect("cgroups can be made");
    let size = (mib * 1024).to_string();
    let arguments = ["spiky", "--size-kib", &size, "--hold-us", "0", "--every-ms", "100"];
    let arguments = [&arguments[..], &["--count", "1", "--after-ms", "500"]].concat();
    let fixtures = Path::new("/").join(FIXTURES);
    let sampled = sample(&nest, &fixtures, &arguments, Duration::from_secs(3));
    let spikes = sampled.true_spikes();
    let spike = spikes.first().unwrap_or_else(|| panic!("no spike: {:?}", sampled.log));
    say(&json!({
        "spike": {
            "method": sampled.start.method.name(),
            "true": spike["bytes"],
            "seen": sampled.rise_seen(spike).get(),
            "slack": sampled.start.charge_slack.get(),
            "ticks": sampled.report.ticks,
        }
    }));
}

/// No spike falls between reading a mark and resetting it: what one has lost, the other shows.
fn gap() {
    let nest = Nest::new("gap").expect("cgroups can be made");
    let marks = [1, 0].map(|level: usize| {
        let path = nest.place.resets[level].join("memory.peak");
        fs::OpenOptions::new().read(true).write(true).open(path).expect("a mark")
    });
    let read = |file: &fs::File| {
        let mut text = [0; 32];
        let length = file.read_at(&mut text, 0).expect("a mark reads");
        String::from_utf8_lossy(&text[..length]).trim().parse::<u64>().expect("a number")
    };
    let reset = |file: &fs::File| file.write_at(b"0", 0).expect("a mark resets");
    let arguments = ["spiky", "--size-kib", "16384", "--count", "1", "--after-ms", "1500"];
    let mut child = nest.run(&Path::new("/").join(FIXTURES), &arguments);
    std::thread::sleep(Duration::from_millis(700));
    for mark in &marks {
        reset(mark);
    }
    let before = read(&marks[0]);
    std::thread::sleep(Duration::from_millis(2500));
    let shown = read(&marks[0]);
    reset(&marks[0]);
    let kept = read(&marks[1]);
    let _ = child.kill();
    let _ = child.wait();
    say(&json!({ "gap": { "before": before, "shown": shown, "kept": kept } }));
}

fn run(name: &str, scenario: &str) {
    let path = format!("/tmp/{name}.toml");
    fs::write(&path, scenario).expect("/tmp can be written");
    let output = Command::new(Path::new("/").join(HIGHWATER))
        .args(["run", &path, "--runtime", "native", "--json", "--quiet"])
        .args(["--out", &format!("/tmp/{name}")])
        .stdin(Stdio::null())
        .output()
        .expect("highwater runs");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let _ = fs::remove_dir_all(format!("/tmp/{name}"));
    say(&json!({
        "run": { "name": name, "code": output.status.code(), "json": report, "stderr": words }
    }));
}
