//! Answers of any bytes, for the fuzz targets.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use httparse::Header;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::load::incoming::{Incoming, Sink};
use crate::load::reply::{Answer, Kept, Reading};
use crate::load::session::Session;
use crate::load::socket::Wire;
use crate::plan::{Check, CustomKind, CustomMetric, Extract, Gives, Reply, Test, Wanted};

#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    heads: Vec<(u16, Vec<(String, Vec<u8>)>)>,
    body: Vec<u8>,
}

impl Sink for Seen {
    fn head(&mut self, status: u16, headers: &[Header<'_>]) {
        let rows = headers.iter().map(|row| (row.name.to_owned(), row.value.to_vec()));
        self.heads.push((status, rows.collect()));
    }

    fn body(&mut self, bytes: &[u8]) {
        self.body.extend_from_slice(bytes);
    }
}

/// How an answer ends: whole or not, and whether its connection can be used again; none where it is
/// malformed.
type Ending = Option<(bool, bool, bool)>;

fn fed<'a>(pieces: impl Iterator<Item = &'a [u8]>, flags: u8) -> (Seen, Ending) {
    let (mut seen, mut incoming) = (Seen::default(), Incoming::new(flags & 1 > 0, flags & 2 > 0));
    let mut whole = false;
    for piece in pieces {
        // After an answer's end nothing is fed, as in a connection.
        if whole {
            return (seen, Some((true, incoming.ends(), false)));
        }
        match incoming.feed(piece, &mut seen) {
            Ok(done) => whole = done,
            Err(_) => return (seen, None),
        }
    }
    let ending = (whole, incoming.ends(), incoming.persists());
    (seen, Some(ending))
}

/// An answer on the wire, after a byte of choices and one for how it is cut: however it is cut, the
/// same comes out.
pub fn reply(data: &[u8]) {
    let [flags, cut, bytes @ ..] = data else { return };
    let whole = fed(std::iter::once(bytes), *flags);
    let pieces = fed(bytes.chunks(usize::from(*cut).max(1)), *flags);
    assert!(whole.0.heads.len() <= 1, "one head");
    match (whole.1, pieces.1) {
        // Where it is malformed at some place, what came before may be seen or not.
        (None, None) => {}
        // A head in pieces is looked at again when a line of it ends.
        (None, Some((false, false, _))) if pieces.0.heads.is_empty() => {}
        (one, other) => {
            assert_eq!(one.map(|e| (e.0, e.1)), other.map(|e| (e.0, e.1)));
            assert_eq!(whole.0, pieces.0);
        }
    }
}

fn reading() -> Reading {
    let json = || Extract::Json("$..id".to_owned());
    let capture = |name: &str, from| crate::plan::Capture { name: name.to_owned(), from };
    let check = |what| Check { what, warn: false };
    let path = || "$.items[*].total".to_owned();
    let metric = |id, kind, tests, gives| CustomMetric { id, kind, gives, tests };
    let plan = Reply {
        captures: vec![
            capture("id", json()),
            capture("etag", Extract::Header("etag".to_owned())),
            capture("token", Extract::Regex("token=([a-z0-9]+)".to_owned())),
        ],
        checks: vec![
            check(Wanted::Json { path: path(), test: Test::AtLeast(1.0) }),
            check(Wanted::Json { path: path(), test: Test::Matches("^[0-9]+$".to_owned()) }),
            check(Wanted::Body(Test::Contains("ok".to_owned()))),
            check(Wanted::Header { name: "etag".to_owned(), test: Test::Exists(true) }),
        ],
        metrics: vec![
            metric(0, CustomKind::Counter, Vec::new(), Gives::Found(json())),
            metric(1, CustomKind::Rate, vec![Test::AtMost(5.0)], Gives::Found(json())),
        ],
        redirects: 0,
    };
    Reading::new(&plan).expect("its paths and expressions are some")
}

/// What is made of an answer: header lines up to an empty one, then a body.
pub fn answer(data: &[u8]) {
    let mut headers = HeaderMap::new();
    let mut rest = data;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&line[colon + 1..])) {
            headers.append(name, value);
        }
    }
    let host = HeaderValue::from_static("127.0.0.1:8080");
    let mut session = Session::default();
    session.take_cookies(&headers, &host, "/shop/orders");
    session.cookies(Some(&host), "/shop/orders/7");
    let mut body = Kept::new(&Rc::new(Wire::of(2)));
    body.push(rest);
    let answer = Answer { status: 200, headers, body: Some(body), body_bytes: rest.len() as u64 };
    let mut values = BTreeMap::new();
    let checked = reading().read(&answer, Duration::from_millis(1), &mut values);
    assert_eq!(checked.passed + checked.failed, 4, "each check counts once");
}
