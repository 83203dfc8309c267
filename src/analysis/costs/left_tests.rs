use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::blocks::{Blocks, Row, StepRow};
use super::super::fit::fit;
use super::*;
use crate::clock::Moment;

/// Bytes held in flight by each of two steps.
const HELD: [f64; 2] = [300_000.0, 80_000.0];
/// Windows of a phase.
const PHASE: u64 = 240;

/// What is found of a service that keeps `leaves` bytes of each request for good, where `rates`
/// gives the mean requests a window of each step, by phase.
fn found(leaves: [f64; 2], rates: &[[f64; 2]], seed: u64) -> Vec<Result<Estimate, String>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut blocks, mut lost, mut noise) = (Blocks::default(), 0.0, 0.0);
    for n in 0..PHASE * rates.len() as u64 {
        let phase = rates[usize::try_from(n / PHASE).unwrap()];
        let mut row = Row {
            life: LifeId(0),
            start: Moment::from_millis(n * 100),
            end: Moment::from_millis(n * 100 + 100),
            bytes: 0.0,
            top: 0.0,
            steps: Vec::new(),
        };
        noise = 0.7 * noise + rng.random_range(-1.0..1.0) * 20_000.0;
        let mut held = 0.0;
        for (step, mean) in (0_u16..).zip(phase) {
            let ended = (2.0 * mean * rng.random::<f64>()).round();
            let in_flight = ended * 0.3;
            let index = usize::from(step);
            lost += leaves[index] * ended;
            held += HELD[index] * in_flight;
            if mean > 0.0 {
                row.steps.push(StepRow { step, in_flight, most: in_flight, ended });
            }
        }
        row.bytes = 5e7 + lost + held + noise;
        row.top = row.bytes;
        blocks.add(row);
    }
    let sums = blocks.finish();
    let fit = fit(&sums).unwrap();
    let leaving = Leaving::of(&points(&sums, &fit.means), 2).unwrap();
    let names = |index: usize| {
        let name = ["orders", "reports"][index];
        Some(StepName { scenario: name.to_owned(), step: format!("GET /{name}") })
    };
    (0..2).map(|step| leaving.judge(step, &names)).collect()
}

const TAKING_TURNS: [[f64; 2]; 4] = [[6.0, 0.0], [0.0, 6.0], [6.0, 0.0], [3.0, 6.0]];

#[test]
fn where_steps_take_turns_each_has_its_own_price() {
    let rows = found([4096.0, 700.0], &TAKING_TURNS, 1);
    for (row, truth) in rows.into_iter().zip([4096.0, 700.0]) {
        let row = row.unwrap();
        assert!((row.value - truth).abs() < 0.1 * truth, "{row:?} for {truth}");
        assert!(row.low <= row.value && row.value <= row.high);
    }
}

#[test]
fn a_step_that_leaves_nothing_is_told_beside_one_that_does() {
    let rows = found([0.0, 4096.0], &TAKING_TURNS, 2);
    let (none, some) = (rows[0].clone().unwrap(), rows[1].clone().unwrap());
    assert!(none.high < 400.0, "{none:?}");
    assert!((some.value - 4096.0).abs() < 400.0, "{some:?}");
}

#[test]
fn a_mix_that_never_changes_tells_nothing_and_says_what_would_help() {
    for row in found([4096.0, 0.0], &[[5.0, 5.0]; 4], 3) {
        let why = row.unwrap_err();
        assert!(why.contains("a phase with only"), "{why}");
    }
}

#[test]
fn intervals_hold_the_truth_as_often_as_they_say() {
    let (mut held, mut of) = (0, 0);
    for seed in 0..100 {
        for (row, truth) in found([2000.0, 500.0], &TAKING_TURNS, seed).iter().zip([2000.0, 500.0])
        {
            let Ok(row) = row else { continue };
            held += u32::from((row.low..=row.high).contains(&truth));
            of += 1;
        }
    }
    let share = f64::from(held) / f64::from(of);
    assert!(of > 150 && share >= 0.88, "{share} of {of}");
}
