//! A Docker engine of the test's own, in a network namespace of its own, to be stopped and started.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::run::wait_for;

/// What becomes the engine, in its own network. It reads the range of ports as it starts.
const BEGIN: &str = "ip link set lo up
    [ -z \"$1\" ] || echo \"$1\" > /proc/sys/net/ipv4/ip_local_port_range
    shift; exec dockerd \"$@\"";

/// The engine.
pub(crate) struct Daemon {
    dir: tempfile::TempDir,
    flags: Vec<&'static str>,
    /// The ports that its network gives to who asks for any, first and last; all of them, where
    /// nothing is said.
    ports: &'static str,
    process: Option<Child>,
}

impl Daemon {
    /// Starts it; none where this host has none, or we may not.
    pub(crate) fn start(flags: &[&'static str]) -> Option<Self> {
        Self::start_with_ports(flags, "")
    }

    /// Starts it with these ports to give.
    pub(crate) fn start_with_ports(flags: &[&'static str], ports: &'static str) -> Option<Self> {
        let there = Command::new("dockerd").arg("--version").stdout(Stdio::null()).status();
        if !crate::support::is_root() || !there.is_ok_and(|status| status.success()) {
            crate::support::skip("an engine of our own needs root and dockerd");
            return None;
        }
        // Short: sockets' paths have 108 bytes.
        let dir = tempfile::Builder::new().prefix("hwd").tempdir_in("/tmp").expect("a directory");
        let mut daemon = Self { dir, flags: flags.to_vec(), ports, process: None };
        daemon.begin();
        Some(daemon)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where it listens.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.path("docker.sock").display())
    }

    /// The `docker` command for it.
    pub(crate) fn docker(&self) -> impl Fn() -> Command + use<> {
        let host = self.host();
        move || {
            let mut command = Command::new("docker");
            command.env("DOCKER_HOST", &host);
            command
        }
    }

    /// Starts it (again), and waits until it answers.
    pub(crate) fn begin(&mut self) {
        let answers = self.try_begin();
        let log = || std::fs::read_to_string(self.path("log")).unwrap_or_default();
        assert!(answers, "the engine does not answer: {}", log());
    }

    fn try_begin(&mut self) -> bool {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .expect("a log can be written");
        std::fs::write(self.path("daemon.json"), "{}").expect("the file can be written");
        let place = |flag: &str, name: &str| format!("--{flag}={}", self.path(name).display());
        let process = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", BEGIN, "sh", self.ports])
            .args([place("data-root", "data"), place("exec-root", "exec"), place("pidfile", "pid")])
            .arg(place("config-file", "daemon.json"))
            .arg(format!("--host={}", self.host()))
            .args(["--storage-driver=vfs", "--iptables=false", "--ip6tables=false"])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("unshare runs");
        self.process = Some(process);
        let docker = self.docker();
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let asked =
                docker().arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            if asked.is_ok_and(|status| status.success()) {
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Its process, whose network namespace it works in.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Ends it by a signal, and waits until it has ended.
    pub(crate) fn end(&mut self, signal: Signal) {
        let Some(mut process) = self.process.take() else { return };
        // It may have ended by itself, as when it did not like its flags.
        let _ = kill(Pid::from_raw(process.id().cast_signed()), signal);
        wait_for("the engine's end", || process.try_wait().ok().flatten());
    }

    /// Names of all containers that it has.
    pub(crate) fn containers(&self) -> Vec<String> {
        let said =
            crate::run::docker_says(&self.docker(), &["ps", "--all", "--format", "{{.Names}}"]);
        said.lines().map(str::to_owned).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Its containers outlive it.
        if self.process.is_none() && !self.try_begin() {
            return;
        }
        let listed = self.docker()().args(["ps", "--all", "--quiet"]).output();
        let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        for id in listed.unwrap_or_default().lines() {
            let _ = self.docker()().args(["rm", "--force", id]).output();
        }
        self.end(Signal::SIGTERM);
        unmount(self.dir.path());
    }
}

/// Takes down what is mounted below a directory: namespaces that an engine keeps.
fn unmount(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|point| Path::new(point).starts_with(dir)) {
        let _ = Command::new("umount").args(["--lazy", point]).status();
    }
}
