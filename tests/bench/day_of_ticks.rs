//! A day of sampling in a minute: 86.4 million simulated ticks through the types that the
//! sampler's thread uses, into a recording on disk.
//!
//! `day_of_ticks [HOURS]`. Three days, each in a process of its own:
//!
//! - `quiet`: a service whose level moves by up to 64 KiB from tick to tick and by 4 MiB an hour,
//!   with 400 spikes of 1 to 64 MiB; windows, raw ticks around spikes, vitals;
//! - `traffic`: the same, with the traffic of three steps at 1000 requests/s recorded beside it;
//! - `restless`: an excursion of 1.5 MiB every 70 ms, so that all ticks are worth keeping until
//!   the budget for raw ticks is used up.
//!
//! A commit holds what half a second of a real run brings, since deflating larger batches would
//! flatter the recording (`day_of_ticks [HOURS] [EVENTS A COMMIT]` says by how much). The queues
//! are short, since a real run never fills them unless the disk stalls.
//!
//! Goals: the process's resident set is flat (the last hour's is at most 2 MiB above the second's)
//! and at most 48 MiB, the recording at most 150 MiB.

mod common;
#[path = "common/soak.rs"]
mod soak;

use std::process::Command;
use std::time::{Duration, Instant};

use common::report::Report;
use common::{clean, float, number_argument};
use highwater::analysis;
use highwater::clock::Clock;
use highwater::event::{Event, RunFacts, What};
use highwater::judge::FlightRecorder;
use highwater::plan::Budget;
use highwater::record::{Header, Recorder, Recording, RunDirectory};
use serde_json::{Value, json};
use soak::{Day, MIB, Simulated, file_mib, outline, status_mib};

const RSS_MAX_MIB: f64 = 48.0;
const RSS_GROWTH_MAX_MIB: f64 = 2.0;
const RECORDING_MAX_MIB: f64 = 150.0;

const DAYS: [(Day, &str); 3] =
    [(Day::Quiet, "quiet"), (Day::Traffic, "traffic"), (Day::Restless, "restless")];

fn main() {
    let named = std::env::args().nth(1).unwrap_or_default();
    match DAYS.iter().find(|row| row.1 == named) {
        Some((day, _)) => {
            let real = if *day == Day::Traffic { 12 } else { 6 };
            let result = simulate(*day, number_argument(1, 24), number_argument(2, real));
            print(&result);
        }
        None => clean::after(all_days),
    }
}

#[expect(clippy::print_stdout, reason = "the child's result")]
fn print(result: &Value) {
    println!("{result}");
}

fn all_days() {
    let hours = number_argument(0, 24);
    let commit = std::env::args().nth(2);
    let mut report = Report::new("day_of_ticks");
    let mut details = Vec::new();
    for (_, name) in DAYS {
        let own = std::env::current_exe().expect("a process has an executable");
        let output = Command::new(own).args([name, &hours.to_string()]).args(&commit).output();
        let output = output.expect("the simulation runs");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
            panic!("{name} failed: {}", String::from_utf8_lossy(&output.stderr))
        });
        tell(&mut report, name, &result);
        details.push(json!({ "day": name, "result": result }));
    }
    report.finish(&json!({ "hours": hours, "days": details }));
}

