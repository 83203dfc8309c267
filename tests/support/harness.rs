//! Runs the real binary on scenarios of its own, and looks for what it left behind.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::Value;

/// Runs are measured, and what is left behind is looked for machine-wide: most go alone, some
/// beside others that don't mind.
static TURN: RwLock<()> = RwLock::new(());

/// One test's turn. Each test has a thread of its own, so a guard held while others wait is what is
/// wanted.
pub(crate) enum Turn {
    Alone { _guard: RwLockWriteGuard<'static, ()> },
    InCompany { _guard: RwLockReadGuard<'static, ()> },
}

/// Waits for this test's turn.
pub(crate) fn turn() -> Turn {
    super::fixtures();
    Turn::Alone { _guard: TURN.write().unwrap_or_else(PoisonError::into_inner) }
}

/// Where the target of a test runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtime {
    Docker,
    Native,
}

impl Runtime {
    pub(crate) const BOTH: [Self; 2] = [Self::Docker, Self::Native];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Native => "native",
        }
    }

    /// Whether it can be had here; says so where not.
    pub(crate) fn is_there(self) -> bool {
        let there = match self {
            Self::Docker => Command::new("docker")
                .args(["version", "--format", "{{.Server.Version}}"])
                .output()
                .is_ok_and(|output| output.status.success()),
            Self::Native => super::is_root(),
        };
        if !there {
            super::skip(match self {
                Self::Docker => "no Docker engine answers",
                Self::Native => "making cgroups needs root",
            });
        }
        there
    }
}

/// A directory of its own in which the binary is run.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
    _turn: Option<Turn>,
}

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) out: PathBuf,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let turn = Some(turn());
        Self { dir: tempfile::tempdir().expect("a temporary directory"), _turn: turn }
    }

    /// One that takes its turn with others of its kind: what it asserts holds on a busy machine,
    /// and nothing is left of its runs for longer than they take.
    pub(crate) fn in_company() -> Self {
        super::fixtures();
        let guard = TURN.read().unwrap_or_else(PoisonError::into_inner);
        let turn = Some(Turn::InCompany { _guard: guard });
        Self { dir: tempfile::tempdir().expect("a temporary directory"), _turn: turn }
    }

    /// One whose run does not mind any others beside it.
    pub(crate) fn beside_others() -> Self {
        super::fixtures();
        Self { dir: tempfile::tempdir().expect("a temporary directory"), _turn: None }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a scenario whose target is a fixture service, `[target]` open for more keys.
    pub(crate) fn scenario(&self, service: &[&str], rest: &str) -> PathBuf {
        let args = serde_json::to_string(service).expect("strings");
        let text = format!(
            "name = \"test\"\n[target]\nbin = {:?}\nport = 8080\nargs = {args}\n{rest}",
            super::fixtures().to_string_lossy()
        );
        self.write("highwater.toml", &text)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("the file can be written");
        path
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("HIGHWATER_")) {
            command.env_remove(key);
        }
        command
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs")
    }

    pub(crate) fn ended(&self, output: &Output) -> Ended {
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            out: self.path().join("out"),
        }
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        self.ended(&self.command(args).output().expect("the binary runs"))
    }

    /// `highwater run` on the scenario here, into `out/`.
    pub(crate) fn run_scenario(&self, runtime: Runtime) -> Ended {
        self.run(&["run", "--runtime", runtime.name(), "--out", "out", "--json"])
    }
}

impl Ended {
    /// The run's `run.json`, which `--json` printed. Whatever kind of run it was, the published
    /// schema has to know all of it.
    pub(crate) fn json(&self) -> Value {
        let json = serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!("no JSON on standard output ({error}): {}\n{}", self.stdout, self.stderr)
        });
        super::schema::assert_valid_run(&json);
        json
    }

    pub(crate) fn expect_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

/// What runs have left on this machine: containers, images, cgroups.
pub(crate) fn left_behind() -> Vec<String> {
    let mut left = Vec::new();
    for listing in [
        ["ps", "--all", "--format", "container {{.Names}}"],
        ["images", "--all", "--format", "image {{.Repository}}:{{.Tag}}"],
    ] {
        let output = Command::new("docker")
            .args(&listing[..2])
            .args(["--filter", "label=highwater.run"])
            .args(&listing[2..])
            .output();
        if let Ok(output) = output {
            left.extend(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned));
        }
    }
    find_cgroups(Path::new("/sys/fs/cgroup"), 3, &mut left);
    left.retain(|name| !belongs_to_a_live_run(name));
    left
}

/// Whether something belongs to a run that goes on: somebody else's, for those of the tests have
/// ended. Runs note their process in a file named by their id.
fn belongs_to_a_live_run(name: &str) -> bool {
    let Some((_, after)) = name.split_once("highwater-") else { return false };
    let id: String = after.chars().take_while(char::is_ascii_hexdigit).collect();
    let note = std::fs::read_to_string(Path::new("/run/highwater").join(id)).unwrap_or_default();
    let pid = note.split_whitespace().next();
    pid.is_some_and(|pid| Path::new("/proc").join(pid).exists())
}

fn find_cgroups(dir: &Path, depth: u32, left: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        if entry.file_name().to_string_lossy().starts_with("highwater-") {
            left.push(format!("cgroup {}", entry.path().display()));
        } else if depth > 1 {
            find_cgroups(&entry.path(), depth - 1, left);
        }
    }
}
