//! Whole runs of known answer.

use super::synthetic::{ANCHOR, Script, facts};
use super::verdict::{Trouble, decide};
use super::*;
use crate::event::{ErrorKind, Event, Evidence, Finish, PeakMethod, TrafficWindow, What};
use crate::units::{Bytes, Limit};

fn ids(findings: &Findings) -> Vec<&'static str> {
    findings.reasons.iter().map(|reason| reason.id).collect()
}

fn outcome(script: &Script) -> (Verdict, u8) {
    let findings = script.findings();
    (findings.verdict, findings.exit_code)
}

#[test]
fn a_quiet_run_passes_with_every_part_filled_in() {
    let findings = Script::default().findings();
    assert_eq!(
        (findings.verdict, findings.exit_code),
        (Verdict::Pass, 0),
        "{:?}",
        findings.reasons
    );
    let startup = findings.startup.unwrap();
    assert_eq!(startup.trials.len(), 3);
    assert_eq!(startup.trials[0].ready_ms, Some(600.0));
    assert_eq!(startup.trials[0].before_exec, Some(Bytes::from_mib(4)));
    let ready = startup.spread.ready_ms.unwrap();
    assert_eq!((ready.count, ready.median, ready.width()), (3, 600.0, 0.0));
    let ratio = startup.ratio.unwrap();
    assert!((1.1..1.35).contains(&ratio), "69 MiB of 61 MiB: {ratio}");
    let percent = startup.limit_percent.unwrap();
    assert!((25.0..30.0).contains(&percent), "69 MiB of 256 MiB: {percent}");
    assert!(startup.over_run().unwrap() < 0.7, "bursts peak far higher");
    assert_eq!((startup.planned, startup.end), (None, None), "it was not recorded");
    let memory = findings.memory.unwrap();
    let phases = &findings.phases;
    let peaks = phases.iter().filter_map(|phase| phase.memory);
    assert_eq!(peaks.map(|row| row.peak).max(), Some(memory.peak));
    let drawn = findings.timeline.memory.iter().map(|row| row.peak).max();
    assert_eq!(drawn, Some(memory.peak));
    assert_eq!(phases.len(), 3);
    let burst = phases[1].traffic.as_ref().unwrap();
    let steps: u64 = burst.steps.iter().map(|step| step.requests).sum();
    assert_eq!(burst.requests, steps);
    assert_eq!(burst.status.values().sum::<u64>(), burst.requests);
    assert_eq!(burst.failed, 45);
    let vital = phases[1].target.as_ref().unwrap();
    assert!((vital.cpu_cores.unwrap() - 0.5).abs() < 0.01);
    assert_eq!(findings.checklist.len(), 8);
}

#[test]
fn each_burst_is_a_spike_with_its_phase_and_suspect() {
    let findings = Script::default().findings();
    assert_eq!(findings.spikes_total, Some(9));
    assert_eq!(findings.spikes.len(), 9);
    assert!(findings.spikes.windows(2).all(|pair| pair[0].rise >= pair[1].rise));
    for spike in &findings.spikes {
        assert_eq!(spike.phase.as_deref(), Some("burst"));
        assert_eq!(spike.in_flight, Some(180));
        assert_eq!(spike.suspects[0].step, "POST /orders");
        assert!((spike.suspects[0].share - 0.75).abs() < 1e-9);
    }
    let top = findings.spikes.iter().map(|spike| spike.peak).max();
    assert_eq!(top, findings.memory.map(|memory| memory.peak));
}

#[test]
fn spikes_told_while_the_run_went_on_are_those_of_its_ticks() {
    let script = Script::default();
    let mut recorder = crate::judge::FlightRecorder::new(false, Bytes::from_mib(64));
    let mut recorded = Vec::new();
    for event in script.events() {
        recorder.take(event, &mut recorded);
    }
    let told = analyse(&script.outline(), &facts(), ANCHOR, recorded);
    let found = script.findings();
    assert!(found.spikes_total.is_some_and(|total| total > 0));
    assert_eq!(told.spikes_total, found.spikes_total);
    assert_eq!(told.spikes, found.spikes);
}

