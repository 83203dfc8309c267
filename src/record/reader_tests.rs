//! Damage of any kind: what is read is what was written, or it is said that it can't be read.

use super::super::{Recorder, fixtures};
use super::*;
use crate::clock::Moment;
use crate::event::{Event, What};
use crate::plan::Budget;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn event(n: u64) -> Event {
    Event { at: Moment::from_millis(n), what: What::Note { text: format!("note {n} {}", n * n) } }
}

/// A recording of some 40 packed batches, as bytes.
fn recorded(events: u64) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let directory = RunDirectory::create(dir.path()).unwrap();
    let budget = Budget { commit_events: 500, ..Budget::default() };
    let recorder = Recorder::create(&directory, &fixtures::header(), &budget).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for n in 0..events {
        runtime.block_on(recorder.record(event(n))).unwrap();
    }
    recorder.finish().unwrap();
    std::fs::read(directory.recording()).unwrap()
}

/// What is read of damaged bytes: how many events, and whether anything is said to be lost.
fn read(bytes: &[u8], what: &str) -> Option<(u64, bool)> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("recording.db"), bytes).unwrap();
    let directory = RunDirectory::open(dir.path()).unwrap();
    let recording = Recording::open(&directory).ok()?;
    assert_eq!(recording.header().outline, fixtures::header().outline, "{what}");
    let (mut count, mut next, mut lost) = (0, 0, false);
    for found in recording.events() {
        match found {
            Ok(found) => {
                let n = found.at.as_nanos() / 1_000_000;
                assert!(n >= next, "{what}: {n} after {next}");
                assert_eq!(*found, event(n), "{what}");
                (count, next) = (count + 1, n + 1);
            }
            Err(Error::Lost { .. }) => lost = true,
            Err(error) => panic!("{what}: {error}"),
        }
    }
    Some((count, lost))
}

#[test]
fn flipped_bits_never_make_another_event_of_one() {
    let whole = recorded(30_000);
    let (mut refused, mut saved, mut silent) = (0, 0, 0);
    for seed in 0..40 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut bytes = whole.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
        }
        match read(&bytes, &format!("seed {seed}")) {
            None => refused += 1,
            Some((30_000, false)) => {}
            Some((count, true)) => saved += u32::from(count > 0),
            Some((_, false)) => silent += 1,
        }
    }
    assert!(saved > 20 && refused < 10, "{saved} saved, {refused} refused");
    assert_eq!(silent, 0, "recordings that lack something and do not say so");
}

#[test]
fn a_recording_that_was_cut_anywhere_gives_what_is_left() {
    let whole = recorded(40_000);
    let mut before = 0;
    for tenth in 1..10 {
        let cut = whole.len() * tenth / 10;
        let Some((count, lost)) = read(&whole[..cut], &format!("{cut} bytes")) else {
            assert!(tenth < 3, "{cut} bytes of {} are refused", whole.len());
            continue;
        };
        assert!(lost, "{cut} bytes");
        assert!(count >= before, "{cut} bytes: {count}, {before} before");
        before = count;
    }
    assert!(before > 10_000, "{before}");
}
