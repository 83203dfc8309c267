use std::time::Duration;

use rand::{RngExt, SeedableRng};

use super::*;
use crate::clock::Moment;
use crate::event::{LifeStart, PeakMethod, SamplingStart, Tick};
use crate::units::Limit;

const LIFE: LifeId = LifeId(0);

fn begin(recorder: &mut FlightRecorder, role: LifeRole) {
    let mut out = Vec::new();
    let start = LifeStart { life: LIFE, role, limit: Limit::Unlimited };
    let sampling = SamplingStart {
        life: LIFE,
        method: PeakMethod::V2Reset,
        tick_ns: 1_000_000,
        charge_slack: Bytes::ZERO,
        unreclaimable_is_range: false,
        spikes_told: false,
    };
    for what in [What::Life(start), What::Sampling(sampling), What::Ready { life: LIFE }] {
        recorder.take(Event { at: Moment::START, what }, &mut out);
    }
    assert!(matches!(&out[1].what, What::Sampling(start) if start.spikes_told));
}

/// A window of 100 ticks of 1 ms at 40 MiB, with a peak of `peak_kib` above it at the 50th.
fn window(recorder: &mut FlightRecorder, number: u64, peak_kib: u64) -> Vec<Event> {
    let start = Moment::from_millis(number * 100);
    let ticks: Vec<Tick> = (0..100)
        .map(|n| {
            let usage = Bytes::from_mib(40);
            let peak = if n == 50 { usage + Bytes::from_kib(peak_kib) } else { usage };
            Tick { at: start + Duration::from_millis(n), usage, peak }
        })
        .collect();
    let mut out = Vec::new();
    let at = start + Duration::from_millis(100);
    recorder.take(Event { at, what: What::Ticks(TickBlock::pack(LIFE, &ticks)) }, &mut out);
    out
}

/// The numbers of the windows whose ticks are recorded, and the spikes that are told.
fn seen(events: &[Event]) -> (Vec<u64>, usize) {
    let mut windows = Vec::new();
    let mut spikes = 0;
    for event in events {
        match &event.what {
            What::Ticks(block) => {
                windows.push(block.unpack().unwrap()[0].at.as_nanos() / 100_000_000);
            }
            What::Spikes(batch) => spikes += batch.found.len(),
            _ => {}
        }
    }
    (windows, spikes)
}

#[test]
fn keeps_the_windows_around_a_spike_and_tells_of_it() {
    let mut recorder = FlightRecorder::new(false, Bytes::from_mib(1));
    begin(&mut recorder, LifeRole::Main);
    for (number, peak, expected) in [
        (0, 0, (vec![], 0)),
        (1, 0, (vec![], 0)),
        (2, 3000, (vec![1, 2], 1)),
        (3, 0, (vec![3], 0)),
        (4, 0, (vec![], 0)),
        (5, 100, (vec![], 0)),
        (6, 3000, (vec![5, 6], 1)),
        (7, 3000, (vec![7], 1)),
    ] {
        assert_eq!(seen(&window(&mut recorder, number, peak)), expected, "window {number}");
    }
}

#[test]
fn a_trial_keeps_everything() {
    let mut recorder = FlightRecorder::new(false, Bytes::from_mib(1));
    begin(&mut recorder, LifeRole::Trial { number: 1 });
    assert_eq!(seen(&window(&mut recorder, 0, 0)), (vec![0], 0));
    assert_eq!(seen(&window(&mut recorder, 1, 0)), (vec![1], 0));
}

#[test]
fn without_room_for_ticks_spikes_are_still_told() {
    let mut recorder = FlightRecorder::new(false, Bytes::new(100));
    begin(&mut recorder, LifeRole::Main);
    let mut told = 0;
    let mut notes = 0;
    for number in 0..50 {
        let events = window(&mut recorder, number, 3000);
        let (windows, spikes) = seen(&events);
        assert!(windows.is_empty());
        told += spikes;
        notes += events.iter().filter(|event| matches!(event.what, What::Note { .. })).count();
    }
    assert_eq!((told, notes), (50, 1));
}

#[test]
fn noise_keeps_no_ticks_and_tells_no_spikes() {
    let mut random = rand_chacha::ChaCha8Rng::from_seed([7; 32]);
    let mut recorder = FlightRecorder::new(false, Bytes::from_mib(64));
    begin(&mut recorder, LifeRole::Main);
    let (mut kept, mut told) = (0, 0);
    for number in 0..600_u64 {
        let start = Moment::from_millis(number * 100);
        let ticks: Vec<Tick> = (0..100)
            .map(|n| {
                let usage = Bytes::from_kib(40 * 1024 + 4 * random.random_range(0..1024));
                Tick { at: start + Duration::from_millis(n), usage, peak: usage }
            })
            .collect();
        let mut out = Vec::new();
        let block = TickBlock::pack(LIFE, &ticks);
        recorder.take(Event { at: start, what: What::Ticks(block) }, &mut out);
        let (windows, spikes) = seen(&out);
        kept += windows.len();
        told += spikes;
    }
    // Until it knows the noise, a second or two, all of it looks like spikes.
    assert!(kept < 30, "{kept} of 600 windows kept");
    assert!(told < 600, "{told} spikes in noise");
}

#[test]
fn of_very_many_spikes_the_largest_are_told_and_all_are_counted() {
    let mut recorder = FlightRecorder::new(false, Bytes::new(0));
    recorder.told = TOLD;
    begin(&mut recorder, LifeRole::Main);
    let (mut told, mut beyond) = (0, 0);
    for number in 0..1000_u64 {
        for event in window(&mut recorder, number, 1000 + number % 500) {
            if let What::Spikes(batch) = event.what {
                told += batch.found.len() as u64;
                beyond += batch.beyond;
            }
        }
    }
    assert_eq!(told + beyond, 1000);
    assert!((200..=700).contains(&told), "{told}");
}
