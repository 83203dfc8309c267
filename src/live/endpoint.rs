//! `/metrics` on 127.0.0.1: how a run stands, for a scraper.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Gauges;
use crate::clock::Anchor;
use crate::metrics::{self, prometheus_text};

/// Scrapers that are served at once; more wait.
const SCRAPERS_MAX: usize = 16;
/// How long one may keep its place.
const WITHIN: Duration = Duration::from_secs(30);

/// What scrapers see.
#[derive(Clone)]
pub struct Scraped {
    /// How the run stands.
    pub gauges: Arc<Mutex<Gauges>>,
    /// When it started.
    pub anchor: Anchor,
}

/// Serves `/metrics` until it is dropped.
pub async fn serve(listener: TcpListener, scraped: Scraped) {
    let places = Arc::new(Semaphore::new(SCRAPERS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("nobody closes it");
        let Ok((stream, _)) = listener.accept().await else {
            // Such as no descriptor left: others may be closed by then.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let scraped = scraped.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let answer = answer(&request, &scraped);
                async move { Ok::<_, Infallible>(answer) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(WITHIN)
                .serve_connection(TokioIo::new(stream), answer);
            // Who breaks off has what it wanted.
            let _ = tokio::time::timeout(WITHIN, served).await;
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, scraped: &Scraped) -> Response<Full<Bytes>> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, text) = match request.uri().path() {
        "/metrics" if is_read => {
            let gauges = scraped.gauges.lock().expect("counting never panics");
            (StatusCode::OK, prometheus_text(&gauges.families(scraped.anchor)))
        }
        "/metrics" => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
        _ => (StatusCode::NOT_FOUND, "metrics are at /metrics\n".to_owned()),
    };
    let mut answer = Response::builder().status(status).header(CONTENT_TYPE, metrics::CONTENT_TYPE);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        answer = answer.header(ALLOW, "GET, HEAD");
    }
    answer.body(Full::new(text.into())).expect("the headers are fixed")
}
