//! Recordings that are damaged: a clear error, or a report of what could be saved that says what
//! is missing.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use serde_json::Value;

use super::support::harness::{Bench, Ended};
use super::support::made::MadeRun;

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(name.to_owned(), move || {
            test();
            Ok(())
        })
    };
    vec![
        trial("a_truncated_recording_is_reported_up_to_there", truncated),
        trial("a_flipped_byte_costs_its_part_and_is_told", flipped),
        trial("what_is_no_recording_is_told_clearly", no_recording),
        trial("recordings_of_every_format_read_as_they_did", old),
    ]
}

fn made(bench: &Bench) -> Vec<u8> {
    MadeRun { seconds: 600, spikes: 20, rate: Some(50), name: "x".to_owned() }
        .record(&bench.path().join("out"));
    fs::read(bench.path().join("out/recording.db")).expect("it was recorded")
}

fn report_of(bench: &Bench, bytes: &[u8]) -> Ended {
    let dir = bench.path().join("damaged");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).expect("a directory can be made");
    fs::write(dir.join("recording.db"), bytes).expect("it can be written");
    bench.run(&["report", "damaged", "--json"])
}

fn reason<'a>(json: &'a Value, id: &str) -> Option<&'a str> {
    let reasons = json["reasons"].as_array()?;
    reasons.iter().find(|reason| reason["id"] == id)?["text"].as_str()
}

fn truncated() {
    let bench = Bench::new();
    let whole = made(&bench);
    let all = bench.run(&["report", "out", "--json"]).json();
    let mut reached = 0;
    for percent in [60, 80, 95] {
        let ended = report_of(&bench, &whole[..whole.len() * percent / 100]);
        let json = ended.json();
        let text = reason(&json, "damaged").expect("it says so");
        assert!(text.contains("can't be read"), "{text}");
        assert!(ended.stderr.contains("is damaged: what happened "), "{}", ended.stderr);
        assert_ne!(json["exit_code"], 0, "what is missing may hold anything");
        let requests = json["phases"][0]["traffic"]["requests"].as_u64().unwrap_or_default();
        assert!(requests >= reached, "{percent} %: {requests}, {reached} before");
        assert!(Some(requests) < all["phases"][0]["traffic"]["requests"].as_u64());
        reached = requests;
    }
    assert!(reached > 0, "something was saved");
    // What it is about is on its second page.
    let ended = report_of(&bench, &whole[..4096]);
    ended.expect_code(3);
    assert!(
        ended.stderr.contains("is damaged: what it is about can't be read"),
        "{}",
        ended.stderr
    );
}

fn flipped() {
    let bench = Bench::new();
    let whole = made(&bench);
    let all = bench.run(&["report", "out", "--json"]).json();
    let mut saved = 0;
    for part in 1..10 {
        let mut bytes = whole.clone();
        let at = whole.len() * part / 10 + 1234;
        bytes[at] ^= 0x10;
        let ended = report_of(&bench, &bytes);
        if ended.code == 2 || ended.stdout.is_empty() {
            assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
            continue;
        }
        let json = ended.json();
        if reason(&json, "damaged").is_some() {
            assert!(ended.stderr.contains("is damaged: what happened "), "{}", ended.stderr);
            saved += 1;
        } else {
            // It fell where nothing is stored.
            assert_eq!(json["memory"], all["memory"]);
        }
    }
    assert!(saved >= 5, "{saved} of 9 are reported with what is missing");
}

fn no_recording() {
    let bench = Bench::new();
    let path = bench.path().join("damaged");
    let told = |bytes: &[u8]| {
        let ended = report_of(&bench, bytes);
        ended.expect_code(2);
        ended.stderr
    };
    assert!(told(b"").contains("is not a Highwater recording"));
    assert!(told(b"some text that is no database at all").contains("is not a Highwater recording"));
    // A database of somebody else's, one of a later version, and one without tables.
    assert!(
        told(&database(&path, "CREATE TABLE a (b); INSERT INTO a VALUES (1)"))
            .contains("is not a Highwater")
    );
    let later = "PRAGMA application_id = 1213682770; PRAGMA user_version = 99; CREATE TABLE a (b)";
    let text = told(&database(&path, later));
    let known = highwater::record::FORMAT;
    let wanted = format!("has format 99, and this version reads formats up to {known}");
    assert!(text.contains(&wanted), "{text}");
    let empty = "PRAGMA application_id = 1213682770; PRAGMA user_version = 2; CREATE TABLE a (b)";
    let ended = report_of(&bench, &database(&path, empty));
    ended.expect_code(3);
    assert!(
        ended.stderr.contains("what it is about can't be read: no such table"),
        "{}",
        ended.stderr
    );
}

/// One of each format, as it was written by the version that introduced it, and one of a run that
/// was killed.
fn old() {
    let kept = super::support::root().join("fixtures/recordings");
    for name in ["first", "second"] {
        let bench = Bench::new();
        let recording = fs::read(kept.join(name).join("recording.db")).expect("it is kept");
        let json = report_of(&bench, &recording).expect_code(0).json();
        let then = fs::read_to_string(kept.join(name).join("run.json")).expect("it is kept");
        let then: Value = serde_json::from_str(&then).expect("it is JSON");
        for key in ["name", "started_at", "verdict", "memory", "spikes_total"] {
            for (part, value) in then[key].as_object().into_iter().flatten() {
                assert_eq!(&json[key][part], value, "{name}: {key}.{part}");
            }
            if !then[key].is_object() {
                assert_eq!(json[key], then[key], "{name}: {key}");
            }
        }
    }
    let bench = Bench::new();
    let killed = bench.path().join("killed");
    fs::create_dir(&killed).expect("a directory can be made");
    for file in ["recording.db", "recording.db-wal"] {
        fs::copy(kept.join("killed").join(file), killed.join(file)).expect("it can be copied");
    }
    let json = bench.run(&["report", "killed", "--json"]).expect_code(130).json();
    let text = reason(&json, "cut_off").expect("it says so");
    assert!(text.starts_with("the recording was cut off in phase burst at "), "{text}");
    assert!(json["phases"][0]["traffic"]["requests"].as_u64().is_some_and(|count| count > 10));
}

fn database(dir: &Path, sql: &str) -> Vec<u8> {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir(dir).expect("a directory can be made");
    let path = dir.join("made.db");
    let connection = rusqlite::Connection::open(&path).expect("a database can be made");
    connection.execute_batch(sql).expect("it can be filled");
    drop(connection);
    fs::read(path).expect("it is there")
}
