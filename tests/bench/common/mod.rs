//! What the benchmarks share: the fixture services, nested cgroups of their own, statistics, and
//! how results are printed and kept.

#![allow(dead_code, reason = "each benchmark uses its own part")]

pub(crate) mod bare;
pub(crate) mod clean;
pub(crate) mod container;
pub(crate) mod drive;
pub(crate) mod nest;
pub(crate) mod report;
pub(crate) mod server;
pub(crate) mod statistics;
pub(crate) mod truth;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use highwater::event::{Event, TickBlock, What};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The fixture services' binary, built for release.
pub(crate) fn fixtures() -> PathBuf {
    built("highwater-fixtures")
}

/// Highwater itself, built for release.
pub(crate) fn program() -> PathBuf {
    built("highwater")
}

/// The binary of the package of the same name, built for release.
fn built(name: &str) -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--package", name, "--bin", name])
        .args(["--message-format", "json"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .find(|path| path.ends_with(name))
        .expect("cargo names the binary")
}

/// The bare loop in C, compiled into `dir`.
pub(crate) fn bare_loop(dir: &Path) -> PathBuf {
    let program = dir.join("bare_loop");
    let source = root().join("tests/bench/bare_loop.c");
    let status = Command::new("cc").args(["-O2", "-Wall", "-o"]).arg(&program).arg(source).status();
    assert!(status.expect("cc runs").success(), "the C loop compiles");
    program
}

/// A count as a float.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) const fn float(count: u64) -> f64 {
    count as f64
}

/// `CLOCK_MONOTONIC` now, in nanoseconds.
pub(crate) fn monotonic_ns() -> u64 {
    highwater::clock::monotonic_ns()
}

/// The number after the program's name and `before` other arguments, or a default.
pub(crate) fn number_argument(before: usize, default: u64) -> u64 {
    std::env::args().nth(before + 1).map_or(default, |text| text.parse().expect("a whole number"))
}

/// The number after `--name` on the command line, or a default.
pub(crate) fn option(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().map_or(default, |text| text.parse().expect("a whole number after the option"))
}

/// Binds this thread, and those that it starts from now on, to one core.
pub(crate) fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core).expect("a core's number is small");
    sched_setaffinity(Pid::from_raw(0), &cores).expect("the benchmark needs two cores");
}

/// CPU time that this thread has used, in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux always has it");
    highwater::clock::nanos(used.into())
}

/// A program bound to one core, dying with this thread.
pub(crate) fn pinned(core: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "taskset", "-c", core]).arg(program);
    command
}

/// The program started anew with other arguments, dying with this thread; `before` comes first on
/// its command line.
pub(crate) fn start_again(before: &[&str], arguments: &[&str]) -> Command {
    let own = std::env::current_exe().expect("a process has an executable");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).args(before).arg(own).args(arguments);
    command
}

/// A child that is ended, by its id, when this is dropped.
pub(crate) struct Ending(pub(crate) Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The blocks of raw ticks among events.
pub(crate) fn blocks(events: &[Event]) -> impl Iterator<Item = &TickBlock> {
    events.iter().filter_map(|event| match &event.what {
        What::Ticks(block) => Some(block),
        _ => None,
    })
}
