//! `highwater watch`: the sampler on what runs already, without traffic of ours.

use std::sync::Arc;
use std::time::Duration;

use super::machines::{Asked, Watchers};
use super::options::Watch;
use super::report::render;
use super::run;
use super::signals::Signals;
use super::supervise::{KEPT, SharedProgress, Supervision, clear_away, shown};
use super::{Exit, Fault, panics, serve};
use crate::clock::Clock;
use crate::event::{Finish, ReleaseBuild, RunFacts, WatchKind};
use crate::live::LivePage;
use crate::plan::{Budget, Metric, Rule, SamplingPlan, Tag, WatchPlan};
use crate::record::{Header, LastWords, Recorder, RunDirectory};
use crate::runtime::{AttachError, Attached, Attacher, Choice, ErrorKind, Runtime, Via, Wanted};
use crate::session::{self, StopSignal, WatchParts, Way};
use crate::units::Limit;

/// The tick, unless another is asked for. Each further this many targets make it longer by as much,
/// so that many samplers don't take a CPU for themselves.
const TICK: Duration = Duration::from_millis(1);
const TARGETS_A_TICK: usize = 8;
const WINDOW: Duration = Duration::from_millis(100);

/// The bounds of both, as in a scenario.
const LEAST_TICK: Duration = Duration::from_micros(100);
const LONGEST_WINDOW: Duration = Duration::from_secs(10);

/// `highwater watch WHAT…`
pub(super) fn watch(options: &Watch) -> Result<Exit, Fault> {
    if options.what.is_empty() && !options.all && options.label.is_empty() {
        let text = "there is nothing named to watch";
        let help = "name a container (`docker ps`), a process id or a cgroup's directory; or take \
                    all containers with `--all`, or those with `--label KEY=VALUE`";
        return Err(Fault::plain(Exit::BadUse, text, help));
    }
    options.output.machines.check()?;
    let rules = rules(&options.threshold)?;
    let wanted =
        Wanted { names: options.what.clone(), all: options.all, labels: labels(&options.label)? };
    let tokio = run::tokio_runtime()?;
    let (attacher, targets) = tokio
        .block_on(async {
            let attacher = Attacher::connect().await?;
            let targets = attacher.find(&wanted).await?;
            Ok::<_, AttachError>((Arc::new(attacher), targets))
        })
        .map_err(|error| attach_fault(&error))?;
    let plan = plan(options, rules, &targets)?;
    let out = &options.out;
    let place = out.clone().unwrap_or_else(|| run::default_directory(&plan.name));
    let existed = place.exists();
    let directory = RunDirectory::create(&place)?;
    let job = Job { plan, wanted, attacher, targets, directory: directory.clone() };
    let page = options.live.map(|port| serve::start(directory.clone(), port)).transpose();
    let done = page
        .and_then(|page| tokio.block_on(record(job, options, page.as_ref().map(LivePage::url))));
    if let Err(fault) = done {
        if !existed && !directory.recording().exists() {
            // Nothing was measured: an empty directory would only puzzle.
            let _ = std::fs::remove_dir_all(&place);
        }
        return Err(fault);
    }
    render(&directory, &options.output, None)
}

/// What one watch works with.
struct Job {
    plan: WatchPlan,
    wanted: Wanted,
    attacher: Arc<Attacher>,
    targets: Vec<Attached>,
    directory: RunDirectory,
}

