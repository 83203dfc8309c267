//! `highwater run` and `highwater startup`: from a scenario to a verdict.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::baseline::{Held, held};
use super::machines::{Asked, Watchers, can_be_written};
use super::options::{Common, Output, ProgressChoice, Quick, Run, Startup};
use super::print::note;
use super::report::{CONFIRM, analyse, render};
use super::signals::Signals;
use super::supervise::{
    KEPT, SharedProgress, Supervision, clear_away, heed_signals_while_rendering, shown,
};
use super::{Exit, Fault, panics, serve};
use crate::campaign::{self, Job};
use crate::clock::Clock;
use crate::event::Finish;
use crate::live::{LivePage, Progress};
use crate::metrics::Collector;
use crate::plan::{Outline, PhasePlan, Plan};
use crate::record::{LastWords, RunDirectory};
use crate::runtime::{self, Runtime};
use crate::scenario::{self, Overrides, QuickTarget, Scenario};
use crate::session::{self, Breakdowns, StopSignal, Way};

const DEFAULT_FILE: &str = "highwater.toml";

/// `highwater run`
pub(super) fn run(options: &Run) -> Result<Exit, Fault> {
    let held = held(&options.against)?;
    let expected = options.expected.map(|rate| {
        let per_second = rate.as_per_second();
        format!("traffic.expected=\"{per_second}/s\"")
    });
    let overrides = Overrides {
        set: options.common.set.iter().cloned().chain(expected).collect(),
        only: options.only.clone(),
        skip: options.skip.clone(),
        pattern: options.pattern,
    };
    // First, for faults may be about its text.
    if let Some(pattern) = options.pattern
        && !options.common.output.quiet
    {
        note(&format!("--pattern {pattern} stands for:\n\n{}", pattern.text()));
    }
    let plan = match quick_target(&options.quick) {
        Some(quick) => quick_plan(quick, options).map_err(|faults| faulty(&faults))?,
        None => load(options.file.as_deref(), &overrides)?,
    };
    let mut plan = allowing(plan, &options.common);
    plan.traffic.samples = options.samples.unwrap_or_default();
    let way = Extent { startup_only: false, confirm: options.confirm, deadline: options.deadline };
    execute(plan, &options.common, way, options.influx.as_deref(), held)
}

/// `highwater startup`
pub(super) fn startup(options: &Startup) -> Result<Exit, Fault> {
    let overrides = Overrides { set: options.common.set.clone(), ..Overrides::default() };
    let mut plan = allowing(load(options.file.as_deref(), &overrides)?, &options.common);
    if let Some(trials) = options.trials {
        (plan.startup.trials, plan.startup.stop_early) = (trials, options.stop_early);
    }
    plan.startup.trials = plan.startup.trials.max(1);
    execute(
        plan,
        &options.common,
        Extent { startup_only: true, confirm: false, deadline: None },
        None,
        None,
    )
}

fn quick_plan(quick: QuickTarget, options: &Run) -> Result<Plan, scenario::Faults> {
    let mut scenario = Scenario::quick(quick);
    if let Some(pattern) = options.pattern {
        scenario.follow(pattern, options.expected)?;
    }
    Plan::compile(&scenario)
}

fn quick_target(quick: &Quick) -> Option<QuickTarget> {
    let source = if let Some(image) = &quick.image {
        scenario::QuickSource::Image(image.clone())
    } else if let Some(bin) = &quick.bin {
        scenario::QuickSource::Binary(bin.clone())
    } else {
        scenario::QuickSource::Cargo(quick.cargo.clone()?)
    };
    Some(QuickTarget {
        source,
        port: quick.port,
        memory: quick.memory,
        path: quick.path.clone(),
        body_size: quick.body_size,
        length: quick.length,
        args: quick.args.clone(),
    })
}

pub(super) fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Plan, Fault> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    Plan::load(path, overrides).map_err(|faults| faulty(&faults))
}

/// The plan with what the command line allows.
pub(super) fn allowing(mut plan: Plan, common: &Common) -> Plan {
    plan.target.allow_debug |= common.allow_debug;
    plan.keep_raw |= common.raw;
    plan
}

