//! The live view on a pseudo-terminal (of util-linux's `script`), and the live page.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use support::harness::{Bench, Runtime, left_behind};

const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";
/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A shell on a terminal of 80 columns.
struct Terminal {
    script: Child,
    out: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    /// Runs the binary there, and tells how the terminal is set before and after.
    fn run(bench: &Bench, env: &str, args: &str) -> Self {
        let binary = env!("CARGO_BIN_EXE_highwater");
        let command = format!(
            "stty rows 24 cols 80; echo before=$(stty -g); {env} {binary} {args}; \
             echo code=$?; echo after=$(stty -g)"
        );
        let mut script = Command::new("script")
            .args(["-q", "-c", &command, "/dev/null"])
            .current_dir(bench.path())
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh")
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux has script");
        let mut stdout = script.stdout.take().expect("it is piped");
        let (sender, out) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { script, out, seen: String::new() }
    }

    fn wait_for(&mut self, part: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.seen.contains(part) {
            let left = until.saturating_duration_since(Instant::now());
            match self.out.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("no `{part}` ({error}) in {:?}", self.seen),
            }
        }
    }

    fn press(&mut self, keys: &str) {
        let stdin = self.script.stdin.as_mut().expect("it is piped");
        stdin.write_all(keys.as_bytes()).and_then(|()| stdin.flush()).expect("script reads");
    }

    /// Waits for the shell's end; gives all that was shown.
    fn end(mut self) -> String {
        self.wait_for("after=");
        drop(self.script.stdin.take());
        self.script.wait().expect("it can be waited for");
        while let Ok(bytes) = self.out.recv_timeout(Duration::from_secs(5)) {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        self.seen
    }
}

fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let (_, rest) = text.rsplit_once(key).unwrap_or_else(|| panic!("no `{key}` in {text:?}"));
    rest.split_whitespace().next().unwrap_or_default()
}

/// The terminal is as it was, and what came last is on its own screen.
fn expect_restored(text: &str) {
    assert_eq!(value(text, "before="), value(text, "after="), "{text:?}");
    assert_eq!(text.matches(ENTER).count(), text.matches(LEAVE).count(), "{text:?}");
    assert!(text.rfind(ENTER) < text.rfind(LEAVE), "{text:?}");
}

/// Whether a sequence sets a colour: `ESC [ 31 m`, not `ESC [ 3 ; 1 H`.
fn has_colors(text: &str) -> bool {
    text.split("\u{1b}[").skip(1).any(|after| {
        let Some(end) = after.find(|c: char| !c.is_ascii_digit() && c != ';') else { return false };
        let color = |code: &str| matches!(code.parse(), Ok(30..=38 | 40..=48 | 90..=107));
        after[end..].starts_with('m') && after[..end].split(';').any(color)
    })
}

fn runtime() -> Option<Runtime> {
    Runtime::BOTH.into_iter().rev().find(|runtime| runtime.is_there())
}

/// A run that would take minutes.
fn soak(bench: &Bench) {
    bench.scenario(
        &["mixed", "--base-mib", "8"],
        "limits = { memory = \"64MiB\" }\n[startup]\ntrials = 0\n\
         [[scenario]]\nname = \"a\"\n[[scenario.step]]\nget = \"/items/1\"\n\
         [[phase]]\nname = \"so\\u001b[31mak\"\nrate = 20\nfor = \"5m\"\n",
    );
}

#[test]
fn q_stops_gracefully_and_the_terminal_is_as_it_was() {
    let Some(runtime) = runtime() else { return };
    let bench = Bench::new();
    soak(&bench);
    let args = format!("run --runtime {} --out out", runtime.name());
    let mut terminal = Terminal::run(&bench, "", &args);
    terminal.wait_for(ENTER);
    terminal.wait_for("unreclaimable");
    terminal.wait_for("p99");
    terminal.press("q");
    let text = terminal.end();
    expect_restored(&text);
    assert_eq!(value(&text, "code="), "130", "{text:?}");
    let after = &text[text.rfind(LEAVE).unwrap()..];
    assert!(after.contains("INTERRUPTED"), "{after:?}");
    assert!(after.contains("Reports are in out"), "{after:?}");
    assert!(has_colors(&text), "{text:?}");
    // A phase's name tried to colour the terminal.
    assert!(!text.contains("so\u{1b}[31mak"), "{text:?}");
    assert!(bench.path().join("out/run.json").exists());
    assert_eq!(left_behind(), Vec::<String>::new());
}

