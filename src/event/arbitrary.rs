//! Events of any kind, for property tests of what holds and moves them.

use proptest::prelude::*;

use super::{
    Band, Counts, ErrorKind, Event, Evidence, Exit, Finish, FlowWindow, GeneratorPath,
    GeneratorReport, HarnessReport, Histogram, IterationWindow, LifeId, LifeRole, LifeStart,
    MemoryWindow, OomKill, PeakMethod, PrintedLine, PrintedNear, Request, RequestBlock,
    SamplerReport, SamplingStart, SchedulingClass, Spike, SpikeBatch, StepFlow, Tick, TickBlock,
    TrafficWindow, TrialsDone, TrialsEnd, UserWindow, Vitals, What,
};
use crate::clock::Moment;
use crate::units::{Bytes, Limit};

fn life() -> impl Strategy<Value = LifeId> {
    (0_u32..4).prop_map(LifeId)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![0_u64..1 << 30, any::<u64>()].prop_map(Bytes::new)
}

fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![0_u64..1 << 40, any::<u64>()].prop_map(Moment::from_nanos)
}

fn band() -> impl Strategy<Value = Band> {
    (bytes(), bytes(), bytes()).prop_map(|(min, max, last)| Band { min, max, last })
}

fn histogram() -> impl Strategy<Value = Histogram> {
    prop::collection::vec(0_u64..100_000_000, 0..6).prop_map(|values| {
        let mut histogram = Histogram::new();
        for value in values {
            histogram.record(value);
        }
        histogram
    })
}

fn counts() -> impl Strategy<Value = Counts> {
    any::<[u32; 5]>().prop_map(|[due, sent, ended, failed, unsent]| Counts {
        due: due.into(),
        sent: sent.into(),
        ended: ended.into(),
        failed: failed.into(),
        unsent: unsent.into(),
        ..Counts::default()
    })
}

fn memory() -> impl Strategy<Value = What> {
    let bands = (band(), band(), band(), band());
    let numbers = (any::<u16>(), any::<u16>(), any::<Option<u32>>(), any::<Option<u8>>());
    (life(), moment(), bytes(), moment(), bands, numbers, prop::option::of(bytes())).prop_map(
        |(life, start, peak, peak_at, bands, (ticks, missed, hits, kills), held_mean)| {
            let (usage, rss, low, high) = bands;
            What::Memory(MemoryWindow {
                life,
                start,
                ticks: ticks.into(),
                missed: missed.into(),
                usage,
                peak,
                peak_at,
                rss,
                cache: Band::default(),
                shmem: Band::default(),
                working_set: usage,
                unreclaimable_low: low,
                unreclaimable_high: high,
                limit_hits: hits.map(u64::from),
                oom_kills: kills.map(u64::from),
                kernel: None,
                held_mean,
            })
        },
    )
}

fn traffic() -> impl Strategy<Value = What> {
    let kind = prop::sample::select(vec![ErrorKind::Timeout, ErrorKind::Status, ErrorKind::Reset]);
    let maps = (
        prop::collection::btree_map(100_u16..600, any::<u32>().prop_map(u64::from), 0..3),
        prop::collection::btree_map(kind, any::<u32>().prop_map(u64::from), 0..3),
    );
    (moment(), 0_u16..3, 0_u16..4, counts(), maps, histogram(), histogram()).prop_map(
        |(start, phase, step, counts, (status, errors), latency_us, lateness_us)| {
            What::Traffic(Box::new(TrafficWindow {
                start,
                phase,
                step,
                counts,
                status,
                errors,
                duration_us: latency_us.clone(),
                latency_us,
                lateness_us,
                ..TrafficWindow::default()
            }))
        },
    )
}

fn flow() -> impl Strategy<Value = What> {
    let step = (0_u16..4, any::<[u16; 4]>(), any::<Option<u32>>()).prop_map(|(step, row, us)| {
        let [sent, ended, in_flight_max, in_flight_end] = row.map(u32::from);
        StepFlow {
            step,
            sent,
            ended,
            in_flight_max,
            in_flight_end,
            in_flight_us: us.map(u64::from),
            body_bytes_sent: 0,
            bytes_received: 7,
        }
    });
    (moment(), counts(), prop::collection::vec(step, 0..3))
        .prop_map(|(start, counts, steps)| What::Flow(FlowWindow { start, counts, steps }))
}

fn life_events() -> impl Strategy<Value = What> {
    let role = prop_oneof![
        (1_u32..3).prop_map(|number| LifeRole::Trial { number }),
        Just(LifeRole::Unlimited { number: 1 }),
        Just(LifeRole::Main),
    ];
    let limit = prop_oneof![Just(Limit::Unlimited), bytes().prop_map(Limit::Bytes)];
    let evidence =
        prop::sample::select(vec![Evidence::Events, Evidence::Docker, Evidence::Eventfd]);
    let exit = (any::<Option<u8>>(), any::<bool>())
        .prop_map(|(code, asked)| Exit { code: code.map(i64::from), asked });
    prop_oneof![
        (life(), role, limit)
            .prop_map(|(life, role, limit)| { What::Life(LifeStart { life, role, limit }) }),
        life().prop_map(|life| What::Started { life }),
        (life(), bytes()).prop_map(|(life, before_exec)| What::Exec { life, before_exec }),
        life().prop_map(|life| What::Ready { life }),
        life().prop_map(|life| What::Settled { life }),
        (life(), evidence, any::<Option<u8>>()).prop_map(|(life, evidence, count)| {
            What::OomKill(OomKill { life, evidence, count: count.map(u64::from) })
        }),
        (life(), exit, prop::option::of(bytes()))
            .prop_map(|(life, exit, lifetime_peak)| What::Ended { life, exit, lifetime_peak }),
        (life(), bytes()).prop_map(|(life, bytes)| What::Logged { life, bytes }),
        (0_u16..3).prop_map(|phase| What::PhaseBegin { phase }),
        (0_u16..3).prop_map(|phase| What::PhaseEnd { phase }),
    ]
}

