//! What keeps throughput from rising, or answers from coming as fast as before: CPU, I/O, memory, or
//! a pool of something; told by what the target waited for, and never guessed where nothing stands
//! out.

use std::fmt::Write;

use super::findings::{Binding, Bound, Divergence, LoadLevel, Saturation};
use crate::analysis::float;
use crate::analysis::growth::median;

/// CPU in use from this share of what there is counts as all of it.
const FULL: f64 = 0.85;
/// Up to this share a CPU is idle enough to be none of the reasons.
const IDLE: f64 = 0.6;
/// Throttled for this share of the time, in percent, CPU is what is missing.
const THROTTLED: f64 = 5.0;
/// Waiting for a CPU for this share of the time, in percent.
const CPU_WAIT: f64 = 40.0;
/// Up to this share, hardly anything waited for one.
const LITTLE_CPU_WAIT: f64 = 25.0;
/// Waiting for memory for this share of the time, in percent, and for I/O.
const MEMORY_WAIT: f64 = 5.0;
const IO_WAIT: f64 = 20.0;
/// A wait is the load's doing where it is so many times that of little load.
const MORE: f64 = 2.0;
/// One thread that never rests uses about one core.
const ONE_CORE: std::ops::RangeInclusive<f64> = 0.92..=1.08;
/// A core is full from this share on, and was not under little load up to that one.
const CORE_FULL: f64 = 0.95;
const CORE_NOT_FULL: f64 = 0.75;
/// What rises by less than this share, and less than one, stays whatever the load.
const STAYS: f64 = 1.1;

/// What there is of CPU, and who else takes of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host {
    /// The cores that the target may use at once: its limit, or the host's.
    pub(super) cores: f64,
    /// The host's cores.
    pub(super) all_cores: f64,
    /// The cores that the load generator used, over the whole run.
    pub(super) generator_cores: Option<f64>,
    /// Whether the generator, not the target, set the pace.
    pub(super) generator_saturated: bool,
}

/// The target under much load, and under little.
struct Ends {
    high: Measures,
    low: Measures,
}

#[derive(Debug, Clone, Copy, Default)]
struct Measures {
    cores: Option<f64>,
    busiest_core: Option<f64>,
    threads: Option<f64>,
    sockets: Option<f64>,
    throttled: Option<f64>,
    cpu_wait: Option<f64>,
    memory_wait: Option<f64>,
    io_wait: Option<f64>,
    major_faults: Option<f64>,
}

impl Measures {
    fn of(levels: &[&LoadLevel]) -> Self {
        let middle = |of: fn(&LoadLevel) -> Option<f64>| {
            median(&levels.iter().filter_map(|row| of(row)).collect::<Vec<_>>())
        };
        Self {
            cores: middle(|row| row.cpu_cores),
            busiest_core: middle(|row| row.busiest_core),
            threads: middle(|row| row.threads),
            sockets: middle(|row| row.sockets),
            throttled: middle(|row| row.throttled),
            cpu_wait: middle(|row| row.cpu_wait),
            memory_wait: middle(|row| row.memory_wait),
            io_wait: middle(|row| row.io_wait),
            major_faults: middle(|row| row.major_faults),
        }
    }
}

/// Judges what binds.
pub(super) fn bound(
    levels: &[LoadLevel],
    latency: Option<&Divergence>,
    throughput: Option<&Saturation>,
    host: Host,
) -> Binding {
    let saturated =
        throughput.is_some_and(|row| row.from.is_some() || row.collapses_from.is_some());
    let slower = latency.is_some_and(Divergence::is_slower);
    let mut evidence = symptoms(latency, throughput);
    if !saturated && !slower {
        let known = latency.is_some() || throughput.is_some();
        return Binding { by: if known { Bound::Nothing } else { Bound::Unclear }, evidence };
    }
    if host.generator_saturated {
        evidence.push("the load generator was saturated, so it may be what binds".to_owned());
        return Binding { by: Bound::Unclear, evidence };
    }
    let ends = ends(levels, throughput);
    let told = memory(&ends)
        .or_else(|| cpu(&ends, host, saturated))
        .or_else(|| io(&ends))
        .or_else(|| pool(&ends, latency, throughput, host, saturated));
    match told {
        Some((by, because)) => {
            evidence.push(because);
            Binding { by, evidence }
        }
        None => {
            evidence.push(nothing_stands_out(&ends, host));
            Binding { by: Bound::Unclear, evidence }
        }
    }
}

