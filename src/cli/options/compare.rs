//! What can be asked of a comparison, and of a baseline.

use std::path::PathBuf;

use clap::Args;

/// A baseline that a run is held against.
#[derive(Debug, Args)]
pub(in crate::cli) struct Against {
    /// Hold the run against this baseline, a small file kept with the source, and fail it where
    /// something became worse; `highwater compare --help` tells how
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) baseline: Option<PathBuf>,
    /// Take the run into the baseline; make it where there is none
    #[arg(long, requires = "baseline")]
    pub(in crate::cli) update_baseline: bool,
    /// From which change on a metric matters, such as 5%, latency=20% or 'peak{phase:burst}=3%'
    #[arg(long, value_name = "SHARE", requires = "baseline")]
    pub(in crate::cli) share: Vec<String>,
}

/// `highwater compare`
#[derive(Debug, Args)]
#[command(
    after_long_help = COMPARE_HELP,
    group = clap::ArgGroup::new("against").required(true).args(["base", "baseline"])
)]
pub(in crate::cli) struct Compare {
    /// The runs to compare with: directories, or run.json files
    #[arg(long, value_name = "DIR", num_args = 1..)]
    pub(in crate::cli) base: Vec<PathBuf>,
    /// The runs that are judged: directories, or run.json files
    #[arg(long, value_name = "DIR", num_args = 1.., required = true)]
    pub(in crate::cli) new: Vec<PathBuf>,
    /// Compare with this baseline instead: a small file to be kept with the source
    #[arg(long, value_name = "FILE", conflicts_with = "base")]
    pub(in crate::cli) baseline: Option<PathBuf>,
    /// Take the new runs into the baseline; make it where there is none
    #[arg(long, requires = "baseline")]
    pub(in crate::cli) update_baseline: bool,
    /// From which change on a metric matters, such as 5%, latency=20% or 'peak{phase:burst}=3%'
    #[arg(long, value_name = "SHARE")]
    pub(in crate::cli) share: Vec<String>,
    /// Compare what was not made alike, was interrupted or can't be trusted
    #[arg(long)]
    pub(in crate::cli) anyway: bool,
    /// Show all metrics, not only what changed
    #[arg(long)]
    pub(in crate::cli) all: bool,
    /// Write the comparison as Markdown, for a pull request
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) markdown: Option<PathBuf>,
    /// Write the comparison as `JUnit` XML: a test for each metric, of which only what is worse fails
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) junit: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) output: ComparisonOutput,
}

/// What is printed of a comparison.
#[derive(Debug, Args)]
pub(in crate::cli) struct ComparisonOutput {
    /// Print the comparison as JSON on standard output, and nothing else there
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// Print no progress
    #[arg(long, short, env = "HIGHWATER_QUIET", value_parser = clap::builder::FalseyValueParser::new())]
    pub(in crate::cli) quiet: bool,
    /// Print without colours
    #[arg(long, env = "NO_COLOR", value_parser = clap::builder::FalseyValueParser::new())]
    pub(in crate::cli) no_color: bool,
}

const COMPARE_HELP: &str = "\
A metric is worse where the change is beyond chance and larger than its share:
  unreclaimable, peak, rss, startup_unreclaimable, startup_peak,
  startup_settled, throughput 5 %; ready, latency_p50, cpu 10 %; cost,
  latency_p95 15 %; latency_p99 20 %; growth, growth_per_request 25 %; failed
  0.5 points. Never less than what the measurement itself may be off by: 252 KiB
  a CPU for charged memory, 1 or 2 ms for latencies, 20 ms for ready.
What is neither worse, better nor surely the same is unclear, which is no failure.

Three runs a side and more: a permutation test over all metrics at once (maxT of
  Westfall and Young), so that at most one comparison in twenty of runs that do
  not differ gives an alarm; changes by Hodges and Lehmann, intervals by Moses.
Fewer: startup by its trials; else only changes beyond a stated floor (memory and
  throughput 25 %, ready, cost and cpu 50 %, latency 100 to 300 %), for how much
  runs differ is not known.
A baseline: Student's t of the new runs against a fixed reference and its noise,
  Holm's adjustment. A reference stays while changes are within their share, so
  that many small ones add up; --update-baseline moves it where they are beyond.
An OOM kill where there was none is a regression; so is growth that became a leak.

Exit codes: 0 no regression, 1 a regression, 2 bad usage or runs not made alike
  (--anyway), 5 a measurement can't be trusted.";
