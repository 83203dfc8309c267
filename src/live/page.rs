//! A page of a run in progress, for a browser on this machine.
//!
//! It is served on 127.0.0.1 below a path that nobody can guess, to requests that name this very
//! host (a site that lets its name lead here is refused), and only read. A frame holds the report
//! itself; the page around it asks now and then whether there is a newer one.
//!
//! The report is made on a thread of the lowest priority, one at a time, when somebody asks for
//! it, and not again before it has been of use for a while: looking at a run must not change it.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::plan::Budget;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Mutex, Semaphore, oneshot};

/// Connections that are served at once; more wait.
const CONNECTIONS_MAX: usize = Budget::PAGE_CONNECTIONS;
/// How long one may keep its place.
const WITHIN: Duration = Duration::from_secs(60);
/// A report is of use for so long at least, and for so many times as long as it took to make.
const KEPT: Duration = Duration::from_secs(3);
const KEPT_TIMES: u32 = 10;
/// The nicest that a thread can be.
const NICE: i32 = 19;

const PAGE: &str = include_str!("page.html");

/// A report as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveReport {
    /// The whole document, which needs nothing else.
    pub html: String,
    /// Whether the run goes on, so that a newer one will come.
    pub running: bool,
}

/// Makes the report, or says why there is none yet.
pub type MakeReport = Box<dyn FnMut() -> Result<LiveReport, String> + Send>;

