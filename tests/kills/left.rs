//! What of a run is still there, looked for without the program that is tested.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::harness::Bench;

/// The environment variable by which a target's processes are found; its value is the bench's own.
pub(crate) const MARK: &str = "HW_MARK";

/// Where runs note themselves.
const REGISTRY: &str = "/run/highwater";

/// The ids of the runs that a process has noted.
pub(crate) fn runs_of(pid: u32) -> Vec<String> {
    let Ok(entries) = fs::read_dir(REGISTRY) else { return Vec::new() };
    let is_of = |path: &Path| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().next() == Some(pid.to_string().as_str())
    };
    let of = entries.flatten().filter(|entry| is_of(&entry.path()));
    of.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Names of the network namespaces that Docker has made for a run's containers.
pub(crate) fn networks_of(run_id: &str) -> Vec<PathBuf> {
    let format = "{{.NetworkSettings.SandboxKey}}";
    containers_of(run_id)
        .iter()
        .filter_map(|id| {
            let output = Command::new("docker").args(["inspect", "--format", format, id]).output();
            let text = String::from_utf8(output.ok()?.stdout).ok()?;
            Some(PathBuf::from(text.trim())).filter(|path| path.exists())
        })
        .collect()
}

fn containers_of(run_id: &str) -> Vec<String> {
    let filter = format!("label=highwater.run={run_id}");
    lines(&["ps", "--all", "--no-trunc", "--quiet", "--filter", &filter])
}

fn lines(args: &[&str]) -> Vec<String> {
    let output = Command::new("docker").args(args).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().map(str::to_owned).collect()
}

/// The same, without what has a name that is known to be somebody else's.
pub(crate) fn of_run_but(run_id: &str, out: &Path, name: &str) -> Vec<String> {
    let theirs =
        lines(&["ps", "--all", "--no-trunc", "--quiet", "--filter", &format!("name={name}")]);
    let mut left = of_run(run_id, out);
    left.retain(|found| {
        let id = found.trim_start_matches("container ");
        !theirs.iter().any(|full| full.starts_with(id)) && !found.starts_with("image ")
    });
    left
}

/// All that carries a run's id: containers, images, cgroups, files and the note.
pub(crate) fn of_run(run_id: &str, out: &Path) -> Vec<String> {
    let mut left: Vec<String> = Vec::new();
    let told = |kind: &str, names: Vec<String>| {
        names.into_iter().map(|name| format!("{kind} {name}")).collect::<Vec<_>>()
    };
    left.extend(told("container", containers_of(run_id)));
    let filter = format!("label=highwater.run={run_id}");
    left.extend(told("image", lines(&["images", "--all", "--quiet", "--filter", &filter])));
    let names = format!("name=highwater-{run_id}");
    left.extend(told("container", lines(&["ps", "--all", "--quiet", "--filter", &names])));
    let reference = format!("reference=highwater-{run_id}");
    left.extend(told("image", lines(&["images", "--all", "--quiet", "--filter", &reference])));
    left.extend(told("network", lines(&["network", "ls", "--quiet", "--filter", &filter])));
    left.extend(told("volume", lines(&["volume", "ls", "--quiet", "--filter", &filter])));
    cgroups(Path::new("/sys/fs/cgroup"), run_id, 3, &mut left);
    for (dir, prefix) in [
        (std::env::temp_dir(), format!("highwater-{run_id}")),
        (out.to_owned(), format!(".highwater-{run_id}")),
        (REGISTRY.into(), run_id.to_owned()),
    ] {
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let ours = names.filter(|name| name.starts_with(&prefix));
        left.extend(ours.map(|name| format!("file {}", dir.join(name).display())));
    }
    left
}

fn cgroups(dir: &Path, run_id: &str, depth: u32, left: &mut Vec<String>) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if entry.file_name().to_string_lossy() == format!("highwater-{run_id}") {
            left.push(format!("cgroup {}", entry.path().display()));
        } else if depth > 1 {
            cgroups(&entry.path(), run_id, depth - 1, left);
        }
    }
}

/// Processes whose environment has the bench's mark.
pub(crate) fn processes_of(bench: &Bench) -> Vec<String> {
    let mark = format!("{MARK}={}", mark(bench));
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    pids.filter(|pid| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    })
    .map(|pid| format!("process {pid}"))
    .collect()
}

/// What tells the targets of one bench from all others.
pub(crate) fn mark(bench: &Bench) -> String {
    let name = bench.path().file_name().expect("a bench has a directory");
    name.to_string_lossy().into_owned()
}

/// Asserts that nothing of a bench's runs is left: no process, and nothing unfinished where its
/// reports are.
pub(crate) fn nothing_of(bench: &Bench) {
    let out = bench.path().join("out");
    let entries = fs::read_dir(&out).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let unfinished: Vec<String> = names.filter(|name| name.starts_with(".highwater-")).collect();
    assert_eq!(unfinished, Vec::<String>::new());
    assert_eq!(processes_of(bench), Vec::<String>::new());
    // Others may have runs of theirs here, dead ones too.
    if let Some(run_id) = super::recorded::run_id_in(&out) {
        assert_eq!(of_run(&run_id, &out), Vec::<String>::new());
    }
}
