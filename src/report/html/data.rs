//! The numbers that the script draws from, as JSON that fits into a page.
//!
//! Columns are written as differences in whole units of their own, which keeps a day's soak within
//! some hundred kilobytes and loses nothing that a picture or a read-out could show: sizes are exact
//! to the byte.

use serde::Serialize;

use crate::analysis::{Clip, Findings, Timeline};
use crate::clock::Moment;
use crate::report::panels::{recommended_limit, recommended_name};
use crate::report::text;
use crate::units::Bytes;

/// Sizes are mostly whole pages.
const PAGE: u64 = 4096;

/// A column: `unit` times the running sum of `d`; null where there is no value.
#[derive(Serialize)]
struct Series {
    unit: f64,
    d: Vec<Option<i64>>,
}

#[derive(Serialize)]
struct Data {
    span: [f64; 2],
    limit: Option<u64>,
    /// The recommended limit, and how it is named.
    recommended: Option<(u64, String)>,
    peak: Option<Peak>,
    phases: Vec<PhaseRow>,
    kills: Vec<f64>,
    restarts: Vec<f64>,
    actions: Vec<f64>,
    memory: Memory,
    flow: Flow,
    latency: Latency,
    vitals: Vitals,
    spikes: Vec<Spike>,
}

#[derive(Serialize)]
struct Peak {
    at: f64,
    bytes: u64,
    text: String,
}

#[derive(Serialize)]
struct PhaseRow {
    name: String,
    from: f64,
    to: f64,
}

#[derive(Serialize)]
struct Memory {
    from: Series,
    to: Series,
    life: Series,
    used_min: Series,
    used_max: Series,
    peak: Series,
    peak_at: Series,
    rss: Series,
    low_min: Series,
    low_max: Series,
    high: Series,
    cache: Series,
    hits: Series,
}

#[derive(Serialize)]
struct Flow {
    from: Series,
    to: Series,
    rate_min: Series,
    rate_max: Series,
    in_flight: Series,
    failed: Series,
}

#[derive(Serialize)]
struct Latency {
    from: Series,
    to: Series,
    p50: Series,
    p95: Series,
    p99: Series,
    max: Series,
}

#[derive(Serialize)]
struct Vitals {
    from: Series,
    to: Series,
    life: Series,
    cores: Series,
    psi_memory: Series,
    psi_cpu: Series,
    psi_io: Series,
    threads: Series,
    files: Series,
}

#[derive(Serialize)]
struct Spike {
    at: f64,
    peak: u64,
    /// How a list names it.
    text: String,
    ticks: Option<Ticks>,
}

#[derive(Serialize)]
struct Ticks {
    at: Series,
    least: Series,
    most: Series,
    peak: Series,
}

