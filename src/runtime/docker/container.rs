//! One container: created, started, watched, stopped, removed.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptions, StopContainerOptionsBuilder,
};
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::oom_notice::OomNotice;
use super::super::{Built, Error, Program, Target, TargetKind, Watched};
use super::watcher::{Blame, LAST_WORDS, Subject, Watcher};
use super::{Docker, Reach, network_of, pid_of};
use crate::cgroup::{Hierarchies, Nest, Place, thaw};
use crate::event::{Event, GeneratorPath, What};
use crate::plan::{Budget, TargetPlan};
use crate::units::{Bytes, Limit};

/// The least memory limit that Docker accepts.
const LEAST_MEMORY: Bytes = Bytes::from_mib(6);

/// Events of one target that may wait.
const EVENTS: usize = Budget::TARGET_NEWS;

/// A container that was not started yet.
#[derive(Debug)]
pub(in super::super) struct Created {
    id: String,
    nest: Option<Nest>,
    port: u16,
    stop_within: Duration,
}

/// A container that was started.
#[derive(Debug)]
pub(in super::super) struct Running {
    created: Created,
    watcher: JoinHandle<()>,
    blame: Blame,
    /// The directories of its own cgroup, where they are ours to write to.
    dirs: Vec<PathBuf>,
    over: Arc<AtomicBool>,
    _news: AbortOnDrop,
    _notice: Option<OomNotice>,
}

#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Running {
    /// The container's id.
    pub(in super::super) fn id(&self) -> &str {
        &self.created.id
    }

    /// Why it ended, where it did not end by itself.
    pub(in super::super) fn blame(&self) -> Option<String> {
        self.blame.get().cloned()
    }

    pub(in super::super) fn into_created(self) -> Created {
        // Whoever follows its output has no reason to look for more.
        self.over.store(true, Ordering::Release);
        self.created
    }
}

impl Docker {
    /// Makes the container and, where we may, cgroups of our own around it.
    pub(in super::super) async fn create(
        &self,
        built: &Built,
        target: &TargetPlan,
        name: &str,
        limit: Limit,
        nest: Option<Nest>,
    ) -> Result<(Place, Created), Error> {
        let Program::Image(image) = &built.program else {
            unreachable!("this runtime builds images only");
        };
        if let Limit::Bytes(limit) = limit
            && limit < LEAST_MEMORY
        {
            return Err(Error::LimitTooLow { limit, least: LEAST_MEMORY });
        }
        let own = self.tree().map(|tree| tree.nest(name)).transpose()?;
        let around = own.as_ref().or(nest.as_ref());
        let body = self.body(image, target, limit, around);
        let container = format!("highwater-{}-{name}", self.run_id);
        let options = CreateContainerOptionsBuilder::new().name(&container).build();
        let response = self.engine.api.create_container(Some(options), body).await;
        let id = response.map_err(Error::docker(format!("create `{container}`")))?.id;
        let place = match (around, self.hierarchies()) {
            (Some(nest), Some(hierarchies)) => nest.place(hierarchies, &id),
            (None, Some(hierarchies)) => self.foreign_place(hierarchies, &id),
            (_, None) => Place::unknown(),
        };
        let stop_within = target.stop.within;
        Ok((place, Created { id, nest: own, port: target.port, stop_within }))
    }

    /// Where the engine itself puts a container, by its cgroup driver.
    fn foreign_place(&self, hierarchies: &Hierarchies, id: &str) -> Place {
        let group = match self.engine.cgroup_driver().as_deref() {
            Some("systemd") => format!("/system.slice/docker-{id}.scope"),
            _ => format!("/docker/{id}"),
        };
        Place {
            version: hierarchies.version(),
            lifetime: None,
            resets: Vec::new(),
            leaf: hierarchies.memory_dir(&group),
        }
    }