#[test]
fn a_spike_of_the_container_runtime_is_none_of_the_targets() {
    let script = Script::default();
    let mut events = script.events();
    let life = crate::event::LifeId(3);
    let exec = |event: &Event| matches!(event.what, What::Exec { life: of, .. } if of == life);
    let index = events.iter().position(exec).unwrap();
    let before = events[index].at.before(std::time::Duration::from_millis(50));
    let ticks: Vec<crate::event::Tick> = (0..30_u32)
        .map(|n| crate::event::Tick {
            at: before + std::time::Duration::from_millis(1) * n,
            usage: Bytes::from_mib(1),
            peak: Bytes::from_mib(if n == 15 { 900 } else { 1 }),
        })
        .collect();
    let block = crate::event::TickBlock::pack(life, &ticks);
    let spike = Event { at: events[index].at, what: What::Ticks(block) };
    events.insert(index, spike.clone());
    let count = |events| analyse(&script.outline(), &facts(), ANCHOR, events).spikes_total;
    assert_eq!(count(events.clone()), Some(9));
    events.insert(index + 3, spike);
    assert_eq!(count(events), Some(10));
}

#[test]
fn percentiles_of_a_phase_are_those_of_all_its_windows_together() {
    let script = Script::default();
    let mut all = crate::event::Histogram::new();
    for event in script.events() {
        if let What::Traffic(window) = event.what
            && window.phase == 1
        {
            all.add(&window.latency_us);
        }
    }
    let findings = script.findings();
    let got = findings.phases[1].traffic.as_ref().unwrap().latency.unwrap();
    let ms = |us: Option<u64>| float(us.unwrap()) / 1e3;
    let expected = [Some(50.0), Some(95.0), Some(99.0), None].map(|percent| match percent {
        Some(percent) => ms(all.percentile(percent)),
        None => ms(all.max()),
    });
    let got = [got.p50, got.p95, got.p99, got.max];
    assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{got:?}");
}

#[test]
fn a_kill_fails_with_its_phase_and_both_sources() {
    let script = Script {
        kill: Some(0.5),
        phases: vec![("ramp", 10, false), ("burst", 60, true)],
        finish: Some(Finish::OomKilled),
        ..Script::default()
    };
    let findings = script.findings();
    assert_eq!((findings.verdict, findings.exit_code), (Verdict::Fail, 1));
    assert_eq!(findings.reasons[0].id, "oom_kill");
    assert!(findings.reasons[0].text.contains("in phase burst"), "{:?}", findings.reasons);
    let memory = findings.memory.unwrap();
    assert_eq!(memory.oom_kills, 1);
    let evidence: Vec<_> = memory.oom_evidence.into_iter().collect();
    assert_eq!(evidence, [Evidence::Events, Evidence::Docker]);
    assert_eq!(findings.timeline.kills.len(), 1);
}

#[test]
fn exit_137_without_evidence_is_no_kill() {
    let mut script =
        Script { kill: Some(0.5), finish: Some(Finish::TargetEnded), ..Script::default() };
    let events = script.events();
    script.kill = None;
    let told = events.into_iter().filter(|event| !matches!(event.what, What::OomKill(_)));
    let findings = analyse(&script.outline(), &facts(), ANCHOR, told);
    assert_eq!((findings.verdict, findings.exit_code), (Verdict::Error, 4));
    assert_eq!(findings.memory.unwrap().oom_kills, 0);
}

#[test]
fn a_killed_child_in_a_living_container_is_a_kill() {
    let script = Script::default();
    let mut events = script.events();
    let windows = events.iter_mut().rev();
    let mut memory = windows.filter_map(|event| match &mut event.what {
        What::Memory(window) => Some(window),
        _ => None,
    });
    memory.next().unwrap().oom_kills = Some(2);
    let findings = analyse(&script.outline(), &facts(), ANCHOR, events);
    assert_eq!((findings.verdict, findings.exit_code), (Verdict::Fail, 1));
    assert_eq!(findings.memory.unwrap().oom_kills, 2);
    assert!(findings.reasons[0].text.contains("2 processes"));
}

#[test]
fn page_cache_at_the_limit_is_no_risk() {
    let script =
        Script { base: 20, phases: vec![("soak", 20, false)], cache: 231, ..Script::default() };
    let mut script = script;
    script.cache = 256 - 20 - 3;
    let findings = script.findings();
    assert_eq!(
        (findings.verdict, findings.exit_code),
        (Verdict::Pass, 0),
        "{:?}",
        findings.reasons
    );
    assert!(ids(&findings).contains(&"page_cache"));
}