fn faulty(faults: &scenario::Faults) -> Fault {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    Fault::rendered(Exit::BadUse, faults.render(colour))
}

/// A runtime for the run's tasks. Sampler, vitals, recorder and load have threads of their own.
pub(super) fn tokio_runtime() -> Result<tokio::runtime::Runtime, Fault> {
    descriptors_are_there().map_err(|error| Fault::new(Exit::HostCannot, &error, None))?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("session")
        .enable_all()
        .build()
        .map_err(|error| Fault::new(Exit::HostCannot, &error, None))
}

/// An event loop takes some descriptors, and panics where it gets none for its signals.
fn descriptors_are_there() -> std::io::Result<()> {
    let files: std::io::Result<Vec<std::fs::File>> =
        (0..8).map(|_| std::fs::File::open("/dev/null")).collect();
    files.map(drop)
}

/// How much of a run is done.
#[derive(Debug, Clone, Copy)]
struct Extent {
    startup_only: bool,
    /// Whether the first suspect is replayed.
    confirm: bool,
    deadline: Option<Duration>,
}

fn execute(
    plan: Plan,
    common: &Common,
    extent: Extent,
    influx: Option<&Path>,
    held: Option<Held<'_>>,
) -> Result<Exit, Fault> {
    common.output.machines.check()?;
    if let Some(path) = influx {
        can_be_written(path)?;
    }
    let Extent { startup_only, confirm, deadline } = extent;
    let (began, again) = (Instant::now(), confirm.then(|| plan.clone()));
    let place = common.out.clone().unwrap_or_else(|| default_directory(&plan.name));
    let existed = place.exists();
    let directory = RunDirectory::create(&place)?;
    let page = common.live.map(|port| serve::start(directory.clone(), port)).transpose();
    let tokio = tokio_runtime()?;
    if !common.output.quiet {
        tokio.block_on(super::clean::tell_of_leftovers());
    }
    let recorded = page.and_then(|page| {
        let url = page.as_ref().map(LivePage::url);
        tokio.block_on(record_run(
            plan,
            common,
            directory.clone(),
            startup_only,
            deadline,
            None,
            url,
        ))
    });
    let interrupted = matches!(recorded, Ok(Finish::Interrupted));
    match recorded {
        Ok(Finish::TargetFailed { text }) => {
            let help = "check `args`, `env`, `port` and `ready` in `[target]`";
            Fault::plain(Exit::TargetFailed, &text, help).print();
        }
        Ok(Finish::Completed | Finish::OomKilled) => {
            if let Some(plan) = again {
                let left = deadline.map(|deadline| deadline.saturating_sub(began.elapsed()));
                replay(&tokio, &plan, common, &directory, left)?;
            }
        }
        Ok(_) => {}
        Err(fault) => {
            if directory.recording().exists() {
                return broken_off(fault, &tokio, &directory, &common.output, held);
            }
            if !existed {
                // Nothing was measured: an empty directory would only puzzle.
                let _ = std::fs::remove_dir_all(&place);
            }
            return Err(fault);
        }
    }
    heed_signals_while_rendering(&tokio, &place, interrupted);
    if let Some(path) = influx {
        super::export::influx(&directory, path)?;
    }
    render(&directory, &common.output, held)
}

/// Reports what was recorded before a run could not go on; that it could not stays the exit.
fn broken_off(
    fault: Fault,
    tokio: &tokio::runtime::Runtime,
    directory: &RunDirectory,
    output: &Output,
    held: Option<Held<'_>>,
) -> Result<Exit, Fault> {
    if fault.exit == Exit::Interrupted {
        // Whoever wants it to end at once does not wait for a report.
        return Err(fault);
    }
    fault.print();
    heed_signals_while_rendering(tokio, directory.path(), false);
    if let Err(second) = render(directory, output, held) {
        second.print();
    }
    Ok(fault.exit)
}