/// The levels where it is bound, and those where it is not.
fn ends(levels: &[LoadLevel], throughput: Option<&Saturation>) -> Ends {
    let (low, high) =
        (levels.first().map_or(0.0, |row| row.load), levels.last().map_or(0.0, |row| row.load));
    let third = |part: f64| low + part / 3.0 * (high - low);
    let bound_from =
        throughput.and_then(|row| row.from).map_or(third(2.0), |from| from.max(third(1.0)));
    let of = |wanted: &dyn Fn(f64) -> bool| {
        Measures::of(&levels.iter().filter(|row| wanted(row.load)).collect::<Vec<_>>())
    };
    Ends { high: of(&|load| load >= bound_from), low: of(&|load| load <= third(1.0)) }
}

fn symptoms(latency: Option<&Divergence>, throughput: Option<&Saturation>) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(row) = throughput {
        let highest = row.highest;
        said.push(match row.from {
            Some(from) => format!("{highest:.0}/s at most, from a load of {from:.0} on"),
            None => format!("{highest:.0}/s, rising with the load"),
        });
    }
    if let Some(row) = latency {
        said.push(format!(
            "p50 {} to {}, p99 {} to {}",
            ms(row.low_ms.0),
            ms(row.high_ms.0),
            ms(row.low_ms.1),
            ms(row.high_ms.1)
        ));
    }
    said
}

fn ms(value: f64) -> String {
    if value < 10.0 { format!("{value:.1} ms") } else { format!("{value:.0} ms") }
}

/// Whether a share is high, and the load's doing.
fn rose(high: Option<f64>, low: Option<f64>, least: f64) -> Option<f64> {
    let high = high.filter(|high| *high >= least)?;
    (high >= MORE * low.unwrap_or(0.0)).then_some(high)
}

fn memory(ends: &Ends) -> Option<(Bound, String)> {
    let waited = rose(ends.high.memory_wait, ends.low.memory_wait, MEMORY_WAIT)?;
    let faults = ends.high.major_faults.filter(|faults| *faults >= 1.0);
    let faults = faults.map_or_else(String::new, |faults| format!(", {faults:.0} major faults/s"));
    Some((Bound::Memory, format!("waited for memory {waited:.0} % of the time{faults}")))
}

fn cpu(ends: &Ends, host: Host, saturated: bool) -> Option<(Bound, String)> {
    let high = &ends.high;
    if let Some(throttled) = high.throttled.filter(|share| *share >= THROTTLED) {
        let cores = host.cores;
        let because = format!("throttled {throttled:.0} % of the time at {cores} cores");
        return Some((Bound::Cpu, because));
    }
    let cores = high.cores?;
    let of = host.cores;
    if cores >= FULL * of {
        return Some((Bound::Cpu, format!("{cores:.2} of {of} cores in use")));
    }
    let all = cores + host.generator_cores.unwrap_or(0.0);
    if let Some(waited) = high.cpu_wait.filter(|waited| *waited >= CPU_WAIT)
        && all >= IDLE * host.all_cores
    {
        let because =
            format!("waited for a CPU {waited:.0} % of the time, {cores:.2} of {of} cores in use");
        return Some((Bound::Cpu, because));
    }
    if !saturated {
        return None;
    }
    let not_full = ends.low.busiest_core.is_some_and(|share| share <= CORE_NOT_FULL);
    if let Some(share) = high.busiest_core.filter(|share| not_full && *share >= CORE_FULL) {
        let because = format!("one core is full ({share:.2}), {cores:.2} of {of} cores in use");
        return Some((Bound::Cpu, because));
    }
    ONE_CORE.contains(&cores).then(|| {
        (Bound::Cpu, format!("{cores:.2} of {of} cores in use: one thread that never rests"))
    })
}

