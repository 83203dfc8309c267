//! What can be asked of each verb.

mod compare;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
pub(super) use compare::{Against, Compare};

use super::machines::ForMachines;
use crate::plan::Samples;
use crate::runtime::{Choice, Via};

/// Where the target runs.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(super) enum RuntimeChoice {
    /// Docker where its socket answers, else a cgroup of our own.
    #[default]
    Auto,
    /// A Docker container.
    Docker,
    /// A cgroup of our own on this host.
    Native,
}

impl From<RuntimeChoice> for Choice {
    fn from(choice: RuntimeChoice) -> Self {
        match choice {
            RuntimeChoice::Auto => Self::Auto,
            RuntimeChoice::Docker => Self::Docker,
            RuntimeChoice::Native => Self::Native,
        }
    }
}

/// How a container's memory is sampled and its network reached.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(super) enum ViaChoice {
    /// The best that can be had.
    #[default]
    Auto,
    /// From here: root on Docker's own host.
    Direct,
    /// From a helper container of Highwater's own.
    Helper,
    /// By reading cgroups that can't be changed; spikes that set no record are missed.
    ReadOnly,
    /// By Docker's own stats, a reading a second; sees no spikes.
    DockerStats,
}

impl From<ViaChoice> for Option<Via> {
    fn from(choice: ViaChoice) -> Self {
        match choice {
            ViaChoice::Auto => None,
            ViaChoice::Direct => Some(Via::Direct),
            ViaChoice::Helper => Some(Via::Helper),
            ViaChoice::ReadOnly => Some(Via::ReadOnly),
            ViaChoice::DockerStats => Some(Via::DockerStats),
        }
    }
}

/// From which verdict on the exit code is not 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum FailOn {
    /// A warning already fails.
    Warn,
    /// Only a failure does.
    #[default]
    Fail,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ProgressChoice {
    /// A picture on a terminal, lines elsewhere.
    #[default]
    Auto,
    /// A picture that is redrawn: memory over time, traffic, events.
    Tui,
    /// A line at each step, and one now and then.
    Lines,
    /// Nothing.
    None,
}

/// Common to verbs that run something.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Where the target runs
    #[arg(long, value_enum, default_value_t, env = "HIGHWATER_RUNTIME")]
    pub(super) runtime: RuntimeChoice,
    /// How a container's memory is sampled and its network reached
    #[arg(long, value_enum, default_value_t, env = "HIGHWATER_VIA")]
    pub(super) via: ViaChoice,
    /// The run's directory [default: reports/<name>-<UTC time>]
    #[arg(long, value_name = "DIR", env = "HIGHWATER_OUT")]
    pub(super) out: Option<PathBuf>,
    /// Record every raw tick, not only those of startup and around spikes
    #[arg(long)]
    pub(super) raw: bool,
    /// Accept a debug build
    #[arg(long)]
    pub(super) allow_debug: bool,
    /// Serve the report as it stands on this port of 127.0.0.1, while the run goes on [default port:
    /// any that is free]
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "0", require_equals = true)]
    pub(super) live: Option<u16>,
    /// Change a key of the scenario, such as phase.soak.for=10m
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Serve /metrics on this port of 127.0.0.1 while the run goes on; 0 is any
    #[arg(long, value_name = "PORT")]
    pub(super) metrics_port: Option<u16>,
    #[command(flatten)]
    pub(super) output: Output,
}

/// What is printed.
#[derive(Debug, Args)]
pub(super) struct Output {
    /// Print run.json on standard output, and nothing else there
    #[arg(long)]
    pub(super) json: bool,
    /// Print no progress
    #[arg(long, short, env = "HIGHWATER_QUIET", value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) quiet: bool,
    /// How progress is shown, on standard error
    #[arg(long, value_enum, default_value_t, env = "HIGHWATER_PROGRESS")]
    pub(super) progress: ProgressChoice,
    /// Print without colours
    #[arg(long, env = "NO_COLOR", value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) no_color: bool,
    /// From which verdict on the exit code is not 0
    #[arg(long, value_enum, default_value_t, env = "HIGHWATER_FAIL_ON")]
    pub(super) fail_on: FailOn,
    #[command(flatten)]
    pub(super) machines: ForMachines,
}

