//! A runtime whose targets follow a script: for tests of whole runs, on whatever clock those have.

use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::{oneshot, watch};

use super::{Built, Error, Kind, Program, Runtime, Target, TargetKind, Watched};
use crate::event::{Event, Evidence, Exit, GeneratorPath, LifeId, OomKill, ReleaseBuild, What};
use crate::plan::Budget;
use crate::units::Bytes;

/// How long a target takes to end once it was asked to.
const STOPS_WITHIN: Duration = Duration::from_millis(30);

/// What targets do.
pub(crate) trait Script: Debug + Send + Sync {
    /// What one life does; it starts now.
    fn begin(&self, life: LifeId) -> LifeScript;
    /// A life has ended.
    fn ended(&self, life: LifeId);
}

/// What one life does.
#[derive(Debug, Clone)]
pub(crate) struct LifeScript {
    /// Whether it can't be started at all.
    pub(crate) refused: bool,
    /// When it ends by itself, counted from its start.
    pub(crate) end: Option<End>,
    /// The peak that its outer cgroup keeps.
    pub(crate) lifetime_peak: Option<Bytes>,
}

/// How a life ends by itself.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) after: Duration,
    pub(crate) code: i64,
    /// Who tells of an OOM kill, and how long after it.
    pub(crate) kill_told: Vec<(Evidence, Duration)>,
    /// How long after its end that is told.
    pub(crate) told: Duration,
}

/// The runtime's side.
#[derive(Debug, Clone)]
pub(crate) struct Scripted {
    script: Arc<dyn Script>,
    standing: Arc<AtomicI64>,
}

impl Scripted {
    pub(crate) fn new(script: Arc<dyn Script>) -> Self {
        Self { script, standing: Arc::default() }
    }

    /// How many targets were prepared and not cleared away.
    pub(crate) fn standing(&self) -> i64 {
        self.standing.load(Ordering::SeqCst)
    }

    /// The runtime of a run.
    pub(crate) fn runtime(&self, run_id: &str, budget: Budget) -> Runtime {
        let kind = Kind::Scripted(self.clone());
        Runtime { kind, notes: Vec::new(), run_id: run_id.to_owned(), budget, host: None }
    }

    pub(super) fn prepare(&self, life: LifeId) -> Ready {
        self.standing.fetch_add(1, Ordering::SeqCst);
        Ready { life, scripted: self.clone() }
    }
}

impl Built {
    /// What is never run.
    pub(crate) fn scripted(output_dir: &Path) -> Self {
        Self {
            label: "scripted".to_owned(),
            release: ReleaseBuild::Yes,
            evidence: "nothing is run".to_owned(),
            program: Program::Image("scripted".to_owned()),
            output_dir: output_dir.to_owned(),
        }
    }
}

/// What was prepared; cleared away when it is dropped.
#[derive(Debug)]
pub(super) struct Ready {
    life: LifeId,
    scripted: Scripted,
}

impl Drop for Ready {
    fn drop(&mut self) {
        self.scripted.standing.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What runs.
#[derive(Debug)]
pub(super) struct Running {
    ready: Ready,
    stop: Option<oneshot::Sender<()>>,
    lifetime_peak: Option<Bytes>,
}

impl Ready {
    pub(super) async fn start(self, watched: Watched) -> Result<Target, Error> {
        tokio::time::sleep(Duration::from_millis(40)).await;
        let script = self.scripted.script.begin(self.life);
        if script.refused {
            return Err(Error::EndedEarly { code: "127".to_owned(), log: String::new() });
        }
        let Watched { life, output, clock, .. } = watched;
        let (events, receiver) = channel(64);
        let _ = events.try_send(Event { at: clock.now(), what: What::Started { life } });
        let (ended, has_ended) = watch::channel(None);
        let (stop, asked) = oneshot::channel();
        let (teller, scripts) = (events.clone(), Arc::clone(&self.scripted.script));
        let lifetime_peak = script.lifetime_peak;
        tokio::spawn(async move {
            let by_itself = async {
                match &script.end {
                    Some(end) => tokio::time::sleep(end.after).await,
                    None => std::future::pending().await,
                }
            };
            let code = tokio::select! {
                _ = asked => {
                    tokio::time::sleep(STOPS_WITHIN).await;
                    143
                }
                () = by_itself => script.end.as_ref().map_or(0, |end| end.code),
            };
            let by_itself = script.end.filter(|_| code != 143);
            scripts.ended(life);
            let at = clock.now();
            if let Some(end) = &by_itself {
                tell_kill(life, end, &clock, &teller);
                tokio::time::sleep(end.told).await;
            }
            let exit = Exit { code: Some(code), asked: false };
            ended.send_replace(Some(exit));
            let what = What::Ended { life, exit, lifetime_peak: None };
            let _ = teller.send(Event { at, what }).await;
        });
        Ok(Target {
            life,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9)),
            pid: Some(1),
            netns: None,
            lost: false,
            path: GeneratorPath::Native,
            cgroup_dirs: Vec::new(),
            events: Some(receiver),
            ended: has_ended,
            output,
            inner: TargetKind::Scripted(Running { ready: self, stop: Some(stop), lifetime_peak }),
        })
    }
}

/// Lets each source tell of a kill in its time.
fn tell_kill(life: LifeId, end: &End, clock: &crate::clock::Clock, teller: &Sender<Event>) {
    for (evidence, after) in end.kill_told.clone() {
        let (clock, teller) = (clock.clone(), teller.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let count = (evidence == Evidence::Events).then_some(1);
            let what = What::OomKill(OomKill { life, evidence, count });
            let _ = teller.send(Event { at: clock.now(), what }).await;
        });
    }
}

impl Running {
    pub(super) async fn stop(&mut self, ended: &mut watch::Receiver<Option<Exit>>) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = ended.wait_for(Option::is_some).await;
    }

    pub(super) fn remove(self) -> Option<Bytes> {
        let Self { ready, lifetime_peak, .. } = self;
        drop(ready);
        lifetime_peak
    }
}