    /// Starts the container and everything that watches it.
    pub(in super::super) async fn start(
        &self,
        created: Created,
        watched: Watched,
    ) -> Result<Target, Error> {
        let (events, receiver) = channel(EVENTS);
        let subject = Subject {
            engine: self.engine.clone(),
            id: created.id.clone(),
            life: watched.life,
            clock: watched.clock.clone(),
            events: events.clone(),
            blame: Blame::default(),
            over: Arc::default(),
        };
        let news = AbortOnDrop(tokio::spawn(subject.clone().follow_news()));
        let started = self.engine.api.start_container(&created.id, None).await;
        let at = watched.clock.now();
        if let Err(source) = started {
            let id = created.id.clone();
            self.remove(created).await?;
            return Err(Error::not_started(&id, source));
        }
        let life = watched.life;
        let _ = events.try_send(Event { at, what: What::Started { life } });
        let notice = self.listen_for_oom(&watched, &events);
        let inspected = self.inspect(&created.id).await?;
        let pid = pid_of(&inspected);
        let direct = self.is_direct();
        let netns = pid.filter(|_| direct).and_then(network_of);
        let cgroup_dirs = self.dirs_of(pid);
        let (ended, has_ended) = watch::channel(None);
        let (blame, over) = (subject.blame.clone(), subject.over.clone());
        let logs = tokio::spawn(subject.clone().follow_logs(watched.output.clone()));
        let watcher = Watcher { subject, pid, seen_here: direct, ended };
        let watcher = tokio::spawn(watcher.run(logs));
        let address = Self::address_of(&created, &inspected, self.is_inside());
        Ok(Target {
            life,
            address,
            path: if self.is_inside() { GeneratorPath::Netns } else { GeneratorPath::Published },
            pid,
            lost: self.is_inside() && if direct { netns.is_none() } else { pid.is_none() },
            netns,
            cgroup_dirs: cgroup_dirs.clone(),
            events: Some(receiver),
            ended: has_ended,
            output: watched.output,
            inner: TargetKind::Docker(Running {
                created,
                watcher,
                blame,
                dirs: if direct { cgroup_dirs } else { Vec::new() },
                over,
                _news: news,
                _notice: notice,
            }),
        })
    }

    /// The directories of a container's own cgroup, where they are to be seen from here.
    fn dirs_of(&self, pid: Option<i32>) -> Vec<PathBuf> {
        let (Reach::Direct { hierarchies, .. } | Reach::ReadOnly { hierarchies }) = &self.reach
        else {
            return Vec::new();
        };
        let group = pid.and_then(|pid| hierarchies.group_of(pid));
        group.map(|group| hierarchies.all_dirs(&group)).unwrap_or_default()
    }

    fn listen_for_oom(&self, watched: &Watched, events: &Sender<Event>) -> Option<OomNotice> {
        let direct = matches!(self.reach, Reach::Direct { .. });
        let listen =
            || OomNotice::listen(watched.life, &watched.place.leaf, &watched.clock, events.clone());
        direct.then(listen).flatten()
    }

    async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse, Error> {
        let inspected = self.engine.api.inspect_container(id, None).await;
        inspected.map_err(Error::docker(format!("inspect `{id}`")))
    }

    /// The port itself inside the namespace; else the one that Docker chose on 127.0.0.1.
    fn address_of(
        created: &Created,
        inspected: &ContainerInspectResponse,
        inside: bool,
    ) -> SocketAddr {
        let published = || {
            let ports = inspected.network_settings.as_ref()?.ports.as_ref()?;
            let bindings = ports.get(&format!("{}/tcp", created.port))?.as_ref()?;
            bindings.first()?.host_port.as_ref()?.parse().ok()
        };
        let port = if inside { created.port } else { published().unwrap_or(created.port) };
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// Asks the container to stop as its plan says; Docker kills it when its time is up.
    pub(in super::super) async fn stop(&self, running: &mut Running) -> Result<(), Error> {
        let id = &running.created.id;
        // What stands still can't end, whoever stopped it.
        let inspected = self.inspect(id).await.ok().and_then(|inspected| inspected.state);
        if inspected.is_some_and(|state| state.paused == Some(true)) {
            let _ = self.engine.api.unpause_container(id).await;
        } else {
            thaw(&running.dirs);
        }
        let within = i32::try_from(running.created.stop_within.as_secs().max(1));
        let options = StopContainerOptionsBuilder::new().t(within.unwrap_or(i32::MAX)).build();
        let stopped = self.engine.api.stop_container(id, Some(options)).await;
        if stopped.is_err() {
            // What remains is to kill it.
            let _ = self.engine.api.kill_container(id, None::<KillContainerOptions>).await;
        }
        let _ = tokio::time::timeout(LAST_WORDS, &mut running.watcher).await;
        Ok(())
    }

    /// Removes the container and its cgroups. Gives the peak that the outer one kept.
    pub(in super::super) async fn remove(&self, created: Created) -> Result<Option<Bytes>, Error> {
        self.engine.remove_patiently(&created.id).await?;
        let (Some(tree), Some(nest)) = (self.tree().cloned(), created.nest) else {
            return Ok(None);
        };
        let work = move || {
            let peak = tree.lifetime_peak(&nest);
            tree.remove_life(&nest).map(|()| peak)
        };
        let done = tokio::task::spawn_blocking(work).await;
        Ok(done.expect("removing groups does not panic")?)
    }
}
