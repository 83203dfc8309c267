//! Requests that are replayed from a log.

use std::time::Duration;

use highwater::plan::Plan;
use highwater::scenario::Overrides;

use super::runs::*;

/// Requests in an hour's log of JSON lines: half of them uploads of sizes that differ.
fn json_log() -> String {
    let line = |n: u32| {
        let (method, size) = if n.is_multiple_of(2) { ("POST", 1000 + n) } else { ("GET", 0) };
        let ms = n * 20;
        format!(
            "{{\"time\":\"2026-03-01T10:00:{:02}.{:03}Z\",\"method\":\"{method}\",\
             \"uri\":\"/items/{n}?page={n}\",\"request_bytes\":{size},\"status\":200}}\n",
            ms / 1000,
            ms % 1000
        )
    };
    (0..50).map(line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_replayed_request_by_request() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.log"), json_log()).unwrap();
    let phase = "[[phase]]\nreplay = { file = \"a.log\", headers = { x-by = \"replay\" } }\n";
    for workers in [1, 2] {
        let plan = plan(directory.path(), phase);
        assert_eq!(plan.outline().steps.len(), 2);
        assert_eq!(plan.outline().steps[0].step, "GET /items/{id}");
        let began = std::time::Instant::now();
        let (outcome, notes) = run_in(directory.path(), phase, workers).await;
        assert_eq!((outcome.counts.ended, outcome.counts.failed), (50, 0), "{outcome:?}");
        assert_eq!(outcome.runs, 50);
        assert!(began.elapsed() >= Duration::from_millis(980), "{:?}", began.elapsed());
        let mut lines: Vec<&str> = notes.iter().map(|note| note.line.as_str()).collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 50);
        for note in &notes {
            let number: usize = note.line.rsplit('=').next().unwrap().parse().unwrap();
            let wanted = if number.is_multiple_of(2) { 1000 + number } else { 0 };
            assert_eq!(note.body.len(), wanted, "{}", note.line);
            assert_eq!(note.headers["x-by"], "replay");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_goes_faster_and_round_again() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.log"), json_log()).unwrap();
    // A round of 50 takes 0.2 s at this speed.
    let phase =
        "[[phase]]\nfor = \"600ms\"\nreplay = { file = \"a.log\", speed = 5, repeat = true }\n";
    let (outcome, _) = run_in(directory.path(), phase, 2).await;
    assert!((145..=151).contains(&outcome.counts.ended), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_have_the_sizes_of_a_log() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.log"), json_log()).unwrap();
    let scenario = "[[scenario]]\n[[scenario.step]]\npost = \"/items/7\"\n\
                    body = { sizes-from = \"a.log\", json = true }\n";
    let (_, notes) = run_in(directory.path(), &format!("{scenario}{}", once(200)), 1).await;
    let mut sizes: Vec<usize> = notes.iter().map(|note| note.body.len()).collect();
    sizes.sort_unstable();
    assert!(sizes[0] >= 1000 && sizes[199] <= 1048, "{sizes:?}");
    assert!(sizes[100].abs_diff(1024) < 8, "{sizes:?}");
}

#[test]
fn logs_that_can_not_be_used_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let common = "1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] \"POST /a HTTP/1.1\" 200 5\n";
    std::fs::write(directory.path().join("common.log"), common).unwrap();
    std::fs::write(directory.path().join("noise.log"), "hello\nworld\n").unwrap();
    std::fs::write(directory.path().join("empty.log"), "").unwrap();
    let untimed = "{\"method\":\"GET\",\"path\":\"/\"}\n";
    std::fs::write(directory.path().join("untimed.log"), untimed).unwrap();
    std::fs::write(directory.path().join("mostly.log"), format!("a\n\nb\n{common}")).unwrap();
    let timed = "{\"time\":\"2026-03-01T10:00:00Z\",\"method\":\"GET\",\"path\":\"/\"}\n";
    let half_timed = format!("{untimed}{timed}{untimed}");
    std::fs::write(directory.path().join("half-timed.log"), half_timed).unwrap();
    let told = |scenario: &str| {
        let text = format!("{TARGET}{scenario}");
        let path = directory.path().join("highwater.toml");
        let parsed = Plan::parse(&path, &text, &Overrides::default());
        parsed.expect_err("it is faulty").render(false).replace("\n  │ ", " ")
    };
    let body = |from: &str| {
        format!(
            "[[scenario]]\n[[scenario.step]]\npost = \"/a\"\nbody = {{ sizes-from = \"{from}\" }}\n"
        )
    };
    let replay = |keys: &str| format!("[[phase]]\nreplay = {keys}\n");
    for (scenario, said) in [
        (body("common.log"), "no sizes of request bodies"),
        (body("none.log"), "failed to read"),
        (replay("\"noise.log\""), "noise.log"),
        (replay("\"empty.log\""), "empty"),
        (replay("\"untimed.log\""), "tells no times"),
        (replay("{ speed = 2 }"), "has no `file`"),
        (replay("{ file = \"common.log\", speed = 0 }"), "not between 0.001 and 1000"),
        (replay("\"common.log\"\nrate = 5"), "paced by its log"),
        (replay("{ file = \"common.log\", repeat = true }"), "would never end"),
        (
            "[[phase]]\nload = [{ replay = \"common.log\", for = \"1s\" }]\n".to_owned(),
            "give the phase the `for`",
        ),
        (
            replay("\"mostly.log\""),
            "2 of 3 lines can't be read; the first is line 1: it has no time",
        ),
        (body("mostly.log"), "2 of 3 lines can't be read"),
        (replay("\"half-timed.log\""), "2 of 3 requests tell no time"),
    ] {
        let told = told(&scenario);
        assert!(told.contains(said), "`{said}` is not in:\n{told}");
    }
}

#[test]
fn what_is_left_out_of_a_log_is_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let untimed = "{\"method\":\"GET\",\"path\":\"/\"}\n";
    std::fs::write(directory.path().join("a.log"), format!("{}{{}}\n{untimed}", json_log()))
        .unwrap();
    let step = "[[scenario.step]]\npost = \"/items/7\"\nbody = { sizes-from = \"a.log\" }\n";
    let plan = plan(directory.path(), &format!("[[scenario]]\n{step}{step}"));
    let skipped = "`a.log`: 1 of 52 lines can't be read; the first is line 51: it has no method \
                   under a known name; they are left out";
    assert_eq!(plan.notes, [skipped]);
    let plan = self::plan(directory.path(), "[[phase]]\nreplay = \"a.log\"\n");
    let untimed = "`a.log`: 1 of 51 requests tell no time; they are left out";
    assert_eq!(plan.notes, [skipped, untimed]);
}
