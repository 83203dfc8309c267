//! Recordings where nothing can be written: while they are written elsewhere, after a kill, when
//! complete.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::recorded::Recorded;
use super::support::harness::{Bench, Runtime};
use super::{left, on_each_runtime};

pub(crate) fn trials() -> Vec<Trial> {
    on_each_runtime("recordings_are_read_where_nothing_can_be_written", reads)
}

/// A directory, seen at another place where it can't be written to.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn of(dir: &Path, at: PathBuf) -> Self {
        fs::create_dir_all(&at).expect("a directory can be made");
        mount(Some(dir), &at, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("root binds");
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, &at, None::<&str>, flags, None::<&str>).expect("root remounts");
        Self(at)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn reads(runtime: Runtime, bench: &Bench) {
    let mark = left::mark(bench);
    bench.scenario(
        &["steady"],
        &format!(
            "limits = {{ memory = \"64MiB\" }}\nenv = {{ {} = {mark:?} }}\n\
             [startup]\ntrials = 0\n[[phase]]\nname = \"long\"\nfor = \"120s\"\n",
            left::MARK
        ),
    );
    let out = bench.path().join("out");
    let mut child = bench.spawn(&["run", "--runtime", runtime.name(), "--out", "out", "-q"]);
    let begun = Instant::now();
    while !out.join("target-main.log").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never got so far");
        std::thread::sleep(Duration::from_millis(20));
    }
    let _there = ReadOnly::of(&out, bench.path().join("there"));
    std::thread::sleep(Duration::from_secs(2));
    // While it is written.
    let first = Recorded::read(&bench.path().join("there")).expect("it is readable").events;
    assert!(first > 5, "{first} events");
    let live = bench.run(&["report", "there", "--json"]);
    let json = live.expect_code(130).json();
    let text = json["reasons"][0]["text"].as_str().unwrap_or_default().to_owned();
    assert!(text.starts_with("the run still goes on"), "{text}");
    assert!(live.stderr.contains("read-only: `--out DIR`"), "{}", live.stderr);
    let run_id = left::runs_of(child.id()).pop().expect("it has noted itself");
    std::thread::sleep(Duration::from_secs(1));
    // After a kill, with all that it left and with less.
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).expect("it is there");
    child.wait().expect("it ends");
    let killed = Recorded::read(&bench.path().join("there")).expect("it is readable").events;
    assert!(killed > first, "{killed} events, {first} before");
    fs::remove_file(out.join("recording.db-shm")).expect("the log's index is there");
    assert_eq!(Recorded::read(&bench.path().join("there")).map(|read| read.events), Ok(killed));
    let report = bench.run(&["report", "there", "--json", "--out", "elsewhere"]);
    let json = report.expect_code(130).json();
    let text = json["reasons"][0]["text"].as_str().unwrap_or_default().to_owned();
    assert!(text.starts_with("the recording was cut off in phase long at "), "{text}");
    assert!(bench.path().join("elsewhere/run.json").exists());
    assert!(!out.join("recording.db-shm").exists(), "nothing was written beside it");
    bench.run(&["clean", "--run", &run_id]).expect_code(0);
    // A complete one is one file.
    let example = super::support::root().join("fixtures/recordings/first/recording.db");
    let whole = bench.path().join("whole");
    fs::create_dir(&whole).expect("a directory can be made");
    fs::copy(example, whole.join("recording.db")).expect("it can be copied");
    let _still = ReadOnly::of(&whole, bench.path().join("still"));
    bench.run(&["report", "still", "--json"]).expect_code(0);
}