fn io(ends: &Ends) -> Option<(Bound, String)> {
    let waited = rose(ends.high.io_wait, ends.low.io_wait, IO_WAIT)?;
    Some((Bound::Io, format!("waited for I/O {waited:.0} % of the time")))
}

fn pool(
    ends: &Ends,
    latency: Option<&Divergence>,
    throughput: Option<&Saturation>,
    host: Host,
    saturated: bool,
) -> Option<(Bound, String)> {
    let cores = ends.high.cores?;
    let busy = cores + host.generator_cores.unwrap_or(0.0) >= FULL * host.all_cores;
    let waits = ends.high.cpu_wait.is_some_and(|waited| waited > LITTLE_CPU_WAIT);
    let apart = latency.is_some_and(Divergence::is_apart);
    if cores > IDLE * host.cores || busy || waits || !(saturated || apart) {
        return None;
    }
    let mut because = format!("{cores:.2} of {} cores in use", host.cores);
    // Little's law: what is at work at once is the rate times the time that each takes.
    if let (Some(row), Some(latency)) = (throughput.filter(|_| saturated), latency) {
        let at_once = row.highest * latency.low_ms.0 / 1e3;
        if at_once >= 1.5 {
            // Writing to a string never fails.
            let _ = write!(because, "; about {at_once:.0} at work at once");
        }
    }
    if apart {
        because.push_str("; p99 rises and p50 does not");
    }
    because.push_str(&what_stays(ends));
    Some((Bound::Pool, because))
}

/// What there are as many of under much load as under little: a pool of it may be what binds.
fn what_stays(ends: &Ends) -> String {
    let (high, low) = (&ends.high, &ends.low);
    let kinds = [("threads", high.threads, low.threads), ("sockets", high.sockets, low.sockets)];
    let stay = kinds.into_iter().filter_map(|(name, high, low)| {
        let (high, low) = (high?, low?);
        (high <= (low * STAYS).max(low + 1.0)).then(|| format!("{high:.0} {name}"))
    });
    let stay: Vec<String> = stay.collect();
    if stay.is_empty() {
        return String::new();
    }
    format!("; {} whatever the load", stay.join(" and "))
}

fn nothing_stands_out(ends: &Ends, host: Host) -> String {
    let high = &ends.high;
    if let (Some(waited), Some(cores)) = (high.cpu_wait.filter(|row| *row >= CPU_WAIT), high.cores)
    {
        let of = host.cores;
        return format!(
            "waited for a CPU {waited:.0} % of the time with {cores:.2} of {of} cores in use: others \
             took them"
        );
    }
    let mut said = Vec::new();
    said.extend(high.cores.map(|cores| format!("{cores:.2} of {} cores in use", host.cores)));
    for (what, waited) in
        [("a CPU", high.cpu_wait), ("memory", high.memory_wait), ("I/O", high.io_wait)]
    {
        said.extend(waited.map(|waited| format!("waited for {what} {waited:.0} %")));
    }
    if said.is_empty() {
        "nothing is known of what it waited for".to_owned()
    } else {
        format!("nothing stands out: {}", said.join(", "))
    }
}

impl Host {
    /// Of a run: its CPU limit, the host's cores, and the generator's account in percent of a core.
    pub(super) fn new(
        limit: Option<f64>,
        cpus: u32,
        generator: Option<(Option<f64>, bool)>,
    ) -> Self {
        let all_cores = float(u64::from(cpus.max(1)));
        Self {
            cores: limit.map_or(all_cores, |limit| limit.min(all_cores)),
            all_cores,
            generator_cores: generator.and_then(|row| row.0).map(|percent| percent / 100.0),
            generator_saturated: generator.is_some_and(|row| row.1),
        }
    }
}

#[cfg(test)]
#[path = "binding_tests.rs"]
mod tests;
