//! What can be asked of each verb.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::runtime::Choice;

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

/// From which verdict on the exit code is not 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum FailOn {
    /// A warning already fails.
    Warn,
    /// Only a failure does.
    #[default]
    Fail,
}

/// Common to verbs that run something.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Where the target runs
    #[arg(long, value_enum, default_value_t, env = "HIGHWATER_RUNTIME")]
    pub(super) runtime: RuntimeChoice,
    /// The run's directory [default: reports/<name>-<UTC time>]
    #[arg(long, value_name = "DIR", env = "HIGHWATER_OUT")]
    pub(super) out: Option<PathBuf>,
    /// Accept a debug build
    #[arg(long)]
    pub(super) allow_debug: bool,
    /// Change a key of the scenario, such as phase.soak.for=10m
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
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
    /// Print without colours
    #[arg(long, env = "NO_COLOR", value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) no_color: bool,
    /// From which verdict on the exit code is not 0
    #[arg(long, value_enum, default_value_t, env = "HIGHWATER_FAIL_ON")]
    pub(super) fail_on: FailOn,
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
    /// Stop and report after this time
    #[arg(long, value_name = "TIME", value_parser = crate::units::parse_duration)]
    pub(super) deadline: Option<std::time::Duration>,
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
    /// How many trials
    #[arg(long)]
    pub(super) trials: Option<u32>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// `highwater report`
#[derive(Debug, Args)]
pub(super) struct Report {
    /// The run's directory
    pub(super) directory: PathBuf,
    #[command(flatten)]
    pub(super) output: Output,
}

/// `highwater clean`
#[derive(Debug, Args)]
pub(super) struct Clean {
    /// Only say what would be removed
    #[arg(long)]
    pub(super) dry_run: bool,
}
