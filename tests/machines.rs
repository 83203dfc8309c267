//! What other programs are given of runs: `JUnit`, Prometheus, OTLP, GitHub Actions, exports.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;
use support::harness::{Bench, Runtime, left_behind};

/// A copy of the example's recording, to be reported again.
fn example(bench: &Bench) {
    let copy = bench.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    let recording = support::root().join("reports/example/recording.db");
    std::fs::copy(recording, copy.join("recording.db")).unwrap();
}

/// The value of a metric in Prometheus text.
fn metric(text: &str, name: &str) -> Option<f64> {
    let line = text
        .lines()
        .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    line?.rsplit(' ').next()?.parse().ok()
}

/// A collector of OTLP that takes one message.
fn collector() -> (String, std::thread::JoinHandle<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut text, mut part) = (Vec::new(), [0; 8192]);
        loop {
            let read = stream.read(&mut part).unwrap();
            text.extend_from_slice(&part[..read]);
            let all = String::from_utf8_lossy(&text);
            let Some((head, body)) = all.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.unwrap().parse().unwrap() {
                assert!(head.starts_with("POST /v1/metrics "), "{head}");
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
                return serde_json::from_str(body).unwrap();
            }
        }
    });
    (url, thread)
}

#[test]
fn the_peak_is_the_same_number_everywhere() {
    let bench = Bench::new();
    example(&bench);
    let (url, collected) = collector();
    let args = ["report", "copy", "--json", "--prometheus", "run.prom", "--junit", "run.xml"];
    let ended = bench.run(&[&args[..], &["--otlp", &url]].concat());
    let json = ended.expect_code(0).json();
    let peak = json["memory"]["peak_bytes"].as_u64().unwrap();
    let text = std::fs::read_to_string(bench.path().join("run.prom")).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "it is below 2^53")]
    let wanted = Some(peak as f64);
    assert_eq!(metric(&text, "highwater_memory_peak_bytes"), wanted, "{text}");
    let message = collected.join().unwrap();
    let metrics = message["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
    let sent = metrics.iter().find(|metric| metric["name"] == "highwater.memory.peak").unwrap();
    assert_eq!(sent["gauge"]["dataPoints"][0]["asInt"], peak.to_string());
    for (format, file) in [("csv", "a.csv"), ("parquet", "a.parquet"), ("influx", "a.lp")] {
        bench.run(&["export", "copy", "--format", format, "--out", file]).expect_code(0);
    }
    let mut reader = csv::Reader::from_path(bench.path().join("a.csv")).unwrap();
    let rows: Vec<std::collections::HashMap<String, String>> =
        reader.deserialize().map(Result::unwrap).collect();
    let of_main = rows.iter().filter(|row| row["role"] == "main");
    assert_eq!(of_main.map(|row| row["peak_bytes"].parse::<u64>().unwrap()).max(), Some(peak));
    assert!(std::fs::read(bench.path().join("a.parquet")).unwrap().starts_with(b"PAR1"));
    let xml = std::fs::read_to_string(bench.path().join("run.xml")).unwrap();
    let document = roxmltree::Document::parse(&xml).unwrap();
    assert_eq!(document.root_element().attribute("failures"), Some("0"), "{xml}");
}

#[test]
fn a_collector_that_is_not_there_takes_nothing_from_the_verdict() {
    let bench = Bench::new();
    example(&bench);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = bench.run(&["report", "copy", "--json", "--otlp", &format!("http://{gone}")]);
    ended.expect_code(0).json();
    assert!(ended.stderr.contains("note: failed to send metrics to"), "{}", ended.stderr);
    let ended = bench.run(&["report", "copy", "--otlp", "https://127.0.0.1"]);
    assert!(ended.expect_code(2).stderr.contains("only http:// is spoken"), "{}", ended.stderr);
    let ended = bench.run(&["report", "copy", "--junit", "no/such/place.xml"]);
    assert!(ended.expect_code(2).stderr.contains("can't be written"), "{}", ended.stderr);
}

