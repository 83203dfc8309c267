//! Want of what the harness itself needs: descriptors, memory.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::run::{Going, MIB, command, docker, left_by, let_phase_begin, main_container, says};
use crate::standstill::traffic;
use crate::support::harness::{Bench, Runtime};
use crate::{Fault, When};

pub(crate) const FAULTS: &[Fault] = &[
    Fault { name: "harness/few-descriptors", when: When::Always, make: few_descriptors },
    Fault { name: "harness/descriptors-run-out", when: When::OnRequest, make: descriptors_run_out },
    Fault { name: "harness/out-of-memory", when: When::OnRequest, make: out_of_memory },
];

fn limited(bench: &Bench, runtime: Runtime, descriptors: u32) -> Command {
    let inner = command(bench, runtime);
    let mut outer = Command::new("prlimit");
    outer.arg(format!("--nofile={descriptors}:{descriptors}")).arg(inner.get_program());
    outer.args(inner.get_args()).current_dir(bench.path()).stdin(Stdio::null());
    outer
}

/// Too few from the start: each number fails elsewhere, and each says of what there is too little.
fn few_descriptors() -> Option<String> {
    if !Runtime::Docker.is_there() {
        return None;
    }
    let mut told = Vec::new();
    for descriptors in [8, 14, 20, 26, 34] {
        let bench = Bench::new();
        bench.scenario(&["steady"], &traffic(2));
        let output = limited(&bench, Runtime::Docker, descriptors).output().expect("prlimit runs");
        let ended = bench.ended(&output);
        assert_eq!(
            left_by(&ended.out),
            Vec::<String>::new(),
            "with {descriptors}: {}",
            ended.stderr
        );
        if ended.code == 0 {
            told.push(format!("{descriptors}: enough"));
            continue;
        }
        assert_eq!(ended.code, 3, "with {descriptors}: {}", ended.stderr);
        let words = ended.stderr.to_lowercase();
        assert!(words.contains("open files"), "with {descriptors}: {}", ended.stderr);
        assert!(words.contains("ulimit -n"), "with {descriptors}: {}", ended.stderr);
        told.push(format!("{descriptors}: exit 3"));
    }
    Some(format!("{}, each time with `ulimit -n` as the way out", told.join(", ")))
}

/// Enough at the start, and then no more.
fn descriptors_run_out() -> Option<String> {
    if !Runtime::Docker.is_there() {
        return None;
    }
    let bench = Bench::new();
    let users = traffic(6).replace(
        "rate = 50",
        "stages = [{ users = 1, for = \"3s\" }, { users = 200, for = \"3s\" }]",
    );
    let users = users.replace("for = \"6s\"\n", "");
    bench.scenario(&["steady", "--delay-us", "20000"], &users);
    let going = Going::start(command(&bench, Runtime::Docker));
    main_container(&docker);
    let_phase_begin();
    let pid = going.pid().to_string();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count();
    let limit = format!("--nofile={0}:{0}", open + 10);
    let set = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(set.expect("prlimit runs").success());
    let done = going.wait(&bench);
    done.expect_clean();
    let json = done.ended.json();
    let errors = &json["phases"][0]["traffic"]["errors"];
    assert!(errors["descriptors"].as_u64().unwrap_or_default() > 0, "{errors:#}");
    assert!(says(&json, "descriptors") || says(&json, "open files"), "{:#}", json["reasons"]);
    Some(format!("{}, told: {errors}", done.told()))
}

/// The kernel kills the harness for want of memory of its own.
fn out_of_memory() -> Option<String> {
    if !Runtime::Docker.is_there() || !crate::support::is_root() {
        return None;
    }
    let bench = Bench::new();
    bench.scenario(&["steady"], &traffic(600));
    let group = Group::new();
    let inner = command(&bench, Runtime::Docker);
    let script = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
    let mut outer = Command::new("sh");
    outer.args(["-c", script]).arg(&group.dir).arg(inner.get_program()).args(inner.get_args());
    outer.current_dir(bench.path()).stdin(Stdio::null());
    outer.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = outer.spawn().expect("a shell runs");
    main_container(&docker);
    std::thread::sleep(std::time::Duration::from_secs(5));
    group.squeeze();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.signal(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
    drop(group);
    let report = bench.run(&["report", "out", "--json"]);
    let json = report.expect_code(130).json();
    assert!(says(&json, "cut off"), "{:#}", json["reasons"]);
    let requests = json["phases"][0]["traffic"]["requests"].as_u64().unwrap_or_default();
    assert!(requests > 100, "{json:#}");
    bench.run(&["clean"]).expect_code(0);
    assert_eq!(left_by(&bench.path().join("out")), Vec::<String>::new());
    Some(format!("killed; {requests} requests are in the report, `clean` left nothing"))
}

/// A cgroup for the harness.
struct Group {
    dir: std::path::PathBuf,
    v1: bool,
}

impl Group {
    fn new() -> Self {
        let hierarchies = highwater::cgroup::Hierarchies::discover().expect("cgroups");
        let dir = hierarchies.memory_dir(&format!("/hw-test-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("a cgroup can be made");
        let v1 = hierarchies.version() == highwater::cgroup::Version::V1;
        Self { dir, v1 }
    }

    /// Takes away so much that it can't go on.
    fn squeeze(&self) {
        let file = if self.v1 { "memory.limit_in_bytes" } else { "memory.max" };
        // v1 refuses a limit below what can't be reclaimed, so it is lowered as far as it goes:
        // the next page that is asked for is one too many.
        for mib in (1..64).rev() {
            let _ = std::fs::write(self.dir.join(file), (mib * MIB).to_string());
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..100 {
            if std::fs::remove_dir(&self.dir).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(std::thread::panicking(), "`{}` stays", self.dir.display());
    }
}