#[test]
fn little_headroom_warns() {
    let script = Script {
        base: 226,
        phases: vec![("soak", 20, false)],
        limit: Limit::Bytes(Bytes::from_mib(250)),
        ..Script::default()
    };
    let findings = script.findings();
    assert_eq!((findings.verdict, findings.exit_code), (Verdict::Warn, 0));
    assert_eq!(ids(&findings), ["headroom", "headroom"]);
}

#[test]
fn broken_thresholds_fail_and_unmeasured_ones_warn() {
    let broken = Script {
        thresholds: vec![("memory", "max<20%"), ("startup", "max<500MiB")],
        ..Script::default()
    };
    let findings = broken.findings();
    assert_eq!((findings.verdict, findings.exit_code), (Verdict::Fail, 1));
    let passes: Vec<_> = findings.thresholds.iter().map(|row| row.pass).collect();
    assert_eq!(passes, [Some(false), Some(true)]);
    let peak = findings.memory.unwrap().unreclaimable_peak;
    assert_eq!(findings.thresholds[0].value, Some(peak.as_f64()));
    let unmeasured =
        Script { thresholds: vec![("memory{phase:nowhere}", "max<20%")], ..Script::default() };
    assert_eq!(outcome(&unmeasured), (Verdict::Warn, 0));
}

/// A run with its traffic changed.
fn with_traffic(script: &Script, change: impl Fn(&mut TrafficWindow)) -> Findings {
    let mut events = script.events();
    for event in &mut events {
        if let What::Traffic(window) = &mut event.what {
            change(window);
        }
    }
    analyse(&script.outline(), &facts(), ANCHOR, events)
}

fn refuse(window: &mut TrafficWindow) {
    window.counts.failed = window.counts.ended;
    window.status.clear();
    window.errors = [(ErrorKind::Refused, window.counts.ended)].into();
}

#[test]
fn a_run_without_a_success_fails_unless_a_rule_judges_that() {
    let findings = with_traffic(&Script::default(), refuse);
    assert_eq!((findings.verdict, findings.exit_code), (Verdict::Fail, 1));
    assert_eq!(ids(&findings), ["requests_failed"]);
    let text = &findings.reasons[0].text;
    assert!(text.starts_with("none of the") && text.contains("refused"), "{text}");
    let ruled = Script { thresholds: vec![("http_req_failed", "rate<=1")], ..Script::default() };
    let findings = with_traffic(&ruled, refuse);
    assert_eq!((findings.verdict, findings.exit_code), (Verdict::Warn, 0));
    let stopped = Script { finish: Some(Finish::Interrupted), ..Script::default() };
    let findings = with_traffic(&stopped, refuse);
    assert_eq!((findings.verdict, findings.exit_code), (Verdict::Interrupted, 130));
}

#[test]
fn a_phase_without_a_success_fails_and_one_with_few_warns() {
    let of_ramp = |change: fn(&mut TrafficWindow)| {
        with_traffic(&Script::default(), move |window| {
            if window.phase == 0 {
                change(window);
            }
        })
    };
    let findings = of_ramp(refuse);
    assert_eq!((findings.verdict, findings.exit_code), (Verdict::Fail, 1));
    assert_eq!(ids(&findings), ["requests_failed"]);
    assert!(findings.reasons[0].text.contains("requests of `ramp`"), "{:?}", findings.reasons);
    let findings = of_ramp(|window| window.counts.failed = window.counts.ended - 1);
    assert_eq!((findings.verdict, ids(&findings)), (Verdict::Warn, vec!["requests_failed"]));
}

#[test]
fn a_target_that_is_gone_in_the_end_is_told_with_its_time() {
    let script = Script::default();
    let start = script.findings().phases[1].start;
    let gone = start + std::time::Duration::from_secs(60);
    let findings = with_traffic(&script, |window| {
        if window.phase == 1 && window.start >= gone {
            refuse(window);
        }
    });
    assert_eq!((findings.verdict, ids(&findings)), (Verdict::Warn, vec!["unreachable"]));
    assert!(findings.reasons[0].at.is_some_and(|at| at >= gone), "{:?}", findings.reasons);
}