#[test]
fn github_is_told_beside_the_json_and_only_there() {
    let bench = Bench::new();
    let copy = bench.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    let recording = support::root().join("fixtures/recordings/first/recording.db");
    std::fs::copy(recording, copy.join("recording.db")).unwrap();
    let summary = bench.path().join("summary.md");
    std::fs::write(&summary, "before\n").unwrap();
    let run = |inside: &str| {
        let mut command = bench.command(&["report", "copy", "--json"]);
        command.env("GITHUB_ACTIONS", inside).env("GITHUB_STEP_SUMMARY", &summary);
        bench.ended(&command.output().unwrap())
    };
    let ended = run("false");
    assert!(!ended.stderr.contains("::"), "{}", ended.stderr);
    assert_eq!(std::fs::read_to_string(&summary).unwrap(), "before\n");
    let ended = run("true");
    let json = ended.json();
    let reasons = json["reasons"].as_array().unwrap();
    let told = reasons.iter().filter(|reason| reason["level"] != "info").count();
    let lines = ended
        .stderr
        .lines()
        .filter(|line| line.starts_with("::error title=") || line.starts_with("::warning title="));
    assert_eq!(lines.count(), told.min(10), "{}", ended.stderr);
    let text = std::fs::read_to_string(&summary).unwrap();
    assert!(text.starts_with("before\n## "), "{text}");
}

/// What a GET of this URL answers.
fn get(url: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_run_can_be_scraped_and_its_requests_be_kept() {
    for runtime in Runtime::BOTH.into_iter().filter(|runtime| runtime.is_there()) {
        let bench = Bench::new();
        bench.scenario(
            &["steady"],
            "limits = { memory = \"64MiB\" }\n[startup]\ntrials = 0\n\
             [[scenario]]\nname = \"get\"\n[[scenario.step]]\nget = \"/\"\n\
             [[phase]]\nname = \"soak\"\nrate = 50\nfor = \"4s\"\n\
             [thresholds]\nmemory = \"max<90%\"\n",
        );
        let mut child = bench.spawn(&[
            "run",
            "--runtime",
            runtime.name(),
            "--out",
            "out",
            "--json",
            "--metrics-port",
            "0",
            "--samples",
            "all",
            "--junit",
            "out.xml",
            "--influx",
            "out.lp",
        ]);
        let mut lines = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("metrics at ") {
            line.clear();
            let read = std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
            assert!(read > 0, "it ended without telling where its metrics are");
        }
        let rest = std::thread::spawn(move || std::io::read_to_string(lines));
        let url = line.trim().strip_prefix("metrics at ").unwrap().to_owned();
        let mut seen = String::new();
        for _ in 0..100 {
            seen = get(&url);
            if metric(&seen, "highwater_requests_total").is_some_and(|count| count > 20.0) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(seen.contains("content-type: text/plain; version=0.0.4"), "{seen}");
        assert!(metric(&seen, "highwater_memory_usage_bytes").is_some_and(|v| v > 1e5), "{seen}");
        assert_eq!(metric(&seen, "highwater_memory_limit_bytes"), Some(67_108_864.0));
        assert!(seen.contains("highwater_phase_active{name=\"test\",phase=\"soak\"} 1"), "{seen}");
        let ended = bench.ended(&child.wait_with_output().unwrap());
        rest.join().unwrap().unwrap();
        let json = ended.expect_code(0).json();
        let xml = std::fs::read_to_string(bench.path().join("out.xml")).unwrap();
        assert!(xml.contains("memory: max&lt;90%"), "{xml}");
        let points = std::fs::read_to_string(bench.path().join("out.lp")).unwrap();
        assert!(points.lines().count() > 40, "a point a window of 100 ms at least: {points}");
        assert!(points.starts_with("highwater_"), "{points}");
        check_requests(&bench, &json);
        drop(bench);
        assert_eq!(left_behind(), Vec::<String>::new(), "left behind by {runtime:?}");
    }
}

/// All requests of the phase are there, as they were.
fn check_requests(bench: &Bench, json: &Value) {
    bench.run(&["export", "out", "--samples", "--out", "requests.csv"]).expect_code(0);
    let mut reader = csv::Reader::from_path(bench.path().join("requests.csv")).unwrap();
    let rows: Vec<std::collections::HashMap<String, String>> =
        reader.deserialize().map(Result::unwrap).collect();
    let requests = json["phases"][0]["traffic"]["requests"].as_u64();
    assert_eq!(Some(rows.len() as u64), requests);
    for row in rows {
        let time = |name: &str| row[name].parse::<f64>().unwrap_or_else(|_| panic!("{row:?}"));
        let times = ["due_ms", "sent_ms", "first_byte_ms", "end_ms"].map(time);
        assert!(times.is_sorted(), "{row:?}");
        assert_eq!((&*row["status"], &*row["error"], &*row["weight"]), ("200", "", "1"));
        assert_eq!((&*row["phase"], &*row["step"]), ("soak", "GET /"));
    }
}
