//! What a container may do: nothing that a service does not need.

use std::process::Command;

use serde_json::Value;

use crate::run::{Going, docker, docker_says, idle, main_container, wait_for};
use crate::support::harness::{Bench, Runtime};
use crate::{Fault, When};

pub(crate) const FAULTS: &[Fault] = &[
    Fault { name: "rights/binary", when: When::Always, make: binary },
    Fault { name: "rights/image", when: When::OnRequest, make: image },
];

/// Bits of `CapEff`: CHOWN 0, `DAC_OVERRIDE` 1, FOWNER 3, KILL 5, SETGID 6, SETUID 7,
/// `NET_BIND_SERVICE` 10 (`include/uapi/linux/capability.h`).
const IMAGE_BITS: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 10;

fn binary() -> Option<String> {
    if !Runtime::Docker.is_there() {
        return None;
    }
    let bench = Bench::new();
    bench.scenario(&["steady"], &idle("limits = { memory = \"64MiB\" }", 4));
    let status = rights_of_run(&bench);
    assert_eq!(bits(&status, "CapEff"), 0, "{status}");
    assert_eq!(bits(&status, "CapBnd"), 0, "{status}");
    Some("a binary of our own: no capability, no new ones, seccomp filter on".to_owned())
}

/// An image that starts as root and hands over to somebody else, as many do.
fn image() -> Option<String> {
    if !Runtime::Docker.is_there() {
        return None;
    }
    let bench = Bench::new();
    let name = format!("highwater-test-rights-{}", std::process::id());
    let fixtures = crate::support::fixtures();
    let tar = bench.path().join("image.tar");
    let packed = Command::new("tar")
        .args(["--dereference", "-cf", &tar.to_string_lossy(), "-C"])
        .arg(fixtures.parent().expect("a directory"))
        .arg(fixtures.file_name().expect("a name"))
        .args(crate::support::libraries(fixtures).expect("ldd runs"))
        .status();
    assert!(packed.expect("tar runs").success());
    let change = "ENTRYPOINT [\"/highwater-fixtures\"]";
    docker_says(&docker, &["import", "--change", change, &tar.to_string_lossy(), &name]);
    let text = format!(
        "name = \"test\"\n[target]\nimage = \"{name}\"\nport = 8080\nargs = [\"steady\"]\n{}",
        idle("limits = { memory = \"64MiB\" }", 4)
    );
    bench.write("highwater.toml", &text);
    let status = rights_of_run(&bench);
    docker_says(&docker, &["rmi", "--force", &name]);
    assert_eq!(bits(&status, "CapEff"), IMAGE_BITS, "{status}");
    Some("another image: the seven capabilities that entry points need, no others".to_owned())
}

/// `/proc/<pid>/status` of the target of a run, whose settings are looked at on the way.
fn rights_of_run(bench: &Bench) -> String {
    let going = Going::start(crate::run::command(bench, Runtime::Docker));
    let name = main_container(&docker);
    let inspected: Value = wait_for("its process", || {
        let inspected = docker_says(&docker, &["inspect", &name]);
        let inspected: Value = serde_json::from_str(&inspected).expect("JSON");
        (inspected[0]["State"]["Pid"] != 0).then_some(inspected)
    });
    let host = &inspected[0]["HostConfig"];
    assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]), "{host:#}");
    assert_eq!(host["SecurityOpt"], serde_json::json!(["no-new-privileges"]), "{host:#}");
    assert_eq!(host["Privileged"], false);
    for key in ["PidMode", "UTSMode", "UsernsMode"] {
        assert_eq!(host[key], "", "{key}");
    }
    assert_ne!(host["NetworkMode"], "host");
    assert!(host["Devices"].as_array().is_none_or(Vec::is_empty), "{host:#}");
    assert!(host["Binds"].as_array().is_none_or(Vec::is_empty), "{host:#}");
    let pid = &inspected[0]["State"]["Pid"];
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    for (key, value) in [("NoNewPrivs", 1), ("Seccomp", 2)] {
        assert_eq!(bits(&status, key), value, "{status}");
    }
    let done = going.wait(bench);
    done.expect_clean();
    done.ended.expect_code(0);
    status
}

fn bits(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    u64::from_str_radix(line.expect("the key is there").trim(), 16).expect("a number")
}
