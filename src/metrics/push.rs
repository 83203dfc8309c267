//! Sending metrics to a collector: where it was asked for, a few times at most, and within a bound
//! of time.

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

/// How long all attempts may take together.
const WITHIN: Duration = Duration::from_secs(10);
/// How often it is tried, and the pause after the first time; later ones are twice as long.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);
/// The most that is read of an answer.
const ANSWER_MAX: usize = 64 * 1024;

/// Where a collector takes OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector(Url);

/// Why metrics did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The address is none that metrics can be sent to.
    #[error("`{text}` is no collector: {why}")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The collector can't be reached, or broke off.
    #[error("failed to send metrics to `{url}`: {why}")]
    Transport {
        /// Where they were sent to.
        url: String,
        /// What happened.
        why: String,
    },
    /// The collector did not take them.
    #[error("failed to send metrics to `{url}`: it answered {status}")]
    Refused {
        /// Where they were sent to.
        url: String,
        /// The answer's status.
        status: u16,
    },
    /// It took too long.
    #[error("failed to send metrics to `{url}` within {} s", WITHIN.as_secs())]
    Late {
        /// Where they were sent to.
        url: String,
    },
}

impl FromStr for Collector {
    type Err = PushError;

    /// `http://127.0.0.1:4318`; without a path it is `/v1/metrics`.
    fn from_str(text: &str) -> Result<Self, PushError> {
        let wrong = |why| PushError::Address { text: text.to_owned(), why };
        let mut url =
            Url::parse(text).map_err(|_| wrong("write a URL such as http://127.0.0.1:4318"))?;
        if url.scheme() != "http" || !url.has_host() {
            return Err(wrong("only http:// is spoken, such as http://127.0.0.1:4318"));
        }
        if url.path() == "/" {
            url.set_path("/v1/metrics");
        }
        Ok(Self(url))
    }
}

/// How one attempt failed.
enum Failed {
    /// Another attempt may do better, after this time at the least.
    Again(PushError, Duration),
    /// None will.
    Finally(PushError),
}

/// Sends one message. Tries again where the collector can't be reached or says that it may.
///
/// # Errors
/// When the message did not arrive.
pub async fn push(collector: &Collector, message: &serde_json::Value) -> Result<(), PushError> {
    let url = &collector.0;
    let body = Bytes::from(message.to_string());
    let deadline = Instant::now() + WITHIN;
    let mut pause = PAUSE;
    let mut last = PushError::Late { url: url.to_string() };
    for _ in 0..ATTEMPTS {
        match timeout_at(deadline, attempt(url, body.clone())).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(Failed::Finally(error))) => return Err(error),
            Ok(Err(Failed::Again(error, asked))) => {
                last = error;
                let rest = pause.max(asked);
                if Instant::now() + rest >= deadline {
                    break;
                }
                sleep(rest).await;
                pause *= 2;
            }
            Err(_) => return Err(PushError::Late { url: url.to_string() }),
        }
    }
    Err(last)
}

async fn attempt(url: &Url, body: Bytes) -> Result<(), Failed> {
    let broken = |why: String| {
        let error = PushError::Transport { url: url.to_string(), why };
        Failed::Again(error, Duration::ZERO)
    };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let stream =
        TcpStream::connect((host, port)).await.map_err(|error| broken(error.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(error.to_string()))?;
    let driven = tokio::spawn(connection);
    let request = Request::post(&url[url::Position::BeforePath..url::Position::AfterQuery])
        .header(HOST, &url[url::Position::BeforeHost..url::Position::AfterPort])
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| broken(error.to_string()))?;
    let answer = sender.send_request(request).await;
    let done = match answer {
        Ok(answer) => {
            let (status, wait) = (answer.status(), retry_after(&answer));
            // What a collector has to say is not needed; that it is there to its end is.
            let _ = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
            judged(url, status, wait)
        }
        Err(error) => Err(broken(error.to_string())),
    };
    driven.abort();
    done
}

/// The statuses that the specification calls worth another attempt are these four.
fn judged(url: &Url, status: StatusCode, wait: Duration) -> Result<(), Failed> {
    let error = PushError::Refused { url: url.to_string(), status: status.as_u16() };
    match status.as_u16() {
        200..=299 => Ok(()),
        429 | 502 | 503 | 504 => Err(Failed::Again(error, wait)),
        _ => Err(Failed::Finally(error)),
    }
}

fn retry_after<T>(answer: &hyper::Response<T>) -> Duration {
    let header = answer.headers().get(RETRY_AFTER);
    let seconds = header.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    seconds.map_or(Duration::ZERO, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// A collector that gives each of these answers once; tells what it was sent.
    fn collector(
        answers: &'static [&'static str],
    ) -> (Collector, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let mut taken = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let (mut text, mut part) = (String::new(), [0; 4096]);
                while !text.ends_with('}') {
                    let read = stream.read(&mut part).unwrap();
                    text.push_str(std::str::from_utf8(&part[..read]).unwrap());
                }
                taken.push(text);
                write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 2\r\n\r\n{{}}").unwrap();
            }
            taken
        });
        (format!("http://{address}").parse().unwrap(), thread)
    }

    fn message() -> serde_json::Value {
        serde_json::json!({ "resourceMetrics": [] })
    }

    #[tokio::test]
    async fn a_collector_that_is_busy_is_asked_again() {
        let (to, thread) = collector(&["503 Busy", "429 Busy", "200 OK"]);
        assert_eq!(push(&to, &message()).await, Ok(()));
        let taken = thread.join().unwrap();
        assert_eq!(taken.len(), 3);
        assert!(taken[2].starts_with("POST /v1/metrics HTTP/1.1\r\n"), "{}", taken[2]);
        assert!(taken[2].contains("content-type: application/json\r\n"), "{}", taken[2]);
        assert!(taken[2].ends_with("\r\n\r\n{\"resourceMetrics\":[]}"), "{}", taken[2]);
    }

    #[tokio::test]
    async fn a_collector_that_refuses_or_is_not_there_ends_it() {
        let (to, thread) = collector(&["400 Bad"]);
        assert!(matches!(push(&to, &message()).await, Err(PushError::Refused { status: 400, .. })));
        assert_eq!(thread.join().unwrap().len(), 1);
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let to: Collector = format!("http://{gone}/otlp").parse().unwrap();
        assert!(matches!(push(&to, &message()).await, Err(PushError::Transport { .. })));
    }

    #[test]
    fn only_http_is_spoken() {
        for wrong in ["", "127.0.0.1:4318", "https://127.0.0.1:4318", "file:///tmp/x"] {
            assert!(wrong.parse::<Collector>().is_err(), "{wrong}");
        }
    }
}