/// Replays the greatest spike's first suspect alone, into a run directory within the run's own,
/// where reports find it.
fn replay(
    tokio: &tokio::runtime::Runtime,
    plan: &Plan,
    common: &Common,
    directory: &RunDirectory,
    left: Option<Duration>,
) -> Result<(), Fault> {
    let findings = analyse(directory)?;
    let found = crate::analysis::suspect(&findings).and_then(|suspect| {
        let plan = campaign::alone(plan, &suspect.scenario, suspect.in_flight)?;
        Some((suspect, plan))
    });
    let Some((suspect, plan)) = found else {
        note("--confirm: there is no spike whose cause could be replayed");
        return Ok(());
    };
    if left.is_some_and(|left| left.is_zero()) {
        note("--confirm: no time is left to replay the suspect");
        return Ok(());
    }
    if !common.output.quiet {
        let (count, step) = (suspect.in_flight, &suspect.step);
        note(&format!("replaying {count} {step} at once, alone, in a fresh container"));
    }
    let within = RunDirectory::create(&directory.path().join(CONFIRM))?;
    tokio.block_on(record_run(plan, common, within, false, left, None, None))?;
    Ok(())
}

/// `reports/<name>-<UTC time>`, with a number where two runs start in one second.
pub(super) fn default_directory(name: &str) -> PathBuf {
    let safe: String =
        name.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '-' }).collect();
    let time = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    let first = Path::new("reports").join(format!("{safe}-{time}"));
    let others = (2..100).map(|n| Path::new("reports").join(format!("{safe}-{time}-{n}")));
    std::iter::once(first.clone()).chain(others).find(|path| !path.exists()).unwrap_or(first)
}

/// One of several runs, whose signals are those of all.
pub(super) async fn record_one_of_many(
    plan: Plan,
    common: &Common,
    directory: RunDirectory,
    signals: &mut Signals,
) -> Result<Finish, Fault> {
    record_run(plan, common, directory, false, None, Some(signals), None).await
}

/// Builds, runs and records; clears everything away whatever happens.
async fn record_run(
    mut plan: Plan,
    common: &Common,
    directory: RunDirectory,
    startup_only: bool,
    deadline: Option<Duration>,
    signals: Option<&mut Signals>,
    page: Option<&str>,
) -> Result<Finish, Fault> {
    let mut own = Signals::new().map_err(|e| Fault::new(Exit::HostCannot, &e, None))?;
    let signals = signals.unwrap_or(&mut own);
    let (handle, stop) = StopSignal::new();
    let last_words = LastWords::default();
    let breakdowns = panics::listen(&last_words);
    let run_id = format!("{:08x}", rand::random::<u32>());
    let mut runtime = Runtime::connect(common.runtime.into(), &run_id, &plan.budget)
        .await
        .map_err(|error| runtime_fault(&error))?;
    runtime.reports_in(directory.path()).map_err(|error| runtime_fault(&error))?;
    let found = session::find_way(&mut runtime, common.via.into(), &run_id).await;
    let (way, notes) = match found {
        Ok(found) => found,
        Err(error) => {
            // A helper may have been begun.
            let _ = runtime.clean_up().await;
            return Err(session_fault(&error));
        }
    };
    let notes = [std::mem::take(&mut plan.notes), notes].concat();
    let runtime = Arc::new(runtime);
    let progress = progress_of(plan.outline(), &common.output);
    tell_page(page, progress.as_ref());
    let work = {
        let (runtime, progress) = (runtime.clone(), progress.clone());
        let (port, collector) = (common.metrics_port, common.output.machines.otlp.clone());
        let told = Told { port, collector };
        let last_words = last_words.clone();
        let context = Context {
            run_id,
            way,
            notes,
            directory,
            stop,
            startup_only,
            told,
            last_words,
            breakdowns,
        };
        tokio::spawn(Box::pin(work(plan, runtime, progress, context)))
    };
    let progress = progress.as_ref();
    let handle = &handle;
    let supervision =
        Supervision { handle, deadline, progress, last_words: &last_words, left: KEPT };
    let done = supervision.wait(work, signals).await;
    let cleaned = clear_away(&runtime, signals).await;
    let finish = done?;
    cleaned?;
    Ok(finish)
}

/// Sees that this process may open a connection for each user of these phases.
pub(super) fn allow_connections(phases: &[PhasePlan]) -> Result<(), Fault> {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    crate::load::allow_connections(phases, workers)
        .map_err(|error| Fault::new(Exit::HostCannot, &error, error.help()))
}

