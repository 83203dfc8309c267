//! `highwater init`: what it writes runs as it is.

mod support;

use std::fs;
use std::path::Path;

use support::harness::{Bench, Runtime, left_behind};

/// A service without dependencies, as one might have it.
const MAIN: &str = r#"
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

fn main() {
    let port = std::env::var("PORT").ok().and_then(|p| p.parse().ok()).unwrap_or(8123_u16);
    let listener = TcpListener::bind(("0.0.0.0", port)).expect("the port is free");
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
                let mut head = String::new();
                while reader.read_line(&mut head).is_ok_and(|read| read > 2) {
                    head.clear();
                }
                let path = line.split(' ').nth(1).unwrap_or("/");
                let (status, body) = match path {
                    "/healthz" => ("200 OK", "ok"),
                    _ if line.starts_with("GET /items ") => ("200 OK", "[1, 2, 3]"),
                    _ => ("404 Not Found", ""),
                };
                let length = body.len();
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
                if (&stream).write_all(answer.as_bytes()).is_err() {
                    return;
                }
                line.clear();
            }
        });
    }
}
"#;

fn crate_in(directory: &Path) {
    fs::create_dir_all(directory.join("src")).unwrap();
    let manifest = "[package]\nname = \"tiny-api\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
                    [workspace]\n[profile.release]\nopt-level = 1\n";
    fs::write(directory.join("Cargo.toml"), manifest).unwrap();
    fs::write(directory.join("src/main.rs"), MAIN).unwrap();
}

#[test]
fn a_scenario_for_a_crate_runs_as_it_is() {
    let bench = Bench::new();
    crate_in(bench.path());
    let ended = bench.run(&["init"]);
    ended.expect_code(0);
    for part in ["tiny-api", "8123", "src/main.rs:6", "GET /healthz answers 200", "GET /items"] {
        assert!(ended.stdout.contains(part), "no `{part}` in:\n{}", ended.stdout);
    }
    let written = fs::read_to_string(bench.path().join("highwater.toml")).unwrap();
    assert!(written.contains("a guess, from src/main.rs:6"), "{written}");
    // A second one would take away what was changed by hand.
    let again = bench.run(&["init"]);
    again.expect_code(2);
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
    bench.run(&["init", "--force"]).expect_code(0);
    let Some(runtime) = Runtime::BOTH.into_iter().find(|runtime| runtime.is_there()) else {
        return;
    };
    let ended = bench.run(&[
        "run",
        "--runtime",
        runtime.name(),
        "--only",
        "ramp",
        "--set",
        "phase.ramp.for=2s",
        "--set",
        "startup.trials=1",
        "--set",
        "startup.settle=300ms",
        "--out",
        "out",
        "--json",
    ]);
    let json = ended.expect_code(0).json();
    assert_eq!(json["name"], "tiny-api");
    assert!(json["phases"][0]["traffic"]["requests"].as_u64().unwrap() > 20, "{json:#}");
    assert_eq!(json["phases"][0]["traffic"]["failed"], 0, "{json:#}");
    assert_eq!(left_behind(), Vec::<String>::new());
}

#[test]
fn what_is_not_clear_is_asked() {
    let bench = Bench::new();
    let ended = bench.run(&["init"]);
    ended.expect_code(2);
    assert!(ended.stderr.contains("--image"), "{}", ended.stderr);
    crate_in(&bench.path().join("a"));
    let root = "[workspace]\nmembers = [\"a\", \"b\"]\nresolver = \"2\"\n";
    bench.write("Cargo.toml", root);
    crate_in(&bench.path().join("b"));
    for (name, package) in [("a", "one"), ("b", "two")] {
        let manifest = format!("[package]\nname = \"{package}\"\nversion = \"0.1.0\"\n");
        fs::write(bench.path().join(name).join("Cargo.toml"), manifest).unwrap();
    }
    let ended = bench.run(&["init"]);
    ended.expect_code(2);
    assert!(
        ended.stderr.contains("one, two") && ended.stderr.contains("--package"),
        "{}",
        ended.stderr
    );
    bench.run(&["init", "--package", "two"]).expect_code(0);
    let written = fs::read_to_string(bench.path().join("highwater.toml")).unwrap();
    assert!(written.contains(r#"package = "two", bin = "two""#), "{written}");
}

#[test]
fn a_dockerfile_or_an_image_do_too() {
    let bench = Bench::new();
    bench.write(
        "Dockerfile",
        "FROM x\nEXPOSE 9000\nHEALTHCHECK CMD curl localhost http://localhost:9000/up\n",
    );
    bench.run(&["init"]).expect_code(0);
    let written = fs::read_to_string(bench.path().join("highwater.toml")).unwrap();
    for part in
        ["dockerfile = \"Dockerfile\"", "port   = 9000", "{ http = \"/up\" }", "Dockerfile:2"]
    {
        assert!(written.contains(part), "no `{part}` in:\n{written}");
    }
    let ended = bench.run(&["init", "--force", "--image", "registry.example/shop/api:1.2"]);
    ended.expect_code(0);
    let written = fs::read_to_string(bench.path().join("highwater.toml")).unwrap();
    assert!(written.contains("name = \"api\""), "{written}");
    assert!(written.contains("image  = \"registry.example/shop/api:1.2\""), "{written}");
}

#[test]
fn shells_and_readers_get_their_pages() {
    let bench = Bench::new();
    for (shell, part) in
        [("bash", "complete -F"), ("zsh", "#compdef highwater"), ("fish", "complete -c highwater")]
    {
        let ended = bench.run(&["completions", shell]);
        ended.expect_code(0);
        assert!(ended.stdout.contains(part), "{shell}");
    }
    assert!(bench.run(&["man"]).expect_code(0).stdout.contains(".TH highwater 1"));
    assert!(bench.run(&["man", "run"]).expect_code(0).stdout.contains("deadline"));
    bench.run(&["man", "fly"]).expect_code(2);
}
