//! A small shop that asks for logins, sets cookies, redirects and remembers what it was sent.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{COOKIE, LOCATION, SET_COOKIE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// A request as the shop saw it.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) line: String,
    pub(crate) cookie: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

pub(crate) type Notes = Arc<Mutex<Vec<Note>>>;

pub(crate) async fn shop() -> (SocketAddr, Notes) {
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

pub(crate) async fn answer(
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
