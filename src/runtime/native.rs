//! The target as a process of this host, in a cgroup and (for root) a network namespace of its
//! own.

use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::hand::{Ending, outcome};
use super::leftovers::Scratch;
use super::mask::Mask;
use super::oom_notice::OomNotice;
use super::output::{Channel, Output};
use super::spawn::{Entry, Network, enter_before_exec};
use super::{
    Built, Error, Program, Say, Target, TargetKind, Watched, build, check_release, leftovers,
};
use crate::cgroup::{GroupLimits, Hierarchies, LimitReader, Nest, Place, Tree, kill_all, thaw};
use crate::event::{Event, Evidence, Exit, GeneratorPath, OomKill, What};
use crate::plan::{Budget, EnvVar, StopPlan, TargetPlan, TargetSource};
use crate::units::{Bytes, Limit};

/// Where programs are looked for when the scenario does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Events of one target that may wait.
const EVENTS: usize = Budget::TARGET_NEWS;

/// After the end of the process, how long its output is still waited for: a child may hold the
/// pipe open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Processes in cgroups of our own.
#[derive(Debug)]
pub(super) struct Native {
    tree: Tree,
    note: leftovers::Note,
    own_network: bool,
}

/// A life that can be started.
#[derive(Debug)]
pub(super) struct Ready {
    name: String,
    nest: Nest,
    group: String,
    program: PathBuf,
    args: Vec<String>,
    env: Vec<EnvVar>,
    port: u16,
    stop: StopPlan,
}

/// A life that was started.
#[derive(Debug)]
pub(super) struct Running {
    nest: Nest,
    leaf: PathBuf,
    pid: Pid,
    stop: StopPlan,
    watcher: JoinHandle<()>,
    groups: Vec<PathBuf>,
    env: Vec<EnvVar>,
    _notice: Option<OomNotice>,
    directory: Scratch,
}

/// Reaches the process of one life.
#[derive(Debug, Clone)]
pub(super) struct Hand {
    pid: Pid,
    groups: Vec<PathBuf>,
    netns: Option<Arc<OwnedFd>>,
    env: Vec<EnvVar>,
    directory: PathBuf,
}

/// A program with an environment of its own, whose output is read.
fn command(
    program: &Path,
    args: &[String],
    env: &[EnvVar],
    directory: &Path,
) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(program);
    command
        .args(args)
        .env_clear()
        .env("PATH", PATH)
        .envs(env.iter().map(|var| (&var.name, &var.value)))
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The files by which a process enters its groups.
fn doors(groups: &[PathBuf]) -> std::io::Result<Vec<fs::File>> {
    let open = |dir: &PathBuf| OpenOptions::new().write(true).open(dir.join("cgroup.procs"));
    groups.iter().map(open).collect()
}

impl Native {
    pub(super) fn new(run_id: &str, notes: &mut Vec<String>) -> Result<Self, Error> {
        let hierarchies = Hierarchies::discover().map_err(Error::NoCgroups)?;
        let note = leftovers::Note::write(run_id)?;
        let tree = Tree::create(&hierarchies, run_id).map_err(|error| {
            // Nothing was made that the note could tell of.
            leftovers::forget_note(run_id);
            Error::NoCgroups(error)
        })?;
        let own_network = nix::unistd::geteuid().is_root();
        if !own_network {
            notes.push("without root the target shares this host's network".to_owned());
        }
        Ok(Self { tree, note, own_network })
    }

    pub(super) const fn note(&self) -> &leftovers::Note {
        &self.note
    }

    pub(super) const fn hierarchies(&self) -> &Hierarchies {
        self.tree.hierarchies()
    }

    pub(super) async fn build(
        &self,
        target: &TargetPlan,
        output_dir: &Path,
        say: Say<'_>,
    ) -> Result<Built, Error> {
        refuse_what_needs_docker(target)?;
        let program = match &target.source {
            TargetSource::Cargo(cargo) => build::cargo(cargo, say).await?,
            TargetSource::Binary { path, .. } => build::binary(path)?,
            TargetSource::Image { .. } => return Err(Error::NeedsDocker { what: "an `image`" }),
            TargetSource::Dockerfile { .. } => {
                return Err(Error::NeedsDocker { what: "a `dockerfile`" });
            }
        };
        check_release(target, &program)?;
        Ok(Built {
            label: program.path.display().to_string(),
            release: program.release,
            evidence: program.evidence,
            program: Program::Binary(program.path),
            output_dir: output_dir.to_owned(),
        })
    }