/// `highwater run`
#[derive(Debug, Args)]
pub(super) struct Run {
    /// The scenario [default: ./highwater.toml, unless a target is given]
    pub(super) file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) quick: Quick,
    /// Run only phases of this name or tag
    #[arg(long, value_name = "TAG")]
    pub(super) only: Vec<String>,
    /// Leave out phases of this name or tag
    #[arg(long, value_name = "TAG")]
    pub(super) skip: Vec<String>,
    /// Phases to run instead of the scenario's own, by production's peak: baseline, ramp, spike,
    /// soak, or full for all four in this order
    #[arg(long, value_name = "NAME")]
    pub(super) pattern: Option<crate::scenario::Pattern>,
    /// Production's peak, such as 200/s, which rates like 80% and 10x go by
    #[arg(long, value_name = "RATE")]
    pub(super) expected: Option<crate::units::Rate>,
    /// Stop and report after this time
    #[arg(long, value_name = "TIME", value_parser = crate::units::parse_duration)]
    pub(super) deadline: Option<std::time::Duration>,
    /// Afterwards, replay the greatest spike's first suspect alone, and say whether it was it
    #[arg(long)]
    pub(super) confirm: bool,
    /// Record requests one by one: so many of each second, or all
    #[arg(long, value_name = "N/s|all")]
    pub(super) samples: Option<Samples>,
    /// Afterwards, write windows of memory and traffic by second as `InfluxDB`'s line protocol
    #[arg(long, value_name = "FILE", env = "HIGHWATER_INFLUX")]
    pub(super) influx: Option<PathBuf>,
    #[command(flatten)]
    pub(super) against: Against,
    #[command(flatten)]
    pub(super) common: Common,
}

/// A target without a scenario.
#[derive(Debug, Args)]
pub(super) struct Quick {
    /// Without a scenario: an image to run
    #[arg(long, value_name = "NAME", conflicts_with_all = ["file", "bin", "cargo"])]
    pub(super) image: Option<String>,
    /// Without a scenario: a binary to run
    #[arg(long, value_name = "PATH", conflicts_with_all = ["file", "cargo"])]
    pub(super) bin: Option<PathBuf>,
    /// Without a scenario: a cargo package to build and run
    #[arg(long, value_name = "DIR", conflicts_with = "file")]
    pub(super) cargo: Option<PathBuf>,
    /// The port that the target listens on
    #[arg(long, default_value_t = 8080)]
    pub(super) port: u16,
    /// The memory limit
    #[arg(long, value_name = "SIZE")]
    pub(super) memory: Option<crate::units::Bytes>,
    /// The path that is requested
    #[arg(long, default_value = "/")]
    pub(super) path: String,
    /// POST bodies of this size, instead of GET
    #[arg(long, value_name = "SIZE")]
    pub(super) body_size: Option<crate::units::Bytes>,
    /// How long traffic lasts
    #[arg(long = "for", value_name = "TIME", default_value = "30s", value_parser = crate::units::parse_duration)]
    pub(super) length: std::time::Duration,
    /// Without a scenario: the target's arguments
    #[arg(last = true, value_name = "ARGS")]
    pub(super) args: Vec<String>,
}