/// Tells where the live page is, where there is one: whoever asked for it needs to know, however
/// quiet it is to be otherwise.
pub(super) fn tell_page(url: Option<&str>, progress: Option<&SharedProgress>) {
    match (url, progress) {
        (Some(url), Some(progress)) => {
            shown(progress).live_page(url);
        }
        (Some(url), None) => note(&format!("live page: {url}")),
        (None, _) => {}
    }
}

/// What is shown of a run's progress; nothing where it is to be quiet.
pub(super) fn progress_of(outline: Outline, output: &Output) -> Option<SharedProgress> {
    let lines = |outline| Progress::lines(outline, Box::new(std::io::stderr()));
    let wanted = if output.quiet { ProgressChoice::None } else { output.progress };
    let progress = match wanted {
        ProgressChoice::None => return None,
        ProgressChoice::Auto | ProgressChoice::Tui if Progress::has_screen() => {
            let screen = Progress::screen(outline.clone(), !output.no_color);
            screen.unwrap_or_else(|_| lines(outline))
        }
        ProgressChoice::Auto | ProgressChoice::Lines => lines(outline),
        ProgressChoice::Tui => {
            note("note: `--progress tui` needs a terminal in the foreground: lines instead");
            lines(outline)
        }
    };
    Some(Arc::new(Mutex::new(progress)))
}

struct Context {
    run_id: String,
    way: Way,
    notes: Vec<String>,
    directory: RunDirectory,
    stop: StopSignal,
    startup_only: bool,
    told: Told,
    last_words: LastWords,
    breakdowns: Breakdowns,
}

/// Who is told of a run while it goes on.
struct Told {
    port: Option<u16>,
    collector: Option<Collector>,
}

async fn work(
    plan: Plan,
    runtime: Arc<Runtime>,
    progress: Option<SharedProgress>,
    context: Context,
) -> Result<Finish, Fault> {
    let say = |line: &str| {
        if let Some(progress) = &progress {
            shown(progress).say(line);
        }
    };
    if matches!(context.way, Way::Here(_)) {
        allow_connections(&plan.phases)?;
    }
    let mut stop = context.stop.clone();
    let built = tokio::select! {
        built = runtime.build(&plan.target, context.directory.path(), &say) => {
            built.map_err(|error| runtime_fault(&error))?
        }
        () = stop.asked() => {
            let help = "run it again when there is time for the build";
            return Err(Fault::plain(Exit::Interrupted, "interrupted before the target was built", help));
        }
    };
    let viewed = progress.clone();
    // The run begins when there is something to start.
    let clock = Clock::start();
    let asked = Asked {
        port: context.told.port,
        collector: context.told.collector.as_ref(),
        run_id: &context.run_id,
    };
    let watchers = Watchers::serve(asked, &plan.outline(), clock.anchor()).await?;
    let job = Job {
        plan: Arc::new(plan),
        runtime,
        way: context.way,
        notes: context.notes,
        built,
        run_id: context.run_id,
        directory: context.directory,
        clock,
        stop: context.stop,
        observer: Box::new(move |event| {
            watchers.take(event);
            if let Some(progress) = &viewed {
                shown(progress).take(event);
            }
        }),
        startup_only: context.startup_only,
        last_words: context.last_words,
        breakdowns: context.breakdowns,
    };
    Box::pin(campaign::run(job)).await.map_err(|error| session_fault(&error))
}

pub(super) fn runtime_fault(error: &runtime::Error) -> Fault {
    let exit = match error.kind() {
        runtime::ErrorKind::HostCannot => Exit::HostCannot,
        runtime::ErrorKind::BadUse => Exit::BadUse,
        runtime::ErrorKind::Target => Exit::TargetFailed,
    };
    Fault::new(exit, error, error.help())
}

pub(super) fn session_fault(error: &session::Error) -> Fault {
    match error {
        session::Error::Runtime(error) => runtime_fault(error),
        other => Fault::new(Exit::HostCannot, other, other.help()),
    }
}
