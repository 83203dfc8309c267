use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::blocks::{Blocks, Row, StepRow};
use super::fit::fit;
use crate::clock::Moment;
use crate::event::LifeId;

/// Windows of a made-up service: steps that burst at their own times, memory that is their cost
/// on top of a floor that drifts, and noise.
struct Service {
    costs: Vec<f64>,
    /// Between bursts of each step, in windows, and how large they are.
    bursts: Vec<(u64, f64)>,
    drift: f64,
    noise: f64,
}

impl Service {
    fn blocks(&self, windows: u64, seed: u64) -> Blocks {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut blocks = Blocks::default();
        let mut noise = 0.0;
        for n in 0..windows {
            let steps: Vec<StepRow> = (0_u16..)
                .zip(&self.bursts)
                .map(|(step, (every, size))| {
                    let burst = if n % every == every / 2 { *size } else { 0.0 };
                    let in_flight = burst + rng.random_range(0.0..1.0);
                    StepRow { step, in_flight, most: in_flight, ended: in_flight }
                })
                .collect();
            // Neighbours are alike.
            noise = 0.7 * noise + rng.random_range(-1.0..1.0) * self.noise;
            let held: f64 =
                steps.iter().zip(&self.costs).map(|(step, cost)| step.in_flight * cost).sum();
            #[expect(clippy::cast_precision_loss, reason = "few windows")]
            let drift = self.drift * n as f64;
            blocks.add(Row {
                life: LifeId(0),
                start: Moment::from_millis(n * 100),
                end: Moment::from_millis(n * 100 + 100),
                bytes: 5e7 + drift + held + noise,
                top: 5e7 + drift + held + noise + 1e5,
                steps,
            });
        }
        blocks
    }
}

#[test]
fn costs_come_out_beside_a_leak() {
    let service = Service {
        costs: vec![500_000.0, 60_000.0, 0.0],
        bursts: vec![(31, 12.0), (43, 20.0), (17, 30.0)],
        drift: 20_000.0,
        noise: 60_000.0,
    };
    let sums = service.blocks(1200, 1).finish();
    let fit = fit(&sums).unwrap();
    for (step, cost) in fit.steps.iter().zip(&service.costs) {
        let step = step.unwrap();
        let off = (step.estimate.value - cost).abs();
        assert!(off < 6000.0 && step.inflation < 2.0, "{step:?} for {cost}");
        assert!(step.estimate.low <= step.estimate.value);
        assert!(step.estimate.value <= step.estimate.high);
    }
}

#[test]
fn intervals_hold_the_truth_as_often_as_they_say() {
    let service = Service {
        costs: vec![300_000.0, 100_000.0],
        bursts: vec![(37, 9.0), (23, 12.0)],
        drift: 2000.0,
        noise: 200_000.0,
    };
    let (mut held, mut of) = (0, 0);
    for seed in 0..150 {
        // Without peaks, for what is not known of lags makes intervals wider than they need be here.
        let mut sums = service.blocks(480, seed).finish();
        sums.tops.clear();
        let fit = fit(&sums).unwrap();
        for (step, cost) in fit.steps.iter().zip(&service.costs) {
            let estimate = step.unwrap().estimate;
            held += u32::from((estimate.low..=estimate.high).contains(cost));
            of += 1;
        }
    }
    let share = f64::from(held) / f64::from(of);
    assert!((0.91..=0.99).contains(&share), "{share}");
}

#[test]
fn steps_that_burst_together_are_told_by_their_inflation() {
    let service = Service {
        costs: vec![300_000.0, 100_000.0, 50_000.0],
        bursts: vec![(37, 9.0), (37, 12.0), (29, 12.0)],
        drift: 0.0,
        noise: 50_000.0,
    };
    let fit = fit(&service.blocks(600, 3).finish()).unwrap();
    let inflation: Vec<f64> = fit.steps.iter().map(|step| step.unwrap().inflation).collect();
    assert!(inflation[0] > 10.0 && inflation[1] > 10.0 && inflation[2] < 2.0, "{inflation:?}");
    assert_eq!(fit.steps[0].unwrap().partner, Some(1));
}