/// `highwater startup`
#[derive(Debug, Args)]
pub(super) struct Startup {
    /// The scenario [default: ./highwater.toml]
    pub(super) file: Option<PathBuf>,
    /// How many trials; all of them are run
    #[arg(long)]
    pub(super) trials: Option<u32>,
    /// With --trials: stop where they come out alike, after two at least
    #[arg(long, requires = "trials")]
    pub(super) stop_early: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

/// `highwater size`
#[derive(Debug, Args)]
pub(super) struct Size {
    /// The scenario [default: ./highwater.toml]
    pub(super) file: Option<PathBuf>,
    /// The largest limit that is tried [default: three quarters of this machine's memory]
    #[arg(long, value_name = "SIZE")]
    pub(super) max: Option<crate::units::Bytes>,
    /// Runs at most [default: 12]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) trials: Option<u32>,
    /// Begin no further run that would not end within this time
    #[arg(long, value_name = "TIME", value_parser = crate::units::parse_duration)]
    pub(super) budget: Option<std::time::Duration>,
    /// Print the limit as another tool wants it; the files are written anyway
    #[arg(long, value_enum, conflicts_with = "json")]
    pub(super) format: Option<LimitFormat>,
    /// A Kubernetes manifest: print what to change in it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "format"])]
    pub(super) manifest: Option<PathBuf>,
    /// Which container of the manifest, where it has several
    #[arg(long, value_name = "NAME", requires = "manifest")]
    pub(super) container: Option<String>,
    /// Change the manifest, rather than to print what to change
    #[arg(long, requires = "manifest")]
    pub(super) write: bool,
    /// Only phases of this name or tag
    #[arg(long, value_name = "TAG")]
    pub(super) only: Vec<String>,
    /// Leave out phases of this name or tag
    #[arg(long, value_name = "TAG")]
    pub(super) skip: Vec<String>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Who a limit is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LimitFormat {
    /// `resources:` of a Kubernetes manifest.
    Kubernetes,
    /// A service of a Compose file.
    Compose,
    /// Flags of `docker run`.
    Docker,
}

impl From<LimitFormat> for crate::report::Snippet {
    fn from(format: LimitFormat) -> Self {
        match format {
            LimitFormat::Kubernetes => Self::Kubernetes,
            LimitFormat::Compose => Self::Compose,
            LimitFormat::Docker => Self::Docker,
        }
    }
}

/// `highwater load`; there `-q` is hey's.
#[derive(Debug, Args)]
#[command(mut_arg("quiet", |quiet| quiet.short(None)))]
pub(super) struct Load {
    /// Where to: http://host:port/path; the scheme may be left out
    pub(super) url: String,
    /// Connections that are used at once
    #[arg(short = 'c', long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) connections: u32,
    /// Requests in all [default: 200, unless -z or --rate is given]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) requests: Option<u64>,
    /// How long requests are sent; overrides -n
    #[arg(short = 'z', long, value_name = "TIME", value_parser = crate::units::parse_duration)]
    pub(super) duration: Option<std::time::Duration>,
    /// At most so many requests a second on each connection
    #[arg(short = 'q', long, value_name = "RATE", conflicts_with = "rate")]
    pub(super) limit: Option<crate::units::Rate>,
    /// Open loop: so many requests a second in all, whatever the answers do, such as 500 or 30/min
    #[arg(long, value_name = "RATE")]
    pub(super) rate: Option<crate::units::Rate>,
    /// With --rate: how requests are spaced [default: even]
    #[arg(long, value_enum)]
    pub(super) arrivals: Option<ArrivalsChoice>,
    /// The method [default: GET, or POST with a body]
    #[arg(short = 'm', long, value_name = "METHOD")]
    pub(super) method: Option<String>,
    /// A header line, 'Name: value'
    #[arg(short = 'H', long, value_name = "LINE")]
    pub(super) header: Vec<String>,
    /// The request's body
    #[arg(short = 'd', long, value_name = "TEXT", conflicts_with = "body_file")]
    pub(super) data: Option<String>,
    /// A file with the request's body
    #[arg(short = 'D', long, value_name = "FILE")]
    pub(super) body_file: Option<PathBuf>,
    /// The body's type [default: text/plain, where there is a body]
    #[arg(short = 'T', long, value_name = "TYPE")]
    pub(super) content_type: Option<String>,
    /// What is accepted
    #[arg(short = 'A', long, value_name = "TYPE")]
    pub(super) accept: Option<String>,
    /// Basic authentication
    #[arg(short = 'a', long, value_name = "USER:PASSWORD", hide_env_values = true)]
    pub(super) auth: Option<String>,
    /// How long a request may take, in seconds or as a time; 0: as long as it likes
    #[arg(short = 't', long, value_name = "TIME", default_value = "20", value_parser = seconds_or_time)]
    pub(super) timeout: std::time::Duration,
    /// A rule to hold the traffic to, such as `http_req_duration: p(95)<200`
    #[arg(long, value_name = "METRIC: RULE")]
    pub(super) threshold: Vec<String>,
    /// Keep the run's directory, with its recording and reports
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Record requests one by one: so many of each second, or all
    #[arg(long, value_name = "N/s|all", requires = "out")]
    pub(super) samples: Option<Samples>,
    #[command(flatten)]
    pub(super) output: Output,
}

/// How requests of an open loop are spaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ArrivalsChoice {
    /// At even distances.
    #[default]
    Even,
    /// At random, independently of each other.
    Poisson,
}

/// `20`, `0.5` or `20s`
fn seconds_or_time(text: &str) -> Result<std::time::Duration, String> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match text.parse::<f64>() {
        Ok(seconds) if is_number => {
            std::time::Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
        }
        _ => crate::units::parse_duration(text).map_err(|error| error.to_string()),
    }
}

/// `highwater export`
#[derive(Debug, Args)]
pub(super) struct Export {
    /// The run's directory
    pub(super) directory: PathBuf,
    /// What it is written as
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: ExportFormat,
    /// Raw ticks instead of windows of memory: all, where the run had --raw, else those of startup
    /// and around spikes
    #[arg(long, conflicts_with_all = ["traffic", "samples"])]
    pub(super) raw: bool,
    /// Traffic by second, phase and step, instead of windows of memory
    #[arg(long, conflicts_with = "samples")]
    pub(super) traffic: bool,
    /// Requests one by one, as far as the run's --samples kept them
    #[arg(long)]
    pub(super) samples: bool,
    /// Where to [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

/// What a recording's data is written as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ExportFormat {
    /// CSV, with a header line.
    #[default]
    Csv,
    /// Parquet.
    Parquet,
    /// `InfluxDB`'s line protocol.
    Influx,
    /// An `HdrHistogram` log: latencies and durations by second, phase and step.
    Hlog,
}