    pub(super) fn prepare(
        &self,
        built: &Built,
        target: &TargetPlan,
        name: &str,
        limit: Limit,
    ) -> Result<(Place, Ready), Error> {
        let Program::Binary(program) = &built.program else {
            return Err(Error::NeedsDocker { what: "an image" });
        };
        if !self.own_network {
            let address = (Ipv4Addr::LOCALHOST, target.port);
            let port = target.port;
            TcpListener::bind(address).map_err(|source| Error::PortTaken { port, source })?;
        }
        let nest = self.tree.nest(name)?;
        let limits =
            GroupLimits { memory: limit, cpus: target.limits.cpus, pids: target.limits.pids };
        let group = self.tree.limited_leaf(&nest, &limits)?;
        let place = nest.place(self.hierarchies(), "app");
        let ready = Ready {
            name: name.to_owned(),
            nest,
            group,
            program: program.clone(),
            args: target.args.clone(),
            env: target.env.clone(),
            port: target.port,
            stop: target.stop.clone(),
        };
        Ok((place, ready))
    }

    pub(super) async fn start(&self, ready: Ready, watched: Watched) -> Result<Target, Error> {
        match self.spawn(&ready) {
            Ok((child, directory)) => Ok(self.watch(ready, child, directory, watched)),
            Err(error) => {
                self.discard(&ready).await?;
                Err(error)
            }
        }
    }

    fn spawn(&self, ready: &Ready) -> Result<(Child, Scratch), Error> {
        let failed = |source| Error::Start { program: ready.program.display().to_string(), source };
        let directory = self.note.scratch(&ready.name)?;
        let mut command = command(&ready.program, &ready.args, &ready.env, directory.path());
        let groups = doors(&self.group_dirs(&ready.group)).map_err(failed)?;
        let network = if self.own_network { Network::Own } else { Network::Same };
        enter_before_exec(&mut command, Entry { groups, network });
        let child = command.spawn().map_err(failed)?;
        Ok((child, directory))
    }

    /// The directories that a group has, one a hierarchy in which it was made.
    fn group_dirs(&self, group: &str) -> Vec<PathBuf> {
        let mut dirs = self.hierarchies().all_dirs(group);
        dirs.retain(|dir| dir.join("cgroup.procs").exists());
        dirs
    }

    fn watch(
        &self,
        ready: Ready,
        mut child: Child,
        directory: Scratch,
        watched: Watched,
    ) -> Target {
        let Watched { life, place, output, clock } = watched;
        let pid = child.id().unwrap_or_default().cast_signed();
        let (events, receiver) = channel(EVENTS);
        let _ = events.try_send(Event { at: clock.now(), what: What::Started { life } });
        let notice = OomNotice::listen(life, &place.leaf, &clock, events.clone());
        let (ended, has_ended) = watch::channel(None);
        let readers = [
            child.stdout.take().map(|pipe| tokio::spawn(drain(pipe, Channel::Out, output.clone()))),
            child.stderr.take().map(|pipe| tokio::spawn(drain(pipe, Channel::Err, output.clone()))),
        ];
        let (leaf, version) = (place.leaf.clone(), place.version);
        let watcher = tokio::spawn(async move {
            let status = child.wait().await;
            let at = clock.now();
            for reader in readers.into_iter().flatten() {
                let _ = tokio::time::timeout(LAST_WORDS, reader).await;
            }
            let kills = LimitReader::open(version, &leaf).and_then(|reader| reader.read());
            let kills = kills.map_or(0, |counts| counts.oom_kills);
            if kills > 0 {
                let kill = OomKill { life, evidence: Evidence::Events, count: Some(kills) };
                send(&events, Event { at, what: What::OomKill(kill) }).await;
            }
            let exit = Exit { code: status.ok().map(exit_code), asked: false };
            ended.send_replace(Some(exit));
            send(&events, Event { at, what: What::Ended { life, exit, lifetime_peak: None } })
                .await;
        });
        let groups = self.group_dirs(&ready.group);
        let netns = if self.own_network { network_of(pid) } else { None };
        let running = Running {
            leaf: place.leaf,
            pid: Pid::from_raw(pid),
            stop: ready.stop,
            watcher,
            _notice: notice,
            groups: groups.clone(),
            env: ready.env,
            directory,
            nest: ready.nest,
        };
        Target {
            pid: None,
            life,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, ready.port)),
            path: if self.own_network { GeneratorPath::Netns } else { GeneratorPath::Native },
            lost: self.own_network && netns.is_none(),
            netns,
            cgroup_dirs: groups,
            events: Some(receiver),
            ended: has_ended,
            output,
            inner: TargetKind::Native(running),
        }
    }

    /// Removes a life's cgroups. Gives the peak that the outer one kept.
    pub(super) async fn discard(&self, ready: &Ready) -> Result<Option<Bytes>, Error> {
        self.remove_nest(ready.nest.clone()).await
    }

    /// Removes a life. Gives the peak that its outer cgroup kept.
    pub(super) async fn remove(&self, running: Running) -> Result<Option<Bytes>, Error> {
        let peak = self.remove_nest(running.nest.clone()).await;
        let _ = tokio::time::timeout(2 * LAST_WORDS, running.watcher).await;
        peak
    }

    async fn remove_nest(&self, nest: Nest) -> Result<Option<Bytes>, Error> {
        let tree = self.tree.clone();
        let work = move || {
            let peak = tree.lifetime_peak(&nest);
            tree.remove_life(&nest).map(|()| peak)
        };
        let done = tokio::task::spawn_blocking(work).await;
        Ok(done.expect("removing groups does not panic")?)
    }
}

