//! `highwater size`: the smallest limit that survives, found and proved by runs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::options::{Common, Output, RuntimeChoice, Size};
use super::print::{note, print_all};
use super::report::{analyse, exit_of, print_rendered, write_reports};
use super::run::{allowing, default_directory, load, record_one_of_many, tokio_runtime};
use super::signals::Signals;
use super::{Exit, Fault};
use crate::analysis::{Findings, SizeEnding, SizeRun};
use crate::campaign::size::search::{Purpose, Scope, Step};
use crate::campaign::size::{self, Header, Search, Stopped};
use crate::plan::{Plan, TargetSource};
use crate::record::RunDirectory;
use crate::report::{self, Snippet};
use crate::scenario::Overrides;
use crate::units::{Bytes, Human, Limit};

/// Docker refuses smaller limits.
const LEAST_DOCKER: Bytes = Bytes::from_mib(6);
const LEAST_NATIVE: Bytes = Bytes::from_mib(2);
/// Of the machine's memory, what a limit is at most, where nothing is said.
const MOST_OF_MACHINE: f64 = 0.75;
/// Runs that a search takes, as a first guess.
const USUAL_RUNS: u32 = 9;
/// Runs in a row that can't be trusted, after which it is given up.
const MOST_VOID: u32 = 3;

/// `highwater size`
pub(super) fn size(options: &Size) -> Result<Exit, Fault> {
    let overrides = Overrides {
        set: options.common.set.clone(),
        only: options.only.clone(),
        skip: options.skip.clone(),
        pattern: None,
    };
    let whole = allowing(load(options.file.as_deref(), &overrides)?, &options.common);
    // Read now rather than after a long search.
    if let Some(path) = &options.manifest {
        patch(path, options, LEAST_DOCKER, LEAST_DOCKER)?;
    }
    let (plan, shares) = size::plan_of_runs(whole.clone())?;
    let scope = scope(options, &whole)?;
    let header = Header::new(&whole, &plan, shares, scope, program(&plan));
    let named = || default_directory(&format!("{}-size", plan.name));
    let place = options.common.out.clone().unwrap_or_else(named);
    if place.join("recording.db").exists() {
        return Err(crate::record::Error::Exists { path: place }.into());
    }
    let search = Search::begin(&place, header)?;
    if !search.runs().is_empty() && !options.common.output.quiet {
        note(&format!("going on after {} runs in {}", search.runs().len(), place.display()));
    }
    let mut size = Sizing { plan, place, search, options, took: Vec::new() };
    let tokio = tokio_runtime()?;
    if !options.common.output.quiet {
        tokio.block_on(super::clean::tell_of_leftovers());
    }
    let stopped = tokio.block_on(size.search());
    let stopped = match stopped {
        Ok(stopped) => stopped,
        Err(fault) if size.search.runs().is_empty() => {
            // Nothing was measured: an empty directory would only puzzle.
            let _ = std::fs::remove_dir_all(&size.place);
            return Err(fault);
        }
        Err(fault) => return Err(fault),
    };
    let findings = render(&size.place, &size.place, &size.search, stopped.as_ref())?;
    print(&findings, &size.place, options)
}

fn print(findings: &Findings, place: &Path, options: &Size) -> Result<Exit, Fault> {
    let output = &options.common.output;
    let sizing = findings.sizing.as_ref();
    let limit = sizing.and_then(|sizing| sizing.recommended);
    if let (Some(path), Some(limit)) = (&options.manifest, limit) {
        let request = sizing.and_then(|sizing| sizing.request).unwrap_or(limit);
        let (before, after) = patch(path, options, limit, request)?;
        let name = path.display().to_string();
        if options.write {
            report::replace_file(path, &after).map_err(|source| manifest_fault(path, &source))?;
            note(&format!("{name} now has {} as the memory limit", Limit::Bytes(limit)));
        } else {
            print_all(report::diff(&name, &before, &after).trim_end())?;
            tell_apart(findings, place, output);
            return Ok(exit_of(findings, output));
        }
    }
    match options.format.and_then(|format| Snippet::from(format).text(findings)) {
        Some(text) => {
            print_all(text.trim_end())?;
            tell_apart(findings, place, output);
            Ok(exit_of(findings, output))
        }
        None => print_rendered(findings, place, output),
    }
}