/// `highwater watch`
#[derive(Debug, Args)]
pub(super) struct Watch {
    /// A container (name, id, or the start of one), a process id, or a cgroup's directory; where a
    /// name could be several, put `container:`, `pid:` or `cgroup:` before it
    #[arg(value_name = "WHAT")]
    pub(super) what: Vec<String>,
    /// All running containers, and those that start later
    #[arg(long, conflicts_with = "label")]
    pub(super) all: bool,
    /// Running containers with this label (with all, where given several times), and those that
    /// start later
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub(super) label: Vec<String>,
    /// Stop and report after this time [default: when what is watched has ended]
    #[arg(long = "for", value_name = "TIME", value_parser = crate::units::parse_duration)]
    pub(super) length: Option<std::time::Duration>,
    /// Time between two readings [default: 1ms for up to 8 targets, 2ms for up to 16, …]
    #[arg(long, value_name = "TIME", value_parser = crate::units::parse_duration)]
    pub(super) tick: Option<std::time::Duration>,
    /// Time that readings are summed up over [default: 100ms]
    #[arg(long, value_name = "TIME", value_parser = crate::units::parse_duration)]
    pub(super) window: Option<std::time::Duration>,
    /// Keep every reading, not only those around spikes
    #[arg(long)]
    pub(super) raw: bool,
    /// On cgroup v1, reset peaks at every tick: each spike is exact then, and whoever else reads
    /// the mark sees it reset
    #[arg(long)]
    pub(super) reset_peaks: bool,
    /// Serve the report as it stands on this port of 127.0.0.1, meanwhile [default port: any that
    /// is free]
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "0", require_equals = true)]
    pub(super) live: Option<u16>,
    /// A rule to hold each target to, such as 'memory: max<80%'
    #[arg(long, value_name = "METRIC: RULE")]
    pub(super) threshold: Vec<String>,
    /// The run's directory [default: reports/<name>-<UTC time>]
    #[arg(long, value_name = "DIR", env = "HIGHWATER_OUT")]
    pub(super) out: Option<PathBuf>,
    /// Serve /metrics on this port of 127.0.0.1 while the watch goes on; 0 is any
    #[arg(long, value_name = "PORT")]
    pub(super) metrics_port: Option<u16>,
    #[command(flatten)]
    pub(super) output: Output,
}

/// `highwater report`
#[derive(Debug, Args)]
pub(super) struct Report {
    /// The run's directory
    pub(super) directory: PathBuf,
    /// Where the reports go, when not into the run's directory
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) against: Against,
    #[command(flatten)]
    pub(super) output: Output,
}

/// `highwater serve`
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The run's directory
    pub(super) directory: PathBuf,
    /// The port on 127.0.0.1; 0: any that is free
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(super) port: u16,
}

/// `highwater schema`
#[derive(Debug, Args)]
pub(super) struct Schema {
    /// The schema of run.json, rather than that of scenarios
    #[arg(long)]
    pub(super) run: bool,
}

/// `highwater doctor`
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// How a container's memory is sampled and its network reached
    #[arg(long, value_enum, default_value_t, env = "HIGHWATER_VIA")]
    pub(super) via: ViaChoice,
    /// Print it as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `highwater init`
#[derive(Debug, Args)]
pub(super) struct Init {
    /// Write it for this image [default: for the crate here, else for the Dockerfile]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["package", "bin"])]
    pub(super) image: Option<String>,
    /// The package, where the workspace has several with a binary
    #[arg(long, short, value_name = "NAME")]
    pub(super) package: Option<String>,
    /// The binary, where there are several
    #[arg(long, value_name = "NAME")]
    pub(super) bin: Option<String>,
    /// Write over a highwater.toml that is there
    #[arg(long)]
    pub(super) force: bool,
}

/// `highwater completions`
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}

/// `highwater man`
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The verb [default: the program as a whole]
    pub(super) verb: Option<String>,
}

/// `highwater helper`
#[derive(Debug, Args)]
pub(super) struct Helper {
    /// Only remove the cgroups of this run
    #[arg(long, value_name = "RUN")]
    pub(super) remove: Option<String>,
}

/// `highwater clean`
#[derive(Debug, Args)]
pub(super) struct Clean {
    /// Only say what would be removed
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Only what this run left, wherever it was started; its id is what the names end with
    #[arg(long, value_name = "ID")]
    pub(super) run: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn seconds_may_be_fractions_and_go_without_a_unit() {
        assert_eq!(seconds_or_time("20"), Ok(Duration::from_secs(20)));
        assert_eq!(seconds_or_time("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds_or_time("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", ".", "inf", "nan", "-1", "1e3", "1.2.3", "99999999999999999999999"] {
            assert!(seconds_or_time(wrong).is_err(), "{wrong}");
        }
    }
}
