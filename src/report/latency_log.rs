//! Interval histograms as an `HdrHistogram` log (`.hlog`), which its plotters and mergers read.

use std::borrow::Borrow;
use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::clock::Anchor;
use crate::event::{Event, TrafficWindow, What};
use crate::plan::Outline;

/// Writes the traffic's times as they were kept: for each second, phase and step a histogram of
/// latencies (from due) and one of durations (from sent), in microseconds. Tags are
/// `latency:PHASE:SCENARIO:STEP` and `duration:…`, spaces and commas in them as `_`. Gives how many
/// histograms there were.
///
/// # Errors
/// When `out` can't be written.
pub fn write_latency_log(
    out: &mut impl Write,
    outline: &Outline,
    anchor: Anchor,
    events: impl IntoIterator<Item: Borrow<Event>>,
) -> io::Result<u64> {
    let started = UNIX_EPOCH + Duration::from_nanos(anchor.unix_ns);
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("times in microseconds, the largest of each interval in milliseconds")
        .with_start_time(started)
        .with_base_time(started)
        .with_max_value_divisor(1000.0)
        .begin_log_with(out, &mut serializer)?;
    let mut written = 0;
    for event in events {
        let event = event.borrow();
        let What::Traffic(window) = &event.what else { continue };
        let start = Duration::from_nanos(window.start.as_nanos());
        let length = event.at.since(window.start);
        for (kind, times) in [("latency", &window.latency_us), ("duration", &window.duration_us)] {
            if times.count() > 0 {
                let tag = tag(kind, window, outline);
                log.write_histogram(&times.to_hdr(), start, length, Tag::new(&tag))
                    .map_err(|error| io::Error::other(error.to_string()))?;
                written += 1;
            }
        }
    }
    Ok(written)
}

fn tag(kind: &str, window: &TrafficWindow, outline: &Outline) -> String {
    let phase = outline.phases.get(usize::from(window.phase)).map_or("", |phase| &phase.name);
    let step = outline.steps.get(usize::from(window.step));
    let (scenario, step) = step.map_or(("", ""), |step| (&step.scenario, &step.step));
    let sendable = |char: char| if char == ',' || char.is_whitespace() { '_' } else { char };
    format!("{kind}:{phase}:{scenario}:{step}").chars().map(sendable).collect()
}