#[test]
fn two_ctrl_c_end_it_at_once_and_the_terminal_is_as_it_was() {
    let Some(runtime) = runtime() else { return };
    let bench = Bench::new();
    soak(&bench);
    let args = format!("run --runtime {} --out out", runtime.name());
    let mut terminal = Terminal::run(&bench, "NO_COLOR=1", &args);
    terminal.wait_for("unreclaimable");
    terminal.press("\u{3}\u{3}");
    let text = terminal.end();
    expect_restored(&text);
    assert_eq!(value(&text, "code="), "130", "{text:?}");
    assert!(!has_colors(&text), "no colours were wanted: {text:?}");
    assert_eq!(left_behind(), Vec::<String>::new());
}

#[test]
fn terminals_that_can_do_little_get_lines() {
    let Some(runtime) = runtime() else { return };
    let bench = Bench::new();
    bench.scenario(&["steady"], "[startup]\ntrials = 0\n[[phase]]\nname = \"p\"\nfor = \"1s\"\n");
    for (number, (env, more)) in
        [("TERM=dumb", ""), ("", "--progress lines"), ("", "--quiet")].into_iter().enumerate()
    {
        let args = format!("run --runtime {} --out out{number} {more}", runtime.name());
        let text = Terminal::run(&bench, env, &args).end();
        assert!(!text.contains(ENTER), "{text:?}");
        assert_eq!(text.contains("phase p"), more != "--quiet", "{text:?}");
        assert_eq!(value(&text, "code="), "0", "{text:?}");
    }
}

/// The answer to a GET.
fn get(url: &str) -> String {
    let (address, path) = url.trim_start_matches("http://").split_once('/').expect("a URL");
    let mut stream = TcpStream::connect(address).expect("the page is served");
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The URL that a process prints on standard error.
fn printed_url(child: &mut Child) -> String {
    let mut lines = std::io::BufReader::new(child.stderr.take().expect("it is piped"));
    let mut text = String::new();
    loop {
        let before = text.len();
        std::io::BufRead::read_line(&mut lines, &mut text).unwrap();
        assert!(text.len() > before, "no URL in {text}");
        if let Some((_, rest)) = text.split_once("live page: ") {
            // Nobody reads what comes after, and it must not break the pipe.
            std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
            return rest.trim().to_owned();
        }
    }
}

fn send(child: &Child, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, signal).expect("it is there");
}

#[test]
fn a_run_in_progress_is_a_page_and_so_is_its_directory() {
    let Some(runtime) = runtime() else { return };
    let bench = Bench::new();
    soak(&bench);
    let mut run =
        bench.spawn(&["run", "--runtime", runtime.name(), "--out", "out", "--live", "--json"]);
    let url = printed_url(&mut run);
    let state = format!("{url}state");
    let until = Instant::now() + PATIENCE;
    // First there is no recording, then no memory in it.
    while !get(&format!("{url}report.html")).contains("<svg") {
        assert!(Instant::now() < until, "{}", get(&state));
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(get(&state).contains("\"running\":true"));
    let mut other = bench.spawn(&["serve", "out"]);
    let other_url = printed_url(&mut other);
    assert_ne!(url.rsplit('/').nth(1), other_url.rsplit('/').nth(1));
    assert!(get(&format!("{other_url}state")).contains("\"running\":true"));
    send(&run, nix::sys::signal::Signal::SIGINT);
    assert_eq!(run.wait().unwrap().code(), Some(130));
    // Its page went with it; the other one has the whole.
    let address = url.trim_start_matches("http://").split('/').next().unwrap();
    assert!(TcpStream::connect(address).is_err());
    let until = Instant::now() + PATIENCE;
    while !get(&format!("{other_url}state")).contains("\"running\":false") {
        assert!(Instant::now() < until, "{}", get(&format!("{other_url}state")));
        std::thread::sleep(Duration::from_millis(500));
    }
    let taken = other_url.split([':', '/']).nth(4).unwrap();
    let refused = bench.run(&["serve", "out", "--port", taken]);
    assert!(refused.expect_code(3).stderr.contains(taken), "{}", refused.stderr);
    send(&other, nix::sys::signal::Signal::SIGINT);
    assert_eq!(other.wait().unwrap().code(), Some(0));
    assert_eq!(left_behind(), Vec::<String>::new());
}

#[test]
fn doctor_speaks_json() {
    let bench = Bench::new();
    let ended = bench.run(&["doctor", "--json"]);
    // No `run.json`, so its schema does not apply.
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let names: Vec<&str> = json["capabilities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    for name in ["cgroups", "Docker", "native", "CPUs", "swap", "huge pages", "open files", "room"]
    {
        assert!(names.contains(&name), "no {name} in {names:?}");
    }
    assert_eq!(json["can_run"], ended.code == 0);
}
