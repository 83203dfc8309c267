//! Waiting until a target is ready: by HTTP, by TCP, or by a line of its output.
//!
//! The check runs on a thread of its own, inside the target's network namespace where there is
//! one, so that what is measured is the target's readiness and nothing between.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use nix::sched::{CloneFlags, setns};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::Error;
use super::output::Output;
use crate::clock::{Clock, Moment};
use crate::plan::ReadyCheck;

/// Time between two tries.
const EVERY: Duration = Duration::from_millis(2);

/// How long one try may take.
const TRY: Duration = Duration::from_secs(1);

/// Where and how readiness is checked.
pub(super) struct Probe {
    pub(super) check: ReadyCheck,
    pub(super) address: SocketAddr,
    pub(super) netns: Option<OwnedFd>,
    /// Whether a proxy may stand between, which accepts connections for a target that does not.
    pub(super) proxied: bool,
    /// What it has printed so far, for a check that looks at that.
    pub(super) output: Option<Output>,
    pub(super) clock: Clock,
}

/// A check by HTTP or TCP inside a network namespace.
#[derive(Debug)]
pub struct ReadyProbe {
    /// The namespace.
    pub netns: OwnedFd,
    /// The address inside.
    pub address: SocketAddr,
    /// The path and the wanted status of a GET; none: a connection is enough.
    pub get: Option<(String, u16)>,
}

/// Waits until a target is ready. Gives the moment at which it proved so.
///
/// # Errors
/// What the last try found, when it isn't in time.
pub async fn await_ready(
    probe: ReadyProbe,
    within: Duration,
    clock: &Clock,
) -> Result<Moment, String> {
    let check = match probe.get {
        Some((path, status)) => ReadyCheck::Http { path, status },
        None => ReadyCheck::Tcp,
    };
    let mut probing = Probing::start(Probe {
        check,
        address: probe.address,
        netns: Some(probe.netns),
        proxied: false,
        output: None,
        clock: clock.clone(),
    })
    .map_err(|error| super::explain(&error))?;
    let waited = tokio::time::timeout(within, probing.ready()).await;
    waited.map_err(|_| probing.last_try())
}

/// What the last try found, for the error when time is up.
type LastTry = Arc<std::sync::Mutex<String>>;

/// A probe at work; dropping it ends it.
pub(super) struct Probing {
    done: oneshot::Receiver<Moment>,
    stop: Arc<AtomicBool>,
    last: LastTry,
}

impl Drop for Probing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Probing {
    /// Starts probing.
    pub(super) fn start(probe: Probe) -> Result<Self, Error> {
        let (sender, done) = oneshot::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let last = LastTry::default();
        let (stopped, noted) = (Arc::clone(&stop), Arc::clone(&last));
        std::thread::Builder::new()
            .name("ready".to_owned())
            .spawn(move || {
                if let Some(at) = probe_until_ready(&probe, &stopped, &noted) {
                    let _ = sender.send(at);
                }
            })
            .map_err(|source| Error::Thread { action: "start the readiness check", source })?;
        Ok(Self { done, stop, last })
    }

    /// Waits until the target is ready.
    pub(super) async fn ready(&mut self) -> Moment {
        match (&mut self.done).await {
            Ok(at) => at,
            // The thread gave up: the time limit will end the wait.
            Err(_) => std::future::pending().await,
        }
    }

    /// What the last try found.
    pub(super) fn last_try(&self) -> String {
        self.last.lock().map(|text| text.clone()).unwrap_or_default()
    }
}

fn probe_until_ready(probe: &Probe, stop: &AtomicBool, last: &LastTry) -> Option<Moment> {
    let note = |text: String| {
        if let Ok(mut last) = last.lock() {
            *last = text;
        }
    };
    if let Some(netns) = &probe.netns
        && let Err(error) = setns(netns.as_fd(), CloneFlags::CLONE_NEWNET)
    {
        note(format!("its network namespace can't be entered: {error}"));
        return None;
    }
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    tokio.block_on(async {
        while !stop.load(Ordering::Acquire) {
            match tokio::time::timeout(TRY, once(probe)).await {
                Ok(Ok(at)) => return Some(at),
                Ok(Err(text)) => note(text),
                Err(_) => note("no answer within a second".to_owned()),
            }
            tokio::time::sleep(EVERY).await;
        }
        None
    })
}

/// One try: when the target proved ready, or what came instead.
async fn once(probe: &Probe) -> Result<Moment, String> {
    match &probe.check {
        ReadyCheck::Log { pattern } => probe
            .output
            .as_ref()
            .and_then(Output::matched)
            .ok_or_else(|| format!("no line of its output matches `{pattern}`")),
        ReadyCheck::Tcp => {
            let stream = connect(probe.address).await?;
            if probe.proxied {
                stays_open(&stream).await?;
            }
            Ok(probe.clock.now())
        }
        ReadyCheck::Http { path, status } => {
            let got = get(probe.address, path).await?;
            if got == *status {
                Ok(probe.clock.now())
            } else {
                Err(format!("GET {path} answered {got}, not {status}"))
            }
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address)
        .await
        .map_err(|error| format!("connecting to port {}: {error}", address.port()))
}

/// A proxy closes the connection at once where the target does not listen.
async fn stays_open(stream: &TcpStream) -> Result<(), String> {
    let closed = async {
        let _ = stream.readable().await;
        let mut byte = [0];
        matches!(stream.try_read(&mut byte), Ok(0) | Err(_))
    };
    match tokio::time::timeout(Duration::from_millis(50), closed).await {
        Ok(true) => Err("the published port accepts, the target does not".to_owned()),
        _ => Ok(()),
    }
}

async fn get(address: SocketAddr, path: &str) -> Result<u16, String> {
    let stream = connect(address).await?;
    let failed = |error: hyper::Error| format!("GET {path}: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = hyper::Request::get(path)
        .header("host", format!("127.0.0.1:{}", address.port()))
        .header("user-agent", "highwater")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    tokio::select! {
        answer = sender.send_request(request) => Ok(answer.map_err(failed)?.status().as_u16()),
        ended = connection => Err(match ended {
            Err(error) => failed(error),
            Ok(()) => format!("GET {path}: the connection was closed"),
        }),
    }
}