/// A page that is served until this is dropped.
pub struct LivePage {
    url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LivePage {
    /// Serves the page on this port of 127.0.0.1; 0 is any that is free.
    ///
    /// # Errors
    /// When the port can't be had, or no thread.
    pub fn start(port: u16, make: MakeReport) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let token = format!("{:032x}", rand::random::<u128>());
        let url = format!("http://{address}/{token}/");
        let served = Arc::new(Served { address, token, report: Mutex::new(Kept::new(make)) });
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("page".to_owned()).spawn(move || {
            // Threads made by this one are as nice.
            let this_thread = rustix::thread::gettid();
            let _ = rustix::process::setpriority_process(Some(this_thread), NICE);
            let tokio = tokio::runtime::Builder::new_current_thread()
                .max_blocking_threads(1)
                .enable_all()
                .build();
            let Ok(tokio) = tokio else { return };
            tokio.block_on(async {
                tokio::select! {
                    () = accept(listener, served) => {}
                    _ = stopped => {}
                }
            });
            // A report that is being made is for nobody any more.
            tokio.shutdown_background();
        })?;
        Ok(Self { url, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it is, with the token.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for LivePage {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Served {
    address: SocketAddr,
    token: String,
    report: Mutex<Kept>,
}

/// The last report, and when it will do no more.
struct Kept {
    make: Option<MakeReport>,
    last: Result<LiveReport, String>,
    version: u64,
    until: Option<Instant>,
}

impl Kept {
    fn new(make: MakeReport) -> Self {
        Self { make: Some(make), last: Err("nothing yet".to_owned()), version: 0, until: None }
    }

    /// Makes a new report where the last one is too old.
    async fn renew(&mut self) {
        let final_one = self.last.as_ref().is_ok_and(|report| !report.running);
        if final_one || self.until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        let Some(mut make) = self.make.take() else { return };
        let began = Instant::now();
        let made = tokio::task::spawn_blocking(move || (make(), make)).await;
        let Ok((report, make)) = made else {
            self.last = Err("the report could not be made".to_owned());
            return;
        };
        self.make = Some(make);
        if self.last != report {
            self.last = report;
            self.version += 1;
        }
        self.until = Some(Instant::now() + KEPT.max(began.elapsed() * KEPT_TIMES));
    }
}

async fn accept(listener: TcpListener, served: Arc<Served>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("nobody closes it");
        let Ok((stream, _)) = listener.accept().await else {
            // Such as no descriptor left: others may be closed by then.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let served = Arc::clone(&served);
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let served = Arc::clone(&served);
                async move { Ok::<_, Infallible>(answer(&request, &served).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(WITHIN)
                .serve_connection(TokioIo::new(stream), answer);
            // Who breaks off has what it wanted.
            let _ = tokio::time::timeout(WITHIN, connection).await;
            drop(place);
        });
    }
}

async fn answer(request: &Request<Incoming>, served: &Served) -> Response<Full<Bytes>> {
    if !is_this_host(request, served.address) {
        return plain(StatusCode::FORBIDDEN, "this host goes by 127.0.0.1 only\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "this is only to be read\n");
        refused.headers_mut().insert(ALLOW, "GET, HEAD".parse().expect("plain text"));
        return refused;
    }
    let path = request.uri().path().trim_start_matches('/');
    let (token, rest) = path.split_once('/').unwrap_or((path, ""));
    if !is_same(token, &served.token) {
        return plain(StatusCode::NOT_FOUND, "the whole address was printed at the start\n");
    }
    match rest {
        "" => page(),
        "state" => state(served).await,
        "report.html" => report(served).await,
        _ => plain(StatusCode::NOT_FOUND, "there is no such page\n"),
    }
}

/// A site whose name leads to this machine would send that name.
fn is_this_host(request: &Request<Incoming>, address: SocketAddr) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let names = [address.to_string(), format!("localhost:{}", address.port())];
    names.iter().any(|name| host.as_bytes() == name.as_bytes())
}

/// Compares without telling by its time how much of it is right.
fn is_same(given: &str, wanted: &str) -> bool {
    given.len() == wanted.len()
        && given.bytes().zip(wanted.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

fn page() -> Response<Full<Bytes>> {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                  frame-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                  frame-ancestors 'none'";
    html(PAGE, policy, "DENY")
}

async fn state(served: &Served) -> Response<Full<Bytes>> {
    let mut kept = served.report.lock().await;
    kept.renew().await;
    let (running, why) = match &kept.last {
        Ok(report) => (report.running, None),
        Err(why) => (true, Some(why)),
    };
    let version = kept.version;
    let state = serde_json::json!({ "version": version, "running": running, "why": why });
    let mut answer = plain(StatusCode::OK, &state.to_string());
    answer.headers_mut().insert(CONTENT_TYPE, "application/json".parse().expect("plain text"));
    answer
}

async fn report(served: &Served) -> Response<Full<Bytes>> {
    let mut kept = served.report.lock().await;
    kept.renew().await;
    // The report brings its own script, and needs nothing from anywhere.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                  img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";
    match &kept.last {
        Ok(report) => html(&report.html, policy, "SAMEORIGIN"),
        Err(why) => {
            let mut text =
                "<!doctype html><meta charset=utf-8><title>Not yet</title><p>".to_owned();
            for c in why.chars() {
                match c {
                    '<' | '>' | '&' => {
                        let _ = write!(text, "&#{};", u32::from(c));
                    }
                    c => text.push(c),
                }
            }
            html(&text, policy, "SAMEORIGIN")
        }
    }
}

fn html(text: &str, policy: &'static str, frames: &'static str) -> Response<Full<Bytes>> {
    let mut answer = plain(StatusCode::OK, text);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, "text/html; charset=utf-8".parse().expect("plain text"));
    headers.insert(CONTENT_SECURITY_POLICY, policy.parse().expect("plain text"));
    headers.insert(X_FRAME_OPTIONS, frames.parse().expect("plain text"));
    answer
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(CACHE_CONTROL, "no-store")
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(REFERRER_POLICY, "no-referrer")
        .body(Full::new(Bytes::from(text.to_owned())))
        .expect("the headers are fixed")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn get(address: &str, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn ask(url: &str, method: &str, path: &str, host: &str) -> String {
        let address = url.trim_start_matches("http://").split('/').next().unwrap();
        let host = host.replace("ADDRESS", address);
        let request = format!("{method} {path} HTTP/1.1\r\n{host}connection: close\r\n\r\n");
        get(address, &request)
    }

    #[test]
    fn only_who_knows_the_token_and_the_host_may_read() {
        let make: MakeReport =
            Box::new(|| Ok(LiveReport { html: "<p>all of it".to_owned(), running: true }));
        let page = LivePage::start(0, make).unwrap();
        let url = page.url().to_owned();
        let token = url.trim_end_matches('/').rsplit('/').next().unwrap().to_owned();
        let own = "host: ADDRESS\r\n";
        let answer = |method: &str, path: &str, host: &str| ask(&url, method, path, host);
        let root = answer("GET", &format!("/{token}/"), own);
        assert!(root.starts_with("HTTP/1.1 200") && root.contains("iframe"), "{root}");
        let report = answer("GET", &format!("/{token}/report.html"), own);
        assert!(report.contains("<p>all of it"), "{report}");
        assert!(report.contains("default-src 'none'"), "{report}");
        let state = answer("GET", &format!("/{token}/state"), own);
        assert!(state.contains("\"running\":true"), "{state}");
        let wrong = "0".repeat(token.len());
        for (method, path, host, status) in [
            ("GET", format!("/{token}/"), "host: evil.example\r\n", "403"),
            ("GET", format!("/{token}/"), "host: ADDRESS\r\nhost: ADDRESS\r\n", "403"),
            ("GET", format!("/{token}/"), "", "40"),
            ("POST", format!("/{token}/state"), own, "405"),
            ("GET", format!("/{wrong}/report.html"), own, "404"),
            ("GET", "/".to_owned(), own, "404"),
            ("GET", format!("/{token}/../../etc/passwd"), own, "404"),
        ] {
            let answer = answer(method, &path, host);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{method} {path}: {answer}");
            assert!(!answer.contains("all of it"), "{answer}");
        }
        let port = url.split([':', '/']).nth(4).unwrap().parse().unwrap();
        let again = LivePage::start(port, Box::new(|| Err(String::new())));
        assert!(again.is_err(), "a port can't be had twice");
        drop(page);
        let address = url.trim_start_matches("http://").split('/').next().unwrap();
        assert!(TcpStream::connect(address).is_err(), "it ends with its owner");
    }

    #[test]
    fn many_readers_cost_one_report() {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let make: MakeReport = Box::new(|| {
            MADE.fetch_add(1, Ordering::SeqCst);
            Err("no <b>recording".to_owned())
        });
        let page = LivePage::start(0, make).unwrap();
        let (url, path) = (page.url(), page.url().splitn(4, '/').nth(3).unwrap());
        let answers: Vec<String> = std::thread::scope(|scope| {
            let ask = || ask(url, "GET", &format!("/{path}report.html"), "host: ADDRESS\r\n");
            let all: Vec<_> = (0..40).map(|_| scope.spawn(ask)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(answers.iter().all(|answer| answer.contains("no &#60;b&#62;recording")));
        assert_eq!(MADE.load(Ordering::SeqCst), 1);
    }
}
