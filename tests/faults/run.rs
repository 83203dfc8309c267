//! Runs of the real binary that are watched: how much memory it takes, and what it leaves.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::harness::{Bench, Ended, Runtime, left_behind};

pub(crate) const MIB: u64 = 1 << 20;

/// A run in progress.
pub(crate) struct Going {
    child: Child,
    peak: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    watcher: std::thread::JoinHandle<()>,
    began: Instant,
}

/// A run that ended.
pub(crate) struct Done {
    pub(crate) ended: Ended,
    /// The highest RSS of the harness, as far as it was seen.
    pub(crate) rss_peak: u64,
    pub(crate) took: Duration,
}

impl Going {
    pub(crate) fn start(mut command: Command) -> Self {
        let child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let (peak, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let status = Path::new("/proc").join(child.id().to_string()).join("status");
        let (seen, stop) = (peak.clone(), over.clone());
        let watcher = std::thread::spawn(move || {
            while !stop.load(Ordering::Acquire) {
                if let Some(now) = high_water(&status) {
                    seen.fetch_max(now, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self { child, peak, over, watcher, began: Instant::now() }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the run goes on");
    }

    pub(crate) fn wait(self, bench: &Bench) -> Done {
        let output: Output = self.child.wait_with_output().expect("it ends");
        let took = self.began.elapsed();
        self.over.store(true, Ordering::Release);
        self.watcher.join().expect("watching does not panic");
        let rss_peak = self.peak.load(Ordering::Relaxed);
        Done { ended: bench.ended(&output), rss_peak, took }
    }
}

/// The highest RSS that a process has had, in bytes.
fn high_water(status: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The command of a run on the scenario here, into `out/`.
pub(crate) fn command(bench: &Bench, runtime: Runtime) -> Command {
    bench.command(&["run", "--runtime", runtime.name(), "--out", "out", "--json"])
}

/// `highwater run` on the scenario here, to its end.
pub(crate) fn run(bench: &Bench, runtime: Runtime) -> Done {
    Going::start(command(bench, runtime)).wait(bench)
}

impl Done {
    /// Asserts that the harness kept to its budget, and that nothing is left.
    pub(crate) fn expect_clean(&self) -> &Self {
        let most = highwater::plan::Budget::default().harness_rss.get();
        let peak = self.rss_peak;
        assert!(peak > MIB, "the harness was not watched: {}", self.ended.stderr);
        assert!(peak <= most, "the harness took {peak} bytes, {most} are allowed");
        assert_eq!(left_by(&self.ended.out), Vec::<String>::new());
        self
    }

    /// For the table.
    pub(crate) fn told(&self) -> String {
        format!("exit {}, harness RSS peak {} MiB", self.ended.code, self.rss_peak / MIB)
    }
}

/// What a run has left on this machine. Where others may run and be killed at the same time, as they
/// may not in CI, only what carries the run's id counts.
pub(crate) fn left_by(out: &Path) -> Vec<String> {
    let mut left = left_behind();
    if std::env::var_os("HIGHWATER_REQUIRE_DOCKER").is_none() {
        let directory = highwater::record::RunDirectory::open(out).ok();
        let recording = directory.and_then(|dir| highwater::record::Recording::open(&dir).ok());
        let id = recording.map(|recording| recording.header().facts.run_id.clone());
        left.retain(|name| id.as_ref().is_some_and(|id| name.contains(id.as_str())));
    }
    left
}

/// The scenario behind `args` of `[target]`, with no trials: more `keys` of `[target]`, then one
/// phase without traffic.
pub(crate) fn idle(keys: &str, seconds: u32) -> String {
    format!(
        "{keys}\n[startup]\ntrials = 0\n\
         [[phase]]\nname = \"idle\"\nfor = \"{seconds}s\"\n"
    )
}

/// Waits until something is so; generous, for the machine may be busy.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what} was waited for in vain");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The container of the run that goes on in this bench, once its main phase has begun.
pub(crate) fn main_container(docker: &impl Fn() -> Command) -> String {
    wait_for("the main container", || {
        let output = docker()
            .args(["ps", "--format", "{{.Names}}", "--filter", "label=highwater.run"])
            .output()
            .ok()?;
        let names = String::from_utf8_lossy(&output.stdout).into_owned();
        names.lines().find(|name| is_ours(name)).map(str::to_owned)
    })
}

/// Whether a container belongs to a run of a child of ours: others may run at the same time.
fn is_ours(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("highwater-") else { return false };
    let Some((id, "main")) = rest.split_once('-') else { return false };
    let note = std::fs::read_to_string(Path::new("/run/highwater").join(id)).unwrap_or_default();
    let Some(pid) = note.split_whitespace().next() else { return false };
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
    parent == Some(&std::process::id().to_string())
}

/// The `docker` command of the engine that tests use.
pub(crate) fn docker() -> Command {
    Command::new("docker")
}

/// Runs `docker` with these words and gives what it prints.
pub(crate) fn docker_says(docker: &impl Fn() -> Command, args: &[&str]) -> String {
    let output = docker().args(args).output().expect("docker runs");
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Waits until a run has printed that its phase began, by its live recording: the main container
/// answers to `docker`, and some time has passed.
pub(crate) fn let_phase_begin() {
    std::thread::sleep(Duration::from_millis(1500));
}

/// Whether a note or a reason of a `run.json` holds these words.
pub(crate) fn says(json: &serde_json::Value, words: &str) -> bool {
    let texts = |key: &str| json[key].as_array().cloned().unwrap_or_default();
    let reasons = texts("reasons").into_iter().map(|row| row["text"].clone());
    reasons.chain(texts("notes")).any(|text| text.as_str().is_some_and(|t| t.contains(words)))
}

/// All files below a directory.
pub(crate) fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}
