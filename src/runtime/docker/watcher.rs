//! What the engine tells of a container that runs: its end, OOM kills, and what others do to it.
//!
//! The engine may go away in the meantime. That ends nothing as long as the container lives: it is
//! looked for again, and whatever was followed is followed on.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error as ApiError;
use bollard::models::{ContainerInspectResponse, ContainerState, EventMessage};
use bollard::query_parameters::{
    EventsOptionsBuilder, InspectContainerOptionsBuilder, LogsOptionsBuilder, WaitContainerOptions,
};
use futures_util::StreamExt;
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::output::{Channel, Output};
use super::{Engine, pid_of};
use crate::clock::{Clock, Moment};
use crate::event::{Event, Evidence, Exit, LifeId, OomKill, What};
use crate::units::{Bytes, Human};

/// How long news of a container that has ended is waited for.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);

/// How often an engine that is away is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// An engine that is away for less is not worth a word.
const UNNOTICED: Duration = Duration::from_millis(500);

/// Why a container ended that did not end by itself.
pub(super) type Blame = Arc<OnceLock<String>>;

/// The container that is watched, and where news of it go.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) engine: Engine,
    pub(super) id: String,
    pub(super) life: LifeId,
    pub(super) clock: Clock,
    pub(super) events: Sender<Event>,
    pub(super) blame: Blame,
    /// Whether the container has ended, as far as is known here.
    pub(super) over: Arc<AtomicBool>,
}

/// How a container ended.
#[derive(Debug)]
enum End {
    /// With this code, where it is known.
    Exited(Option<i64>),
    /// The engine knows it no more.
    Removed,
    /// While the engine was away.
    Unseen,
}

impl Subject {
    fn blame(&self, text: &str) {
        // The first one is nearest to the truth.
        let _ = self.blame.set(text.to_owned());
    }

    async fn tell(&self, at: Moment, what: What) {
        // An error means that nobody listens any more.
        let _ = self.events.send(Event { at, what }).await;
    }

    async fn note(&self, text: &str) {
        let at = self.clock.now();
        let text = format!("at {:.1} s {text}", at.as_secs_f64());
        self.tell(at, What::Note { text }).await;
    }

    async fn tell_of_kill(&self) {
        let kill = OomKill { life: self.life, evidence: Evidence::Docker, count: None };
        self.tell(self.clock.now(), What::OomKill(kill)).await;
    }

    async fn inspect(&self) -> Result<ContainerInspectResponse, ApiError> {
        let inspected = self.engine.api.inspect_container(&self.id, None);
        let inspected = tokio::time::timeout(LAST_WORDS, inspected).await;
        inspected.unwrap_or(Err(ApiError::RequestTimeoutError))
    }

    /// Follows what others do to the container, and OOM kills: they tell of killed children while
    /// the container lives on.
    pub(super) async fn follow_news(self) {
        let kinds = vec!["oom", "pause", "unpause", "update", "destroy"];
        let filters = HashMap::from([("container", vec![self.id.as_str()]), ("event", kinds)]);
        let mut paused = None;
        loop {
            let options = EventsOptionsBuilder::new().filters(&filters).build();
            let mut stream = std::pin::pin!(self.engine.api.events(Some(options)));
            while let Some(Ok(event)) = stream.next().await {
                self.take_news(&event, &mut paused).await;
            }
            // The engine is away.
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn take_news(&self, event: &EventMessage, paused: &mut Option<Moment>) {
        match event.action.as_deref() {
            Some("oom") => self.tell_of_kill().await,
            Some("pause") => {
                *paused = Some(self.clock.now());
                self.note("somebody paused the container (`docker pause`)").await;
            }
            Some("unpause") => {
                let length = paused.take().map(|began| self.clock.now().since(began));
                let length = length.map_or_else(String::new, |time| format!(" of {}", Human(time)));
                let text = format!(
                    "the container went on after a pause{length}: what failed meanwhile tells \
                     nothing of the service"
                );
                self.note(&text).await;
            }
            Some("update") => {
                let text = "somebody changed the container's limits (`docker update`): what follows \
                            was measured under others than the report says";
                self.note(text).await;
            }
            Some("destroy") => self.blame(REMOVED),
            _ => {}
        }
    }

    /// Follows what it prints. Of the second in which the engine went away, lines may come twice.
    pub(super) async fn follow_logs(self, output: Output) {
        let mut since = None;
        loop {
            let options = LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true);
            let options = since.map_or(options.clone(), |since| options.since(since)).build();
            let mut stream = std::pin::pin!(self.engine.api.logs(&self.id, Some(options)));
            while let Some(Ok(piece)) = stream.next().await {
                let (channel, message) = match piece {
                    LogOutput::StdErr { message } => (Channel::Err, message),
                    LogOutput::StdOut { message }
                    | LogOutput::StdIn { message }
                    | LogOutput::Console { message } => (Channel::Out, message),
                };
                output.write(channel, &message);
            }
            since = i32::try_from(jiff::Timestamp::now().as_second()).ok();
            tokio::time::sleep(LOOK_EVERY).await;
            if self.over.load(Ordering::Acquire) {
                return;
            }
        }
    }
}

const REMOVED: &str = "the container was removed by somebody else, as by `docker rm --force`";
const RESTARTED: &str = "the container ended and Docker has started it again, by a restart policy \
                         that somebody gave it or by `docker restart`";
const ENGINE_LOST: &str = "the container ended while Docker's engine was stopped or restarting: \
                           with `live-restore` in its daemon.json containers live on";

/// Waits for a container's end and tells of it.
pub(super) struct Watcher {
    pub(super) subject: Subject,
    /// Its first process, as the engine knows it.
    pub(super) pid: Option<i32>,
    /// Whether that is seen in this host's `/proc`.
    pub(super) seen_here: bool,
    pub(super) ended: watch::Sender<Option<Exit>>,
}

impl Watcher {
    pub(super) async fn run(self, logs: JoinHandle<()>) {
        let end = self.wait().await;
        let subject = &self.subject;
        let at = subject.clock.now();
        subject.over.store(true, Ordering::Release);
        let _ = tokio::time::timeout(LAST_WORDS, logs).await;
        let code = self.judge(end).await;
        let exit = Exit { code, asked: false };
        self.ended.send_replace(Some(exit));
        let what = What::Ended { life: subject.life, exit, lifetime_peak: None };
        subject.tell(at, what).await;
        self.tell_of_layer().await;
    }

