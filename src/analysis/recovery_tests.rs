//! Bursts of known recovery.

use super::*;

const CYCLE: CycleOutline =
    CycleOutline { first_ns: 2_000_000_000, every_ns: 4_000_000_000, width_ns: 0 };
const WINDOW_MS: u64 = 100;
const SLACK: f64 = 504.0 * 1024.0;
const MIB: f64 = 1024.0 * 1024.0;

fn train() -> Train {
    Train {
        begin: Moment::from_millis(50),
        cycle: CYCLE,
        life: None,
        memory: Measure::default(),
        in_flight: Measure::default(),
        latency: BTreeMap::new(),
    }
}

/// Feeds windows over so many seconds; memory and requests in flight by milliseconds since the last
/// burst (none before the first).
fn fed(seconds: u64, of: impl Fn(usize, Option<u64>) -> (f64, f64)) -> Option<Recovery> {
    let mut train = train();
    for n in 0..seconds * 1000 / WINDOW_MS {
        // Windows don't keep to the phase's beginning.
        let start = Moment::from_millis(30 + n * WINDOW_MS);
        let end = Moment::from_millis(30 + (n + 1) * WINDOW_MS);
        let Some(place) = train.place(start, end) else { continue };
        let since = nanos(end.since(train.begin)) / 1_000_000;
        let burst = since.checked_sub(2000);
        let number = usize::try_from(burst.map_or(0, |ms| ms / 4000)).expect("few");
        let (memory, in_flight) = of(number, burst.map(|ms| ms % 4000));
        let bound = |base: f64, peak: f64| base + SLACK.max(LEFT_OF_RISE * (peak - base));
        train.memory.feed(place, CYCLE, memory, memory, f64::min, bound);
        let back = |base: f64, _: f64| base * IN_FLIGHT + 1.0;
        train.in_flight.feed(place, CYCLE, in_flight, in_flight, f64::max, back);
    }
    train.finish()
}

#[test]
fn the_later_of_memory_and_requests_counts() {
    let recovery = fed(31, |_, since| {
        let memory = if since.is_some_and(|ms| ms < 700) { 60.0 } else { 20.0 };
        let in_flight = if since.is_some_and(|ms| ms < 1500) { 80.0 } else { 3.0 };
        (memory * MIB, in_flight)
    });
    let recovery = recovery.expect("bursts");
    assert_eq!((recovery.bursts, recovery.recovered), (8, 8), "{recovery:?}");
    let worst = recovery.worst_ms.expect("it came back");
    assert!((1500.0..=1700.0).contains(&worst), "{recovery:?}");
    let memory = recovery.memory.worst_ms.expect("it came back");
    assert!((700.0..=900.0).contains(&memory), "{recovery:?}");
    assert_eq!((recovery.memory.never, recovery.in_flight.never), (0, 0));
    assert_eq!(recovery.latency, Back::default());
}

#[test]
fn what_never_comes_back_is_told_but_for_the_last_burst() {
    let recovery = fed(31, |number, since| {
        let stuck = number == 3 && since.is_some();
        let in_flight = if stuck || since.is_some_and(|ms| ms < 300) { 80.0 } else { 3.0 };
        (20.0 * MIB, in_flight)
    });
    let recovery = recovery.expect("bursts");
    assert_eq!((recovery.bursts, recovery.recovered), (8, 7), "{recovery:?}");
    assert_eq!((recovery.in_flight.never, recovery.memory.never), (1, 0));
    // Cut off in the middle of the third burst.
    let cut = fed(11, |_, since| {
        let busy = since.is_some_and(|ms| ms < 2500);
        (20.0 * MIB, if busy { 80.0 } else { 3.0 })
    });
    let cut = cut.expect("bursts");
    assert_eq!((cut.bursts, cut.recovered, cut.in_flight.never), (3, 3, 0), "{cut:?}");
}

#[test]
fn memory_that_a_first_burst_leaves_is_the_calm_of_the_next() {
    let recovery = fed(23, |_, since| (if since.is_some() { 60.0 } else { 20.0 } * MIB, 1.0));
    let recovery = recovery.expect("bursts");
    assert_eq!((recovery.bursts, recovery.recovered, recovery.memory.never), (6, 5, 1));
}

#[test]
fn without_a_burst_there_is_nothing_to_tell() {
    assert_eq!(fed(2, |_, _| (MIB, 1.0)), None);
}
