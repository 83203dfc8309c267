//! Following what runs until it ends.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::super::docker::{Engine, News};
use super::super::oom_notice::OomNotice;
use super::process::start_time;
use super::{Attached, Identity, inode_of};
use crate::clock::Clock;
use crate::event::{Event, Evidence, Exit, LifeId, OomKill, What};
use crate::plan::Budget;

/// Events of one target that may wait.
const EVENTS: usize = Budget::TARGET_NEWS;

/// How often it is looked whether a target is still there.
const LOOK: Duration = Duration::from_millis(50);

/// After an end was seen, how long the engine may still tell of it, and of a kill.
const LAST_WORDS: Duration = Duration::from_millis(400);

/// A target that is followed; dropping it ends that.
#[derive(Debug)]
pub struct Following {
    events: Option<Receiver<Event>>,
    task: JoinHandle<()>,
    _notice: Option<OomNotice>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Following {
    pub(super) fn start(
        attached: &Attached,
        engine: Option<&Engine>,
        life: LifeId,
        clock: &Clock,
    ) -> Self {
        let (sender, events) = channel(EVENTS);
        let notice = OomNotice::listen(life, &attached.place.leaf, clock, sender.clone());
        let container = attached.id.clone().zip(engine.cloned());
        let follower = Follower {
            life,
            clock: clock.clone(),
            events: sender,
            leaf: attached.place.leaf.clone(),
            inode: attached.inode,
            identity: attached.identity,
        };
        let task = tokio::spawn(async move {
            match container {
                Some((id, engine)) => follower.container(&id, &engine).await,
                None => follower.until_gone().await,
            }
        });
        Self { events: Some(events), task, _notice: notice }
    }

    /// What is told of it, once: kills, and its end.
    pub const fn take_events(&mut self) -> Option<Receiver<Event>> {
        self.events.take()
    }
}

struct Follower {
    life: LifeId,
    clock: Clock,
    events: Sender<Event>,
    leaf: PathBuf,
    inode: u64,
    identity: Identity,
}

impl Follower {
    /// Whether the target lives in the cgroup that is watched.
    fn is_there(&self) -> bool {
        let lives = match self.identity {
            Identity::Pid { pid, started } => {
                start_time(pid) == Some(started) && is_in(pid, &self.leaf)
            }
            Identity::Container { .. } | Identity::Cgroup => true,
        };
        lives && inode_of(&self.leaf) == Some(self.inode)
    }

    async fn until_gone(self) {
        let mut look = looking();
        while self.is_there() {
            look.tick().await;
        }
        self.ended(None).await;
    }

    /// Listens to the engine, and looks for the cgroup: an engine that is restarted tells nothing.
    async fn container(self, id: &str, engine: &Engine) {
        let mut news: BoxStream<'static, News> = engine.news(id).boxed();
        let mut listening = true;
        let mut look = looking();
        let mut last_words: Option<Instant> = None;
        let mut code = None;
        let mut at = None;
        loop {
            let over = async {
                match last_words {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                piece = news.next(), if listening => match piece {
                    Some(News::Oom) => self.killed().await,
                    Some(News::Died(exit)) => {
                        code = code.or(exit);
                        at.get_or_insert(self.clock.now());
                        last_words.get_or_insert(Instant::now() + LAST_WORDS);
                    }
                    // It runs again: nothing more is to be said of the life before.
                    Some(News::Started) if last_words.is_some() => break,
                    Some(News::Started | News::Other) => {}
                    None => listening = false,
                },
                _ = look.tick(), if last_words.is_none() => {
                    if !self.is_there() {
                        at.get_or_insert(self.clock.now());
                        last_words = Some(Instant::now() + LAST_WORDS);
                    }
                }
                () = over => break,
            }
        }
        let seen = engine.look_for(id).await.ok().flatten();
        let before = self.identity == (Identity::Container { oom_killed: true });
        // A container that runs again was set back to "not killed".
        if let Some(seen) = seen {
            if seen.oom_killed && !before {
                self.killed().await;
            }
            code = code.or(seen.exit_code);
        }
        let at = at.unwrap_or_else(|| self.clock.now());
        let exit = Exit { code, asked: false };
        self.send(Event { at, what: What::Ended { life: self.life, exit, lifetime_peak: None } })
            .await;
    }

    async fn killed(&self) {
        let kill = OomKill { life: self.life, evidence: Evidence::Docker, count: None };
        self.send(Event { at: self.clock.now(), what: What::OomKill(kill) }).await;
    }

    async fn ended(&self, code: Option<i64>) {
        let exit = Exit { code, asked: false };
        let what = What::Ended { life: self.life, exit, lifetime_peak: None };
        self.send(Event { at: self.clock.now(), what }).await;
    }

    async fn send(&self, event: Event) {
        // An error means that nobody listens any more.
        let _ = self.events.send(event).await;
    }
}

fn looking() -> tokio::time::Interval {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look
}

/// Whether a process is in a cgroup; a process that can't be looked at counts as there.
fn is_in(pid: i32, leaf: &std::path::Path) -> bool {
    let procs = std::fs::read_to_string(leaf.join("cgroup.procs")).unwrap_or_default();
    procs.lines().any(|line| line.parse() == Ok(pid))
}

/// Hands on what a stream gives, as long as somebody takes it.
pub(super) async fn forward(stream: impl Stream<Item = String>, sender: Sender<String>) {
    let mut stream = std::pin::pin!(stream);
    while let Some(item) = stream.next().await {
        if sender.send(item).await.is_err() {
            return;
        }
    }
}