fn sampled() -> impl Strategy<Value = What> {
    let tick = (moment(), bytes(), bytes()).prop_map(|(at, usage, peak)| Tick { at, usage, peak });
    let spike = (moment(), bytes(), bytes(), moment(), moment())
        .prop_map(|(at, peak, rise, begin, end)| Spike { at, peak, rise, begin, end });
    let start = (life(), any::<u32>(), any::<bool>()).prop_map(|(life, tick_ns, told)| {
        What::Sampling(SamplingStart {
            life,
            method: PeakMethod::V2Reset,
            tick_ns: tick_ns.into(),
            charge_slack: Bytes::from_kib(504),
            unreclaimable_is_range: told,
            spikes_told: told,
        })
    });
    let done = (life(), any::<[u32; 4]>()).prop_map(|(life, [ticks, missed, cpu, wall])| {
        What::SamplerDone(SamplerReport {
            life,
            ticks: ticks.into(),
            missed_ticks: missed.into(),
            lateness_us_p50: 40.5,
            lateness_us_p99: 91.25,
            scheduling: SchedulingClass::Nice,
            cpu_ns: cpu.into(),
            wall_ns: wall.into(),
        })
    });
    prop_oneof![
        start,
        done,
        (life(), prop::collection::vec(tick, 0..40)).prop_map(|(life, mut ticks)| {
            ticks.sort_by_key(|tick| tick.at);
            What::Ticks(TickBlock::pack(life, &ticks))
        }),
        (life(), prop::collection::vec(spike, 0..4), any::<u8>()).prop_map(
            |(life, found, beyond)| {
                What::Spikes(SpikeBatch { life, found, beyond: beyond.into() })
            }
        ),
        (life(), moment(), prop::collection::vec((moment(), "\\PC{0,20}"), 0..4)).prop_map(
            |(life, spike, lines)| {
                let line = |(at, text)| PrintedLine { at, text };
                let lines = lines.into_iter().map(line).collect();
                What::Printed(PrintedNear { life, spike, lines })
            }
        ),
    ]
}

fn others() -> impl Strategy<Value = What> {
    let finish = prop_oneof![
        Just(Finish::Completed),
        Just(Finish::Interrupted),
        Just(Finish::OomKilled),
        "\\PC{0,20}".prop_map(|text| Finish::TargetFailed { text }),
        "\\PC{0,20}".prop_map(|rule| Finish::Aborted { rule }),
    ];
    let vitals = (prop::option::of(life()), any::<Option<u64>>(), any::<[u32; 2]>()).prop_map(
        |(life, cpu_ns, [processes, threads])| {
            let vitals = Vitals { life, cpu_ns, processes, threads, ..Vitals::default() };
            What::Vitals(Box::new(vitals))
        },
    );
    let iterations = (moment(), any::<[u32; 3]>(), histogram()).prop_map(
        |(start, [begun, ended, dropped], duration_us)| {
            What::Iterations(IterationWindow {
                start,
                phase: 0,
                step: 1,
                begun: begun.into(),
                ended: ended.into(),
                dropped: dropped.into(),
                duration_us,
            })
        },
    );
    let request = (moment(), any::<Option<u16>>()).prop_map(|(at, status)| Request {
        phase: 0,
        step: 1,
        due: None,
        sent: Some(at),
        first_byte: None,
        ended: at,
        status,
        error: None,
        sent_bytes: 3,
        received_bytes: 4,
    });
    prop_oneof![
        vitals,
        iterations,
        finish.prop_map(What::Finished),
        ".{0,30}".prop_map(|text| What::Note { text }),
        Just(What::Drained),
        any::<[u64; 4]>().prop_map(|[cpu_ns, wall_ns, rss, rss_peak]| {
            What::Harness(HarnessReport { cpu_ns, wall_ns, rss, rss_peak })
        }),
        any::<[u64; 3]>().prop_map(|[cpu_ns, wall_ns, rss_peak]| {
            What::GeneratorDone(GeneratorReport {
                cpu_ns,
                wall_ns,
                workers: 2,
                rss_peak,
                saturated: false,
                path: GeneratorPath::Netns,
            })
        }),
        (moment(), any::<[u16; 3]>()).prop_map(|(start, [min, max, last])| {
            let [min, max, last] = [min, max, last].map(u32::from);
            What::Users(UserWindow { start, phase: 0, min, max, last })
        }),
        any::<u8>().prop_map(|planned| {
            What::TrialsDone(TrialsDone { planned: planned.into(), end: TrialsEnd::Steady })
        }),
        prop::collection::vec(request, 0..5)
            .prop_map(|rows| What::Requests(RequestBlock::pack(&rows, 9))),
    ]
}

/// Any event, with numbers of any size.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    let what = prop_oneof![memory(), traffic(), flow(), life_events(), sampled(), others()];
    (moment(), what).prop_map(|(at, what)| Event { at, what })
}