/// The data of a page. It holds no `<`, `>` or `&`, so nothing in it can end the block that it
/// stands in.
pub(super) fn json(findings: &Findings) -> String {
    let text = serde_json::to_string(&data(findings)).expect("plain data always serialises");
    let mut out = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        match c {
            // These occur within strings only, where JSON knows them by number too.
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}

fn data(findings: &Findings) -> Data {
    let timeline = &findings.timeline;
    let phase = |row: &crate::analysis::Phase| PhaseRow {
        name: text::clean(&row.name, 60),
        from: row.start.as_millis_f64(),
        to: row.end.as_millis_f64(),
    };
    Data {
        span: [timeline.start.as_millis_f64(), timeline.end.as_millis_f64()],
        limit: findings.limit.bytes().map(Bytes::get),
        recommended: recommended(findings),
        peak: findings.memory.as_ref().map(|row| Peak {
            at: row.peak_at.as_millis_f64(),
            bytes: row.peak.get(),
            text: row.peak.to_string(),
        }),
        phases: findings.phases.iter().map(phase).collect(),
        kills: timeline.kills.iter().map(|at| at.as_millis_f64()).collect(),
        actions: findings.actions.rows.iter().map(|row| row.at.as_millis_f64()).collect(),
        restarts: findings.lives.iter().skip(1).map(|row| row.start.as_millis_f64()).collect(),
        memory: memory(timeline),
        flow: flow(timeline),
        latency: latency(timeline),
        vitals: vitals(timeline),
        spikes: spikes(findings),
    }
}

fn recommended(findings: &Findings) -> Option<(u64, String)> {
    let size = recommended_limit(findings)?;
    Some((size.get(), recommended_name(findings, size)))
}

fn memory(timeline: &Timeline) -> Memory {
    let rows = &timeline.memory;
    let size = |of: fn(&crate::analysis::MemoryColumn) -> Bytes| sizes(rows.iter().map(of));
    Memory {
        from: times(rows.iter().map(|row| row.start)),
        to: times(rows.iter().map(|row| row.end)),
        life: counts(rows.iter().map(|row| Some(u64::from(row.life)))),
        used_min: size(|row| row.usage.min),
        used_max: size(|row| row.usage.max),
        peak: size(|row| row.peak),
        peak_at: times(rows.iter().map(|row| row.peak_at)),
        rss: size(|row| row.rss.max),
        low_min: size(|row| row.low.min),
        low_max: size(|row| row.low.max),
        high: size(|row| row.high.max),
        cache: size(|row| row.cache.max),
        hits: counts(rows.iter().map(|row| Some(row.hits))),
    }
}

fn flow(timeline: &Timeline) -> Flow {
    let rows = &timeline.flow;
    Flow {
        from: times(rows.iter().map(|row| row.start)),
        to: times(rows.iter().map(|row| row.end)),
        rate_min: numbers(rows.iter().map(|row| Some(row.rate.0))),
        rate_max: numbers(rows.iter().map(|row| Some(row.rate.1))),
        in_flight: counts(rows.iter().map(|row| Some(row.in_flight))),
        failed: counts(rows.iter().map(|row| Some(row.failed))),
    }
}

fn latency(timeline: &Timeline) -> Latency {
    let rows = &timeline.latency;
    Latency {
        from: times(rows.iter().map(|row| row.start)),
        to: times(rows.iter().map(|row| row.end)),
        p50: numbers(rows.iter().map(|row| Some(row.p50))),
        p95: numbers(rows.iter().map(|row| Some(row.p95))),
        p99: numbers(rows.iter().map(|row| Some(row.p99))),
        max: numbers(rows.iter().map(|row| Some(row.max))),
    }
}

fn vitals(timeline: &Timeline) -> Vitals {
    let rows = &timeline.vitals;
    Vitals {
        from: times(rows.iter().map(|row| row.start)),
        to: times(rows.iter().map(|row| row.end)),
        life: counts(rows.iter().map(|row| Some(u64::from(row.life)))),
        cores: numbers(rows.iter().map(|row| row.cores)),
        psi_memory: numbers(rows.iter().map(|row| row.memory)),
        psi_cpu: numbers(rows.iter().map(|row| row.cpu)),
        psi_io: numbers(rows.iter().map(|row| row.io)),
        threads: counts(rows.iter().map(|row| row.threads.map(u64::from))),
        files: counts(rows.iter().map(|row| row.open_files.map(u64::from))),
    }
}

fn spikes(findings: &Findings) -> Vec<Spike> {
    let clips = &findings.timeline.clips;
    let rows = (1_usize..).zip(&findings.spikes);
    let row = |(number, spike): (usize, &crate::analysis::SpikeFinding)| {
        let at = text::moment(spike.at);
        let phase = spike
            .phase
            .as_deref()
            .map_or_else(String::new, |name| format!(" {}", text::clean(name, 40)));
        Spike {
            at: spike.at.as_millis_f64(),
            peak: spike.peak.get(),
            text: format!("{number}: +{} at {at}{phase}", spike.rise),
            ticks: clip(clips, spike.at).map(ticks),
        }
    };
    rows.map(row).collect()
}

/// The raw ticks around the spike that peaked at a moment.
pub(super) fn clip(clips: &[Clip], at: Moment) -> Option<&Clip> {
    let place = clips.binary_search_by_key(&at, |clip| clip.at).ok()?;
    clips.get(place)
}

fn ticks(clip: &Clip) -> Ticks {
    let rows = &clip.ticks;
    Ticks {
        at: times(rows.iter().map(|row| row.at)),
        least: sizes(rows.iter().map(|row| row.least)),
        most: sizes(rows.iter().map(|row| row.most)),
        peak: sizes(rows.iter().map(|row| row.peak)),
    }
}

/// Times in milliseconds, exact to the microsecond.
fn times(rows: impl Iterator<Item = Moment>) -> Series {
    series(0.001, rows.map(|at| Some(whole(at.as_nanos() / 1000))))
}

fn sizes(rows: impl Iterator<Item = Bytes> + Clone) -> Series {
    let unit = if rows.clone().all(|size| size.get().is_multiple_of(PAGE)) { PAGE } else { 1 };
    series(Bytes::new(unit).as_f64(), rows.map(|size| Some(whole(size.get() / unit))))
}

fn counts(rows: impl Iterator<Item = Option<u64>>) -> Series {
    series(1.0, rows.map(|count| count.map(whole)))
}

/// Numbers with three places.
#[expect(clippy::cast_possible_truncation, reason = "a cast of floats saturates")]
fn numbers(rows: impl Iterator<Item = Option<f64>>) -> Series {
    let thousandths = |value: f64| (value * 1000.0).round() as i64;
    let known = rows.map(|value| value.filter(|value| value.is_finite()).map(thousandths));
    series(0.001, known)
}

fn series(unit: f64, rows: impl Iterator<Item = Option<i64>>) -> Series {
    let mut before = 0_i64;
    let step = |now: i64| now.wrapping_sub(std::mem::replace(&mut before, now));
    let mut step = step;
    Series { unit, d: rows.map(|row| row.map(&mut step)).collect() }
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_add_up_to_what_they_were() {
        let sizes = sizes([4096, 12288, 8192].map(Bytes::new).into_iter());
        assert_eq!((sizes.unit, sizes.d), (4096.0, vec![Some(1), Some(2), Some(-1)]));
        let odd = super::sizes([4097, 1].map(Bytes::new).into_iter());
        assert_eq!((odd.unit, odd.d), (1.0, vec![Some(4097), Some(-4096)]));
        let numbers = numbers([Some(1.5), None, Some(f64::NAN), Some(1.25)].into_iter());
        assert_eq!(numbers.d, [Some(1500), None, None, Some(-250)]);
    }
}