async fn record(job: Job, options: &Watch, page: Option<&str>) -> Result<Finish, Fault> {
    let mut signals = Signals::new().map_err(|e| Fault::new(Exit::HostCannot, &e, None))?;
    let (handle, stop) = StopSignal::new();
    let last_words = LastWords::default();
    let breakdowns = panics::listen(&last_words);
    let progress = run::progress_of(job.plan.outline(), &options.output);
    run::tell_page(page, progress.as_ref());
    let run_id = format!("{:08x}", rand::random::<u32>());
    let (helping, way) = find_way(&run_id, &job.plan.budget).await;
    // The watch begins when everything that can be refused is behind.
    let clock = Clock::start();
    let header = Header {
        anchor: clock.anchor(),
        outline: job.plan.outline(),
        facts: facts(&run_id, &way, &job.attacher, &job.targets),
    };
    let asked = Asked {
        port: options.metrics_port,
        collector: options.output.machines.otlp.as_ref(),
        run_id: &run_id,
    };
    let watchers = Watchers::serve(asked, &header.outline, header.anchor).await?;
    let recorder = Recorder::begin(&job.directory, &header, &job.plan.budget, last_words.clone())?;
    let watch = session::Watch::new(WatchParts {
        way,
        plan: job.plan,
        wanted: job.wanted,
        attacher: job.attacher,
        targets: job.targets,
        clock,
        recorder,
        stop,
        breakdowns,
        observer: observer(progress.clone(), watchers),
    });
    let work =
        tokio::spawn(async move { watch.run().await.map_err(|error| run::session_fault(&error)) });
    let supervision = Supervision {
        handle: &handle,
        deadline: options.length,
        progress: progress.as_ref(),
        last_words: &last_words,
        left: KEPT,
    };
    let done = supervision.wait(work, &mut signals).await;
    if let Some(runtime) = helping {
        clear_away(&runtime, &mut signals).await?;
    }
    done
}

/// Who samples: this process where it is root, else a helper container where one can be had; for
/// its end, also the runtime that it belongs to.
async fn find_way(run_id: &str, budget: &Budget) -> (Option<Runtime>, Way) {
    let here = (None, Way::Here(Via::ReadOnly));
    if nix::unistd::geteuid().is_root() {
        return (None, Way::Here(Via::Direct));
    }
    let Ok(mut runtime) = Runtime::connect(Choice::Docker, run_id, budget).await else {
        return here;
    };
    match session::find_way(&mut runtime, Some(Via::Helper), run_id).await {
        Ok((way, _)) => (Some(runtime), way),
        Err(_) => {
            // What had been begun of it.
            let _ = runtime.clean_up().await;
            here
        }
    }
}

fn observer(progress: Option<SharedProgress>, watchers: Watchers) -> session::Observer {
    Box::new(move |event| {
        watchers.take(event);
        if let Some(progress) = &progress {
            shown(progress).take(event);
        }
    })
}

fn plan(options: &Watch, rules: Vec<Rule>, targets: &[Attached]) -> Result<WatchPlan, Fault> {
    let limit = match targets {
        [only] => only.bounds.limit,
        _ => Limit::Unlimited,
    };
    let any_limit = targets.iter().any(|row| row.bounds.limit.bytes().is_some());
    if let Some(rule) = rules.iter().find(|rule| rule.needs_limit()).filter(|_| !any_limit) {
        let text = format!(
            "`{}: {}` is a share of the memory limit, and nothing that is watched has one",
            rule.selector, rule.text
        );
        return Err(Fault::plain(Exit::BadUse, &text, "give a size, such as `memory: max<200MiB`"));
    }
    let sampling = sampling(options, targets.len())?;
    Ok(WatchPlan {
        name: name(targets),
        limit,
        sampling,
        length: options.length,
        rules,
        keep_all_ticks: options.raw,
        reset_shared_peaks: options.reset_peaks,
        budget: Budget::default(),
    })
}

fn sampling(options: &Watch, targets: usize) -> Result<SamplingPlan, Fault> {
    let share = u32::try_from(targets.div_ceil(TARGETS_A_TICK).max(1)).unwrap_or(u32::MAX);
    let tick = options.tick.unwrap_or(TICK * share);
    let window = options.window.unwrap_or(WINDOW.max(tick));
    let bounds = [
        (tick < LEAST_TICK, "`--tick` is below 100 µs"),
        (tick > window, "`--tick` is longer than `--window`"),
        (window > LONGEST_WINDOW, "`--window` is longer than 10 s"),
    ];
    match bounds.into_iter().find(|(wrong, _)| *wrong) {
        Some((_, text)) => {
            let help = "the defaults are `--tick 1ms --window 100ms`";
            Err(Fault::plain(Exit::BadUse, text, help))
        }
        None => Ok(SamplingPlan { tick, window }),
    }
}

