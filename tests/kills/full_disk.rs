//! A disk that fills up in mid-run: what was sampled is there, and so is the reason.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use highwater::clock::monotonic_ns;
use libtest_mimic::Trial;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::kill::MOST_LOST;
use super::recorded::Recorded;
use super::support::harness::{Bench, Runtime};
use super::{left, on_each_runtime, reported};

pub(crate) fn trials() -> Vec<Trial> {
    on_each_runtime("a_full_disk_ends_the_run_with_its_data_and_its_reason", fills_up)
}

/// A small disk of a test's own.
pub(crate) struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    pub(crate) fn of(at: &'a Path, options: &str) -> Self {
        std::fs::create_dir_all(at).expect("a directory can be made");
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(options))
            .expect("root mounts a tmpfs");
        Self(at)
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // Whoever still reads there keeps it, and nobody else sees it any more.
        let _ = umount2(self.0, MntFlags::MNT_DETACH);
    }
}

fn fills_up(runtime: Runtime, bench: &Bench) {
    let out = bench.path().join("out");
    let _disk = Disk::of(&out, "size=24m");
    let mark = left::mark(bench);
    bench.scenario(
        &["steady"],
        &format!(
            "limits = {{ memory = \"64MiB\" }}\nenv = {{ {} = {mark:?} }}\n\
             [startup]\ntrials = 0\n[[scenario]]\nname = \"get\"\n[[scenario.step]]\nget = \"/\"\n\
             [[phase]]\nname = \"long\"\nrate = 50\nfor = \"120s\"\n",
            left::MARK
        ),
    );
    let child =
        bench.spawn(&["run", "--runtime", runtime.name(), "--out", "out", "--json", "--raw"]);
    let log = out.join("target-main.log");
    let begun = Instant::now();
    while !log.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never got so far");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_secs(2));
    fill(&out.join("ballast"));
    let full_ns = monotonic_ns();
    let ended = bench.ended(&child.wait_with_output().expect("it ends"));
    assert!(begun.elapsed() < Duration::from_secs(60), "the run ends soon");
    let json = ended.expect_code(3).json();
    assert!(ended.stderr.contains("no room is left"), "{}", ended.stderr);
    tells(&json);
    let recorded = Recorded::read(&out).expect("it is readable on a full disk");
    assert!(recorded.finished, "room was held back for the end");
    let lost = recorded.lost_at(full_ns);
    assert!(lost.memory.is_none_or(|lost| lost <= MOST_LOST), "{lost:?}");
    // With nothing of the kind given free, on a disk that is as full as can be.
    fill(&out.join("more"));
    let again = reported(bench, &["--out", "elsewhere"]);
    assert_eq!(again.json()["memory"], json["memory"]);
    assert!(bench.path().join("elsewhere/report.html").exists());
    let here = reported(bench, &[]);
    assert!(here.code == 3 || here.stderr.is_empty(), "{}", here.stderr);
    tells(&here.json());
    // While its disk is there.
    left::nothing_of(bench);
}

fn tells(json: &serde_json::Value) {
    let reasons = json["reasons"].as_array().expect("reasons");
    let reason = reasons.iter().find(|reason| reason["id"] == "host").expect("the reason");
    let text = reason["text"].as_str().unwrap_or_default();
    assert!(text.contains("in phase long") && text.contains("no room is left"), "{text}");
    assert!(reason["at_ms"].as_f64().is_some_and(|at| at > 1000.0), "{reason}");
    assert!(json["phases"][0]["memory"]["peak_bytes"].as_u64().is_some_and(|peak| peak > 0));
    assert!(json["phases"][0]["traffic"]["requests"].as_u64().is_some_and(|count| count > 20));
}

/// Takes what room there is.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("the file can be made");
    for size in [64 * 1024, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}