    /// Its exit code; tells of a kill, and who is to blame where it did not end by itself.
    async fn judge(&self, end: End) -> Option<i64> {
        let subject = &self.subject;
        let inspected = subject.inspect().await;
        let state = match &inspected {
            Ok(inspected) => inspected.state.clone().unwrap_or_default(),
            Err(error) if is_missing(error) => {
                subject.blame(REMOVED);
                ContainerState::default()
            }
            Err(_) => {
                subject.blame(ENGINE_LOST);
                ContainerState::default()
            }
        };
        if state.oom_killed == Some(true) {
            subject.tell_of_kill().await;
        }
        if state.running == Some(true) || state.restarting == Some(true) {
            subject.blame(RESTARTED);
        }
        match end {
            End::Exited(code) => code.or(state.exit_code),
            End::Removed => {
                subject.blame(REMOVED);
                None
            }
            End::Unseen => {
                subject.blame(ENGINE_LOST);
                state.exit_code
            }
        }
    }

    async fn wait(&self) -> End {
        let subject = &self.subject;
        loop {
            let options = None::<WaitContainerOptions>;
            let mut wait = std::pin::pin!(subject.engine.api.wait_container(&subject.id, options));
            match wait.next().await {
                Some(Ok(answer)) => return End::Exited(Some(answer.status_code)),
                // Any exit code above 0 comes as an error.
                Some(Err(ApiError::DockerContainerWaitError { code, .. })) => {
                    return End::Exited(Some(code));
                }
                Some(Err(error)) if is_missing(&error) => return End::Removed,
                _ => {}
            }
            if let Some(end) = self.wait_for_engine().await {
                return end;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The engine went away: waits for it, or for the container's end. None where both are there.
    async fn wait_for_engine(&self) -> Option<End> {
        let subject = &self.subject;
        let (left, mut told) = (subject.clock.now(), false);
        let mut last_seen = left;
        loop {
            let inspected = subject.inspect().await;
            let (now, away) = (subject.clock.now(), subject.clock.now().since(left));
            match inspected {
                Ok(inspected) if pid_of(&inspected).is_some_and(|pid| Some(pid) == self.pid) => {
                    if told {
                        let text = format!(
                            "Docker's engine was back after {}: the container has lived on, and \
                             was sampled all the time",
                            Human(away)
                        );
                        subject.note(&text).await;
                    }
                    return None;
                }
                Ok(_) => return Some(End::Unseen),
                Err(error) if is_missing(&error) => return Some(End::Removed),
                Err(_) if self.lives() => last_seen = now,
                Err(_) if now.since(last_seen) > LAST_WORDS => return Some(End::Unseen),
                Err(_) => {}
            }
            if !told && away > UNNOTICED {
                told = true;
                subject.note("Docker's engine did not answer any more").await;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Whether the container lives, as far as can be seen without the engine.
    fn lives(&self) -> bool {
        let seen = |pid: i32| Path::new("/proc").join(pid.to_string()).exists();
        !self.seen_here || self.pid.is_some_and(seen)
    }

    /// How much the container has written to its own layer. The engine walks through the files for
    /// it, which a large layer makes too long to wait for.
    async fn tell_of_layer(&self) {
        let subject = &self.subject;
        let options = InspectContainerOptionsBuilder::new().size(true).build();
        let inspected = subject.engine.api.inspect_container(&subject.id, Some(options));
        let Ok(Ok(inspected)) = tokio::time::timeout(LAST_WORDS / 2, inspected).await else {
            return;
        };
        if let Some(bytes) = inspected.size_rw.and_then(|bytes| u64::try_from(bytes).ok()) {
            let what = What::Layer { life: subject.life, bytes: Bytes::new(bytes) };
            subject.tell(subject.clock.now(), what).await;
        }
    }
}

/// Whether the engine says that there is no such container.
const fn is_missing(error: &ApiError) -> bool {
    matches!(error, ApiError::DockerResponseServerError { status_code: 404, .. })
}
