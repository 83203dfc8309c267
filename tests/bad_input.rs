//! Whatever can be wrong is told in one paragraph: thing, place, cause, way out; with the right
//! exit code, and nothing left behind.

mod support;

use support::harness::{Bench, Ended, Runtime, left_behind};

const PHASE: &str = "[startup]\ntrials = 1\nsettle = \"200ms\"\n\
                     [[phase]]\nname = \"idle\"\nfor = \"1s\"\n";

fn check(ended: &Ended, code: i32, parts: &[&str]) {
    ended.expect_code(code);
    for part in parts {
        assert!(ended.stderr.contains(part), "no `{part}` in:\n{}", ended.stderr);
    }
    assert_eq!(left_behind(), Vec::<String>::new());
}

#[test]
fn all_faults_of_a_scenario_come_in_one_go() {
    let bench = Bench::in_company();
    bench.scenario(
        &["steady"],
        "limitz = { memory = \"64MiB\" }\n\
         limits = { memory = \"64 potatoes\" }\n\
         [[scenario]]\nname = \"a\"\n[[scenario.step]]\npost = \"/\"\n\
         body = { file = \"no-such-file.json\" }\n\
         [[phase]]\nname = \"p\"\nrate = 5\nfor = \"10 parsecs\"\n",
    );
    let ended = bench.run(&["run"]);
    check(
        &ended,
        2,
        &["limitz", "limits", "64 potatoes", "no-such-file.json", "10 parsecs", "highwater.toml:"],
    );
}

#[test]
fn a_scenario_that_is_not_there() {
    let bench = Bench::in_company();
    check(&bench.run(&["run"]), 2, &["highwater.toml"]);
    check(&bench.run(&["run", "other.toml"]), 2, &["other.toml"]);
    check(&bench.run(&["report", "nowhere"]), 2, &["nowhere"]);
}

#[test]
fn a_docker_socket_that_nobody_answers() {
    let bench = Bench::in_company();
    bench.scenario(&["steady"], PHASE);
    let output = bench
        .command(&["run", "--runtime", "docker"])
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .output()
        .unwrap();
    check(&bench.ended(&output), 3, &["/nonexistent/docker.sock", "--runtime native"]);
}

#[test]
fn an_image_that_is_not_there() {
    if !Runtime::Docker.is_there() {
        return;
    }
    let bench = Bench::in_company();
    bench.write(
        "highwater.toml",
        &format!("[target]\nimage = \"highwater-no-such-image:1\"\nport = 8080\n{PHASE}"),
    );
    check(&bench.run(&["run", "--runtime", "docker"]), 4, &["highwater-no-such-image:1"]);
}

#[test]
fn targets_that_exit_at_once_or_never_get_ready() {
    for runtime in Runtime::BOTH.into_iter().filter(|runtime| runtime.is_there()) {
        let bench = Bench::in_company();
        bench.scenario(&["exits", "--code", "7"], PHASE);
        let ended = bench.run(&["run", "--runtime", runtime.name(), "--out", "exits"]);
        check(&ended, 4, &["7"]);
        let ready = "ready = { http = \"/health\", within = \"1s\" }\n";
        bench.scenario(&["never-ready"], &format!("{ready}{PHASE}"));
        let ended = bench.run(&["run", "--runtime", runtime.name(), "--out", "never"]);
        check(&ended, 4, &["ready", "waiting"]);
    }
}

#[test]
fn a_limit_below_what_the_runtime_allows() {
    let bench = Bench::in_company();
    bench.scenario(&["steady"], &format!("limits = {{ memory = \"1MiB\" }}\n{PHASE}"));
    check(&bench.run(&["run"]), 2, &["1 MiB", "6 MiB"]);
}

#[test]
fn a_directory_that_cannot_be_written() {
    let bench = Bench::in_company();
    bench.scenario(&["steady"], PHASE);
    bench.write("a-file", "");
    check(&bench.run(&["run", "--out", "a-file/out"]), 3, &["a-file/out", "--out"]);
    check(&bench.run(&["run", "--out", "/proc/out"]), 3, &["/proc/out", "--out"]);
}

#[test]
fn a_debug_build_is_refused() {
    if !Runtime::BOTH.into_iter().any(Runtime::is_there) {
        return;
    }
    let bench = Bench::in_company();
    let bin = bench.path().join("target/debug/service");
    std::fs::create_dir_all(bin.parent().unwrap()).unwrap();
    std::fs::copy(support::fixtures(), &bin).unwrap();
    bench.write(
        "highwater.toml",
        &format!(
            "[target]\nbin = {:?}\nport = 8080\nargs = [\"steady\"]\n{PHASE}",
            bin.to_string_lossy()
        ),
    );
    check(&bench.run(&["run"]), 2, &["debug", "--allow-debug"]);
}

#[test]
fn unknown_flags_and_verbs() {
    let bench = Bench::in_company();
    check(&bench.run(&["run", "--memroy", "1MiB"]), 2, &["--memroy", "--memory"]);
    check(&bench.run(&["walk"]), 2, &["walk"]);
    check(&bench.run(&["run", "--memory", "12 apples", "--bin", "x"]), 2, &["12 apples"]);
}
