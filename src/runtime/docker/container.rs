//! One container: created, started, watched, stopped, removed.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, HostConfig, HostConfigLogConfig, PortBinding,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, EventsOptionsBuilder, InspectContainerOptionsBuilder,
    KillContainerOptions, LogsOptionsBuilder, StopContainerOptionsBuilder, WaitContainerOptions,
};
use futures_util::StreamExt;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::oom_notice::OomNotice;
use super::super::output::Output;
use super::super::{Built, Error, Program, Target, TargetKind, Watched};
use super::{Docker, Engine, Reach, labels_of, network_of, pid_of};
use crate::cgroup::{Hierarchies, Nest, Place};
use crate::clock::Clock;
use crate::event::{Event, Evidence, Exit, GeneratorPath, LifeId, OomKill, What};
use crate::plan::{KUBELET_PERIOD_US, KubernetesPlan, TargetPlan};
use crate::units::{Bytes, Limit};

/// The least memory limit that Docker accepts.
const LEAST_MEMORY: Bytes = Bytes::from_mib(6);

/// Events of one target that may wait.
const EVENTS: usize = 64;

/// How long news of a container that has ended is waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

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
    _oom_events: AbortOnDrop,
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

    pub(in super::super) fn into_created(self) -> Created {
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

    fn body(
        &self,
        image: &str,
        target: &TargetPlan,
        limit: Limit,
        nest: Option<&Nest>,
    ) -> ContainerCreateBody {
        let port = format!("{}/tcp", target.port);
        let within = i64::try_from(target.stop.within.as_secs().max(1)).unwrap_or(i64::MAX);
        ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: (!target.args.is_empty()).then(|| target.args.clone()),
            env: Some(target.env.iter().map(|v| format!("{}={}", v.name, v.value)).collect()),
            user: target.user.clone(),
            labels: Some(labels_of(&self.run_id)),
            stop_signal: Some(target.stop.signal.clone()),
            stop_timeout: Some(within),
            exposed_ports: (!self.is_inside()).then(|| vec![port.clone()]),
            host_config: Some(self.host_config(target, limit, nest, port)),
            ..ContainerCreateBody::default()
        }
    }

    fn host_config(
        &self,
        target: &TargetPlan,
        limit: Limit,
        nest: Option<&Nest>,
        port: String,
    ) -> HostConfig {
        let memory = limit.bytes().map(|bytes| i64::try_from(bytes.get()).unwrap_or(i64::MAX));
        #[expect(clippy::cast_possible_truncation, reason = "a scenario's cpus are below 10^6")]
        let nano_cpus = target.limits.cpus.map(|cpus| (cpus * 1e9).round() as i64);
        // Docker takes either its own measure or the kernel's.
        let kubelet_cpus = target.limits.cpus.filter(|_| target.limits.kubernetes.is_some());
        let binds =
            target.files.iter().map(|(from, to)| format!("{}:{}:ro", from.display(), to.display()));
        let tmpfs = target.tmpfs.iter().map(|dir| (dir.display().to_string(), String::new()));
        let loopback = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: None };
        let log = HashMap::from([
            ("max-size".to_owned(), "8m".to_owned()),
            ("max-file".to_owned(), "2".to_owned()),
        ]);
        HostConfig {
            memory,
            // Equal to the memory limit: no swap.
            memory_swap: memory,
            nano_cpus: nano_cpus.filter(|_| kubelet_cpus.is_none()),
            cpu_period: kubelet_cpus.map(|_| i64::from(KUBELET_PERIOD_US)),
            cpu_quota: kubelet_cpus.map(KubernetesPlan::quota_us),
            cpu_shares: kubelet_cpus.map(KubernetesPlan::shares),
            pids_limit: target.limits.pids.map(i64::from),
            cgroup_parent: nest.map(|nest| nest.inner.clone()),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            cap_drop: Some(vec!["ALL".to_owned()]),
            binds: Some(binds.collect()),
            tmpfs: Some(tmpfs.collect()),
            extra_hosts: Some(target.extra_hosts.clone()),
            port_bindings: (!self.is_inside())
                .then(|| HashMap::from([(port, Some(vec![loopback]))])),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(log),
            }),
            ..HostConfig::default()
        }
    }

    /// Starts the container and everything that watches it.
    pub(in super::super) async fn start(
        &self,
        created: Created,
        watched: Watched,
    ) -> Result<Target, Error> {
        let (events, receiver) = channel(EVENTS);
        let oom_events = self.watch_oom_events(&created.id, &watched, events.clone());
        let started = self.engine.api.start_container(&created.id, None).await;
        let at = watched.clock.now();
        if let Err(source) = started {
            let id = created.id.clone();
            self.remove(created).await?;
            return Err(Error::docker(format!("start the container `{id}`"))(source));
        }
        let life = watched.life;
        let _ = events.try_send(Event { at, what: What::Started { life } });
        let notice = self.listen_for_oom(&watched, &events);
        let inspected = self.inspect(&created.id).await?;
        let pid = pid_of(&inspected);
        let direct = matches!(self.reach, Reach::Direct { .. });
        let netns = pid.filter(|_| direct).and_then(network_of);
        let cgroup_dirs = self.dirs_of(pid);
        let (ended, has_ended) = watch::channel(None);
        let watcher = Watcher {
            engine: self.engine.clone(),
            id: created.id.clone(),
            life,
            clock: watched.clock.clone(),
            events,
            ended,
        };
        let logs = tokio::spawn(follow_logs(
            self.engine.clone(),
            created.id.clone(),
            watched.output.clone(),
        ));
        let watcher = tokio::spawn(watcher.run(logs));
        let address = Self::address_of(&created, &inspected, self.is_inside());
        Ok(Target {
            life,
            address,
            path: if self.is_inside() { GeneratorPath::Netns } else { GeneratorPath::Published },
            pid,
            netns,
            cgroup_dirs,
            events: Some(receiver),
            ended: has_ended,
            output: watched.output,
            inner: TargetKind::Docker(Running {
                created,
                watcher,
                _oom_events: oom_events,
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

    /// Docker's own `oom` events: they tell of killed children while the container lives on.
    fn watch_oom_events(&self, id: &str, watched: &Watched, events: Sender<Event>) -> AbortOnDrop {
        let filters = HashMap::from([("container", vec![id]), ("event", vec!["oom"])]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let (api, life, clock) = (self.engine.api.clone(), watched.life, watched.clock.clone());
        AbortOnDrop(tokio::spawn(async move {
            let mut stream = std::pin::pin!(api.events(Some(options)));
            while let Some(Ok(_)) = stream.next().await {
                tell_of_kill(&events, life, &clock).await;
            }
        }))
    }

    /// Asks the container to stop as its plan says; Docker kills it when its time is up.
    pub(in super::super) async fn stop(&self, running: &mut Running) -> Result<(), Error> {
        let id = &running.created.id;
        let within = i32::try_from(running.created.stop_within.as_secs().max(1));
        let options = StopContainerOptionsBuilder::new().t(within.unwrap_or(i32::MAX)).build();
        let stopped = self.engine.api.stop_container(id, Some(options)).await;
        if stopped.is_err() {
            // A frozen or half-dead container: what remains is to kill it.
            let _ = self.engine.api.kill_container(id, None::<KillContainerOptions>).await;
        }
        let _ = tokio::time::timeout(LAST_WORDS, &mut running.watcher).await;
        Ok(())
    }

    /// Removes the container and its cgroups. Gives the peak that the outer one kept.
    pub(in super::super) async fn remove(&self, created: Created) -> Result<Option<Bytes>, Error> {
        self.engine.remove_container(&created.id).await?;
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

/// Waits for a container's end and tells of it.
struct Watcher {
    engine: Engine,
    id: String,
    life: LifeId,
    clock: Clock,
    events: Sender<Event>,
    ended: watch::Sender<Option<Exit>>,
}

impl Watcher {
    async fn run(self, logs: JoinHandle<()>) {
        let options = None::<WaitContainerOptions>;
        let mut wait = std::pin::pin!(self.engine.api.wait_container(&self.id, options));
        // Any exit code above 0 comes as an error; what counts is asked for below.
        let _ = wait.next().await;
        let at = self.clock.now();
        let _ = tokio::time::timeout(LAST_WORDS, logs).await;
        let state = self.engine.api.inspect_container(&self.id, None).await;
        let state = state.ok().and_then(|inspected| inspected.state).unwrap_or_default();
        if state.oom_killed == Some(true) {
            tell_of_kill(&self.events, self.life, &self.clock).await;
        }
        let exit = Exit { code: state.exit_code, asked: false };
        self.ended.send_replace(Some(exit));
        let what = What::Ended { life: self.life, exit, lifetime_peak: None };
        // An error means that nobody listens any more.
        let _ = self.events.send(Event { at, what }).await;
        self.tell_of_layer().await;
    }

    /// How much the container has written to its own layer. The engine walks through the files for
    /// it, which a large layer makes too long to wait for.
    async fn tell_of_layer(&self) {
        let options = InspectContainerOptionsBuilder::new().size(true).build();
        let inspected = self.engine.api.inspect_container(&self.id, Some(options));
        let Ok(Ok(inspected)) = tokio::time::timeout(LAST_WORDS / 2, inspected).await else {
            return;
        };
        if let Some(bytes) = inspected.size_rw.and_then(|bytes| u64::try_from(bytes).ok()) {
            let what = What::Layer { life: self.life, bytes: Bytes::new(bytes) };
            let _ = self.events.send(Event { at: self.clock.now(), what }).await;
        }
    }
}

async fn tell_of_kill(events: &Sender<Event>, life: LifeId, clock: &Clock) {
    let kill = OomKill { life, evidence: Evidence::Docker, count: None };
    let _ = events.send(Event { at: clock.now(), what: What::OomKill(kill) }).await;
}

async fn follow_logs(engine: Engine, id: String, output: Output) {
    let options = LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).build();
    let mut stream = std::pin::pin!(engine.api.logs(&id, Some(options)));
    while let Some(Ok(piece)) = stream.next().await {
        let (LogOutput::StdOut { message }
        | LogOutput::StdErr { message }
        | LogOutput::StdIn { message }
        | LogOutput::Console { message }) = piece;
        output.write(&message);
    }
}
