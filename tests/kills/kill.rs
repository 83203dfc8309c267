//! One SIGKILL at a moment drawn from a seed, and what becomes of the run.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use highwater::clock::monotonic_ns;
use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::left;
use super::recorded::{Lost, Recorded, logs_in};
use super::support::harness::{Bench, Runtime};

/// What may be lost.
pub(crate) const MOST_LOST: Duration = Duration::from_secs(1);

/// How long a run may take to get to the stage in which it is to be killed.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the target runs, and who samples it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Docker,
    Helper,
    Native,
}

/// What a run is doing when it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Finding its way, making images.
    Preparing,
    /// Startup trials.
    Startup,
    /// Starting the main container, phases, ending it.
    Phases,
    /// Clearing away, analysing, writing reports.
    Reporting,
}

/// One kill.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    number: u64,
    way: Way,
    stage: Stage,
    delay: Duration,
}

/// What became of a killed run.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) delay: Duration,
    /// Whether the run was over before it could be killed.
    pub(crate) too_late: bool,
    /// Whether there was a recording, which there is from the first life on.
    pub(crate) recorded: bool,
    pub(crate) lost: Lost,
    /// Kinds of things that there were for `clean` to find.
    pub(crate) cleaned: String,
    pub(crate) clean_took: Duration,
    pub(crate) orphans: Vec<String>,
    /// Network namespaces that Docker had made for its containers.
    pub(crate) networks: Vec<PathBuf>,
    pub(crate) faults: Vec<String>,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Helper => "helper",
            Self::Native => "native",
        }
    }

    const fn args(self) -> &'static [&'static str] {
        match self {
            Self::Docker => &["--runtime", "docker"],
            Self::Helper => &["--runtime", "docker", "--via", "helper"],
            Self::Native => &["--runtime", "native"],
        }
    }
}

impl Stage {
    const fn name(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Startup => "startup",
            Self::Phases => "phases",
            Self::Reporting => "reporting",
        }
    }

    /// How long it takes at most, about: moments are drawn from that time.
    const fn length_ms(self) -> u64 {
        match self {
            Self::Preparing => 1200,
            Self::Startup => 1600,
            Self::Phases => 4500,
            Self::Reporting => 900,
        }
    }

    fn has_begun(self, out: &Path) -> bool {
        match self {
            Self::Preparing => true,
            Self::Startup => out.join("target-trial-1.log").exists(),
            Self::Phases => out.join("target-main.log").exists(),
            // Its log goes when a recording is complete.
            Self::Reporting => {
                out.join("target-main.log").exists() && !out.join("recording.db-wal").exists()
            }
        }
    }
}

impl Case {
    /// The case of a number: the same for ever.
    pub(crate) fn draw(seed: u64, number: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed.wrapping_mul(1_000_003) ^ number);
        // All ways and stages, again and again.
        let way = [Way::Docker, Way::Native, Way::Docker, Way::Native, Way::Helper];
        let stage = [Stage::Phases, Stage::Startup, Stage::Preparing, Stage::Reporting];
        let pick = |count: usize| usize::try_from(number).unwrap_or(0) % count;
        let (way, stage) = (way[pick(way.len())], stage[pick(stage.len())]);
        let delay = Duration::from_micros(random.random_range(0..stage.length_ms() * 1000));
        Self { number, way, stage, delay }
    }

    pub(crate) fn name(&self) -> String {
        format!("kill/{}-{}-{:03}", self.way.name(), self.stage.name(), self.number)
    }

    pub(crate) fn is_possible(&self) -> bool {
        let runtime = if self.way == Way::Native { Runtime::Native } else { Runtime::Docker };
        Runtime::Native.is_there() && runtime.is_there()
    }
}

impl Row {
    /// All that is not as promised.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let mut wrong = self.faults.clone();
        wrong.extend(self.orphans.iter().map(|name| format!("left: {name}")));
        for (what, lost) in [
            ("memory", self.lost.memory),
            ("the timeline", self.lost.flow),
            ("traffic", self.lost.traffic),
        ] {
            if let Some(lost) = lost.filter(|lost| *lost > MOST_LOST) {
                wrong.push(format!("{} ms of {what} are lost", lost.as_millis()));
            }
        }
        wrong
    }
}

fn scenario(bench: &Bench) {
    let mark = left::mark(bench);
    bench.scenario(
        &["mixed", "--base-mib", "8"],
        &format!(
            "limits = {{ memory = \"64MiB\" }}\nenv = {{ {} = {mark:?} }}\n\
             [startup]\ntrials = 2\nsettle = \"300ms\"\n\
             [[scenario]]\nname = \"upload\"\n[[scenario.step]]\npost = \"/upload\"\n\
             body = {{ size = \"20KiB\" }}\n\
             [[phase]]\nname = \"ramp\"\nusers = {{ from = 0, to = 4 }}\nfor = \"1s\"\n\
             [[phase]]\nname = \"burst\"\nrate = 40\nburst = {{ every = \"500ms\", size = 20 }}\n\
             for = \"2s\"\n",
            left::MARK
        ),
    );
}