/// The verdict in a line beside what was asked for, which goes where a program may read it.
fn tell_apart(findings: &Findings, place: &Path, output: &Output) {
    if output.quiet {
        return;
    }
    if let Some(reason) = findings.reasons.first() {
        let (verdict, text) = (findings.verdict.name(), &reason.text);
        note(&format!("{verdict}: {text}; all of it is in {}", place.display()));
    }
}

/// Renders a search that is in a directory; `highwater report` on such a one.
pub(super) fn report_again(place: &Path, to: &Path, output: &Output) -> Result<Exit, Fault> {
    let search = Search::open(place)?;
    let findings = render(place, to, &search, None)?;
    print_rendered(&findings, to, output)
}

fn render(
    place: &Path,
    to: &Path,
    search: &Search,
    stopped: Option<&Stopped>,
) -> Result<Findings, Fault> {
    let Some(run) = search.telling_run() else {
        let help = "the same command begins anew";
        return Err(Fault::plain(Exit::Interrupted, "no run came to its end", help));
    };
    let base = analyse(&RunDirectory::open(&place.join(run))?)?;
    let findings = size::findings(base, search, stopped);
    report::write_all(to, &findings).map_err(|error| {
        Fault::new(Exit::HostCannot, &error, Some("is the directory writable?".to_owned()))
    })?;
    Ok(findings)
}

/// A manifest before and after the limit is put in.
fn patch(
    path: &Path,
    options: &Size,
    limit: Bytes,
    request: Bytes,
) -> Result<(String, String), Fault> {
    let before = std::fs::read_to_string(path).map_err(|source| manifest_fault(path, &source))?;
    let after = report::patched(&before, options.container.as_deref(), limit, request);
    let after = after.map_err(|error| Fault::new(Exit::BadUse, &error, error.help()))?;
    Ok((before, after))
}

fn manifest_fault(path: &Path, source: &std::io::Error) -> Fault {
    let text = format!("failed to read or write the manifest `{}`: {source}", path.display());
    Fault::plain(Exit::BadUse, &text, "give the manifest's file to `--manifest`")
}

fn scope(options: &Size, plan: &Plan) -> Result<Scope, Fault> {
    let native = matches!(options.common.runtime, RuntimeChoice::Native);
    let least = if native { LEAST_NATIVE } else { LEAST_DOCKER };
    let most = options.max.unwrap_or_else(|| of_machine().max(least));
    if most < least {
        let text = format!("`--max {most}` is below {least}, the smallest limit that can be set");
        return Err(Fault::plain(Exit::BadUse, &text, "give it more room"));
    }
    let mut scope = size::scope(plan, least, most);
    if let Some(max) = options.max {
        // What was asked for is not passed for the sake of a first look.
        scope.start = match scope.start {
            Limit::Unlimited => Limit::Bytes(max),
            start @ Limit::Bytes(_) => start,
        };
    }
    scope.runs = options.trials.unwrap_or(size::MOST_RUNS);
    Ok(scope)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a size")]
fn of_machine() -> Bytes {
    use procfs::Current as _;
    let total = procfs::Meminfo::current().map_or(1 << 33, |memory| memory.mem_total);
    Bytes::new((Bytes::new(total).as_f64() * MOST_OF_MACHINE) as u64)
}

/// Stands for the program that is run, where it is a file: another one is another search.
fn program(plan: &Plan) -> u64 {
    let TargetSource::Binary { path, .. } = &plan.target.source else { return 0 };
    std::fs::read(path).map_or(0, |bytes| size::checksum(&bytes))
}

struct Sizing<'a> {
    plan: Plan,
    place: PathBuf,
    search: Search,
    options: &'a Size,
    /// How long runs took.
    took: Vec<Duration>,
}

