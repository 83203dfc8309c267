//! What more load did in words, for the terminal and for Markdown: a few lines a phase.

use std::fmt::Write;

use crate::analysis::{Bound, Concurrency, Dependence, DependenceClass, LoadAxis, Overload};
use crate::units::Bytes;

/// The phase, or those that were compared, and their load.
pub(super) fn title(row: &Concurrency) -> String {
    let (from, to) = (load(row.range.0), load(row.range.1));
    format!("{}, {from} to {to} {}", row.phases.join(", "), row.axis.unit())
}

/// What there is to say, the weightiest first.
pub(super) fn lines(row: &Concurrency) -> Vec<String> {
    if let Some(refusal) = row.refused {
        return vec![refusal.words().to_owned()];
    }
    let mut said = Vec::new();
    said.extend(row.memory.map(|memory| self::memory(&memory, row)));
    let counts =
        [("threads", row.threads), ("descriptors", row.open_files), ("sockets", row.sockets)];
    let counts: Vec<String> = counts
        .into_iter()
        .filter_map(|(name, row_of)| Some(count(name, &row_of?, row.axis)))
        .collect();
    if !counts.is_empty() {
        said.push(counts.join("; "));
    }
    said.extend(throughput(row));
    said.push(bound(row));
    said.extend(row.overload.map(overload));
    said
}

fn memory(memory: &Dependence, row: &Concurrency) -> String {
    let (first, last) = (size(memory.first), size(memory.last));
    let mut words = match memory.class {
        DependenceClass::Flat => return format!("memory is flat: {first} to {last}"),
        DependenceClass::Settles => format!("memory settles: {first} to {last}"),
        DependenceClass::Linear => format!("memory is linear without end: {first} to {last}"),
        DependenceClass::Unclear => format!("memory is unclear: {first} to {last}"),
    };
    if memory.class == DependenceClass::Linear
        && let (Some(slope), Some((low, high))) = (memory.per_unit, memory.ci95)
    {
        let (slope, low, high) = (size(slope), size(low), size(high));
        // Writing to a string never fails.
        let _ = write!(words, ", {slope} a {} ({low} to {high})", row.axis.one());
    }
    if row.leaks_anyway {
        words.push_str(", which may be the leak's doing");
    } else if let Some((earliest, latest)) = row.limit_full_at {
        let (from, to) = (load(earliest), load(latest));
        // Writing to a string never fails.
        let _ = write!(words, "; the limit is full at {from} to {to} {}", row.axis.unit());
    }
    if let Some(share) = row.given_back.filter(|_| memory.class != DependenceClass::Flat) {
        // Writing to a string never fails.
        let _ = write!(words, "; {:.0} % of it was given back", 100.0 * share);
    }
    words
}

fn count(name: &str, count: &Dependence, axis: LoadAxis) -> String {
    let (first, last) = (count.first, count.last);
    match (count.class, count.per_unit) {
        (DependenceClass::Flat, _) => format!("{name} flat at {last:.0}"),
        (DependenceClass::Linear, Some(slope)) => {
            format!("{name} {first:.0} to {last:.0}, {slope:.2} a {}", axis.one())
        }
        (DependenceClass::Settles, _) => format!("{name} settle: {first:.0} to {last:.0}"),
        (DependenceClass::Linear | DependenceClass::Unclear, _) => {
            format!("{name} {first:.0} to {last:.0} (unclear)")
        }
    }
}

fn throughput(row: &Concurrency) -> Option<String> {
    let through = row.throughput?;
    let (highest, unit) = (rate(through.highest), row.axis.unit());
    let mut words = match through.from {
        Some(from) => {
            format!("throughput is saturated from {} {unit} on, at {highest}/s", load(from))
        }
        None => format!("throughput follows the load, up to {highest}/s"),
    };
    if let Some(from) = through.collapses_from {
        let end = rate(through.at_end);
        // Writing to a string never fails.
        let _ = write!(words, "; it collapses from {} {unit} on, to {end}/s", load(from));
    }
    Some(words)
}

fn bound(row: &Concurrency) -> String {
    let by = match row.bound.by {
        Bound::Nothing => "nothing binds so far",
        Bound::Cpu => "CPU-bound",
        Bound::Io => "I/O-bound",
        Bound::Pool => "pool-bound (workers, connections, locks)",
        Bound::Memory => "memory-pressed",
        Bound::Unclear => "what binds is unclear",
    };
    if row.bound.evidence.is_empty() {
        return by.to_owned();
    }
    format!("{by}: {}", row.bound.evidence.join("; "))
}

fn overload(overload: Overload) -> String {
    match overload {
        Overload::Slows => "under too much load it only gets slower: nothing is turned away",
        Overload::Sheds => "under too much load it turns requests away (429, 503) and stays quick",
        Overload::Both => {
            "under too much load it turns requests away (429, 503) and gets slower too"
        }
        Overload::Fails => "under too much load requests fail",
    }
    .to_owned()
}

/// A load as people read it.
fn load(value: f64) -> String {
    if value >= 10.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

fn rate(value: f64) -> String {
    if value >= 10.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at 0")]
fn size(bytes: f64) -> Bytes {
    Bytes::new(bytes.max(0.0).round() as u64)
}
