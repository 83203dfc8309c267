//! Scenarios as users write them, driven against a small shop on 127.0.0.1 that asks for logins,
//! sets cookies, redirects and remembers what it was sent.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use highwater::clock::Clock;
use highwater::event::{Counts, ErrorKind, GeneratorPath, MetricSums, What};
use highwater::load::{self, Endpoint, Engine, Job};
use highwater::plan::Plan;
use highwater::scenario::Overrides;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{COOKIE, LOCATION, SET_COOKIE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// A request as the shop saw it.
#[derive(Debug, Clone)]
struct Note {
    line: String,
    cookie: String,
    headers: BTreeMap<String, String>,
    body: String,
}

type Notes = Arc<Mutex<Vec<Note>>>;

async fn shop() -> (SocketAddr, Notes) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let notes = Notes::default();
    let seen = Arc::clone(&notes);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let seen = Arc::clone(&seen);
            let service = service_fn(move |request| answer(request, Arc::clone(&seen)));
            tokio::spawn(async move {
                let http = hyper::server::conn::http1::Builder::new();
                // A connection that the client gives up is no failure of the shop.
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, notes)
}

async fn answer(
    request: Request<Incoming>,
    notes: Notes,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap_or("?").to_owned();
    let note = Note {
        line: format!("{} {}", head.method, head.uri),
        cookie: head.headers.get(COOKIE).map(text).unwrap_or_default(),
        headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let number = {
        let mut notes = notes.lock().unwrap();
        notes.push(note.clone());
        notes.len()
    };
    let reply = Response::builder();
    let full = |text: String| Full::new(Bytes::from(text));
    let built = match head.uri.path() {
        "/login" => reply
            .header(SET_COOKIE, format!("session=s{number}; Path=/; HttpOnly; Secure"))
            .body(full(format!("token=t{number};"))),
        "/orders" => reply
            .status(StatusCode::CREATED)
            .header("etag", format!("\"e{number}\""))
            .body(full(format!(r#"{{"id": {number}, "items": [{{"name": "a b"}}]}}"#))),
        "/old" => {
            reply.status(StatusCode::FOUND).header(LOCATION, "/new?x=1").body(full(String::new()))
        }
        "/away" => reply
            .status(StatusCode::FOUND)
            .header(LOCATION, "http://elsewhere.example/")
            .body(full(String::new())),
        "/loop" => {
            reply.status(StatusCode::FOUND).header(LOCATION, "/loop").body(full(String::new()))
        }
        "/broken" => reply.status(StatusCode::INTERNAL_SERVER_ERROR).body(full("no".to_owned())),
        "/big" => reply.body(full("y".repeat(256 << 10))),
        "/large" => reply.body(full("x".repeat(9 << 20))),
        "/bytes" => reply.body(Full::new(Bytes::from_static(&[0xff, 0xfe, 0, 0x80]))),
        _ => reply.body(full("ok".to_owned())),
    };
    Ok(built.unwrap())
}

/// What came out of a run.
#[derive(Debug, Default)]
struct Outcome {
    counts: Counts,
    errors: BTreeMap<ErrorKind, u64>,
    /// By phase.
    phases: BTreeMap<u16, Counts>,
    /// Metrics of the scenario's own, by name.
    metrics: BTreeMap<String, MetricSums>,
    /// Runs of scenarios that ended.
    runs: u64,
}

const TARGET: &str =
    "[target]\nimage = \"none\"\nport = 1\n[traffic]\ntimeout = \"2s\"\ndrain = \"1s\"\n";

fn plan(directory: &Path, scenario: &str) -> Plan {
    let text = format!("{TARGET}{scenario}");
    Plan::parse(&directory.join("highwater.toml"), &text, &Overrides::default())
        .unwrap_or_else(|faults| panic!("{}", faults.render(false)))
}

fn faults(scenario: &str) -> String {
    let text = format!("{TARGET}{scenario}");
    let parsed = Plan::parse(Path::new("highwater.toml"), &text, &Overrides::default());
    parsed.expect_err("it is faulty").render(false)
}

async fn try_run(plan: &Plan, to: SocketAddr, workers: usize) -> Result<Outcome, load::Error> {
    let (events, mut seen) = tokio::sync::mpsc::channel(64);
    let endpoint =
        Endpoint { address: to, host: to.to_string(), netns: None, path: GeneratorPath::Native };
    let (clock, job) = (Clock::start(), Job::of(plan));
    let own = clock.clone();
    let engine =
        tokio::task::spawn_blocking(move || Engine::start(&job, endpoint, own, workers, events));
    let engine = engine.await.unwrap()?;
    let phases: Vec<Duration> = plan.phases.iter().map(|phase| phase.length).collect();
    let driving = tokio::spawn(async move {
        let mut at = clock.now() + Duration::from_millis(5);
        for (index, length) in (0_u16..).zip(phases) {
            engine.begin_phase(index, at);
            let ends = at + length;
            tokio::select! {
                () = engine.phase_spent(index) => {}
                () = tokio::time::sleep(ends.since(clock.now())) => {}
            }
            at = ends.min(clock.now());
            engine.end_phase(index, at);
        }
        engine.finish(Duration::from_secs(1)).await.unwrap();
    });
    let mut outcome = Outcome::default();
    while let Some(event) = seen.recv().await {
        if let What::Iterations(window) = &event.what {
            outcome.runs += window.ended;
        }
        if let What::Traffic(window) = event.what {
            outcome.counts.add(&window.counts);
            outcome.phases.entry(window.phase).or_default().add(&window.counts);
            for (kind, count) in window.errors {
                *outcome.errors.entry(kind).or_default() += count;
            }
            for (id, sums) in window.metrics {
                let name = plan.words.metrics[usize::from(id)].name.clone();
                outcome.metrics.entry(name).or_default().add(sums);
            }
        }
    }
    driving.await.unwrap();
    assert_eq!(outcome.counts.due, outcome.counts.ended + outcome.counts.unsent);
    Ok(outcome)
}

async fn run(scenario: &str) -> (Outcome, Vec<Note>) {
    let directory = tempfile::tempdir().unwrap();
    run_in(directory.path(), scenario, 1).await
}

async fn run_in(directory: &Path, scenario: &str, workers: usize) -> (Outcome, Vec<Note>) {
    let (address, notes) = shop().await;
    let outcome = try_run(&plan(directory, scenario), address, workers).await.unwrap();
    let notes = notes.lock().unwrap().clone();
    (outcome, notes)
}

/// One user does a scenario so often.
fn once(iterations: u32) -> String {
    format!("[[phase]]\nusers = 1\niterations = {iterations}\nfor = \"10s\"\n")
}

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
async fn bodies_of_every_kind_arrive_as_meant() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    file("a.json", r#"{"items": [{"n": 1}, {"n": 22}], "z": 1}"#);
    std::fs::create_dir(directory.path().join("bodies")).unwrap();
    file("bodies/one.txt", "one");
    file("bodies/two.txt", "two");
    file("bodies/.hidden", "never");
    let sent = async |step: &str| {
        let text = format!("[[scenario]]\n[[scenario.step]]\npost = \"/x\"\n{step}\n{}", once(8));
        let (outcome, notes) = run_in(directory.path(), &text, 1).await;
        assert_eq!((outcome.counts.ended, outcome.counts.failed), (8, 0), "{step}: {outcome:?}");
        notes
    };
    let form =
        sent("body = { form = { a = \"x y&\", b = \"{{ 'ü/' }}{{ iteration }}\", n = 3 } }").await;
    assert_eq!(form[0].body, "a=x+y%26&b=%C3%BC/0&n=3");
    assert_eq!(form[0].headers["content-type"], "application/x-www-form-urlencoded");

    let parts = sent("body = { multipart = [ { name = \"t\", text = \"hi {{ iteration }}\" }, { name = \"f\", file = \"a.json\", type = \"application/json\" } ] }").await;
    let boundary = parts[0].headers["content-type"].split_once("boundary=").unwrap().1.to_owned();
    let wanted = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"t\"\r\n\r\nhi 1\r\n--{boundary}\r\ncontent-disposition: form-data; name=\"f\"; filename=\"a.json\"\r\ncontent-type: application/json\r\n\r\n{}\r\n--{boundary}--\r\n",
        r#"{"items": [{"n": 1}, {"n": 22}], "z": 1}"#
    );
    assert_eq!(parts[1].body, wanted);

    let drawn = sent("body = { dir = \"bodies\" }").await;
    assert!(drawn.iter().all(|note| ["one", "two"].contains(&note.body.as_str())));
    assert!(drawn.iter().any(|note| note.body != drawn[0].body));

    let grown = sent("body = { file = \"a.json\", grow = \"$.items\", size = \"2KiB\" }").await;
    let json: serde_json::Value = serde_json::from_str(&grown[0].body).unwrap();
    assert_eq!(json["z"], 1);
    assert!((2030..=2048).contains(&grown[0].body.len()), "{}", grown[0].body.len());

    let chunked = sent("body = { size = \"100KiB\", chunked = true }").await;
    assert_eq!(chunked[0].headers["transfer-encoding"], "chunked");
    assert_eq!(chunked[0].body.len(), 100 << 10);

    let deep =
        sent("body = { size = \"3KiB\", json = true, depth = 9, shape = \"numbers\" }").await;
    let json: serde_json::Value = serde_json::from_str(&deep[0].body).unwrap();
    assert!(json.pointer(&"/in".repeat(9)).unwrap().as_array().unwrap().len() > 100);

    let spread =
        sent("body = { size = { median = \"4KiB\", sigma = 1.0, max = \"64KiB\" } }").await;
    assert!(spread.iter().any(|note| note.body.len() != spread[0].body.len()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_bodies_unpack_to_what_was_meant() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(move |request: Request<Incoming>| {
            let noted = Arc::clone(&noted);
            async move {
                assert_eq!(request.headers()["content-encoding"], "gzip");
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let mut text = String::new();
                std::io::Read::read_to_string(
                    &mut flate2::read::GzDecoder::new(&body[..]),
                    &mut text,
                )
                .unwrap();
                noted.lock().unwrap().push(text);
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
            }
        });
        let http = hyper::server::conn::http1::Builder::new();
        let _ = http.serve_connection(TokioIo::new(stream), service).await;
    });
    let scenario = "[[scenario]]\n[[scenario.step]]\npost = \"/\"\nbody = { text = \"plain\", gzip = true }\n[[scenario.step]]\npost = \"/\"\nbody = { text = \"n{{ iteration }}\", gzip = true }\n[[scenario.step]]\npost = \"/\"\nbody = { size = \"20KiB\", gzip = true }\n";
    let plan = plan(Path::new("."), &format!("{scenario}{}", once(1)));
    let outcome = try_run(&plan, address, 1).await.unwrap();
    assert_eq!((outcome.counts.ended, outcome.counts.failed), (3, 0));
    let seen = seen.lock().unwrap();
    assert_eq!((&*seen[0], &*seen[1], seen[2].len()), ("plain", "n0", 20 << 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_take_their_time() {
    let timed = async |step: &str| {
        let began = std::time::Instant::now();
        let (outcome, _) =
            run(&format!("[[scenario]]\n[[scenario.step]]\n{step}\n{}", once(1))).await;
        (began.elapsed().as_millis(), outcome)
    };
    let (took, outcome) =
        timed("post = \"/x\"\nbody = { size = \"64KiB\", rate = \"64KiB/s\" }").await;
    assert_eq!(outcome.counts.failed, 0);
    assert!((900..2000).contains(&took), "{took}");
    let (took, outcome) = timed("get = \"/big\"\ndrain = \"256KiB/s\"").await;
    assert_eq!((outcome.counts.ended, outcome.counts.failed), (1, 0));
    assert!((900..2500).contains(&took), "{took}");
    // Slower than the step's own timeout.
    let (took, outcome) = timed("get = \"/big\"\ndrain = \"64KiB/s\"\ntimeout = \"300ms\"").await;
    assert_eq!(outcome.errors, BTreeMap::from([(ErrorKind::Timeout, 1)]));
    assert!(took < 2000, "{took}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_feed_metrics_of_the_scenarios_own() {
    let scenario = format!(
        r#"
[[scenario]]
tags = {{ team = "shop" }}
[[scenario.step]]
get  = "/orders"
tags = {{ kind = "list" }}
[scenario.step.metrics]
orders  = {{ counter = 1 }}
numbers = {{ counter = "json:$.id" }}
lost    = {{ counter = "json:$.nothing" }}
named   = {{ rate = "json:$.items[0].name", equals = "a b" }}
cookies = {{ rate = "header:set-cookie" }}
later   = {{ rate = 'regex:id": (\d+)', min = 3 }}
[[scenario.step]]
get     = "/broken"
metrics = {{ named = {{ rate = "status", max = 399 }} }}
[thresholds]
"named{{team:shop,kind:list}}" = "rate>0.9"
{}"#,
        once(2)
    );
    let (outcome, notes) = run(&scenario).await;
    assert_eq!(notes.len(), 4);
    // The shop numbers its requests, so that the orders have the numbers 1 and 3.
    let expected =
        [("cookies", 0, 2), ("later", 1, 2), ("named", 2, 4), ("numbers", 4, 2), ("orders", 2, 2)];
    let expected = expected.map(|(name, hits, of)| (name.to_owned(), MetricSums { hits, of }));
    assert_eq!(outcome.metrics, BTreeMap::from(expected));
    assert_eq!(outcome.counts.failed, 2);
}

#[test]
fn faults_of_metrics_and_tags_are_told() {
    let told = |step: &str| {
        let said =
            faults(&format!("[[scenario]]\n[[scenario.step]]\nget = \"/\"\n{step}\n{}", once(1)));
        let flat: Vec<&str> = said.split_whitespace().collect();
        flat.join(" ").replace("│ ", "")
    };
    let cases = [
        ("metrics = { memory = { rate = \"status\" } }", "a metric can't be called `memory`"),
        ("metrics = { a = { rate = \"status\", counter = 1 } }", "either `rate` or `counter`"),
        ("metrics = { a = { trend = \"status\" } }", "either `rate` or `counter`"),
        ("metrics = { a = { rate = \"xml:/x\" } }", "captures nothing"),
        ("metrics = { a = { rate = 1 } }", "can't be fed by a whole number"),
        ("metrics = { a = { counter = -1 } }", "can't be fed by a whole number"),
        ("metrics = { a = { counter = 1, min = 2 } }", "always the same"),
        ("metrics = { a = { rate = \"status\", bigger = 2 } }", "unknown key `bigger`"),
        ("tags = { status = \"x\" }", "a tag can't be called `status`"),
        ("tags = { team = [\"x\"] }", "`team` in `tags` is a list"),
        ("tags = { team = \"a,b\" }", "can't be `a,b`"),
        (
            "tags = { team = \"shop\" }\n[thresholds]\n\"http_reqs{team:ship}\" = \"count>1\"",
            "no step carries the tag `team:ship`",
        ),
        (
            "metrics = { a = { counter = 1 } }\n[[scenario.step]]\nget = \"/b\"\n\
             metrics = { a = { rate = \"status\" } }",
            "a rate in one step and a counter in another",
        ),
    ];
    for (step, wanted) in cases {
        let said = told(step);
        assert!(said.contains(wanted), "{step}:\n{said}");
    }
}

#[test]
fn faults_of_steps_name_the_place_and_the_way_out() {
    let told =
        |step: &str| faults(&format!("[[scenario]]\n[[scenario.step]]\n{step}\n{}", once(1)));
    let cases = [
        ("get = \"/{{ idd }}\"", "nothing gives `idd` a value here"),
        ("get = \"/{{ 1 + }}\"", "can't be read"),
        ("get = \"/{% if %}\"", "can't be read"),
        ("get = \"/\"\ncapture = { \"a b\" = \"status\" }", "can't be called `a b`"),
        ("get = \"/\"\ncapture = { a = \"xml:/x\" }", "captures nothing"),
        ("get = \"/\"\ncapture = { a = \"json:id[\" }", "is no JSONPath"),
        ("get = \"/\"\ncapture = { a = \"regex:(\" }", "is no regular expression"),
        ("get = \"/\"\nexpect = { status = 99 }", "is no HTTP status"),
        ("get = \"/\"\nexpect = { json = { \"$.a\" = { bigger = 1 } } }", "`bigger` is no test"),
        ("get = \"/{{ env('HIGHWATER_NEVER_SET') }}\"", "is not set"),
        ("get = \"/{{ file('nowhere.txt') }}\"", "failed to read the file `nowhere.txt`"),
        ("get = \"/{{ 1 / 0 }}\"", "fails each time"),
        ("get = \"{{ 'orders' }}\"", "the template `{{ 'orders' }}` gives no path"),
    ];
    for (step, wanted) in cases {
        let said = told(step);
        let flat: Vec<&str> = said.split_whitespace().collect();
        assert!(flat.join(" ").replace("│ ", "").contains(wanted), "{step}:\n{said}");
    }
    let feed = faults(&format!(
        "[[scenario]]\nfeed = \"none.csv\"\n[[scenario.step]]\nget = \"/\"\n{}",
        once(1)
    ));
    assert!(feed.contains("failed to read the feed `none.csv`"), "{feed}");
    // A captured value is known to later steps only.
    let early = told("get = \"/{{ v }}\"\ncapture = { v = \"status\" }");
    assert!(early.contains("nothing gives `v` a value"), "{early}");
}

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