/// The names of up to three targets, else how many there are.
fn name(targets: &[Attached]) -> String {
    match targets {
        targets if targets.len() > 3 => format!("watch-of-{}", targets.len()),
        few => few.iter().map(|row| row.name.as_str()).collect::<Vec<_>>().join("+"),
    }
}

fn facts(run_id: &str, way: &Way, attacher: &Attacher, targets: &[Attached]) -> RunFacts {
    let containers = targets.iter().any(|row| row.kind == WatchKind::Container);
    RunFacts {
        run_id: run_id.to_owned(),
        highwater: env!("CARGO_PKG_VERSION").to_owned(),
        runtime: if containers { "docker" } else { "native" }.to_owned(),
        image: targets.first().and_then(|row| row.program.clone()),
        release: ReleaseBuild::Unknown,
        release_evidence: "what runs already does not tell how it was built".to_owned(),
        cgroup: match attacher.version() {
            crate::cgroup::Version::V1 => "v1",
            crate::cgroup::Version::V2 => "v2",
        }
        .to_owned(),
        host: attacher.host_facts(),
        via: way.via().name().to_owned(),
    }
}

/// `key=value` or `key`, as Docker's own filter takes them.
fn labels(given: &[String]) -> Result<Vec<String>, Fault> {
    match given.iter().find(|label| label.is_empty() || label.starts_with('=')) {
        Some(label) => {
            let text = format!("`--label {label}` has no key");
            Err(Fault::plain(Exit::BadUse, &text, "such as `--label app=shop`, or `--label app`"))
        }
        None => Ok(given.to_vec()),
    }
}

/// `memory: max<80%` as a rule; what a watch does not measure is refused.
fn rules(given: &[String]) -> Result<Vec<Rule>, Fault> {
    given.iter().map(|text| rule(text)).collect()
}

fn rule(text: &str) -> Result<Rule, Fault> {
    let wrong = |message: &str, help: &str| {
        Fault::plain(Exit::BadUse, &format!("`--threshold '{text}'`: {message}"), help)
    };
    let Some((selector, condition)) = text.rsplit_once(':') else {
        let help = "write it as `metric: condition`, such as `memory: max<80%`";
        return Err(wrong("there is no `:` after the metric", help));
    };
    let rule = Rule::parse(selector.trim(), condition.trim(), None)
        .map_err(|error| wrong(&error.message, &error.help))?;
    let of_startup =
        matches!(rule.metric, Metric::Startup | Metric::StartupCharged | Metric::Ready);
    if of_startup || rule.metric.is_of_traffic() {
        let what = if of_startup { "no start" } else { "no traffic" };
        let help =
            "`highwater run` does; a watch has memory, cpu, threads, open_files and the like";
        return Err(wrong(&format!("a watch sees {what}"), help));
    }
    let phase = rule.tags.get(&Tag::Phase);
    if phase.is_some_and(|phase| phase != crate::plan::WATCH_PHASE) {
        return Err(wrong("a watch has no such phase", "leave the tag away"));
    }
    Ok(rule)
}

fn attach_fault(error: &AttachError) -> Fault {
    let exit = match error.kind() {
        ErrorKind::HostCannot => Exit::HostCannot,
        ErrorKind::BadUse => Exit::BadUse,
        ErrorKind::Target => Exit::TargetFailed,
    };
    Fault::new(exit, error, error.help())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_what_a_watch_can_measure() {
        assert_eq!(rule("memory: max<80%").unwrap().selector, "memory");
        assert_eq!(rule("memory{phase:watch}: max<1GiB").unwrap().text, "max<1GiB");
        for wrong in ["memory", "memory: most<3", "http_reqs: count>1", "startup: max<1MiB"] {
            assert!(rule(wrong).is_err(), "{wrong}");
        }
        assert!(rule("memory{phase:soak}: max<80%").is_err());
    }

    #[test]
    fn a_label_needs_a_key() {
        assert!(labels(&["a=b".to_owned(), "a".to_owned()]).is_ok());
        assert!(labels(&["=b".to_owned()]).is_err());
    }
}