impl Running {
    /// Reaches it from beside.
    pub(super) fn hand(&self, netns: Option<OwnedFd>) -> Hand {
        Hand {
            pid: self.pid,
            groups: self.groups.clone(),
            netns: netns.map(Arc::new),
            env: self.env.clone(),
            directory: self.directory.path().to_owned(),
        }
    }

    /// Asks the process to stop; then kills it and all that it started.
    pub(super) async fn stop(&self, ended: &mut watch::Receiver<Option<Exit>>) {
        // What is frozen can't end, whoever froze it.
        thaw(&self.groups);
        let signal = Signal::from_str(&self.stop.signal).unwrap_or(Signal::SIGTERM);
        if kill(self.pid, signal).is_ok() {
            let gone = ended.wait_for(Option::is_some);
            if tokio::time::timeout(self.stop.within, gone).await.is_ok() {
                return;
            }
        }
        kill_all(&self.leaf);
        let _ = tokio::time::timeout(2 * LAST_WORDS, ended.wait_for(Option::is_some)).await;
    }
}

impl Hand {
    pub(super) fn signal(&self, name: &str) -> Result<(), String> {
        let signal = Signal::from_str(name).map_err(|error| error.to_string())?;
        kill(self.pid, signal).map_err(|error| error.desc().to_owned())
    }

    /// Runs a program in the life's cgroups and network, in its directory, with its environment.
    pub(super) async fn exec(&self, words: &[String]) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("it can't be started: {error}");
        let Some((program, args)) = words.split_first() else { return Ok(()) };
        let mut command = command(Path::new(program), args, &self.env, &self.directory);
        let network = self.netns.as_ref().map(|netns| netns.try_clone()).transpose();
        let network = network.map_err(failed)?.map_or(Network::Same, Network::Of);
        let groups = doors(&self.groups).map_err(failed)?;
        enter_before_exec(&mut command, Entry { groups, network });
        let mut child = command.kill_on_drop(true).spawn().map_err(failed)?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let mask = Mask::of(&self.env);
        let (said, complained) =
            tokio::join!(end_of(out, Ending::new(mask.clone())), end_of(err, Ending::new(mask)));
        let printed = format!("{said} {complained}");
        let status = child.wait().await.map_err(failed)?;
        outcome(Some(exit_code(status)), printed.trim())
    }
}

/// The end of what comes through a pipe.
async fn end_of(pipe: Option<impl AsyncRead + Unpin>, mut ending: Ending) -> String {
    let mut buffer = vec![0; 4096];
    if let Some(mut pipe) = pipe {
        while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
            ending.add(&buffer[..length]);
        }
    }
    ending.text()
}

async fn send(events: &Sender<Event>, event: Event) {
    // An error means that nobody listens any more.
    let _ = events.send(event).await;
}

async fn drain(mut pipe: impl AsyncRead + Unpin, channel: Channel, output: Output) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length) = pipe.read(&mut buffer).await {
        if length == 0 {
            break;
        }
        output.write(channel, &buffer[..length]);
    }
}

fn exit_code(status: ExitStatus) -> i64 {
    use std::os::unix::process::ExitStatusExt;
    let by_signal = || status.signal().map(|signal| 128 + signal);
    i64::from(status.code().or_else(by_signal).unwrap_or(-1))
}

fn network_of(pid: i32) -> Option<OwnedFd> {
    fs::File::open(format!("/proc/{pid}/ns/net")).ok().map(OwnedFd::from)
}

fn refuse_what_needs_docker(target: &TargetPlan) -> Result<(), Error> {
    let base = match &target.source {
        TargetSource::Cargo(cargo) => cargo.base.is_some(),
        TargetSource::Binary { base, .. } => base.is_some(),
        TargetSource::Image { .. } | TargetSource::Dockerfile { .. } => false,
    };
    let asked = [
        (base, "a `base` image"),
        (!target.files.is_empty(), "`files`"),
        (!target.tmpfs.is_empty(), "`tmpfs`"),
        (target.user.is_some(), "`user`"),
        (!target.extra_hosts.is_empty(), "`extra-hosts`"),
    ];
    match asked.into_iter().find(|(asked, _)| *asked) {
        Some((_, what)) => Err(Error::NeedsDocker { what }),
        None => Ok(()),
    }
}