/// Runs are tried again, and killed earlier, that were over before they could be killed.
const TRIES: u32 = 6;

/// Kills a run and looks at what is there.
pub(crate) fn run(case: &Case) -> Result<Row, Failed> {
    let mut case = case.clone();
    for _ in 1..TRIES {
        let row = run_once(&case)?;
        if !row.too_late || !row.wrong().is_empty() {
            return Ok(row);
        }
        case.delay /= 3;
    }
    run_once(&case)
}

fn run_once(case: &Case) -> Result<Row, Failed> {
    let bench = Bench::beside_others();
    scenario(&bench);
    let out = bench.path().join("out");
    let args = [&["run", "--out", "out", "--json"], case.way.args()].concat();
    let mut child = bench.spawn(&args);
    let too_late = !wait_for(case, &mut child, &out);
    let run_ids = left::runs_of(child.id());
    let networks: Vec<_> = run_ids.iter().flat_map(|id| left::networks_of(id)).collect();
    let killed_ns = monotonic_ns();
    if !too_late {
        // Nobody has asked for its exit code yet, so its number is still its own.
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL)?;
    }
    let output = child.wait_with_output()?;
    let was_killed = std::os::unix::process::ExitStatusExt::signal(&output.status).is_some();
    let mut row = Row {
        name: case.name(),
        delay: case.delay,
        too_late: too_late || !was_killed,
        recorded: out.join("recording.db").exists(),
        lost: Lost::default(),
        cleaned: String::new(),
        clean_took: Duration::ZERO,
        orphans: Vec::new(),
        networks: Vec::new(),
        faults: Vec::new(),
    };
    if row.too_late && !output.status.success() && was_killed {
        row.faults.push(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    look_at_recording(&bench, &out, killed_ns, &mut row);
    for run_id in &run_ids {
        clean(&bench, run_id, &mut row);
        row.orphans.extend(left::of_run(run_id, &out));
    }
    row.orphans.extend(left::processes_of(&bench));
    row.networks = networks;
    Ok(row)
}

/// Waits for the moment; false where the run has ended before.
fn wait_for(case: &Case, child: &mut Child, out: &Path) -> bool {
    let begun = Instant::now();
    while !case.stage.has_begun(out) {
        if matches!(child.try_wait(), Ok(Some(_))) || begun.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(case.delay);
    matches!(child.try_wait(), Ok(None))
}

fn look_at_recording(bench: &Bench, out: &Path, killed_ns: u64, row: &mut Row) {
    if !row.recorded {
        if !logs_in(out).is_empty() {
            row.faults.push("a life began before there was a recording".to_owned());
        }
        return;
    }
    match Recorded::read(out) {
        Ok(recorded) => {
            row.lost = recorded.lost_at(killed_ns);
            let missing = recorded.missing_lives(out, killed_ns);
            row.faults
                .extend(missing.iter().map(|name| format!("the life {name} is not recorded")));
            let fault = look_at_report(bench, recorded.finished);
            row.faults.extend(fault);
        }
        Err(text) => row.faults.push(text),
    }
}

/// The report of a killed run is whole, and says where it stopped.
fn look_at_report(bench: &Bench, finished: bool) -> Option<String> {
    let ended = super::reported(bench, &[]);
    let Ok(json) = serde_json::from_str::<Value>(&ended.stdout) else {
        return Some(format!("no report: {}\n{}", ended.stdout, ended.stderr));
    };
    super::support::schema::assert_valid_run(&json);
    if finished {
        return (ended.code != 0)
            .then(|| format!("a finished run ends with {}: {json:#}", ended.code));
    }
    let mut reasons = json["reasons"].as_array().into_iter().flatten();
    let cut = reasons.find(|reason| reason["id"] == "cut_off");
    let tells = cut.is_some_and(|reason| {
        let text = reason["text"].as_str().unwrap_or_default();
        text.contains("was cut off") && text.contains(" s, without a word")
    });
    (ended.code != 130 || !tells).then(|| format!("exit {}, {cut:?}", ended.code))
}

fn clean(bench: &Bench, run_id: &str, row: &mut Row) {
    let began = Instant::now();
    let cleaned = bench.run(&["clean", "--run", run_id]);
    row.clean_took += began.elapsed();
    if cleaned.code != 0 {
        row.faults.push(format!("clean: {}", cleaned.stderr));
    }
    let told = cleaned.stdout.trim();
    told.split_once(": ").map_or(told, |(_, what)| what).clone_into(&mut row.cleaned);
}
