//! `highwater load` as a user types it, against servers on 127.0.0.1 that remember what came.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What a server was sent: request lines, header lines in lower case, bodies.
#[derive(Debug, Clone, Default)]
struct Note {
    line: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

type Notes = Arc<Mutex<Vec<Note>>>;

/// A server that answers every request with `status` after `delay`.
fn server(status: u16, delay: Duration) -> (SocketAddr, Notes) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let notes = Notes::default();
    let seen = Arc::clone(&notes);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, seen) = (stream.unwrap(), Arc::clone(&seen));
            std::thread::spawn(move || serve(stream, status, delay, &seen));
        }
    });
    (address, notes)
}

/// Answers until the client is gone.
fn serve(stream: TcpStream, status: u16, delay: Duration, notes: &Notes) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let mut note = Note::default();
        reader.read_line(&mut note.line).ok().filter(|read| *read > 0)?;
        note.line.truncate(note.line.trim_end().len());
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse().ok()?;
            }
            note.headers.push(line);
        }
        note.body.resize(length, 0);
        reader.read_exact(&mut note.body).ok()?;
        notes.lock().unwrap().push(note);
        std::thread::sleep(delay);
        write!(writer, "HTTP/1.1 {status} Said\r\ncontent-length: 2\r\n\r\nok").ok()?;
    }
}

fn quick() -> (SocketAddr, Notes) {
    server(200, Duration::ZERO)
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.arg("load").args(args).stdin(Stdio::null());
    command
}

fn load(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}/a?b=c")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error} in {}", text(&output.stdout)))
}

