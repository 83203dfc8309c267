//! What one answer gives to the next request: captures, cookies, feeds, redirects, checks.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater::event::ErrorKind;

use super::runs::*;
use super::shop::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_answer_gives_the_next_request_says() {
    let scenario = r#"
[[scenario]]
[[scenario.step]]
post = "/orders"
body = { json = { product = "p{{ iteration }}", count = "{{ 1 + 1 }}", note = "a {{ 'q\"uote' }}", plain = "{# no comment" } }
capture = { id = "json:$.id", name = "json:$.items[0].name", etag = "header:etag", code = "status" }
[[scenario.step]]
get = "/orders/{{ id }}/{{ name }}"
query = { q = "a&b {{ name }}", page = 2 }
headers = { if-none-match = "{{ etag }}", x-code = "{{ code }}" }
"#;
    let (outcome, notes) = run(&format!("{scenario}{}", once(2))).await;
    assert_eq!((outcome.counts.ended, outcome.counts.failed), (4, 0), "{outcome:?}");
    let body: serde_json::Value = serde_json::from_str(&notes[0].body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({"product": "p0", "count": 2, "note": "a q\"uote", "plain": "{# no comment"})
    );
    assert_eq!(notes[0].headers["content-type"], "application/json");
    assert_eq!(notes[1].line, "GET /orders/1/a%20b?q=a%26b%20a%20b&page=2");
    assert_eq!(
        (&*notes[1].headers["if-none-match"], &*notes[1].headers["x-code"]),
        ("\"e1\"", "201")
    );
    assert_eq!(notes[3].line, "GET /orders/3/a%20b?q=a%26b%20a%20b&page=2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_log_in_once_keep_their_cookie_over_phases_and_log_out() {
    let scenario = r#"
[[scenario]]
on-start = [ { post = "/login", capture = { token = "regex:token=(\\w+);" } } ]
on-stop = [ { post = "/logout" } ]
[[scenario.step]]
get = "/private"
headers = { authorization = "Bearer {{ token }}" }
think = "10ms"
[[phase]]
users = 3
for = "200ms"
[[phase]]
users = 3
for = "200ms"
"#;
    let (outcome, notes) = run(scenario).await;
    assert_eq!(outcome.counts.failed, 0, "{outcome:?}");
    let of = |line: &str| notes.iter().filter(|note| note.line == line).collect::<Vec<_>>();
    assert_eq!((of("POST /login").len(), of("POST /logout").len()), (3, 3));
    let private = of("GET /private");
    assert!(private.len() > 30, "{}", private.len());
    for note in &private {
        let session = note.cookie.strip_prefix("session=s").expect("a cookie");
        assert_eq!(note.headers["authorization"], format!("Bearer t{session}"));
    }
    assert!(of("POST /logout").iter().all(|note| note.cookie.starts_with("session=s")));
    assert!(outcome.phases.len() == 2, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_arrival_is_a_new_user() {
    let scenario = r#"
[[scenario]]
on-start = [ { post = "/login" } ]
[[scenario.step]]
get = "/private"
[[phase]]
load = [{ rate = 50, for = "400ms" }]
for = "1s"
"#;
    let (outcome, notes) = run(scenario).await;
    assert_eq!((outcome.counts.due, outcome.counts.failed), (40, 0), "{outcome:?}");
    let mut cookies: Vec<_> =
        notes.iter().filter(|note| note.line == "GET /private").map(|note| &note.cookie).collect();
    cookies.sort();
    cookies.dedup();
    assert_eq!(cookies.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setup_is_done_once_for_all_and_not_counted() {
    let scenario = r#"
[[scenario]]
setup = [ { post = "/orders", capture = { shared = "json:$.id" } } ]
[[scenario.step]]
get = "/see/{{ shared }}"
"#;
    let directory = tempfile::tempdir().unwrap();
    let text = format!("{scenario}[[phase]]\nusers = 4\niterations = 20\nfor = \"10s\"\n");
    let (outcome, notes) = run_in(directory.path(), &text, 2).await;
    assert_eq!((outcome.counts.due, outcome.counts.failed), (20, 0));
    assert_eq!(notes.iter().filter(|note| note.line == "POST /orders").count(), 1);
    assert_eq!(notes.iter().filter(|note| note.line == "GET /see/1").count(), 20);

    let failing = plan(directory.path(), &text.replace("\"/orders\"", "\"/broken\""));
    let (address, _) = shop().await;
    let error = try_run(&failing, address, 2).await.expect_err("the setup fails").to_string();
    assert_eq!(error, "the setup step `POST /broken` failed: it answered 500");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feeds_give_each_run_or_each_user_its_record() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("u.csv"), "name,age\nann,1\nbob,2\ncid,3\n").unwrap();
    let lines = |notes: &[Note]| {
        let mut lines: Vec<String> = notes.iter().map(|note| note.line.clone()).collect();
        lines.sort();
        lines
    };
    let scenario = |feed: &str| {
        format!(
            "[[scenario]]\nfeed = {feed}\n[[scenario.step]]\nget = \"/{{{{ name }}}}/{{{{ age }}}}\"\n"
        )
    };
    let text = format!("{}{}", scenario("\"u.csv\""), once(4));
    let (_, notes) = run_in(directory.path(), &text, 1).await;
    assert_eq!(lines(&notes), ["GET /ann/1", "GET /ann/1", "GET /bob/2", "GET /cid/3"]);

    // Records of one's own: a fourth user has none and does nothing.
    let unique = scenario("{ file = \"u.csv\", order = \"unique\" }");
    let text = format!("{unique}think = \"5ms\"\n[[phase]]\nusers = 4\nfor = \"200ms\"\n");
    let (outcome, notes) = run_in(directory.path(), &text, 2).await;
    assert_eq!((outcome.counts.failed, outcome.counts.unsent), (0, 0));
    let mut seen = lines(&notes);
    seen.dedup();
    assert_eq!(seen, ["GET /ann/1", "GET /bob/2", "GET /cid/3"]);

    // Out of records, nothing more begins; arrivals that find none are counted as unsent.
    let stopping = scenario("{ file = \"u.csv\", when-out = \"stop\" }");
    let text = format!("{stopping}[[phase]]\nusers = 2\nfor = \"10s\"\n");
    let (outcome, _) = run_in(directory.path(), &text, 1).await;
    assert_eq!((outcome.counts.due, outcome.counts.unsent), (3, 0));
    let text = format!("{stopping}[[phase]]\nrate = 50\nfor = \"200ms\"\n");
    let (outcome, _) = run_in(directory.path(), &text, 1).await;
    assert_eq!((outcome.counts.due, outcome.counts.sent, outcome.counts.unsent), (10, 3, 7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_are_followed_by_choice_and_never_away() {
    let step = |path: &str, redirects: u8| {
        format!(
            "[[scenario]]\n[[scenario.step]]\nget = \"{path}\"\nredirects = {redirects}\n{}",
            once(1)
        )
    };
    let (outcome, notes) = run(&step("/old", 0)).await;
    assert_eq!((outcome.counts.ended, outcome.counts.failed, notes.len()), (1, 0, 1));
    let (outcome, notes) = run(&step("/old", 5)).await;
    assert_eq!((outcome.counts.ended, outcome.counts.failed), (2, 0));
    assert_eq!(notes[1].line, "GET /new?x=1");
    let (_, notes) = run(&step("/loop", 3)).await;
    assert_eq!(notes.len(), 4);
    let (outcome, notes) = run(&step("/away", 3)).await;
    assert_eq!((outcome.counts.ended, notes.len()), (1, 1));
    let posting = "[[scenario]]\n[[scenario.step]]\npost = \"/old\"\nredirects = 1\nbody = { text = \"hello\" }\n";
    let (_, notes) = run(&format!("{posting}{}", once(1))).await;
    assert_eq!((&*notes[1].line, &*notes[1].body), ("GET /new?x=1", ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_fail_requests_or_only_count() {
    let checked = |path: &str, expect: &str| {
        let method = if path == "/orders" { "post" } else { "get" };
        format!(
            "[[scenario]]\n[[scenario.step]]\n{method} = \"{path}\"\nexpect = {expect}\n{}",
            once(1)
        )
    };
    let good = [
        (
            "/orders",
            r#"{ status = "2xx", json = { "$.id" = { min = 1, max = 9 }, "$.items[0].name" = "a b", "$.none" = { exists = false } } }"#,
        ),
        (
            "/orders",
            r#"{ header = { etag = { matches = "^\"e\\d+\"$" }, x-none = { exists = false } }, size = { min = "10B", max = "1KiB" }, latency = "1s" }"#,
        ),
        ("/x", r#"{ body = "ok", regex = "^ok$", size = "2B" }"#),
        ("/broken", "{ status = 500 }"),
        ("/x", r#"{ body = "absent", warn = true }"#),
        ("/x", "[ { status = 200 }, { status = 404, warn = true } ]"),
        ("/bytes", "{ size = { min = \"4B\" }, json = { \"$.x\" = { exists = false } } }"),
    ];
    for (path, expect) in good {
        let (outcome, _) = run(&checked(path, expect)).await;
        assert_eq!((outcome.counts.ended, outcome.counts.failed), (1, 0), "{expect}: {outcome:?}");
    }
    let bad = [
        ("/orders", r#"{ json = { "$.id" = 0 } }"#, ErrorKind::Expectation),
        ("/orders", r#"{ json = { "$.none" = { exists = true } } }"#, ErrorKind::Expectation),
        ("/x", r#"{ body = "absent" }"#, ErrorKind::Expectation),
        ("/x", "{ header = { etag = { exists = true } } }", ErrorKind::Expectation),
        ("/x", r#"{ size = "1B" }"#, ErrorKind::Expectation),
        ("/x", "{ status = 404 }", ErrorKind::Status),
        ("/bytes", r#"{ json = { "$.x" = 1 } }"#, ErrorKind::Expectation),
        ("/large", r#"{ body = "x" }"#, ErrorKind::TooLarge),
    ];
    for (path, expect, kind) in bad {
        let (outcome, _) = run(&checked(path, expect)).await;
        assert_eq!(outcome.errors, BTreeMap::from([(kind, 1)]), "{expect}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_captured_or_made_is_a_counted_failure() {
    let capturing = |from: &str| {
        format!(
            "[[scenario]]\n[[scenario.step]]\nget = \"/x\"\ncapture = {{ v = \"{from}\" }}\n[[scenario.step]]\nget = \"/{{{{ v }}}}\"\n{}",
            once(1)
        )
    };
    for from in ["json:$.id", "header:etag", "regex:never"] {
        let (outcome, notes) = run(&capturing(from)).await;
        assert_eq!(outcome.errors, BTreeMap::from([(ErrorKind::Capture, 1)]), "{from}");
        assert_eq!(notes.len(), 1, "the run ends there");
    }
    let dividing = "[[scenario]]\n[[scenario.step]]\nget = \"/{{ 1 // (iteration * 0) }}\"\n";
    let (outcome, notes) = run(&format!("{dividing}{}", once(2))).await;
    assert_eq!(outcome.errors, BTreeMap::from([(ErrorKind::Template, 2)]));
    assert!(notes.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_whose_templates_fail_take_breath() {
    let dividing = "[[scenario]]\n[[scenario.step]]\nget = \"/{{ 1 // (iteration * 0) }}\"\n\
                    [[phase]]\nusers = 2\nfor = \"500ms\"\n";
    let (outcome, notes) = run(dividing).await;
    // A pause is 10 ms at least, and 100 ms at most.
    let failed = outcome.errors[&ErrorKind::Template];
    assert!((8..=102).contains(&failed), "{outcome:?}");
    assert_eq!((outcome.counts.failed, outcome.counts.sent), (failed, 0));
    assert!(notes.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_without_a_record_keep_nobody_waiting() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("u.csv"), "name\na\nb\nc\n").unwrap();
    let scenario = "[[scenario]]\nfeed = { file = \"u.csv\", order = \"unique\" }\n\
                    [[scenario.step]]\nget = \"/{{ name }}\"\n[[phase]]\nusers = 5\n";
    for (keys, sent) in [("iterations = 20\n", 20), ("iterations = { each = 4 }\n", 12)] {
        let began = std::time::Instant::now();
        let (outcome, _) = run_in(directory.path(), &format!("{scenario}{keys}"), 2).await;
        assert_eq!(outcome.counts.ended, sent, "{keys}");
        assert!(began.elapsed() < Duration::from_secs(5), "{keys}");
    }
}
