//! Bodies of every kind, compressed ones, slow ones.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};

use highwater::event::ErrorKind;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::runs::*;

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