#[test]
fn so_many_requests_are_sent_and_no_more() {
    let (address, notes) = quick();
    let output = load(&["-n", "1000", "-c", "10", "-q", "100000", &url(address)]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(notes.lock().unwrap().len(), 1000);
    let said = text(&output.stdout);
    for part in ["Summary:", "Requests/sec:", "[200] 1000 responses", "1000 due, 1000 sent"] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
    assert_eq!(notes.lock().unwrap()[0].line, "GET /a?b=c HTTP/1.1");
}

#[test]
fn without_a_number_there_are_200_as_in_hey() {
    let (address, notes) = quick();
    let output = load(&["--json", &url(address)]);
    let run = json(&output);
    assert_eq!(notes.lock().unwrap().len(), 200);
    assert_eq!(run["phases"].as_array().unwrap().len(), 1);
    assert_eq!(run["phases"][0]["name"], "load");
    assert_eq!(run["phases"][0]["traffic"]["requests"], 200);
    assert_eq!(run["phases"][0]["traffic"]["status"]["200"], 200);
    assert_eq!(run["verdict"], "pass");
    // Nothing was sampled, so nothing is said of it.
    for key in ["memory", "startup", "growth", "sizing", "sampler"] {
        assert!(run[key].is_null(), "{key}: {}", run[key]);
    }
}

#[test]
fn an_open_loop_keeps_its_rate_and_its_length() {
    let (address, notes) = quick();
    let began = Instant::now();
    let run = json(&load(&["--json", "-z", "2s", "--rate", "200", &url(address)]));
    assert!((2..6).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let seen = notes.lock().unwrap().len();
    assert!((399..=401).contains(&seen), "{seen}");
    let traffic = &run["phases"][0]["traffic"];
    assert_eq!(traffic["requests"].as_u64(), Some(seen as u64));
    assert!(traffic["send_lateness_us"]["p50"].is_number(), "{traffic}");
    let rate = traffic["rate"].as_f64().unwrap();
    assert!((198.0..202.0).contains(&rate), "{rate}");
}

#[test]
fn a_limit_on_each_connection_is_kept() {
    let (address, notes) = quick();
    load(&["-z", "1s", "-c", "4", "-q", "10", &url(address)]);
    let seen = notes.lock().unwrap().len();
    assert!((39..=41).contains(&seen), "{seen}");
}

#[test]
fn requests_are_as_asked_for() {
    let (address, notes) = quick();
    let body = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(body.path(), [0xff, 0, b'\n', b'{', b'{']).unwrap();
    let file = body.path().to_str().unwrap();
    let url = url(address);
    load(&["-n", "1", "-d", "{{ not a template", "-H", "X-One: {{1}}", "-H", "x-one: two", &url]);
    load(&["-n", "1", "-m", "put", "-D", file, "-T", "image/png", "-a", "me:secret", &url]);
    load(&["-n", "1", "-m", "HEAD", "-A", "text/html", "-H", "Host: elsewhere", &url]);
    let notes = notes.lock().unwrap();
    let has = |note: &Note, line: &str| assert!(note.headers.iter().any(|h| h == line), "{note:?}");
    assert_eq!(notes[0].line, "POST /a?b=c HTTP/1.1");
    assert_eq!(notes[0].body, b"{{ not a template");
    has(&notes[0], "x-one: {{1}}");
    has(&notes[0], "x-one: two");
    has(&notes[0], "content-type: text/plain");
    assert_eq!(notes[1].line, "PUT /a?b=c HTTP/1.1");
    assert_eq!(notes[1].body, [0xff, 0, b'\n', b'{', b'{']);
    has(&notes[1], "content-type: image/png");
    has(&notes[1], "authorization: Basic bWU6c2VjcmV0");
    assert_eq!(notes[2].line, "HEAD /a?b=c HTTP/1.1");
    has(&notes[2], "host: elsewhere");
    has(&notes[2], "accept: text/html");
}

#[test]
fn failures_are_counted_by_kind() {
    let (address, _) = server(503, Duration::ZERO);
    let run = json(&load(&["--json", "-n", "20", "-c", "2", &url(address)]));
    let traffic = &run["phases"][0]["traffic"];
    assert_eq!((&traffic["failed"], &traffic["status"]["503"]), (&20.into(), &20.into()));
    let (address, _) = server(200, Duration::from_secs(3));
    let run = json(&load(&["--json", "-n", "2", "-c", "2", "-t", "200ms", &url(address)]));
    let traffic = &run["phases"][0]["traffic"];
    assert_eq!(traffic["errors"]["timeout"], 2, "{traffic}");
}

#[test]
fn a_run_without_a_success_fails() {
    let (address, _) = server(503, Duration::ZERO);
    let output = load(&["-n", "20", &url(address)]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("none of the 20 requests succeeded"));
    let output = load(&["-n", "20", "--threshold", "http_req_failed: rate<=1", &url(address)]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn failures_are_in_the_report_too() {
    let (address, _) = server(503, Duration::ZERO);
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    load(&["-n", "20", "--out", out.to_str().unwrap(), &url(address)]);
    let report = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(report.contains("- load: 20 × status 503"), "{report}");
}

#[test]
fn a_result_that_cannot_be_printed_is_an_error() {
    let (address, _) = quick();
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let url = url(address);
    for args in [vec!["-n", "5", &url], vec!["-n", "5", "--json", &url], vec!["--help"]] {
        let output = command(&args).stdout(full()).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{args:?}");
        let told = text(&output.stderr);
        assert!(told.contains("failed to print") && told.contains("No space left"), "{told}");
    }
}

/// Runs a command line of `load` under a limit of open files.
fn limited(files: usize, args: &[&str]) -> Output {
    Command::new("sh")
        .args(["-c", &format!("ulimit -n {files} && exec \"$0\" load \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_highwater"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn too_many_connections_for_this_process_are_told_at_the_start() {
    let (address, notes) = quick();
    let output = limited(500, &["-c", "1000", &url(address)]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let told = text(&output.stderr);
    assert!(told.contains("may have 500") && told.contains("`ulimit -n 1"), "{told}");
    assert!(notes.lock().unwrap().is_empty());
}

#[test]
fn connections_without_a_descriptor_are_a_kind_of_their_own() {
    let (address, _) = server(200, Duration::from_secs(2));
    let cores = std::thread::available_parallelism().unwrap().get();
    let args = ["--json", "-z", "1s", "--rate", "1000", &url(address)];
    let run = json(&limited(120 + 10 * cores, &args));
    let errors = &run["phases"][0]["traffic"]["errors"];
    assert!(errors["descriptors"].as_u64().is_some_and(|count| count > 0), "{errors}");
    let reasons = run["reasons"].as_array().unwrap();
    assert!(reasons.iter().any(|reason| reason["id"] == "descriptors"), "{reasons:?}");
}

#[test]
fn a_broken_threshold_fails_and_is_named() {
    let (address, _) = server(500, Duration::ZERO);
    let output = load(&["-n", "20", "--threshold", "http_req_failed: rate<0.01", &url(address)]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("http_req_failed rate<0.01: BROKEN"));
}

#[test]
fn bad_use_is_told_and_sends_nothing() {
    let (address, notes) = quick();
    let url = url(address);
    for (args, code, said) in [
        (vec!["https://127.0.0.1:1/"], 2, "TLS"),
        (vec!["ftp://127.0.0.1/"], 2, "no http URL"),
        (vec!["-c", "0", &url], 2, "0 is not in 1..=100000"),
        (vec!["-n", "0", &url], 2, "0 is not in 1.."),
        (vec!["-m", "GE T", &url], 2, "no HTTP method"),
        (vec!["-H", "no colon", &url], 2, "can't be sent as a header"),
        (vec!["-D", "/nowhere", &url], 2, "failed to read the body file"),
        (vec!["--rate", "0", &url], 2, "sends nothing"),
        (vec!["-z", "0s", &url], 2, "sends nothing"),
        (vec!["-D", "/dev/zero", &url], 2, "it is too large"),
        (vec!["-H", "Content-Length: 7", &url], 2, "goes by the body"),
        (vec!["-H", "Upgrade: websocket", &url], 2, "plain HTTP/1.1"),
        (vec!["-H", "Connection: upgrade", &url], 2, "write `close` or `keep-alive`"),
        (vec!["-z", "5", &url], 2, "write 5s"),
        (vec!["--arrivals", "poisson", "-z", "1s", &url], 2, "`--rate 500`"),
        (vec!["--threshold", "memory: max<1MiB", &url], 2, "memory is not sampled"),
        (vec!["--threshold", "http_reqs", &url], 2, "no `:` after the metric"),
        (vec![], 2, "required arguments"),
    ] {
        let output = load(&args);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        assert!(told.contains(said), "{args:?}: `{said}` is not in:\n{told}");
    }
    assert!(notes.lock().unwrap().is_empty());
}

#[test]
fn nobody_there_is_a_target_that_failed() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = load(&["-n", "1", &url(free)]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("nothing answers"), "{}", text(&output.stderr));
    let output = load(&["-n", "1", "http://[::1]:1/"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("at [::1]:1: "), "{}", text(&output.stderr));
}

#[test]
fn a_name_is_as_good_as_an_address_and_timeouts_may_be_fractions() {
    let (address, notes) = quick();
    let output = load(&["-n", "5", "-t", "0.5", &format!("localhost:{}/", address.port())]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let notes = notes.lock().unwrap();
    let host = format!("host: localhost:{}", address.port());
    assert!(notes.len() == 5 && notes[0].headers.contains(&host), "{notes:?}");
}

#[test]
fn an_interrupt_reports_what_was_measured() {
    let (address, _) = quick();
    let child = command(&["-z", "60s", "-c", "2", "--json", &url(address)])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let run = json(&output);
    assert_eq!(run["verdict"], "interrupted");
    assert!(run["phases"][0]["traffic"]["requests"].as_u64().unwrap() > 10);
}

#[test]
fn an_interrupt_ends_the_wait_for_the_last_answers() {
    let (address, _) = server(200, Duration::from_secs(60));
    let child = command(&["-z", "500ms", "-c", "2", "--json", &url(address)])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let asked = Instant::now();
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert_eq!(output.status.code(), Some(130));
    let run = json(&output);
    assert_eq!(run["verdict"], "interrupted");
    assert_eq!(run["phases"][0]["traffic"]["errors"]["unfinished"], 2, "{run:#}");
}

#[test]
fn the_run_is_kept_where_asked_and_renders_again() {
    let (address, _) = quick();
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("kept");
    let out = out.to_str().unwrap();
    let output = load(&["-n", "100", "--out", out, &url(address)]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("Reports are in"));
    let again = Command::new(env!("CARGO_BIN_EXE_highwater"))
        .args(["report", "--json", out])
        .output()
        .unwrap();
    assert_eq!(json(&again)["phases"][0]["traffic"]["requests"], 100);
}

#[test]
fn times_are_exported_as_a_histogram_log() {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    let (address, _) = quick();
    let place = tempfile::tempdir().unwrap();
    let (out, log) = (place.path().join("run"), place.path().join("times.hlog"));
    let (out, log) = (out.to_str().unwrap(), log.to_str().unwrap());
    load(&["-z", "2500ms", "--rate", "100", "--out", out, &url(address)]);
    let export = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_highwater")).arg("export").args(args).output().unwrap()
    };
    let output = export(&[out, "--format", "hlog", "--out", log]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let bytes = std::fs::read(log).unwrap();
    let (mut counts, mut base) = ([0_u64; 2], None);
    for entry in IntervalLogIterator::new(&bytes) {
        match entry.unwrap() {
            LogEntry::Interval(interval) => {
                let tag = interval.tag().unwrap().as_str().to_owned();
                assert!(tag.ends_with(":load:load:GET_/a"), "{tag}");
                let encoded = interval.encoded_histogram();
                let stored =
                    base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded);
                let times: hdrhistogram::Histogram<u64> =
                    Deserializer::new().deserialize(&mut &*stored.unwrap()).unwrap();
                counts[usize::from(tag.starts_with("duration:"))] += times.len();
            }
            LogEntry::BaseTime(time) => base = Some(time),
            LogEntry::StartTime(_) => {}
        }
    }
    assert_eq!(counts, [250, 250]);
    assert!(base.is_some());
    let piped = export(&[out, "--format", "hlog"]);
    assert_eq!(piped.stdout, bytes);
    assert_eq!(
        export(&[place.path().to_str().unwrap(), "--format", "hlog"]).status.code(),
        Some(2)
    );
}

#[test]
fn what_never_ends_is_waited_for_five_seconds_at_most() {
    let (address, _) = server(200, Duration::from_secs(60));
    let began = Instant::now();
    let run = json(&load(&["--json", "-z", "500ms", "-c", "2", "-t", "0", &url(address)]));
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    assert_eq!(run["phases"][0]["traffic"]["errors"]["unfinished"], 2, "{run:#}");
}

#[test]
fn sizes_seen_stand_beside_sizes_wanted() {
    let (address, _) = quick();
    let body = "x".repeat(1000);
    let run = json(&load(&["--json", "-n", "50", "-d", &body, &url(address)]));
    let step = &run["phases"][0]["traffic"]["steps"][0];
    let all = |size: u64| serde_json::json!({ "p50": size, "p99": size, "max": size });
    assert_eq!(step["request_body_bytes"], all(1000), "{step:#}");
    assert_eq!(step["wanted_body_bytes"], all(1000), "{step:#}");
    assert_eq!(step["response_body_bytes"], all(2), "{step:#}");
}