impl Sizing<'_> {
    /// Makes runs until the search ends, or is ended.
    async fn search(&mut self) -> Result<Option<Stopped>, Fault> {
        let mut signals = Signals::new().map_err(|e| Fault::new(Exit::HostCannot, &e, None))?;
        let began = Instant::now();
        let mut void = 0;
        while let Step::Try { limit, purpose } = self.search.next() {
            if let Some(budget) = self.options.budget
                && began.elapsed() + self.usual_length() > budget
            {
                return Ok(Some(Stopped::Budget));
            }
            self.announce(limit, purpose);
            let run = match self.run(limit, &mut signals).await {
                // Before there was anything to record: what earlier runs showed is told.
                Err(fault) if fault.exit == Exit::Interrupted && !self.search.runs().is_empty() => {
                    return Ok(Some(Stopped::Interrupted));
                }
                run => run?,
            };
            match (&run.ending, &run.untrusted) {
                (SizeEnding::Interrupted, _) => return Ok(Some(Stopped::Interrupted)),
                (SizeEnding::Host(text), _) => return Ok(Some(Stopped::Host(text.clone()))),
                (SizeEnding::Whole, Some(text)) if void + 1 >= MOST_VOID => {
                    return Ok(Some(Stopped::Untrusted(text.clone())));
                }
                (SizeEnding::Whole, Some(text)) => {
                    void += 1;
                    self.say(&format!("  this run does not count, and is made again: {text}"));
                }
                _ => {
                    void = 0;
                    self.tell(&run);
                    self.search.add(run)?;
                }
            }
        }
        Ok(None)
    }

    async fn run(&mut self, limit: Limit, signals: &mut Signals) -> Result<SizeRun, Fault> {
        let began = Instant::now();
        let plan = size::under(&self.plan, limit);
        let limit_word = limit.to_string().replace(' ', "");
        let name = format!("runs/{:02}-{}", self.search.runs().len() + 1, limit_word);
        let path = self.place.join(&name);
        // What an interrupted run left, or one that did not count.
        let _ = std::fs::remove_dir_all(&path);
        let directory = RunDirectory::create(&path)?;
        let common: &Common = &self.options.common;
        record_one_of_many(plan, common, directory.clone(), signals).await?;
        let findings: Findings = write_reports(&directory)?;
        let run = SizeRun::of(&findings, &name, limit);
        if run.ending == SizeEnding::Whole {
            self.took.push(began.elapsed());
        }
        Ok(run)
    }

    /// How long a run takes that survives.
    fn usual_length(&self) -> Duration {
        self.took.iter().max().copied().unwrap_or_else(|| {
            let phases: Duration = self.plan.phases.iter().map(|phase| phase.length).sum();
            phases + self.plan.startup.settle
        })
    }

    fn say(&self, text: &str) {
        if !self.options.common.output.quiet {
            note(text);
        }
    }

    fn announce(&self, limit: Limit, purpose: Purpose) {
        let made = u32::try_from(self.search.runs().len()).unwrap_or(u32::MAX);
        let most = self.search.header().scope.runs;
        let left = USUAL_RUNS.max(made + 1).min(most) - made;
        let left = self.usual_length() * left;
        let left = Duration::from_secs(left.as_secs());
        self.say(&format!(
            "run {} of at most {most}, {limit}: {}, about {} left",
            made + 1,
            purpose.words(),
            Human(left)
        ));
    }

    fn tell(&self, run: &SizeRun) {
        let text = match &run.ending {
            SizeEnding::Killed(text) | SizeEnding::Ended(text) => text.clone(),
            _ => run.need.map_or_else(
                || "survived".to_owned(),
                |(low, high)| format!("survived, {low} to {high} unreclaimable at the peak"),
            ),
        };
        self.say(&format!("  {}: {text}", run.limit));
    }
}

impl From<size::Error> for Fault {
    fn from(error: size::Error) -> Self {
        let exit = match error {
            size::Error::NoPhase { .. } | size::Error::Another { .. } => Exit::BadUse,
            size::Error::State { .. } | size::Error::Damaged { .. } => Exit::HostCannot,
        };
        Self::new(exit, &error, error.help())
    }
}