fn tell(report: &mut Report, name: &str, result: &Value) {
    let number = |key: &str| result[key].as_f64().unwrap_or(f64::NAN);
    let hourly: Vec<f64> = result["rss_mib_by_hour"]
        .as_array()
        .map(|rows| rows.iter().filter_map(Value::as_f64).collect())
        .unwrap_or_default();
    let settled = hourly.get(1).or(hourly.first()).copied().unwrap_or(f64::NAN);
    let growth = hourly.last().copied().unwrap_or(f64::NAN) - settled;
    report.say(
        format!("{name}: simulated"),
        format!("{:.1} M ticks in {:.0} s", number("ticks") / 1e6, number("seconds")),
    );
    let highest = number("rss_highest_mib");
    report.goal(
        format!("{name}: resident set, highest"),
        format!("{highest:.1} MiB"),
        format!("≤ {RSS_MAX_MIB} MiB"),
        highest <= RSS_MAX_MIB,
    );
    report.goal(
        format!("{name}: resident set, second to last hour"),
        format!("{growth:+.1} MiB"),
        format!("≤ +{RSS_GROWTH_MAX_MIB} MiB"),
        growth <= RSS_GROWTH_MAX_MIB,
    );
    let recording = number("recording_mib");
    report.goal(
        format!("{name}: recording"),
        format!("{recording:.1} MiB, raw ticks {:.1} MiB packed", number("raw_ticks_mib")),
        format!("≤ {RECORDING_MAX_MIB} MiB"),
        recording <= RECORDING_MAX_MIB,
    );
    report.say(
        format!("{name}: analysed"),
        format!(
            "in {:.1} s, {:.1} MiB resident; {} spikes found, {} made",
            number("analysis_seconds"),
            number("rss_after_analysis_mib"),
            result["spikes_found"],
            result["spikes_true"],
        ),
    );
}

fn simulate(day: Day, hours: u64, commit: u64) -> Value {
    let began = Instant::now();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let run = RunDirectory::create(dir.path()).expect("a directory for the run");
    let budget = Budget {
        commit_every: Duration::from_secs(3600),
        commit_events: u32::try_from(commit).expect("few events"),
        event_queue: 64,
        ..Budget::default()
    };
    let anchor = Clock::start().anchor();
    let header = Header { anchor, outline: outline(hours), facts: RunFacts::default() };
    let recorder = Recorder::create(&run, &header, &budget).expect("a recording begins");
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Event>(budget.event_queue);
    // The session's part: from the producers' channel into the recording's.
    let session = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("event loop");
        let mut flight = FlightRecorder::new(false, budget.raw_ticks);
        let (mut worth_it, mut raw_ticks) = (Vec::new(), 0);
        runtime.block_on(async {
            while let Some(event) = receiver.recv().await {
                flight.take(event, &mut worth_it);
                for event in worth_it.drain(..) {
                    if let What::Ticks(block) = &event.what {
                        raw_ticks += block.packed_len() as u64;
                    }
                    recorder.record(event).await.expect("the recording takes it");
                }
            }
        });
        recorder.finish().expect("the recording ends");
        raw_ticks
    });
    let mut service = Simulated::new(day, hours, sender);
    let mut hourly = Vec::new();
    service.begin();
    for _ in 0..hours {
        service.hour();
        hourly.push(status_mib("VmRSS"));
    }
    let (ticks, spikes_true) = service.end();
    let raw_ticks = session.join().expect("the session's part does not panic");
    let rss_highest = status_mib("VmHWM");
    let seconds = began.elapsed().as_secs_f64();
    let (found, analysis_seconds) = analyse(&run);
    json!({
        "ticks": ticks,
        "seconds": seconds,
        "rss_mib_by_hour": hourly,
        "rss_highest_mib": rss_highest,
        "recording_mib": file_mib(&run.recording()),
        "raw_ticks_mib": float(raw_ticks) / float(MIB),
        "spikes_true": spikes_true,
        "spikes_found": found,
        "analysis_seconds": analysis_seconds,
        "rss_after_analysis_mib": status_mib("VmHWM"),
    })
}

fn analyse(run: &RunDirectory) -> (Option<u64>, f64) {
    let began = Instant::now();
    let recording = Recording::open(run).expect("the recording opens");
    let header = recording.header();
    let events = recording.events().map(|event| event.expect("the recording reads back"));
    let findings = analysis::analyse(&header.outline, &header.facts, header.anchor, events);
    (findings.spikes_total, began.elapsed().as_secs_f64())
}