#[test]
fn missed_ticks_matter_only_where_peaks_are_sampled() {
    let script = |method| Script { missed: 50, method, ..Script::default() };
    assert_eq!(outcome(&script(PeakMethod::V1Reset)), (Verdict::Pass, 0));
    assert_eq!(outcome(&script(PeakMethod::Lifetime)), (Verdict::Pass, 0));
    assert_eq!(outcome(&script(PeakMethod::Sampled)), (Verdict::Untrusted, 5));
    let said = |method| {
        let findings = script(method).findings();
        findings.reasons.iter().map(|reason| reason.text.clone()).collect::<String>()
    };
    assert!(said(PeakMethod::V2Reset).contains("none is lost"));
    assert!(said(PeakMethod::Lifetime).contains("lesser ones may be missing"));
}

#[test]
fn endings_have_their_codes() {
    let ended = |finish| {
        let script = Script { finish, ..Script::default() };
        outcome(&script)
    };
    let text = || "no".to_owned();
    assert_eq!(ended(None), (Verdict::Interrupted, 130));
    assert_eq!(ended(Some(Finish::Interrupted)), (Verdict::Interrupted, 130));
    let failed = Finish::TargetFailed { text: text() };
    assert_eq!(ended(Some(failed)), (Verdict::Error, 4));
    assert_eq!(ended(Some(Finish::Failed { text: text() })), (Verdict::Error, 3));
    let aborted = Finish::Aborted { rule: text() };
    assert_eq!(ended(Some(aborted)), (Verdict::Fail, 1));
    let saturated = Script { saturated: true, ..Script::default() };
    assert_eq!(outcome(&saturated), (Verdict::Untrusted, 5));
}

#[test]
fn the_weightiest_trouble_decides() {
    type Add = fn(&mut Trouble);
    let order: [(Add, u8); 7] = [
        (|row| row.warned = true, 0),
        (|row| row.failed = true, 1),
        (|row| row.untrusted = true, 5),
        (|row| row.target = true, 4),
        (|row| row.killed = true, 1),
        (|row| row.host = true, 3),
        (|row| row.interrupted = true, 130),
    ];
    let mut trouble = Trouble::default();
    assert_eq!(decide(trouble), (Verdict::Pass, 0));
    for (add, code) in order {
        add(&mut trouble);
        assert_eq!(decide(trouble).1, code, "{trouble:?}");
    }
}

#[test]
fn a_kill_in_startup_fails_and_the_repeat_says_what_it_needs() {
    let mut events = Script { trials: 2, ..Script::default() }.events();
    let mut killed_at = None;
    for (n, event) in events.iter_mut().enumerate() {
        match &mut event.what {
            What::Life(start) if start.life.0 == 1 => {
                start.role = crate::event::LifeRole::Unlimited { number: 1 };
                start.limit = Limit::Unlimited;
            }
            What::Ready { life } if life.0 == 0 => killed_at = Some(n),
            _ => {}
        }
    }
    let kill = crate::event::OomKill {
        life: crate::event::LifeId(0),
        evidence: Evidence::Events,
        count: Some(1),
    };
    let index = killed_at.unwrap();
    events[index].what = What::OomKill(kill);
    let findings = analyse(&Script::default().outline(), &facts(), ANCHOR, events);
    assert_eq!((findings.verdict, findings.exit_code), (Verdict::Fail, 1));
    let startup = findings.startup.unwrap();
    assert!(startup.trials[0].killed && !startup.trials[1].killed);
    assert_eq!(startup.trials[0].settled, None);
    assert!(startup.trials[1].unlimited);
    let text = &findings.reasons[0].text;
    assert!(text.contains("startup trial 1 under 256 MiB; without a limit it peaks at"), "{text}");
}

#[test]
fn no_events_at_all_are_a_run_cut_off() {
    let findings = analyse(&Script::default().outline(), &facts(), ANCHOR, [] as [Event; 0]);
    assert_eq!((findings.verdict, findings.exit_code), (Verdict::Interrupted, 130));
    assert!(findings.startup.is_none() && findings.memory.is_none() && findings.sampler.is_none());
    assert_eq!(findings.spikes_total, None);
}
