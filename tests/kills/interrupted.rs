//! Signals: once to stop and report, twice to end now; nothing is left either way.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::recorded::Recorded;
use super::support::harness::{Bench, Runtime};
use super::{left, on_each_runtime, reported};

pub(crate) fn trials() -> Vec<Trial> {
    on_each_runtime("signals_end_a_run_and_leave_nothing", interrupts)
}

fn interrupts(runtime: Runtime, bench: &Bench) {
    let mark = left::mark(bench);
    // A target that takes its time to stop makes the second signal come before its end.
    bench.scenario(
        &["steady"],
        &format!(
            "limits = {{ memory = \"64MiB\" }}\nenv = {{ {} = {mark:?} }}\n\
             [startup]\ntrials = 0\n[[phase]]\nname = \"long\"\nfor = \"120s\"\n",
            left::MARK
        ),
    );
    // The other two are told once in `tests/run.rs`.
    let twice = [Signal::SIGINT, Signal::SIGTERM];
    for signals in [&[Signal::SIGHUP][..], &twice] {
        let out = bench.path().join("out");
        let _ = std::fs::remove_dir_all(&out);
        let child = bench.spawn(&["run", "--runtime", runtime.name(), "--out", "out", "--json"]);
        let pid = Pid::from_raw(child.id().cast_signed());
        let begun = Instant::now();
        while !out.join("target-main.log").exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it never got so far");
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_secs(1));
        for signal in signals {
            kill(pid, *signal).expect("it is there");
            std::thread::sleep(Duration::from_millis(60));
        }
        let ended = bench.ended(&child.wait_with_output().expect("it ends"));
        assert_eq!(ended.code, 130, "{}\n{}", ended.stdout, ended.stderr);
        assert!(Recorded::read(&out).expect("it is readable").finished, "{signals:?}");
        let json = reported(bench, &[]).expect_code(130).json();
        let text = json["reasons"][0]["text"].as_str().unwrap_or_default().to_owned();
        assert!(text.starts_with("interrupted in phase long at "), "{signals:?}: {text}");
        assert!(json["memory"]["peak_bytes"].as_u64().is_some_and(|peak| peak > 0));
        left::nothing_of(bench);
    }
}
